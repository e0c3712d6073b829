//! WebRTC legs: checks, handshake, keys, a change of pair, an ICE restart.

use media::{
    sdp::{Fingerprint, HashFunction, RemoteMedia},
    shard::{
        Command, Discard, HandshakeResult, IceCredentials, LegEvent, LegFailure, LegKind,
        LegParameters, Path, Repeat, StunResult, Update,
    },
    srtp::SrtpProfile,
};

use crate::common::*;

const BROWSER: &str = "192.0.2.1:5000";

#[test]
fn a_browser_connects_and_hears_the_prompt_from_its_first_frame() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (key, _) = browser.open(&mut world);
    world.play(key, &track(50), Repeat::Once, 1);
    world.advance_ms(500);
    assert!(world.take_sent().is_empty(), "nothing leaves before there are keys");
    browser.connect(&mut world);
    for _ in 0..80 {
        world.advance_ms(20);
        browser.read(&mut world);
    }
    let heard: Vec<_> = browser.received.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(heard, (0..50).collect::<Vec<_>>());
    assert_eq!((browser.unreadable, browser.rtp_before_keys), (0, 0));
    assert_eq!(browser.profile, Some(SrtpProfile::AeadAes128Gcm));
    let connected = world.events_of(key).into_iter().find_map(|event| match event {
        LegEvent::Connected { ice, profile, .. } => Some((ice.as_millis(), profile)),
        _ => None,
    });
    assert_eq!(connected, Some((500, SrtpProfile::AeadAes128Gcm)));
    assert_eq!(world.shard.counters().handshakes(HandshakeResult::Success), 1);
}

#[test]
fn the_first_client_hello_is_answered_however_early_it_comes() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (_, _) = browser.open(&mut world);
    browser.association.start(world.now);
    let hello = browser.association.take_transmits().remove(0);
    world.packet(Path::Shared(0), browser.address, &hello);
    assert!(world.take_sent().is_empty());
    world.advance_ms(150);
    // The check comes; the answer to the hello leaves with no further datagram of the browser.
    let check = browser.check_bytes(&[]);
    world.packet(Path::Shared(0), browser.address, &check);
    let first_bytes: Vec<_> = world.wire.sent.iter().map(|sent| sent.bytes[0]).collect();
    assert_eq!(first_bytes, [1, 22]);
    browser.read(&mut world);
    assert!(browser.outbound.is_some());
}

#[test]
fn cve_2023_49786_a_hello_from_an_unchecked_address_changes_nothing() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    browser.open(&mut world);
    browser.check(&mut world, true);
    browser.association.start(world.now);
    let hello = browser.association.take_transmits().remove(0);
    for n in 0..1000_u16 {
        let mut forged = hello.to_vec();
        // TLS_NULL_WITH_NULL_NULL instead of what was offered.
        let at = forged.len() / 2;
        forged[at] ^= n as u8;
        let from = address(&format!("203.0.113.{}:{}", n % 250, 1000 + n));
        world.packet(Path::Shared(0), from, &forged);
    }
    assert!(world.take_sent().is_empty(), "nobody unchecked is answered");
    assert!(world.shard.counters().discarded(Discard::DtlsUnvalidated) >= 900);
    world.packet(Path::Shared(0), browser.address, &hello);
    browser.read(&mut world);
    assert!(browser.outbound.is_some());
}

#[test]
fn a_wrong_fingerprint_gets_no_keys_and_no_media() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let wrong = Fingerprint::of(HashFunction::Sha256, b"another certificate");
    let parameters = LegParameters::answering(browser.description(wrong));
    let (key, _) = world.open(parameters, Some(browser.local.clone()));
    world.play(key, &track(50), Repeat::Forever, 1);
    browser.check(&mut world, true);
    browser.association.start(world.now);
    browser.read(&mut world);
    for _ in 0..100 {
        world.advance_ms(20);
        browser.read(&mut world);
    }
    assert!(browser.received.is_empty() && browser.rtp_before_keys == 0);
    let failed = LegEvent::Failed { reason: LegFailure::Fingerprint };
    assert!(world.events_of(key).contains(&failed));
    assert_eq!(world.shard.counters().handshakes(HandshakeResult::Fingerprint), 1);
}

