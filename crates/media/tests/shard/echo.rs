//! Echo: the same sound comes back, at once or later.

use std::time::Duration;

use media::shard::{Command, Path};

use crate::common::*;

const PEER: &str = "192.0.2.1:4000";

#[test]
fn a_plain_echo_returns_every_payload_in_order() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.command(key, Command::Echo { delay: None });
    for n in 0..200_u64 {
        let bytes = rtp(PCMU, 9, 65_500 + n, 160 * n as u32, &[n as u8; 160]);
        world.packet(Path::Rtp(key), address(PEER), &bytes);
        world.advance_ms(20);
    }
    let heard = world.take_rtp(Path::Rtp(key));
    assert_eq!(heard.len(), 200);
    for (n, packet) in heard.iter().enumerate() {
        assert_eq!(packet.payload, [n as u8; 160]);
        assert_eq!(packet.number, heard[0].number.wrapping_add(n as u16));
        assert_eq!(packet.timestamp, heard[0].timestamp.wrapping_add(160 * n as u32));
        assert_ne!(packet.ssrc, 9);
    }
}

#[test]
fn extensions_and_padding_are_not_echoed() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.command(key, Command::Echo { delay: None });
    let mut bytes = rtp(PCMU, 9, 1, 0, &[]);
    bytes[0] |= 0x31;
    bytes.extend_from_slice(&[1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x10, 9, 0, 0]);
    bytes.extend_from_slice(&[&[7; 160][..], &[0, 0, 3]].concat());
    world.packet(Path::Rtp(key), address(PEER), &bytes);
    let sent = world.take_sent().remove(0);
    assert_eq!(sent.bytes[0], 0x80);
    assert_eq!(sent.bytes[12..], [7; 160]);
}

#[test]
fn a_delayed_echo_returns_the_sound_5_s_later() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.command(key, Command::Echo { delay: Some(Duration::from_secs(5)) });
    let mut said = Vec::new();
    for n in 0..500_u64 {
        let bytes = rtp(PCMU, 9, n, 160 * n as u32, &[n as u8; 160]);
        world.packet(Path::Rtp(key), address(PEER), &bytes);
        said.push(world.now);
        world.advance_ms(20);
    }
    world.advance(Duration::from_secs(6));
    let heard = world.take_rtp(Path::Rtp(key));
    assert_eq!(heard.len(), 500);
    for ((n, packet), said) in heard.iter().enumerate().zip(said) {
        assert_eq!(packet.payload, [n as u8; 160]);
        let late = packet.at - said;
        assert!(late >= Duration::from_secs(5) && late <= Duration::from_millis(5020));
    }
}

#[test]
fn an_echo_over_srtp_returns_every_payload() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, "192.0.2.1:5000");
    let (key, _) = browser.open(&mut world);
    world.command(key, Command::Echo { delay: None });
    browser.connect(&mut world);
    for n in 0..100_u8 {
        browser.say(&mut world, &[n; 160]);
        world.advance_ms(20);
        browser.read(&mut world);
    }
    let heard: Vec<_> = browser.received.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(heard, (0..100).collect::<Vec<_>>());
    assert_eq!((browser.unreadable, browser.rtp_before_keys), (0, 0));
}

#[test]
fn digits_are_not_echoed() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.command(key, Command::Echo { delay: None });
    world.packet(Path::Rtp(key), address(PEER), &rtp(DTMF, 9, 1, 0, &[1, 0x8a, 3, 32]));
    assert!(world.take_rtp(Path::Rtp(key)).is_empty());
}
