//! The configuration: its types, how it is loaded, and what is wrong with it.

pub(crate) mod address;
mod check;
mod default;
pub mod docs;
pub(crate) mod document;
pub(crate) mod findings;
mod format;
mod layers;
mod load;
pub(crate) mod parse;
mod parties;
pub(crate) mod schema;
mod secret;
mod secret_files;
pub(crate) mod sections;
pub(crate) mod shape;

pub use address::{Refusal, is_local};
pub use domain::form_check::Weight;
pub use findings::{Finding, Findings, Place};
pub use layers::Layers;
pub use load::{DEFAULT_PATH, Loaded};
pub use parties::{
    CertificateFile, Department, Environment, Granted, JournalTarget, Oidc, Recovery, Require, Site, TargetKind, User,
};
pub use secret::{ConfigError, Secret};
pub use secret_files::SecretFile;
pub use sections::{
    Broker, Config, Console, Controller, Evidence, Intake, Journal, Journaliser, Mailer, Retention, Retry, Scheduler,
    Schedules, Signing, Smtp, Store, Traces, Vault,
};
