//! Counting messages, by OpenTelemetry's names for messaging.

use std::time::Duration;

const SYSTEM: &str = "rabbitmq";

/// A message was worked on for so long and then answered, in this word; `failed` where it comes again.
pub(crate) fn processed(queue: &str, answer: &'static str, taken: Duration) {
    metrics::counter!(
        "messaging_client_consumed_messages_total",
        "messaging_system" => SYSTEM,
        "messaging_destination_name" => queue.to_owned(),
        "messaging_operation_name" => answer,
    )
    .increment(1);
    metrics::histogram!(
        "messaging_process_duration_seconds",
        "messaging_system" => SYSTEM,
        "messaging_destination_name" => queue.to_owned(),
        "messaging_operation_name" => answer,
    )
    .record(taken.as_secs_f64());
}

/// So many handlers panicked; 0 begins the count, since from nothing to one is a step that no alarm sees.
pub(crate) fn panicked(handlers: u64) {
    metrics::counter!("kvit_broker_handler_panics_total").increment(handlers);
}

/// So many connections were lost; 0 begins the count, as with [`panicked`].
pub(crate) fn lost(connections: u64) {
    metrics::counter!("kvit_broker_connections_lost_total").increment(connections);
}

/// A message was given to the broker; the kind of error where it did not take it.
pub(crate) fn sent(destination: &str, failure: Option<&'static str>) {
    let mut labels = vec![
        metrics::Label::new("messaging_system", SYSTEM),
        metrics::Label::new("messaging_destination_name", destination.to_owned()),
        metrics::Label::new("messaging_operation_name", "publish"),
    ];
    labels.extend(failure.map(|kind| metrics::Label::new("error_type", kind)));
    metrics::counter!("messaging_client_sent_messages_total", labels).increment(1);
}
