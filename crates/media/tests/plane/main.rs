//! The media plane with real threads and sockets, on loopback: few tests, each of what only the
//! system can show.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "test code")]

mod crowd;
mod peer;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use media::{
    codec::Codec,
    net::{LegHandle, MediaConfig, MediaPlane, OpenError, PortMap, StartError},
    prompt::Track,
    rtp::{Header, Packet, PayloadType, RtpTimestamp, SequenceNumber, Ssrc},
    sdp::{self, Capabilities, Direction, Negotiated, SessionDescription},
    shard::{Command, LegEvent, LegKind, LegParameters, PlayEnd, PlayToken, Repeat},
};
use peer::Peer;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn config(shards: u16, addresses: Vec<IpAddr>) -> MediaConfig {
    MediaConfig { shards, addresses, webrtc_port: 0, ..MediaConfig::default() }
}

fn offer(address: SocketAddr) -> Negotiated {
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    let (ip, port) = (address.ip(), address.port());
    let text = format!(
        "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
    );
    let offer = sdp::parse(text.as_bytes()).unwrap();
    sdp::negotiate(&offer, &Capabilities::default()).unwrap()
}

/// A phone on a socket of its own.
struct Phone {
    socket: UdpSocket,
    leg: LegHandle,
}

impl Phone {
    fn new(plane: &MediaPlane, host: IpAddr, shard: Option<u16>) -> Self {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut parameters = LegParameters::answering(offer(socket.local_addr().unwrap()));
        parameters.signalling_remote = Some(host);
        parameters.shard = shard;
        let leg = plane.open(parameters).unwrap();
        Self { socket, leg }
    }

    fn say(&self, n: u16) {
        let header = Header {
            marker: n == 0,
            payload_type: PayloadType(0),
            sequence_number: SequenceNumber(n),
            timestamp: RtpTimestamp(u32::from(n) * 160),
            ssrc: Ssrc(77),
        };
        let packet = [&header.to_bytes()[..], &[n as u8; 160]].concat();
        let to = SocketAddr::new(self.leg.local.address, self.leg.local.rtp_port);
        self.socket.send_to(&packet, to).unwrap();
    }

    /// The first payload byte of the next RTP packet.
    fn hear(&self) -> u8 {
        let mut buffer = [0; 2000];
        let (len, from) = self.socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from.port(), self.leg.local.rtp_port, "symmetric RTP");
        Packet::parse(&buffer[..len]).unwrap().payload()[0]
    }
}

fn track(frames: u8) -> Arc<Track> {
    let frame = |n| Bytes::from(vec![n; 160]);
    Arc::new(Track { codec: Codec::Pcmu, frames: (0..frames).map(frame).collect() })
}

fn play(leg: &LegHandle, frames: u8) {
    let (repeat, token) = (Repeat::Once, PlayToken(1));
    leg.command(Command::Play { track: track(frames), repeat, token }).unwrap();
}

fn wait_for(leg: &mut LegHandle, which: impl Fn(&LegEvent) -> bool) -> LegEvent {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match leg.events.try_recv() {
            Ok(event) if which(&event) => return event,
            Ok(_) => {}
            Err(tokio::sync::mpsc::error::TryRecvError::Disconnected) => panic!("events ended"),
            Err(tokio::sync::mpsc::error::TryRecvError::Empty) => {
                assert!(Instant::now() < end, "the event did not come");
                std::thread::yield_now();
            }
        }
    }
}

/// What a browser with this ICE user name fragment describes.
fn browser(ufrag: &str) -> sdp::SessionDescription {
    let fingerprint = vec!["AB"; 32].join(":");
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-mux\r\na=mid:0\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789abcdef012345\r\na=setup:active\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\n"
    );
    sdp::parse(text.as_bytes()).unwrap()
}

#[test]
fn rfc8839_4_4_only_an_offer_restarts_ice() {
    let plane = MediaPlane::start(config(1, vec![LOOPBACK])).unwrap();
    let mut leg = plane.open(LegParameters::offering(LegKind::WebRtc)).unwrap();
    let capabilities = Capabilities::default();
    let ours = |leg: &LegHandle| leg.local.ice.clone().unwrap().ufrag;
    let offered = ours(&leg);
    for fork in ["forkA", "forkB"] {
        leg.update(sdp::negotiate_answer(&browser(fork), &capabilities).unwrap(), None).unwrap();
        assert_eq!(ours(&leg), offered, "all forks answer the same offer");
    }
    leg.update(sdp::negotiate(&browser("forkB"), &capabilities).unwrap(), None).unwrap();
    assert_eq!(ours(&leg), offered, "the same again");
    leg.update(sdp::negotiate(&browser("restarted"), &capabilities).unwrap(), None).unwrap();
    let restarted = ours(&leg);
    assert_ne!(restarted, offered);
    leg.update(sdp::negotiate(&browser("forkB"), &capabilities).unwrap(), None).unwrap();
    assert_eq!(ours(&leg), offered, "the restart is taken back");
    leg.update(sdp::negotiate(&browser("again"), &capabilities).unwrap(), None).unwrap();
    assert!(![offered, restarted].contains(&ours(&leg)));
}

