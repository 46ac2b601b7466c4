//! How long the OpenPGP certificates and keys can still be used: the departments', those that `kvit key add` recorded, and
//! Kvit's own.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ledger::Ledger;
use openpgp::{Certificate, CertificateState, SigningKey, UnsealKey};
use runtime::Loaded;
use worker::{Certificates, DepartmentState, Listed};

use super::Probe;
use crate::check::meaning;

/// As the alarm `KvitCertificateExpiring`; `kvit check` has a word for it long before.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
/// What to do about a certificate that others give.
const ASK: &str = "ask for one with a later end: replace its file, or kvit key add";

pub(super) async fn probe(loaded: &Loaded, ledger: Option<&Ledger>, now: Timestamp) -> Vec<Probe> {
    let certificates = Certificates::new(Arc::new(loaded.clone()));
    if let Some(ledger) = ledger {
        // Where it does not answer, the probe of the store says so, and the files are judged all the same.
        let _ = certificates.refresh(ledger).await;
    }
    let listed = certificates.list(now);
    let mut probes: Vec<Probe> = listed
        .iter()
        .map(|one| of_department(one, &certificates, now))
        .collect();
    probes.extend(of_gateways(loaded, now));
    probes.extend(own(loaded, now));
    probes
}

/// How long something can be used.
#[derive(Debug, Clone, Copy)]
struct Lasts {
    state: CertificateState,
    /// When it ends, or ended.
    until: Option<Timestamp>,
}

fn of_department(listed: &Listed, certificates: &Certificates, now: Timestamp) -> Probe {
    let lasts = Lasts {
        state: listed.state,
        until: listed.expires,
    };
    let Some(department) = &listed.department else {
        return judged("certificate of the recovery", &listed.fingerprint, lasts, ASK, now);
    };
    let check = format!("certificate of {department}");
    let probe = judged(&check, &listed.fingerprint, lasts, ASK, now);
    let is_held = matches!(certificates.of(department, now), DepartmentState::Held(_));
    replaced(probe, is_held)
}

/// A certificate that cannot be used is no failure where another has taken its place.
fn replaced(probe: Probe, is_held: bool) -> Probe {
    match (probe.state, is_held) {
        (super::State::Fail, false) => Probe::warn(
            probe.check,
            format!("{}; another has taken its place", probe.found),
            "take it out of kvit.toml when no mail needs it any more",
        ),
        _ => probe,
    }
}

/// The gateways of journals that take mails.
fn of_gateways(loaded: &Loaded, now: Timestamp) -> Vec<Probe> {
    let targets = loaded.config.journal_targets.iter();
    let with_certificate = targets.filter_map(|(name, target)| Some((name, target.certificate.as_ref()?)));
    with_certificate
        .map(|(name, file)| {
            let bytes = std::fs::read(&file.file).map_err(|_| CertificateState::Unreadable);
            let read = bytes.and_then(|bytes| Certificate::read(&bytes, Some(&file.fingerprint)));
            let lasts = read.map_or_else(|state| Lasts { state, until: None }, |read| lasts(&read, now));
            let next = "ask for one with a later end, and replace its file: entries for this journal are held";
            judged(
                &format!("certificate of journal {name}"),
                &file.fingerprint,
                lasts,
                next,
                now,
            )
        })
        .collect()
}

/// Kvit's own keys. One that cannot be read is a finding of the configuration.
fn own(loaded: &Loaded, now: Timestamp) -> Vec<Probe> {
    let config = &loaded.config;
    let signing = config.signing.as_ref().and_then(|signing| signing.key().ok());
    let signing = signing.and_then(|bytes| SigningKey::read(&bytes).ok()).map(|key| {
        let lasts = Lasts {
            state: key.state(now),
            until: key.expires(now),
        };
        let next = "make one with a later end, give departments its certificate, and name it in [signing]";
        judged("signing key", &key.fingerprint(), lasts, next, now)
    });
    let opening = |check, bytes: Option<Vec<u8>>, next| {
        let key = UnsealKey::read(&bytes?).ok()?;
        Some(judged(
            check,
            &key.fingerprint(),
            lasts(&key.certificate(), now),
            next,
            now,
        ))
    };
    let intake = opening(
        "intake's key",
        config.intake.unseal_key().ok().flatten(),
        "extend it, and give its certificate to the sites: they cannot seal to one that has ended",
    );
    let journal = opening(
        "journal's key",
        config.journal.key().ok().flatten(),
        "extend it: nothing can be sealed for the journal once it has ended",
    );
    [signing, intake, journal].into_iter().flatten().collect()
}

fn lasts(certificate: &Certificate, now: Timestamp) -> Lasts {
    Lasts {
        state: certificate.state(now),
        until: certificate.expires(now),
    }
}

