//! Peers and a network for a shard, on virtual time.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use media::{
    codec::Codec,
    dtls::{Association, AssociationEvent, Certificate, Configs},
    prompt::Track,
    rtp::{ExtendedSequenceNumber, Header, Packet, PayloadType, RtpTimestamp, Ssrc},
    sdp::{Capabilities, DtlsRole, Fingerprint, Negotiated, RemoteMedia, RemoteWebRtc},
    shard::{
        Command, IceCredentials, LegEvent, LegId, LegKey, LegParameters, Media, OpenLeg,
        PACKET_BYTES_MAX, PacketBuffer, Path, PlayToken, Repeat, Shard, ShardConfig, StreamId,
        Transmits,
    },
    srtp::{InboundSrtp, KeyingMaterial, OutboundSrtp, SrtpProfile, TAG_BYTES_MAX},
};
use rtc::{
    crypto::{RTCCryptoProvider, providers::RingProvider},
    stun::{
        attributes::{ATTR_USERNAME, AttrType},
        fingerprint::FINGERPRINT,
        integrity::MessageIntegrity,
        message::{BINDING_REQUEST, Message, Setter, TransactionId},
        textattrs::TextAttribute,
    },
};

pub const PCMU: PayloadType = PayloadType(0);
pub const DTMF: PayloadType = PayloadType(101);

/// What a shard sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub path: Path,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
    pub at: Instant,
}

/// A media payload that one shard hands to another.
pub struct Handed {
    pub peer: LegId,
    pub number: u64,
    pub media: (media::shard::MediaKind, StreamId, RtpTimestamp, bool, Vec<u8>),
}

/// Collects what a shard sends.
pub struct Wire {
    pub sent: VecDeque<Sent>,
    pub handed: VecDeque<Handed>,
    pub ring_room: usize,
    now: Instant,
    buffer: Vec<u8>,
}

impl Transmits for Wire {
    fn send(&mut self, path: Path, to: SocketAddr, head: &[u8], payload: &[u8]) {
        let bytes = [head, payload].concat();
        self.sent.push_back(Sent { path, to, bytes, at: self.now });
    }

    fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    fn queue(&mut self, path: Path, to: SocketAddr, len: usize) {
        let bytes = self.buffer[..len].to_vec();
        self.sent.push_back(Sent { path, to, bytes, at: self.now });
    }

    fn forward(&mut self, peer: LegId, media: &Media<'_>) -> bool {
        if self.handed.len() >= self.ring_room {
            return false;
        }
        let Media { kind, stream, number, timestamp, marker, payload } = *media;
        let media = (kind, stream, timestamp, marker, payload.to_vec());
        self.handed.push_back(Handed { peer, number: number.0, media });
        true
    }
}

/// One shard with its clock and its network.
pub struct World {
    pub shard: Shard,
    pub wire: Wire,
    pub now: Instant,
    pub start: Instant,
    pub events: Vec<(LegKey, LegEvent)>,
    pub certificate: Certificate,
    number: u16,
    serial: u64,
}

impl World {
    pub fn new() -> Self {
        Self::numbered(0)
    }

    pub fn numbered(number: u16) -> Self {
        let certificate = Certificate::generate().unwrap();
        let start = Instant::now();
        let configs = Configs::new(&certificate).unwrap();
        let config = ShardConfig::new(number, configs, start, 0x1234_5678 << 32);
        let wire = Wire {
            sent: VecDeque::new(),
            handed: VecDeque::new(),
            ring_room: 1000,
            now: start,
            buffer: vec![0; PACKET_BYTES_MAX],
        };
        let shard = Shard::new(config, 42);
        let serial = 1000 * u64::from(number);
        Self { shard, wire, now: start, start, events: vec![], certificate, number, serial }
    }

    pub fn open(
        &mut self,
        parameters: LegParameters,
        ice: Option<IceCredentials>,
    ) -> (LegKey, LegId) {
        self.serial += 1;
        let (serial, shard) = (self.serial, self.number);
        let ssrc = 0x5151_0000 + serial as u32;
        let local = parameters.signalling_local;
        let cname = "cname".into();
        let open = OpenLeg { serial, parameters, ssrc, cname, local, earlier: None, ice };
        let key = self.shard.open(open, self.now);
        self.settle();
        (key, LegId { shard, serial })
    }

