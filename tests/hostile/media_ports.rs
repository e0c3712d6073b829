//! Strangers at the media ports: of plain legs, and the one that all WebRTC media shares.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rtc::crypto::{RTCCryptoProvider, providers::RingProvider};
use rtc::stun::attributes::{ATTR_USERNAME, AttrType};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use rtc::stun::textattrs::TextAttribute;

use crate::agent::Agent;
use crate::browser::Browser;
use crate::call::Call;
use crate::live::{Live, rtp};
use crate::metrics::{Metrics, wait_for, wait_for_calls};
use crate::request::{Request, status, to_tag};
use crate::sdp;
use crate::server::Server;
use crate::start;

#[test]
fn a_hundred_thousand_packets_of_strangers_are_counted_and_change_nothing() {
    let server = start("");
    let live = Live::start(&server);
    let webrtc = WebRtcCall::place(&server);
    let mut rtcp = live.call.rtp;
    rtcp.set_port(rtcp.port() + 1);
    let before = Metrics::of(&server);
    let targets = [webrtc.port, live.call.rtp, rtcp];
    let strangers = [stranger([127, 0, 0, 2]), stranger([127, 0, 0, 1])];

    let mut rng = StdRng::seed_from_u64(2_017_008);
    let began = Instant::now();
    for batch in 0..1_000 {
        for n in 0..100 {
            let packet = fuzz(&mut rng);
            strangers[n % 2].send_to(&packet, targets[n % 3]).unwrap();
        }
        let due = began + Duration::from_millis(4) * (batch + 1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    for stranger in &strangers {
        assert_eq!(received(stranger), 0, "a stranger was answered");
    }
    live.finish();
    webrtc.hang_up();
    let after = wait_for_calls(&server, 0);
    let grown = |family: &str, label: &str| {
        let labels = [label];
        let labels = if label.is_empty() { &[][..] } else { &labels };
        after.sum(family, labels) - before.sum(family, labels)
    };
    for reason in ["malformed", "foreign_source", "payload_type", "unknown_source"] {
        let count = grown(DISCARDED, &format!("reason=\"{reason}\""));
        assert!(count > 100.0, "{reason}: {count}");
    }
    assert!(grown(DISCARDED, "reason=\"dtls_unvalidated\"") > 100.0);
    assert!(grown("sidetone_stun_messages_total", "") > 100.0);
    let seen = grown(DISCARDED, "") + grown("sidetone_stun_messages_total", "");
    assert!(seen > 50_000.0, "{seen} of 100,000 packets were counted");
    assert!(after.rss_bytes() - before.rss_bytes() < 60e6);
    assert_eq!(before.series(), after.series(), "series came or went");
    after.check_with_promtool();
}

#[test]
fn every_packet_of_a_stranger_is_counted_once_and_he_hears_nothing() {
    let server = start("");
    let live = Live::start(&server);
    let before = Metrics::of(&server);
    // Another host that goes on with the caller's own stream, and another port of the caller's host
    // with a stream of its own: well-formed, in a row.
    for (ip, ssrc) in [([127, 0, 0, 2], 0x0bad_cafe_u32), ([127, 0, 0, 1], 0x0bad_beef)] {
        let stranger = stranger(ip);
        for n in 0..250 {
            let mut packet = rtp(n);
            packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
            stranger.send_to(&packet, live.call.rtp).unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(received(&stranger), 0, "{ip:?} hears the call");
    }
    wait_for(&server, "500 packets counted", |metrics| {
        let count = |m: &Metrics| m.sum(DISCARDED, &["reason=\"foreign_source\""]);
        count(metrics) - count(&before) == 500.0
    });
    live.finish();
}

#[test]
fn cve_2017_14099_who_sprays_a_silent_callers_port_hears_nothing() {
    let server = start("");
    // A caller who only listens never shows the server where he is.
    let mut call = Call::dial(Agent::udp(server.address("udp")), "9197");
    let stranger = stranger([127, 0, 0, 2]);
    for n in 0..100 {
        stranger.send_to(&rtp(n), call.rtp).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let heard = call.hear(Duration::from_secs(1));
    let leaked = received(&stranger);
    call.hang_up();
    assert_eq!(leaked, 0, "the stranger was sent {leaked} bytes");
    assert!(heard >= 48, "the caller heard {heard} packets in a second");
}

#[test]
fn a_caller_who_shouts_into_an_echo_takes_nothing_from_others() {
    let server = start("");
    let live = Live::start(&server);
    let mut calls =
        ["9196", "9195"].map(|number| Call::dial(Agent::udp(server.address("udp")), number));
    for n in 0..15_000_u16 {
        let mut packet = rtp(n);
        if n % 3 == 0 {
            // Digits that begin and never end, with lengths that are wrong.
            packet[1] = 101;
            packet.truncate(12 + usize::from(n % 7));
        }
        for call in &calls {
            call.media.send_to(&packet, call.rtp).unwrap();
        }
        if n % 20 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    live.finish();
    calls.iter_mut().for_each(Call::hang_up);
    wait_for_calls(&server, 0);
}

#[test]
fn stun_with_wrong_credentials_gets_no_answer() {
    let server = start("");
    let webrtc = WebRtcCall::place(&server);
    let (ufrag, pwd) = (webrtc.ice("ice-ufrag"), webrtc.ice("ice-pwd"));
    let right = format!("{ufrag}:{}", sdp::UFRAG);
    let stranger = stranger([127, 0, 0, 2]);
    let long = "u".repeat(500);
    let check =
        |username: &str, password: &str, more: Option<u16>| binding(username, password, more);
    let mut sent = 0;
    for packet in [
        check(&right, "wrong-password-of-22-ch", None),
        check(&right, "wrong-password-of-22-ch", Some(0x7000)),
        check("nobody:nothing", &pwd, None),
        check(&ufrag, &pwd, None),
        check(&format!("{ufrag}:stranger"), &pwd, None),
        check(&format!(":{}", sdp::UFRAG), &pwd, None),
        check(&long, &pwd, None),
        damaged(check(&right, &pwd, None)),
    ] {
        for _ in 0..20 {
            stranger.send_to(&packet, webrtc.port).unwrap();
            sent += packet.len();
        }
    }
    assert_eq!(received(&stranger), 0, "answered without the password");
    let metrics = Metrics::of(&server);
    let stun = |result: &str| {
        metrics.sum("sidetone_stun_messages_total", &[&format!("result=\"{result}\"")])
    };
    assert_eq!((stun("success"), stun("integrity")), (0.0, 40.0));
    assert_eq!(stun("fingerprint") + stun("unknown_user") + stun("malformed"), 120.0);
    assert!(sent > 0);

    // Who has the password is answered, with no more than he sent.
    let good = check(&right, &pwd, None);
    for packet in [check(&right, &pwd, Some(0x7000)), good] {
        stranger.send_to(&packet, webrtc.port).unwrap();
        let answered = received(&stranger);
        assert!((1..3 * packet.len()).contains(&answered), "{} bring {answered}", packet.len());
    }
    webrtc.hang_up();
    wait_for_calls(&server, 0);
}

#[test]
fn cve_2023_49786_client_hellos_of_strangers_fail_no_setup() {
    let server = start("");
    let live = Live::start(&server);
    let webrtc = WebRtcCall::place(&server);
    let before = Metrics::of(&server);
    let strangers: Vec<_> = (2..10).map(|n| stranger([127, 0, 0, n])).collect();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let spray = scope.spawn(|| {
            let mut sent = 0_u32;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) && sent < 100_000 {
                for stranger in &strangers {
                    for cipher_suite in [0, 0xc02b] {
                        let hello = client_hello(sent, cipher_suite);
                        stranger.send_to(&hello, webrtc.port).unwrap();
                        sent += 1;
                    }
                }
                std::thread::sleep(Duration::from_millis(4));
            }
            sent
        });
        let browsers: Vec<_> = (0..6).map(|_| Browser::call(&server, "9197")).collect();
        browsers.iter().for_each(Browser::check);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(spray.join().unwrap() > 1_000);
        browsers.into_iter().for_each(Browser::hang_up);
    });
    for stranger in &strangers {
        assert_eq!(received(stranger), 0, "a stranger's ClientHello was answered");
    }
    webrtc.hang_up();
    live.finish();
    let after = wait_for_calls(&server, 0);
    let grown =
        |family: &str, label: &str| after.sum(family, &[label]) - before.sum(family, &[label]);
    assert!(grown(DISCARDED, "reason=\"dtls_unvalidated\"") > 500.0);
    assert_eq!(grown("sidetone_dtls_handshakes_total", "result=\"success\""), 6.0);
    assert_eq!(grown("sidetone_dtls_handshakes_total", "result=\"failed\""), 0.0);
}

#[test]
fn a_browser_behind_a_proxy_lives_on_its_checks_and_ends_when_they_stop() {
    let server = start("[calls]\nplain_silence_s = 4\n");
    let browser = Browser::call(&server, "9197");
    // It says nothing; only its consent is fresh (RFC 7675).
    assert!(browser.hear(Duration::from_secs(7)) > 300);
    let mut agent = browser.vanish();
    let bye = agent.next_request(Duration::from_secs(8)).expect("the call goes on for ever");
    assert!(bye.starts_with("BYE "), "{bye}");
    agent.answer(&bye, "200 OK", "");
    wait_for_calls(&server, 0);
}

#[test]
fn cve_2021_41105_srtp_that_is_not_authentic_ends_no_call() {
    let server = start("");
    let browser = Browser::call(&server, "9197");
    let port = crate::offers::webrtc_port(&server);
    assert!(browser.hear(Duration::from_millis(500)) > 20);
    let stranger = stranger([127, 0, 0, 2]);
    for n in 0..5_000 {
        stranger.send_to(&rtp(n), port).unwrap();
        if n % 50 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    browser.check();
    assert_eq!(received(&stranger), 0);
    browser.hang_up();
    let metrics = wait_for_calls(&server, 0);
    assert!(metrics.sum(DISCARDED, &["reason=\"unknown_source\""]) > 4_000.0);
}

#[test]
fn cve_2021_41105_srtp_with_wrong_tags_from_the_peers_own_address_ends_no_call() {
    let server = start("");
    let live = Live::start(&server);
    let mut relay = None;
    let browser =
        Browser::call_by_way_of(&server, "9197", |port| relay.insert(Relay::start(port)).port);
    let relay = relay.unwrap();
    assert!(browser.hear(Duration::from_millis(500)) > 20);
    let mut packet = rtp(0);
    packet[1] = 111;
    for n in 0..5_000_u16 {
        packet[2..4].copy_from_slice(&n.to_be_bytes());
        relay.inner.send_to(&packet, relay.server).unwrap();
        // SRTCP, and DTLS records that belong to nothing.
        let packet = if n % 2 == 0 { &[0x80, 200, 0, 6][..] } else { &[23, 0xfe, 0xfd, 0, 1] };
        relay.inner.send_to(&[packet, &[n as u8; 60]].concat(), relay.server).unwrap();
        if n % 50 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    browser.check();
    browser.hang_up();
    live.finish();
    let metrics = wait_for_calls(&server, 0);
    let wrong = metrics.sum(DISCARDED, &["reason=\"srtp_auth\""]);
    assert!(wrong > 4_000.0, "{wrong} of 5,000 wrong tags are counted");
    assert_eq!(metrics.sum("sidetone_calls_ended_total", &["cause=\"caller\""]), 2.0);
}

#[test]
fn a_checked_peer_that_speaks_no_dtls_harms_only_its_own_call() {
    let server = start("[media]\nconnect_timeout_s = 3\n");
    let live = Live::start(&server);
    let webrtc = WebRtcCall::place(&server);
    let username = format!("{}:{}", webrtc.ice("ice-ufrag"), sdp::UFRAG);
    let peer = stranger([127, 0, 0, 3]);
    peer.send_to(&binding(&username, &webrtc.ice("ice-pwd"), None), webrtc.port).unwrap();
    assert!(received(&peer) > 0, "the check is answered");
    let mut rng = StdRng::seed_from_u64(51443);
    let mut sent = 0;
    for n in 0..6_000_u32 {
        let packet = match n % 3 {
            0 => fuzz(&mut rng),
            1 => client_hello(n, 0),
            _ => {
                let mut hello = client_hello(7, 0xc02b);
                let at = rng.random_range(13..hello.len());
                hello[at] = rng.random();
                hello
            }
        };
        sent += packet.len();
        peer.send_to(&packet, webrtc.port).unwrap();
        if n % 20 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let back = received(&peer);
    assert!(back < 3 * sent, "{sent} bytes bring {back}");
    live.finish();
    let metrics = wait_for_calls(&server, 0);
    assert_eq!(metrics.sum("sidetone_calls_ended_total", &["cause=\"no_media\""]), 1.0);
    assert_eq!(metrics.sum("sidetone_media_shards", &["state=\"dead\""]), 0.0);
}

/// Carries media between a browser and the server, so that the server sees one address for both.
struct Relay {
    /// Where the browser sends to.
    port: SocketAddr,
    server: SocketAddr,
    /// What the server sees.
    inner: UdpSocket,
}

impl Relay {
    fn start(server: SocketAddr) -> Self {
        let (outer, inner) = (stranger([127, 0, 0, 1]), stranger([127, 0, 0, 1]));
        let port = outer.local_addr().unwrap();
        let mut browser = None;
        let (from_outer, to_inner) = (outer.try_clone().unwrap(), inner.try_clone().unwrap());
        let (known, knows) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while let Ok((length, from)) = from_outer.recv_from(&mut buffer) {
                if browser.replace(from) != Some(from) && known.send(from).is_err() {
                    return;
                }
                let _ = to_inner.send_to(&buffer[..length], server);
            }
        });
        let from_inner = inner.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            let mut browser = None;
            while let Ok(length) = from_inner.recv(&mut buffer) {
                browser = knows.try_iter().last().or(browser);
                if let Some(browser) = browser {
                    let _ = outer.send_to(&buffer[..length], browser);
                }
            }
        });
        Relay { port, server, inner }
    }
}

/// A call from a browser that sends no packet of its own.
struct WebRtcCall {
    agent: Agent,
    invite: Request,
    answer: String,
    port: SocketAddr,
}

impl WebRtcCall {
    fn place(server: &Server) -> Self {
        let mut agent = Agent::udp(server.address("udp"));
        let invite = Request::new("INVITE", "9197").body(sdp::webrtc());
        let answer = agent.ask(&invite);
        assert_eq!(status(&answer), 200, "{answer}");
        let ack = Request { to_tag: to_tag(&answer), ..invite.same_transaction("ACK") };
        agent.send(&ack.bytes(&agent));
        let port = sdp::rtp_address(&answer).unwrap();
        WebRtcCall { agent, invite, answer, port }
    }

    fn ice(&self, name: &str) -> String {
        sdp::attribute(&self.answer, name).unwrap().to_owned()
    }

    /// Ends the call, unless the server gave up waiting for media.
    fn hang_up(mut self) {
        let branch = crate::request::fresh("z9hG4bK");
        let to_tag = to_tag(&self.answer);
        let bye = Request { to_tag, cseq: 2, branch, ..self.invite.same_transaction("BYE") };
        assert!([200, 481].contains(&status(&self.agent.ask(&bye))));
    }
}

fn stranger(ip: [u8; 4]) -> UdpSocket {
    UdpSocket::bind((IpAddr::from(ip), 0)).unwrap()
}

/// The bytes that have come to a socket or come soon.
fn received(socket: &UdpSocket) -> usize {
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let end = Instant::now() + Duration::from_secs(1);
    let mut bytes = 0;
    while Instant::now() < end
        && let Ok(length) = socket.recv(&mut [0; 65_536])
    {
        bytes += length;
    }
    bytes
}

/// A packet of 0 to 64 or of more than 1500 bytes that begins like RTP, RTCP, STUN, DTLS or nothing.
fn fuzz(rng: &mut StdRng) -> Vec<u8> {
    let length = if rng.random_ratio(1, 8) {
        rng.random_range(1_500..4_000)
    } else {
        rng.random_range(0..=64)
    };
    let mut packet: Vec<u8> = (0..length).map(|_| rng.random()).collect();
    let start: &[u8] = match rng.random_range(0..7) {
        0 => &[0x80, 0],
        1 => &[0x9f, 0x80],
        2 => &[0x81, 200, 0, 1],
        3 => &[0xbf, 205, 0xff, 0xff],
        4 => &[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42],
        5 => &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 1],
        _ => &[],
    };
    packet.iter_mut().zip(start).for_each(|(byte, value)| *byte = *value);
    packet
}

