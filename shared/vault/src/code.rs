//! Codes that a department gives back: what the ledger keeps is a digest that only confirms.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::VaultError;

/// Crockford's alphabet: no I, L, O, U.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A text that is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code looks like 7Q4M-2XRD")]
pub struct NotACode;

/// Eight random symbols of Crockford's base 32, such as `7Q4M-2XRD`.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl Code {
    /// A new code.
    ///
    /// # Errors
    ///
    /// [`VaultError`] where the machine gave no randomness.
    pub fn random() -> Result<Self, VaultError> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|_| VaultError::NoRandomness)?;
        let symbols = bytes.map(|byte| char::from(CROCKFORD[usize::from(byte & 31)]));
        Ok(Self(symbols.iter().collect()))
    }

    /// Reads a code as people write it: any case, hyphens and blanks left out, `O` for 0, `I` and `L` for 1.
    ///
    /// # Errors
    ///
    /// [`NotACode`]
    pub fn read(text: &str) -> Result<Self, NotACode> {
        let symbols: String = text
            .to_ascii_uppercase()
            .chars()
            .filter(|c| *c != '-' && !c.is_whitespace())
            .map(|c| match c {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            })
            .collect();
        let valid = symbols.len() == 8 && symbols.bytes().all(|byte| CROCKFORD.contains(&byte));
        if valid { Ok(Self(symbols)) } else { Err(NotACode) }
    }

    /// What is kept of it for one purpose, named by the salt.
    #[must_use]
    pub fn digest(&self, salt: &str) -> Vec<u8> {
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(salt.as_bytes()).expect("HMAC takes any key");
        mac.update(b"kvit code\0");
        mac.update(self.0.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.0.split_at(4);
        write!(f, "{first}-{last}")
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code = Code::read("7q4m-2xrd").unwrap();
        assert_eq!(code.to_string(), "7Q4M-2XRD");
        assert_eq!(Code::read(" 7Q4M 2XRD "), Ok(code));
        assert_eq!(Code::read("oil0-0000").unwrap().to_string(), "0110-0000");
        for wrong in ["", "7Q4M", "7Q4M-2XRDX", "7Q4M-2XRU", "7Q4M-2XÆ"] {
            assert_eq!(Code::read(wrong), Err(NotACode), "{wrong}");
        }
    }

    #[test]
    fn a_digest_confirms_its_code_for_its_salt_alone() {
        let code = Code::random().unwrap();
        let again = Code::read(&code.to_string()).unwrap();
        assert_eq!(code.digest("a"), again.digest("a"));
        assert_ne!(code.digest("a"), code.digest("b"));
        assert_ne!(code.digest("a"), Code::random().unwrap().digest("a"));
    }
}
