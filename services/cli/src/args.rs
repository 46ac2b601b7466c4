//! The command line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use domain::{DepartmentId, FormId, Language, Pausable, SiteId};
use jiff::Timestamp;
use runtime::{Clock, ConfigArgs};

/// Kvit takes form submissions, sends them on encrypted, and is then quit of them, with proof.
#[derive(Debug, Parser)]
#[command(name = "kvit", version, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Prints one JSON value instead of words
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Validates the configuration and ends, as `kvit check`
    #[arg(long)]
    pub(crate) check_config: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes a complete configuration: secrets, an example department, a form
    Init(InitArgs),
    /// Validates configuration, forms and keys; lists every fault
    Check,
    /// Probes broker, relay, store, keys and clock, and looks at disks, certificates, evidence and rights
    Doctor,
    /// Runs all services in one process
    Up,
    /// Demonstrates Kvit with a private broker, an inbox and real submissions
    Demo(DemoArgs),
    /// Forms: list, the article 30 register, import from Drupal
    #[command(subcommand)]
    Form(FormCommand),
    /// OpenPGP certificates, and the wrapping keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// What runs when
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// The conservation figures
    Status,
    /// Submissions: try, send, list, show
    #[command(subcommand)]
    Submission(SubmissionCommand),
    /// Messages that could not be taken
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// What is owed
    #[command(subcommand)]
    Duty(DutyCommand),
    /// The dates of events
    #[command(subcommand)]
    Event(EventCommand),
    /// Extracts of registrations, always encrypted
    #[command(subcommand)]
    Registration(RegistrationCommand),
    /// Who did what
    #[command(subcommand)]
    Act(ActCommand),
    /// People who may log in to the console
    #[command(subcommand)]
    User(UserCommand),
    /// Lets a queue, a department or a form rest: what is owed waits, and nothing is given up
    Pause(PauseArgs),
    /// Lets it go on
    Resume(ResumeArgs),
    /// Writes the manual pages and the shells' completions into a folder
    #[command(hide = true)]
    Generate(GenerateArgs),
    /// The signed log of what happened, and its proofs
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// The embedded journal; what identifies a person is read from standard input
    #[command(subcommand)]
    Journal(crate::journal::args::JournalCommand),
    /// Brings a ledger that was restored from a backup up to its evidence
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Only says how far the ledger is behind, and what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder; made where it does not exist, and never overwritten
    pub(crate) dir: PathBuf,
    /// Where stores, evidence and journal are kept, as /var/lib/kvit [default: the same folder]
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Ends by itself: 0 when everything held
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FormCommand {
    /// Lists the forms
    List,
    /// Writes the record of processing activities (GDPR article 30) from the forms
    Register {
        /// In this language: da or en [default: the controller's]
        #[arg(long, value_parser = language)]
        language: Option<Language>,
    },
    /// Makes a form file from a webform that Drupal exported, with TODO where a person must decide
    Import {
        /// The exported webform (`drush config:export`)
        file: PathBuf,
        /// Keeps the decisions of the existing form file, and shows what changed
        #[arg(long)]
        update: bool,
        /// The site that has the form
        #[arg(long)]
        site: Option<SiteId>,
        /// Where to write it [default: the configuration's folder of forms]
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Lists every certificate, its state and when it expires
    List,
    /// Says whether a certificate file could be used
    Check {
        /// The file
        file: PathBuf,
    },
    /// Records a certificate for a department, pinned by its fingerprint
    Add {
        /// The department
        department: DepartmentId,
        /// The file
        file: PathBuf,
    },
    /// Sends the department an encrypted test mail
    Test {
        /// The department
        department: DepartmentId,
    },
    /// Wraps the data keys by the wrapping keys that stand first in their files now
    Rotate {
        /// Only of these purposes [default: all]
        #[arg(value_enum)]
        purposes: Vec<RotatedKey>,
    },
}

/// A wrapping key that can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RotatedKey {
    /// `vault.intake_key`
    Intake,
    /// `vault.mail_key`
    Mail,
    /// `vault.journal_key`
    Journal,
    /// `vault.registration_key`
    Registration,
    /// `vault.index_key`
    Index,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Lists the schedules with their last and next run
    List,
    /// Lists the last runs of a schedule, newest first
    History {
        /// Its name
        name: String,
    },
    /// Says when a schedule, or a cron expression, runs next
    Next {
        /// A schedule's name, or five cron fields
        name_or_expression: String,
        /// How many times
        #[arg(short = 'n', default_value_t = 5)]
        count: usize,
        /// From when [default: now]
        #[arg(long, value_parser = time)]
        from: Option<Timestamp>,
    },
    /// Runs a schedule now
    Run {
        /// Its name
        name: String,
        /// Only lists what it would do, and for the rest, why not
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// Lists the events, the next deadline first
    List,
    /// Shows an event, its dates and its extracts
    Show {
        /// SITE/FORM/ENTITY, SITE/FORM, or its name E-XXXX-XXXX
        event: String,
    },
    /// Sets dates, which stand whatever the site says
    Set {
        /// SITE/FORM/ENTITY, SITE/FORM, or its name E-XXXX-XXXX
        event: String,
        /// The deadline: local time as 2026-12-01T23:59, or with an offset
        #[arg(long)]
        deadline: Option<String>,
        /// When it has been held; likewise
        #[arg(long)]
        held: Option<String>,
    },
    /// Cancels an event: extracted at once, and held on the 14th day after
    Cancel {
        /// SITE/FORM/ENTITY, SITE/FORM, or its name E-XXXX-XXXX
        event: String,
    },
    /// Records that the department has deleted its copies
    Erased {
        /// SITE/FORM/ENTITY, SITE/FORM, or its name E-XXXX-XXXX
        event: String,
        /// The code of the notice to delete
        code: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistrationCommand {
    /// Sends a department everything that is kept for an event, encrypted
    Export {
        /// SITE/FORM/ENTITY, SITE/FORM, or its name E-XXXX-XXXX
        event: String,
        /// The department
        #[arg(long)]
        to: DepartmentId,
    },
    /// Gives back the code of an extract: the registrations in it may go
    Confirm {
        /// SITE/FORM/ENTITY, SITE/FORM, or its name E-XXXX-XXXX
        event: String,
        /// The code in the extract's mail
        code: String,
    },
    /// Withdraws a registration
    Withdraw {
        /// Kvit's id, the reference, or SITE/UUID
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SubmissionCommand {
    /// Says what intake would do with this message, without doing it or printing a value
    Check {
        /// The form
        #[arg(long)]
        form: FormId,
        /// The site, where several have the form
        #[arg(long)]
        site: Option<SiteId>,
        /// The message; `-` is standard input
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Publishes a message to a site's queue, with a confirm
    Send {
        /// The site
        #[arg(long)]
        site: SiteId,
        /// `x-kvit-form`, for messages that hold bare answers
        #[arg(long)]
        form: Option<FormId>,
        /// The message; `-` is standard input
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Lists submissions, newest first
    List {
        /// Of this site
        #[arg(long)]
        site: Option<SiteId>,
        /// Of this form
        #[arg(long)]
        form: Option<FormId>,
        /// In this state: open, deleting, deleted
        #[arg(long)]
        state: Option<domain::State>,
        /// Taken since
        #[arg(long, value_parser = time)]
        since: Option<Timestamp>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Shows a timeline, without content
    Show {
        /// Kvit's id, the reference, or SITE/UUID
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct QuarantineMatch {
    /// This one
    pub(crate) id: Option<String>,
    /// All of this form
    #[arg(long)]
    pub(crate) form: Option<FormId>,
    /// All of this site
    #[arg(long)]
    pub(crate) site: Option<SiteId>,
    /// All with this reason: `malformed`, `too_large`, `unknown_form`, `unknown_field`, `missing_field`, `invalid_field`,
    /// `undecryptable`, `not_sealed` or `internal`
    #[arg(long)]
    pub(crate) reason: Option<domain::quarantine::QuarantineReason>,
    /// All that came since: a time, a date, or a duration as PT2H or P1D, counted back from now
    #[arg(long, value_parser = time)]
    pub(crate) since: Option<Timestamp>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// Lists the messages that wait for a decision, oldest first
    List {
        #[command(flatten)]
        matching: QuarantineMatch,
        /// Those that were decided, too
        #[arg(long)]
        all: bool,
    },
    /// Shows one, without content
    Show {
        /// Its id
        id: String,
    },
    /// Tries one, or all that match, again
    Retry {
        #[command(flatten)]
        matching: QuarantineMatch,
        /// Only counts
        #[arg(long)]
        dry_run: bool,
    },
    /// Gives one, or all that match, up
    Discard {
        #[command(flatten)]
        matching: QuarantineMatch,
        /// The reason, for the record
        #[arg(long)]
        why: String,
        /// Only counts
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DutyMatch {
    /// This one
    pub(crate) id: Option<String>,
    /// All of this submission
    #[arg(long)]
    pub(crate) submission: Option<String>,
    /// All of this kind
    #[arg(long)]
    pub(crate) kind: Option<domain::DutyKind>,
    /// All in this state
    #[arg(long)]
    pub(crate) state: Option<domain::DutyState>,
    /// All with this reason
    #[arg(long)]
    pub(crate) reason: Option<domain::Reason>,
    /// All of this form
    #[arg(long)]
    pub(crate) form: Option<FormId>,
    /// All of this site
    #[arg(long)]
    pub(crate) site: Option<SiteId>,
    /// All that began since
    #[arg(long, value_parser = time)]
    pub(crate) since: Option<Timestamp>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DutyCommand {
    /// Lists duties, newest first
    List {
        #[command(flatten)]
        matching: DutyMatch,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Tries one, or all that match, again now
    Retry {
        #[command(flatten)]
        matching: DutyMatch,
        /// Only counts
        #[arg(long)]
        dry_run: bool,
    },
    /// Holds one, or all that match, until released
    Hold {
        #[command(flatten)]
        matching: DutyMatch,
        /// Only counts
        #[arg(long)]
        dry_run: bool,
    },
    /// Releases one, or all that match
    Release {
        #[command(flatten)]
        matching: DutyMatch,
        /// Only counts
        #[arg(long)]
        dry_run: bool,
    },
    /// Gives one, or all that match, up: it becomes cancelled
    Discard {
        #[command(flatten)]
        matching: DutyMatch,
        /// The reason, for the record
        #[arg(long)]
        why: String,
        /// Only counts
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ActCommand {
    /// Lists what people did, newest first
    List {
        /// Done since: a time, a date, or a duration as PT2H or P1D, counted back from now
        #[arg(long, value_parser = time)]
        since: Option<Timestamp>,
        /// At most so many
        #[arg(long, default_value_t = 200)]
        limit: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Reads a password from standard input and prints its hash, for `password_hash`
    Hash,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The folder; `man/` and `completions/` are made in it
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    /// What kind of thing
    #[arg(value_parser = pausable())]
    pub(crate) what: Pausable,
    /// Its name, as in the configuration; of a queue, as the broker has it
    pub(crate) name: String,
    /// The reason, for whoever wonders
    #[arg(long)]
    pub(crate) why: String,
    /// Goes on by itself then: local time as 2026-12-01T07:00, or with an offset
    #[arg(long)]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// What kind of thing
    #[arg(value_parser = pausable())]
    pub(crate) what: Pausable,
    /// Its name
    pub(crate) name: String,
    /// The reason, for the record
    #[arg(long)]
    pub(crate) why: Option<String>,
}

fn pausable() -> impl TypedValueParser<Value = Pausable> {
    PossibleValuesParser::new(Pausable::ALL.iter().map(|what| what.as_str())).try_map(|word| word.parse::<Pausable>())
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Checks a copied evidence folder, or a deletion certificate, offline
    Verify {
        /// The folder or the certificate
        path: PathBuf,
        /// The log's verifier key, or a file that holds it; got before, and not from the folder
        #[arg(long, required = true)]
        key: Vec<String>,
        /// Checkpoints that somebody kept: the log must continue them
        #[arg(long, value_name = "CHECKPOINT", num_args = 1..)]
        against: Vec<PathBuf>,
    },
    /// Writes the certificate of a deletion
    Prove {
        /// Kvit's id, the reference, or SITE/UUID
        id: String,
        /// Where to write it [default: standard output]
        #[arg(long)]
        out: Option<PathBuf>,
        /// From this evidence folder, by Kvit's id, without any configuration
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Copies the log as its checkpoint stands now
    Export {
        /// The folder; it must not hold anything yet
        dir: PathBuf,
    },
    /// Prints the verifier key of every year's log
    Key,
}

/// A time as RFC 3339 writes it, a date, which begins at midnight in UTC, or a duration, counted back from now.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    operate::times::since(text, Clock::system().now()).map_err(|error| error.to_string())
}

fn language(text: &str) -> Result<Language, &'static str> {
    match text {
        "da" => Ok(Language::Da),
        "en" => Ok(Language::En),
        _ => Err("there are da and en"),
    }
}
