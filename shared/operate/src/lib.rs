//! What a person may see of Kvit and do with it: one table of actions, for the command, the page and the API alike.
//!
//! [`ACTIONS`] says of each its name, who may, and what it takes; [`perform`] does it. The command line speaks for the
//! machine's own operators; the console for the person who is logged in, with that person's role and departments.
//!
//! What this crate is not: it reads no key and sees no answer of a form. What needs a key is asked of the service that
//! has it, through the ledger.

mod actions;
mod args;
mod ask;
mod duty;
pub mod event;
mod forecast;
pub mod key;
pub mod look;
mod pause;
mod quarantine;
mod refusal;
mod registration;
pub mod schedule;
pub mod times;

use std::sync::Arc;

use domain::{DepartmentId, FormId, Role, SiteId};
use jiff::Timestamp;
use ledger::{Concerned, Ledger};
use runtime::{Clock, Exit, Loaded};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use actions::{ACTIONS, Action, find};
pub use ask::ask;
pub use forecast::OF_ENTRIES;
pub use pause::seen as pauses_seen;
pub use refusal::{Because, Refusal};

/// The actor's role does not allow the action (`EX_NOPERM` of sysexits).
pub const FORBIDDEN: u8 = 77;

/// What an action works with.
#[derive(Clone)]
pub struct Desk {
    /// The configuration and the forms.
    pub loaded: Arc<Loaded>,
    /// The duty ledger.
    pub ledger: Ledger,
    /// The time.
    pub clock: Clock,
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// An id that means nothing elsewhere: the evidence names it.
    pub id: String,
    /// What this person may do; the machine's own operator, who has the command line, may do everything.
    pub role: Option<Role>,
    /// Only what concerns these departments; everything where there is none.
    pub departments: Vec<DepartmentId>,
}

impl Actor {
    /// Whoever has the command line of the machine.
    #[must_use]
    pub fn of_machine(id: String) -> Self {
        Self {
            id,
            role: None,
            departments: Vec::new(),
        }
    }

    /// Whether this person may do it at all.
    #[must_use]
    pub fn may(&self, action: &Action) -> bool {
        self.role.is_none_or(|role| action.roles.contains(&role))
    }

    /// Whether a department's business is this person's.
    #[must_use]
    pub fn concerns(&self, department: &DepartmentId) -> bool {
        self.departments.is_empty() || self.departments.contains(department)
    }
}

/// An action in hand.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    desk: &'a Desk,
    actor: &'a Actor,
    action: &'static Action,
}

impl Call<'_> {
    fn now(&self) -> Timestamp {
        self.desk.clock.now()
    }

    /// Records the act, before it is done: what cannot be recorded is not done.
    async fn record(&self, on: impl Into<String>) -> anyhow::Result<()> {
        let (actor, now) = (self.actor.id.clone(), self.now());
        let recorded = self.desk.ledger.acts(actor, self.action.name, on.into(), now).await;
        Ok(recorded.map_err(unavailable)?)
    }

    /// Refuses what concerns another department.
    fn concerns(&self, department: &DepartmentId) -> anyhow::Result<()> {
        if self.actor.concerns(department) {
            return Ok(());
        }
        let about = [("department", department.as_str())];
        let words = format!("{department} is not one of your departments");
        Err(forbidden(Because::OtherDepartment, &about, words))
    }

    /// Refuses what concerns everybody to those who see only some departments.
    fn concerns_all(&self, what: &str) -> anyhow::Result<()> {
        if self.actor.departments.is_empty() {
            return Ok(());
        }
        let words = format!("{what} concerns every department, and you have only some");
        Err(forbidden(Because::EveryDepartment, &[], words))
    }

    /// Who this is, to those who list acts, where the person sees only what concerns some departments.
    fn concerned(&self) -> Option<Concerned> {
        let departments = &self.actor.departments;
        if departments.is_empty() {
            return None;
        }
        let forms = self.desk.loaded.forms.iter();
        let theirs = forms.filter(|form| departments.contains(&form.department));
        Some(Concerned {
            actor: self.actor.id.clone(),
            departments: departments.clone(),
            forms: theirs
                .flat_map(|form| form.sites().map(|site| (site.clone(), form.id.clone())))
                .collect(),
        })
    }

    /// The department of a form, where the form is configured.
    fn department_of(&self, site: &str, form: &str) -> Option<DepartmentId> {
        let (site, form) = (site.parse::<SiteId>().ok()?, form.parse::<FormId>().ok()?);
        let form = self.desk.loaded.forms.get(&site, &form)?;
        Some(form.department.clone())
    }
}

