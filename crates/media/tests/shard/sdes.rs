//! Plain legs whose SRTP keys travel in the session description (RFC 4568).

use std::time::Duration;

use media::{
    rtp::{ExtendedSequenceNumber, Ssrc},
    sdp::{Crypto, Negotiated, SDES_PROFILES},
    shard::{Command, Discard, LegId, LegKey, LegParameters, Path, Repeat, Update},
    srtp::{InboundSrtcp, InboundSrtp, OutboundSrtp, SdesKey, SrtpProfile, TAG_BYTES_MAX},
};
use rand::{SeedableRng, rngs::StdRng};

use crate::common::*;

const PEER: &str = "192.0.2.1:4000";
const PROFILE: SrtpProfile = SrtpProfile::Aes128CmHmacSha1_80;

fn key(profile: SrtpProfile, seed: u64) -> SdesKey {
    SdesKey::random(profile, &mut StdRng::seed_from_u64(seed))
}

fn described(profile: SrtpProfile, theirs: u64, ours: u64) -> Negotiated {
    let local_key = Some(key(profile, ours));
    let mut negotiated = plain(PEER);
    negotiated.crypto = Some(Crypto { tag: 1, key: key(profile, theirs), local_key });
    negotiated
}

fn open(world: &mut World, profile: SrtpProfile) -> (LegKey, LegId) {
    let mut parameters = LegParameters::answering(described(profile, 1, 2));
    parameters.signalling_remote = Some("192.0.2.1".parse().unwrap());
    world.open(parameters, None)
}

/// The peer's packet `n`, protected by the key made of `seed`.
fn packet(profile: SrtpProfile, seed: u64, n: u64) -> Vec<u8> {
    protect(&OutboundSrtp::new(&key(profile, seed).master()), n)
}

fn protect(outbound: &OutboundSrtp, n: u64) -> Vec<u8> {
    let mut bytes = rtp(PCMU, 9, n, 160 * n as u32, &[n as u8; 160]);
    let len = bytes.len();
    bytes.resize(len + TAG_BYTES_MAX, 0);
    let len = outbound.protect(&mut bytes, len, ExtendedSequenceNumber(n)).unwrap();
    bytes.truncate(len);
    bytes
}

/// What the peer reads of the RTP that was sent so far.
fn read(world: &mut World, key: LegKey, inbound: &mut InboundSrtp) -> Vec<Rtp> {
    let rtp = world.take_sent().into_iter().filter(|sent| sent.path == Path::Rtp(key));
    rtp.map(|mut sent| {
        let (len, _) = inbound.unprotect(&mut sent.bytes).unwrap();
        Rtp::read(&sent.bytes[..len], sent.to, sent.at).unwrap()
    })
    .collect()
}

#[test]
fn rfc4568_6_2_media_and_reports_are_protected_by_our_key() {
    for profile in SDES_PROFILES {
        let mut world = World::new();
        let (leg, _) = open(&mut world, profile);
        world.play(leg, &track(200), Repeat::Once, 1);
        world.advance(Duration::from_secs(5));
        let (mut srtp, mut srtcp) = {
            let master = key(profile, 2).master();
            (InboundSrtp::new(&master), InboundSrtcp::new(&master))
        };
        let (rtp, rtcp): (Vec<_>, Vec<_>) =
            world.take_sent().into_iter().partition(|sent| sent.path == Path::Rtp(leg));
        assert_eq!(rtp.len(), 200);
        for (n, mut sent) in rtp.into_iter().enumerate() {
            assert_eq!(sent.bytes.len(), 12 + 160 + profile.tag_bytes());
            let (len, _) = srtp.unprotect(&mut sent.bytes).unwrap();
            assert_eq!(sent.bytes[12..len], [n as u8; 160]);
        }
        assert!(!rtcp.is_empty());
        for mut sent in rtcp {
            let len = srtcp.unprotect(&mut sent.bytes).unwrap();
            assert!(media::rtcp::read(&sent.bytes[..len], Ssrc(0)).is_ok());
        }
    }
}

#[test]
fn an_authentic_echo_is_read_and_sent_back_protected() {
    for profile in SDES_PROFILES {
        let mut world = World::new();
        let (leg, _) = open(&mut world, profile);
        world.command(leg, Command::Echo { delay: None });
        let mut inbound = InboundSrtp::new(&key(profile, 2).master());
        for n in 100..110 {
            world.packet(Path::Rtp(leg), address(PEER), &packet(profile, 1, n));
            let heard = read(&mut world, leg, &mut inbound);
            assert_eq!(heard.len(), 1);
            assert_eq!(heard[0].payload, [n as u8; 160]);
        }
    }
}

