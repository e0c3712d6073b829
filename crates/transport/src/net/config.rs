//! What bounds and times the sockets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::Limits;

/// Bounds, timeouts and policies of one [`Network`](super::Network).
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Bounds of one SIP message, on every transport.
    pub limits: Limits,
    /// Stream connections open at a time over all listeners, HTTP and unfinished handshakes
    /// included. At the bound the oldest connection that has carried no SIP yet makes room.
    pub connections_max: usize,
    /// The same, for one IPv4 address or one IPv6 /64.
    pub connections_per_address_max: usize,
    /// Bytes that may wait for one slow peer before its connection is closed.
    pub queue_bytes_max: usize,
    /// Messages that may wait for one slow peer before its connection is closed; on UDP,
    /// datagrams that may wait for the kernel before more are dropped.
    pub queue_messages_max: usize,
    /// From accept to the end of the TLS handshake, and from there to the end of each HTTP head.
    pub handshake_timeout: Duration,
    /// From accept to the first whole message on TCP and TLS, and from the first byte of any later
    /// message to its last.
    pub message_timeout: Duration,
    /// Silence in both directions after which a TCP or TLS connection is closed.
    pub idle_timeout: Duration,
    /// How long one write may wait for a peer that does not read.
    pub write_timeout: Duration,
    /// Silence after which the kernel probes a TCP peer; after the same time again without an
    /// answer, or without a byte taken of what waits for it, the peer counts as gone.
    pub keep_alive_interval: Duration,
    /// How often a WebSocket peer is pinged.
    pub ping_interval: Duration,
    /// How long after a ping a WebSocket peer that sends nothing counts as gone. Shorter than
    /// `ping_interval`.
    pub pong_timeout: Duration,
    /// WebSocket pings, pongs and CRLF keep-alives a peer may send in ten seconds.
    pub keep_alives_max: u32,
    /// How long a connection that is being closed may take to deliver what is queued, and how long
    /// an unparsable message may wait for its answer.
    pub linger: Duration,
    /// Bytes asked of the kernel for each UDP socket's receive queue.
    pub udp_receive_buffer_bytes: usize,
    /// Whom we trust when we connect to a TLS peer; without it none is connected to.
    pub tls_client: Option<Arc<rustls::ClientConfig>>,
    /// Who is asked for the SRV records of SIP domains; empty: the name servers of the system.
    pub name_servers: Vec<SocketAddr>,
    /// WebSocket origins (`https://phone.example.com`) that are let in; `None` lets in any. A
    /// client that sends no Origin is no browser and is always let in.
    pub origins: Option<Vec<String>>,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connections_max: 10_000,
            connections_per_address_max: 5_000,
            queue_bytes_max: 262_144,
            queue_messages_max: 512,
            handshake_timeout: Duration::from_secs(10),
            message_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(3600),
            write_timeout: Duration::from_secs(20),
            keep_alive_interval: Duration::from_secs(30),
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(10),
            keep_alives_max: 50,
            linger: Duration::from_secs(1),
            udp_receive_buffer_bytes: 4_194_304,
            tls_client: None,
            name_servers: Vec::new(),
            origins: None,
        }
    }
}
