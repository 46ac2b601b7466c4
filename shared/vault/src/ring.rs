//! A wrapping key and its predecessors: the current one wraps, all open, so that a key can be changed while services run.

use std::fmt;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::KeyInit as _;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a wrapping key is called where it is not shown: eight bytes that say nothing of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

impl KeyId {
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The keys of one purpose, the current one first. Wiped from memory when dropped; `Debug` shows nothing of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    current: Zeroizing<[u8; 32]>,
    earlier: Vec<Zeroizing<[u8; 32]>>,
}

impl Ring {
    /// A ring of these keys, the current one first; `None` of none.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = [u8; 32]>) -> Option<Self> {
        let mut keys = keys.into_iter().map(Zeroizing::new);
        Some(Self {
            current: keys.next()?,
            earlier: keys.collect(),
        })
    }

    /// The current key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        id_of(&self.current)
    }

    /// Every key's id, the current one's first.
    pub(crate) fn ids(&self) -> Vec<KeyId> {
        self.all().map(id_of).collect()
    }

    pub(crate) fn current(&self) -> &[u8; 32] {
        &self.current
    }

    /// The first of the keys that were ever in use, as far as they are in the ring.
    pub(crate) fn oldest(&self) -> &[u8; 32] {
        self.earlier.last().unwrap_or(&self.current)
    }

    pub(crate) fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.current).into())
    }

    pub(crate) fn ciphers(&self) -> impl Iterator<Item = XChaCha20Poly1305> {
        self.all().map(|key| XChaCha20Poly1305::new((&**key).into()))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Zeroizing<[u8; 32]>> {
        std::iter::once(&self.current).chain(&self.earlier)
    }
}

impl From<[u8; 32]> for Ring {
    fn from(key: [u8; 32]) -> Self {
        Self {
            current: Zeroizing::new(key),
            earlier: Vec::new(),
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ring(…)")
    }
}

fn id_of(key: &Zeroizing<[u8; 32]>) -> KeyId {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key.as_slice()).expect("HMAC takes any key");
    mac.update(b"kvit wrapping key\0");
    let digest = mac.finalize().into_bytes();
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    KeyId(id)
}
