//! Encrypting one mail with a warm certificate, by kind of certificate, against sequoia called directly with the same
//! options and the keys already chosen.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use jiff::Timestamp;
use openpgp::{Certificate, Sealing, SigningKey};
use sequoia_openpgp::armor::Kind;
use sequoia_openpgp::cert::prelude::*;
use sequoia_openpgp::crypto::KeyPair;
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{PublicParts, UnspecifiedRole};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::serialize::stream::{Armorer, Encryptor, LiteralWriter, Message, Recipient, Signer};
use sequoia_openpgp::types::{Features, SymmetricAlgorithm};
use sequoia_openpgp::{Cert, Profile};
use serde::Serialize;

/// How much longer than the bare loop a mail may take.
pub(crate) const BAR: f64 = 1.3;

/// An ordinary department mail without attachments: text, HTML, and `indsendelse.json`.
pub(crate) const MAIL_BYTES: usize = 8 * 1024;
/// Both loops take turns this often; the middle of the turns is what counts, so that a busy machine disturbs little.
const TURNS: usize = 41;
/// How long each of the two works in a turn, at least.
const TURN: Duration = Duration::from_millis(25);

const KINDS: [(&str, CipherSuite); 4] = [
    ("Curve25519", CipherSuite::Cv25519),
    ("NIST P-256", CipherSuite::P256),
    ("RSA 3072", CipherSuite::RSA3k),
    ("RSA 4096", CipherSuite::RSA4k),
];

/// One measurement.
#[derive(Serialize)]
pub(crate) struct Row {
    /// The kind of the recipient's certificate.
    pub(crate) certificate: &'static str,
    /// Whether the mail is signed (Ed25519).
    pub(crate) signed: bool,
    /// What is encrypted.
    pub(crate) mail_bytes: usize,
    /// Microseconds a mail, through `openpgp::encrypt`.
    pub(crate) kvit_us: f64,
    /// Microseconds a mail, through sequoia alone.
    pub(crate) bare_us: f64,
    /// The middle of the turns' ratios.
    pub(crate) ratio: f64,
    /// The first mail of a certificate just read: its signatures are verified. Microseconds.
    pub(crate) cold_us: f64,
}

/// Everything that the bare loop needs, chosen beforehand.
pub(crate) struct Bare {
    keys: Vec<Key<PublicParts, UnspecifiedRole>>,
    signer: Option<KeyPair>,
    now: SystemTime,
}

/// Measures every kind, signed and not.
pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().context("reading a fixed time")?;
    let signer = make("Kvit <kvit@eksempel.example>", CipherSuite::Cv25519, now)?;
    let signing = SigningKey::read(&signer.as_tsk().to_vec()?)?;
    let plaintext = plaintext(MAIL_BYTES);
    let mut rows = Vec::new();
    for (name, suite) in KINDS {
        let cert = make("Teknik <teknik@eksempel.example>", suite, now)?;
        for signed in [false, true] {
            let bare = Bare {
                keys: encryption_keys(&cert, now)?,
                signer: signed.then(|| signing_pair(&signer, now)).transpose()?,
                now: now.into(),
            };
            let bytes = cert.to_vec()?;
            let certificate = Certificate::read(&bytes, None).context("reading the certificate")?;
            let sealing = Sealing {
                recipients: &[certificate],
                signer: signed.then_some(&signing),
                rfc9580: false,
                now,
            };
            let start = Instant::now();
            openpgp::encrypt(&plaintext, &sealing)?;
            let cold = start.elapsed();
            let (kvit, bare, ratio) = compare(
                || Ok(openpgp::encrypt(&plaintext, &sealing)?.len()),
                || bare.encrypt(&plaintext),
            )?;
            rows.push(Row {
                certificate: name,
                signed,
                mail_bytes: plaintext.len(),
                kvit_us: kvit,
                bare_us: bare,
                ratio,
                cold_us: cold.as_secs_f64() * 1e6,
            });
        }
    }
    Ok(rows)
}

/// The rows as a Markdown table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut table = format!(
        "Encrypting a mail of {MAIL_BYTES} bytes, warm certificate; the ratio may be {BAR} at most.\n\n\
         | certificate | signed | Kvit, µs a mail | bare sequoia, µs | ratio | first mail, µs |\n\
         | --- | --- | ---: | ---: | ---: | ---: |\n"
    );
    for row in rows {
        let signed = if row.signed { "yes" } else { "no" };
        let _ = writeln!(
            table,
            "| {} | {signed} | {:.0} | {:.0} | {:.2} | {:.0} |",
            row.certificate, row.kvit_us, row.bare_us, row.ratio, row.cold_us
        );
    }
    table
}

