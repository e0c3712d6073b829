//! A server whose network and clock are simulated, and phones that call it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use media::net::{Recorder, RecorderConfig};
use rustls::{ClientConfig, RootCertStore};
use sidetone::calls::{Dialer, MediaLegs, Policy, Shared, Trail};
use sidetone::config::{CodecName, Config, UserSection};
use sidetone::health::Health;
use sidetone::metrics::Metrics;
use sidetone::registrar::{Registrar, StoredBinding, Writer};
use sidetone::signaling::{self, Signaling, Wire};
use sidetone::users::Users;
use sidetone::webhook::{SigningKey, Webhooks};
use tokio::sync::{mpsc, watch};
use transport::net::{NetError, NetEvent, SendError};
use transport::routing::NextHop;
use transport::{Flow, FlowId, Framing, Host, Limits, Message, Method, TransportKind};

use crate::agent;
use crate::link::{Faults, Link};
use crate::media::{Media, Port};
use crate::mock::{MockMedia, MockPort};
use crate::phone::{Ends, Phone};

pub struct Simulation {
    seed: u64,
    faults: Faults,
    events: mpsc::Sender<NetEvent>,
    wire: SimulatedWire,
    media: Option<Arc<Media>>,
    mock: Option<Arc<MockMedia>>,
    registrar: Arc<Registrar>,
    users: Arc<Users>,
    metrics: Arc<Metrics>,
    pub health: Arc<Health>,
    pub dialer: Dialer,
    pub stop: watch::Sender<bool>,
    pub signaling: tokio::task::JoinHandle<()>,
    phones: u16,
}

/// Sends each datagram over the link of the phone it is addressed to.
#[derive(Clone, Default)]
struct SimulatedWire {
    links: Arc<Mutex<HashMap<SocketAddr, Link<Bytes>>>>,
    finals: Arc<Mutex<Finals>>,
    closed: Arc<Mutex<HashSet<FlowId>>>,
}

/// The final responses to each INVITE, by Call-ID and CSeq: their status and To tag.
pub type Finals = HashMap<(String, u32), HashSet<(u16, String)>>;

fn note_final(bytes: &Bytes, finals: &Mutex<Finals>) {
    let message = read(bytes.clone());
    let Some(status) = message.status().filter(|status| *status >= 200) else { return };
    if *message.method() != Method::Invite {
        return;
    }
    let key = (message.call_id().to_owned(), message.cseq().unwrap().number);
    let tag = message.to_tag().unwrap_or_default().into_owned();
    finals.lock().unwrap().entry(key).or_default().insert((status, tag));
}

impl Wire for SimulatedWire {
    fn send(&self, flow: &Flow, bytes: Bytes) -> Result<(), SendError> {
        if !self.is_open(flow) {
            return Err(SendError::NoFlow);
        }
        note_final(&bytes, &self.finals);
        match self.links.lock().unwrap().get(&flow.remote) {
            Some(link) => link.send(bytes),
            None => return Err(SendError::NoFlow),
        }
        Ok(())
    }

    fn close(&self, _: FlowId) {}

    fn vouch(&self, _: &Flow) {}

    fn is_open(&self, flow: &Flow) -> bool {
        !self.closed.lock().unwrap().contains(&flow.id)
    }

    fn connections(&self) -> usize {
        0
    }

    fn route(&self, hop: NextHop) -> impl Future<Output = Result<Flow, NetError>> + Send + 'static {
        let Host::Ip(ip) = hop.host else { panic!("no names are simulated") };
        let remote = SocketAddr::new(ip, hop.port.unwrap_or(5060));
        let kind = hop.transport;
        let id = FlowId(if kind.is_reliable() { 8 } else { 7 });
        async move { Ok(Flow { id, kind, local: SERVER, remote }) }
    }
}

impl Simulation {
    /// A server on the default dialplan, with a media shard.
    pub fn new(seed: u64, faults: Faults) -> Self {
        let media = Media::start(seed, SERVER_RTP);
        let port = Arc::new(Port(media.clone()));
        let simulation = Simulation::start(seed, faults, config(), "public", port);
        Simulation { media: Some(media), ..simulation }
    }

    /// A server whose users anybody may call, each at some phones by their numbers, and whose media
    /// is not there.
    pub fn office(
        seed: u64,
        faults: Faults,
        users: &[(String, Vec<u16>)],
        mock: &Arc<MockMedia>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config();
        config.dialplan.file = Some(folder().join("plan.xml"));
        for (name, _) in users {
            let user = UserSection {
                password: Some("secret".to_owned()),
                public: true,
                ..UserSection::default()
            };
            config.users.insert(name.clone(), user);
        }
        change(&mut config);
        let port = Arc::new(MockPort(mock.clone()));
        let simulation = Simulation::start(seed, faults, config, "internal", port);
        simulation.register(users);
        Simulation { mock: Some(mock.clone()), ..simulation }
    }

