//! Plain legs: when they start, what they send, whom they listen to.

use std::time::Duration;

use media::{
    sdp::Direction,
    shard::{
        Command, Discard, LegEvent, LegKind, LegParameters, Path, PlayEnd, PlayToken, Repeat,
        Update,
    },
};

use crate::common::*;

const PEER: &str = "192.0.2.1:4000";

#[test]
fn a_peer_that_signals_its_own_address_hears_at_once() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.play(key, &track(10), Repeat::Once, 7);
    world.advance_ms(400);
    let heard = world.take_rtp(Path::Rtp(key));
    assert_eq!(heard.len(), 10);
    assert!(heard[0].at - world.start <= Duration::from_millis(20));
    for (n, packet) in heard.iter().enumerate() {
        assert_eq!(packet.payload, [n as u8; 160]);
        assert_eq!(packet.marker, n == 0);
        assert_eq!(packet.number, heard[0].number.wrapping_add(n as u16));
        assert_eq!(packet.timestamp, heard[0].timestamp.wrapping_add(160 * n as u32));
        assert_eq!((packet.ssrc, packet.to), (heard[0].ssrc, address(PEER)));
        let after = packet.at - heard[0].at;
        assert_eq!(after, Duration::from_millis(20) * n as u32);
    }
    let done = LegEvent::PlayDone { token: PlayToken(7), end: PlayEnd::Completed };
    assert!(world.events_of(key).contains(&done));
}

#[test]
fn a_peer_behind_a_nat_hears_on_its_first_packet_or_after_200_ms() {
    for speaks in [true, false] {
        let mut world = World::new();
        let (key, _) = world.open_plain(PEER, "198.51.100.1");
        world.play(key, &track(10), Repeat::Once, 7);
        world.advance_ms(100);
        assert!(world.take_rtp(Path::Rtp(key)).is_empty());
        if speaks {
            world.packet(
                Path::Rtp(key),
                address("198.51.100.1:777"),
                &rtp(PCMU, 1, 1, 1, &[1; 160]),
            );
        }
        world.advance_ms(300);
        let heard = world.take_rtp(Path::Rtp(key));
        assert_eq!(heard[0].payload, [0; 160], "the first frame is not lost");
        let started = heard[0].at - world.start;
        let to = if speaks { "198.51.100.1:777" } else { PEER };
        assert_eq!(heard[0].to, address(to));
        let earliest = if speaks { 100 } else { 200 };
        assert!(started >= Duration::from_millis(earliest));
        assert!(started <= Duration::from_millis(earliest + 20));
    }
}

#[test]
fn a_peer_whose_address_becomes_known_while_it_is_waited_for_hears_at_once() {
    for speaks in [true, false] {
        let mut world = World::new();
        let (key, _) = world.open_plain("203.0.113.1:4000", "192.0.2.1");
        world.play(key, &track(100), Repeat::Forever, 7);
        world.advance_ms(100);
        assert!(world.take_rtp(Path::Rtp(key)).is_empty());
        let update = Update { negotiated: plain(PEER), ice: None, signalling_remote: None };
        world.command(key, Command::Update(Box::new(update)));
        if speaks {
            world.packet(Path::Rtp(key), address(PEER), &rtp(PCMU, 1, 1, 1, &[1; 160]));
        }
        world.advance_ms(1000);
        let heard = world.take_rtp(Path::Rtp(key));
        assert!(heard[0].at - world.start <= Duration::from_millis(120));
        assert!(heard.iter().all(|packet| packet.to == address(PEER)));
        assert!((49..=50).contains(&heard.len()), "{}", heard.len());
    }
}