/// Its sockets are bound to no address, so its media comes from the one that it goes to.
#[test]
fn a_phone_on_our_machine_that_signals_another_address_of_it_is_heard() {
    let ours = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let plane = MediaPlane::start(config(1, vec![ours])).unwrap();
    let socket = UdpSocket::bind((ours, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let signalled = SocketAddr::new(LOOPBACK, socket.local_addr().unwrap().port());
    let mut parameters = LegParameters::answering(offer(signalled));
    (parameters.signalling_remote, parameters.signalling_local) = (Some(LOOPBACK), Some(LOOPBACK));
    let phone = Phone { socket, leg: plane.open(parameters).unwrap() };
    phone.leg.command(Command::Echo { delay: None }).unwrap();
    phone.say(0);
    assert_eq!(phone.hear(), 0);
    plane.shutdown();
}

#[test]
fn a_phone_hears_a_prompt_over_ipv4_and_ipv6() {
    let hosts = vec![LOOPBACK, IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let plane = MediaPlane::start(config(1, hosts.clone())).unwrap();
    for host in hosts {
        let mut phone = Phone::new(&plane, host, None);
        assert_eq!(phone.leg.local.address, host);
        assert_eq!(phone.leg.local.rtp_port % 2, 0);
        play(&phone.leg, 10);
        assert_eq!((0..10).map(|_| phone.hear()).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        let done = wait_for(&mut phone.leg, |e| matches!(e, LegEvent::PlayDone { .. }));
        assert_eq!(done, LegEvent::PlayDone { token: PlayToken(1), end: PlayEnd::Completed });
        phone.leg.command(Command::Close).unwrap();
        let closed = wait_for(&mut phone.leg, |event| matches!(event, LegEvent::Closed(_)));
        let LegEvent::Closed(statistics) = closed else { unreachable!() };
        assert_eq!((statistics.packets_out, statistics.bytes_out), (10, 1600));
    }
    plane.shutdown();
    assert_eq!(plane.counters().shards_alive, 0);
}

#[test]
fn a_phone_hears_its_echo() {
    let plane = MediaPlane::start(config(1, vec![LOOPBACK])).unwrap();
    let phone = Phone::new(&plane, LOOPBACK, None);
    phone.leg.command(Command::Echo { delay: None }).unwrap();
    for n in 0..50 {
        phone.say(n);
        assert_eq!(phone.hear(), n as u8);
    }
}

#[test]
fn two_phones_hear_each_other_with_one_shard_and_with_three() {
    for shards in [1, 3] {
        let plane = MediaPlane::start(config(shards, vec![LOOPBACK])).unwrap();
        let a = Phone::new(&plane, LOOPBACK, Some(0));
        let b = Phone::new(&plane, LOOPBACK, Some(shards - 1));
        a.leg.command(Command::Bridge { peer: b.leg.id }).unwrap();
        b.leg.command(Command::Bridge { peer: a.leg.id }).unwrap();
        for n in 0..50 {
            a.say(n);
            assert_eq!(b.hear(), n as u8);
            b.say(n + 100);
            assert_eq!(a.hear(), n as u8 + 100);
        }
        let counters = plane.counters();
        assert_eq!(counters.shards.len(), usize::from(shards));
        assert_eq!(counters.shards_alive, usize::from(shards));
    }
}

#[test]
fn ports_and_legs_are_bounded_and_come_back() {
    let free = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
    let first = free.min(65_000).next_multiple_of(2);
    let range = first..=first + 7;
    let few = MediaConfig { rtp_ports: range, ..config(1, vec![LOOPBACK]) };
    let plane = MediaPlane::start(few).unwrap();
    let address = SocketAddr::new(LOOPBACK, 9);
    let open = || plane.open(LegParameters::answering(offer(address)));
    let mut legs = Vec::new();
    let error = loop {
        match open() {
            Ok(leg) => legs.push(leg),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, OpenError::PortsExhausted { .. }), "{error}");
    assert!(legs.len() <= 4 && legs.len() >= 3);
    assert_eq!(plane.counters().port_pairs_used, legs.len());
    // A leg that is dropped gives its ports back.
    legs.clear();
    let end = Instant::now() + Duration::from_secs(10);
    while plane.counters().port_pairs_used > 0 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    assert!(open().is_ok());

    let one = MediaConfig { legs_max: 1, ..config(1, vec![LOOPBACK]) };
    let plane = MediaPlane::start(one).unwrap();
    let first = plane.open(LegParameters::answering(offer(address))).unwrap();
    let second = plane.open(LegParameters::answering(offer(address)));
    assert!(matches!(second, Err(OpenError::LegsExhausted { legs_max: 1 })));
    drop(first);
}

#[test]
fn a_leg_that_closes_as_another_opens_still_says_what_it_carried() {
    let plane = MediaPlane::start(config(1, vec![LOOPBACK])).unwrap();
    let mut phone = Phone::new(&plane, LOOPBACK, None);
    for _ in 0..500 {
        phone.leg.command(Command::Close).unwrap();
        let next = Phone::new(&plane, LOOPBACK, None);
        wait_for(&mut phone.leg, |event| matches!(event, LegEvent::Closed(_)));
        phone = next;
    }
    plane.shutdown();
}

#[test]
fn mistakes_are_refused_in_one_sentence() {
    let none = MediaPlane::start(config(0, vec![LOOPBACK]));
    assert!(matches!(none, Err(StartError::Shards(0))));
    assert!(matches!(MediaPlane::start(config(1, vec![])), Err(StartError::NoAddress)));
    let taken = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let webrtc_port = taken.local_addr().unwrap().port();
    let config_taken = MediaConfig { webrtc_port, ..config(1, vec![LOOPBACK]) };
    let error = MediaPlane::start(config_taken).unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{webrtc_port}")), "{error}");
    let plane = MediaPlane::start(config(1, vec![LOOPBACK])).unwrap();
    let v6 = offer("[::1]:4000".parse().unwrap());
    let error = plane.open(LegParameters::answering(v6)).unwrap_err();
    assert!(matches!(error, OpenError::NoAddress(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_connection_of_webrtc_hears_a_prompt_and_its_echo() {
    let plane = MediaPlane::start(config(1, vec![LOOPBACK])).unwrap();
    let peer = Peer::new().await;
    let offer = sdp::parse(peer.offer().await.as_bytes()).unwrap();
    let negotiated = sdp::negotiate(&offer, &Capabilities::default()).unwrap();
    assert_eq!(negotiated.codec, Codec::Opus);
    let mut leg = plane.open(LegParameters::answering(negotiated.clone())).unwrap();
    let answer = negotiated.answer(&leg.local.describe(1, 1, Direction::SendRecv));
    let frames = (0..50_u8).map(|n| Bytes::from(vec![0xf8, 0xff, n])).collect();
    let track = Arc::new(Track { codec: Codec::Opus, frames });
    let (repeat, token) = (Repeat::Once, PlayToken(1));
    leg.command(Command::Play { track, repeat, token }).unwrap();
    peer.accept(answer).await;

    let mut done = false;
    let mut connected = None;
    while !done {
        let event = tokio::time::timeout(Duration::from_secs(20), leg.events.recv());
        match event.await.unwrap().unwrap() {
            LegEvent::Connected { profile, .. } => connected = Some(profile),
            LegEvent::PlayDone { end: PlayEnd::Completed, .. } => done = true,
            LegEvent::Failed { reason } => panic!("{reason:?}"),
            _ => {}
        }
    }
    assert_eq!(connected, Some(media::srtp::SrtpProfile::AeadAes128Gcm));
    let heard = peer.heard(50).await;
    let expected: Vec<_> = (0..50_u8).map(|n| vec![0xf8, 0xff, n]).collect();
    assert_eq!(heard, expected, "every frame from the first one, in order");

    leg.command(Command::Echo { delay: None }).unwrap();
    for n in 100..150_u8 {
        peer.say(vec![0xf8, 0xff, n]).await;
        assert_eq!(peer.heard(1).await, [vec![0xf8, 0xff, n]]);
    }
    peer.close().await;
    let end = Duration::from_secs(20);
    let closed = tokio::time::timeout(end, async {
        while let Some(event) = leg.events.recv().await {
            if matches!(event, LegEvent::Failed { .. } | LegEvent::Quiet { .. }) {
                return;
            }
        }
    });
    closed.await.unwrap();
}

#[test]
fn a_leg_behind_a_nat_says_the_mapped_address_and_a_browser_is_told_both() {
    let outside = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    let mut config = config(1, vec![LOOPBACK]);
    config.advertised = [(LOOPBACK, outside)].into();
    let first = *config.rtp_ports.start();
    let range = format!("{first}-{}:40001", config.rtp_ports.end().min(&(first + 20_000)));
    config.external_ports = PortMap::new(vec![range.parse().unwrap()]);
    let plane = MediaPlane::start(config.clone()).unwrap();
    let phone = Phone::new(&plane, LOOPBACK, None);
    let local = &phone.leg.local;
    assert_eq!((local.address, local.rtcp_port), (outside, local.rtp_port + 1));
    assert!(local.rtp_port >= 40_001, "{}", local.rtp_port);
    let browser = plane.open(LegParameters::offering(media::shard::LegKind::WebRtc)).unwrap();
    let candidates = browser.local.ice.as_ref().unwrap().candidates.clone();
    let bound = plane.webrtc_addresses()[0][0];
    let mapped = SocketAddr::new(outside, config.external_ports.outside(bound.port()));
    assert_eq!(candidates, [mapped, bound]);
    assert_eq!((browser.local.address, browser.local.rtp_port), (outside, mapped.port()));
    plane.shutdown();
}

/// A phone that takes SRTP with the key of a line, and what of keys may be done with it.
fn with_key(crypto: &str) -> (SessionDescription, Capabilities) {
    let text =
        format!("v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\na=crypto:{crypto}\r\n");
    let security = sdp::Security::Optional;
    let capabilities = Capabilities { security, is_confidential: true, ..Default::default() };
    (sdp::parse(text.as_bytes()).unwrap(), capabilities)
}

#[test]
fn rfc4568_5_1_3_every_fork_may_choose_among_the_keys_that_were_offered() {
    let plane = MediaPlane::start(config(1, vec![LOOPBACK])).unwrap();
    let mut leg = plane.open(LegParameters::offering(LegKind::Plain)).unwrap();
    let offered = leg.local.sdes.clone();
    let [gcm, counter_mode] = [
        "1 AEAD_AES_128_GCM inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpXw==",
        "2 AES_CM_128_HMAC_SHA1_80 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj",
    ];
    for fork in [counter_mode, gcm, counter_mode] {
        let (answer, capabilities) = with_key(fork);
        leg.update(sdp::negotiate_answer(&answer, &capabilities).unwrap(), None).unwrap();
        assert_eq!(leg.local.sdes, offered);
    }
    plane.shutdown();
}

#[test]
fn rfc4568_7_1_4_a_key_of_ours_that_was_left_is_never_used_again() {
    let plane = MediaPlane::start(config(1, vec![LOOPBACK])).unwrap();
    let negotiated = |crypto: &str| {
        let (offer, capabilities) = with_key(crypto);
        sdp::negotiate(&offer, &capabilities).unwrap()
    };
    let counter_mode =
        negotiated("1 AES_CM_128_HMAC_SHA1_80 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj");
    let gcm = negotiated("1 AEAD_AES_128_GCM inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpXw==");
    let mut leg = plane.open(LegParameters::answering(counter_mode.clone())).unwrap();
    let keys = |leg: &LegHandle| leg.local.sdes.clone();
    let first = keys(&leg);
    assert_eq!(first.len(), sdp::SDES_PROFILES.len());
    leg.update(counter_mode.clone(), None).unwrap();
    assert_eq!(keys(&leg), first, "the key in use stays");
    leg.update(gcm, None).unwrap();
    let profile = counter_mode.crypto.as_ref().unwrap().key.profile();
    for (before, after) in first.iter().zip(keys(&leg)) {
        assert_eq!(*before == after, before.profile() != profile, "{profile:?}");
    }
    plane.shutdown();
}

#[test]
fn rfc4568_7_1_4_a_peer_that_moves_with_a_new_key_is_told_a_new_one_of_ours() {
    let plane = MediaPlane::start(config(1, vec![LOOPBACK])).unwrap();
    let negotiated = |key: &str, port: u16| {
        let (offer, capabilities) = with_key(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{key}"));
        let mut negotiated = sdp::negotiate(&offer, &capabilities).unwrap();
        if let sdp::RemoteMedia::Plain { rtp, .. } = &mut negotiated.remote {
            rtp.set_port(port);
        }
        negotiated
    };
    let [one, other] =
        ["NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj", "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"];
    let mut leg = plane.open(LegParameters::answering(negotiated(one, 4000))).unwrap();
    let first = leg.local.sdes.clone();
    let mut told = |key, port| {
        leg.update(negotiated(key, port), None).unwrap();
        leg.local.sdes.clone()
    };
    assert_eq!(told(one, 4002), first, "the same key elsewhere");
    assert_eq!(told(other, 4002), first, "another key at the same place");
    let moved = told(one, 4004);
    let changed = first.iter().zip(&moved).filter(|(before, after)| before != after);
    assert_eq!(changed.count(), 1, "another key elsewhere");
    assert_eq!(told(one, 4004), moved, "a refresh");
    assert_eq!(told(other, 4002), first, "taken back");
    plane.shutdown();
}
