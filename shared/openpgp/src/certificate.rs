//! Certificates: read once, pinned, and judged at a time.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use domain::Reason;
use jiff::{SignedDuration, Timestamp};
use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::{CertParser, Preferences};
use sequoia_openpgp::packet::UserID;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto;

use crate::seal::SealError;
use crate::verdict::{LiveKey, Purpose, ends, judge, turning_points};

/// Larger than any department's certificate; a submitter's is untrusted input.
const MOST_BYTES: usize = 1024 * 1024;

/// How long a good verdict is used again. Every known date of change ends it earlier.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(1);

/// How long a bad verdict is used again.
const BAD_FOR: SignedDuration = SignedDuration::from_mins(1);

/// Clocks read by concurrent workers are a little out of order; that alone asks for no new verdict.
const DISORDER: SignedDuration = SignedDuration::from_secs(10);

/// Whether mail can be encrypted to a certificate, and if not, why. Everything but `Usable` means held, never plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateState {
    /// Valid, alive, not revoked, with a live encryption key.
    Usable,
    /// The certificate or its encryption key is past its time, or before it.
    Expired,
    /// The certificate or its encryption key is revoked.
    Revoked,
    /// An algorithm, key size or signature hash is no longer safe.
    Weak,
    /// Nothing in it is meant for encryption.
    NoEncryptionKey,
    /// The backend cannot use its algorithms, or there are unreasonably many keys.
    Unsupported,
    /// The file holds other keys than the pinned one, or several with none pinned.
    FingerprintMismatch,
    /// No certificate can be read from the file.
    Unreadable,
}

impl CertificateState {
    /// The contract's code.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Weak => "weak",
            Self::NoEncryptionKey => "no_encryption_key",
            Self::Unsupported => "unsupported",
            Self::FingerprintMismatch => "fingerprint_mismatch",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for CertificateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for CertificateState {}

impl From<CertificateState> for Option<Reason> {
    fn from(state: CertificateState) -> Self {
        Some(match state {
            CertificateState::Usable => return None,
            CertificateState::Expired => Reason::Expired,
            CertificateState::Revoked => Reason::Revoked,
            CertificateState::Weak => Reason::Weak,
            CertificateState::NoEncryptionKey => Reason::NoEncryptionKey,
            CertificateState::Unsupported => Reason::Unsupported,
            CertificateState::FingerprintMismatch => Reason::FingerprintMismatch,
            CertificateState::Unreadable => Reason::Unreadable,
        })
    }
}

/// Somebody's OpenPGP certificate: the public keys that mail is encrypted to.
///
/// Cheap to clone; clones share the last verdict, so that a mail does not verify the certificate's signatures again.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    cert: Cert,
    warm: Mutex<Option<Arc<Verdict>>>,
}

/// What was found at a time, and until when it holds.
pub(crate) struct Verdict {
    /// The keys to encrypt to, or why there are none.
    pub(crate) keys: Result<Vec<LiveKey>, CertificateState>,
    /// Whether the owner's programs say that they read `SEIPDv2` (RFC 9580).
    pub(crate) reads_seipd2: bool,
    from: Timestamp,
    until: Timestamp,
}

impl Certificate {
    /// Reads a certificate, armored or binary; of several in a file, the pinned one. Secret keys are left out.
    ///
    /// `pinned` is the fingerprint of the primary key, 40 or 64 hexadecimal digits; blanks and case do not matter.
    /// Copies of one certificate, and revocations that follow it, are merged: a revocation is never overlooked.
    ///
    /// # Errors
    ///
    /// [`CertificateState::Unreadable`], [`CertificateState::FingerprintMismatch`], or
    /// [`CertificateState::Unsupported`] where the file holds only keys of a version that is not read.
    pub fn read(bytes: &[u8], pinned: Option<&str>) -> Result<Self, CertificateState> {
        if bytes.len() > MOST_BYTES || is_cut_short(bytes) {
            return Err(CertificateState::Unreadable);
        }
        let mut found: Option<Cert> = None;
        let mut others = false;
        let mut unsupported = false;
        for cert in CertParser::from_bytes(bytes).map_err(|_| CertificateState::Unreadable)? {
            match cert {
                Ok(cert) if pinned.is_some_and(|pin| !is_pinned(&cert, pin)) => others = true,
                Ok(cert) => {
                    let cert = cert.strip_secret_key_material();
                    found = Some(match found.take() {
                        None => cert,
                        Some(first) => first
                            .merge_public(cert)
                            .map_err(|_| CertificateState::FingerprintMismatch)?,
                    });
                }
                Err(error) if is_unsupported(&error) => unsupported = true,
                Err(_) => return Err(CertificateState::Unreadable),
            }
        }
        match found {
            Some(cert) => Ok(Self(Arc::new(Inner {
                cert,
                warm: Mutex::new(None),
            }))),
            None if others => Err(CertificateState::FingerprintMismatch),
            None if unsupported => Err(CertificateState::Unsupported),
            None => Err(CertificateState::Unreadable),
        }
    }

