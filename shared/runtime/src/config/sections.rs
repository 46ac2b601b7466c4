//! The sections of `kvit.toml`, one type each.
//!
//! The doc comments here are the text of `docs/configuration.md`: they are written for the person who fills the file in.
//! The `format` of a field's schema says how its text is checked and resolved (`shape.rs`).

use std::path::PathBuf;

use domain::{DepartmentId, EmailAddress, Language, SiteId};
use indexmap::IndexMap;
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use super::parties::{Department, JournalTarget, Oidc, Recovery, Site, User};
use super::secret::Secret;
use super::{default, parse};

/// Everything that is in `kvit.toml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder of the form files, `*.toml`.
    #[serde(default = "default::forms_dir")]
    #[schemars(extend("format" = "path"))]
    pub forms_dir: PathBuf,
    /// A folder with templates that replace Kvit's own.
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub templates_dir: Option<PathBuf>,
    /// The controller, as every receipt names it (G8, G9).
    pub controller: Controller,
    /// The broker that sites post to.
    #[serde(default)]
    pub broker: Broker,
    /// Where submissions, duties and sealed payloads live.
    #[serde(default)]
    pub store: Store,
    /// Where the data keys live, and the keys that wrap them.
    #[serde(default)]
    pub vault: Vault,
    /// The relay that mails are given to.
    pub smtp: Smtp,
    /// Signs the mails to departments, where it is there.
    #[serde(default)]
    pub signing: Option<Signing>,
    /// The service that takes submissions.
    #[serde(default)]
    pub intake: Intake,
    /// The service that sends mails.
    #[serde(default)]
    pub mailer: Mailer,
    /// The service that writes the journal.
    #[serde(default)]
    pub journaliser: Journaliser,
    /// The service that does what time decides.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// How a mail that the relay did not take is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// How long traces of a deleted submission are kept.
    #[serde(default)]
    pub retention: Retention,
    /// The log of proofs.
    #[serde(default)]
    pub evidence: Evidence,
    /// The embedded journal.
    #[serde(default)]
    pub journal: Journal,
    /// The web page for operations; `kvit up` serves the probes of all services here.
    #[serde(default)]
    pub console: Console,
    /// When the regular jobs run: cron expressions of five fields, in `controller.time_zone`.
    #[serde(default)]
    pub schedules: Schedules,
    /// One trace a submission, for an OpenTelemetry collector.
    #[serde(default)]
    pub traces: Traces,
    /// The producers, by id; the queue of one is `kvit.submissions.<id>`.
    #[serde(default)]
    pub sites: IndexMap<SiteId, Site>,
    /// The departments that receive mail, by id.
    #[serde(default)]
    pub departments: IndexMap<DepartmentId, Department>,
    /// A certificate that everything is encrypted to as well; its key is kept offline.
    #[serde(default)]
    pub recovery: Option<Recovery>,
    /// Journals outside Kvit, by name.
    #[serde(default)]
    pub journal_targets: IndexMap<String, JournalTarget>,
}

/// The controller, as every receipt names it. A text that is empty or says `TODO` refuses to start.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Controller {
    /// The controller's name.
    pub name: String,
    /// Its postal address.
    pub address: String,
    /// The data protection officer: an address or a secure page.
    pub dpo: String,
    /// Where citizens write safely.
    pub contact_url: String,
    /// The privacy page.
    pub privacy_url: String,
    /// Where to complain.
    pub complaint: String,
    /// The language of letters where a submission does not say: `da` or `en`.
    #[serde(default)]
    pub language: Language,
    /// The time zone of letters, deadlines and schedules (IANA name).
    #[serde(default = "default::time_zone", deserialize_with = "parse::time_zone")]
    #[schemars(with = "String", extend("format" = "time-zone", "default" = "Europe/Copenhagen"))]
    pub time_zone: TimeZone,
}

/// The broker.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Broker {
    /// Its address: `amqp://` on this machine, `amqps://` elsewhere (P12).
    #[schemars(extend("format" = "amqp-url", "default" = "amqp://guest:guest@127.0.0.1:5672/%2f", "writeOnly" = true))]
    pub url: Option<Secret>,
    /// File that holds `url`.
    #[schemars(extend("format" = "path"))]
    pub url_file: Option<PathBuf>,
    /// How many messages a service holds at once. Soon after a large one (over 32 MiB divided by this) it is four of that queue.
    #[schemars(range(min = 1))]
    pub prefetch: u16,
    /// Whether Kvit declares its queues and exchanges; `--no-declare` says no.
    pub declare: bool,
}