fn forbidden(code: Because, about: &[(&'static str, &str)], words: impl Into<String>) -> anyhow::Error {
    Exit::new(FORBIDDEN, Refusal::new(code, about, words)).into()
}

fn usage(code: Because, about: &[(&'static str, &str)], words: impl Into<String>) -> anyhow::Error {
    Exit::usage(Refusal::new(code, about, words)).into()
}

fn data(code: Because, about: &[(&'static str, &str)], words: impl Into<String>) -> anyhow::Error {
    Exit::data(Refusal::new(code, about, words)).into()
}

fn away(code: Because, about: &[(&'static str, &str)], words: impl Into<String>) -> anyhow::Error {
    Exit::unavailable(Refusal::new(code, about, words)).into()
}

/// A store that did not answer is a service that is unavailable (69).
#[must_use]
pub fn unavailable(error: store::StoreError) -> Exit {
    let why = anyhow::Error::new(error).context("asking the ledger");
    Exit::unavailable(Refusal::new(Because::StoreAway, &[], format!("{why:#}")))
}

fn read<T: DeserializeOwned>(args: Value) -> anyhow::Result<T> {
    // serde's words may hold what was given; the person who gave it is the one who reads them.
    serde_json::from_value(args).map_err(|error| {
        let words = error.to_string();
        usage(Because::Fields, &[("why", words.as_str())], words.as_str())
    })
}

fn value(answer: &impl Serialize) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(answer)?)
}

/// Does an action of [`ACTIONS`] by its name.
///
/// # Errors
///
/// Where the role does not allow it (77), the arguments are wrong (64), the state refuses it (65), or a service that it
/// needs is away (69).
pub async fn perform(desk: &Desk, actor: &Actor, name: &str, args: Value) -> anyhow::Result<Value> {
    let Some(action) = find(name) else {
        return Err(usage(
            Because::NoAction,
            &[("name", name)],
            format!("there is no action {name:?}"),
        ));
    };
    if !actor.may(action) {
        let words = format!("your role does not allow {name}");
        return Err(forbidden(Because::Role, &[("name", name)], words));
    }
    let call = Call { desk, actor, action };
    match name {
        "status" => {
            let mut status = look::status(desk).await?;
            status.paused = pause::seen(desk, actor, status.paused);
            value(&status)
        }
        "submission.list" => value(&look::submissions(call, read(args)?).await?),
        "submission.show" => value(&look::submission(call, read(args)?).await?),
        "quarantine.list" => value(&quarantine::list(call, read(args)?).await?),
        "quarantine.retry" => quarantine::retry(call, read(args)?).await,
        "quarantine.discard" => quarantine::discard(call, read(args)?).await,
        "duty.list" => value(&duty::list(call, read(args)?).await?),
        "duty.retry" | "duty.hold" | "duty.release" | "duty.discard" => duty::decide(call, read(args)?).await,
        "event.list" => value(&event::list(call).await?),
        "event.show" => value(&event::one(call, read(args)?).await?),
        "event.set" => value(&event::set(call, read(args)?).await?),
        "event.cancel" => value(&event::cancel(call, read(args)?).await?),
        "event.erased" => event::erased(call, read(args)?).await,
        "registration.export" => registration::export(call, read(args)?).await,
        "registration.confirm" => registration::confirm(call, read(args)?).await,
        "registration.withdraw" => registration::withdraw(call, read(args)?).await,
        "pause.list" => value(&pause::seen(desk, actor, look::pauses(desk).await?)),
        "pause" => value(&pause::pause(call, read(args)?).await?),
        "resume" => pause::resume(call, read(args)?).await,
        "schedule.list" => value(&schedule::list(desk).await?),
        "schedule.history" => value(&schedule::history(desk, &read::<args::OfSchedule>(args)?.name).await?),
        "schedule.run" => schedule::run(call, read(args)?).await,
        "key.list" => {
            let mut listed = key::list(desk).await?;
            // The recovery certificate is everybody's.
            listed.retain(|row| row.department.as_ref().is_none_or(|of| actor.concerns(of)));
            value(&listed)
        }
        "key.test" => key::test(call, read(args)?).await,
        "key.add" => value(&key::add(call, read(args)?).await?),
        "evidence.list" => value(&look::evidence(desk)?),
        "evidence.prove" => look::prove(call, read(args)?).await,
        "act.list" => value(&look::acts(call, read(args)?).await?),
        _ => unreachable!("every name of the table is above: a test asks for each"),
    }
}
