//! New keys: for the demo, for `kvit init`, and for the journal.

use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use sequoia_openpgp::Profile;
use sequoia_openpgp::cert::{CertBuilder, CipherSuite};
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::{Features, KeyFlags};

use crate::keys::KeyError;

/// Makes a key that GnuPG 2.2 and Thunderbird use: v4, Ed25519 to certify and sign, Curve25519 to encrypt.
///
/// Gives the certificate and the unprotected secret key, both armored. `None` never expires. It says of itself that it
/// reads `SEIPDv1` only, so that no sender writes to it what GnuPG cannot open.
///
/// # Errors
///
/// [`KeyError::UserId`] where the user ID is empty or holds a control character, [`KeyError::Generate`] otherwise.
pub fn generate(
    user_id: &str,
    now: Timestamp,
    valid_for: Option<SignedDuration>,
) -> Result<(Vec<u8>, Vec<u8>), KeyError> {
    if user_id.trim().is_empty() || user_id.chars().any(char::is_control) {
        return Err(KeyError::UserId);
    }
    armored_key(user_id, now, valid_for).map_err(KeyError::Generate)
}

fn armored_key(user_id: &str, now: Timestamp, valid_for: Option<SignedDuration>) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let valid_for = valid_for.map(std::time::Duration::try_from).transpose()?;
    let encryption = KeyFlags::empty().set_transport_encryption().set_storage_encryption();
    let (cert, _revocation) = CertBuilder::new()
        .set_creation_time(SystemTime::from(now))
        .set_profile(Profile::RFC4880)?
        .set_features(Features::empty().set_seipdv1())?
        .set_cipher_suite(CipherSuite::Cv25519)
        .set_validity_period(valid_for)
        .add_userid(user_id)
        .add_signing_subkey()
        .add_subkey(encryption, None, None)
        .generate()?;
    Ok((cert.armored().to_vec()?, cert.as_tsk().armored().to_vec()?))
}
