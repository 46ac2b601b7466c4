//! `kvit check`: everything that can be judged without asking another machine or reading a key, each fault with its file
//! and line. Of a secret that stands in a file it says whether the file is there; `kvit doctor` reads it.

use domain::form_check::Weight;
use jiff::{SignedDuration, Timestamp};
use kvit_scheduler::cron::Expression;
use openpgp::{Certificate, CertificateState, SigningKey, UnsealKey};
use runtime::config::{CertificateFile, Place};
use runtime::{Clock, ConfigArgs, Finding, Findings, Loaded, exit};
use serde_json::json;

use crate::app::print;

/// A certificate that ends sooner than this is worth a word.
const SOON: SignedDuration = SignedDuration::from_hours(60 * 24);

/// A configuration, and everything that is wrong with it.
pub(crate) struct Examined {
    /// `None` where something is wrong with it.
    pub(crate) loaded: Option<Loaded>,
    /// Faults and warnings.
    pub(crate) findings: Findings,
}

pub(crate) fn run(config: &ConfigArgs, json: bool) -> anyhow::Result<u8> {
    let Examined { loaded, findings } = examine(config, Clock::system().now());
    let ok = !findings.has_errors();
    if json {
        print(true, &json!({"ok": ok, "findings": findings}), String::new)?;
    } else {
        // As compilers do: what is wrong goes to standard error, one line each.
        if !findings.is_empty() {
            eprintln!("{findings}");
        }
        match (&loaded, ok) {
            (Some(loaded), true) => print(false, &(), || summary(loaded))?,
            _ => eprintln!("kvit: {}", count(&findings)),
        }
    }
    Ok(if ok { exit::OK } else { exit::CONFIG })
}

fn summary(loaded: &Loaded) -> String {
    let config = &loaded.config;
    format!(
        "{} is in order; sites: {}, departments: {}, forms: {}. Whether what it names can be reached: kvit doctor",
        loaded.path.display(),
        config.sites.len(),
        config.departments.len(),
        loaded.forms.len(),
    )
}

fn count(findings: &Findings) -> String {
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let plural = if errors == 1 { "fault" } else { "faults" };
    format!("{errors} {plural}: nothing starts before they are mended")
}

/// Loads a configuration and judges what stands in it, certificates included; reads no secret.
pub(crate) fn examine(config: &ConfigArgs, now: Timestamp) -> Examined {
    let (loaded, mut findings) = config.examine();
    let Some(loaded) = loaded else {
        return Examined { loaded: None, findings };
    };
    let further: Vec<Finding> = schedules(&loaded)
        .into_iter()
        .chain(certificates(&loaded, now))
        .chain(letters(&loaded))
        .chain(loaded.look_at_secrets())
        .collect();
    add(&mut findings, further);
    let loaded = (!findings.has_errors()).then_some(loaded);
    Examined { loaded, findings }
}

/// Adds what is found later: what is wrong by itself is not said to be of no use as well.
fn add(findings: &mut Findings, further: Vec<Finding>) {
    let known: Vec<Place> = findings.iter().map(|finding| finding.place.clone()).collect();
    findings.extend(further.into_iter().filter(|finding| !known.contains(&finding.place)));
}

/// Judges the secrets too, by reading them: for `kvit doctor`, which may.
pub(crate) fn examine_secrets(examined: &mut Examined, now: Timestamp) {
    let Some(loaded) = &examined.loaded else { return };
    let secrets = loaded.check_secrets();
    let further: Vec<Finding> = secrets.iter().cloned().chain(openpgp_keys(loaded, now)).collect();
    add(&mut examined.findings, further);
    if examined.findings.has_errors() {
        examined.loaded = None;
    }
}

fn schedules(loaded: &Loaded) -> Vec<Finding> {
    let given = &loaded.config.schedules;
    let all = [
        ("purge", &given.purge),
        ("extract", &given.extract),
        ("keys", &given.keys),
        ("checkpoint", &given.checkpoint),
    ];
    let zone = &loaded.config.controller.time_zone;
    let fault = |(name, text): (&str, &String)| {
        let error = Expression::read(text, zone).err()?;
        Some(loaded.finding(&["schedules", name], Weight::Refused, error.to_string()))
    };
    all.into_iter().filter_map(fault).collect()
}

