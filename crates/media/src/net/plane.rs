//! The media plane: starts the shards, opens legs on them.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use tokio::sync::mpsc;

use crate::{
    dtls::{Certificate, CertificateError},
    sdp::{Fingerprint, Negotiated},
    shard::{Command, LegEvent, LegId, LegParameters, LocalMedia, ShardCounters},
};

/// What a media plane is started with.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// Threads, each with its own sockets and legs; at least 1, at most 64.
    pub shards: u16,
    /// Addresses that media is bound to.
    pub addresses: Vec<IpAddr>,
    /// What is said instead of a bound address in session descriptions.
    pub advertised: BTreeMap<IpAddr, IpAddr>,
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
    /// Packets that may wait between one shard and another.
    pub ring_packets_max: usize,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            shards: 1,
            addresses: vec![IpAddr::from([127, 0, 0, 1])],
            advertised: BTreeMap::new(),
            webrtc_port: 10_000,
            rtp_ports: 10_100..=29_999,
            certificate: None,
            legs_max: 10_000,
            socket_buffer_bytes: 8 << 20,
            commands_max: 4_096,
            events_max: 64,
            ring_packets_max: 512,
        }
    }
}

/// The media plane cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There are no shards, or too many.
    #[error("media.shards is {0}; it must be from 1 to 64")]
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
    /// The certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// A leg cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Media is not bound to any address of the peer's family.
    #[error("media is not bound to an address that reaches {0}")]
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
    /// The shard has as many commands waiting as it may, or is gone.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The system refused a socket.
    #[error("no socket for media: {0}")]
    Io(#[from] io::Error),
}

/// A command did not reach the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// As many commands wait as may.
    #[error("the media shard has too many commands waiting")]
    Full,
    /// The shard's thread is gone.
    #[error("the media shard is gone")]
    Gone,
}

/// The running media plane. Cheap to clone; shared by all calls.
#[derive(Clone, Debug)]
pub struct MediaPlane {}

impl MediaPlane {
    /// Binds the shared sockets and starts a thread per shard.
    ///
    /// # Errors
    ///
    /// A number makes no sense, or the system refuses a socket or a thread.
    pub fn start(config: MediaConfig) -> Result<Self, StartError> {
        Err(StartError::Shards(config.shards))
    }

    /// Opens a leg: binds its ports if it is plain, chooses its ICE parameters if it is WebRTC. It
    /// receives at once. Never blocks.
    ///
    /// # Errors
    ///
    /// A bound is reached or the system refuses a socket.
    pub fn open(&self, parameters: LegParameters) -> Result<LegHandle, OpenError> {
        let _ = parameters;
        Err(OpenError::Command(CommandError::Gone))
    }

    /// Of the certificate that every WebRTC leg presents.
    pub fn fingerprint(&self) -> &Fingerprint {
        unreachable!("no plane exists")
    }

    /// The counters of every shard and of the plane.
    pub fn counters(&self) -> PlaneCounters {
        PlaneCounters::default()
    }

    /// Closes every leg and ends the threads; returns once they have ended.
    pub fn shutdown(&self) {}
}

/// What the plane and its shards counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaneCounters {
    /// One entry per shard.
    pub shards: Vec<ShardCounters>,
    /// Shards whose thread still runs.
    pub shards_alive: usize,
    /// Pairs of plain ports in use.
    pub port_pairs_used: usize,
    /// Pairs of plain ports in the range, for each address.
    pub port_pairs: usize,
}

/// An open leg. Dropping it closes the leg.
#[derive(Debug)]
pub struct LegHandle {
    /// Names the leg, for [`Command::Bridge`].
    pub id: LegId,
    /// Our side, as the session description must say it.
    pub local: LocalMedia,
    /// What the leg reports; ends after [`LegEvent::Closed`] or when the shard dies.
    pub events: mpsc::Receiver<LegEvent>,
}

impl LegHandle {
    /// Tells the leg what to do. Never blocks.
    ///
    /// # Errors
    ///
    /// The shard is overloaded or gone.
    pub fn command(&self, command: Command) -> Result<(), CommandError> {
        let _ = command;
        Err(CommandError::Gone)
    }

    /// Tells the leg what a later offer and answer changed. When the peer restarted ICE (another
    /// ufrag and password), [`LegHandle::local`] has new ICE parameters afterwards; describe the
    /// leg only then.
    ///
    /// # Errors
    ///
    /// The shard is overloaded or gone.
    pub fn update(&mut self, negotiated: Negotiated) -> Result<(), CommandError> {
        let _ = negotiated;
        Err(CommandError::Gone)
    }
}
