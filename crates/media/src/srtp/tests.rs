//! Ours and `rtc::srtp` must agree on every byte, both ways.

use proptest::prelude::*;
use rtc::{
    crypto::{RTCCryptoProvider, providers::RingProvider},
    srtp::{
        context::Context,
        option::{srtcp_replay_protection, srtp_replay_protection},
        protection_profile::ProtectionProfile,
    },
};

use super::*;
use crate::rtp::{ExtendedSequenceNumber, Header, PayloadType, RtpTimestamp, Ssrc};

const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::Aes128CmHmacSha1_80,
    SrtpProfile::Aes128CmHmacSha1_32,
];

fn keys(profile: SrtpProfile) -> ([u8; 16], Vec<u8>) {
    let key = std::array::from_fn(|at| (at * 7 + 3) as u8);
    let salt = (0..profile.salt_bytes()).map(|at| (at * 11 + 5) as u8).collect();
    (key, salt)
}

fn master(profile: SrtpProfile) -> MasterKey {
    let (key, salt) = keys(profile);
    MasterKey::new(profile, &key, &salt).unwrap()
}

fn theirs(profile: SrtpProfile) -> Context {
    let (key, salt) = keys(profile);
    let profile = match profile {
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::Aes128CmHmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        SrtpProfile::Aes128CmHmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
    };
    let provider = RingProvider::new();
    let rtp = Some(srtp_replay_protection(64));
    let rtcp = Some(srtcp_replay_protection(64));
    Context::new(&key, &salt, profile, rtp, rtcp, provider.crypto()).unwrap()
}

fn packet(index: u64, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        marker: false,
        payload_type: PayloadType(0),
        sequence_number: ExtendedSequenceNumber(index).sequence_number(),
        timestamp: RtpTimestamp(index as u32 * 160),
        ssrc: Ssrc(0xcafe_f00d),
    };
    [&header.to_bytes()[..], payload].concat()
}

fn protect(srtp: &OutboundSrtp, packet: &[u8], index: u64) -> Vec<u8> {
    let mut buffer = [packet, &[0; TAG_BYTES_MAX]].concat();
    let len = srtp.protect(&mut buffer, packet.len(), ExtendedSequenceNumber(index)).unwrap();
    buffer.truncate(len);
    buffer
}

#[test]
fn protected_packets_are_the_same_byte_for_byte_over_the_wrap() {
    for profile in PROFILES {
        let ours = OutboundSrtp::new(&master(profile));
        let mut reference = theirs(profile);
        for index in 65_500_u64..65_700 {
            let payload = vec![index as u8; (index % 200) as usize];
            let packet = packet(index, &payload);
            let expected = reference.encrypt_rtp(&packet).unwrap();
            assert_eq!(protect(&ours, &packet, index), expected, "{profile:?} {index}");
        }
    }
}

#[test]
fn what_the_reference_protects_we_unprotect_over_the_wrap() {
    for profile in PROFILES {
        let mut ours = InboundSrtp::new(&master(profile));
        let mut reference = theirs(profile);
        let packets: Vec<_> = (65_500_u64..65_700)
            .map(|index| {
                let plain = packet(index, &[index as u8; 160]);
                (index, reference.encrypt_rtp(&plain).unwrap().to_vec(), plain)
            })
            .collect();
        // Every pair swapped: late packets and the wrap itself.
        for pair in packets.chunks(2) {
            for (index, protected, plain) in pair.iter().rev() {
                let mut buffer = protected.clone();
                let (len, found) = ours.unprotect(&mut buffer).unwrap();
                assert_eq!((&buffer[..len], found.0), (&plain[..], *index));
                let again = ours.unprotect(&mut protected.clone());
                assert_eq!(again, Err(SrtpError::Replay));
            }
        }
    }
}

#[test]
fn a_header_with_extension_and_sources_stays_in_the_clear() {
    for profile in PROFILES {
        let mut plain = packet(7, &[]);
        plain[0] |= 0x11;
        plain.extend_from_slice(&[1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x12, 7, 8, 9]);
        plain.extend_from_slice(b"payload");
        let protected = protect(&OutboundSrtp::new(&master(profile)), &plain, 7);
        assert_eq!(protected, theirs(profile).encrypt_rtp(&plain).unwrap());
        assert_eq!(protected[..24], plain[..24]);
    }
}

