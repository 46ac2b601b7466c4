//! A form as its file declares it: what may be asked, why, and what becomes of the answers.

use indexmap::IndexMap;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::submission::Kind;
use crate::{DepartmentId, FormId, SiteId, Words};

/// How confidential a value is (P6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Ordinary data.
    #[default]
    Ordinary,
    /// CPR number, family, social, housing, economy.
    Confidential,
    /// Health, union, nationality, politics, religion (GDPR article 9).
    Special,
    /// Criminal offences (GDPR article 10).
    Criminal,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Text, and anything written like it.
    #[default]
    Text,
    /// A mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A CPR number; needs a basis in databeskyttelsesloven § 11.
    Cpr,
    /// A CVR number: eight digits.
    Cvr,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// A date or a time.
    Date,
    /// An uploaded file.
    File,
    /// Fields that belong together.
    Group,
}

/// One field of a form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What the department reads above the answer.
    pub label: Words,
    /// What it holds.
    #[serde(default, rename = "type")]
    pub kind: FieldType,
    /// Whether it may hold several values.
    #[serde(default)]
    pub multiple: bool,
    /// Whether an empty one is remarked upon.
    #[serde(default)]
    pub required: bool,
    /// How confidential it is; else the form's `default_class`.
    #[serde(default)]
    pub class: Option<Class>,
    /// The heading it stands under.
    #[serde(default)]
    pub section: Option<Words>,
    /// What the caseworker reads instead of an option's key.
    #[serde(default)]
    pub options: IndexMap<String, Words>,
    /// Computed by the site: left out of the idempotency digest.
    #[serde(default)]
    pub computed: bool,
    /// The fields of a group, in order.
    #[serde(default)]
    pub fields: IndexMap<String, Field>,
}

/// What is done with fields that a form does not declare (P3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// Delivered under a heading of their own, with an alarm.
    #[default]
    Deliver,
    /// Left out.
    Drop,
    /// The message is quarantined.
    Refuse,
}

/// Whom the receipt goes to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptRule {
    /// The field with the submitter's address.
    pub to: String,
    /// The field with the submitter's OpenPGP certificate: then the receipt is encrypted.
    #[serde(default)]
    pub key: Option<String>,
}

/// When a submission is journalised (J1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum JournalWhen {
    /// Always, never, or when a person marks it.
    Word(JournalWord),
    /// When a field has this value.
    Field(JournalCondition),
}

/// The plain words of `journal.when`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JournalWord {
    /// Every submission.
    Always,
    /// None.
    Never,
    /// Those that a person marks within `wait`.
    Marked,
}

/// A field's value that makes a submission a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalCondition {
    /// The field.
    pub field: String,
    /// The value.
    pub equals: String,
}

/// One journal target or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Targets {
    /// One name.
    One(String),
    /// Several names.
    Several(Vec<String>),
}

/// Whether an archive must have it before it goes (D6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Archive {
    /// Deleted when its period ends.
    Discard,
    /// Handed over and acknowledged first.
    Preserve,
}

/// How a form's submissions are journalised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalRule {
    /// When.
    pub when: JournalWhen,
    /// How long a copy waits to be marked; ISO 8601.
    #[serde(default)]
    pub wait: Option<String>,
    /// Where to; `embedded` where nothing is said.
    #[serde(default)]
    pub target: Option<Targets>,
    /// The short description that offentlighedsloven § 15 wants.
    #[serde(default)]
    pub theme: Option<Words>,
    /// The KLE number.
    #[serde(default)]
    pub kle: Option<String>,
    /// The field naming the party.
    #[serde(default)]
    pub party: Option<String>,
    /// How long it is kept, from the case's closure; ISO 8601. Required unless never.
    #[serde(default)]
    pub period: Option<String>,
    /// Whether an archive takes it over. Required unless never.
    #[serde(default)]
    pub archive: Option<Archive>,
}

/// The journal inside Kvit, which every installation has.
pub const EMBEDDED: &str = "embedded";

impl JournalRule {
    /// The journals that an entry goes to, each once.
    #[must_use]
    pub fn targets(&self) -> Vec<&str> {
        let named: Vec<&str> = match &self.target {
            None => vec![EMBEDDED],
            Some(Targets::One(name)) => vec![name],
            Some(Targets::Several(names)) => names.iter().map(String::as_str).collect(),
        };
        let mut once = Vec::with_capacity(named.len());
        for name in named {
            if !once.contains(&name) {
                once.push(name);
            }
        }
        once
    }

    /// Whether nothing of the form is ever journalised.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.when == JournalWhen::Word(JournalWord::Never)
    }
}

/// Which registrations the department is mailed about as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    /// None: the extract has them all.
    #[default]
    ExtractOnly,
    /// Each.
    Each,
}

/// What counts as an extract being received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// Its code is given back.
    #[default]
    Code,
    /// Its mail is accepted.
    Mail,
}