#[test]
fn a_peer_that_may_be_elsewhere_hears_no_more_than_it_is_allowed_until_it_is_trusted() {
    let mut world = World::new();
    let mut parameters = LegParameters::answering(plain(PEER));
    parameters.signalling_remote = Some("192.0.2.1".parse().unwrap());
    parameters.allowance = Some(4);
    let (key, _) = world.open(parameters, None);
    world.play(key, &track(10), Repeat::Once, 7);
    world.advance_ms(1_000);
    let before = world.take_rtp(Path::Rtp(key));
    world.packet(Path::Rtp(key), address(PEER), &rtp(PCMU, 1, 1, 1, &[1; 160]));
    world.advance_ms(1_000);
    assert!(world.take_rtp(Path::Rtp(key)).is_empty(), "media proves nothing");
    world.command(key, Command::Trust);
    world.advance_ms(1_000);
    let after = world.take_rtp(Path::Rtp(key));
    let heard: Vec<_> = before.iter().chain(&after).map(|packet| packet.payload[0]).collect();
    assert_eq!((before.len(), heard), (4, (0..10).collect()), "nothing is lost by waiting");
    assert!(after[0].marker);
    let done = LegEvent::PlayDone { token: PlayToken(7), end: PlayEnd::Completed };
    assert!(world.events_of(key).contains(&done));
}

#[test]
fn early_media_goes_on_to_who_sends_media_from_where_it_signals() {
    let mut world = World::new();
    let mut parameters = LegParameters::answering(plain(PEER));
    parameters.signalling_remote = Some("192.0.2.1".parse().unwrap());
    (parameters.allowance, parameters.trusts_media) = (Some(4), true);
    let (key, _) = world.open(parameters, None);
    world.play(key, &track(10), Repeat::Once, 7);
    world.advance_ms(1_000);
    assert_eq!(world.take_rtp(Path::Rtp(key)).len(), 4);
    world.packet(Path::Rtp(key), address("192.0.2.9:4000"), &rtp(PCMU, 1, 1, 1, &[1; 160]));
    world.advance_ms(1_000);
    assert!(world.take_rtp(Path::Rtp(key)).is_empty(), "another host proves nothing");
    world.packet(Path::Rtp(key), address(PEER), &rtp(PCMU, 1, 1, 1, &[1; 160]));
    world.advance_ms(1_000);
    assert_eq!(world.take_rtp(Path::Rtp(key)).len(), 6);
}

#[test]
fn an_echo_keeps_to_what_it_is_allowed_too() {
    let mut world = World::new();
    let mut parameters = LegParameters::answering(plain(PEER));
    parameters.signalling_remote = Some("192.0.2.1".parse().unwrap());
    parameters.allowance = Some(4);
    let (key, _) = world.open(parameters, None);
    world.command(key, Command::Echo { delay: None });
    let say = |world: &mut World, numbers: std::ops::Range<u32>| {
        for n in numbers {
            let packet = rtp(PCMU, 1, u64::from(n), n * 160, &[n as u8; 160]);
            world.packet(Path::Rtp(key), address(PEER), &packet);
            world.advance_ms(20);
        }
        world.take_rtp(Path::Rtp(key)).len()
    };
    assert_eq!(say(&mut world, 0..50), 4);
    world.command(key, Command::Trust);
    assert_eq!(say(&mut world, 50..60), 10);
}

#[test]
fn one_play_follows_another_in_one_stream() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.play(key, &track(3), Repeat::Times(2), 1);
    world.advance_ms(1000);
    world.play(key, &track(2), Repeat::Once, 2);
    world.advance_ms(1000);
    let heard = world.take_rtp(Path::Rtp(key));
    assert_eq!(heard.iter().map(|p| p.payload[0]).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0, 1]);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].number, pair[0].number.wrapping_add(1));
        let ticks = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        let time = (pair[1].at - pair[0].at).as_millis() as u32 * 8;
        assert_eq!(ticks, time, "timestamps go on with the clock");
    }
    let marked: Vec<_> = heard.iter().map(|p| p.marker).collect();
    assert_eq!(marked, [true, false, false, false, false, false, true, false]);
}

#[test]
fn a_play_without_end_goes_on_until_it_is_stopped() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.play(key, &track(2), Repeat::Forever, 1);
    world.advance(Duration::from_secs(60));
    let heard = world.take_rtp(Path::Rtp(key));
    assert!((2999..=3001).contains(&heard.len()), "{}", heard.len());
    world.command(key, Command::Stop);
    world.advance_ms(100);
    assert!(world.take_rtp(Path::Rtp(key)).is_empty());
    let done = LegEvent::PlayDone { token: PlayToken(1), end: PlayEnd::Interrupted };
    assert!(world.events_of(key).contains(&done));
}

