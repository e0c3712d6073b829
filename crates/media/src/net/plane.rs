//! The media plane: starts the shards, opens legs on them.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use rand::RngExt;
use tokio::sync::mpsc;

use super::{
    control::{CommandError, Control, LegHandle, Open, Permit, remote_ice},
    keys::Keys,
    local_networks::LocalNetworks,
    own::{Aiming, OwnPorts},
    port_map::PortMap,
    ports::{PortAllocator, PortPair},
    starting::{ShardOutside, Starting},
};
use crate::{
    dtls::{Certificate, CertificateError, Configs},
    ice::IceCredentials,
    sdp::{Fingerprint, LocalIce, RemoteMedia, SDES_PROFILES},
    shard::{LegId, LegKind, LegParameters, LocalMedia, OpenLeg, ShardCounters},
    srtp::SdesKey,
};

/// What a media plane is started with.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// Threads, each with its own sockets and legs; from 1 to [`SHARDS_MAX`].
    pub shards: u16,
    /// Addresses that media is bound to.
    pub addresses: Vec<IpAddr>,
    /// What is said instead of a bound address in session descriptions.
    pub advertised: BTreeMap<IpAddr, IpAddr>,
    /// What is said instead of a port, together with another address than the bound one.
    pub external_ports: PortMap,
    /// Whose peers reach the bound addresses and ports themselves.
    pub local_networks: LocalNetworks,
    /// UDP port of the first shard's WebRTC legs, the next shard has the next one; 0: any port.
    pub webrtc_port: u16,
    /// UDP ports of plain legs, two for each.
    pub rtp_ports: RangeInclusive<u16>,
    /// The certificate of every DTLS handshake; `None`: one is made.
    pub certificate: Option<Certificate>,
    /// Most legs open at a time, over all shards.
    pub legs_max: usize,
    /// Bytes of kernel buffer wanted for each shared socket, each way.
    pub socket_buffer_bytes: usize,
    /// Commands that may wait for a shard.
    pub commands_max: usize,
    /// Events of a leg that may wait to be read; what comes after is dropped and counted.
    pub events_max: usize,
    /// Packets of other shards that may wait for a shard.
    pub ring_packets_max: usize,
    /// Effort of encoding to Opus what comes from a leg of another codec: 0 (least) to 10 (best).
    pub opus_complexity: u8,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            addresses: vec![IpAddr::from([127, 0, 0, 1])],
            advertised: BTreeMap::new(),
            external_ports: PortMap::default(),
            local_networks: LocalNetworks::default(),
            webrtc_port: 10_000,
            rtp_ports: 10_100..=29_999,
            certificate: None,
            legs_max: 10_000,
            socket_buffer_bytes: 8 << 20,
            commands_max: 4_096,
            events_max: 64,
            ring_packets_max: 512,
            opus_complexity: 5,
        }
    }
}

