//! The hashes of digest authentication (RFC 8760 §2), and text in hexadecimal digits.

use std::fmt;

use md5::{Digest, Md5};
use ring::digest;
use serde::Deserialize;
use subtle::ConstantTimeEq;

/// A hash of digest authentication, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Algorithm {
    /// RFC 2617: what every client knows.
    #[serde(rename = "MD5")]
    Md5,
    /// RFC 7616.
    #[serde(rename = "SHA-256")]
    Sha256,
    /// RFC 7616: SHA-512 with 256 bits of output.
    #[serde(rename = "SHA-512-256")]
    Sha512_256,
}

impl Algorithm {
    /// Every algorithm, weakest first.
    pub const ALL: [Algorithm; 3] = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256];

    /// The token of challenges and credentials.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }

    /// Reads the token, in any case.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Algorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.token().eq_ignore_ascii_case(token))
    }

    /// Length of the hash in hexadecimal digits.
    #[must_use]
    pub fn digits(self) -> usize {
        match self {
            Algorithm::Md5 => 32,
            Algorithm::Sha256 | Algorithm::Sha512_256 => 64,
        }
    }

    /// Hashes the parts as if they were joined by colons (RFC 7616 §3.4.1).
    #[must_use]
    pub fn hash(self, parts: &[&[u8]]) -> Hex {
        match self {
            Algorithm::Md5 => {
                let mut md5 = Md5::new();
                joined(parts, |bytes| md5.update(bytes));
                Hex::of(&md5.finalize())
            }
            Algorithm::Sha256 => sha(&digest::SHA256, parts),
            Algorithm::Sha512_256 => sha(&digest::SHA512_256, parts),
        }
    }

    /// What is stored in place of a password (RFC 7616 §3.4.2).
    #[must_use]
    pub fn ha1(self, user: &str, realm: &str, password: &str) -> Hex {
        self.hash(&[user.as_bytes(), realm.as_bytes(), password.as_bytes()])
    }
}

fn sha(algorithm: &'static digest::Algorithm, parts: &[&[u8]]) -> Hex {
    let mut context = digest::Context::new(algorithm);
    joined(parts, |bytes| context.update(bytes));
    Hex::of(context.finish().as_ref())
}

fn joined(parts: &[&[u8]], mut take: impl FnMut(&[u8])) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            take(b":");
        }
        take(part);
    }
}

/// Up to 32 bytes as lower-case hexadecimal digits, without an allocation. Compared in constant
/// time, and never shown by `Debug`.
#[derive(Clone, Copy)]
pub struct Hex {
    digits: [u8; 64],
    length: usize,
}

impl Hex {
    /// Writes bytes; more than 32 are left out.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Hex {
        let mut hex = Hex { digits: [0; 64], length: 0 };
        for (pair, byte) in hex.digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            hex.length += 2;
        }
        hex
    }

    /// Reads digits in any case; `None` if there are others, or more than 64.
    #[must_use]
    pub fn parse(text: &str) -> Option<Hex> {
        let mut hex = Hex { digits: [0; 64], length: text.len() };
        let digits = hex.digits.get_mut(..text.len())?;
        for (digit, byte) in digits.iter_mut().zip(text.bytes()) {
            *digit = byte.is_ascii_hexdigit().then(|| byte.to_ascii_lowercase())?;
        }
        Some(hex)
    }

    /// The digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }
}

impl PartialEq for Hex {
    fn eq(&self, other: &Hex) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for Hex {}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(self.as_bytes()).unwrap_or_default())
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hex({} digits)", self.length)
    }
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_algorithm_is_the_one_it_is_called() {
        // FIPS 180-4 and RFC 1321: the hash of "abc".
        for (algorithm, hash) in [
            (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                Algorithm::Sha512_256,
                "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
            ),
        ] {
            assert_eq!(algorithm.hash(&[b"abc"]).to_string(), hash);
            assert_eq!(algorithm.digits(), hash.len());
            assert_eq!(Algorithm::from_token(&algorithm.token().to_lowercase()), Some(algorithm));
        }
        assert_eq!(Algorithm::from_token("MD5-sess"), None);
    }

    proptest! {
        #[test]
        fn digits_are_read_as_they_are_written(bytes in proptest::collection::vec(any::<u8>(), 0..=32)) {
            let hex = Hex::of(&bytes);
            prop_assert_eq!(Hex::parse(&hex.to_string().to_uppercase()), Some(hex));
        }

        #[test]
        fn reading_never_panics(text in ".{0,80}") {
            let _ = Hex::parse(&text);
        }
    }
}