#[test]
fn legs_are_spread_over_the_frame() {
    let mut world = World::new();
    let long = track(100);
    for n in 0..3_000 {
        let (key, _) = world.open_plain(&format!("192.0.2.1:{}", 4000 + 2 * n), "192.0.2.1");
        world.play(key, &long, Repeat::Forever, n);
    }
    world.advance_ms(100);
    world.take_sent();
    for _ in 0..20 {
        world.advance_ms(1);
        let sent = world.take_sent();
        assert_eq!(sent.len(), 150, "no burst forms");
    }
}

#[test]
fn few_legs_are_served_in_one_go() {
    let mut world = World::new();
    let long = track(100);
    for n in 0..40 {
        let (key, _) = world.open_plain(&format!("192.0.2.1:{}", 4000 + 2 * n), "192.0.2.1");
        world.play(key, &long, Repeat::Forever, n);
    }
    world.advance_ms(100);
    world.take_sent();
    let bursts: Vec<usize> = (0..40)
        .map(|_| {
            world.advance_ms(1);
            world.take_sent().len()
        })
        .filter(|sent| *sent > 0)
        .collect();
    assert_eq!(bursts, [40, 40]);
}

#[test]
fn a_leg_keeps_its_distance_whatever_else_wakes_the_shard() {
    let mut world = World::new();
    let long = track(100);
    let keys: Vec<_> = (0..40)
        .map(|n| {
            let (key, _) = world.open_plain(&format!("192.0.2.1:{}", 4000 + 2 * n), "192.0.2.1");
            world.play(key, &long, Repeat::Forever, n);
            world.advance_ms(3);
            key
        })
        .collect();
    world.advance_ms(100);
    world.take_sent();
    // Reports are due at some time after five seconds, each leg's at its own.
    world.advance(Duration::from_secs(12));
    let sent = world.take_sent();
    for key in keys {
        let heard: Vec<_> = sent.iter().filter(|packet| packet.path == Path::Rtp(key)).collect();
        assert!(heard.len() > 590, "{}", heard.len());
        for pair in heard.windows(2) {
            assert_eq!(pair[1].at - pair[0].at, Duration::from_millis(20));
        }
    }
}

#[test]
fn after_a_stall_the_stream_catches_up_a_little_and_skips_the_rest() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.play(key, &track(200), Repeat::Forever, 1);
    world.advance_ms(100);
    world.take_sent();
    world.now += Duration::from_secs(2);
    world.advance_ms(0);
    let burst = world.take_rtp(Path::Rtp(key));
    assert!((4..=6).contains(&burst.len()), "{}", burst.len());
    assert!(burst[0].marker, "the gap is told");
    assert!(world.shard.counters().ticks_skipped > 1000);
}

#[test]
fn a_stranger_never_gets_the_media_of_a_peer_that_spoke() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.play(key, &track(100), Repeat::Forever, 1);
    for n in 0..100 {
        world.packet(Path::Rtp(key), address(PEER), &rtp(PCMU, 1, n, 160 * n as u32, &[1; 160]));
        for port in 1..20 {
            let stranger = address(&format!("203.0.113.5:{port}"));
            world.packet(Path::Rtp(key), stranger, &rtp(PCMU, 2, n, 0, &[2; 160]));
        }
        world.advance_ms(20);
    }
    let heard = world.take_rtp(Path::Rtp(key));
    assert!(heard.iter().all(|packet| packet.to == address(PEER)));
    assert_eq!(world.shard.counters().discarded(Discard::ForeignSource), 1900);
    assert_eq!(world.shard.counters().packets_in[0], 100);
}

