//! `a=crypto`: SRTP keys in the session description (RFC 4568).
//!
//! What is read: one key, without a master key identifier, for AES-128 in counter mode or GCM.
//! An attribute that asks for more (several keys, an identifier, a key derivation rate, media
//! without encryption or authentication) is passed over, as RFC 4568 §5.1.2 wants of an answerer who
//! cannot do it. The lifetime of a peer's key binds the peer, which sends with it; ours is without
//! one, which is the largest (RFC 4568 §6.1).

use std::fmt;

use super::LocalDescription;
use super::format::Offered;
use super::section::Section;
use crate::srtp::{SdesKey, SrtpProfile};

/// Whether a leg of plain RTP is protected by SRTP with keys in its session description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Security {
    /// Never: keys are neither offered nor accepted.
    #[default]
    None,
    /// Where the peer can: offered as `RTP/AVP` with `a=crypto`, which a peer without SRTP answers
    /// in the clear.
    Optional,
    /// Always: offered as `RTP/SAVP`; RTP in the clear is refused.
    Required,
}

/// The keys of a leg of plain RTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// Which of the offered attributes was chosen (RFC 4568 §4.1).
    pub tag: u32,
    /// The key that protects what the writer of the attribute sends: the peer's.
    pub key: SdesKey,
    /// Our key of the same profile; the media plane fills it in when a leg takes this over.
    pub local_key: Option<SdesKey>,
}

impl Crypto {
    /// Reads the value of an attribute; `None` if it is malformed or asks for what we do not do.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut fields = value.split_ascii_whitespace();
        let tag = fields.next().filter(|tag| tag.len() <= TAG_DIGITS_MAX)?;
        let is_number = tag.bytes().all(|digit| digit.is_ascii_digit());
        let tag = tag.parse().ok().filter(|_| is_number)?;
        let profile = profile(fields.next()?)?;
        let key = key(profile, fields.next()?)?;
        fields.all(is_session_parameter_understood).then_some(Crypto { tag, key, local_key: None })
    }
}

/// The attribute's value with the key of whoever writes it.
impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} inline:{}", self.tag, suite(self.key.profile()), self.key.to_base64())
    }
}

/// The offerer's first attribute that we can do (RFC 4568 §5.1.2).
pub(super) fn first_usable(section: &Section<'_>) -> Option<Crypto> {
    section.media_values("crypto").take(ATTRIBUTES_MAX).find_map(Crypto::parse)
}

/// The attribute of an answer, which must be one of ours (RFC 4568 §5.1.3).
pub(super) fn answered(section: &Section<'_>, offered: &Offered) -> Option<Crypto> {
    first_usable(section).filter(|crypto| {
        let profile = crypto.key.profile();
        let index = usize::try_from(crypto.tag).ok().and_then(|tag| tag.checked_sub(1));
        let is_in_table = index.and_then(|index| SDES_PROFILES.get(index)) == Some(&profile);
        is_in_table || offered.key_in_use == Some((crypto.tag, profile))
    })
}

/// Our attributes of an offer: all our keys, numbered by their place in [`SDES_PROFILES`].
pub(super) fn offered(local: &LocalDescription) -> impl Iterator<Item = Crypto> {
    SDES_PROFILES.into_iter().zip(1..).filter_map(|(profile, tag)| {
        let key = local.sdes.iter().find(|key| key.profile() == profile)?;
        Some(Crypto { tag, key: key.clone(), local_key: None })
    })
}

fn profile(name: &str) -> Option<SrtpProfile> {
    SDES_PROFILES.into_iter().find(|profile| suite(*profile).eq_ignore_ascii_case(name))
}

/// RFC 4568 §6.2, RFC 7714 §14.3.
fn suite(profile: SrtpProfile) -> &'static str {
    match profile {
        SrtpProfile::AeadAes128Gcm => "AEAD_AES_128_GCM",
        SrtpProfile::Aes128CmHmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
        SrtpProfile::Aes128CmHmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
    }
}