#[test]
fn nothing_is_learned_from_a_packet_with_a_wrong_tag() {
    let mut world = World::new();
    let (leg, _) = open(&mut world, PROFILE);
    world.command(leg, Command::Echo { delay: None });
    for n in 0..1000 {
        let from = format!("203.0.113.{}:{}", n % 250 + 1, 1024 + n);
        world.packet(Path::Rtp(leg), address(&from), &packet(PROFILE, 77, n));
        world.packet(Path::Rtp(leg), address(PEER), &packet(PROFILE, 77, n));
        let clear = rtp(PCMU, 9, n, 0, &[1; 160]);
        world.packet(Path::Rtp(leg), address(&from), &clear);
        world.packet(Path::Rtcp(leg), address(PEER), &[0x80, 201, 0, 1, 0, 0, 0, 9]);
    }
    assert!(world.take_rtp(Path::Rtp(leg)).is_empty(), "nothing is echoed");
    let counters = world.shard.counters();
    assert_eq!(counters.discarded(Discard::SrtpAuth), 3000);
    assert_eq!(counters.discarded(Discard::Rtcp), 1000);
    // The call lives, and its peer is heard as if nothing had been.
    world.packet(Path::Rtp(leg), address(PEER), &packet(PROFILE, 1, 5));
    let heard = read(&mut world, leg, &mut InboundSrtp::new(&key(PROFILE, 2).master()));
    assert_eq!((heard.len(), heard[0].to), (1, address(PEER)));
}

#[test]
fn an_authentic_packet_is_followed_wherever_the_peer_has_moved() {
    let mut world = World::new();
    let (leg, _) = open(&mut world, PROFILE);
    world.command(leg, Command::Echo { delay: None });
    let mut inbound = InboundSrtp::new(&key(PROFILE, 2).master());
    let elsewhere = address("203.0.113.9:7000");
    let mut to = |world: &mut World, from, n| {
        world.packet(Path::Rtp(leg), from, &packet(PROFILE, 1, n));
        read(world, leg, &mut inbound).first().map(|packet| packet.to)
    };
    assert_eq!(to(&mut world, address(PEER), 10), Some(address(PEER)));
    assert_eq!(to(&mut world, elsewhere, 12), Some(elsewhere), "at once");
    assert_eq!(to(&mut world, address(PEER), 11), Some(elsewhere), "a late one leads nowhere");
    world.packet(Path::Rtp(leg), address("198.51.100.1:1"), &packet(PROFILE, 1, 12));
    assert!(world.take_rtp(Path::Rtp(leg)).is_empty(), "a copy is a replay");
    assert_eq!(to(&mut world, elsewhere, 13), Some(elsewhere));
}

const SUITES: [SrtpProfile; 2] = [SrtpProfile::Aes128CmHmacSha1_32, SrtpProfile::AeadAes128Gcm];

/// What the peer sends is echoed; its numbers have wrapped once, and ours too.
fn wrapped(world: &mut World, profile: SrtpProfile) -> (LegKey, InboundSrtp) {
    let (leg, _) = open(world, profile);
    world.command(leg, Command::Echo { delay: None });
    let mut inbound = InboundSrtp::new(&key(profile, 2).master());
    let outbound = OutboundSrtp::new(&key(profile, 1).master());
    for n in 0..700 {
        world.packet(Path::Rtp(leg), address(PEER), &protect(&outbound, n * 100));
        assert_eq!(read(world, leg, &mut inbound).len(), 1);
    }
    (leg, inbound)
}

fn agree(world: &mut World, leg: LegKey, negotiated: Negotiated) {
    world.command(
        leg,
        Command::Update(Box::new(Update { negotiated, ice: None, signalling_remote: None })),
    );
}

#[test]
fn rfc4568_7_1_4_keys_that_stay_keep_their_contexts() {
    for profile in SUITES {
        let mut world = World::new();
        let (leg, mut inbound) = wrapped(&mut world, profile);
        agree(&mut world, leg, described(profile, 1, 2));
        let old = protect(&OutboundSrtp::new(&key(profile, 1).master()), 69_900);
        world.packet(Path::Rtp(leg), address(PEER), &old);
        assert_eq!(world.shard.counters().discarded(Discard::SrtpReplay), 1);
        let new = protect(&OutboundSrtp::new(&key(profile, 1).master()), 69_901);
        world.packet(Path::Rtp(leg), address(PEER), &new);
        assert_eq!(read(&mut world, leg, &mut inbound).len(), 1);
    }
}

#[test]
fn rfc3711_3_3_1_a_new_key_of_ours_goes_on_with_the_rollover_counter() {
    for (profile, other) in [(SUITES[0], SUITES[1]), (SUITES[1], SUITES[1])] {
        let mut world = World::new();
        let (leg, inbound) = wrapped(&mut world, profile);
        agree(&mut world, leg, described(other, 3, 4));
        let mut inbound = inbound.rekeyed(&key(other, 4).master());
        let outbound = OutboundSrtp::new(&key(other, 3).master());
        for n in 70_000..70_010 {
            world.packet(Path::Rtp(leg), address(PEER), &protect(&outbound, n));
            let heard = read(&mut world, leg, &mut inbound);
            assert_eq!((heard.len(), heard[0].payload[0]), (1, n as u8));
        }
        // One that takes our numbers for those of a new stream reads nothing.
        let mut anew = InboundSrtp::new(&key(other, 4).master());
        world.packet(Path::Rtp(leg), address(PEER), &protect(&outbound, 70_010));
        let mut sent = world.take_sent().pop().unwrap();
        assert!(anew.unprotect(&mut sent.bytes).is_err());
    }
}

