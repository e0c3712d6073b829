//! Media from one leg to another, on one shard and across two.

use std::time::Duration;

use media::{
    codec::{
        Codec,
        g711::{ULAW_TO_ALAW, decode_alaw, decode_ulaw},
    },
    rtp::PayloadType,
    sdp::RemoteMedia,
    shard::{Command, Discard, LegEvent, LegId, LegKey, LegParameters, Path, Repeat},
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

/// Two plain legs that hear each other.
fn bridged(world: &mut World) -> [LegKey; 2] {
    bridged_ids(world).map(|(key, _)| key)
}

fn bridged_ids(world: &mut World) -> [(LegKey, LegId); 2] {
    let (a, a_id) = world.open_plain(A, "192.0.2.1");
    let (b, b_id) = world.open_plain(B, "192.0.2.2");
    world.command(a, Command::Bridge { peer: b_id });
    world.command(b, Command::Bridge { peer: a_id });
    [(a, a_id), (b, b_id)]
}

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:4000";

#[test]
fn a_digit_is_reported_and_goes_no_further_and_leaves_no_gap() {
    let mut world = World::new();
    let [a, b] = bridged(&mut world);
    let say = |world: &mut World, kind, number: u64, payload: &[u8]| {
        let bytes = rtp(kind, 9, number, 160 * number as u32, payload);
        world.packet(Path::Rtp(a), address(A), &bytes);
        world.advance_ms(20);
    };
    say(&mut world, PCMU, 1, &[1; 160]);
    for number in 2..5 {
        say(&mut world, DTMF, number, &[1, 0x8a, 3, 32]);
    }
    say(&mut world, PCMU, 5, &[2; 160]);
    say(&mut world, PCMU, 6, &[3; 160]);
    let heard = world.take_rtp(Path::Rtp(b));
    let heard: Vec<_> = heard.iter().map(|p| (p.payload[0], p.number, p.timestamp)).collect();
    let (_, number, timestamp) = heard[0];
    let expected = [(1, 0, 0), (2, 1, 640), (3, 2, 800)]
        .map(|(said, n, ticks)| (said, number.wrapping_add(n), timestamp.wrapping_add(ticks)));
    assert_eq!(heard, expected);
    let digits = world.events_of(a);
    assert!(digits.iter().any(|event| matches!(event, LegEvent::Dtmf { digit: '1', .. })));
}

/// A bridge whose second leg takes events with payload type 97; the first leg of it.
fn bridged_to_who_takes_events(world: &mut World) -> [LegKey; 2] {
    let (a, a_id) = world.open_plain(A, "192.0.2.1");
    let rtp = address(B);
    let remote = RemoteMedia::Plain { rtp, rtcp: rtp, rtcp_mux: false };
    let attributes = "a=rtpmap:97 telephone-event/8000\r\n";
    let mut parameters = LegParameters::answering(described(attributes, "0 97", remote));
    parameters.signalling_remote = Some(rtp.ip());
    parameters.takes_events = true;
    let (b, b_id) = world.open(parameters, None);
    world.command(a, Command::Bridge { peer: b_id });
    world.command(b, Command::Bridge { peer: a_id });
    [a, b]
}

#[test]
fn rfc4733_2_5_a_digit_is_passed_on_as_it_comes_and_speech_follows_at_once() {
    let mut world = World::new();
    let [a, b] = bridged_to_who_takes_events(&mut world);
    // Held for 8 s, longer than a jump of the time may be.
    let packets = 400;
    let last = 2 + packets;
    world.packet(Path::Rtp(a), address(A), &rtp(PCMU, 9, 1, 160, &[1; 160]));
    world.advance_ms(20);
    for number in 2..=last {
        let end = if number == last { 0x80 } else { 0 };
        let [high, low] = (160 * (number as u16 - 1)).to_be_bytes();
        let event = rtp(DTMF, 9, number, 320, &[5, 10 | end, high, low]);
        world.packet(Path::Rtp(a), address(A), &event);
        world.advance_ms(20);
    }
    let voice = rtp(PCMU, 9, last + 1, 160 * (last as u32 + 1), &[2; 160]);
    world.packet(Path::Rtp(a), address(A), &voice);
    let heard = world.take_rtp(Path::Rtp(b));
    assert_eq!(heard.len() as u64, last + 1, "nothing in between, nothing left out");
    let first = &heard[0];
    for (n, packet) in heard.iter().enumerate() {
        assert_eq!(packet.number, first.number.wrapping_add(n as u16));
        let ticks = packet.timestamp.wrapping_sub(first.timestamp);
        let (kind, expected) = match n as u64 {
            0 => (PCMU, 0),
            n if n == last => (PCMU, 160 * last as u32),
            _ => (PayloadType(97), 160),
        };
        assert_eq!((packet.payload_type, ticks), (kind, expected), "packet {n}");
    }
    let digits = world.events_of(a);
    let digits: Vec<_> =
        digits.iter().filter(|event| matches!(event, LegEvent::Dtmf { .. })).collect();
    assert!(
        matches!(digits[..], [LegEvent::Dtmf { digit: '5', is_passed_on: true, .. }]),
        "{digits:?}"
    );
}

#[test]
fn rfc4733_2_2_1_a_long_press_beside_the_voice_is_one_event() {
    let mut world = World::new();
    let [a, b] = bridged_to_who_takes_events(&mut world);
    let mut number = 0;
    let mut send = |world: &mut World, kind, ticks: u32, payload: &[u8]| {
        number += 1;
        world.packet(Path::Rtp(a), address(A), &rtp(kind, 9, number, ticks, payload));
    };
    // Two presses of 8 s; voice goes on beside them, and between the repeated ends.
    for ticks in (0..1_000).map(|n| n * 160) {
        let held = ticks % 80_000;
        if (1..64_500).contains(&held) {
            let end = if held > 64_000 { 0x80 } else { 0 };
            let [high, low] = (held as u16).to_be_bytes();
            send(&mut world, DTMF, ticks - held, &[5, 10 | end, high, low]);
        }
        send(&mut world, PCMU, ticks + 7, &[1; 160]);
        world.advance_ms(20);
    }
    let heard = world.take_rtp(Path::Rtp(b));
    let times = |kind| {
        let times = heard.iter().filter(move |packet| packet.payload_type == kind);
        times.map(|packet| packet.timestamp)
    };
    let mut events: Vec<u32> = times(PayloadType(97)).collect();
    assert_eq!(events.len(), 2 * 403);
    events.dedup();
    let voice: Vec<u32> = times(PCMU).collect();
    assert_eq!(events, [voice[0].wrapping_sub(7), voice[500].wrapping_sub(7)]);
    assert!(voice.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 160));
    assert!(heard.windows(2).all(|pair| pair[1].number == pair[0].number.wrapping_add(1)));
}

