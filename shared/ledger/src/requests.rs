//! What programs without keys ask of the services that have them, and with what.

use domain::{DepartmentId, SiteId, SubmissionId};
use serde::{Deserialize, Serialize};

/// Of intake: tries quarantined messages again.
pub const RETRY_QUARANTINE: &str = "quarantine_retry";
/// Of intake: finds a submission by the site's uuid.
pub const FIND_BY_UUID: &str = "find_by_uuid";
/// Of intake: destroys the keys of discarded messages.
pub const DESTROY_KEYS: &str = "destroy_keys";
/// Of intake: sends a department an encrypted test mail.
pub const KEY_TEST: &str = "key_test";
/// Of the scheduler: runs a schedule now.
pub const RUN_SCHEDULE: &str = "schedule_run";
/// Of the scheduler: sends the registrations of an event to a department.
pub const EXPORT: &str = "registration_export";
/// Of the scheduler: withdraws a registration.
pub const WITHDRAW: &str = "registration_withdraw";

/// The ids that a request is about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ids {
    /// Kvit's ids.
    pub ids: Vec<SubmissionId>,
}

/// A submission as its site knows it.
#[derive(Debug, Serialize, Deserialize)]
pub struct SiteUuid {
    /// The producer.
    pub site: SiteId,
    /// Its uuid.
    pub uuid: String,
}

/// The department that a request is about.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfDepartment {
    /// Its id.
    pub department: DepartmentId,
}

/// Which schedule.
#[derive(Debug, Serialize, Deserialize)]
pub struct OfSchedule {
    /// Its name.
    pub name: String,
}

/// Which event's registrations, and where to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Export {
    /// The event's id.
    pub event: String,
    /// The department.
    pub to: DepartmentId,
}

/// Which registration.
#[derive(Debug, Serialize, Deserialize)]
pub struct Withdraw {
    /// Kvit's id of one of its versions.
    pub id: SubmissionId,
}
