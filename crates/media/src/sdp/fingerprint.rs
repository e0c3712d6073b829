//! `a=fingerprint`: what a DTLS certificate must match (RFC 8122 §5).

use std::fmt;

use ring::digest;

/// The hash of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    hash: HashFunction,
    digest: Vec<u8>,
}

/// A hash function that we compare fingerprints by (RFC 8122 §5).
///
/// MD2 and MD5 are not here, as RFC 8122 §5 demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFunction {
    /// SHA-1, from old peers.
    Sha1,
    /// SHA-256, which everyone speaks.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER form.
    pub fn of(hash: HashFunction, certificate_der: &[u8]) -> Self {
        let digest = digest::digest(hash.algorithm(), certificate_der);
        Fingerprint { hash, digest: digest.as_ref().to_vec() }
    }

    /// Whether this is the fingerprint of a certificate in DER form.
    pub fn matches(&self, certificate_der: &[u8]) -> bool {
        Fingerprint::of(self.hash, certificate_der) == *self
    }

    /// Reads an attribute's value, such as `sha-256 AB:CD:...`; `None` if it is malformed or of a
    /// hash function that we do not know.
    pub fn parse(value: &str) -> Option<Self> {
        let (name, digest) = value.trim().split_once(' ')?;
        let hash = HashFunction::parse(name)?;
        let digest: Vec<u8> = digest.trim().split(':').map(byte).collect::<Option<_>>()?;
        (digest.len() == hash.algorithm().output_len()).then_some(Fingerprint { hash, digest })
    }
}

/// The attribute's value.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.as_str())?;
        for (index, byte) in self.digest.iter().enumerate() {
            let separator = if index == 0 { ' ' } else { ':' };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

impl HashFunction {
    fn parse(name: &str) -> Option<Self> {
        ALL.into_iter().find(|hash| hash.as_str().eq_ignore_ascii_case(name))
    }

    fn as_str(self) -> &'static str {
        match self {
            HashFunction::Sha1 => "sha-1",
            HashFunction::Sha256 => "sha-256",
            HashFunction::Sha384 => "sha-384",
            HashFunction::Sha512 => "sha-512",
        }
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            HashFunction::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            HashFunction::Sha256 => &digest::SHA256,
            HashFunction::Sha384 => &digest::SHA384,
            HashFunction::Sha512 => &digest::SHA512,
        }
    }
}

fn byte(hex: &str) -> Option<u8> {
    let is_hex = hex.len() == 2 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_hex { u8::from_str_radix(hex, 16).ok() } else { None }
}

const ALL: [HashFunction; 4] =
    [HashFunction::Sha1, HashFunction::Sha256, HashFunction::Sha384, HashFunction::Sha512];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_written() {
        for hash in ALL {
            let fingerprint = Fingerprint::of(hash, b"certificate");
            let read = Fingerprint::parse(&fingerprint.to_string()).unwrap();
            assert_eq!(read, fingerprint);
            assert!(read.matches(b"certificate"));
            assert!(!read.matches(b"another"));
        }
    }

    #[test]
    fn the_case_of_name_and_digits_does_not_matter() {
        let written = Fingerprint::of(HashFunction::Sha256, b"").to_string();
        let read = Fingerprint::parse(&written.to_lowercase().replace("sha", "SHA"));
        assert_eq!(read, Fingerprint::parse(&written));
    }

    #[test]
    fn what_is_malformed_or_weak_is_refused() {
        let long = "sha-256 ".to_owned() + &["00"; 33].join(":");
        let sign = "sha-1 ".to_owned() + &["+1"; 20].join(":");
        let md5 = "md5 ".to_owned() + &["00"; 16].join(":");
        for value in ["", "sha-256", "sha-256 ", "sha-256 00:11", &long, &sign, &md5] {
            assert_eq!(Fingerprint::parse(value), None, "{value:?}");
        }
    }
}