/// The store.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sqlite:FILE` or `postgres://…`, with `sslmode=require` outside this machine (P12).
    #[schemars(extend("format" = "store-url", "default" = "sqlite:kvit.db", "writeOnly" = true))]
    pub url: Option<Secret>,
    /// File that holds `url`.
    #[schemars(extend("format" = "path"))]
    pub url_file: Option<PathBuf>,
    /// The configuration's folder, for a relative path in `url_file`. Not a key of the file.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// The data keys, and the keys that wrap them: 32 bytes in base64, one a purpose. Each service reads only its own.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Vault {
    /// `sqlite:FILE` or `postgres://…`: never the store's own file or schema.
    #[schemars(extend("format" = "store-url", "default" = "sqlite:kvit-keys.db", "writeOnly" = true))]
    pub url: Option<Secret>,
    /// File that holds `url`.
    #[schemars(extend("format" = "path"))]
    pub url_file: Option<PathBuf>,
    /// Wraps what waits for intake, quarantined messages among it.
    #[schemars(extend("format" = "keys", "writeOnly" = true))]
    pub intake_key: Option<Secret>,
    /// File that holds `intake_key`.
    #[schemars(extend("format" = "path", "default" = "secrets/intake.key"))]
    pub intake_key_file: Option<PathBuf>,
    /// Wraps what the mailer sends.
    #[schemars(extend("format" = "keys", "writeOnly" = true))]
    pub mail_key: Option<Secret>,
    /// File that holds `mail_key`.
    #[schemars(extend("format" = "path", "default" = "secrets/mail.key"))]
    pub mail_key_file: Option<PathBuf>,
    /// Wraps the journal's copies.
    #[schemars(extend("format" = "keys", "writeOnly" = true))]
    pub journal_key: Option<Secret>,
    /// File that holds `journal_key`.
    #[schemars(extend("format" = "path", "default" = "secrets/journal.key"))]
    pub journal_key_file: Option<PathBuf>,
    /// Wraps the registrations.
    #[schemars(extend("format" = "keys", "writeOnly" = true))]
    pub registration_key: Option<Secret>,
    /// File that holds `registration_key`.
    #[schemars(extend("format" = "path", "default" = "secrets/registration.key"))]
    pub registration_key_file: Option<PathBuf>,
    /// Keys the digests that recognise a repeat.
    #[schemars(extend("format" = "keys", "writeOnly" = true))]
    pub index_key: Option<Secret>,
    /// File that holds `index_key`.
    #[schemars(extend("format" = "path", "default" = "secrets/index.key"))]
    pub index_key_file: Option<PathBuf>,
    /// The store, which `url` must not be. Not a key of the file.
    #[serde(skip)]
    pub(crate) store: Store,
}

/// The relay.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// `smtp://` on this machine; `smtps://` or `smtp+starttls://` elsewhere (P12). `USER:PASSWORD@` where it wants them.
    #[serde(default)]
    #[schemars(extend("format" = "smtp-url", "default" = "smtp://127.0.0.1:25", "writeOnly" = true))]
    pub url: Option<Secret>,
    /// File that holds `url`.
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub url_file: Option<PathBuf>,
    /// The sender that mails show: `Eksempel Kommune <kvittering@eksempel.example>`.
    #[schemars(extend("format" = "mailbox"))]
    pub from: String,
    /// The envelope sender; a token is added: `bounce+TOKEN@…`.
    #[serde(deserialize_with = "parse::address")]
    #[schemars(with = "String", extend("format" = "email"))]
    pub bounce: EmailAddress,
    /// How many connections are open at once.
    #[serde(default = "default::connections")]
    #[schemars(range(min = 1))]
    pub connections: u16,
    /// Larger department mails are split at intake.
    #[serde(default = "default::mail_bytes")]
    #[schemars(range(min = 65536))]
    pub max_message_bytes: usize,
}

/// The OpenPGP key that mails to departments are signed with. Without the section they are not signed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// The secret key, armored.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub key: Option<Secret>,
    /// File that holds `key`.
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub key_file: Option<PathBuf>,
}

/// The service that takes submissions.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Intake {
    /// The OpenPGP secret key that sites may seal their messages to, armored.
    #[schemars(extend("writeOnly" = true))]
    pub unseal_key: Option<Secret>,
    /// File that holds `unseal_key`.
    #[schemars(extend("format" = "path"))]
    pub unseal_key_file: Option<PathBuf>,
    /// A larger message is quarantined as `too_large`.
    #[schemars(range(min = 1024))]
    pub max_message_bytes: usize,
    /// Where it answers `/livez`, `/readyz` and `/metrics`.
    #[schemars(extend("format" = "listen"))]
    pub listen: String,
}

/// The service that sends mails.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mailer {
    /// Where it answers `/livez`, `/readyz` and `/metrics`.
    #[schemars(extend("format" = "listen"))]
    pub listen: String,
    /// How long a mail in hand is this worker's alone; the worker renews it while it sends.
    #[serde(with = "parse::duration")]
    #[schemars(with = "String", extend("format" = "duration"))]
    pub lease: SignedDuration,
}

