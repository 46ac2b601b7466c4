//! Why a message could not be taken.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::duty::worded;

worded! {
    /// The reason of a quarantined message; the contract's closed list.
    QuarantineReason {
        /// Not JSON, nested deeper than 64, a key twice in one object, or of no known shape.
        Malformed = "malformed",
        /// Larger than `intake.max_message_bytes`, or of more values than any form has.
        TooLarge = "too_large",
        /// No form of this site has this id, or none was named.
        UnknownForm = "unknown_form",
        /// A field that the form does not declare, where the form or site says refuse.
        UnknownField = "unknown_field",
        /// A required field is empty, in a strict form.
        MissingField = "missing_field",
        /// A value of another type than declared, in a strict form.
        InvalidField = "invalid_field",
        /// Sealed, and not for intake's key.
        Undecryptable = "undecryptable",
        /// Not sealed, where the site requires it.
        NotSealed = "not_sealed",
        /// Kvit's own fault; the message is kept so that it can be tried again.
        Internal = "internal",
    }
}
