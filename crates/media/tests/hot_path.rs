//! Playback, echo and bridges allocate nothing per packet: in the clear and by every SRTP profile.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unsafe_code,
    reason = "test code with a counting allocator"
)]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use common::*;
use media::{
    codec::{Codec, Encoder},
    dtls::{Association, Configs},
    recording::{self, RecordingId, tap},
    rtp::{ExtendedSequenceNumber, PayloadType},
    sdp::{Crypto, DtlsRole, RemoteMedia, SDES_PROFILES},
    shard::{
        Command, LegId, LegKey, LegParameters, Media, PACKET_BYTES_MAX, PacketBuffer, Path, Repeat,
        Transmits,
    },
    srtp::{OutboundSrtp, SdesKey, SrtpProfile, TAG_BYTES_MAX},
};
use rand::{SeedableRng, rngs::StdRng};

/// The system's allocator, counting what this thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts what leaves and keeps nothing.
struct Sink {
    buffer: [u8; PACKET_BYTES_MAX],
    rtp: usize,
}

impl Sink {
    fn count(&mut self, first: u8, second: u8) {
        self.rtp += usize::from(first >= 0x80 && !(192..=223).contains(&second));
    }
}

impl Transmits for Sink {
    fn send(&mut self, _: Path, _: SocketAddr, head: &[u8], _: &[u8]) {
        self.count(head[0], head[1]);
    }

    fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    fn queue(&mut self, _: Path, _: SocketAddr, _: usize) {
        self.count(self.buffer[0], self.buffer[1]);
    }

    fn forward(&mut self, _: LegId, _: &Media<'_>) -> bool {
        false
    }
}

/// Runs the shard for a time; returns RTP packets sent and allocations made.
fn run(world: &mut World, duration: Duration, mut inbound: Option<Inbound>) -> (usize, u64) {
    let mut sink = Sink { buffer: [0; PACKET_BYTES_MAX], rtp: 0 };
    let end = world.now + duration;
    let before = ALLOCATIONS.get();
    while world.now < end {
        if let Some(inbound) = &mut inbound {
            inbound.say(world, &mut sink);
        }
        for _ in 0..20 {
            world.now += Duration::from_millis(1);
            world.shard.handle_timeout(world.now, &mut sink);
            while world.shard.poll_event().is_some() {}
        }
    }
    (sink.rtp, ALLOCATIONS.get() - before)
}

/// Packets made beforehand, one for each frame.
struct Inbound {
    path: Path,
    from: SocketAddr,
    packets: std::vec::IntoIter<Vec<u8>>,
    buffer: PacketBuffer,
}

impl Inbound {
    fn new(path: Path, from: SocketAddr, packets: Vec<Vec<u8>>) -> Self {
        Self { path, from, packets: packets.into_iter(), buffer: PacketBuffer::new() }
    }

    fn say(&mut self, world: &mut World, sink: &mut Sink) {
        let Some(packet) = self.packets.as_slice().first() else { return };
        self.buffer.space()[..packet.len()].copy_from_slice(packet);
        self.buffer.set_len(packet.len());
        let now: Instant = world.now;
        world.shard.handle_packet(self.path, self.from, &mut self.buffer, now, sink);
        let _ = self.packets.next();
    }
}

const PEER: &str = "192.0.2.1:4000";
/// Long enough for every kind of deadline to have come, RTCP among them.
const WARM_UP: Duration = Duration::from_secs(10);
const MEASURED: Duration = Duration::from_secs(10);

fn plain_leg(world: &mut World) -> LegKey {
    world.open_plain(PEER, "192.0.2.1").0
}

fn browser_leg(world: &mut World, profile: SrtpProfile) -> (Browser, LegKey) {
    let mut browser = Browser::new(world, PEER);
    if profile == SrtpProfile::Aes128CmHmacSha1_80 {
        let configs = Configs::new(&browser.certificate).unwrap().without_gcm();
        let expected = vec![world.certificate.fingerprint()];
        browser.association = Association::new(configs, DtlsRole::Active, expected);
    }
    let (key, _) = browser.open(world);
    browser.connect(world);
    assert_eq!(browser.profile, Some(profile));
    (browser, key)
}

fn assert_quiet((packets, allocations): (usize, u64), expected: usize) {
    assert!(packets + 2 >= expected && packets <= expected + 2, "{packets} packets");
    assert_eq!(allocations, 0, "in {packets} packets");
}