#[test]
fn digits_in_a_stream_of_their_own_are_reported_and_the_voice_goes_on() {
    let mut world = World::new();
    let [a, b] = bridged_to_who_takes_events(&mut world);
    for number in 0..100_u32 {
        let voice = rtp(PCMU, 9, u64::from(number), 160 * number, &[1; 160]);
        world.packet(Path::Rtp(a), address(A), &voice);
        // Two presses, each with its end three times, in numbers and times of another origin.
        let (press, n) = (number / 50, number % 50);
        if n < 10 {
            let end = if n > 6 { 0x80 } else { 0 };
            let [high, low] = (160 * (n.min(7) as u16 + 1)).to_be_bytes();
            let begins = 7_000_000 + 8_000 * press;
            let payload = [5 + press as u8, 10 | end, high, low];
            let event = rtp(DTMF, 77, 40_000 + u64::from(number), begins, &payload);
            world.packet(Path::Rtp(a), address(A), &event);
        }
        world.advance_ms(20);
    }
    let digits: Vec<_> = world
        .events_of(a)
        .into_iter()
        .filter(|event| matches!(event, LegEvent::Dtmf { .. }))
        .collect();
    let pressed =
        |digit| LegEvent::Dtmf { digit, duration: Duration::from_millis(160), is_passed_on: false };
    assert_eq!(digits, [pressed('5'), pressed('6')]);
    let heard = world.take_rtp(Path::Rtp(b));
    assert_eq!(heard.len(), 100);
    assert!(heard.windows(2).all(|pair| {
        pair[1].number == pair[0].number.wrapping_add(1)
            && pair[1].timestamp == pair[0].timestamp.wrapping_add(160)
    }));
}

