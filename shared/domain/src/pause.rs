//! What a person can pause: work waits, and nothing is lost or given up meanwhile.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::duty::worded;

worded! {
    /// What a pause is about.
    Pausable {
        /// A queue of the broker that Kvit takes from.
        Queue = "queue",
        /// Everything that is owed to a department, or for its submissions.
        Department = "department",
        /// Everything that is owed for a form's submissions.
        Form = "form",
    }
}
