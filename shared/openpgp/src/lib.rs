//! OpenPGP for Kvit: certificates that fail closed, encryption, and the mail that carries it. The only user of sequoia.
//!
//! A [`Certificate`] is read once and judged at a time; [`encrypt`] writes to every live encryption key of every
//! recipient; [`SealedMail`] is a whole mail whose body is such a message (RFC 3156). Nothing else makes a
//! `SealedMail`, so a mailer that may send a department only that type cannot send it plaintext. [`UnsealKey`] opens
//! what sites sealed. Not here: what the letters say, where keys are kept, and what happens when one is unusable.
//!
//! The cryptographic backend is chosen by the programs, through sequoia's features.
//!
//! ```
//! use jiff::Timestamp;
//! use openpgp::{Certificate, CertificateState, Sealing, UnsealKey};
//!
//! let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
//! let (certificate, secret) = openpgp::generate("Teknik <teknik@eksempel.example>", now, None).unwrap();
//!
//! let department = Certificate::read(&certificate, None).unwrap();
//! assert_eq!(department.state(now), CertificateState::Usable);
//!
//! let sealing = Sealing { recipients: &[department], signer: None, rfc9580: false, now };
//! let sealed = openpgp::encrypt("Hul i vejen".as_bytes(), &sealing).unwrap();
//! let opened = UnsealKey::read(&secret).unwrap().open(&sealed, 1024).unwrap();
//! assert_eq!(opened, "Hul i vejen".as_bytes());
//! ```

mod armor;
mod certificate;
mod generate;
mod header;
mod keys;
mod mail;
mod seal;
mod unseal;
mod verdict;

pub use certificate::{Certificate, CertificateState};
pub use generate::generate;
pub use header::{InvalidMailbox, Mailbox};
pub use keys::{KeyError, SigningKey};
pub use mail::{NotSealed, Outer, SealedMail};
pub use seal::{SealError, Sealing, encrypt};
pub use unseal::{UnsealError, UnsealKey};
