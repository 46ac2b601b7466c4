//! What every worker does beside its own story: open what the configuration names, say that it lives, know the
//! departments' certificates, and put a notice on its way.
//!
//! What this crate is not: it takes, sends and deletes nothing. It grows only by what two services already do.

mod background;
mod certificates;
pub mod cron;
mod leases;
mod notices;
mod open;
mod past;
mod pauses;
mod presence;
mod retry;
pub mod rotate;
mod traces;

pub use background::forever;
pub use certificates::{Certificates, DepartmentState, Listed};
pub use leases::{Held, Leases};
pub use notices::Notices;
pub use open::{Keys, ledger, letters, link, signer, vault};
pub use opentelemetry::trace::SpanKind;
pub use past::{another_past, behind, refuse_another_past};
pub use pauses::Pauses;
pub use presence::{HEARD, Presence, REMEMBERED, work};
pub use retry::pause;
pub use traces::{Exporting, Fact, Step, Traces, traces};
