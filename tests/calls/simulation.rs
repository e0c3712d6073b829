//! A server whose network and clock are simulated, and phones that call it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sidetone::calls::{Dialer, Policy, Shared, Trail};
use sidetone::config::Config;
use sidetone::health::Health;
use sidetone::metrics::Metrics;
use sidetone::registrar::{Registrar, Writer};
use sidetone::signaling::{self, Signaling, Wire};
use sidetone::users::Users;
use tokio::sync::{mpsc, watch};
use transport::net::{NetError, NetEvent, SendError};
use transport::routing::NextHop;
use transport::{Flow, FlowId, Framing, Host, Limits, Message, TransportKind};

use crate::link::{Faults, Link};
use crate::media::{Media, Port};
use crate::phone::{Ends, Phone};

pub struct Simulation {
    seed: u64,
    faults: Faults,
    events: mpsc::Sender<NetEvent>,
    wire: SimulatedWire,
    media: Arc<Media>,
    pub health: Arc<Health>,
    pub dialer: Dialer,
    pub stop: watch::Sender<bool>,
    pub signaling: tokio::task::JoinHandle<()>,
    phones: u16,
}

/// Sends each datagram over the link of the phone it is addressed to.
#[derive(Clone, Default)]
struct SimulatedWire(Arc<Mutex<HashMap<SocketAddr, Link<Bytes>>>>);

impl Wire for SimulatedWire {
    fn send(&self, flow: &Flow, bytes: Bytes) -> Result<(), SendError> {
        match self.0.lock().unwrap().get(&flow.remote) {
            Some(link) => link.send(bytes),
            None => return Err(SendError::NoFlow),
        }
        Ok(())
    }

    fn close(&self, _: FlowId) {}

    fn is_open(&self, _: &Flow) -> bool {
        true
    }

    fn route(&self, hop: NextHop) -> impl Future<Output = Result<Flow, NetError>> + Send + 'static {
        let Host::Ip(ip) = hop.host else { panic!("no names are simulated") };
        let remote = SocketAddr::new(ip, hop.port.unwrap_or(5060));
        async move { Ok(Flow { id: FlowId(7), kind: TransportKind::Udp, local: SERVER, remote }) }
    }
}

impl Simulation {
    /// A server on the default dialplan.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let config = Config::default();
        let (plan, prompts) = sidetone::plan::load(&config).unwrap();
        let media = Media::start(seed, SERVER_RTP);
        let health = Arc::new(Health::new(100));
        let (stop, stopped) = watch::channel(false);
        let (dialer, inbox) = Dialer::new();
        let shared = Shared {
            plan,
            public_context: "public".to_owned(),
            users: Users::default().fixed(),
            registrar: Arc::new(Registrar::new((&config).into(), Writer::none())),
            prompts,
            hold_music: config.sounds.hold_music.clone(),
            media: Arc::new(Port(media.clone())),
            dialer: dialer.clone(),
            capabilities: Default::default(),
            metrics: Arc::new(Metrics::new(100).unwrap()),
            health: health.clone(),
            policy: Policy::from(&config),
            trail: Trail::default(),
            stop: stopped,
        };
        let wire = SimulatedWire::default();
        let settings = signaling::Config { seed, ..signaling::Config::from(&config) };
        let (events, inbound) = mpsc::channel(64);
        let signaling = Signaling::new(settings, wire.clone(), shared, inbox);
        let signaling = tokio::spawn(signaling.run(inbound));
        Simulation { seed, faults, events, wire, media, health, dialer, stop, signaling, phones: 0 }
    }

    /// A phone with links of its own to the server.
    pub fn phone(&mut self) -> Phone {
        let index = self.phones;
        self.phones += 1;
        let seed = self.seed.wrapping_mul(31).wrapping_add(u64::from(index));
        let local: SocketAddr = ([192, 0, 2, 10], 5060 + index).into();
        let (to_server, at_server) = Link::new(self.faults, seed ^ 1);
        let (to_phone, from_server) = Link::new(self.faults, seed ^ 2);
        self.wire.0.lock().unwrap().insert(local, to_phone);
        tokio::spawn(deliver(at_server, self.events.clone(), local));
        let rtp_address = SocketAddr::new(local.ip(), 20_000 + 2 * index);
        let (rtp_to_server, rtp_from_server) = self.media.connect(rtp_address, self.faults, seed);
        let ends = Ends { to_server, from_server, rtp_to_server, rtp_from_server };
        Phone::new(index, SERVER, ends, seed)
    }

    /// Two links to and from an address, for a peer that is only called.
    pub fn line(&mut self, local: SocketAddr) -> (Link<Bytes>, mpsc::UnboundedReceiver<Bytes>) {
        let seed = self.seed.wrapping_mul(31).wrapping_add(u64::from(local.port()));
        let (to_server, at_server) = Link::new(self.faults, seed ^ 1);
        let (to_peer, from_server) = Link::new(self.faults, seed ^ 2);
        self.wire.0.lock().unwrap().insert(local, to_peer);
        tokio::spawn(deliver(at_server, self.events.clone(), local));
        (to_server, from_server)
    }

    /// Whether nothing of any call is left: no task, no media leg.
    pub fn is_idle(&self) -> bool {
        self.health.calls() == 0 && self.media.legs() == 0
    }
}

/// Hands what arrives to the signalling loop, as the UDP listener does.
async fn deliver(
    mut arrived: mpsc::UnboundedReceiver<Bytes>,
    events: mpsc::Sender<NetEvent>,
    remote: SocketAddr,
) {
    let flow = Flow { id: FlowId(7), kind: TransportKind::Udp, local: SERVER, remote };
    while let Some(bytes) = arrived.recv().await {
        let message = Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap();
        if events.send(NetEvent::Message { flow, message }).await.is_err() {
            return;
        }
    }
}

/// The seeds of a test: the one in `SIDETONE_SEED`, or `count` fixed ones.
pub fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SIDETONE_SEED") {
        Ok(seed) => vec![seed.parse().expect("SIDETONE_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

/// Runs a simulation on virtual time and names its seed when it fails.
pub fn run<F: Future<Output = ()>>(seed: u64, simulate: impl FnOnce(u64) -> F) {
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this failure is repeated by SIDETONE_SEED={}", self.0);
            }
        }
    }
    let _named = Seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(simulate(seed));
}

const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5060);
const SERVER_RTP: std::net::IpAddr = SERVER.ip();
