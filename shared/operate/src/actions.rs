//! The table.

use domain::Role;
use utoipa::PartialSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::args;

/// Something that a person can see or do.
#[derive(Debug)]
pub struct Action {
    /// Its name, as `duty.retry`. The command is `kvit duty retry`, the page `/act/duty.retry`, the API
    /// `/api/v1/duty/retry`; the evidence has it as the event.
    pub name: &'static str,
    /// Whether anything changes by it: then it is a POST, and leaves a leaf.
    pub changes: bool,
    /// Who may.
    pub roles: &'static [Role],
    /// What it does.
    pub about: &'static str,
    /// What it takes.
    pub takes: fn() -> RefOr<Schema>,
}

impl Action {
    /// Where the API has it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/api/v1/{}", self.name.replace('.', "/"))
    }
}

/// Whoever watches.
const WATCH: &[Role] = &[Role::Viewer, Role::Operator, Role::KeyAdmin, Role::Officer];
/// Whoever watches, and departments for what is their own.
const ALL: &[Role] = &[
    Role::Viewer,
    Role::Operator,
    Role::KeyAdmin,
    Role::Officer,
    Role::Department,
];
const OPERATE: &[Role] = &[Role::Operator];
/// Operators, and departments for what is their own.
const OWN: &[Role] = &[Role::Operator, Role::Department];
const KEYS: &[Role] = &[Role::KeyAdmin];

const fn sees(name: &'static str, roles: &'static [Role], takes: fn() -> RefOr<Schema>, about: &'static str) -> Action {
    Action {
        name,
        changes: false,
        roles,
        about,
        takes,
    }
}

const fn does(name: &'static str, roles: &'static [Role], takes: fn() -> RefOr<Schema>, about: &'static str) -> Action {
    Action {
        name,
        changes: true,
        roles,
        about,
        takes,
    }
}

/// Everything that a person can see or do.
pub const ACTIONS: &[Action] = &[
    sees("status", WATCH, args::Nothing::schema, "The conservation figures"),
    sees(
        "submission.list",
        WATCH,
        args::Submissions::schema,
        "Submissions, newest first, without content",
    ),
    sees(
        "submission.show",
        WATCH,
        args::Id::schema,
        "One timeline, without content, and why it is kept",
    ),
    sees(
        "quarantine.list",
        WATCH,
        args::Matching::schema,
        "Messages that could not be taken",
    ),
    does(
        "quarantine.retry",
        OPERATE,
        args::Matching::schema,
        "Tries one, the selected, or all that match, again",
    ),
    does(
        "quarantine.discard",
        OPERATE,
        args::Matching::schema,
        "Gives one, the selected, or all that match, up",
    ),
    sees("duty.list", WATCH, args::Matching::schema, "What is owed, newest first"),
    does(
        "duty.retry",
        OPERATE,
        args::Matching::schema,
        "Tries one, the selected, or all that match, again now",
    ),
    does(
        "duty.hold",
        OPERATE,
        args::Matching::schema,
        "Holds one, the selected, or all that match, until released",
    ),
    does(
        "duty.release",
        OPERATE,
        args::Matching::schema,
        "Releases one, the selected, or all that match",
    ),
    does(
        "duty.discard",
        OPERATE,
        args::Matching::schema,
        "Gives one, the selected, or all that match, up",
    ),
    sees(
        "pause.list",
        WATCH,
        args::Nothing::schema,
        "What rests, by whom and why",
    ),
    does(
        "pause",
        OPERATE,
        args::Pausing::schema,
        "Lets a queue, a department or a form rest",
    ),
    does("resume", OPERATE, args::Resuming::schema, "Lets it go on"),
    sees(
        "schedule.list",
        WATCH,
        args::Nothing::schema,
        "What runs when, and how it went the last time",
    ),
    sees(
        "schedule.history",
        WATCH,
        args::OfSchedule::schema,
        "The last runs of a schedule, newest first, and how each went",
    ),
    does("schedule.run", OPERATE, args::Running::schema, "Runs a schedule now"),
    sees(
        "event.list",
        ALL,
        args::Nothing::schema,
        "Events, the next deadline first",
    ),
    sees("event.show", ALL, args::OfEvent::schema, "One event with its lists"),
    does("event.set", OPERATE, args::Dates::schema, "Sets the dates of an event"),
    does("event.cancel", OPERATE, args::OfEvent::schema, "Cancels an event"),
    does(
        "event.erased",
        OWN,
        args::Coded::schema,
        "A department says that it has deleted its copies",
    ),
    does(
        "registration.export",
        OWN,
        args::Exporting::schema,
        "Sends an event's registrations, encrypted",
    ),
    does(
        "registration.confirm",
        OWN,
        args::Coded::schema,
        "Gives the code of a list back",
    ),
    does(
        "registration.withdraw",
        OPERATE,
        args::Id::schema,
        "Withdraws a registration",
    ),
    sees(
        "key.list",
        WATCH,
        args::Nothing::schema,
        "The departments' certificates, and when they end",
    ),
    does(
        "key.test",
        KEYS,
        args::OfDepartment::schema,
        "Sends a department an encrypted test mail",
    ),
    does(
        "key.add",
        KEYS,
        args::Adding::schema,
        "Records a certificate for a department",
    ),
    sees("evidence.list", WATCH, args::Nothing::schema, "The signed logs"),
    sees(
        "evidence.prove",
        WATCH,
        args::Id::schema,
        "The certificate of a deletion",
    ),
    sees("act.list", WATCH, args::Acts::schema, "Who did what"),
];

/// The action of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.name == name)
}