#[test]
fn a_change_of_ice_pair_loses_nothing() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (key, _) = browser.open(&mut world);
    world.command(key, Command::Echo { delay: None });
    browser.connect(&mut world);
    let (first, second) = (browser.address, address("198.51.100.7:6000"));
    let mut heard = 0;
    for n in 0..100_u8 {
        // At 30 the browser checks another pair, at 50 it nominates it, in between it uses both.
        if n == 30 || n == 50 {
            browser.address = second;
            browser.check(&mut world, n == 50);
        }
        browser.address = match n {
            0..30 => first,
            30..50 if n % 2 == 0 => first,
            _ => second,
        };
        browser.say(&mut world, &[n; 160]);
        world.advance_ms(20);
        let sent = world.take_sent();
        let media = sent
            .into_iter()
            .filter(|sent| sent.bytes[0] == 0x80 && !media::rtp::is_rtcp(&sent.bytes));
        for sent in media {
            assert!(sent.to == first || sent.to == second);
            if n >= 50 {
                assert_eq!(sent.to, second);
            }
            browser.take(sent, world.now);
            heard += 1;
        }
    }
    assert_eq!((heard, browser.received.len()), (100, 100));
    assert_eq!(world.shard.counters().packets_in[0], 100);
}

#[test]
fn authentic_media_from_a_checked_address_moves_the_stream_and_forged_media_does_not() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (key, _) = browser.open(&mut world);
    world.play(key, &track(100), Repeat::Forever, 1);
    browser.connect(&mut world);
    let (first, second) = (browser.address, address("198.51.100.7:6000"));
    browser.address = second;
    browser.check(&mut world, false);
    browser.address = first;
    browser.say(&mut world, &[1; 160]);
    let forged = [&rtp(PCMU, 0xb0b, 5000, 0, &[1; 160])[..], &[0; 16]].concat();
    world.packet(Path::Shared(0), second, &forged);
    world.take_sent();
    world.advance_ms(40);
    assert!(world.take_sent().iter().all(|sent| sent.to == first));
    browser.address = second;
    browser.say(&mut world, &[1; 160]);
    world.advance_ms(40);
    let sent = world.take_sent();
    assert!(!sent.is_empty() && sent.iter().all(|sent| sent.to == second));
}

#[test]
fn an_ice_restart_keeps_the_keys_and_the_stream() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (key, _) = browser.open(&mut world);
    world.play(key, &track(200), Repeat::Forever, 1);
    browser.connect(&mut world);
    world.advance_ms(200);
    browser.read(&mut world);
    let before = browser.received.len();
    assert!(before > 5);

    let old = browser.local.clone();
    browser.local = IceCredentials { ufrag: "restarted".into(), pwd: "another password".into() };
    browser.ours.ufrag = "them2".into();
    let negotiated = browser.description(browser.certificate.fingerprint());
    let update = Update { negotiated, ice: Some(browser.local.clone()), signalling_remote: None };
    world.command(key, Command::Update(Box::new(update)));
    world.advance_ms(200);
    browser.read(&mut world);
    assert!(browser.received.len() >= before + 9, "media goes on while ICE restarts");

    browser.address = address("198.51.100.7:6000");
    browser.check(&mut world, true);
    let heard = browser.received.len();
    world.advance_ms(200);
    browser.read(&mut world);
    assert!(browser.received.len() >= heard + 9, "and after the new pair is nominated");
    let numbers: Vec<_> = browser.received.iter().map(|packet| packet.number).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "nothing is lost");

    let stale = check(&format!("{}:them14", old.ufrag), &old.pwd, &[]);
    world.packet(Path::Shared(0), browser.address, &stale);
    assert_eq!(world.shard.counters().stun(StunResult::UnknownUser), 1);
}

