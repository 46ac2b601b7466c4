//! What holds where `kvit.toml` says nothing.

use std::path::PathBuf;

use indexmap::IndexMap;
use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::sections::{
    Broker, Console, Evidence, Intake, Journal, Journaliser, Mailer, Retention, Retry, Scheduler, Schedules, Traces,
};

pub(super) fn forms_dir() -> PathBuf {
    "forms".into()
}

pub(super) fn time_zone() -> TimeZone {
    TimeZone::get("Europe/Copenhagen").unwrap_or(TimeZone::UTC)
}

pub(super) fn target_timeout() -> SignedDuration {
    SignedDuration::from_mins(1)
}

pub(super) fn connections() -> u16 {
    8
}

pub(super) fn mail_bytes() -> usize {
    20 * 1024 * 1024
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            prefetch: 64,
            declare: true,
        }
    }
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            unseal_key: None,
            unseal_key_file: None,
            max_message_bytes: 16 * 1024 * 1024,
            listen: "127.0.0.1:9101".into(),
        }
    }
}

impl Default for Mailer {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9102".into(),
            lease: SignedDuration::from_secs(20),
        }
    }
}

impl Default for Journaliser {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9103".into(),
            lease: SignedDuration::from_secs(20),
            alarm_after: SignedDuration::from_hours(24),
        }
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9104".into(),
        }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            proxies: Vec::new(),
            user_header: None,
            session: SignedDuration::from_hours(8),
            users: IndexMap::new(),
            oidc: None,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: SignedDuration::from_secs(30),
            most: SignedDuration::from_hours(1),
            give_up: SignedDuration::from_hours(5 * 24),
        }
    }
}

impl Default for Retention {
    /// Sites retry for days and operators ask for weeks; three months covers both.
    fn default() -> Self {
        Self {
            link: SignedDuration::from_hours(90 * 24),
        }
    }
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            dir: "evidence".into(),
            copy_dir: None,
            key: None,
            key_file: None,
            mail_to: None,
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            dir: "journal".into(),
            key: None,
            key_file: None,
        }
    }
}

impl Default for Schedules {
    fn default() -> Self {
        Self {
            purge: "*/5 * * * *".into(),
            extract: "*/5 * * * *".into(),
            keys: "0 6 * * *".into(),
            checkpoint: "0 7 * * *".into(),
        }
    }
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            url: None,
            percent: 100,
        }
    }
}