    /// A plain leg whose peer signals `rtp` from `signalling`.
    pub fn open_plain(&mut self, rtp: &str, signalling: &str) -> (LegKey, LegId) {
        let mut parameters = LegParameters::answering(plain(rtp));
        parameters.signalling_remote = Some(signalling.parse().unwrap());
        self.open(parameters, None)
    }

    pub fn command(&mut self, key: LegKey, command: Command) {
        self.shard.handle_command(key, command, self.now, &mut self.wire);
        self.settle();
    }

    pub fn play(&mut self, key: LegKey, track: &Arc<Track>, repeat: Repeat, token: u64) {
        let (track, token) = (Arc::clone(track), PlayToken(token));
        self.command(key, Command::Play { track, repeat, token });
    }

    pub fn packet(&mut self, path: Path, from: SocketAddr, bytes: &[u8]) {
        let mut buffer = PacketBuffer::from_datagram(bytes);
        self.shard.handle_packet(path, from, &mut buffer, self.now, &mut self.wire);
        self.settle();
    }

    /// Lets time pass, visiting every moment at which the shard wants to be called.
    pub fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
        self.wire.now = end;
    }

    /// Visits the next moment until `end` at which the shard wants to be called; `false` if there is
    /// none.
    pub fn step(&mut self, end: Instant) -> bool {
        let Some(due) = self.shard.poll_timeout().filter(|due| *due <= end) else { return false };
        self.now = self.now.max(due);
        self.wire.now = self.now;
        self.shard.handle_timeout(self.now, &mut self.wire);
        self.settle();
        true
    }

    pub fn advance_ms(&mut self, milliseconds: u64) {
        self.advance(Duration::from_millis(milliseconds));
    }

    /// Hands what waits in the ring to another shard.
    pub fn hand_over(&mut self, there: &mut World) {
        for handed in self.wire.handed.drain(..) {
            let (kind, stream, timestamp, marker, payload) = handed.media;
            let number = ExtendedSequenceNumber(handed.number);
            let media = Media { kind, stream, number, timestamp, marker, payload: &payload };
            there.shard.handle_forwarded(handed.peer.serial, &media, there.now, &mut there.wire);
        }
        there.settle();
    }

    fn settle(&mut self) {
        while let Some(event) = self.shard.poll_event() {
            self.events.push(event);
        }
    }

    /// Takes what was sent so far.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        self.wire.sent.drain(..).collect()
    }

    /// Takes the RTP that left by a path so far; the rest is dropped.
    pub fn take_rtp(&mut self, path: Path) -> Vec<Rtp> {
        let sent = self.take_sent();
        let of_path = sent.iter().filter(|sent| sent.path == path);
        of_path.filter_map(|sent| Rtp::read(&sent.bytes, sent.to, sent.at)).collect()
    }

    pub fn events_of(&self, key: LegKey) -> Vec<LegEvent> {
        let of_leg = self.events.iter().filter(|(of, _)| *of == key);
        of_leg.map(|(_, event)| event.clone()).collect()
    }
}

/// An RTP packet as a receiver sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rtp {
    pub marker: bool,
    pub payload_type: PayloadType,
    pub number: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: Vec<u8>,
    pub to: SocketAddr,
    pub at: Instant,
}

impl Rtp {
    pub fn read(bytes: &[u8], to: SocketAddr, at: Instant) -> Option<Self> {
        if media::rtp::is_rtcp(bytes) {
            return None;
        }
        let packet = Packet::parse(bytes).ok()?;
        Some(Self {
            marker: packet.is_marked(),
            payload_type: packet.payload_type(),
            number: packet.sequence_number().0,
            timestamp: packet.timestamp().0,
            ssrc: packet.ssrc().0,
            payload: packet.payload().to_vec(),
            to,
            at,
        })
    }
}