#[test]
fn a_digit_that_the_other_leg_cannot_take_now_is_not_passed_on() {
    let mut world = World::new();
    let [a, b] = bridged_to_who_takes_events(&mut world);
    // It is sent one itself, and a second stream of events would mix with that.
    let duration = Duration::from_millis(200);
    world.command(b, Command::Dtmf { digit: '9', duration });
    world.advance_ms(40);
    for number in 1..4 {
        let event = rtp(DTMF, 9, number, 160, &[5, 0x8a, 3, 32]);
        world.packet(Path::Rtp(a), address(A), &event);
        world.advance_ms(20);
    }
    let is_passed_on = |event: &LegEvent| match event {
        LegEvent::Dtmf { digit: '5', is_passed_on, .. } => Some(*is_passed_on),
        _ => None,
    };
    let passed: Vec<_> = world.events_of(a).iter().filter_map(is_passed_on).collect();
    assert_eq!(passed, [false]);
    let heard = world.take_rtp(Path::Rtp(b));
    assert!(heard.iter().all(|packet| packet.payload[0] == 9), "only its own");
}

#[test]
fn rfc3389_4_comfort_noise_is_forwarded_to_who_agreed_on_it() {
    let mut world = World::new();
    let open = |world: &mut World, at: &str| {
        let rtp = address(at);
        let remote = RemoteMedia::Plain { rtp, rtcp: rtp, rtcp_mux: false };
        let mut parameters = LegParameters::answering(described("", "0 13", remote));
        parameters.signalling_remote = Some(rtp.ip());
        world.open(parameters, None)
    };
    let ((a, a_id), (b, b_id)) = (open(&mut world, A), open(&mut world, B));
    world.command(a, Command::Bridge { peer: b_id });
    world.command(b, Command::Bridge { peer: a_id });
    world.packet(Path::Rtp(a), address(A), &rtp(PCMU, 9, 1, 0, &[1; 160]));
    world.packet(Path::Rtp(a), address(A), &rtp(PayloadType(13), 9, 2, 160, &[40]));
    let heard = world.take_rtp(Path::Rtp(b));
    assert_eq!((heard[1].payload_type, &heard[1].payload), (PayloadType(13), &vec![40]));
}

/// What is heard of a pause in PCMU that A describes, by B in another codec; then of its voice.
fn pause_heard_in(codec: Codec, level: u8) -> Vec<Rtp> {
    let mut world = World::new();
    let (a, a_id) = world.open_plain(A, "192.0.2.1");
    let rtp_at = address(B);
    let remote = RemoteMedia::Plain { rtp: rtp_at, rtcp: rtp_at, rtcp_mux: false };
    let number = codec.static_payload_type().unwrap();
    let mut parameters = LegParameters::answering(described("", &number.to_string(), remote));
    parameters.signalling_remote = Some(rtp_at.ip());
    let (b, b_id) = world.open(parameters, None);
    world.command(a, Command::Bridge { peer: b_id });
    world.command(b, Command::Bridge { peer: a_id });
    let mut say = |number: u64, kind, at_ms: u32, payload: &[u8]| {
        world.packet(Path::Rtp(a), address(A), &rtp(kind, 9, number, 8 * at_ms, payload));
        world.advance_ms(20);
    };
    say(1, PCMU, 0, &[1; 160]);
    say(2, PayloadType(13), 20, &[level, 3]);
    world.advance_ms(4_980);
    let mut say = |number: u64, at_ms: u32| {
        let voice = rtp(PCMU, 9, number, 8 * at_ms, &[1; 160]);
        world.packet(Path::Rtp(a), address(A), &voice);
        world.advance_ms(20);
    };
    say(3, 5_020);
    say(4, 5_040);
    world.take_rtp(Path::Rtp(b))
}

