//! The broker crate against a real RabbitMQ, which the tests start, break and start again.

mod bed;
mod faults;
mod messages;