#[test]
fn rfc4568_7_1_4_a_peer_that_moves_with_new_keys_gets_a_stream_from_zero() {
    let elsewhere = "192.0.2.1:4444";
    let mut world = World::new();
    let (leg, _) = wrapped(&mut world, PROFILE);
    let mut negotiated = described(PROFILE, 3, 4);
    negotiated.remote = plain(elsewhere).remote;
    agree(&mut world, leg, negotiated);
    let bytes = packet(PROFILE, 3, 10);
    world.packet(Path::Rtp(leg), address(elsewhere), &bytes);
    let heard = read(&mut world, leg, &mut InboundSrtp::new(&key(PROFILE, 4).master()));
    assert_eq!(heard.len(), 1);
}

#[test]
fn a_move_with_new_keys_that_is_taken_back_goes_on_with_the_old_counter() {
    let mut world = World::new();
    let (leg, mut inbound) = wrapped(&mut world, PROFILE);
    let mut moved = described(PROFILE, 3, 4);
    moved.remote = plain("192.0.2.1:4444").remote;
    agree(&mut world, leg, moved);
    agree(&mut world, leg, described(PROFILE, 1, 2));
    let outbound = OutboundSrtp::new(&key(PROFILE, 1).master());
    world.packet(Path::Rtp(leg), address(PEER), &protect(&outbound, 70_000));
    let heard = read(&mut world, leg, &mut inbound);
    assert_eq!((heard.len(), heard[0].payload[0]), (1, 70_000_u64 as u8));
}

#[test]
fn rfc3711_3_3_1_a_peer_with_a_new_key_is_heard_whether_its_counter_goes_on_or_begins_anew() {
    for profile in SUITES {
        for first in [70_000_u64, 70_000 - 65_536, 102_000, 0] {
            let mut world = World::new();
            let (leg, mut inbound) = wrapped(&mut world, profile);
            // It changes the key twice, and is silent between.
            agree(&mut world, leg, described(profile, 3, 2));
            agree(&mut world, leg, described(profile, 4, 2));
            let outbound = OutboundSrtp::new(&key(profile, 4).master());
            let mut packets: Vec<_> =
                (first..first + 50).map(|n| (protect(&outbound, n), n as u8)).collect();
            packets.swap(3, 5);
            for (bytes, payload) in &packets {
                let forged = packet(profile, 77, first + 60);
                world.packet(Path::Rtp(leg), address(PEER), &forged);
                world.packet(Path::Rtp(leg), address(PEER), bytes);
                let heard = read(&mut world, leg, &mut inbound);
                assert_eq!((heard.len(), heard[0].payload[0]), (1, *payload), "{first}");
                world.packet(Path::Rtp(leg), address(PEER), bytes);
            }
            let counters = world.shard.counters();
            assert_eq!(counters.discarded(Discard::SrtpReplay), 50);
            assert_eq!(counters.discarded(Discard::SrtpAuth), 50);
            // A wrap later it is known where the counter is.
            for n in (0..700).map(|n| first + 100 + n * 100) {
                world.packet(Path::Rtp(leg), address(PEER), &protect(&outbound, n));
                assert_eq!(read(&mut world, leg, &mut inbound).len(), 1);
            }
        }
    }
}

#[test]
fn rfc3711_3_4_the_index_of_reports_goes_on_with_a_new_key() {
    let mut world = World::new();
    let (leg, _) = open(&mut world, PROFILE);
    world.play(leg, &track(2), Repeat::Forever, 1);
    let mut indexes = Vec::new();
    for ours in [2, 4] {
        agree(&mut world, leg, described(PROFILE, 1, ours));
        world.advance(Duration::from_secs(60));
        let mut srtcp = InboundSrtcp::new(&key(PROFILE, ours).master());
        for mut sent in world.take_sent().into_iter().filter(|s| s.path == Path::Rtcp(leg)) {
            let word = sent.bytes[sent.bytes.len() - 14..].first_chunk().unwrap();
            indexes.push(u32::from_be_bytes(*word) & 0x7fff_ffff);
            assert!(srtcp.unprotect(&mut sent.bytes).is_ok());
        }
    }
    assert!(indexes.len() > 10);
    assert!(indexes.iter().copied().eq(0..indexes.len() as u32), "{indexes:?}");
}

#[test]
fn without_a_key_of_ours_nothing_leaves() {
    let mut world = World::new();
    let mut negotiated = described(PROFILE, 1, 2);
    negotiated.crypto.as_mut().unwrap().local_key = None;
    let mut parameters = LegParameters::answering(negotiated);
    parameters.signalling_remote = Some("192.0.2.1".parse().unwrap());
    let (leg, _) = world.open(parameters, None);
    world.play(leg, &track(100), Repeat::Once, 1);
    world.advance(Duration::from_secs(10));
    assert!(world.take_sent().is_empty());
}
