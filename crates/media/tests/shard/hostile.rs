//! Floods, forgeries and garbage: counted, and the call goes on.

use std::time::Duration;

use media::shard::{Command, Discard, LegEvent, Path, Repeat, StunResult};
use proptest::prelude::*;

use crate::common::*;

const BROWSER: &str = "192.0.2.1:5000";

#[test]
fn cve_2021_41105_bad_tags_are_counted_and_the_call_lives() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (key, _) = browser.open(&mut world);
    world.command(key, Command::Echo { delay: None });
    browser.connect(&mut world);
    let stranger = address("203.0.113.5:1");
    for n in 0..100_u8 {
        for m in 0..100_u64 {
            let forged = [&rtp(PCMU, 0xb0b, 900 + m, 0, &[n; 160])[..], &[n; 16]].concat();
            world.packet(Path::Shared(0), browser.address, &forged);
            world.packet(Path::Shared(0), stranger, &forged);
        }
        browser.say(&mut world, &[n; 160]);
        world.advance_ms(20);
        browser.read(&mut world);
    }
    let heard: Vec<_> = browser.received.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(heard, (0..100).collect::<Vec<_>>());
    let counters = world.shard.counters();
    assert_eq!(counters.discarded(Discard::UnknownSource), 10_000);
    let refused = counters.discarded(Discard::SrtpAuth) + counters.discarded(Discard::SrtpReplay);
    assert_eq!(refused, 10_000);
    assert!(!world.events_of(key).iter().any(|e| matches!(e, LegEvent::Failed { .. })));
}

#[test]
fn a_replayed_packet_is_not_echoed_again() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (key, _) = browser.open(&mut world);
    world.command(key, Command::Echo { delay: None });
    browser.connect(&mut world);
    let bytes = browser.protected(PCMU, 0, &[5; 160]);
    for _ in 0..5 {
        world.packet(Path::Shared(0), browser.address, &bytes);
    }
    browser.read(&mut world);
    assert_eq!(browser.received.len(), 1);
    assert_eq!(world.shard.counters().discarded(Discard::SrtpReplay), 4);
}

#[test]
fn a_forged_check_for_another_calls_address_does_not_take_it_away() {
    let mut world = World::new();
    let mut victim = Browser::new(&world, BROWSER);
    let (key, _) = victim.open(&mut world);
    world.command(key, Command::Echo { delay: None });
    victim.connect(&mut world);
    // Somebody with a call of his own sends checks with the victim's address as their source.
    let attacker = Browser::new(&world, "203.0.113.5:1");
    attacker.open(&mut world);
    let forged = attacker.check_bytes(&[0x0025]);
    world.packet(Path::Shared(0), victim.address, &forged);
    assert_eq!(world.shard.counters().stun(StunResult::AddressRefused), 1);
    victim.say(&mut world, &[9; 160]);
    victim.read(&mut world);
    assert_eq!(victim.received.len(), 1);
}

#[test]
fn answers_to_strangers_are_smaller_than_what_they_send() {
    let mut world = World::new();
    let browser = Browser::new(&world, BROWSER);
    browser.open(&mut world);
    let good = browser.check_bytes(&[]);
    world.packet(Path::Shared(0), browser.address, &good);
    let answered: usize = world.take_sent().iter().map(|sent| sent.bytes.len()).sum();
    assert!(answered < 3 * good.len());
    let wrong = check(&format!("{}:x", browser.local.ufrag), "wrong password", &[]);
    world.packet(Path::Shared(0), address("203.0.113.5:1"), &wrong);
    assert!(world.take_sent().is_empty());
}

#[test]
fn an_idle_shard_forgets_nothing_and_leaks_nothing_under_a_flood_of_addresses() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (key, _) = browser.open(&mut world);
    browser.connect(&mut world);
    for port in 1..2000_u16 {
        let bytes = browser.check_bytes(&[]);
        world.packet(Path::Shared(0), address(&format!("198.51.100.1:{port}")), &bytes);
    }
    world.play(key, &track(10), Repeat::Once, 1);
    browser.check(&mut world, true);
    world.take_sent();
    world.advance_ms(300);
    assert!(world.take_sent().iter().all(|sent| sent.to == browser.address));
    world.command(key, Command::Close);
    world.take_sent();
    browser.say(&mut world, &[1; 160]);
    assert_eq!(world.shard.counters().discarded(Discard::UnknownSource), 1);
}

proptest! {
    #[test]
    fn ast_2017_008_no_datagram_panics_on_any_socket(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=64), 1..60),
        first in prop::collection::vec(prop::sample::select(vec![0_u8, 1, 20, 22, 63, 0x80, 0x90, 0xbf, 0xff]), 60),
        second in prop::collection::vec(prop::sample::select(vec![0_u8, 1, 101, 200, 201, 203, 223]), 60),
    ) {
        let mut world = World::new();
        let mut browser = Browser::new(&world, BROWSER);
        let (web, _) = browser.open(&mut world);
        let (phone, _) = world.open_plain("192.0.2.8:4000", "192.0.2.8");
        world.command(web, Command::Echo { delay: None });
        world.command(phone, Command::Echo { delay: Some(Duration::from_millis(40)) });
        browser.check(&mut world, true);
        for ((mut datagram, first), second) in datagrams.into_iter().zip(first).zip(second) {
            for shaped in [false, true] {
                if shaped && let [a, b, ..] = &mut datagram[..] {
                    (*a, *b) = (first, second);
                }
                world.packet(Path::Shared(0), browser.address, &datagram);
                world.packet(Path::Shared(0), address("203.0.113.5:1"), &datagram);
                world.packet(Path::Rtp(phone), address("192.0.2.8:4000"), &datagram);
                world.packet(Path::Rtcp(phone), address("192.0.2.8:4001"), &datagram);
            }
            world.advance_ms(10);
        }
    }
}