#[test]
fn rfc3389_4_who_did_not_agree_on_comfort_noise_hears_it_until_the_voice_is_back() {
    for (codec, decode) in [(Codec::Pcmu, decode_ulaw as fn(u8) -> i16), (Codec::Pcma, decode_alaw)]
    {
        for level in [40, 60] {
            let heard = pause_heard_in(codec, level);
            let (voice, noise) = (&heard[0], &heard[1..heard.len() - 2]);
            assert!((248..=250).contains(&noise.len()), "{} frames in 5 s", noise.len());
            let samples = noise.iter().flat_map(|packet| &packet.payload).map(|code| decode(*code));
            let (count, squares) = samples.fold((0.0, 0.0), |(count, squares), sample| {
                (count + 1.0, squares + f64::from(sample).powi(2))
            });
            let heard_level = 10.0 * (squares / count / f64::from(i16::MAX).powi(2)).log10();
            assert!((heard_level + f64::from(level)).abs() < 1.5, "{level}: {heard_level} dBov");
            for (n, packet) in heard.iter().enumerate() {
                assert_eq!(packet.payload_type, voice.payload_type);
                assert_eq!(packet.number, voice.number.wrapping_add(n as u16));
                assert_eq!(packet.payload.len(), 160);
            }
            let after = &heard[heard.len() - 2..];
            assert!(after.iter().all(|packet| packet.payload == voice.payload));
            assert!(after[0].marker, "a talk-spurt begins");
            let passed = after[0].timestamp.wrapping_sub(voice.timestamp);
            assert!((8 * 4_980..=8 * 5_060).contains(&passed), "{passed} ticks");
        }
    }
}

#[test]
fn rfc4733_2_2_1_a_digit_within_a_pause_has_one_time_and_nothing_in_between() {
    let mut world = World::new();
    let [a, b] = bridged_to_who_takes_events(&mut world);
    let say = |world: &mut World, number, kind, payload: &[u8]| {
        world.packet(Path::Rtp(a), address(A), &rtp(kind, 9, number, 160, payload));
        world.advance_ms(20);
    };
    say(&mut world, 1, PayloadType(13), &[40]);
    world.advance_ms(200);
    world.take_rtp(Path::Rtp(b));
    for number in 2..=8 {
        let end = if number == 8 { 0x80 } else { 0 };
        let [high, low] = (160 * (number as u16 - 1)).to_be_bytes();
        say(&mut world, number, DTMF, &[5, 10 | end, high, low]);
    }
    world.advance_ms(100);
    let heard = world.take_rtp(Path::Rtp(b));
    assert_eq!(heard.len(), 7);
    assert!(heard.iter().all(|packet| packet.payload_type == PayloadType(97)));
    assert!(heard.iter().all(|packet| packet.timestamp == heard[0].timestamp));
}

#[test]
fn a_pause_that_is_described_again_and_again_is_noise_and_no_tone() {
    let mut world = World::new();
    let [a, b] = bridged(&mut world);
    for number in 1..=50 {
        world.packet(Path::Rtp(a), address(A), &rtp(PayloadType(13), 9, number, 0, &[40]));
        world.advance_ms(20);
    }
    let heard = world.take_rtp(Path::Rtp(b));
    let different: std::collections::BTreeSet<_> =
        heard.iter().map(|packet| packet.payload.clone()).collect();
    assert!(heard.len() >= 45 && different.len() == heard.len(), "{} frames", heard.len());
}