#[test]
fn playback_in_the_clear() {
    let mut world = World::new();
    let key = plain_leg(&mut world);
    world.play(key, &track(100), Repeat::Forever, 1);
    run(&mut world, WARM_UP, None);
    assert_quiet(run(&mut world, MEASURED, None), 500);
}

#[test]
fn playback_over_srtp() {
    for profile in [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmHmacSha1_80] {
        let mut world = World::new();
        let (_browser, key) = browser_leg(&mut world, profile);
        world.play(key, &track(100), Repeat::Forever, 1);
        run(&mut world, WARM_UP, None);
        assert_quiet(run(&mut world, MEASURED, None), 500);
    }
}

#[test]
fn echo_in_the_clear() {
    let mut world = World::new();
    let key = plain_leg(&mut world);
    world.command(key, Command::Echo { delay: None });
    let packet = |n: u64| rtp(PCMU, 9, n, 160 * n as u32, &[n as u8; 160]);
    let warm_up = (0..500).map(packet).collect();
    let path = Path::Rtp(key);
    run(&mut world, WARM_UP, Some(Inbound::new(path, address(PEER), warm_up)));
    let measured = (500..1000).map(packet).collect();
    let inbound = Inbound::new(path, address(PEER), measured);
    // What the test itself made goes to waste within the measured time: it frees, and counts none.
    assert_quiet(run(&mut world, MEASURED, Some(inbound)), 500);
}

#[test]
fn echo_over_srtp() {
    for profile in [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmHmacSha1_80] {
        for delay in [None, Some(Duration::from_secs(1))] {
            let mut world = World::new();
            let (mut browser, key) = browser_leg(&mut world, profile);
            world.command(key, Command::Echo { delay });
            let mut packets = |range: std::ops::Range<u32>| {
                range.map(|n| browser.protected(PCMU, 160 * n, &[n as u8; 160])).collect()
            };
            let (warm_up, measured) = (packets(0..500), packets(500..1000));
            let path = Path::Shared(0);
            run(&mut world, WARM_UP, Some(Inbound::new(path, address(PEER), warm_up)));
            let inbound = Inbound::new(path, address(PEER), measured);
            assert_quiet(run(&mut world, MEASURED, Some(inbound)), 500);
        }
    }
}

/// A plain leg with keys in the session description, and what the peer protects with.
fn sdes_leg(world: &mut World, profile: SrtpProfile) -> (LegKey, OutboundSrtp) {
    let key = |seed| SdesKey::random(profile, &mut StdRng::seed_from_u64(seed));
    let crypto = Crypto { tag: 1, key: key(1), local_key: Some(key(2)) };
    let mut negotiated = plain(PEER);
    negotiated.crypto = Some(crypto);
    let mut parameters = LegParameters::answering(negotiated);
    parameters.signalling_remote = Some("192.0.2.1".parse().unwrap());
    (world.open(parameters, None).0, OutboundSrtp::new(&key(1).master()))
}

#[test]
fn playback_with_keys_in_the_session_description() {
    for profile in SDES_PROFILES {
        let mut world = World::new();
        let (key, _) = sdes_leg(&mut world, profile);
        world.play(key, &track(100), Repeat::Forever, 1);
        run(&mut world, WARM_UP, None);
        assert_quiet(run(&mut world, MEASURED, None), 500);
    }
}

#[test]
fn echo_with_keys_in_the_session_description() {
    for profile in SDES_PROFILES {
        let mut world = World::new();
        let (key, outbound) = sdes_leg(&mut world, profile);
        world.command(key, Command::Echo { delay: None });
        let packets = |range: std::ops::Range<u64>| {
            let packet = |n: u64| {
                let mut bytes = rtp(PCMU, 9, n, 160 * n as u32, &[n as u8; 160]);
                let len = bytes.len();
                bytes.resize(len + TAG_BYTES_MAX, 0);
                let len = outbound.protect(&mut bytes, len, ExtendedSequenceNumber(n)).unwrap();
                bytes.truncate(len);
                bytes
            };
            range.map(packet).collect()
        };
        let (warm_up, measured) = (packets(0..500), packets(500..1000));
        let path = Path::Rtp(key);
        run(&mut world, WARM_UP, Some(Inbound::new(path, address(PEER), warm_up)));
        let inbound = Inbound::new(path, address(PEER), measured);
        assert_quiet(run(&mut world, MEASURED, Some(inbound)), 500);
    }
}

