//! What every program of Kvit needs to start, run and end: a closed list.
//!
//! * [`Loaded`]: the configuration and the forms, loaded with every fault named ([`config`], [`forms`]).
//! * [`start()`]: from the command line to the exit status; [`ConfigArgs`] and [`until_done`] for a program of its own kind.
//! * [`Health`] and [`Probes`]: `/livez`, `/readyz`, `/metrics`; [`metric`]: what is counted, and what it means.
//! * [`harden()`]: a process that leaves no memory behind. [`supervised`]: what systemd is told.
//! * [`Clock`]: the time, passed in. [`logging`]: what may be logged. [`exit`]: exit statuses.
//!
//! No service's work is here, and nothing that only one service needs.

/// Every program's memory, and that of the C libraries in it: beside the C library's own allocator a drain costs an eighth less
/// CPU (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub mod clock;
pub mod config;
pub mod exit;
pub mod forms;
pub mod harden;
pub mod health;
pub mod logging;
pub mod metric;
pub mod probes;
pub mod start;
pub mod supervise;

pub use clock::Clock;
pub use config::{Config, ConfigError, Finding, Findings, Layers, Loaded};
pub use exit::Exit;
pub use forms::Forms;
pub use harden::harden;
pub use health::{Check, Health, Work};
pub use probes::{Probes, serve_probes};
pub use start::{ConfigArgs, Context, command, start, start_page, until_done};
pub use supervise::supervised;