    fn start(
        seed: u64,
        faults: Faults,
        config: Config,
        context: &str,
        media: Arc<dyn MediaLegs>,
    ) -> Self {
        let (plan, prompts) = sidetone::plan::load(&config).unwrap();
        let health = Arc::new(Health::new(100));
        let registrar = Arc::new(Registrar::new((&config).into(), Writer::none()));
        let (stop, stopped) = watch::channel(false);
        let (dialer, inbox) = Dialer::new();
        sidetone::install_crypto_provider();
        let tls = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
        let tls = tls.with_no_client_auth();
        let metrics = Arc::new(Metrics::new(100).unwrap());
        let shared = Shared {
            plan,
            public_context: context.to_owned(),
            users: Arc::new(Users::new(&config).unwrap()),
            hosts: vec![SERVER.ip()],
            sip_ports: vec![SERVER.port()],
            registrar: registrar.clone(),
            prompts: Arc::new(prompts),
            hold_music: config.sounds.hold_music.clone(),
            media,
            recorder: Recorder::start(RecorderConfig::from(&config)).unwrap(),
            webhooks: Arc::new(Webhooks::new(&tls, SigningKey::unknown())),
            dialer: dialer.clone(),
            capabilities: Default::default(),
            metrics: metrics.clone(),
            health: health.clone(),
            policy: Policy::from(&config),
            trail: Trail::default(),
            ourselves: Arc::default(),
            stop: stopped,
        };
        let wire = SimulatedWire::default();
        let settings = signaling::Config { seed, ..signaling::Config::from(&config) };
        let (events, inbound) = mpsc::channel(64);
        let signaling = Signaling::new(settings, wire.clone(), shared, inbox);
        let signaling = tokio::spawn(signaling.run(inbound));
        let users = Arc::new(Users::new(&config).unwrap());
        Simulation {
            seed,
            faults,
            events,
            wire,
            media: None,
            mock: None,
            registrar,
            users,
            metrics,
            health,
            dialer,
            stop,
            signaling,
            phones: 0,
        }
    }

