//! SRTP and SRTCP in the packet's own buffer (RFC 3711, RFC 7714): two profiles, no allocation.

mod cipher;
mod counter_mode;
mod gcm;
mod keys;
mod rtcp;
mod rtp;
mod sdes;

pub use keys::{KeyingMaterial, MasterKey};
pub use rtcp::{InboundSrtcp, OutboundSrtcp};
pub use rtp::{InboundSrtp, OutboundSrtp};
pub use sdes::SdesKey;

/// How the media of a leg is protected (RFC 5764 §4.1.2, RFC 7714 §14.2, RFC 4568 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// SRTP_AEAD_AES_128_GCM.
    AeadAes128Gcm,
    /// SRTP_AES128_CM_HMAC_SHA1_80.
    Aes128CmHmacSha1_80,
    /// SRTP_AES128_CM_HMAC_SHA1_32, which shortens the tag of RTP and not that of RTCP
    /// (RFC 4568 §6.2.2).
    Aes128CmHmacSha1_32,
}

impl SrtpProfile {
    /// Its name in the registry of DTLS-SRTP protection profiles.
    pub fn name(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::Aes128CmHmacSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Self::Aes128CmHmacSha1_32 => "SRTP_AES128_CM_HMAC_SHA1_32",
        }
    }

    /// Bytes that protection adds to an RTP packet.
    pub fn tag_bytes(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 16,
            Self::Aes128CmHmacSha1_80 => 10,
            Self::Aes128CmHmacSha1_32 => 4,
        }
    }

    fn salt_bytes(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 12,
            Self::Aes128CmHmacSha1_80 | Self::Aes128CmHmacSha1_32 => 14,
        }
    }
}

/// Most bytes that protection adds to an RTP packet.
pub const TAG_BYTES_MAX: usize = 16;
/// Most bytes that protection adds to an RTCP packet.
pub const RTCP_TRAILER_BYTES_MAX: usize = 20;

/// Why a packet could not be unprotected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpError {
    /// It is too short or not RTP.
    Malformed,
    /// Its tag is wrong.
    Authentication,
    /// It was seen before or is too old to tell.
    Replay,
}

#[cfg(test)]
mod tests;