/// An event that a registration form is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventRule {
    /// The deadline: local time in `controller.time_zone`, or with an offset.
    #[serde(default)]
    pub deadline: Option<String>,
    /// When the event has been held; likewise.
    #[serde(default)]
    pub held: Option<String>,
    /// Whom to tell as registrations come.
    #[serde(default)]
    pub notify: Notify,
    /// What counts as extracted.
    #[serde(default)]
    pub confirm: Confirm,
    /// The extract's formats.
    #[serde(default)]
    pub formats: Vec<ExtractFormat>,
}

/// A format of the extract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExtractFormat {
    /// Office Open XML spreadsheet.
    Xlsx,
    /// Comma-separated values.
    Csv,
    /// JSON.
    Json,
}

/// A form file: `forms/<id>.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// The site's `webform_id`.
    pub id: FormId,
    /// The site that has it.
    #[serde(default)]
    pub site: Option<SiteId>,
    /// The sites that have it.
    #[serde(default)]
    pub sites: Vec<SiteId>,
    /// What citizens know it as.
    pub title: Words,
    /// Whether the receipt names neither form, purpose nor department; forced by a special or criminal field.
    #[serde(default)]
    pub discreet: bool,
    /// A message or a registration.
    #[serde(default)]
    pub kind: Kind,
    /// Which department acts on it.
    pub department: DepartmentId,
    /// What the answers are for (P5).
    pub purpose: Words,
    /// `gdpr-6-1-*`, `gdpr-9-2-*`, `gdpr-10`, `dbl-8`, `dbl-11` (P5, P7).
    pub legal_basis: Vec<String>,
    /// The class of a field that says none.
    #[serde(default)]
    pub default_class: Class,
    /// Whether a missing required or wrongly typed field quarantines.
    #[serde(default)]
    pub strict: bool,
    /// What is done with fields not declared here; else the site's rule.
    #[serde(default)]
    pub unknown_fields: Option<UnknownFields>,
    /// A mail not delivered by then raises an alarm; ISO 8601.
    #[serde(default)]
    pub alarm_after: Option<String>,
    /// The fields, in the order of the mail.
    #[serde(default)]
    pub fields: IndexMap<String, Field>,
    /// Whom the receipt goes to; without it nobody gets one.
    #[serde(default)]
    pub receipt: Option<ReceiptRule>,
    /// How it is journalised; never, where nothing is said.
    #[serde(default)]
    pub journal: Option<JournalRule>,
    /// The event of a registration form.
    #[serde(default)]
    pub event: Option<EventRule>,
}

impl Form {
    /// Every site that has this form.
    pub fn sites(&self) -> impl Iterator<Item = &SiteId> {
        self.site.iter().chain(&self.sites)
    }

    /// The class of a field.
    #[must_use]
    pub fn class_of(&self, field: &Field) -> Class {
        field.class.unwrap_or(self.default_class)
    }

    /// Whether the receipt must be discreet: as declared, or because a field is special or criminal.
    #[must_use]
    pub fn is_discreet(&self) -> bool {
        self.discreet || self.all_fields().any(|field| self.class_of(field) >= Class::Special)
    }

    /// Whether any of its submissions may be journalised.
    #[must_use]
    pub fn may_be_journalised(&self) -> bool {
        self.journal.as_ref().is_some_and(|rule| !rule.is_never())
    }

    /// Whether consent is its basis, so that the receipt says how to withdraw it.
    #[must_use]
    pub fn rests_on_consent(&self) -> bool {
        self.legal_basis
            .iter()
            .any(|basis| basis == "gdpr-6-1-a" || basis == "gdpr-9-2-a")
    }

    /// Every field, groups' fields included.
    pub fn all_fields(&self) -> impl Iterator<Item = &Field> {
        fn below(field: &Field) -> Vec<&Field> {
            std::iter::once(field)
                .chain(field.fields.values().flat_map(below))
                .collect()
        }
        self.fields.values().flat_map(below)
    }
}

/// How long before an undelivered mail raises an alarm, where the form says nothing: a day.
pub const DEFAULT_ALARM_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// A time as ISO 8601 writes it, of the calendar: `P5Y`, `P14D`. Positive.
#[must_use]
pub fn parse_period(text: &str) -> Option<jiff::Span> {
    let span: jiff::Span = text.parse().ok()?;
    (text.starts_with('P') && span.is_positive()).then_some(span)
}

/// A duration as ISO 8601 writes it; a day is 24 hours, and months and years, whose length varies, are none.
#[must_use]
pub fn parse_duration(text: &str) -> Option<SignedDuration> {
    let span: jiff::Span = text.parse().ok()?;
    let hours = jiff::SpanRelativeTo::days_are_24_hours();
    span.to_duration(hours).ok().filter(SignedDuration::is_positive)
}
