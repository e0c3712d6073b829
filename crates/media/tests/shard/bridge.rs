//! Media from one leg to another, on one shard and across two.

use media::{
    rtp::ExtendedSequenceNumber,
    shard::{Command, Discard, Media, Path},
};

use crate::common::*;

#[test]
fn a_browser_and_a_phone_hear_each_other() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, "192.0.2.1:5000");
    let (web, web_id) = browser.open(&mut world);
    let (phone, phone_id) = world.open_plain("192.0.2.8:4000", "192.0.2.8");
    world.command(web, Command::Bridge { peer: phone_id });
    world.command(phone, Command::Bridge { peer: web_id });
    browser.connect(&mut world);
    browser.received.clear();
    for n in 0..50_u8 {
        browser.say(&mut world, &[n; 160]);
        let bytes = rtp(PCMU, 9, u64::from(n), 160 * u32::from(n), &[200 - n; 160]);
        world.packet(Path::Rtp(phone), address("192.0.2.8:4000"), &bytes);
        world.advance_ms(20);
        browser.read(&mut world);
    }
    let at_browser: Vec<_> = browser.received.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(at_browser, (0..50).map(|n| 200 - n).collect::<Vec<_>>());
    let at_phone = world.take_rtp(Path::Rtp(phone));
    let at_phone: Vec<_> = at_phone.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(at_phone, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_digit_is_passed_on_and_a_repeated_number_is_not_sent_twice() {
    let mut world = World::new();
    let (a, _) = world.open_plain("192.0.2.1:4000", "192.0.2.1");
    let (b, b_id) = world.open_plain("192.0.2.2:4000", "192.0.2.2");
    world.command(a, Command::Bridge { peer: b_id });
    let from = address("192.0.2.1:4000");
    world.packet(Path::Rtp(a), from, &rtp(DTMF, 9, 1, 0, &[1, 0x8a, 3, 32]));
    for _ in 0..3 {
        world.packet(Path::Rtp(a), from, &rtp(PCMU, 9, 2, 160, &[1; 160]));
    }
    let heard = world.take_rtp(Path::Rtp(b));
    assert_eq!(heard.iter().map(|p| p.payload_type).collect::<Vec<_>>(), [DTMF, PCMU]);
    assert_eq!(world.shard.counters().discarded(Discard::Late), 2);
}

#[test]
fn a_bridge_to_a_leg_that_is_gone_drops_and_counts() {
    let mut world = World::new();
    let (a, _) = world.open_plain("192.0.2.1:4000", "192.0.2.1");
    let (b, b_id) = world.open_plain("192.0.2.2:4000", "192.0.2.2");
    world.command(a, Command::Bridge { peer: b_id });
    world.command(b, Command::Close);
    world.take_sent();
    world.packet(Path::Rtp(a), address("192.0.2.1:4000"), &rtp(PCMU, 9, 1, 0, &[1; 160]));
    assert!(world.take_sent().is_empty());
    assert_eq!(world.shard.counters().discarded(Discard::NoPeer), 1);
}

#[test]
fn legs_of_two_shards_hear_each_other_through_rings_that_are_bounded() {
    let mut here = World::numbered(0);
    let mut there = World::numbered(1);
    let (a, _) = here.open_plain("192.0.2.1:4000", "192.0.2.1");
    let (b, b_id) = there.open_plain("192.0.2.2:4000", "192.0.2.2");
    here.command(a, Command::Bridge { peer: b_id });
    here.wire.ring_room = 30;
    for n in 0..40_u64 {
        let bytes = rtp(PCMU, 9, n, 160 * n as u32, &[n as u8; 160]);
        here.packet(Path::Rtp(a), address("192.0.2.1:4000"), &bytes);
    }
    for handed in here.wire.handed.drain(..) {
        let (kind, ssrc, timestamp, marker, payload) = handed.media;
        let number = ExtendedSequenceNumber(handed.number);
        let media = Media { kind, ssrc, number, timestamp, marker, payload: &payload };
        there.shard.handle_forwarded(handed.peer.serial, &media, there.now, &mut there.wire);
    }
    let heard: Vec<_> = there.take_rtp(Path::Rtp(b)).iter().map(|p| p.payload[0]).collect();
    assert_eq!(heard, (0..30).collect::<Vec<_>>());
    assert_eq!(here.shard.counters().discarded(Discard::RingFull), 10);
}
