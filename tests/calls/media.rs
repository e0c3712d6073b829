//! A media shard on virtual time, and what phones say and hear.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use media::codec::g711;
use media::dtls::{Certificate, Configs};
use media::net::{CommandError, OpenError};
use media::sdp::Negotiated;
use media::shard::{
    Command, LegEvent, LegId, LegKey, LegParameters, LocalMedia, Media as Forwarded, OpenLeg,
    PACKET_BYTES_MAX, PacketBuffer, Path, Shard, ShardConfig, Transmits, Update,
};
use sidetone::calls::{MediaLeg, MediaLegs};
use tokio::sync::{Notify, mpsc};

use crate::link::{Faults, Link};
use crate::phone::Phone;

/// An RTP packet as it was received.
pub type Packet = Vec<u8>;

/// An RTP packet on its way to the server.
#[derive(Debug, Clone)]
pub struct Datagram {
    pub to: SocketAddr,
    pub packet: Packet,
}

/// One shard whose sockets and clock are simulated.
pub struct Media {
    ip: IpAddr,
    inner: Mutex<Inner>,
    changed: Notify,
}

struct Inner {
    shard: Shard,
    events: HashMap<LegKey, mpsc::Sender<LegEvent>>,
    by_port: HashMap<u16, LegKey>,
    network: Network,
    next: u16,
}

/// The links to the phones, by the phones' addresses.
#[derive(Default)]
struct Network {
    phones: HashMap<SocketAddr, Link<Packet>>,
    queued: Vec<u8>,
}

struct Leg {
    id: LegId,
    key: LegKey,
    media: Arc<Media>,
    local: LocalMedia,
    events: mpsc::Receiver<LegEvent>,
}

impl Media {
    pub fn start(seed: u64, ip: IpAddr) -> Arc<Self> {
        let dtls = Configs::new(&Certificate::generate().unwrap()).unwrap();
        let shard = Shard::new(ShardConfig::new(0, dtls, now(), 0), seed);
        let inner = Inner {
            shard,
            events: HashMap::new(),
            by_port: HashMap::new(),
            network: Network { queued: vec![0; PACKET_BYTES_MAX], ..Default::default() },
            next: 0,
        };
        let media = Arc::new(Media { ip, inner: Mutex::new(inner), changed: Notify::new() });
        tokio::spawn(Arc::clone(&media).tick());
        media
    }

    /// The links between a phone's RTP address and the server.
    pub fn connect(
        self: &Arc<Self>,
        phone: SocketAddr,
        faults: Faults,
        seed: u64,
    ) -> (Link<Datagram>, mpsc::UnboundedReceiver<Packet>) {
        let (to_server, mut at_server) = Link::<Datagram>::new(faults, seed ^ 3);
        let (to_phone, at_phone) = Link::new(faults, seed ^ 4);
        self.inner.lock().unwrap().network.phones.insert(phone, to_phone);
        let media = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(datagram) = at_server.recv().await {
                media.receive(phone, &datagram);
            }
        });
        (to_server, at_phone)
    }

    /// Open legs.
    pub fn legs(&self) -> usize {
        self.inner.lock().unwrap().shard.legs()
    }

    fn receive(&self, from: SocketAddr, datagram: &Datagram) {
        let mut inner = self.inner.lock().unwrap();
        let Some(key) = inner.by_port.get(&datagram.to.port()).copied() else { return };
        let mut buffer = PacketBuffer::from_datagram(&datagram.packet);
        let Inner { shard, network, .. } = &mut *inner;
        shard.handle_packet(Path::Rtp(key), from, &mut buffer, now(), network);
        self.settle(&mut inner);
    }

    async fn tick(self: Arc<Self>) {
        loop {
            let deadline = self.inner.lock().unwrap().shard.poll_timeout();
            tokio::select! {
                biased;
                () = self.changed.notified() => continue,
                () = sleep_until(deadline) => {}
            }
            let mut inner = self.inner.lock().unwrap();
            let Inner { shard, network, .. } = &mut *inner;
            shard.handle_timeout(now(), network);
            self.settle(&mut inner);
        }
    }

    /// Hands out what the legs report.
    fn settle(&self, inner: &mut Inner) {
        while let Some((key, event)) = inner.shard.poll_event() {
            let is_last = matches!(event, LegEvent::Closed(_));
            if let Some(events) = inner.events.get(&key) {
                let _ = events.try_send(event);
            }
            if is_last {
                inner.events.remove(&key);
                inner.by_port.retain(|_, leg| *leg != key);
            }
        }
        self.changed.notify_one();
    }

    fn command(&self, key: LegKey, command: Command) {
        let mut inner = self.inner.lock().unwrap();
        let Inner { shard, network, .. } = &mut *inner;
        shard.handle_command(key, command, now(), network);
        self.settle(&mut inner);
    }
}

#[derive(Debug)]
pub struct Port(pub Arc<Media>);

impl std::fmt::Debug for Media {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Media")
    }
}

