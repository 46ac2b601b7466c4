//! Every metric of Kvit: its name, its labels, and what it means.
//!
//! Whoever counts something names it here too: the descriptions go into `/metrics`, `docs/metrics.md` is made of this list,
//! and the tests hold the alert rules and the dashboard against it. Labels are ids of the configuration and words of
//! Kvit's own, so that their number is bounded, and never a value that came in a message.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while its process lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Which services have it.
    pub by: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence without a full stop.
    pub help: &'static str,
}

const fn counter(name: &'static str, by: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    let kind = Kind::Counter;
    Metric {
        name,
        kind,
        by,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, by: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    let kind = Kind::Gauge;
    Metric {
        name,
        kind,
        by,
        labels,
        help,
    }
}

const ALL: &str = "all";
const INTAKE: &str = "intake";
const MAILER: &str = "mailer";
const JOURNALISER: &str = "journaliser";
const SCHEDULER: &str = "scheduler";

/// All of them, in the order in which they are explained.
pub const METRICS: &[Metric] = &[
    // The figures of `kvit status`.
    gauge(
        "kvit_submissions_arrived",
        SCHEDULER,
        &[],
        "Messages that came, tests apart",
    ),
    gauge(
        "kvit_submissions_accepted",
        SCHEDULER,
        &[],
        "Messages that became a submission",
    ),
    gauge(
        "kvit_submissions_open",
        SCHEDULER,
        &[],
        "Submissions that are not deleted",
    ),
    gauge(
        "kvit_submissions_deleted",
        SCHEDULER,
        &[],
        "Submissions that are deleted",
    ),
    gauge(
        "kvit_submissions_quarantined",
        SCHEDULER,
        &[],
        "Messages that were put aside and not taken since, discarded ones included",
    ),
    gauge(
        "kvit_submissions_duplicates",
        SCHEDULER,
        &[],
        "Messages that changed nothing",
    ),
    gauge(
        "kvit_submissions_drafts",
        SCHEDULER,
        &[],
        "Drafts, which are counted and ignored",
    ),
    gauge(
        "kvit_conservation_arrived_difference",
        SCHEDULER,
        &[],
        "What arrived = accepted + quarantined + duplicates + drafts is off by; 0, or something is lost",
    ),
    gauge(
        "kvit_conservation_accepted_difference",
        SCHEDULER,
        &[],
        "What accepted = open + deleted is off by; 0, or something is lost",
    ),
    gauge(
        "kvit_submissions_missed",
        SCHEDULER,
        &[],
        "Accepted submissions whose mails were not all done within five minutes, or are not yet",
    ),
    gauge(
        "kvit_submissions_oldest_open_seconds",
        SCHEDULER,
        &[],
        "Age of the oldest submission that is not deleted",
    ),
    gauge(
        "kvit_submissions_overdue",
        SCHEDULER,
        &[],
        "Open messages past the alarm_after of their form",
    ),
    gauge(
        "kvit_submissions_form_drift",
        SCHEDULER,
        &[],
        "Messages with fields that their form does not declare",
    ),
    // What is owed.
    gauge("kvit_duties", SCHEDULER, &["kind", "state"], "Duties by kind and state"),
    gauge(
        "kvit_duties_oldest_seconds",
        SCHEDULER,
        &["kind"],
        "Age of the oldest duty that is neither done nor cancelled",
    ),
    gauge(
        "kvit_journal_oldest_seconds",
        SCHEDULER,
        &[],
        "Age of the oldest submission that belongs in a journal and is in none; one that waits to be marked does not count",
    ),
    gauge(
        "kvit_journal_overdue",
        SCHEDULER,
        &[],
        "1 while that age is above journaliser.alarm_after",
    ),
    counter(
        "kvit_journal_entries_total",
        JOURNALISER,
        &["target"],
        "Entries that a journal has taken",
    ),
    counter(
        "kvit_mails_total",
        MAILER,
        &["kind", "outcome"],
        "Attempts to send a mail by outcome: accepted, retried, unknown, held, failed, cancelled",
    ),
    Metric {
        name: "kvit_mail_delivery_seconds",
        kind: Kind::Histogram,
        by: MAILER,
        labels: &["kind"],
        help: "From when a mail was owed to when the relay accepted it",
    },
    gauge(
        "kvit_mails_possible_duplicates",
        SCHEDULER,
        &[],
        "Mails that may have gone out twice, under the same Message-ID",
    ),
    counter(
        "kvit_relay_slow_downs_total",
        MAILER,
        &[],
        "How often the relay asked for a pause, and connections were rested",
    ),
    // What waits for a person.
    gauge(
        "kvit_quarantine_waiting",
        SCHEDULER,
        &[],
        "Messages in quarantine that wait for a decision",
    ),
    gauge(
        "kvit_quarantine_oldest_seconds",
        SCHEDULER,
        &[],
        "Age of the oldest message in quarantine that waits for a decision",
    ),
    counter(
        "kvit_quarantined_total",
        INTAKE,
        &["reason"],
        "Messages put aside by reason",
    ),
    counter(
        "kvit_form_drift_total",
        INTAKE,
        &["site", "form"],
        "Messages with undeclared fields by form",
    ),
    gauge(
        "kvit_paused",
        "intake, mailer",
        &["what", "name"],
        "1 while a queue, department or form is paused",
    ),
    gauge(
        "kvit_department_usable",
        INTAKE,
        &["department"],
        "Whether a department has a certificate that can be written to",
    ),
    gauge(
        "kvit_certificate_expiry_timestamp_seconds",
        INTAKE,
        &["fingerprint"],
        "When a certificate expires; NaN once it cannot be read, is revoked, or has no end any more",
    ),
    // Time.
    gauge(
        "kvit_schedule_last_success_timestamp_seconds",
        SCHEDULER,
        &["schedule"],
        "When a schedule last ran without a fault",
    ),
    gauge(
        "kvit_schedule_due_timestamp_seconds",
        SCHEDULER,
        &["schedule"],
        "The first planned time that a schedule has not run for without a fault; to come, while all is well",
    ),
    gauge(
        "kvit_registrations_past_their_time",
        SCHEDULER,
        &[],
        "Registrations that are kept although their time has come: extracted after the deadline, or their event held",
    ),
    gauge(
        "kvit_events_without_deadline",
        SCHEDULER,
        &[],
        "Events whose registrations no time can end",
    ),
    gauge(
        "kvit_events_ending_unextracted",
        SCHEDULER,
        &[],
        "Events that end soon and whose registrations nobody has confirmed to have",
    ),
    gauge(
        "kvit_events_not_erased",
        SCHEDULER,
        &[],
        "Events whose department was told to delete its mails and has not said that it has",
    ),
    gauge(
        "kvit_extracts_unconfirmed_overdue",
        SCHEDULER,
        &[],
        "Lists of registrations whose code has been waited for too long",
    ),
    gauge(
        "kvit_extracts_failed",
        SCHEDULER,
        &[],
        "Lists of registrations that could not be made",
    ),
    // Evidence and the sites.
    gauge(
        "kvit_evidence_unsequenced_leaves",
        SCHEDULER,
        &[],
        "Leaves that have no place in the signed log yet",
    ),
    gauge(
        "kvit_evidence_lag_seconds",
        SCHEDULER,
        &[],
        "Age of the oldest leaf that has no place in the signed log yet",
    ),
    gauge(
        "kvit_sequence_gaps",
        SCHEDULER,
        &["site"],
        "Numbers that are missing in a site's own count of its messages",
    ),
    gauge(
        "kvit_site_copies_unconfirmed",
        SCHEDULER,
        &["site"],
        "Submissions whose site has not said within 24 hours that its own copy is gone, where it should",
    ),
    gauge(
        "kvit_events_waiting",
        SCHEDULER,
        &["site"],
        "Events that a site has not been told yet",
    ),
    counter(
        "kvit_events_failed_total",
        SCHEDULER,
        &["site"],
        "Attempts to tell a site that the broker did not take",
    ),
    // The programs themselves.
    gauge("kvit_build_info", ALL, &["version"], "1, with the version that runs"),
    gauge("kvit_check_up", ALL, &["check"], "Whether a check of /readyz is up"),
    gauge(
        "kvit_workers",
        SCHEDULER,
        &["service"],
        "Processes of a service that were heard of lately",
    ),
    counter(
        "kvit_panics_total",
        ALL,
        &["part"],
        "Faults of ours that ended a part of a service",
    ),
    counter(
        "kvit_orphan_keys_total",
        SCHEDULER,
        &[],
        "Data keys without data that were destroyed",
    ),
    counter(
        "kvit_spans_lost_total",
        "intake, mailer, journaliser, scheduler",
        &["reason"],
        "Spans of traces that no collector got: queue, because too many waited; collector, because it did not take them",
    ),
    // The broker, by OpenTelemetry's names.
    counter(
        "messaging_client_consumed_messages_total",
        ALL,
        MESSAGING,
        "Messages taken from the broker",
    ),
    counter(
        "messaging_client_sent_messages_total",
        ALL,
        MESSAGING,
        "Messages given to the broker; error_type where it did not take one",
    ),
    Metric {
        name: "messaging_process_duration_seconds",
        kind: Kind::Histogram,
        by: ALL,
        labels: MESSAGING,
        help: "How long a message was worked on, until the broker was answered",
    },
    counter(
        "kvit_broker_connections_lost_total",
        ALL,
        &[],
        "Connections to the broker that were lost",
    ),
    counter(
        "kvit_broker_handler_panics_total",
        ALL,
        &[],
        "Messages whose handling was ended by a fault of ours",
    ),
    counter(
        "kvit_broker_wakes_lost_total",
        ALL,
        &[],
        "Wake-ups that could not be sent; the scheduler's sweep makes them good",
    ),
];

/// OpenTelemetry's attributes of a message, in Prometheus' spelling.
const MESSAGING: &[&str] = &[
    "messaging_system",
    "messaging_destination_name",
    "messaging_operation_name",
    "error_type",
];

/// Gives the recorder every description.
pub(crate) fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

#[cfg(test)]
mod tests;
