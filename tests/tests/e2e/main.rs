//! Kvit from end to end: real services, a real RabbitMQ, a real SMTP peer.
//!
//! One binary, so that it is linked once. Every test has a [`kvit_tests::TestBed`] of its own and runs beside the others.

mod alarms;
mod canary;
mod canary_console;
mod console;
mod console_browser;
mod console_drain;
mod console_hostile;
mod console_load;
mod console_oidc;
mod console_oidc_browser;
mod console_queues;
mod console_table;
mod console_words;
mod doctor;
mod events;
mod faults;
mod held;
mod journal;
mod journal_faults;
mod journal_kills;
mod journal_life;
mod journal_rules;
mod journal_targets;
mod mails;
mod operations;
mod pauses;
mod payloads;
mod purge;
mod purge_load;
mod relay;
mod restore;
mod rotation;
mod sequencers;
mod spreadsheet;
mod traces;
mod versions;