#[test]
fn an_ice_restart_that_is_taken_back_leaves_the_checks_as_they_were() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (key, _) = browser.open(&mut world);
    browser.connect(&mut world);
    let (local, ours) = (browser.local.clone(), browser.ours.clone());
    let restarted = IceCredentials { ufrag: "restarted".into(), pwd: "another password".into() };
    browser.ours.ufrag = "them2".into();
    for (ice, theirs) in [(restarted, browser.ours.clone()), (local, ours)] {
        browser.ours = theirs;
        let negotiated = browser.description(browser.certificate.fingerprint());
        let update = Update { negotiated, ice: Some(ice), signalling_remote: None };
        world.command(key, Command::Update(Box::new(update)));
    }
    let answers = browser.stun_answers;
    browser.check(&mut world, true);
    assert_eq!(browser.stun_answers, answers + 1);
    assert_eq!(world.shard.counters().stun(StunResult::UnknownUser), 0);
}

/// Lets another browser take the place of one that is connected, by a re-INVITE; whether it has keys
/// in the end.
fn replaced(role: media::sdp::DtlsRole, wait_ms: u64) -> bool {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (key, _) = browser.open(&mut world);
    world.play(key, &track(200), Repeat::Forever, 1);
    browser.connect(&mut world);
    let mut next = Browser::new(&world, "198.51.100.7:6000");
    let configs = media::dtls::Configs::new(&next.certificate).unwrap();
    let is_active = role == media::sdp::DtlsRole::Passive;
    let theirs =
        if is_active { media::sdp::DtlsRole::Active } else { media::sdp::DtlsRole::Passive };
    let ours = vec![world.certificate.fingerprint()];
    next.association = media::dtls::Association::new(configs, theirs, ours);
    let mut negotiated = next.description(next.certificate.fingerprint());
    if let RemoteMedia::WebRtc(remote) = &mut negotiated.remote {
        remote.role = role;
    }
    let update = Update { negotiated, ice: Some(next.local.clone()), signalling_remote: None };
    world.command(key, Command::Update(Box::new(update)));
    // What was on its way.
    browser.say(&mut world, &[1; 160]);
    world.advance_ms(wait_ms);
    next.check(&mut world, true);
    next.association.start(world.now);
    for _ in 0..200 {
        next.read(&mut world);
        world.advance_ms(20);
    }
    next.outbound.is_some() && !next.received.is_empty()
}

#[test]
fn rfc5763_6_6_another_certificate_means_another_association_however_late_it_comes() {
    for wait_ms in [20, 3_000] {
        assert!(replaced(media::sdp::DtlsRole::Passive, wait_ms), "{wait_ms} ms");
    }
}

#[test]
fn rfc5763_6_6_our_client_hello_goes_to_where_the_next_check_comes_from() {
    for wait_ms in [20, 3_000] {
        assert!(replaced(media::sdp::DtlsRole::Active, wait_ms), "{wait_ms} ms");
    }
}

#[test]
fn an_offer_of_ours_connects_once_the_answer_is_there() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let parameters = LegParameters::offering(LegKind::WebRtc);
    let (key, _) = world.open(parameters, Some(browser.local.clone()));
    browser.check(&mut world, true);
    assert_eq!(browser.stun_answers, 1, "checks may come before the answer");
    let negotiated = browser.description(browser.certificate.fingerprint());
    world.command(
        key,
        Command::Update(Box::new(Update { negotiated, ice: None, signalling_remote: None })),
    );
    browser.connect(&mut world);
    assert!(world.events_of(key).iter().any(|e| matches!(e, LegEvent::Connected { .. })));
}

#[test]
fn a_passive_peer_gets_our_client_hello() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let configs = media::dtls::Configs::new(&browser.certificate).unwrap();
    let expected = vec![world.certificate.fingerprint()];
    let passive = media::sdp::DtlsRole::Passive;
    browser.association = media::dtls::Association::new(configs, passive, expected);
    let mut description = browser.description(browser.certificate.fingerprint());
    if let RemoteMedia::WebRtc(remote) = &mut description.remote {
        remote.role = media::sdp::DtlsRole::Active;
    }
    let parameters = LegParameters::answering(description);
    let (key, _) = world.open(parameters, Some(browser.local.clone()));
    world.play(key, &track(50), Repeat::Forever, 1);
    browser.connect(&mut world);
    world.advance_ms(200);
    browser.read(&mut world);
    assert!(browser.received.len() > 5 && browser.unreadable == 0);
    let _ = key;
}