fn certificates(loaded: &Loaded, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, department) in &loaded.config.departments {
        for (n, file) in department.certificates.iter().enumerate() {
            let of = format!("department `{id}`");
            let number = n.to_string();
            let path = ["departments", id.as_str(), "certificates", &number, "file"];
            found.extend(certificate(loaded, &path, &of, file, now));
        }
    }
    if let Some(recovery) = &loaded.config.recovery {
        let path = ["recovery", "certificate", "file"];
        found.extend(certificate(loaded, &path, "the recovery", &recovery.certificate, now));
    }
    found
}

fn certificate(loaded: &Loaded, path: &[&str], of: &str, file: &CertificateFile, now: Timestamp) -> Option<Finding> {
    let shown = file.file.strip_prefix(loaded.folder()).unwrap_or(&file.file).display();
    let refused = |why: String| {
        let message = format!("the certificate {shown} of {of} cannot be used: {why}");
        Some(loaded.finding(path, Weight::Refused, message))
    };
    let bytes = match std::fs::read(&file.file) {
        Ok(bytes) => bytes,
        Err(error) => return refused(error.to_string()),
    };
    let read = match Certificate::read(&bytes, Some(&file.fingerprint)) {
        Ok(read) => read,
        Err(CertificateState::FingerprintMismatch) => {
            let other = Certificate::read(&bytes, None).map(|other| other.fingerprint());
            let holds = other.map_or_else(|_| String::new(), |other| format!(" (it holds {other})"));
            return refused(format!("its fingerprint is not the one that is stated{holds}"));
        }
        Err(state) => return refused(meaning(state).to_owned()),
    };
    match read.state(now) {
        CertificateState::Usable => {}
        state => return refused(format!("{}; give a newer one", meaning(state))),
    }
    let expires = read.expires(now).filter(|expires| expires.duration_since(now) < SOON)?;
    let message = format!("the certificate {shown} of {of} can be used until {expires} only: ask for a newer one");
    Some(loaded.finding(path, Weight::Warning, message))
}

/// What a certificate's state means.
pub(crate) fn meaning(state: CertificateState) -> &'static str {
    match state {
        CertificateState::Usable => "it can be used",
        CertificateState::Expired => "it has expired, or is not valid yet",
        CertificateState::Revoked => "it is revoked",
        CertificateState::Weak => "its algorithms are no longer safe",
        CertificateState::NoEncryptionKey => "it has no key for encryption",
        CertificateState::Unsupported => "its algorithms or its version are not supported",
        CertificateState::FingerprintMismatch => "it is another key than the one that is stated, or one of several",
        CertificateState::Unreadable => "no OpenPGP certificate can be read from it",
    }
}

fn letters(loaded: &Loaded) -> Option<Finding> {
    let error = worker::letters(&loaded.config).err()?;
    Some(loaded.finding(&["templates_dir"], Weight::Refused, format!("{error:#}")))
}