#[test]
fn silence_and_its_end_are_reported() {
    let mut world = World::new();
    let mut parameters = LegParameters::answering(plain(PEER));
    parameters.quiet_after = Duration::from_secs(3);
    let (key, _) = world.open(parameters, None);
    for n in 0..100 {
        world.packet(Path::Rtp(key), address(PEER), &rtp(PCMU, 1, n, 160 * n as u32, &[1; 160]));
        world.advance_ms(20);
    }
    let quiet = |world: &World| {
        let is_quiet = |event: &LegEvent| matches!(event, LegEvent::Quiet { .. });
        world.events_of(key).iter().filter(|event| is_quiet(event)).count()
    };
    world.advance(Duration::from_millis(2900));
    assert_eq!(quiet(&world), 0);
    world.advance(Duration::from_secs(60));
    assert_eq!(quiet(&world), 1);
    world.packet(Path::Rtp(key), address(PEER), &rtp(PCMU, 1, 200, 0, &[1; 160]));
    assert!(world.events_of(key).contains(&LegEvent::Heard));
    world.advance(Duration::from_secs(4));
    assert_eq!(quiet(&world), 2);
}

#[test]
fn silence_before_a_hold_is_over_with_it() {
    let mut world = World::new();
    let mut parameters = LegParameters::answering(plain(PEER));
    parameters.quiet_after = Duration::from_secs(7);
    let (key, _) = world.open(parameters, None);
    world.advance(Duration::from_secs(8));
    let is_quiet = |event: &LegEvent| matches!(event, LegEvent::Quiet { .. });
    assert!(world.events_of(key).iter().any(is_quiet));
    for direction in [Direction::SendOnly, Direction::SendRecv] {
        let mut negotiated = plain(PEER);
        negotiated.direction = direction;
        world.command(
            key,
            Command::Update(Box::new(Update { negotiated, ice: None, signalling_remote: None })),
        );
        let is_over = world.events_of(key).contains(&LegEvent::Heard);
        assert_eq!(is_over, direction == Direction::SendRecv);
    }
}

#[test]
fn a_held_peer_may_be_silent() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    let mut hold = plain(PEER);
    hold.direction = Direction::SendOnly;
    world.command(
        key,
        Command::Update(Box::new(Update { negotiated: hold, ice: None, signalling_remote: None })),
    );
    world.advance(Duration::from_secs(600));
    let quiet = |world: &World| {
        world.events_of(key).iter().any(|event| matches!(event, LegEvent::Quiet { .. }))
    };
    assert!(!quiet(&world));
    let resume = Update { negotiated: plain(PEER), ice: None, signalling_remote: None };
    world.command(key, Command::Update(Box::new(resume)));
    world.advance(Duration::from_secs(59));
    assert!(!quiet(&world));
    world.advance(Duration::from_secs(2));
    assert!(quiet(&world));
}

#[test]
fn digits_are_reported_once() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    for n in 0..8_u64 {
        let end = if n > 4 { 0x80 } else { 0 };
        let ticks = (160 * (n.min(4) + 1) as u16).to_be_bytes();
        let packet = rtp(DTMF, 1, n, 5000, &[3, end | 10, ticks[0], ticks[1]]);
        world.packet(Path::Rtp(key), address(PEER), &packet);
        world.advance_ms(20);
    }
    let digits: Vec<_> = world
        .events_of(key)
        .into_iter()
        .filter(|event| matches!(event, LegEvent::Dtmf { .. }))
        .collect();
    assert_eq!(
        digits,
        [LegEvent::Dtmf { digit: '3', duration: Duration::from_millis(100), is_passed_on: false }]
    );
}

#[test]
fn rfc3550_6_4_who_sends_nothing_for_two_intervals_sends_receiver_reports() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    let kinds = |world: &mut World, seconds| {
        world.advance(Duration::from_secs(seconds));
        let sent = world.take_sent();
        let reports = sent.iter().filter(|sent| sent.path == Path::Rtcp(key));
        reports.map(|sent| sent.bytes[1]).collect::<Vec<_>>()
    };
    assert!(kinds(&mut world, 20).iter().all(|kind| *kind == 201));
    for _ in 0..2 {
        world.play(key, &track(100), Repeat::Forever, 1);
        let playing = kinds(&mut world, 30);
        assert!(playing[1..].iter().all(|kind| *kind == 200), "{playing:?}");
        world.command(key, Command::Stop);
        let silent = kinds(&mut world, 60);
        assert_eq!(silent[..2], [200, 200], "it sent since the report before the last one");
        assert!(silent[2..].iter().all(|kind| *kind == 201), "{silent:?}");
    }
}