#[test]
fn a_wrong_tag_changes_nothing() {
    for profile in PROFILES {
        let protected = protect(&OutboundSrtp::new(&master(profile)), &packet(9, b"frame"), 9);
        let mut inbound = InboundSrtp::new(&master(profile));
        for at in 0..protected.len() {
            let mut forged = protected.clone();
            forged[at] ^= 1;
            assert!(inbound.unprotect(&mut forged).is_err(), "{profile:?} byte {at}");
        }
        assert!(inbound.unprotect(&mut protected.clone()).is_ok());
    }
}

#[test]
fn rfc3711_3_3_2_a_packet_older_than_the_window_is_a_replay() {
    let profile = SrtpProfile::AeadAes128Gcm;
    let outbound = OutboundSrtp::new(&master(profile));
    let mut inbound = InboundSrtp::new(&master(profile));
    let mut old = protect(&outbound, &packet(1, b"old"), 1);
    let mut recent = protect(&outbound, &packet(73, b"recent"), 73);
    let mut newest = protect(&outbound, &packet(200, b"newest"), 200);
    assert!(inbound.unprotect(&mut newest).is_ok());
    assert_eq!(inbound.unprotect(&mut old), Err(SrtpError::Replay));
    assert!(inbound.unprotect(&mut recent).is_ok());
}

#[test]
fn rtcp_agrees_with_the_reference_both_ways() {
    let report = [0x80_u8, 201, 0, 1, 1, 2, 3, 4];
    let compound =
        [&report[..], &[0x81, 202, 0, 3, 1, 2, 3, 4, 1, 4, b'n', b'a', b'm', b'e', 0, 0]].concat();
    for profile in PROFILES {
        let mut ours = OutboundSrtcp::new(&master(profile));
        let mut inbound = InboundSrtcp::new(&master(profile));
        let mut reference = theirs(profile);
        // The reference counts from 1.
        let _ = ours.protect(&mut [&report[..], &[0; 20]].concat(), report.len());
        for plain in [&report[..], &compound[..]] {
            let mut buffer = [plain, &[0; RTCP_TRAILER_BYTES_MAX]].concat();
            let len = ours.protect(&mut buffer, plain.len()).unwrap();
            buffer.truncate(len);
            assert_eq!(buffer, reference.encrypt_rtcp(plain).unwrap(), "{profile:?}");
            let len = inbound.unprotect(&mut buffer.clone()[..]).unwrap();
            assert_eq!(len, plain.len());
            let mut again = buffer.clone();
            assert_eq!(inbound.unprotect(&mut again), Err(SrtpError::Replay));
            assert_eq!(theirs(profile).decrypt_rtcp(&buffer).unwrap(), plain);
        }
    }
}

#[test]
fn exported_keys_are_told_apart_by_role() {
    for profile in PROFILES {
        let bytes: Vec<u8> = (0..KeyingMaterial::exported_bytes(profile) as u8).collect();
        let client = KeyingMaterial::from_exported(profile, &bytes, true).unwrap();
        let server = KeyingMaterial::from_exported(profile, &bytes, false).unwrap();
        let protected = protect(&OutboundSrtp::new(&client.local), &packet(1, b"frame"), 1);
        let mut inbound = InboundSrtp::new(&server.remote);
        assert!(inbound.unprotect(&mut protected.clone()).is_ok());
        let mut wrong = InboundSrtp::new(&client.remote);
        assert_eq!(wrong.unprotect(&mut protected.clone()), Err(SrtpError::Authentication));
        assert!(KeyingMaterial::from_exported(profile, &bytes[1..], true).is_none());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        for profile in PROFILES {
            let mut packet = bytes.clone();
            prop_assert!(InboundSrtp::new(&master(profile)).unprotect(&mut packet).is_err());
            let mut packet = bytes.clone();
            prop_assert!(InboundSrtcp::new(&master(profile)).unprotect(&mut packet).is_err());
        }
    }
}
