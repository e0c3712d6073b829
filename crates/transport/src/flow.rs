//! A flow: the 5-tuple to a peer (RFC 5626 §3).

use std::fmt;
use std::net::SocketAddr;

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransportKind {
    /// Datagrams (RFC 3261 §18).
    Udp,
    /// A plain stream.
    Tcp,
    /// A stream under TLS.
    Tls,
    /// WebSocket over a plain stream (RFC 7118).
    Ws,
    /// WebSocket under TLS (RFC 7118).
    Wss,
}

impl TransportKind {
    /// Every kind, in the order in which they are reported.
    pub const ALL: [TransportKind; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// The token of the Via header field: `UDP`, `TCP`, `TLS`, `WS`, `WSS`.
    pub fn via_token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The label of metrics and logs, and the value of a `transport` URI parameter.
    pub fn label(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Reads a Via token or a `transport` parameter, in any case.
    pub fn from_token(token: &str) -> Option<TransportKind> {
        Self::ALL.into_iter().find(|kind| kind.label().eq_ignore_ascii_case(token))
    }

    /// Whether the transport itself delivers each message once or breaks (RFC 3261 §17).
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }

    /// Whether the hop is under TLS.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// The port where a sent-by or a URI names none (RFC 3261 §18.2.1, RFC 7118 §5.3).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// Names one socket: a UDP listener, or one connection. Never used twice by one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A 5-tuple to a peer.
///
/// For UDP `id` names the listener's socket and `remote` the peer; for the others `id` names the
/// connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The socket.
    pub id: FlowId,
    /// How messages travel on it.
    pub kind: TransportKind,
    /// Our address as the socket sees it.
    pub local: SocketAddr,
    /// The peer's address as the socket sees it.
    pub remote: SocketAddr,
}