/// A phone of a codec.
fn phone(world: &mut World, codec: Codec, at: &str) -> (LegKey, LegId) {
    let mut parameters = LegParameters::answering(speaking(codec, at));
    parameters.signalling_remote = Some(address(at).ip());
    world.open(parameters, None)
}

fn join(world: &mut World, [a, b]: [(LegKey, LegId); 2]) {
    world.command(a.0, Command::Bridge { peer: b.1 });
    world.command(b.0, Command::Bridge { peer: a.1 });
}

/// Ten seconds of packets of 20 ms, the payload of each made by `payload`.
fn packets(codec: Codec, from: u64, mut payload: impl FnMut(u64) -> Vec<u8>) -> Vec<Vec<u8>> {
    let ticks = u64::from(codec.samples_per_frame());
    let packet = |n| rtp(PayloadType(96), 9, n, (ticks * n) as u32, &payload(n));
    (from..from + 500).map(packet).collect()
}

#[test]
fn a_bridge_forwards_translates_and_transcodes() {
    let pairs = [
        (Codec::Pcmu, Codec::Pcmu),
        (Codec::Pcmu, Codec::Pcma),
        (Codec::Pcmu, Codec::Opus),
        (Codec::G722, Codec::Pcma),
        (Codec::Opus, Codec::Pcmu),
        (Codec::Opus, Codec::G722),
    ];
    for (from, to) in pairs {
        let mut world = World::new();
        let a = phone(&mut world, from, PEER);
        let b = phone(&mut world, to, "192.0.2.2:4000");
        join(&mut world, [a, b]);
        let mut encoder =
            Encoder::new(from, if from == Codec::G722 { 16_000 } else { 8_000 }).unwrap();
        let mut say = |n: u64| {
            let len = if from == Codec::G722 { 320 } else { 160 };
            let pcm: Vec<i16> = (0..len).map(|i| ((n * 7 + i) % 50 * 300) as i16).collect();
            let mut payload = [0; 1275];
            let len = encoder.encode(&pcm, &mut payload).unwrap();
            payload[..len].to_vec()
        };
        // Every tenth packet is lost.
        let mut with_loss = |from_number| {
            let mut packets = packets(from, from_number, &mut say);
            let mut n = 0;
            packets.retain(|_| {
                n += 1;
                n % 10 != 5
            });
            packets
        };
        let (warm_up, measured) = (with_loss(0), with_loss(500));
        let path = Path::Rtp(a.0);
        run(&mut world, WARM_UP, Some(Inbound::new(path, address(PEER), warm_up)));
        let inbound = Inbound::new(path, address(PEER), measured);
        let (packets, allocations) = run(&mut world, MEASURED, Some(inbound));
        assert!(packets >= 440, "{from} to {to}: {packets} packets");
        assert_eq!(allocations, 0, "{from} to {to}");
    }
}

#[test]
fn a_bridge_between_a_browser_and_a_phone() {
    for profile in [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmHmacSha1_80] {
        for codec in [Codec::Pcmu, Codec::Opus] {
            let mut world = World::new();
            let mut browser = Browser::new(&world, PEER);
            let opened = browser.open(&mut world);
            if profile == SrtpProfile::Aes128CmHmacSha1_80 {
                let configs = Configs::new(&browser.certificate).unwrap().without_gcm();
                let expected = vec![world.certificate.fingerprint()];
                browser.association = Association::new(configs, DtlsRole::Active, expected);
            }
            browser.connect(&mut world);
            let phone = phone(&mut world, codec, "192.0.2.2:4000");
            join(&mut world, [opened, phone]);
            let mut packets = |range: std::ops::Range<u32>| {
                range.map(|n| browser.protected(PCMU, 160 * n, &[n as u8; 160])).collect()
            };
            let (warm_up, measured) = (packets(0..500), packets(500..1000));
            let path = Path::Shared(0);
            run(&mut world, WARM_UP, Some(Inbound::new(path, address(PEER), warm_up)));
            let inbound = Inbound::new(path, address(PEER), measured);
            assert_quiet(run(&mut world, MEASURED, Some(inbound)), 500);
            // The other way.
            let mut encoder = Encoder::new(codec, 8_000).unwrap();
            let mut say = |_| {
                let mut payload = [0; 1275];
                let len = encoder.encode(&[500; 160], &mut payload).unwrap();
                payload[..len].to_vec()
            };
            let (warm_up, measured) =
                (self::packets(codec, 0, &mut say), self::packets(codec, 500, &mut say));
            let (path, from) = (Path::Rtp(phone.0), address("192.0.2.2:4000"));
            run(&mut world, WARM_UP, Some(Inbound::new(path, from, warm_up)));
            let inbound = Inbound::new(path, from, measured);
            assert_quiet(run(&mut world, MEASURED, Some(inbound)), 500);
        }
    }
}