/// A Binding request with a user name, perhaps an attribute nobody knows, and integrity.
fn binding(username: &str, password: &str, more: Option<u16>) -> Vec<u8> {
    let provider = RingProvider::new();
    let mut message = Message::new();
    let integrity = MessageIntegrity::new_short_term_integrity_with_provider(
        password.to_owned(),
        provider.crypto(),
    );
    message.build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId([7; 12]))]).unwrap();
    TextAttribute::new(ATTR_USERNAME, username.to_owned()).add_to(&mut message).unwrap();
    if let Some(kind) = more {
        message.add(AttrType(kind), &[0; 4]);
    }
    integrity.add_to(&mut message).unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

fn damaged(mut packet: Vec<u8>) -> Vec<u8> {
    packet[30] ^= 1;
    packet
}

/// The first flight of a client that offers one cipher suite (RFC 6347 §4.2).
fn client_hello(seed: u32, cipher_suite: u16) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend(seed.to_be_bytes().repeat(8));
    body.extend([0, 0, 0, 2]);
    body.extend(cipher_suite.to_be_bytes());
    // No compression; use_srtp with AES128_CM_SHA1_80 (RFC 5764 §4.1.1).
    body.extend([1, 0, 0, 9, 0, 14, 0, 5, 0, 2, 0, 1, 0]);
    let length = (body.len() as u32).to_be_bytes();
    let mut handshake = vec![1, length[1], length[2], length[3], 0, 0, 0, 0, 0];
    handshake.extend([length[1], length[2], length[3]]);
    handshake.extend(body);
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend((handshake.len() as u16).to_be_bytes());
    record.extend(handshake);
    record
}

const DISCARDED: &str = "sidetone_rtp_packets_discarded_total";
