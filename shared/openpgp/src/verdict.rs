//! Whether a certificate's keys may be used at a given time, and why not.
//!
//! Both the certificate and the subkey are judged: sequoia's `keys().alive().revoked(false)` asks the subkey alone.

use std::time::SystemTime;

use jiff::Timestamp;
use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::prelude::*;
use sequoia_openpgp::crypto::SessionKey;
use sequoia_openpgp::packet::key::{PublicParts, UnspecifiedRole};
use sequoia_openpgp::packet::{Key, PKESK, Packet, Signature, pkesk::PKESK3};
use sequoia_openpgp::policy::{AsymmetricAlgorithm, HashAlgoSecurity, Policy, StandardPolicy};
use sequoia_openpgp::types::{AEADAlgorithm, HashAlgorithm, RevocationStatus, SymmetricAlgorithm};

use crate::certificate::CertificateState;

/// A key that may be used, without its certificate.
pub(crate) type LiveKey = Key<PublicParts, UnspecifiedRole>;

/// More live keys than this in one certificate is an attack on the sender, not a department.
const MOST_KEYS: usize = 32;

/// What a key is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To encrypt to: mail in transport and at rest alike, as GnuPG marks both.
    Encryption,
    /// To sign with: the secret key must be there, without a password.
    Signing,
}

impl Purpose {
    fn suits(self, key: &ValidErasedKeyAmalgamation<'_, PublicParts>) -> bool {
        match self {
            Self::Encryption => key.for_transport_encryption() || key.for_storage_encryption(),
            Self::Signing => key.for_signing() && key.key().has_unencrypted_secret(),
        }
    }

    /// The state of a certificate that has no key for it at all.
    fn missing(self) -> CertificateState {
        match self {
            Self::Encryption => CertificateState::NoEncryptionKey,
            Self::Signing => CertificateState::Unsupported,
        }
    }

    /// Whether the backend can really use the key: a point off its curve parses, and fails only when used.
    fn works(self, key: &LiveKey) -> bool {
        match self {
            Self::Encryption => SessionKey::new(32)
                .and_then(|session| PKESK3::for_recipient(SymmetricAlgorithm::AES256, &session, key))
                .map(PKESK::from)
                .is_ok(),
            Self::Signing => true,
        }
    }
}

/// Every key of the certificate that may be used for the purpose at `now`; at least one, or the reason why none.
///
/// Where several keys are unusable for different reasons, the newest one's reason stands: it is the one meant to be used.
pub(crate) fn judge(cert: &Cert, purpose: Purpose, now: Timestamp) -> Result<Vec<LiveKey>, CertificateState> {
    let time = SystemTime::from(now);
    let policy = StandardPolicy::at(time);
    if matches!(cert.revocation_status(&policy, time), RevocationStatus::Revoked(_)) {
        return Err(CertificateState::Revoked);
    }
    let valid = cert.with_policy(&policy, time).map_err(|_| why_invalid(cert, time))?;
    if valid.alive().is_err() {
        return Err(CertificateState::Expired);
    }

    let mut live = Vec::new();
    let mut refused = Vec::new();
    for key in cert.keys() {
        match judge_key(&key, purpose, &policy, time) {
            Some(Ok(usable)) => live.push(usable),
            Some(Err(state)) => refused.push((key.key().creation_time(), state)),
            None => {}
        }
    }
    match (live.len(), refused.into_iter().max_by_key(|(created, _)| *created)) {
        (0, None) => Err(purpose.missing()),
        (0, Some((_, state))) => Err(state),
        (1..=MOST_KEYS, _) => Ok(live),
        _ => Err(CertificateState::Unsupported),
    }
}

/// `None` where the key was never meant for the purpose.
fn judge_key(
    key: &ErasedKeyAmalgamation<'_, PublicParts>,
    purpose: Purpose,
    policy: &StandardPolicy<'_>,
    time: SystemTime,
) -> Option<Result<LiveKey, CertificateState>> {
    let strict = key.with_policy(policy, time).ok();
    let meant = match &strict {
        Some(valid) => purpose.suits(valid),
        None => key
            .with_policy(&AnythingGoes, time)
            .is_ok_and(|valid| purpose.suits(&valid)),
    };
    if !meant {
        return None;
    }
    if !is_supported(key.key()) {
        return Some(Err(CertificateState::Unsupported));
    }
    let Some(valid) = strict else {
        return Some(Err(CertificateState::Weak));
    };
    Some(if matches!(valid.revocation_status(), RevocationStatus::Revoked(_)) {
        Err(CertificateState::Revoked)
    } else if valid.alive().is_err() {
        Err(CertificateState::Expired)
    } else if !purpose.works(key.key()) {
        Err(CertificateState::Unsupported)
    } else {
        Ok(key.key().clone())
    })
}