#[test]
fn digits_that_are_sent() {
    let mut world = World::new();
    let key = phone(&mut world, Codec::Pcmu, PEER).0;
    let press = |world: &mut World| {
        for digit in "0123456789*#ABCD".chars() {
            world.command(key, Command::Dtmf { digit, duration: Duration::from_millis(100) });
        }
    };
    press(&mut world);
    run(&mut world, WARM_UP, None);
    press(&mut world);
    assert_quiet(run(&mut world, MEASURED, None), 16 * 7);
}

#[test]
fn listening_for_tones() {
    for (payload_type, attributes) in [(0, ""), (9, ""), (96, "a=rtpmap:96 opus/48000/2\r\n")] {
        let mut world = World::new();
        let rtp_address = address(PEER);
        let remote = RemoteMedia::Plain { rtp: rtp_address, rtcp: rtp_address, rtcp_mux: false };
        let negotiated = described(attributes, &payload_type.to_string(), remote);
        let codec = negotiated.codec;
        let (key, _) = world.open(LegParameters::answering(negotiated), None);
        let mut encoder = Encoder::new(codec, 8000).unwrap();
        let mut packets = |range: std::ops::Range<u64>| {
            let packet = |n: u64| {
                // A key that is pressed for half of every second.
                let pcm: Vec<i16> = (0..160)
                    .map(|at| ((n * 160 + at) as f64 / 8000.0 * std::f64::consts::TAU, n % 50 < 25))
                    .map(|(turn, on)| ((turn * 697.0).sin() + (turn * 1209.0).sin(), on))
                    .map(|(wave, on)| if on { (wave * 4000.0) as i16 } else { 0 })
                    .collect();
                let mut payload = [0; 1275];
                let len = encoder.encode(&pcm, &mut payload).unwrap();
                let ticks = n as u32 * codec.samples_per_frame();
                rtp(PayloadType(payload_type), 9, n, ticks, &payload[..len])
            };
            range.map(packet).collect()
        };
        let (warm_up, measured) = (packets(0..500), packets(500..1000));
        let path = Path::Rtp(key);
        run(&mut world, WARM_UP, Some(Inbound::new(path, rtp_address, warm_up)));
        let heard = |world: &World| world.shard.counters().dtmf_in;
        let before = heard(&world);
        let inbound = Inbound::new(path, rtp_address, measured);
        assert_quiet(run(&mut world, MEASURED, Some(inbound)), 0);
        assert!((9..=11).contains(&(heard(&world) - before)));
    }
}

#[test]
fn recording() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        for tracks in [Command::Echo { delay: None }, Command::Stop] {
            let mut world = World::new();
            let (key, _) = phone(&mut world, codec, PEER);
            world.command(key, tracks.clone());
            let begins = Some(world.now);
            let layout = recording::Layout::Mixed;
            let (tap, mut mixdown) = tap(RecordingId(1), layout, 8_000, begins, Arc::default());
            world.command(key, Command::Record(tap));
            let mut encoder = Encoder::new(codec, 8_000).unwrap();
            let mut say = |_| {
                let mut payload = [0; 1275];
                let len = encoder.encode(&[500; 160], &mut payload).unwrap();
                payload[..len].to_vec()
            };
            let path = Path::Rtp(key);
            let warm_up = packets(codec, 0, &mut say);
            let measured = packets(codec, 500, &mut say);
            run(&mut world, WARM_UP, Some(Inbound::new(path, address(PEER), warm_up)));
            let mut frames = 0;
            while mixdown.frame(world.now).is_some() {
                frames += 1;
            }
            assert!((450..=500).contains(&frames), "{frames} frames");
            // The ring has room for a part of what is measured, and is full then.
            let inbound = Inbound::new(path, address(PEER), measured);
            let sent = if matches!(tracks, Command::Stop) { 0 } else { 500 };
            assert_quiet(run(&mut world, MEASURED, Some(inbound)), sent);
            assert!(mixdown.frame(world.now).is_some());
        }
    }
}