pub fn rtp(
    payload_type: PayloadType,
    ssrc: u32,
    number: u64,
    timestamp: u32,
    payload: &[u8],
) -> Vec<u8> {
    let header = Header {
        marker: false,
        payload_type,
        sequence_number: ExtendedSequenceNumber(number).sequence_number(),
        timestamp: RtpTimestamp(timestamp),
        ssrc: Ssrc(ssrc),
    };
    [&header.to_bytes()[..], payload].concat()
}

pub fn negotiated(remote: RemoteMedia) -> Negotiated {
    described("a=rtpmap:101 telephone-event/8000\r\n", "0 101", remote)
}

pub fn plain(rtp: &str) -> Negotiated {
    let rtp: SocketAddr = rtp.parse().unwrap();
    let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
    negotiated(RemoteMedia::Plain { rtp, rtcp, rtcp_mux: false })
}

/// A plain leg of a codec, with DTMF events.
pub fn speaking(codec: Codec, rtp: &str) -> Negotiated {
    let rtp: SocketAddr = rtp.parse().unwrap();
    let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
    let rate = codec.clock_rate_hz();
    described(
        &format!("a=rtpmap:96 {codec}\r\na=rtpmap:101 telephone-event/{rate}\r\n"),
        "96 101",
        RemoteMedia::Plain { rtp, rtcp, rtcp_mux: false },
    )
}

/// What is agreed on after an offer with these formats and attributes.
pub fn described(attributes: &str, formats: &str, remote: RemoteMedia) -> Negotiated {
    let offer = format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP {formats}\r\n{attributes}"
    );
    let offer = media::sdp::parse(offer.as_bytes()).unwrap();
    let mut negotiated = media::sdp::negotiate(&offer, &Capabilities::default()).unwrap();
    negotiated.remote = remote;
    negotiated
}