    /// Has the phones registered as contacts of the users, the first ones with the highest q.
    fn register(&self, users: &[(String, Vec<u16>)]) {
        let contacts = users.iter().flat_map(|(user, phones)| {
            phones.iter().zip(0..).map(move |(phone, rank)| contact(user, *phone, rank))
        });
        let flow =
            |local, remote| Some(Flow { id: FlowId(7), kind: TransportKind::Udp, local, remote });
        let now = tokio::time::Instant::now();
        self.registrar.restore(contacts.collect(), &self.users, flow, now);
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What each INVITE was answered, by whoever was answered by the server.
    pub fn finals(&self) -> Finals {
        self.wire.finals.lock().unwrap().clone()
    }

    /// The samples of a metric that are not 0, as Prometheus reads them.
    pub fn samples(&self, family: &str) -> Vec<String> {
        let text = self.metrics.render(Vec::new()).unwrap();
        let is_counted = |line: &&str| line.starts_with(family) && !line.ends_with(" 0");
        text.lines().filter(is_counted).map(str::to_owned).collect()
    }

    /// A phone with links of its own to the server.
    pub fn phone(&mut self) -> Phone {
        let index = self.phones;
        self.phones += 1;
        let seed = self.seed.wrapping_mul(31).wrapping_add(u64::from(index));
        let local: SocketAddr = ([192, 0, 2, 10], 5060 + index).into();
        let (to_server, at_server) = Link::new(self.faults, seed ^ 1);
        let (to_phone, from_server) = Link::new(self.faults, seed ^ 2);
        self.wire.links.lock().unwrap().insert(local, to_phone);
        tokio::spawn(deliver(at_server, self.events.clone(), local));
        let rtp_address = SocketAddr::new(local.ip(), 20_000 + 2 * index);
        let (rtp_to_server, rtp_from_server) = self
            .media
            .as_ref()
            .expect("this simulation has no media")
            .connect(rtp_address, self.faults, seed);
        let ends = Ends { to_server, from_server, rtp_to_server, rtp_from_server };
        Phone::new(index, SERVER, ends, seed)
    }

    /// Two links to and from an address, for a peer that is only called.
    pub fn line(&mut self, local: SocketAddr) -> (Link<Bytes>, mpsc::UnboundedReceiver<Bytes>) {
        let seed = self.seed.wrapping_mul(31).wrapping_add(u64::from(local.port()));
        let (to_server, at_server) = Link::new(self.faults, seed ^ 1);
        let (to_peer, from_server) = Link::new(self.faults, seed ^ 2);
        self.wire.links.lock().unwrap().insert(local, to_peer);
        tokio::spawn(deliver(at_server, self.events.clone(), local));
        (to_server, from_server)
    }

    /// A connection is gone, which the server has not been told yet.
    pub fn close(&self, flow: FlowId) {
        self.wire.closed.lock().unwrap().insert(flow);
    }

    /// A datagram of a peer arrives at once, past its link.
    pub fn arrive(&self, remote: SocketAddr, bytes: Bytes) {
        self.happen(datagram(remote, bytes));
    }

    /// Where the network tells what happens.
    pub fn network(&self) -> mpsc::Sender<NetEvent> {
        self.events.clone()
    }

    /// The network tells of something.
    pub fn happen(&self, event: NetEvent) {
        self.events.try_send(event).unwrap();
    }

    /// An address at which a host has no such port: the network says so of each datagram.
    pub fn close_port(&mut self, remote: SocketAddr) {
        let (_, mut from_server) = self.line(remote);
        let events = self.events.clone();
        tokio::spawn(async move {
            while let Some(datagram) = from_server.recv().await {
                let quote = datagram.slice(..datagram.len().min(QUOTE_BYTES));
                let event = NetEvent::Undelivered { socket: FlowId(7), remote, quote };
                if events.send(event).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Whether nothing of any call is left: no task, no media leg.
    pub fn is_idle(&self) -> bool {
        let media = self.media.as_ref().map_or(0, |media| media.legs());
        let mock = self.mock.as_ref().map_or(0, |mock| mock.legs());
        self.health.calls() == 0 && media + mock == 0
    }
}

/// A configuration of which little is to be encoded at each start.
fn config() -> Config {
    let mut config = Config::default();
    config.media.codecs = vec![CodecName::Pcmu];
    config.sounds.dir = Some(folder().join("sounds"));
    config.sounds.hold_music = "hold.wav".to_owned();
    config
}

/// Where the sources of these tests are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/calls")
}

/// What `device` has are flows of one and the same (RFC 5626); what `alike` has are two devices that
/// have the same address behind different address translators.
fn contact(user: &str, phone: u16, rank: u16) -> StoredBinding {
    let address = agent::address(phone);
    let is_device = user == "device";
    let instance = match user {
        "device" => Some("<urn:uuid:device>".to_owned()),
        "alike" => Some(format!("<urn:uuid:{phone}>")),
        _ => None,
    };
    let own = if user == "alike" { "192.168.1.10:5060".to_owned() } else { address.to_string() };
    StoredBinding {
        user: user.to_owned(),
        key: format!("{phone}"),
        expires_unix_s: u64::from(u32::MAX),
        uri: format!("sip:{user}@{own}"),
        transport: "udp".to_owned(),
        local: Some(SERVER),
        remote: Some(address),
        is_by_uri: false,
        path: Vec::new(),
        q_milli: 1000 - rank,
        is_by_instance: instance.is_some(),
        instance,
        reg_id: is_device.then(|| u32::from(rank) + 1),
        is_outbound: is_device,
        is_behind_nat: false,
        is_by_token: false,
        user_agent: String::new(),
        call_id: format!("{phone}@phone"),
        cseq: 1,
    }
}

/// Hands what arrives to the signalling loop, as the UDP listener does.
async fn deliver(
    mut arrived: mpsc::UnboundedReceiver<Bytes>,
    events: mpsc::Sender<NetEvent>,
    remote: SocketAddr,
) {
    while let Some(bytes) = arrived.recv().await {
        if events.send(datagram(remote, bytes)).await.is_err() {
            return;
        }
    }
}

/// What the server's socket says of a datagram of a peer.
pub fn datagram(remote: SocketAddr, bytes: Bytes) -> NetEvent {
    let flow = Flow { id: FlowId(7), kind: TransportKind::Udp, local: SERVER, remote };
    NetEvent::Message { flow, message: read(bytes) }
}

/// A message of a datagram.
pub fn read(bytes: Bytes) -> Message {
    Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap()
}

/// The seeds of a test: the one in `SIDETONE_SEED`, else as many as `SIDETONE_SEEDS` says, else
/// `count`.
pub fn seeds(count: u64) -> Vec<u64> {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    match number("SIDETONE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIDETONE_SEEDS").unwrap_or(count)).collect(),
    }
}

/// Runs a simulation for each seed, on all processors.
pub fn run_all<F: Future<Output = ()>>(seeds: &[u64], simulate: impl Fn(u64) -> F + Copy + Send) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for first in 0..threads {
            let seeds = seeds.iter().skip(first).step_by(threads);
            scope.spawn(move || seeds.for_each(|seed| run(*seed, simulate)));
        }
    });
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

pub const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5060);
const SERVER_RTP: std::net::IpAddr = SERVER.ip();
/// What is left of the 576 bytes of an ICMP error for the datagram that it is about.
const QUOTE_BYTES: usize = 520;
