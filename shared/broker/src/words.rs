//! What went wrong, in words that an operator can act on.
//!
//! The broker's own texts name queues, users and arguments, never a message's content.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// Why a connection could not be had or was lost.
pub(crate) fn connection(host: &str, error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::IOError(cause) => match cause.kind() {
            std::io::ErrorKind::ConnectionRefused => format!("cannot reach {host}: connection refused"),
            std::io::ErrorKind::TimedOut => format!("cannot reach {host}: no answer in time"),
            std::io::ErrorKind::ConnectionAborted | std::io::ErrorKind::ConnectionReset => {
                format!("the connection to {host} was lost")
            }
            _ => format!("cannot reach {host}: {cause}"),
        },
        ErrorKind::ProtocolError(refusal) => format!("{host} ended the connection: {}", refusal.get_message()),
        ErrorKind::MissingHeartbeatError => format!("no sign of life from {host}"),
        ErrorKind::ParsingError(_) => {
            format!(
                "{host} sent a message whose properties cannot be read (not UTF-8?); it has to be taken out by hand"
            )
        }
        _ => format!("the connection to {host} was lost: {error}"),
    }
}

/// Why a queue or an exchange could not be declared or used.
pub(crate) fn channel(thing: &str, error: &lapin::Error) -> String {
    let ErrorKind::ProtocolError(refusal) = error.kind() else {
        return format!("{thing}: {error}");
    };
    let text = refusal.get_message();
    match refusal.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => format!("{thing} is not on the broker: {text}"),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => format!("the broker's user may not use {thing}: {text}"),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => format!(
            "{thing} is on the broker with other arguments than Kvit's ({text}); \
             delete it once it is empty, or start with --no-declare"
        ),
        _ => format!("{thing}: {text}"),
    }
}
