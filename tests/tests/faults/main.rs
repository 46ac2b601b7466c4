//! Nothing lost, whatever dies: each row of the fault suite, with what was attempted, acknowledged, lost, sent twice, and
//! how often the services went on by themselves.
//!
//! `make test` runs it scaled down; `make faults` runs it whole (`KVIT_FAULTS=full`) and prints the lines that
//! `docs/reliability.md` shows.

mod bed;
mod broker;
mod canary;
mod clock;
mod events;
mod kills;
mod load;
mod memory;
mod mutants;
mod oracle;
mod points;
mod poison;
mod relay;
mod replicas;
mod rights;
mod sink;
mod store;
mod windows;
