//! The evidence log from the outside: against other implementations, and against those who would change it.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod certificate;
mod common;
mod oracle;
mod tampering;
