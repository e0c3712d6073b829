//! Keys that travel in session descriptions (RFC 4568 §6.1).

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::CryptoRng;

use super::{MasterKey, SrtpProfile};

/// A master key with its salt, for one direction: what follows `inline:` in `a=crypto`.
///
/// Whoever reads it can read the media; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SdesKey {
    profile: SrtpProfile,
    /// The key, then the salt; zeros up to the end where the salt is shorter.
    bytes: [u8; BYTES_MAX],
}

impl SdesKey {
    /// A new key out of a generator that cannot be predicted.
    pub fn random(profile: SrtpProfile, random: &mut impl CryptoRng) -> Self {
        let mut key = Self { profile, bytes: [0; BYTES_MAX] };
        random.fill_bytes(&mut key.bytes[..len(profile)]);
        key
    }

    /// Reads the base64 of key and salt; `None` when it is not exactly as long as the profile wants
    /// (RFC 4568 §6.1). A missing padding is forgiven.
    pub fn from_base64(profile: SrtpProfile, text: &str) -> Option<Self> {
        let unpadded = text.trim_end_matches('=');
        let bytes = base64::engine::GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            base64::engine::general_purpose::NO_PAD.with_decode_allow_trailing_bits(true),
        )
        .decode(unpadded)
        .ok()
        .filter(|bytes| bytes.len() == len(profile))?;
        let mut key = Self { profile, bytes: [0; BYTES_MAX] };
        key.bytes.get_mut(..bytes.len())?.copy_from_slice(&bytes);
        Some(key)
    }

    /// The base64 of key and salt.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.key_and_salt())
    }

    /// What the key is for.
    pub fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// The master key, to derive session keys from.
    pub fn master(&self) -> MasterKey {
        let (key, salt) = self.key_and_salt().split_at(KEY_BYTES);
        MasterKey::new(self.profile, key, salt)
            .expect("key and salt are as long as the profile says")
    }

    fn key_and_salt(&self) -> &[u8] {
        &self.bytes[..len(self.profile)]
    }
}

impl fmt::Debug for SdesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdesKey").field("profile", &self.profile).finish_non_exhaustive()
    }
}

fn len(profile: SrtpProfile) -> usize {
    KEY_BYTES + profile.salt_bytes()
}

const KEY_BYTES: usize = 16;
/// AES-CM: a salt of 14 bytes.
const BYTES_MAX: usize = KEY_BYTES + 14;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const PROFILES: [SrtpProfile; 3] = [
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::Aes128CmHmacSha1_80,
        SrtpProfile::Aes128CmHmacSha1_32,
    ];

    #[test]
    fn rfc4568_6_1_a_key_is_read_as_it_is_written() {
        let mut random = StdRng::seed_from_u64(1);
        for profile in PROFILES {
            let key = SdesKey::random(profile, &mut random);
            let text = key.to_base64();
            assert_eq!(SdesKey::from_base64(profile, &text), Some(key.clone()));
            assert_eq!(SdesKey::from_base64(profile, text.trim_end_matches('=')), Some(key));
        }
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        let short = STANDARD.encode([7; 28]);
        let long = STANDARD.encode([7; 30]);
        assert_eq!(SdesKey::from_base64(SrtpProfile::Aes128CmHmacSha1_80, &short), None);
        assert_eq!(SdesKey::from_base64(SrtpProfile::AeadAes128Gcm, &long), None);
        assert_eq!(SdesKey::from_base64(SrtpProfile::AeadAes128Gcm, "not base64!"), None);
    }

    #[test]
    fn a_key_does_not_show_in_logs() {
        let key = SdesKey::random(SrtpProfile::AeadAes128Gcm, &mut StdRng::seed_from_u64(2));
        assert!(
            !format!("{key:?}").contains(&format!("{:?}", &key.bytes[..4]).replace(['[', ']'], ""))
        );
    }
}
