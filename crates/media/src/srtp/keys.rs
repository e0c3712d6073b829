//! Master keys out of the DTLS exporter, session keys out of master keys.

use aes::{
    Aes128Enc,
    cipher::{BlockEncrypt, KeyInit},
};

use super::SrtpProfile;

/// The master keys of both directions (RFC 5764 §4.2).
pub struct KeyingMaterial {
    /// Protects what we send.
    pub local: MasterKey,
    /// Protects what the peer sends.
    pub remote: MasterKey,
}

impl KeyingMaterial {
    /// The exporter's label (RFC 5764 §4.2).
    pub const LABEL: &str = rtc::srtp::config::LABEL_EXTRACTOR_DTLS_SRTP;

    /// Bytes to ask of the exporter.
    pub fn exported_bytes(profile: SrtpProfile) -> usize {
        2 * (KEY_BYTES + profile.salt_bytes())
    }

    /// Takes the exporter's bytes apart: client key, server key, client salt, server salt. `None`
    /// when they are not [`Self::exported_bytes`] many.
    pub fn from_exported(profile: SrtpProfile, bytes: &[u8], we_are_client: bool) -> Option<Self> {
        if bytes.len() != Self::exported_bytes(profile) {
            return None;
        }
        let (keys, salts) = bytes.split_at(2 * KEY_BYTES);
        let (client_key, server_key) = keys.split_at(KEY_BYTES);
        let (client_salt, server_salt) = salts.split_at(profile.salt_bytes());
        let client = MasterKey::new(profile, client_key, client_salt)?;
        let server = MasterKey::new(profile, server_key, server_salt)?;
        Some(if we_are_client {
            Self { local: client, remote: server }
        } else {
            Self { local: server, remote: client }
        })
    }
}

/// A master key and its salt (RFC 3711 §3.2.1), from which session keys are derived.
pub struct MasterKey {
    pub(super) profile: SrtpProfile,
    generator: Aes128Enc,
    /// Filled up with zeros to a block.
    salt: [u8; BLOCK_BYTES],
}

impl MasterKey {
    /// A key of 16 bytes with a salt of 14 (AES-CM) or 12 (AES-GCM); `None` with other lengths.
    pub fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Option<Self> {
        if salt.len() != profile.salt_bytes() {
            return None;
        }
        let mut block = [0; BLOCK_BYTES];
        block.get_mut(..salt.len())?.copy_from_slice(salt);
        let generator = Aes128Enc::new_from_slice(key).ok()?;
        Some(Self { profile, generator, salt: block })
    }

    /// A session key (RFC 3711 §4.3.1 and §4.3.3; RFC 7714 §11 uses the same for GCM).
    pub(super) fn derive<const N: usize>(&self, label: Label) -> [u8; N] {
        let mut key = [0; N];
        for (counter, part) in key.chunks_mut(BLOCK_BYTES).enumerate() {
            let mut block = self.salt;
            block[LABEL_AT] ^= label as u8;
            block[BLOCK_BYTES - 1] = counter as u8;
            self.generator.encrypt_block((&mut block).into());
            part.copy_from_slice(&block[..part.len()]);
        }
        key
    }
}

/// What a session key is for (RFC 3711 §4.3.1).
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// The three labels of one protocol.
pub(super) struct Labels {
    pub(super) encryption: Label,
    pub(super) authentication: Label,
    pub(super) salt: Label,
}

pub(super) const RTP: Labels = Labels {
    encryption: Label::RtpEncryption,
    authentication: Label::RtpAuthentication,
    salt: Label::RtpSalt,
};

pub(super) const RTCP: Labels = Labels {
    encryption: Label::RtcpEncryption,
    authentication: Label::RtcpAuthentication,
    salt: Label::RtcpSalt,
};

const KEY_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;
/// Where the label meets the salt: seven bytes before the end of the 14 (RFC 3711 §4.3.1).
const LABEL_AT: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3711_b_3_key_derivation() {
        let key = [
            0xe1, 0xf9, 0x7a, 0x0d, 0x3e, 0x01, 0x8b, 0xe0, 0xd6, 0x4f, 0xa3, 0x2c, 0x06, 0xde,
            0x41, 0x39,
        ];
        let salt =
            [0x0e, 0xc6, 0x75, 0xad, 0x49, 0x8a, 0xfe, 0xeb, 0xb6, 0x96, 0x0b, 0x3a, 0xab, 0xe6];
        let master = MasterKey::new(SrtpProfile::Aes128CmHmacSha1_80, &key, &salt).unwrap();
        assert_eq!(
            master.derive::<16>(Label::RtpEncryption),
            0xc61e_7a93_744f_39ee_1073_4afe_3ff7_a087_u128.to_be_bytes()
        );
        assert_eq!(
            master.derive::<14>(Label::RtpSalt),
            0x30cb_bc08_863d_8c85_d49d_b34a_9ae1_u128.to_be_bytes()[2..]
        );
        assert_eq!(
            master.derive::<20>(Label::RtpAuthentication)[..16],
            0xcebe_321f_6ff7_716b_6fd4_ab49_af25_6a15_u128.to_be_bytes()
        );
    }
}
