//! Why an action was refused or could not be done: a code, which pages have words for in each language, and the words of the
//! command, which are English.

use std::fmt;

/// Which refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It concerns a department that the person has not.
    OtherDepartment,
    /// It concerns every department, and the person has only some.
    EveryDepartment,
    /// It is not known which department it concerns.
    DepartmentUnknown,
    /// The role does not allow it.
    Role,
    /// There is no such action.
    NoAction,
    /// What was given cannot be read.
    Fields,
    /// A filter has a word that means nothing.
    NoSuchWord,
    /// A filter that a quarantined message cannot match.
    NotOfQuarantine,
    /// Nothing says what it is about.
    SayWhich,
    /// A reason for the record is missing.
    SayWhy,
    /// A discard of many does not say of how many.
    SayHowMany,
    /// Another number matches than the person saw.
    CountChanged,
    /// No duty with that id is in a state for it.
    NoDuty,
    /// No message in quarantine has that id.
    NotQuarantined,
    /// No submission is known by that id.
    NoSubmission,
    /// That is no id.
    IdForm,
    /// No such department is configured.
    NoDepartment,
    /// A department has no usable certificate.
    NotWritable,
    /// The certificate is not taken.
    CertificateRefused,
    /// There is no such event.
    NoEvent,
    /// The form takes no registrations.
    NoRegistrations,
    /// No date is given.
    SayDates,
    /// The event would be held before its deadline.
    HeldBeforeDeadline,
    /// The event has been held already.
    AlreadyHeld,
    /// That is not the code.
    WrongCode,
    /// There is no such registration.
    NoRegistration,
    /// The scheduler refuses it.
    SchedulerRefused,
    /// There is nothing of that name to pause.
    NotPausable,
    /// It is not paused.
    NotPaused,
    /// The time has passed.
    TimePast,
    /// That is no time.
    TimeForm,
    /// There is no such schedule.
    NoSchedule,
    /// The schedule has no dry run.
    NoDryRun,
    /// The run failed.
    RunFailed,
    /// The service that has the key does not run.
    NoService,
    /// The service did not answer in time.
    NoAnswer,
    /// Intake made no test mail.
    NoTestMail,
    /// The store did not answer.
    StoreAway,
}

impl Because {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::OtherDepartment,
        Self::EveryDepartment,
        Self::DepartmentUnknown,
        Self::Role,
        Self::NoAction,
        Self::Fields,
        Self::NoSuchWord,
        Self::NotOfQuarantine,
        Self::SayWhich,
        Self::SayWhy,
        Self::SayHowMany,
        Self::CountChanged,
        Self::NoDuty,
        Self::NotQuarantined,
        Self::NoSubmission,
        Self::IdForm,
        Self::NoDepartment,
        Self::NotWritable,
        Self::CertificateRefused,
        Self::NoEvent,
        Self::NoRegistrations,
        Self::SayDates,
        Self::HeldBeforeDeadline,
        Self::AlreadyHeld,
        Self::WrongCode,
        Self::NoRegistration,
        Self::SchedulerRefused,
        Self::NotPausable,
        Self::NotPaused,
        Self::TimePast,
        Self::TimeForm,
        Self::NoSchedule,
        Self::NoDryRun,
        Self::RunFailed,
        Self::NoService,
        Self::NoAnswer,
        Self::NoTestMail,
        Self::StoreAway,
    ];

    /// Its name among the phrases, after `refused-`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OtherDepartment => "other-department",
            Self::EveryDepartment => "every-department",
            Self::DepartmentUnknown => "department-unknown",
            Self::Role => "role",
            Self::NoAction => "no-action",
            Self::Fields => "fields",
            Self::NoSuchWord => "no-such-word",
            Self::NotOfQuarantine => "not-of-quarantine",
            Self::SayWhich => "say-which",
            Self::SayWhy => "say-why",
            Self::SayHowMany => "say-how-many",
            Self::CountChanged => "count-changed",
            Self::NoDuty => "no-duty",
            Self::NotQuarantined => "not-quarantined",
            Self::NoSubmission => "no-submission",
            Self::IdForm => "id-form",
            Self::NoDepartment => "no-department",
            Self::NotWritable => "not-writable",
            Self::CertificateRefused => "certificate-refused",
            Self::NoEvent => "no-event",
            Self::NoRegistrations => "no-registrations",
            Self::SayDates => "say-dates",
            Self::HeldBeforeDeadline => "held-before-deadline",
            Self::AlreadyHeld => "already-held",
            Self::WrongCode => "wrong-code",
            Self::NoRegistration => "no-registration",
            Self::SchedulerRefused => "scheduler-refused",
            Self::NotPausable => "not-pausable",
            Self::NotPaused => "not-paused",
            Self::TimePast => "time-past",
            Self::TimeForm => "time-form",
            Self::NoSchedule => "no-schedule",
            Self::NoDryRun => "no-dry-run",
            Self::RunFailed => "run-failed",
            Self::NoService => "no-service",
            Self::NoAnswer => "no-answer",
            Self::NoTestMail => "no-test-mail",
            Self::StoreAway => "store-away",
        }
    }
}

/// A refusal.
#[derive(Debug)]
pub struct Refusal {
    /// Which.
    pub code: Because,
    /// What it is about, by the names that the phrases have for it.
    pub about: Vec<(&'static str, String)>,
    words: String,
}

impl Refusal {
    /// A refusal, in the command's words.
    pub fn new(code: Because, about: &[(&'static str, &str)], words: impl Into<String>) -> Self {
        let about = about.iter().map(|(name, text)| (*name, (*text).to_owned()));
        Self {
            code,
            about: about.collect(),
            words: words.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Refusal {}