/// The service that writes the journal.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Journaliser {
    /// Where it answers `/livez`, `/readyz` and `/metrics`.
    #[schemars(extend("format" = "listen"))]
    pub listen: String,
    /// How long an entry in hand is this worker's alone; the worker renews it while it writes.
    #[serde(with = "parse::duration")]
    #[schemars(with = "String", extend("format" = "duration"))]
    pub lease: SignedDuration,
    /// A submission that belongs in a journal and is in none by then raises an alarm.
    #[serde(with = "parse::duration")]
    #[schemars(with = "String", extend("format" = "duration"))]
    pub alarm_after: SignedDuration,
}

/// The service that does what time decides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scheduler {
    /// Where it answers `/livez`, `/readyz` and `/metrics`.
    #[schemars(extend("format" = "listen"))]
    pub listen: String,
}

/// How a mail that the relay did not take is tried again: later and later, with jitter. Durations are ISO 8601.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The first wait.
    #[serde(with = "parse::duration")]
    #[schemars(with = "String", extend("format" = "duration"))]
    pub first: SignedDuration,
    /// The longest wait.
    #[serde(with = "parse::duration")]
    #[schemars(with = "String", extend("format" = "duration"))]
    pub most: SignedDuration,
    /// When it is given up: a department's mail is held, a receipt cancelled.
    #[serde(with = "parse::duration")]
    #[schemars(with = "String", extend("format" = "duration"))]
    pub give_up: SignedDuration,
}

/// How long traces of a deleted submission are kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// How long, at least (up to a month more), a deleted submission is found by SITE/UUID or reference and a repeat recognised.
    #[serde(with = "parse::duration")]
    #[schemars(with = "String", extend("format" = "duration"))]
    pub link: SignedDuration,
}

/// The log of proofs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// Its folder.
    #[schemars(extend("format" = "path"))]
    pub dir: PathBuf,
    /// A second folder; none where it is empty.
    #[schemars(extend("format" = "path"))]
    pub copy_dir: Option<PathBuf>,
    /// The Ed25519 seed that signs checkpoints: 32 bytes in base64.
    #[schemars(extend("format" = "key", "writeOnly" = true))]
    pub key: Option<Secret>,
    /// File that holds `key`.
    #[schemars(extend("format" = "path", "default" = "secrets/evidence.key"))]
    pub key_file: Option<PathBuf>,
    /// Who gets the daily checkpoint.
    #[serde(deserialize_with = "parse::optional_address")]
    #[schemars(with = "Option<String>", extend("format" = "email"))]
    pub mail_to: Option<EmailAddress>,
}

/// The embedded journal.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// Its folder.
    #[schemars(extend("format" = "path"))]
    pub dir: PathBuf,
    /// The journal's OpenPGP key, armored; made at first use in `dir` otherwise.
    #[schemars(extend("writeOnly" = true))]
    pub key: Option<Secret>,
    /// File that holds `key`.
    #[schemars(extend("format" = "path"))]
    pub key_file: Option<PathBuf>,
}

/// The web page for operations.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Where it listens: outside this machine only behind a proxy that `proxies` names.
    #[schemars(extend("format" = "listen"))]
    pub listen: String,
    /// The addresses of proxies in front of it, which speak TLS with the browsers.
    pub proxies: Vec<String>,
    /// The header in which such a proxy names the person that it has logged in, as `X-Remote-User`: their `login`. The
    /// proxy must take the header out of what browsers send.
    pub user_header: Option<String>,
    /// How long a person stays logged in.
    #[serde(with = "parse::duration")]
    #[schemars(with = "String", extend("format" = "duration"))]
    pub session: SignedDuration,
    /// Who may log in, by the id that the evidence knows them by: choose ids that name nobody, as `op-1`.
    pub users: IndexMap<String, User>,
    /// A provider at which people log in.
    pub oidc: Option<Oidc>,
}

/// When the regular jobs run: cron expressions of five fields, in `controller.time_zone`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Schedules {
    /// Deletes what is due, and finishes deletions that were cut short.
    #[schemars(extend("format" = "cron"))]
    pub purge: String,
    /// Closes events and makes their extracts.
    #[schemars(extend("format" = "cron"))]
    pub extract: String,
    /// Judges the certificates, and warns before they expire.
    #[schemars(extend("format" = "cron"))]
    pub keys: String,
    /// Signs the day's checkpoint.
    #[schemars(extend("format" = "cron"))]
    pub checkpoint: String,
}

/// One trace a submission, for an OpenTelemetry collector: ids, words and times, and never what a citizen wrote.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// Where the collector takes OTLP over HTTP, as `http://127.0.0.1:4318/v1/traces`. Without it there are no traces.
    #[schemars(extend("format" = "traces-url"))]
    pub url: Option<String>,
    /// Of how many of 100 submissions there is a trace; chosen by id, so that a trace is there in full or not at all.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u8,
}