/// The media plane cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There are no shards, or too many.
    #[error("{0} media shards; there must be from 1 to {SHARDS_MAX}")]
    Shards(u16),
    /// There is no address to bind to.
    #[error("media has no address to bind to")]
    NoAddress,
    /// A socket for WebRTC media cannot be bound.
    #[error("media cannot be bound to {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system refused a thread or an event queue.
    #[error("a media thread cannot be started: {0}")]
    Thread(#[source] io::Error),
    /// The certificate could not be made or used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A leg cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Media is not bound to any address of the peer's family.
    #[error("media is not bound to an address of the family of {0}")]
    NoAddress(IpAddr),
    /// Every pair of ports of the range is in use.
    #[error("no pair of RTP ports is free in {first} to {last}")]
    PortsExhausted {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// As many legs are open as may be.
    #[error("{legs_max} media legs are open, no more are allowed")]
    LegsExhausted {
        /// The configured bound.
        legs_max: usize,
    },
    /// There is no such shard, or it is overloaded or gone.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The system refused a socket.
    #[error("no socket for media: {0}")]
    Io(#[from] io::Error),
}

/// The running media plane. Cheap to clone; shared by all calls. Its threads end when
/// [`MediaPlane::shutdown`] is called or the last clone is dropped.
#[derive(Clone, Debug)]
pub struct MediaPlane {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: MediaConfig,
    fingerprint: Fingerprint,
    shards: Vec<ShardOutside>,
    ports: Arc<PortAllocator>,
    own: Arc<OwnPorts>,
    legs: Arc<AtomicUsize>,
    serial: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl MediaPlane {
    /// Binds the shared sockets and starts a thread per shard.
    ///
    /// # Errors
    ///
    /// A number makes no sense, or the system refuses a socket or a thread.
    pub fn start(config: MediaConfig) -> Result<Self, StartError> {
        if config.shards == 0 || config.shards > SHARDS_MAX {
            return Err(StartError::Shards(config.shards));
        }
        if config.addresses.is_empty() {
            return Err(StartError::NoAddress);
        }
        let certificate = match &config.certificate {
            Some(certificate) => certificate.clone(),
            None => Certificate::generate()?,
        };
        let configs = Configs::new(&certificate)?;
        let mut starting = Vec::new();
        for shard in 0..config.shards {
            starting.push(Starting::new(shard, &config)?);
        }
        let senders: Vec<_> = starting.iter().map(|shard| shard.ring_sender.clone()).collect();
        let shared = starting.iter().flat_map(|shard| shard.shared.clone()).collect();
        let ports = Arc::new(PortAllocator::new(&config.rtp_ports));
        let own = Arc::new(OwnPorts::new(&config, shared, Arc::clone(&ports)));
        // Dropped on the way out of a failure, it ends the threads that run already.
        let mut inner = Inner {
            fingerprint: certificate.fingerprint(),
            shards: Vec::new(),
            ports,
            own,
            legs: Arc::default(),
            serial: AtomicU64::new(1),
            threads: Mutex::default(),
            config,
        };
        for shard in starting {
            let (outside, thread) = shard.start(&inner.config, &configs, &senders)?;
            inner.shards.push(outside);
            inner.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens a leg: binds its ports if it is plain, chooses its ICE parameters if it is WebRTC. It
    /// receives as soon as its shard has taken it over, which is before any command. Never blocks.
    ///
    /// # Errors
    ///
    /// A bound is reached or the system refuses a socket.
    pub fn open(&self, mut parameters: LegParameters) -> Result<LegHandle, OpenError> {
        let inner = &*self.inner;
        let number = inner.choose_shard(parameters.shard)?;
        let shard = inner.shards.get(usize::from(number)).ok_or(CommandError::Gone)?;
        let legs_max = inner.config.legs_max;
        let permit = Permit::new(&shard.link, &inner.legs, legs_max)
            .ok_or(OpenError::LegsExhausted { legs_max })?;
        let at = inner.choose_address(&parameters)?;
        let mut aiming = Aiming::new(Arc::clone(&inner.own), parameters.signalling_local);
        if let Some(negotiated) = &parameters.negotiated {
            // Before the leg has ports, so that it does not get those.
            aiming.at(&negotiated.remote);
        }
        let (local, pair) = inner.local_media(shard, at, &parameters)?;
        let serial = inner.serial.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = mpsc::channel(inner.config.events_max.max(32));
        let is_dropped = Arc::new(AtomicBool::new(false));
        let remote_ice = parameters.negotiated.as_ref().and_then(remote_ice);
        let ice = local.ice.as_ref();
        let keys = Keys::new(parameters.negotiated.as_mut(), &local.sdes);
        let bound = inner.config.addresses[at];
        let leg = OpenLeg {
            local: Some(if bound.is_unspecified() { local.address } else { bound }),
            serial,
            parameters,
            ssrc: local.ssrc,
            cname: local.cname.clone(),
            earlier: pair.as_ref().map(|pair| pair.earlier.clone()),
            ice: ice.map(|ice| IceCredentials { ufrag: ice.ufrag.clone(), pwd: ice.pwd.clone() }),
        };
        let open = Open { leg, pair, events: sender, is_dropped: Arc::clone(&is_dropped), permit };
        shard.link.send(Control::Open(Box::new(open)))?;
        let link = Arc::clone(&shard.link);
        let id = LegId { shard: number, serial };
        let before_restart = None;
        Ok(LegHandle {
            id,
            local,
            events,
            link,
            is_dropped,
            remote_ice,
            before_restart,
            keys,
            aiming,
        })
    }

    /// Whether what is sent to `address` comes to a leg of ours. `local` is the address at which whoever
    /// names it reaches us, for a plane that is bound to all.
    pub fn is_own(&self, address: SocketAddr, local: Option<IpAddr>) -> bool {
        self.inner.own.is_own(address, local)
    }

    /// Whether plain legs have sockets of the family of `address`.
    #[must_use]
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.inner.config.addresses.iter().any(|bound| bound.is_ipv4() == address.is_ipv4())
    }

    /// Whether no plain leg can be opened: as many legs are open as may be, or every pair of ports is
    /// in use.
    pub fn is_full(&self) -> bool {
        let inner = &*self.inner;
        inner.legs.load(Ordering::Acquire) >= inner.config.legs_max
            || inner.config.addresses.iter().all(|address| inner.ports.is_full(*address))
    }

    /// Of the certificate that every WebRTC leg presents.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.inner.fingerprint
    }

    /// Where WebRTC legs are reached: for each shard one socket per configured address.
    pub fn webrtc_addresses(&self) -> Vec<Vec<SocketAddr>> {
        self.inner.shards.iter().map(|shard| shard.shared.clone()).collect()
    }

    /// The counters of every shard and of the plane.
    pub fn counters(&self) -> PlaneCounters {
        let shards = &self.inner.shards;
        let is_alive = |shard: &&ShardOutside| shard.link.is_alive.load(Ordering::Acquire);
        PlaneCounters {
            shards: shards.iter().map(|shard| shard.link.counters.snapshot()).collect(),
            shards_alive: shards.iter().filter(is_alive).count(),
            port_pairs_used: self.inner.ports.pairs_used(),
            port_pairs: self.inner.ports.pairs(),
        }
    }

    /// Closes every leg and ends the threads; returns once they have ended. Later calls return at
    /// once.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }
}

impl Inner {
    fn choose_shard(&self, wanted: Option<u16>) -> Result<u16, CommandError> {
        if let Some(wanted) = wanted {
            return Ok(wanted);
        }
        let alive = self
            .shards
            .iter()
            .zip(0..)
            .filter(|(shard, _)| shard.link.is_alive.load(Ordering::Acquire));
        let fewest = alive.min_by_key(|(shard, _)| shard.link.legs.load(Ordering::Acquire));
        fewest.map(|(_, number)| number).ok_or(CommandError::Gone)
    }

    /// The configured address for a leg: where its signalling came to, else the first one of the
    /// peer's family.
    fn choose_address(&self, parameters: &LegParameters) -> Result<usize, OpenError> {
        let addresses = &self.config.addresses;
        let remote = match parameters.negotiated.as_ref().map(|negotiated| &negotiated.remote) {
            // An unspecified address holds the call, and is not sent to.
            Some(RemoteMedia::Plain { rtp, .. }) => {
                Some(rtp.ip()).filter(|ip| !ip.is_unspecified())
            }
            Some(RemoteMedia::WebRtc(_)) | None => None,
        };
        let fits = |address: &IpAddr| remote.is_none_or(|r| r.is_ipv4() == address.is_ipv4());
        let same = |address: &IpAddr| parameters.signalling_local == Some(*address);
        let near = |address: &IpAddr| {
            let local = parameters.signalling_local.or(parameters.signalling_remote);
            local.is_none_or(|local| local.is_ipv4() == address.is_ipv4())
        };
        let first = |which: &dyn Fn(&IpAddr) -> bool| addresses.iter().position(which);
        first(&|address| fits(address) && same(address))
            .or_else(|| first(&|address| fits(address) && near(address)))
            .or_else(|| first(&fits))
            .ok_or_else(|| OpenError::NoAddress(remote.unwrap_or(addresses[0])))
    }

    fn local_media(
        &self,
        shard: &ShardOutside,
        at: usize,
        parameters: &LegParameters,
    ) -> Result<(LocalMedia, Option<PortPair>), OpenError> {
        let mut random = rand::rng();
        let bound = self.config.addresses[at];
        let cname = format!("{:016x}{:08x}", random.random::<u64>(), random.random::<u32>());
        let mut local = LocalMedia {
            address: self.advertised(bound, parameters),
            rtp_port: 0,
            rtcp_port: 0,
            ice: None,
            fingerprint: None,
            ssrc: random.random(),
            cname,
            sdes: Vec::new(),
        };
        match parameters.kind {
            LegKind::Plain => {
                let (first, last) = self.config.rtp_ports.clone().into_inner();
                let pair = self.ports.bind(bound)?;
                let pair = pair.ok_or(OpenError::PortsExhausted { first, last })?;
                let outside = |port| self.outside(bound, local.address, port);
                (local.rtp_port, local.rtcp_port) = (outside(pair.port), outside(pair.port + 1));
                let key = |profile| SdesKey::random(profile, &mut random);
                local.sdes = SDES_PROFILES.into_iter().map(key).collect();
                Ok((local, Some(pair)))
            }
            LegKind::WebRtc => {
                let outside = |bound: &SocketAddr| {
                    let ip = self.advertised(bound.ip(), parameters);
                    SocketAddr::new(ip, self.outside(bound.ip(), ip, bound.port()))
                };
                let mut candidates: Vec<_> = shard.shared.iter().map(outside).collect();
                candidates.swap(0, at);
                // Who is on our side of the NAT reaches us as we are.
                let inside = shard.shared.iter().filter(|bound| !bound.ip().is_unspecified());
                let inside: Vec<_> = inside.filter(|b| !candidates.contains(b)).copied().collect();
                candidates.extend(inside);
                local.rtp_port = candidates[0].port();
                local.rtcp_port = local.rtp_port;
                let IceCredentials { ufrag, pwd } = IceCredentials::random(&mut random);
                local.ice = Some(LocalIce { ufrag, pwd, candidates });
                local.fingerprint = Some(self.fingerprint.clone());
                Ok((local, None))
            }
        }
    }

    /// What is said for a bound address. One of all zeros, without a mapping, is said as the address
    /// that the signalling came to.
    fn advertised(&self, bound: IpAddr, parameters: &LegParameters) -> IpAddr {
        let is_local = parameters
            .signalling_remote
            .is_some_and(|remote| self.config.local_networks.has(remote));
        if let Some(advertised) = self.config.advertised.get(&bound).filter(|_| !is_local) {
            return *advertised;
        }
        let local = parameters.signalling_local.filter(|l| l.is_ipv4() == bound.is_ipv4());
        if bound.is_unspecified() { local.unwrap_or(bound) } else { bound }
    }

    /// The port outside; ports have other numbers only where addresses are others.
    fn outside(&self, bound: IpAddr, advertised: IpAddr, port: u16) -> u16 {
        if bound == advertised { port } else { self.config.external_ports.outside(port) }
    }

    fn shutdown(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for shard in &self.shards {
            // The queue may be full for a moment; a thread that is gone has nothing to end.
            while shard.link.send(Control::Shutdown) == Err(CommandError::Full) {
                shard.link.waker.wake();
                std::thread::yield_now();
            }
            // Its end is waited for, so that this wake is not to be put off.
            shard.link.waker.wake();
        }
        for thread in threads {
            if let Err(panic) = thread.join() {
                let reason = panic.downcast_ref::<&str>().copied().unwrap_or("of no known reason");
                tracing::warn!(reason, "a media shard had died");
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// What the plane and its shards counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaneCounters {
    /// One entry per shard.
    pub shards: Vec<ShardCounters>,
    /// Shards whose thread still runs; fewer than all means that one died.
    pub shards_alive: usize,
    /// Pairs of plain ports in use, over all addresses.
    pub port_pairs_used: usize,
    /// Pairs of plain ports in the range, for each address.
    pub port_pairs: usize,
}

/// Most shards of a plane.
pub const SHARDS_MAX: u16 = 64;