/// A track whose every frame tells its place.
pub fn track(frames: u8) -> Arc<Track> {
    let frame = |n| Bytes::from(vec![n; 160]);
    Arc::new(Track { codec: Codec::Pcmu, frames: (0..frames).map(frame).collect() })
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A WebRTC peer: sends checks, shakes hands as a DTLS client, speaks SRTP.
pub struct Browser {
    pub local: IceCredentials,
    pub ours: IceCredentials,
    pub address: SocketAddr,
    pub association: Association,
    pub certificate: Certificate,
    pub profile: Option<SrtpProfile>,
    pub outbound: Option<OutboundSrtp>,
    pub inbound: Option<InboundSrtp>,
    pub received: Vec<Rtp>,
    pub unreadable: usize,
    pub stun_answers: usize,
    pub rtp_before_keys: usize,
    sent: u64,
}

impl Browser {
    pub fn new(world: &World, address: &str) -> Self {
        let certificate = Certificate::generate().unwrap();
        let configs = Configs::new(&certificate).unwrap();
        let expected = vec![world.certificate.fingerprint()];
        let association = Association::new(configs, DtlsRole::Active, expected);
        let credentials = |name: &str| IceCredentials {
            ufrag: format!("{name}{}", address.len()),
            pwd: format!("password of {name} at {address}"),
        };
        Self {
            local: IceCredentials {
                ufrag: format!("us{}", address.replace([':', '.', '[', ']'], "")),
                ..credentials("us")
            },
            ours: credentials("them"),
            address: address.parse().unwrap(),
            association,
            certificate,
            profile: None,
            outbound: None,
            inbound: None,
            received: vec![],
            unreadable: 0,
            stun_answers: 0,
            rtp_before_keys: 0,
            sent: 0,
        }
    }

    pub fn description(&self, fingerprint: Fingerprint) -> Negotiated {
        negotiated(RemoteMedia::WebRtc(RemoteWebRtc {
            ufrag: self.ours.ufrag.clone(),
            pwd: self.ours.pwd.clone(),
            fingerprints: vec![fingerprint],
            role: DtlsRole::Passive,
            leaves_role_open: true,
            candidates: vec![],
            is_lite: false,
        }))
    }

    pub fn open(&self, world: &mut World) -> (LegKey, LegId) {
        let description = self.description(self.certificate.fingerprint());
        world.open(LegParameters::answering(description), Some(self.local.clone()))
    }

    pub fn check_bytes(&self, attributes: &[u16]) -> Vec<u8> {
        let username = format!("{}:{}", self.local.ufrag, self.ours.ufrag);
        check(&username, &self.local.pwd, attributes)
    }

    pub fn check(&mut self, world: &mut World, nominate: bool) {
        let attributes: &[u16] = if nominate { &[0x0025] } else { &[] };
        let bytes = self.check_bytes(attributes);
        world.packet(Path::Shared(0), self.address, &bytes);
        self.read(world);
    }

    /// Takes in what was sent to it and answers handshakes, until both are silent.
    pub fn read(&mut self, world: &mut World) {
        loop {
            let address = self.address;
            let (mine, rest): (Vec<Sent>, Vec<Sent>) =
                world.take_sent().into_iter().partition(|sent| sent.to == address);
            world.wire.sent.extend(rest);
            for sent in mine {
                self.take(sent, world.now);
            }
            let datagrams = self.association.take_transmits();
            if datagrams.is_empty() {
                return;
            }
            for datagram in datagrams {
                world.packet(Path::Shared(0), address, &datagram);
            }
        }
    }

    pub fn take(&mut self, sent: Sent, now: Instant) {
        match sent.bytes[0] {
            0..=3 => self.stun_answers += 1,
            20..=63 => {
                let event = self.association.handle_datagram(&sent.bytes, now);
                if let Some(AssociationEvent::Connected { profile, keys }) = event {
                    self.keyed(profile, &keys);
                }
            }
            _ if media::rtp::is_rtcp(&sent.bytes) => {}
            _ => match &mut self.inbound {
                None => self.rtp_before_keys += 1,
                Some(inbound) => {
                    let mut bytes = sent.bytes;
                    match inbound.unprotect(&mut bytes) {
                        Ok((len, _)) => {
                            self.received.extend(Rtp::read(&bytes[..len], sent.to, sent.at));
                        }
                        Err(_) => self.unreadable += 1,
                    }
                }
            },
        }
    }

    fn keyed(&mut self, profile: SrtpProfile, keys: &KeyingMaterial) {
        self.profile = Some(profile);
        self.outbound = Some(OutboundSrtp::new(&keys.local));
        self.inbound = Some(InboundSrtp::new(&keys.remote));
    }

    /// A check, then the whole handshake.
    pub fn connect(&mut self, world: &mut World) {
        self.check(world, true);
        self.association.start(world.now);
        self.read(world);
        world.advance_ms(2);
        self.read(world);
        for _ in 0..20 {
            world.advance_ms(1);
            self.read(world);
        }
        assert!(self.outbound.is_some(), "the handshake did not complete");
    }

    /// The next protected packet of 20 ms.
    pub fn protected(
        &mut self,
        payload_type: PayloadType,
        timestamp: u32,
        payload: &[u8],
    ) -> Vec<u8> {
        let number = 1000 + self.sent;
        self.sent += 1;
        let mut bytes = rtp(payload_type, 0xb0b, number, timestamp, payload);
        let len = bytes.len();
        bytes.resize(len + TAG_BYTES_MAX, 0);
        let outbound = self.outbound.as_ref().unwrap();
        let len = outbound.protect(&mut bytes, len, ExtendedSequenceNumber(number)).unwrap();
        bytes.truncate(len);
        bytes
    }

    pub fn say(&mut self, world: &mut World, payload: &[u8]) {
        let timestamp = self.sent as u32 * 160;
        let bytes = self.protected(PCMU, timestamp, payload);
        world.packet(Path::Shared(0), self.address, &bytes);
    }
}

/// A Binding request with attributes that have no value.
pub fn check(username: &str, password: &str, attributes: &[u16]) -> Vec<u8> {
    let provider = RingProvider::new();
    let mut message = Message::new();
    message.build(&[Box::new(BINDING_REQUEST), Box::new(TransactionId([7; 12]))]).unwrap();
    TextAttribute::new(ATTR_USERNAME, username.into()).add_to(&mut message).unwrap();
    message.add(AttrType(0x0024), &100_u32.to_be_bytes());
    for kind in attributes {
        message.add(AttrType(*kind), &[]);
    }
    MessageIntegrity::new_short_term_integrity_with_provider(password.into(), provider.crypto())
        .add_to(&mut message)
        .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}