/// `inline:` key, lifetime (RFC 4568 §6.1). A `;` begins a second key, a `:` behind a bar a master
/// key identifier.
fn key(profile: SrtpProfile, parameters: &str) -> Option<SdesKey> {
    let (method, info) = parameters.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") {
        return None;
    }
    let mut fields = info.split('|');
    let key = fields.next()?;
    let lifetime = fields.next();
    let is_plain = fields.next().is_none() && lifetime.is_none_or(is_lifetime);
    is_plain.then(|| SdesKey::from_base64(profile, key)).flatten()
}

/// A number of packets, as `2^20` or `1048576`, of at least one and at most 2^48.
fn is_lifetime(text: &str) -> bool {
    match text.strip_prefix("2^") {
        Some(exponent) => exponent.parse().is_ok_and(|exponent: u8| exponent <= 48),
        None => text.parse().is_ok_and(|packets: u64| (1..=1 << 48).contains(&packets)),
    }
}

/// RFC 4568 §6.3: a window size is a hint, a key derivation rate of 0 is the default, and what
/// begins with `-` may be passed over.
fn is_session_parameter_understood(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.starts_with("WSH=") || parameter == "KDR=0"
}

/// The profiles that we offer keys for, the preferred one first.
pub const SDES_PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::Aes128CmHmacSha1_80,
    SrtpProfile::Aes128CmHmacSha1_32,
];
/// RFC 4568 §9.1: a tag has one to nine digits.
const TAG_DIGITS_MAX: usize = 9;
/// Most attributes of a peer that are looked at.
const ATTRIBUTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj";

    fn is_read(value: &str) -> bool {
        Crypto::parse(&value.replace("KEY", KEY)).is_some()
    }

    #[test]
    fn rfc4568_9_1_attributes_are_read_as_they_are_written() {
        for value in [
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY",
            "999999999 AES_CM_128_HMAC_SHA1_32 inline:KEY",
            "3 AEAD_AES_128_GCM inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpXw==",
        ] {
            let value = value.replace("KEY", KEY);
            assert_eq!(Crypto::parse(&value).unwrap().to_string(), value);
        }
    }

    #[test]
    fn rfc4568_6_1_lifetimes_bind_the_peer_and_hints_may_be_passed_over() {
        assert!(is_read("1 aes_cm_128_hmac_sha1_80 INLINE:KEY|2^48"));
        assert!(is_read("1 AES_CM_128_HMAC_SHA1_80 inline:KEY|1048576 WSH=128 KDR=0 -NEW"));
        assert!(!is_read("1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^49"));
        assert!(!is_read("1 AES_CM_128_HMAC_SHA1_80 inline:KEY|0"));
    }

    #[test]
    fn what_cannot_be_done_is_passed_over() {
        for value in [
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^20|1:4",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|1:4",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY|2^20|1:4;inline:KEY|2^20|2:4",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY UNENCRYPTED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY UNAUTHENTICATED_SRTP",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY KDR=4",
            "1 AES_CM_128_HMAC_SHA1_80 inline:KEY FEC_KEY=inline:KEY",
            "1 AES_CM_128_HMAC_SHA1_80 uri:KEY",
            "1 AES_CM_128_HMAC_SHA1_80 inline:AAAA",
            "1 F8_128_HMAC_SHA1_80 inline:KEY",
            "1 AEAD_AES_256_GCM inline:KEY",
            "1234567890 AES_CM_128_HMAC_SHA1_80 inline:KEY",
            "+1 AES_CM_128_HMAC_SHA1_80 inline:KEY",
            "1 AES_CM_128_HMAC_SHA1_80",
            "1",
            "",
        ] {
            assert!(!is_read(value), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_attribute_is_read_or_passed_over(value in "[ -~]{0,80}", rest in "[ -~]{0,20}") {
            let _ = Crypto::parse(&value);
            let _ = Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}"));
            let _ = Crypto::parse(&format!("1 AEAD_AES_128_GCM {value}"));
        }
    }
}
