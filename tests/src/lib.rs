//! The harness of the end-to-end tests: real services against a real RabbitMQ, a real SMTP peer and a real store.
//!
//! A [`TestBed`] is one Kvit of its own: a folder with configuration, forms, keys and store, a virtual host of the
//! shared `node`, an [`Inbox`](kvit_cli::demo::inbox::Inbox) that can be told to misbehave. Its services run in this
//! process ([`TestBed::run`]) or as the real programs ([`Program`]), where a test kills, limits or reads the logs of one.
//! [`Proxy`] stands between a service and a peer that must go away. [`opened`] reads mails as their reader would.
//!
//! Everything waits for a condition with a deadline ([`until`]); nothing sleeps for a time.

pub mod apache;
pub mod console;

mod bed;
mod canary;
mod mail;
mod node;
pub mod postgres;
mod program;
mod proxy;
mod site;
mod stores;
pub mod tmpfs;
mod wait;

pub use bed::{Peers, Running, Service, TestBed};
pub use canary::seen;
pub use mail::{Entity, controller, encrypted, opened, reads};
pub use node::{Node, VirtualHost, virtual_host};
pub use program::{Program, kvit, kvit_exits, kvit_fails, kvit_reads, program};
pub use proxy::Proxy;
pub use site::{CASE, CPR, Message, application, payload, report};
pub use stores::{Engine, Stores, ledger_at};
pub use wait::{DEADLINE, until, within};
