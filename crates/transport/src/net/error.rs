//! What can go wrong with a socket of ours.

use std::{io, net::SocketAddr};

use crate::TransportKind;

/// A socket could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// A listener could not take its address.
    #[error("cannot listen on {address} ({}): {source}", .kind.label())]
    Listen {
        /// What the listener would have carried.
        kind: TransportKind,
        /// The address asked for.
        address: SocketAddr,
        /// Why: `AddrInUse`, `AddrNotAvailable` and `PermissionDenied` are the usual kinds.
        source: io::Error,
    },
    /// A connection to a peer could not be made.
    #[error("cannot connect to {remote} ({}): {source}", .kind.label())]
    Connect {
        /// The transport of the connection.
        kind: TransportKind,
        /// The peer.
        remote: SocketAddr,
        /// Why; `TimedOut` after the handshake timeout, `Unsupported` for a transport that only
        /// listens.
        source: io::Error,
    },
    /// A name has no address, or the look-up failed.
    #[error("no address for {host}: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// No UDP listener has the peer's address family.
    #[error("no udp listener can reach {remote}")]
    NoListener {
        /// The peer.
        remote: SocketAddr,
    },
    /// The bound of stream connections is reached.
    #[error("{connections_max} connections are open, the most allowed")]
    ConnectionsMax {
        /// The bound.
        connections_max: usize,
    },
}

/// A message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The flow has ended.
    #[error("the flow has ended")]
    NoFlow,
    /// Too much waits for this peer. A stream connection is closed for it.
    #[error("too much waits to be sent on the flow")]
    QueueFull,
    /// The kernel refused the datagram.
    #[error("the datagram was refused: {0}")]
    Refused(io::ErrorKind),
}

impl SendError {
    /// Whether no way leads to the peer, so that the next datagram does not reach it either.
    #[must_use]
    pub fn is_unreachable(self) -> bool {
        let Self::Refused(kind) = self else { return false };
        matches!(kind, io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
    }
}
