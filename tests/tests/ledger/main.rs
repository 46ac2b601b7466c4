//! The ledger on both engines: every test runs on a SQLite file and on a PostgreSQL database of its own.

mod acts;
mod arrivals;
mod batches;
mod bed;
mod deletions;
mod duties;
mod evidence;
mod housekeeping;
mod outages;
mod pauses;
mod quarantines;
mod rates;
mod registrations;
mod transactions;