fn judged(check: &str, fingerprint: &str, lasts: Lasts, next: &str, now: Timestamp) -> Probe {
    let Lasts { state, until } = lasts;
    let day = |time: Timestamp| time.strftime("%Y-%m-%d");
    if state != CertificateState::Usable {
        let since = until.map_or_else(String::new, |until| format!(", since {}", day(until)));
        return Probe::fail(check, format!("{fingerprint}: {}{since}", meaning(state)), next);
    }
    let Some(until) = until else {
        return Probe::ok(check, format!("{fingerprint} has no end"));
    };
    let days = operate::key::days(until, now);
    let found = format!("{fingerprint} can be used until {}, for {days} days", day(until));
    if until.duration_since(now) < SOON {
        Probe::warn(check, found, next)
    } else {
        Probe::ok(check, found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use runtime::{Clock, Layers};

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn new() -> (tempfile::TempDir, Loaded) {
        let folder = tempfile::tempdir().unwrap();
        let created = crate::init::create(folder.path()).unwrap();
        let loaded = Loaded::load_with(&created.config, &Layers::default()).unwrap();
        (folder, loaded)
    }

    fn found<'a>(probes: &'a [Probe], check: &str) -> &'a Probe {
        probes.iter().find(|probe| probe.check == check).unwrap()
    }

    #[tokio::test]
    async fn a_certificate_is_worth_a_look_two_weeks_before_its_end_and_fails_after_it() {
        let (_folder, loaded) = new();
        let made = Clock::system().now();
        for (days, state) in [
            (0, State::Ok),
            (1080, State::Ok),
            (1082, State::Warn),
            (1096, State::Fail),
        ] {
            let probes = probe(&loaded, None, made + DAY * days).await;
            let certificate = found(&probes, "certificate of teknik-miljoe");
            assert_eq!(certificate.state, state, "{certificate:?}");
            assert_eq!(certificate.next.as_deref(), (state != State::Ok).then_some(ASK));
        }
    }

    #[tokio::test]
    async fn one_that_was_recorded_is_looked_at_too_and_takes_the_place_of_one_that_has_ended() {
        let (_folder, loaded) = new();
        let ledger = worker::ledger(&loaded.config).unwrap();
        let now = Clock::system().now() + DAY * 1096;
        let (armored, _) = openpgp::generate("Teknik <t@eksempel.example>", now, Some(DAY * 10)).unwrap();
        let fingerprint = Certificate::read(&armored, None).unwrap().fingerprint();
        let recorded = ledger.add_certificate("teknik-miljoe".parse().unwrap(), fingerprint.clone(), armored, now);
        recorded.await.unwrap();
        let probes = probe(&loaded, Some(&ledger), now).await;
        let both = probes
            .iter()
            .filter(|probe| probe.check == "certificate of teknik-miljoe");
        let both: Vec<_> = both.collect();
        assert_eq!(both.len(), 2, "{probes:?}");
        assert_eq!([both[0].state, both[1].state], [State::Warn, State::Warn]);
        assert!(both[0].found.contains("another has taken its place"), "{both:?}");
        assert!(both[1].found.contains(&fingerprint), "{both:?}");
    }

    #[tokio::test]
    async fn keys_of_kvits_own_are_looked_at() {
        let (folder, loaded) = new();
        let now = Clock::system().now();
        let probes = probe(&loaded, None, now).await;
        for check in ["signing key", "intake's key", "journal's key"] {
            assert!(found(&probes, check).found.ends_with("has no end"), "{probes:?}");
        }
        for name in ["signing", "intake", "journal"] {
            let (_, secret) = openpgp::generate("Kvit <k@eksempel.example>", now, Some(DAY * 15)).unwrap();
            std::fs::write(folder.path().join(format!("secrets/{name}.asc")), secret).unwrap();
        }
        for (days, state) in [(0, State::Ok), (2, State::Warn), (16, State::Fail)] {
            let probes = probe(&loaded, None, now + DAY * days).await;
            for check in ["signing key", "intake's key", "journal's key"] {
                assert_eq!(found(&probes, check).state, state, "{check} after {days} days");
            }
        }
    }

    #[tokio::test]
    async fn the_certificate_of_a_journal_s_gateway_is_looked_at() {
        let (folder, loaded) = new();
        let now = Clock::system().now();
        let (armored, _) = openpgp::generate("Sag <sag@eksempel.example>", now, Some(DAY * 15)).unwrap();
        let fingerprint = Certificate::read(&armored, None).unwrap().fingerprint();
        std::fs::write(folder.path().join("keys/sag.asc"), armored).unwrap();
        let text = std::fs::read_to_string(&loaded.path).unwrap();
        let target = format!(
            "[journal_targets.sag]\nkind = \"sbsys_mail\"\nmail = \"sag@eksempel.example\"\ncase_template = \"17\"\n\
             processor_agreement = \"1\"\ndisclosure_ground = \"gdpr-6-1-e\"\n\
             certificate = {{ file = \"keys/sag.asc\", fingerprint = \"{fingerprint}\" }}\n"
        );
        std::fs::write(&loaded.path, format!("{text}\n{target}")).unwrap();
        let loaded = Loaded::load_with(&loaded.path, &Layers::default()).unwrap();
        for (days, state) in [(0, State::Ok), (2, State::Warn), (16, State::Fail)] {
            let probes = probe(&loaded, None, now + DAY * days).await;
            assert_eq!(
                found(&probes, "certificate of journal sag").state,
                state,
                "after {days} days"
            );
        }
    }

    #[test]
    fn the_bound_is_that_of_the_alarm() {
        let rules = include_str!("../../../../deploy/prometheus/kvit.rules.yml");
        let days = SOON.as_hours() / 24;
        let bound = format!("kvit_certificate_expiry_timestamp_seconds - time() < {days} * 86400");
        assert!(rules.contains(&bound), "{bound}");
    }
}
