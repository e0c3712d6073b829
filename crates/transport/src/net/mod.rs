//! Tokio shells around the sockets: read, write, nothing decided here.
//!
//! ```text
//!                 +- udp --------------------------------------------+
//!   wire <------> | tcp, tls, web -> connection -> stream, websocket | --NetEvent--> consumer
//!                 +--------------------------------------------------+ <--send------
//! ```
//!
//! [`Network`] owns every listener and connection. All that arrives goes into one bounded channel
//! of [`NetEvent`]s; whoever reads it sets the pace, since a connection whose event is not taken is
//! not read. What is sent is queued per connection within bounds; a peer that does not read is
//! cut off. Whether a message is valid, and where an answer goes, is decided elsewhere.
//!
//! Not here, on purpose: NAPTR records, connections to WebSocket peers, and SIP over SCTP.

mod admission;
mod config;
mod connection;
mod counters;
mod datagram;
mod error;
mod event;
mod heap;
mod http;
mod listener;
mod outbound;
mod route;
mod servers;
mod stream;
mod tcp;
mod tls;
mod udp;
mod undelivered;
mod upgrade;
mod web;
mod websocket;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dashmap::DashMap;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::debug;

use rustls::pki_types::ServerName;

use self::{
    admission::Admission, connection::Connection, counters::Counters, outbound::Destination,
    udp::UdpListener,
};
pub use self::{
    config::NetConfig,
    counters::NetCounters,
    error::{NetError, SendError},
    event::{CloseReason, DropReason, NetEvent, Query},
    heap::give_back_heap,
    http::{HttpBody, HttpHandler, Peer},
    listener::Listen,
};
use crate::{Flow, FlowId, TransportKind};

/// Every listener, connection and UDP socket of the process. Clones share them.
#[derive(Debug, Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

impl Network {
    /// Makes a network without listeners that reports to `events`.
    #[must_use]
    pub fn new(config: NetConfig, events: mpsc::Sender<NetEvent>) -> Self {
        let admission = Admission::new(config.connections_max, config.connections_per_address_max);
        let inner = Inner {
            config,
            events,
            admission,
            flows: DashMap::new(),
            outbound: DashMap::new(),
            next_id: AtomicU64::new(1),
            counters: Counters::default(),
            stop: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes `address` (port 0 lets the kernel choose) and serves it until
    /// [`shutdown`](Self::shutdown); returns the address taken. An IPv6 wildcard takes no IPv4.
    ///
    /// Must be called within a Tokio runtime, which runs the tasks.
    ///
    /// # Errors
    /// [`NetError::Listen`], above all when the address is in use.
    pub fn listen(&self, listen: Listen, address: SocketAddr) -> Result<SocketAddr, NetError> {
        let kind = listen.kind();
        let bound = match listen {
            Listen::Udp => udp::listen(&self.inner, address),
            Listen::Tcp | Listen::Tls(_) | Listen::Http(_) | Listen::Https(_, _) => {
                listener::listen(&self.inner, listen, address)
            }
        };
        bound.map_err(|source| NetError::Listen { kind, address, source })
    }

    /// Makes a flow to a peer: a connection for TCP and TLS, unless we have made one before, which
    /// also reports [`NetEvent::Opened`]; for UDP a listener that has the peer's address family.
    /// A TLS peer must have a certificate for its address; [`Network::route`] asks for its name.
    ///
    /// # Errors
    /// [`NetError::Connect`] when the peer does not answer within the handshake timeout, has no
    /// certificate that we trust, or the transport only listens; [`NetError::NoListener`],
    /// [`NetError::ConnectionsMax`].
    pub async fn connect(&self, kind: TransportKind, remote: SocketAddr) -> Result<Flow, NetError> {
        self.connect_as(kind, remote, remote.ip().into()).await
    }

    async fn connect_as(
        &self,
        kind: TransportKind,
        remote: SocketAddr,
        name: ServerName<'static>,
    ) -> Result<Flow, NetError> {
        match kind {
            TransportKind::Udp => self.udp_flow(remote),
            TransportKind::Tcp => outbound::connect(&self.inner, Destination::Tcp(remote)).await,
            TransportKind::Tls => {
                outbound::connect(&self.inner, Destination::Tls(remote, name)).await
            }
            TransportKind::Ws | TransportKind::Wss => {
                let source = io::ErrorKind::Unsupported.into();
                Err(NetError::Connect { kind, remote, source })
            }
        }
    }

    /// The UDP flow to a peer from the listener that has this address of ours, for a peer that
    /// was heard there before.
    #[must_use]
    pub fn udp_flow_from(&self, local: SocketAddr, remote: SocketAddr) -> Option<Flow> {
        let listeners: Vec<_> = self.inner.flows.iter().filter_map(|e| e.udp()).collect();
        let fits = |bound: SocketAddr| {
            bound.port() == local.port()
                && (bound.ip() == local.ip() || bound.ip().is_unspecified())
                && can_reach(bound.ip(), remote.ip())
        };
        let listener = listeners.into_iter().find(|listener| fits(listener.bound))?;
        Some(Flow { id: listener.id, kind: TransportKind::Udp, local, remote })
    }

    fn udp_flow(&self, remote: SocketAddr) -> Result<Flow, NetError> {
        let mut listeners: Vec<_> = self.inner.flows.iter().filter_map(|e| e.udp()).collect();
        listeners.retain(|listener| can_reach(listener.bound.ip(), remote.ip()));
        // The one that the peer's answers find on the shortest way; among equals the oldest, so
        // that the choice does not depend on hashing.
        let source = match listeners.len() {
            0 | 1 => None,
            _ => udp::route_source(remote).ok(),
        };
        let distance = |ip: IpAddr| match ip {
            ip if Some(ip) == source => 0,
            ip if ip.is_unspecified() => 1,
            _ => 2,
        };
        let nearest = listeners
            .into_iter()
            .min_by_key(|listener| (distance(listener.bound.ip()), listener.id.0));
        let listener = nearest.ok_or(NetError::NoListener { remote })?;
        let kind = TransportKind::Udp;
        listener.flow_to(remote).map_err(|source| NetError::Connect { kind, remote, source })
    }

    /// Sends one message, or any bytes, on a flow. Never blocks: what the kernel does not take at
    /// once waits within the configured bounds.
    ///
    /// # Errors
    /// [`SendError`]; on a stream `Ok` says that the bytes are queued, not that they arrived.
    pub fn send(&self, flow: &Flow, bytes: Bytes) -> Result<(), SendError> {
        // The entry is cloned so that no lock of the table is held while sending.
        match self.inner.flows.get(&flow.id).map(|entry| entry.clone()) {
            Some(Entry::Stream(connection)) => connection.send(bytes),
            Some(Entry::Udp(listener)) => listener.send(flow, bytes),
            None => {
                self.inner.counters.of(flow.kind).dropped(DropReason::NoFlow, 1);
                Err(SendError::NoFlow)
            }
        }
    }

    /// Whether a socket or connection is still there.
    #[must_use]
    pub fn is_open(&self, id: FlowId) -> bool {
        self.inner.flows.contains_key(&id)
    }

    /// Ends a stream connection once what is queued is sent. UDP sockets and flows that have ended
    /// are left alone.
    pub fn close(&self, id: FlowId) {
        if let Some(Entry::Stream(connection)) =
            self.inner.flows.get(&id).map(|entry| entry.clone())
        {
            connection.close(CloseReason::Local);
        }
    }

    /// Says that who has opened a stream connection is known: it makes room for no other one when
    /// there are as many as may be.
    pub fn vouch(&self, id: FlowId) {
        if let Some(Entry::Stream(connection)) = self.inner.flows.get(&id).as_deref() {
            connection.slot.vouch();
        }
    }

    /// Stops listening, ends every connection once what is queued is sent, and waits for their
    /// tasks, a few times [`NetConfig::linger`] at most. Events must be read meanwhile, or their
    /// receiver dropped.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        self.inner.flows.retain(|_, entry| matches!(entry, Entry::Stream(_)));
        let bound = self.inner.config.linger * 3 + Duration::from_secs(1);
        if timeout(bound, self.inner.stop.closed()).await.is_err() {
            debug!(connections = self.connections(), "connections abandoned at shutdown");
        }
    }

    /// What was carried since start, one entry per transport.
    #[must_use]
    pub fn counters(&self) -> Vec<NetCounters> {
        self.inner.counters.snapshot()
    }

    /// Connections that count against [`NetConfig::connections_max`]: those that carry SIP, those
    /// that carry HTTP and unfinished handshakes.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.inner.admission.connections()
    }
}

