//! The operators' command.

pub mod demo;
pub mod form_import;
