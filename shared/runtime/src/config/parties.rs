//! Who `kvit.toml` knows: sites, departments, their certificates, journals outside.

use std::path::PathBuf;

use domain::form::UnknownFields;
use domain::{DepartmentId, EmailAddress, Role, Words};
use indexmap::IndexMap;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::{default, parse};

/// What a site's submissions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Citizens' own.
    #[default]
    Production,
    /// Tries: mails go to `test_mail` with TEST in the subject, nothing is journalised, and they are counted apart.
    Test,
}

/// A producer of submissions.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// What is done with fields that a form does not declare (P3); a form may say otherwise.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
    /// Whether a message that is not sealed to intake's certificate is quarantined. It must be stated.
    pub require_sealed: bool,
    /// Whether its submissions are citizens' own or tries.
    #[serde(default)]
    pub environment: Environment,
    /// Where the mails of a test site go.
    #[serde(default, deserialize_with = "parse::optional_address")]
    #[schemars(with = "Option<String>", extend("format" = "email"))]
    pub test_mail: Option<EmailAddress>,
    /// Keys that the site's handler adds; never answers.
    #[serde(default)]
    pub custom_data: Vec<String>,
    /// Whether the site says when its own copy is gone: an alarm when it has not within 24 hours.
    #[serde(default)]
    pub confirms_deletion: bool,
}

/// A department that receives mail.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Department {
    /// What citizens know it as.
    pub name: Words,
    /// Its inbox.
    #[serde(deserialize_with = "parse::address")]
    #[schemars(with = "String", extend("format" = "email"))]
    pub mail: EmailAddress,
    /// Its OpenPGP certificates: every one can open the mail. Without a usable one its mails are held.
    #[serde(default)]
    pub certificates: Vec<CertificateFile>,
    /// Whether its readers understand RFC 9580's newer encryption; few do.
    #[serde(default)]
    pub rfc9580: bool,
    /// Whether every certificate must be usable, or one is enough.
    #[serde(default)]
    pub require: Require,
}

/// A person who may log in to the console.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name to log in with.
    pub login: String,
    /// What this person may do.
    #[schemars(with = "String", extend("enum" = ["viewer", "operator", "key-admin", "officer", "department"]))]
    pub role: Role,
    /// Only what concerns these departments; everything where there is none. The role `department` needs one.
    #[serde(default)]
    pub departments: Vec<DepartmentId>,
    /// The password's argon2id hash, as `kvit user hash` prints it. Without one only a proxy can log the person in.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub password_hash: Option<Secret>,
    /// File that holds `password_hash`.
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub password_hash_file: Option<PathBuf>,
}

/// An OpenID provider at which people log in to the console (OpenID Connect: the authorization code flow with PKCE).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// The provider's issuer, as its discovery document has it; `http` on this machine alone.
    #[schemars(extend("format" = "uri"))]
    pub issuer: String,
    /// What the provider knows this console by.
    pub client_id: String,
    /// The secret that the provider gave with it.
    #[serde(default)]
    #[schemars(extend("writeOnly" = true))]
    pub client_secret: Option<Secret>,
    /// File that holds `client_secret`.
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub client_secret_file: Option<PathBuf>,
    /// The console's address as browsers see it. The provider must know it with `/login/oidc/done` at its end as a redirect
    /// address.
    #[schemars(extend("format" = "uri"))]
    pub public_url: String,
    /// What is asked for beside `openid`, so that the ID token has the claims below.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The claim of the ID token that names a person in the evidence, after `oidc:`: one that stays the same, and names nobody to
    /// whoever reads a proof.
    #[serde(default = "sub")]
    pub name_claim: String,
    /// The claim of the ID token that lists a person's groups.
    #[serde(default = "groups")]
    pub groups_claim: String,
    /// What the people of a group may do. The first of these groups that a person has counts; nobody without one is let in.
    #[serde(default)]
    pub groups: IndexMap<String, Granted>,
}

fn sub() -> String {
    "sub".to_owned()
}

fn groups() -> String {
    "groups".to_owned()
}

/// What the people of a group may do.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    /// Their role.
    #[schemars(with = "String", extend("enum" = ["viewer", "operator", "key-admin", "officer", "department"]))]
    pub role: Role,
    /// Only what concerns these departments; everything where there is none. The role `department` needs one.
    #[serde(default)]
    pub departments: Vec<DepartmentId>,
}

/// How many of a department's certificates must be usable for a mail to go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Require {
    /// All that are configured, the recovery certificate among them; else the mail is held.
    #[default]
    All,
    /// One; the mail is encrypted to those that are usable.
    Any,
}

/// A certificate, and which one it must be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFile {
    /// The file, armored or not.
    #[schemars(extend("format" = "path"))]
    pub file: PathBuf,
    /// The fingerprint of its primary key, 40 or 64 hexadecimal digits; another key in the file is refused.
    #[schemars(extend("format" = "fingerprint"))]
    pub fingerprint: String,
}

/// A certificate that everything is encrypted to as well.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The certificate; its key is kept offline.
    pub certificate: CertificateFile,
}

/// What a journal outside Kvit speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// A mail with `os2forms.xml`, as the `SBSYS` gateway reads it.
    SbsysMail,
    /// A collection for each case on a `WebDAV` server.
    Webdav,
    /// `GetOrganized`'s REST interface. Tried against a double alone: it has not met a live system.
    GetOrganized,
}

/// A journal outside Kvit. Forms name it in `journal.target`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalTarget {
    /// What it speaks.
    pub kind: TargetKind,
    /// Where the processor agreement with whoever runs it is filed (G5).
    pub processor_agreement: String,
    /// The legal basis of the disclosure, as `legal_basis` of a form (G6): `gdpr-6-1-e`.
    pub disclosure_ground: String,
    /// `webdav`, `get_organized`: its address, `https://` outside this machine (P12). `USER:PASSWORD@` where it wants them.
    #[serde(default)]
    #[schemars(extend("format" = "http-url", "writeOnly" = true))]
    pub url: Option<Secret>,
    /// File that holds `url`.
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub url_file: Option<PathBuf>,
    /// `webdav`, `get_organized`: a file with certificates that are trusted beside the system's.
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub ca_file: Option<PathBuf>,
    /// `webdav`, `get_organized`: how long a request may take.
    #[serde(default = "default::target_timeout", with = "parse::duration")]
    #[schemars(with = "String", extend("format" = "duration", "default" = "PT1M"))]
    pub timeout: SignedDuration,
    /// `get_organized`: the prefix of the cases that are opened.
    #[serde(default)]
    pub case_type: Option<String>,
    /// `sbsys_mail`: the gateway's mailbox.
    #[serde(default, deserialize_with = "parse::optional_address")]
    #[schemars(with = "Option<String>", extend("format" = "email"))]
    pub mail: Option<EmailAddress>,
    /// `sbsys_mail`: the gateway's certificate. Without one the relay must be reached over TLS.
    #[serde(default)]
    pub certificate: Option<CertificateFile>,
    /// `sbsys_mail`: the template of the cases that are opened (`SagSkabelonId`).
    #[serde(default)]
    pub case_template: Option<String>,
}
