//! Whether mails are opened by OpenPGP programs that share no code with Kvit's.
//!
//! Certificates of every kind are made by GnuPG and Sequoia, mails by the `letter` crate, and opened by each reader that
//! is installed. A missing reader is skipped by name on standard error. What is found must be what [`table`] states, and
//! `docs/interoperability.md` is that statement: `KVIT_BLESS=1` writes it anew, with the versions that were used.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

mod bed;
mod certificates;
mod headers;
mod mails;
mod matrix;
mod mime;
mod readers;
mod subkeys;
mod table;
mod thunderbird;