#[test]
fn a_page_that_closes_says_so() {
    let mut world = World::new();
    let mut browser = Browser::new(&world, BROWSER);
    let (key, _) = browser.open(&mut world);
    browser.connect(&mut world);
    browser.association.close(world.now);
    browser.read(&mut world);
    let closed = LegEvent::Failed { reason: LegFailure::PeerClosed };
    assert!(world.events_of(key).contains(&closed));
}

#[test]
fn a_page_that_closes_late_is_noticed_and_a_forged_farewell_is_not_believed() {
    for closes in [true, false] {
        let mut world = World::new();
        let mut browser = Browser::new(&world, BROWSER);
        let (key, _) = browser.open(&mut world);
        browser.connect(&mut world);
        for _ in 0..200 {
            browser.say(&mut world, &[1; 160]);
            world.advance_ms(20);
        }
        browser.association.close(world.now);
        browser.read(&mut world);
        for _ in 0..60 {
            if !closes {
                browser.say(&mut world, &[1; 160]);
            }
            world.advance_ms(20);
        }
        let closed = LegEvent::Failed { reason: LegFailure::PeerClosed };
        assert_eq!(world.events_of(key).contains(&closed), closes);
    }
}

#[test]
fn a_page_that_is_heard_after_its_farewell_is_there() {
    for (silent_ms, is_there) in [(500, false), (1500, true)] {
        let mut world = World::new();
        let mut browser = Browser::new(&world, BROWSER);
        let (key, _) = browser.open(&mut world);
        browser.connect(&mut world);
        browser.association.close(world.now);
        browser.read(&mut world);
        world.advance_ms(silent_ms);
        browser.say(&mut world, &[1; 160]);
        assert_eq!(world.events_of(key).contains(&LegEvent::Heard), is_there, "{silent_ms} ms");
    }
}

#[test]
fn many_handshakes_at_once_are_spread_over_ticks_and_all_complete() {
    let mut world = World::new();
    let mut browsers: Vec<_> =
        (0..20).map(|n| Browser::new(&world, &format!("192.0.2.{}:{}", n + 1, 5000 + n))).collect();
    for browser in &mut browsers {
        browser.open(&mut world);
        browser.check(&mut world, true);
        browser.association.start(world.now);
    }
    for browser in &mut browsers {
        browser.read(&mut world);
    }
    for _ in 0..60 {
        world.advance_ms(1);
        for browser in &mut browsers {
            browser.read(&mut world);
        }
    }
    assert!(browsers.iter().all(|browser| browser.outbound.is_some()));
    assert!(world.shard.counters().handshakes(HandshakeResult::Deferred) > 0);
}

#[test]
fn a_flood_of_one_peer_does_not_keep_others_from_their_handshake() {
    let mut world = World::new();
    let mut flooder = Browser::new(&world, "192.0.2.9:9");
    flooder.open(&mut world);
    flooder.check(&mut world, true);
    // A record that means nothing: an alert of one byte.
    let junk = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let mut browser = Browser::new(&world, BROWSER);
    browser.open(&mut world);
    browser.check(&mut world, true);
    browser.association.start(world.now);
    let mut ticks = 0;
    while browser.outbound.is_none() && ticks < 200 {
        for _ in 0..100 {
            world.packet(Path::Shared(0), flooder.address, &junk);
        }
        browser.read(&mut world);
        world.advance_ms(1);
        ticks += 1;
    }
    assert!(ticks < 60, "{ticks} ms");
    world.packet(Path::Shared(0), flooder.address, &junk[..13]);
    assert_eq!(world.shard.counters().discarded(Discard::Malformed), 1);
}