impl Bare {
    /// To a new Curve25519 certificate, signed.
    pub(crate) fn curve25519() -> anyhow::Result<Self> {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().context("reading a fixed time")?;
        let make = |user_id| make(user_id, CipherSuite::Cv25519, now);
        let (signer, cert) = (
            make("Kvit <kvit@eksempel.example>")?,
            make("Teknik <teknik@eksempel.example>")?,
        );
        Ok(Self {
            keys: encryption_keys(&cert, now)?,
            signer: Some(signing_pair(&signer, now)?),
            now: now.into(),
        })
    }

    /// Encrypts a mail, and answers how long it is then.
    pub(crate) fn encrypt(&self, plaintext: &[u8]) -> anyhow::Result<usize> {
        let features = Features::empty().set_seipdv1();
        let recipients: Vec<_> = self
            .keys
            .iter()
            .map(|key| Recipient::new(features.clone(), Some(key.fingerprint().into()), key))
            .collect();
        let mut sink = Vec::new();
        let message = Armorer::new(Message::new(&mut sink)).kind(Kind::Message).build()?;
        let encryptor = Encryptor::for_recipients(message, recipients).symmetric_algo(SymmetricAlgorithm::AES256);
        let mut message = encryptor.build()?;
        if let Some(pair) = &self.signer {
            message = Signer::new(message, pair.clone())?.creation_time(self.now).build()?;
        }
        let mut literal = LiteralWriter::new(message).build()?;
        literal.write_all(plaintext)?;
        literal.finalize()?;
        Ok(sink.len())
    }
}

/// Microseconds a call of each, taking turns, and the middle of their ratios.
fn compare(
    first: impl Fn() -> anyhow::Result<usize>,
    second: impl Fn() -> anyhow::Result<usize>,
) -> anyhow::Result<(f64, f64, f64)> {
    let (mut firsts, mut seconds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        // Who goes first changes too.
        let (a, b) = if turn.is_multiple_of(2) {
            let a = timed(&first)?;
            (a, timed(&second)?)
        } else {
            let b = timed(&second)?;
            (timed(&first)?, b)
        };
        firsts.push(a);
        seconds.push(b);
        ratios.push(a / b);
    }
    Ok((middle(firsts), middle(seconds), middle(ratios)))
}

fn timed(call: &impl Fn() -> anyhow::Result<usize>) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut calls = 0u32;
    while start.elapsed() < TURN {
        black_box(call()?);
        calls += 1;
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(calls))
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn make(user_id: &str, suite: CipherSuite, now: Timestamp) -> anyhow::Result<Cert> {
    let (cert, _) = CertBuilder::new()
        .set_creation_time(SystemTime::from(now))
        .set_profile(Profile::RFC4880)?
        .set_cipher_suite(suite)
        .add_userid(user_id)
        .add_signing_subkey()
        .add_transport_encryption_subkey()
        .generate()?;
    Ok(cert)
}

fn encryption_keys(cert: &Cert, now: Timestamp) -> anyhow::Result<Vec<Key<PublicParts, UnspecifiedRole>>> {
    let time = SystemTime::from(now);
    let policy = StandardPolicy::at(time);
    let valid = cert.with_policy(&policy, time)?;
    let keys = valid
        .keys()
        .for_transport_encryption()
        .supported()
        .alive()
        .revoked(false);
    Ok(keys.map(|key| key.key().clone()).collect())
}

fn signing_pair(cert: &Cert, now: Timestamp) -> anyhow::Result<KeyPair> {
    let time = SystemTime::from(now);
    let policy = StandardPolicy::at(time);
    let valid = cert.with_policy(&policy, time)?;
    let mut keys = valid.keys().for_signing().alive().revoked(false).unencrypted_secret();
    let key = keys.next().context("no key to sign with")?;
    key.key().clone().into_keypair()
}

/// A mail of so many bytes.
pub(crate) fn plaintext(bytes: usize) -> Vec<u8> {
    let line = b"Hul i vejen ved kirken, og lygten er ude. Navn: Aase Aeroe. \r\n";
    line.iter().copied().cycle().take(bytes).collect()
}