/// A socket bound to loopback reaches only loopback, and one family never the other.
fn can_reach(bound: IpAddr, remote: IpAddr) -> bool {
    bound.is_ipv4() == remote.is_ipv4()
        && (bound.is_unspecified() || bound.is_loopback() == remote.is_loopback())
}

/// What the tasks share.
#[derive(Debug)]
struct Inner {
    config: NetConfig,
    events: mpsc::Sender<NetEvent>,
    admission: Arc<Admission>,
    flows: DashMap<FlowId, Entry>,
    /// The connections that we made.
    outbound: DashMap<Destination, FlowId>,
    next_id: AtomicU64,
    counters: Counters,
    /// True tells every task to end; each holds a receiver while it runs.
    stop: watch::Sender<bool>,
}

impl Inner {
    fn next_id(&self) -> FlowId {
        FlowId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    fn add_udp(&self, listener: &Arc<UdpListener>) {
        self.flows.insert(listener.id, Entry::Udp(listener.clone()));
    }

    fn opened(&self, connection: &Arc<Connection>) {
        self.counters.of(connection.flow.kind).opened();
        self.flows.insert(connection.flow.id, Entry::Stream(connection.clone()));
        debug!(flow = %connection.flow.id, remote = %connection.flow.remote, "connection opened");
    }

    fn closed(&self, flow: &Flow, reason: CloseReason) {
        self.flows.remove(&flow.id);
        self.counters.of(flow.kind).closed(reason);
        debug!(flow = %flow.id, reason = reason.label(), "connection closed");
    }
}

/// What carries the messages of a flow.
#[derive(Debug, Clone)]
enum Entry {
    Udp(Arc<UdpListener>),
    Stream(Arc<Connection>),
}

impl Entry {
    fn udp(&self) -> Option<Arc<UdpListener>> {
        match self {
            Self::Udp(listener) => Some(listener.clone()),
            Self::Stream(_) => None,
        }
    }
}