impl MediaLegs for Port {
    fn open(&self, parameters: LegParameters) -> Result<Box<dyn MediaLeg>, OpenError> {
        let mut inner = self.0.inner.lock().unwrap();
        let number = inner.next;
        inner.next += 1;
        let (port, ssrc, cname) = (30_000 + 2 * number, u32::from(number) + 1, "server".to_owned());
        let serial = u64::from(number);
        let local = parameters.signalling_local;
        let (name, earlier) = (cname.clone(), None);
        let open = OpenLeg { serial, parameters, ssrc, cname: name, local, earlier, ice: None };
        let key = inner.shard.open(open, now());
        let (sender, events) = mpsc::channel(64);
        inner.events.insert(key, sender);
        inner.by_port.insert(port, key);
        self.0.settle(&mut inner);
        let local = LocalMedia {
            sdes: Vec::new(),
            address: self.0.ip,
            rtp_port: port,
            rtcp_port: port + 1,
            ice: None,
            fingerprint: None,
            ssrc,
            cname,
        };
        let id = LegId { shard: 0, serial };
        Ok(Box::new(Leg { id, key, media: Arc::clone(&self.0), local, events }))
    }

    fn is_own(&self, _: SocketAddr, _: Option<IpAddr>) -> bool {
        false
    }

    fn reaches(&self, address: IpAddr) -> bool {
        address.is_ipv4()
    }

    fn is_full(&self) -> bool {
        false
    }

    fn is_alive(&self) -> bool {
        true
    }
}

impl MediaLeg for Leg {
    fn id(&self) -> LegId {
        self.id
    }

    fn local(&self) -> &LocalMedia {
        &self.local
    }

    fn events(&mut self) -> &mut mpsc::Receiver<LegEvent> {
        &mut self.events
    }

    fn command(&self, command: Command) -> Result<(), CommandError> {
        self.media.command(self.key, command);
        Ok(())
    }

    fn update(
        &mut self,
        negotiated: Negotiated,
        signalling_remote: Option<IpAddr>,
    ) -> Result<(), CommandError> {
        self.command(Command::Update(Box::new(Update { negotiated, ice: None, signalling_remote })))
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.media.command(self.key, Command::Close);
    }
}

impl Transmits for Network {
    fn send(&mut self, path: Path, to: SocketAddr, head: &[u8], payload: &[u8]) {
        if let (Path::Rtp(_), Some(link)) = (path, self.phones.get(&to)) {
            link.send([head, payload].concat());
        }
    }

    fn buffer(&mut self) -> &mut [u8] {
        &mut self.queued
    }

    fn queue(&mut self, path: Path, to: SocketAddr, len: usize) {
        let packet = self.queued[..len].to_vec();
        self.send(path, to, &packet, &[]);
    }

    fn forward(&mut self, _: LegId, _: &Forwarded<'_>) -> bool {
        false
    }
}

/// Both phones say their tones at the same time, a frame of each in turn.
pub async fn say_in_turn(
    one: &mut Phone,
    one_hz: f64,
    two: &mut Phone,
    two_hz: f64,
    duration: Duration,
) {
    for n in 0..u32::try_from(duration.as_millis() / 20).unwrap() {
        say(one, one_hz, n);
        say(two, two_hz, n);
        one.stay(Duration::from_millis(10)).await;
        two.stay(Duration::from_millis(10)).await;
    }
    // What is still under way.
    one.stay(Duration::from_millis(200)).await;
    two.stay(Duration::from_millis(200)).await;
}

fn say(phone: &Phone, frequency_hz: f64, n: u32) {
    let mut packet = vec![0x80, 0];
    packet.extend((n as u16).to_be_bytes());
    packet.extend((160 * n).to_be_bytes());
    packet.extend(0x7068_6f6e_u32.to_be_bytes());
    packet.extend((0..160).map(|i| {
        let t = f64::from(160 * n + i) / 8000.0;
        let sample = 8000.0 * (std::f64::consts::TAU * frequency_hz * t).sin();
        g711::encode_ulaw(sample as i16)
    }));
    phone.rtp_to_server.send(Datagram { to: phone.peer_rtp.unwrap(), packet });
}

/// The packets once each and in the order they were sent.
pub fn reassembled(packets: &[Packet]) -> Vec<Packet> {
    let mut packets = packets.to_vec();
    packets.sort_by_key(timestamp);
    packets.dedup_by_key(|packet| timestamp(packet));
    packets
}

fn timestamp(packet: &Packet) -> u32 {
    u32::from_be_bytes(packet[4..8].try_into().unwrap())
}

/// How much of the energy that was heard is at a frequency, 0 to 1; each sample counts at the time
/// that its packet names.
pub fn share_at(frequency_hz: f64, packets: &[Packet]) -> f64 {
    let first = timestamp(&packets[0]);
    let step = std::f64::consts::TAU * frequency_hz / 8000.0;
    let (mut re, mut im, mut energy, mut count) = (0.0, 0.0, 0.0, 0.0);
    for packet in packets {
        let start = f64::from(timestamp(packet).wrapping_sub(first));
        for (n, code) in packet[12..].iter().enumerate() {
            let sample = f64::from(g711::decode_ulaw(*code));
            let angle = step * (start + n as f64);
            re += sample * angle.cos();
            im += sample * angle.sin();
            energy += sample * sample;
            count += 1.0;
        }
    }
    2.0 * (re * re + im * im) / (count * energy)
}

/// How many packets were sent between the first and the last that were heard.
pub fn span(packets: &[Packet]) -> usize {
    let number = |packet: &Packet| u16::from_be_bytes([packet[2], packet[3]]);
    let (first, last) = (packets.first().unwrap(), packets.last().unwrap());
    usize::from(number(last).wrapping_sub(number(first))) + 1
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
