//! Places at which a test may end, stop or slow a process, or make it wrong on purpose.
//!
//! Kvit promises that every process can be killed between any two effects. A *point* names the moment between two:
//!
//! ```
//! # async fn record() {
//! // … the data key is committed …
//! failpoint::reached("intake.key_committed").await;
//! // … the submission is committed …
//! # }
//! ```
//!
//! What a program does there is said by `KVIT_FAILPOINTS` in its environment: `POINT=ACTION`, several with `;` between.
//! An action is `kill` (SIGKILL: no destructor, no flush), `panic`, `hang` (this task for ever) or `delay:MILLISECONDS`;
//! `@N` lets it happen at the N-th time that the point is reached, as `mailer.sent=kill@3` (`delay` from then on).
//! `KVIT_MUTANT` names one deliberate fault ([`mutant`]): a suite that does not notice it is no suite.
//!
//! Nothing of this is in a program that is shipped: it needs the feature `failpoints` *and* a profile with debug
//! assertions, so that a release build has none, whatever features the workspace's tests switch on beside it.
//!
//! (The crate `fail` has the same idea, but no action that ends a process as a power cut does, and waits by blocking the
//! thread.)

#[cfg(all(feature = "failpoints", debug_assertions))]
mod armed;
#[cfg(all(feature = "failpoints", debug_assertions))]
pub use armed::{mutant, poisoned, reached};

/// Whether this build has fail points.
pub const ARMED: bool = cfg!(all(feature = "failpoints", debug_assertions));

/// A moment between two effects, by its name.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
#[expect(clippy::unused_async, reason = "an armed point may wait")]
pub async fn reached(_point: &'static str) {}

/// Whether this process is to have this fault.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
#[must_use]
pub const fn mutant(_name: &'static str) -> bool {
    false
}

/// Does to this thread what a poisoned message says that it does to its reader.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
pub fn poisoned(_content: impl FnOnce() -> Vec<u8>) {}