    /// Whether mail can be encrypted to it at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> CertificateState {
        self.verdict(now)
            .keys
            .as_ref()
            .err()
            .copied()
            .unwrap_or(CertificateState::Usable)
    }

    /// The primary key's fingerprint, in upper case hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.cert.fingerprint().to_hex()
    }

    /// The names and addresses that the certificate gives itself. They may be personal.
    #[must_use]
    pub fn user_ids(&self) -> Vec<String> {
        let text = |id: &UserID| String::from_utf8_lossy(id.value()).into_owned();
        self.0.cert.userids().map(|id| text(id.userid())).collect()
    }

    /// When it becomes unusable, by any known date: of its keys, its signatures, or the policy.
    ///
    /// `None` is never. For an expired one the time at which it ended; for one unusable otherwise `None`.
    #[must_use]
    pub fn expires(&self, now: Timestamp) -> Option<Timestamp> {
        ends(&self.0.cert, Purpose::Encryption, self.state(now), now)
    }

    /// The algorithm that mail is encrypted by, as "Curve25519" or "RSA 3072"; where it has no key for that, the primary
    /// key's.
    #[must_use]
    pub fn algorithm(&self) -> String {
        let keys = self.0.cert.keys().subkeys();
        let newest = keys
            .filter(|key| key.key().pk_algo().for_encryption())
            .max_by_key(|key| key.key().creation_time());
        match newest {
            Some(subkey) => name_of(subkey.key().role_as_unspecified()),
            None => name_of(self.0.cert.primary_key().key().role_as_unspecified()),
        }
    }

    /// The certificate as text, without anything secret: to hand on, or to record.
    ///
    /// # Errors
    ///
    /// [`SealError::Backend`] where the backend failed.
    pub fn armored(&self) -> Result<Vec<u8>, SealError> {
        self.0.cert.armored().to_vec().map_err(SealError::Backend)
    }

    /// The verdict at `now`: the last one, while it holds.
    pub(crate) fn verdict(&self, now: Timestamp) -> Arc<Verdict> {
        let mut warm = self.0.warm.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = warm.as_ref().filter(|verdict| verdict.holds(now)) {
            return Arc::clone(verdict);
        }
        let verdict = Arc::new(Verdict::reach(&self.0.cert, now));
        *warm = Some(Arc::clone(&verdict));
        verdict
    }
}

impl From<Cert> for Certificate {
    fn from(cert: Cert) -> Self {
        Self(Arc::new(Inner {
            cert: cert.strip_secret_key_material(),
            warm: Mutex::new(None),
        }))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.fingerprint()).finish()
    }
}

impl Verdict {
    fn reach(cert: &Cert, now: Timestamp) -> Self {
        let keys = judge(cert, Purpose::Encryption, now);
        let time = SystemTime::from(now);
        let policy = StandardPolicy::at(time);
        let features = cert.with_policy(&policy, time).ok().and_then(|valid| valid.features());
        Self {
            reads_seipd2: features.is_some_and(|features| features.supports_seipdv2()),
            from: now.saturating_sub(DISORDER).unwrap_or(now),
            until: holds_until(cert, now, if keys.is_ok() { GOOD_FOR } else { BAD_FOR }),
            keys,
        }
    }

    fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// How long a verdict reached at `now` may be used again: `at_most`, and no longer than to the next known change.
pub(crate) fn holds_until(cert: &Cert, now: Timestamp, at_most: SignedDuration) -> Timestamp {
    let end = now.saturating_add(at_most).unwrap_or(now);
    turning_points(cert)
        .into_iter()
        .find(|point| *point > now)
        .map_or(end, |change| change.min(end))
}

fn is_pinned(cert: &Cert, pin: &str) -> bool {
    let pin: String = pin.chars().filter(|c| !c.is_whitespace()).collect();
    matches!(pin.len(), 40 | 64) && cert.fingerprint().to_hex().eq_ignore_ascii_case(&pin)
}

/// An armored file whose end is missing: what is missing may be the revocation.
fn is_cut_short(bytes: &[u8]) -> bool {
    let count = |mark: &[u8]| bytes.windows(mark.len()).filter(|window| *window == mark).count();
    count(b"-----BEGIN PGP ") != count(b"-----END PGP ")
}

/// Keys of other versions and the like: no fault of the file, which may hold a good one beside them.
fn is_unsupported(error: &anyhow::Error) -> bool {
    use sequoia_openpgp::Error;
    matches!(error.downcast_ref::<Error>(), Some(Error::UnsupportedCert(..)))
}

fn name_of(key: &LiveKey) -> String {
    use sequoia_openpgp::crypto::mpi::PublicKey;
    use sequoia_openpgp::types::Curve;

    let curve_name = |curve: &Curve| match curve {
        Curve::NistP256 => "NIST P-256".to_owned(),
        Curve::NistP384 => "NIST P-384".to_owned(),
        Curve::NistP521 => "NIST P-521".to_owned(),
        Curve::BrainpoolP256 => "Brainpool P-256".to_owned(),
        Curve::BrainpoolP384 => "Brainpool P-384".to_owned(),
        Curve::BrainpoolP512 => "Brainpool P-512".to_owned(),
        Curve::Ed25519 => "Ed25519".to_owned(),
        Curve::Cv25519 => "Curve25519".to_owned(),
        other => other.to_string(),
    };
    let bits = key.mpis().bits().unwrap_or_default();
    match key.mpis() {
        PublicKey::RSA { .. } => format!("RSA {bits}"),
        PublicKey::DSA { .. } => format!("DSA {bits}"),
        PublicKey::ElGamal { .. } => format!("ElGamal {bits}"),
        PublicKey::ECDH { curve, .. } | PublicKey::ECDSA { curve, .. } | PublicKey::EdDSA { curve, .. } => {
            curve_name(curve)
        }
        PublicKey::X25519 { .. } => "X25519".to_owned(),
        PublicKey::X448 { .. } => "X448".to_owned(),
        PublicKey::Ed25519 { .. } => "Ed25519".to_owned(),
        PublicKey::Ed448 { .. } => "Ed448".to_owned(),
        _ => key.pk_algo().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn certificate(valid_for: Option<SignedDuration>) -> Certificate {
        let (armored, _) = crate::generate("Afdeling", now(), valid_for).unwrap();
        Certificate::read(&armored, None).unwrap()
    }

    #[test]
    fn a_warm_certificate_is_not_verified_again() {
        let certificate = certificate(None);
        let first = certificate.verdict(now());
        for minutes in [0, 1, 59] {
            let later = certificate.clone().verdict(now() + SignedDuration::from_mins(minutes));
            assert!(Arc::ptr_eq(&first, &later), "after {minutes} minutes");
        }
        assert!(Arc::ptr_eq(
            &first,
            &certificate.verdict(now() - SignedDuration::from_secs(5))
        ));
        assert!(!Arc::ptr_eq(
            &first,
            &certificate.verdict(now() + SignedDuration::from_mins(60))
        ));
    }

    #[test]
    fn a_bad_verdict_is_soon_reached_again() {
        let certificate = certificate(Some(SignedDuration::from_mins(30)));
        let expired = certificate.verdict(now() + SignedDuration::from_mins(30));
        assert!(expired.keys.is_err());
        assert!(!Arc::ptr_eq(
            &expired,
            &certificate.verdict(now() + SignedDuration::from_mins(31))
        ));
    }

    #[test]
    fn a_clock_that_went_back_gets_a_verdict_of_its_own() {
        let certificate = certificate(Some(SignedDuration::from_mins(30)));
        let expired = now() + SignedDuration::from_mins(30);
        assert_eq!(certificate.state(expired), CertificateState::Expired);
        assert_eq!(certificate.state(now()), CertificateState::Usable);
        assert_eq!(certificate.state(expired), CertificateState::Expired);
    }
}