/// The OpenPGP secret keys that services read at their start. What cannot be read at all is a finding already.
fn openpgp_keys(loaded: &Loaded, now: Timestamp) -> Vec<Finding> {
    let config = &loaded.config;
    let mut found = Vec::new();
    let mut refuse = |path: &[&str], why: String| found.push(loaded.finding(path, Weight::Refused, why));
    if let Some(Ok(bytes)) = config.signing.as_ref().map(runtime::config::Signing::key) {
        match SigningKey::read(&bytes).map(|key| key.state(now)) {
            Ok(CertificateState::Usable) => {}
            Ok(state) => refuse(
                &["signing", "key_file"],
                format!("the signing key cannot be used: {}", meaning(state)),
            ),
            Err(error) => refuse(
                &["signing", "key_file"],
                format!("the signing key cannot be used: {error}"),
            ),
        }
    }
    if let Ok(Some(bytes)) = config.intake.unseal_key()
        && let Err(error) = UnsealKey::read(&bytes)
    {
        refuse(
            &["intake", "unseal_key_file"],
            format!("the key that opens sealed messages cannot be used: {error}"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Folder {
        dir: tempfile::TempDir,
        config: PathBuf,
    }

    fn made() -> Folder {
        let dir = tempfile::tempdir().unwrap();
        let config = crate::init::create(dir.path()).unwrap().config;
        Folder { dir, config }
    }

    impl Folder {
        fn replace(&self, from: &str, to: &str) -> usize {
            let text = std::fs::read_to_string(&self.config).unwrap();
            let at = text.find(from).unwrap();
            std::fs::write(&self.config, text.replacen(from, to, 1)).unwrap();
            text[..at].lines().count()
        }

        fn found(&self) -> Vec<String> {
            let arguments = ConfigArgs {
                config: Some(self.config.clone()),
                ..ConfigArgs::default()
            };
            let examined = examine(&arguments, Clock::system().now());
            examined.findings.iter().map(ToString::to_string).collect()
        }

        fn only(&self) -> String {
            let found = self.found();
            assert_eq!(found.len(), 1, "{found:?}");
            found.into_iter().next().unwrap()
        }
    }

    #[test]
    fn a_new_configuration_has_no_fault() {
        assert_eq!(made().found(), Vec::<String>::new());
    }

    #[test]
    fn a_missing_certificate_is_named_where_it_is_stated() {
        let folder = made();
        let line = folder.replace("keys/teknik-miljoe.asc\"", "keys/gone.asc\"");
        let found = folder.only();
        assert!(found.contains(&format!("kvit.toml:{line}")), "{found}");
        assert!(found.contains("keys/gone.asc of department `teknik-miljoe`"), "{found}");
    }

    #[test]
    fn another_key_than_the_pinned_one_is_refused_with_its_fingerprint() {
        let folder = made();
        folder.replace("keys/teknik-miljoe.asc\"", "keys/signing.asc\"");
        let found = folder.only();
        assert!(
            found.contains("its fingerprint is not the one that is stated"),
            "{found}"
        );
        assert!(found.contains("(it holds "), "{found}");
    }

    #[test]
    fn an_expired_certificate_and_one_that_soon_expires_are_told_apart() {
        let folder = made();
        let arguments = ConfigArgs {
            config: Some(folder.config.clone()),
            ..ConfigArgs::default()
        };
        let at = |days: i64| {
            let now = Clock::system().now() + SignedDuration::from_hours(days * 24);
            examine(&arguments, now).findings
        };
        let (soon, gone) = (at(3 * 365 - 20), at(3 * 365 + 1));
        assert!(!soon.has_errors() && !soon.is_empty(), "{soon}");
        assert!(gone.has_errors() && gone.to_string().contains("expired"), "{gone}");
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let folder = made();
        folder.replace("0 6 * * *", "99 6 * * *");
        folder.replace("complaint = \"Datatilsynet", "complain = \"Datatilsynet");
        std::fs::write(folder.dir.path().join("secrets/mail.key"), "short").unwrap();
        std::fs::remove_file(folder.dir.path().join("secrets/signing.asc")).unwrap();
        std::fs::write(folder.dir.path().join("keys/teknik-miljoe.asc"), "no certificate").unwrap();
        let found = folder.found().join("\n");
        for part in [
            "unknown key `complain`",
            "`controller.complaint`",
            "cron expression of five fields",
            "the file secrets/mail.key of `vault.mail_key_file` is not 32 bytes in base64",
            "the file secrets/signing.asc of `signing.key_file` is not there",
            "no OpenPGP certificate can be read",
        ] {
            assert!(found.contains(part), "{part} is not in:\n{found}");
        }
        assert_eq!(found.lines().count(), 6, "{found}");
    }

    #[test]
    fn what_only_reading_a_secret_tells_is_left_to_the_doctor() {
        let folder = made();
        let zeros = format!("{}=", "*".repeat(43));
        std::fs::write(folder.dir.path().join("secrets/mail.key"), zeros).unwrap();
        std::fs::write(folder.dir.path().join("secrets/signing.asc"), "no key").unwrap();
        assert_eq!(folder.found(), Vec::<String>::new());

        let arguments = ConfigArgs {
            config: Some(folder.config.clone()),
            ..ConfigArgs::default()
        };
        let now = Clock::system().now();
        let mut examined = examine(&arguments, now);
        examine_secrets(&mut examined, now);
        let said = examined.findings.to_string();
        for part in [
            "vault.mail_key is not 32 bytes in base64",
            "the signing key cannot be used",
        ] {
            assert!(said.contains(part), "{part} is not in:\n{said}");
        }
        assert!(examined.loaded.is_none());
    }
}