#[test]
fn a_pause_ends_when_nothing_more_is_said_of_it() {
    let mut world = World::new();
    let [a, b] = bridged(&mut world);
    world.packet(Path::Rtp(a), address(A), &rtp(PayloadType(13), 9, 1, 0, &[40]));
    world.advance_ms(29_000);
    let frames = world.take_rtp(Path::Rtp(b)).len();
    assert!((1_440..=1_450).contains(&frames), "{frames} frames in 29 s");
    world.advance_ms(2_000);
    assert!((49..=60).contains(&world.take_rtp(Path::Rtp(b)).len()));
    world.advance_ms(2_000);
    assert!(world.take_rtp(Path::Rtp(b)).is_empty());
}

#[test]
fn a_repeated_number_is_not_sent_twice() {
    let mut world = World::new();
    let [a, b] = bridged(&mut world);
    for _ in 0..3 {
        world.packet(Path::Rtp(a), address(A), &rtp(PCMU, 9, 2, 160, &[1; 160]));
    }
    assert_eq!(world.take_rtp(Path::Rtp(b)).len(), 1);
    assert_eq!(world.shard.counters().discarded(Discard::Late), 2);
}

#[test]
fn only_the_two_legs_of_a_bridge_hear_each_other() {
    let mut world = World::new();
    let [a, b] = bridged(&mut world);
    let (c, c_id) = world.open_plain("192.0.2.3:4000", "192.0.2.3");
    // A still thinks that it talks to B, which was given to C.
    world.command(b, Command::Bridge { peer: c_id });
    world.take_sent();
    world.packet(Path::Rtp(a), address(A), &rtp(PCMU, 9, 2, 160, &[1; 160]));
    assert!(world.take_sent().is_empty());
    // And a leg that plays something or nothing hears no one.
    for command in [Command::Stop, Command::Echo { delay: None }] {
        world.command(b, command);
        world.packet(Path::Rtp(a), address(A), &rtp(PCMU, 9, 3, 320, &[1; 160]));
        world.packet(Path::Rtp(c), address("192.0.2.3:4000"), &rtp(PCMU, 8, 2, 160, &[1; 160]));
        assert!(world.take_sent().is_empty());
    }
}

#[test]
fn rfc3550_8_2_a_sender_that_starts_anew_is_forwarded_as_one_stream() {
    let mut world = World::new();
    let [a, b] = bridged(&mut world);
    let mut ticks = 0;
    // Another SSRC, numbers that jump back and ahead, a timestamp that jumps.
    let streams = [(9, 40_000, 0), (77, 100, 5_000), (77, 30_000, 0x8000_0000), (77, 20, 7)];
    for (ssrc, first, timestamp) in streams {
        for n in 0..50_u64 {
            let bytes = rtp(PCMU, ssrc, first + n, timestamp + 160 * n as u32, &[1; 160]);
            world.packet(Path::Rtp(a), address(A), &bytes);
            world.advance_ms(20);
            ticks += 160;
        }
    }
    let heard = world.take_rtp(Path::Rtp(b));
    // The first packet of what may be a stray is not believed.
    assert_eq!(heard.len(), 200 - 3);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].number, pair[0].number.wrapping_add(1));
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        let time = (pair[1].at - pair[0].at).as_millis() as u32 * 8;
        assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), time);
    }
    let last = heard[heard.len() - 1].timestamp.wrapping_sub(heard[0].timestamp);
    assert_eq!(last, ticks - 160);
}