#[test]
fn reports_are_sent_and_read() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.play(key, &track(100), Repeat::Forever, 1);
    for n in 0..500 {
        world.packet(Path::Rtp(key), address(PEER), &rtp(PCMU, 9, n, 160 * n as u32, &[1; 160]));
        world.advance_ms(20);
    }
    let sent = world.take_sent();
    let reports: Vec<_> = sent.iter().filter(|sent| sent.path == Path::Rtcp(key)).collect();
    assert!((1..=5).contains(&reports.len()), "{}", reports.len());
    let last = reports.last().unwrap();
    assert_eq!(last.to, address("192.0.2.1:4001"));
    let told = media::rtcp::read(&last.bytes, media::rtp::Ssrc(9)).unwrap();
    assert_eq!(told.block.unwrap().cumulative_lost, 0);

    // The peer answers 100 ms later that it heard the report 60 ms ago and lost 12 packets.
    let ssrc = u32::from_be_bytes(last.bytes[4..8].try_into().unwrap());
    let block = media::rtp::ReportBlock {
        ssrc: media::rtp::Ssrc(ssrc),
        cumulative_lost: 12,
        last_sender_report: told.sender_report.unwrap(),
        delay_since_last: 65_536 * 60 / 1000,
        ..Default::default()
    };
    let report = media::rtcp::Report {
        ssrc: media::rtp::Ssrc(9),
        sender: None,
        block: Some(block),
        cname: "peer",
        bye: false,
    };
    let mut buffer = [0; 200];
    let len = report.write(&mut buffer).unwrap();
    world.now = last.at + Duration::from_millis(100);
    world.packet(Path::Rtcp(key), address("192.0.2.1:4001"), &buffer[..len]);
    world.packet(Path::Rtcp(key), address("203.0.113.5:4001"), &buffer[..len]);
    world.command(key, Command::Close);
    let events = world.events_of(key);
    let Some(LegEvent::Closed(statistics)) = events.last() else { panic!("not closed") };
    assert_eq!((statistics.packets_in, statistics.lost_out), (500, 12));
    let round_trip = statistics.round_trip.unwrap().as_millis();
    assert!((39..=41).contains(&round_trip), "{round_trip}");
    let bye = world.take_sent().pop().unwrap();
    assert!(media::rtcp::read(&bye.bytes, media::rtp::Ssrc(9)).unwrap().bye);
}

#[test]
fn reports_follow_an_update_to_another_host() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.play(key, &track(100), Repeat::Forever, 1);
    let report = media::rtcp::Report {
        ssrc: media::rtp::Ssrc(9),
        sender: None,
        block: None,
        cname: "a",
        bye: false,
    };
    let mut buffer = [0; 200];
    let len = report.write(&mut buffer).unwrap();
    world.packet(Path::Rtp(key), address(PEER), &rtp(PCMU, 9, 1, 160, &[1; 160]));
    world.packet(Path::Rtcp(key), address("192.0.2.1:4777"), &buffer[..len]);
    let last = |world: &mut World| {
        world.advance_ms(8000);
        let sent = world.take_sent();
        sent.into_iter().rfind(|sent| sent.path == Path::Rtcp(key)).unwrap().to
    };
    assert_eq!(last(&mut world), address("192.0.2.1:4777"), "where its own come from");
    let update = Update { negotiated: plain("192.0.2.9:6000"), ice: None, signalling_remote: None };
    world.command(key, Command::Update(Box::new(update)));
    world.packet(Path::Rtp(key), address("192.0.2.9:6000"), &rtp(PCMU, 9, 2, 320, &[1; 160]));
    assert_eq!(last(&mut world), address("192.0.2.9:6001"));
}

