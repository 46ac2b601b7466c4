//! The command line of `kvit journal`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use domain::FormId;
use jiff::Timestamp;

use crate::args::time;

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Lists entries, newest first
    List(ListArgs),
    /// Shows an entry, its versions and what happened, without content
    Show {
        /// The entry's id, or the reference
        id: String,
    },
    /// Marks a submission for the journal, while its copy waits
    Mark {
        /// Kvit's id, the reference, or SITE/UUID
        id: String,
        #[command(flatten)]
        case: CaseArgs,
    },
    /// Journalises what a caseworker saved from the department's mail
    Add {
        /// The reference
        reference: String,
        #[command(flatten)]
        content: ContentArgs,
        #[command(flatten)]
        case: CaseArgs,
    },
    /// Adds an annotation, read from standard input
    Annotate {
        /// The entry's id, or the reference
        id: String,
    },
    /// Adds a corrected version; the earlier ones stay
    Correct {
        /// The entry's id, or the reference
        id: String,
        #[command(flatten)]
        content: ContentArgs,
    },
    /// Closes a case: the periods of its entries run from now
    CloseCase {
        /// Its number
        number: String,
    },
    /// Says when an entry goes, and why
    Explain {
        /// The entry's id, or the reference
        id: String,
    },
    /// Writes a package of what an archive is to have
    Handover {
        /// The folder; it must not hold anything yet
        #[arg(long)]
        out: PathBuf,
    },
    /// Records that the archive has a package
    Acknowledge {
        /// The package's id
        package: String,
    },
    /// Writes entries as bags, opened
    Export {
        /// Entries' ids or references
        ids: Vec<String>,
        /// Every entry of this case
        #[arg(long)]
        case: Option<String>,
        /// The folder; it must not hold anything yet
        #[arg(long)]
        out: PathBuf,
    },
    /// Sends what failed, or waits, for one journal to another
    Retarget {
        /// The journal that it was for
        from: String,
        /// The journal that it goes to
        to: String,
        /// Only this submission's: Kvit's id, the reference, or SITE/UUID
        #[arg(long)]
        submission: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Of this case
    #[arg(long)]
    pub(crate) case: Option<String>,
    /// Of this form
    #[arg(long)]
    pub(crate) form: Option<FormId>,
    /// In this state: active, archived, deleted, transferred
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Received since
    #[arg(long, value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// With the party whose number or address stands on standard input
    #[arg(long)]
    pub(crate) party: bool,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct CaseArgs {
    /// The case's number; opened where there is none [default: the reference]
    #[arg(long)]
    pub(crate) case: Option<String>,
    /// What a case that is opened is about; name no person [default: the form's theme]
    #[arg(long, requires = "case")]
    pub(crate) title: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ContentArgs {
    /// The answers as JSON (`indsendelse.json`); `-` is standard input
    pub(crate) file: PathBuf,
    /// The attachments that the answers name
    pub(crate) attachments: Vec<PathBuf>,
}