#[test]
fn play_and_bridge_and_play_are_one_stream() {
    let mut world = World::new();
    let [(a, a_id), (b, _)] = bridged_ids(&mut world);
    let mut number = 100;
    let mut talk = |world: &mut World| {
        for _ in 0..25 {
            number += 1;
            let bytes = rtp(PCMU, 9, number, 160 * number as u32, &[200; 160]);
            world.packet(Path::Rtp(a), address(A), &bytes);
            world.advance_ms(20);
        }
    };
    let music = track(100);
    for _ in 0..2 {
        talk(&mut world);
        world.play(b, &music, Repeat::Forever, 1);
        talk(&mut world);
        world.command(b, Command::Bridge { peer: a_id });
    }
    talk(&mut world);
    let heard = world.take_rtp(Path::Rtp(b));
    let marked: Vec<usize> = (0..heard.len()).filter(|n| heard[*n].marker).collect();
    assert_eq!(marked.len(), 3, "{marked:?}");
    for at in marked {
        let is_voice = |at: usize| heard[at].payload[0] == 200;
        assert!(at == 0 || is_voice(at) && !is_voice(at - 1), "no silence is before the music");
    }
    for pair in heard.windows(2) {
        assert_eq!(pair[1].number, pair[0].number.wrapping_add(1));
        let time = (pair[1].at - pair[0].at).as_millis() as i32 * 8;
        let ticks = pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32;
        assert!((ticks - time).abs() <= 160, "{ticks} ticks in the time of {time}");
    }
}

#[test]
fn pcmu_and_pcma_are_translated_in_payloads_of_any_length() {
    let mut world = World::new();
    let (a, a_id) = world.open_plain(A, "192.0.2.1");
    let (b, b_id) = world.open(LegParameters::answering(speaking(Codec::Pcma, B)), None);
    world.command(a, Command::Bridge { peer: b_id });
    world.command(b, Command::Bridge { peer: a_id });
    world.advance_ms(300);
    let mut timestamp = 0;
    for (n, len) in [80, 160, 240, 320, 480, 1].into_iter().enumerate() {
        let codes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let bytes = rtp(PCMU, 9, n as u64, timestamp, &codes);
        world.packet(Path::Rtp(a), address(A), &bytes);
        let heard = world.take_rtp(Path::Rtp(b));
        let alaw: Vec<u8> = codes.iter().map(|code| ULAW_TO_ALAW[usize::from(*code)]).collect();
        assert_eq!((heard.len(), &heard[0].payload), (1, &alaw));
        assert_eq!(heard[0].payload_type, PayloadType(96));
        timestamp += len as u32;
        world.advance_ms(u64::from(len as u32 / 8));
    }
}

#[test]
fn a_bridge_to_a_leg_that_is_gone_drops_and_counts() {
    let mut world = World::new();
    let (a, a_id) = world.open_plain("192.0.2.1:4000", "192.0.2.1");
    let (b, b_id) = world.open_plain("192.0.2.2:4000", "192.0.2.2");
    world.command(a, Command::Bridge { peer: b_id });
    world.command(b, Command::Bridge { peer: a_id });
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
    let (a, a_id) = here.open_plain("192.0.2.1:4000", "192.0.2.1");
    let (b, b_id) = there.open_plain("192.0.2.2:4000", "192.0.2.2");
    here.command(a, Command::Bridge { peer: b_id });
    there.command(b, Command::Bridge { peer: a_id });
    here.wire.ring_room = 30;
    for n in 0..40_u64 {
        let bytes = rtp(PCMU, 9, n, 160 * n as u32, &[n as u8; 160]);
        here.packet(Path::Rtp(a), address("192.0.2.1:4000"), &bytes);
    }
    here.hand_over(&mut there);
    let heard: Vec<_> = there.take_rtp(Path::Rtp(b)).iter().map(|p| p.payload[0]).collect();
    assert_eq!(heard, (0..30).collect::<Vec<_>>());
    assert_eq!(here.shard.counters().discarded(Discard::RingFull), 10);
}