#[test]
fn a_report_on_a_new_source_refers_to_nothing_of_the_former() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.play(key, &track(100), Repeat::Forever, 1);
    let ntp = 0x1122_3344_5566_7788;
    let sender = media::rtcp::SenderInfo { ntp, timestamp: 0, packets: 1, bytes: 160 };
    let (ssrc, sender) = (media::rtp::Ssrc(9), Some(sender));
    let report = media::rtcp::Report { ssrc, sender, block: None, cname: "a", bye: false };
    let mut buffer = [0; 200];
    let len = report.write(&mut buffer).unwrap();
    let told = |world: &mut World, ssrc: u32| {
        for n in 0..400 {
            world.packet(
                Path::Rtp(key),
                address(PEER),
                &rtp(PCMU, ssrc, n, 160 * n as u32, &[1; 160]),
            );
            if (ssrc, n) == (9, 5) {
                world.packet(Path::Rtcp(key), address("192.0.2.1:4001"), &buffer[..len]);
            }
            world.advance_ms(20);
        }
        let sent = world.take_sent();
        let last = sent.into_iter().rfind(|sent| sent.path == Path::Rtcp(key)).unwrap();
        let told = media::rtcp::read(&last.bytes, media::rtp::Ssrc(ssrc)).unwrap();
        told.block.unwrap().last_sender_report
    };
    assert_eq!(told(&mut world, 9), 0x3344_5566);
    assert_eq!(told(&mut world, 10), 0);
}

#[test]
fn an_update_moves_the_stream_and_hold_stops_it() {
    let mut world = World::new();
    let (key, _) = world.open_plain(PEER, "192.0.2.1");
    world.play(key, &track(100), Repeat::Forever, 1);
    world.advance_ms(100);
    let before = world.take_rtp(Path::Rtp(key));
    let update = Update { negotiated: plain("192.0.2.9:6000"), ice: None, signalling_remote: None };
    world.command(key, Command::Update(Box::new(update)));
    world.advance_ms(100);
    let moved = world.take_rtp(Path::Rtp(key));
    assert!(moved.iter().all(|packet| packet.to == address("192.0.2.9:6000")));
    assert_eq!(moved[0].ssrc, before[0].ssrc);
    let mut hold = plain("192.0.2.9:6000");
    hold.direction = Direction::Inactive;
    world.command(
        key,
        Command::Update(Box::new(Update { negotiated: hold, ice: None, signalling_remote: None })),
    );
    world.advance_ms(100);
    assert!(world.take_rtp(Path::Rtp(key)).is_empty());
}

#[test]
fn an_update_that_comes_from_another_host_lets_media_come_from_there() {
    let mut world = World::new();
    let (key, _) = world.open_plain("10.0.0.5:4000", "192.0.2.1");
    let voice = |number: u32| rtp(PCMU, 1, number.into(), 160 * number, &[1; 160]);
    world.play(key, &track(100), Repeat::Forever, 1);
    world.packet(Path::Rtp(key), address("192.0.2.1:700"), &voice(1));
    // Its line dialled in again: another address outside, the same one inside.
    let (negotiated, host) = (plain("10.0.0.5:4000"), "192.0.2.8".parse().unwrap());
    let update = Update { negotiated, ice: None, signalling_remote: Some(host) };
    world.command(key, Command::Update(Box::new(update)));
    world.packet(Path::Rtp(key), address("192.0.2.8:700"), &voice(90));
    world.take_rtp(Path::Rtp(key));
    world.advance_ms(100);
    let sent = world.take_rtp(Path::Rtp(key));
    assert!(!sent.is_empty() && sent.iter().all(|packet| packet.to == address("192.0.2.8:700")));
}

#[test]
fn a_closed_leg_leaves_nothing_behind() {
    let mut world = World::new();
    for _ in 0..3 {
        let (key, _) = world.open_plain(PEER, "192.0.2.1");
        world.play(key, &track(100), Repeat::Forever, 1);
        world.advance_ms(50);
        world.command(key, Command::Close);
        let events = world.events_of(key);
        assert!(matches!(events.last(), Some(LegEvent::Closed(_))));
        world.packet(Path::Rtp(key), address(PEER), &rtp(PCMU, 1, 1, 1, &[1; 160]));
        world.command(key, Command::Stop);
        assert_eq!(world.events_of(key).len(), events.len());
    }
    assert_eq!(world.shard.legs(), 0);
    assert_eq!(world.shard.counters().legs(LegKind::Plain), 0);
    world.take_sent();
    world.advance(Duration::from_secs(120));
    assert!(world.take_sent().is_empty());
    assert_eq!(world.shard.poll_timeout(), None, "an empty shard sleeps");
}