/// Why the primary key has no self-signature that the policy takes.
fn why_invalid(cert: &Cert, time: SystemTime) -> CertificateState {
    let primary = cert.primary_key();
    if !is_supported(primary.key().role_as_unspecified()) {
        CertificateState::Unsupported
    } else if cert.with_policy(&AnythingGoes, time).is_ok() {
        CertificateState::Weak
    } else if primary.self_signatures().next().is_some()
        || cert.userids().any(|id| id.self_signatures().next().is_some())
    {
        CertificateState::Expired // signed, but for another time: not yet, or no longer
    } else {
        CertificateState::Unreadable
    }
}

/// Asks for the curve too: sequoia's `supported()` filter knows ECDH only as a whole.
fn is_supported(key: &LiveKey) -> bool {
    use sequoia_openpgp::crypto::mpi::PublicKey;

    let curve = match key.mpis() {
        PublicKey::ECDH { curve, .. } | PublicKey::ECDSA { curve, .. } | PublicKey::EdDSA { curve, .. } => Some(curve),
        _ => None,
    };
    key.pk_algo().is_supported() && curve.is_none_or(sequoia_openpgp::types::Curve::is_supported)
}

/// Every time at which a verdict on the certificate can change, in order: beginnings and ends of keys and of
/// signatures, revocations, and the policy's own dates.
pub(crate) fn turning_points(cert: &Cert) -> Vec<Timestamp> {
    let mut times = Vec::new();
    let primary = cert.primary_key().key().creation_time();
    for key in cert.keys() {
        let created = key.key().creation_time();
        times.push(created);
        key.self_signatures()
            .for_each(|signature| times.extend(signature_times(signature, created)));
        times.extend(
            key.self_revocations()
                .filter_map(|signature| signature.signature_creation_time()),
        );
    }
    for id in cert.userids() {
        id.self_signatures()
            .for_each(|signature| times.extend(signature_times(signature, primary)));
    }
    times.extend(policy_dates());

    let mut times: Vec<Timestamp> = times
        .into_iter()
        .filter_map(|time| Timestamp::try_from(time).ok())
        .collect();
    times.sort_unstable();
    times.dedup();
    times
}

/// When the certificate, which is in this state at `now`, can no longer be used for the purpose, or, where it has expired,
/// since when. `None` where that is never, or for another reason.
pub(crate) fn ends(cert: &Cert, purpose: Purpose, state: CertificateState, now: Timestamp) -> Option<Timestamp> {
    let points = turning_points(cert);
    let usable = |time: Timestamp| judge(cert, purpose, time).is_ok();
    match state {
        CertificateState::Usable => points.into_iter().find(|point| *point > now && !usable(*point)),
        CertificateState::Expired => {
            let ended = points.into_iter().rev().filter(|point| *point <= now);
            ended.take_while(|point| !usable(*point)).last()
        }
        _ => None,
    }
}

/// A validity period of zero means for ever, as an absent one does.
fn signature_times(signature: &Signature, key_created: SystemTime) -> impl Iterator<Item = SystemTime> {
    let ends = signature.key_validity_period().filter(|period| !period.is_zero());
    [
        signature.signature_creation_time(),
        signature.signature_expiration_time(),
        ends.and_then(|period| key_created.checked_add(period)),
    ]
    .into_iter()
    .flatten()
}

fn policy_dates() -> impl Iterator<Item = SystemTime> {
    let policy = StandardPolicy::new();
    let mut dates: Vec<SystemTime> = AsymmetricAlgorithm::variants()
        .filter_map(|algorithm| policy.asymmetric_algo_cutoff(algorithm))
        .collect();
    for hash in HashAlgorithm::variants() {
        dates.extend(policy.hash_cutoff(hash, HashAlgoSecurity::CollisionResistance));
        dates.extend(policy.hash_cutoff(hash, HashAlgoSecurity::SecondPreImageResistance));
    }
    dates.into_iter()
}

/// A policy that refuses nothing: only to tell what is weak from what was never there. Nothing is encrypted by it.
#[derive(Debug)]
struct AnythingGoes;

impl Policy for AnythingGoes {
    fn signature(&self, _: &Signature, _: HashAlgoSecurity) -> sequoia_openpgp::Result<()> {
        Ok(())
    }

    fn key(&self, _: &ValidErasedKeyAmalgamation<'_, PublicParts>) -> sequoia_openpgp::Result<()> {
        Ok(())
    }

    fn symmetric_algorithm(&self, _: SymmetricAlgorithm) -> sequoia_openpgp::Result<()> {
        Ok(())
    }

    fn aead_algorithm(&self, _: AEADAlgorithm) -> sequoia_openpgp::Result<()> {
        Ok(())
    }

    fn packet(&self, _: &Packet) -> sequoia_openpgp::Result<()> {
        Ok(())
    }
}
