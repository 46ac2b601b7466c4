//! What a person may do at the console.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::duty::worded;

worded! {
    /// A person's role (G1).
    Role {
        /// Sees everything but the data, and changes nothing.
        Viewer = "viewer",
        /// Acts on what is owed, put aside, paused and planned.
        Operator = "operator",
        /// Sees and tests the certificates, and adds one.
        KeyAdmin = "key-admin",
        /// The data protection officer: sees reports and evidence, changes nothing, and is no operator's to remove (G7).
        Officer = "officer",
        /// A department: sees its own events, gives extraction codes back and asks for an export.
        Department = "department",
    }
}
