//! What the sockets report, and why connections and messages end.

use std::{fmt, net::SocketAddr};

use bytes::Bytes;

use crate::{Flow, FlowId, Message, ParseError};

/// Something that happened on the wire.
#[derive(Debug)]
pub enum NetEvent {
    /// A stream connection is ready to carry SIP: accepted or connected, handshakes done.
    Opened {
        /// The new connection.
        flow: Flow,
        /// What stood after the `?` of the URL that a WebSocket was opened with.
        query: Option<Query>,
    },
    /// One SIP message arrived. It could be indexed; whether it is valid is not yet known.
    Message {
        /// Where it came from, and where an answer goes.
        flow: Flow,
        /// The message.
        message: Message,
    },
    /// Bytes arrived that are not a SIP message.
    Unparsable {
        /// Where they came from.
        flow: Flow,
        /// What is wrong, and what could be read of it.
        error: ParseError,
        /// Whether the next message cannot be found, on TCP and TLS: nothing more is read from the
        /// flow, which ends after [`NetConfig::linger`](super::NetConfig::linger) or on
        /// [`Network::close`](super::Network::close): send an answer before.
        is_last: bool,
    },
    /// The network could not deliver a datagram of ours (RFC 3261 §18.4). Not all are reported, and
    /// anybody may have forged one.
    Undelivered {
        /// The socket that it was sent from.
        socket: FlowId,
        /// Where it was sent.
        remote: SocketAddr,
        /// Its beginning, or as much of that as was quoted: maybe nothing.
        quote: Bytes,
    },
    /// A stream connection has ended: exactly once for each [`NetEvent::Opened`].
    Closed {
        /// The connection, of which no event follows.
        flow: Flow,
        /// Why it ended.
        reason: CloseReason,
    },
}

/// The query of a URL. It may hold a secret, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Query(Box<str>);

impl Query {
    /// Keeps a query, unless it is longer than any that is read.
    pub(super) fn new(text: &str) -> Option<Self> {
        (text.len() <= QUERY_BYTES_MAX).then(|| Query(text.into()))
    }

    /// The first value of a name, as it was written.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({} bytes)", self.0.len())
    }
}

/// A longer query is as good as none.
const QUERY_BYTES_MAX: usize = 6_144;

/// Why a stream connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer closed it in order.
    Peer,
    /// The peer reset it, or the network failed.
    Reset,
    /// [`Network::close`](super::Network::close) was called.
    Local,
    /// [`Network::shutdown`](super::Network::shutdown) was called.
    Shutdown,
    /// Nothing passed for the idle timeout.
    Idle,
    /// The first message, or the rest of a later one, did not come in time.
    MessageTimeout,
    /// A WebSocket peer answered no ping.
    PingTimeout,
    /// A peer sent more keep-alives than it may.
    KeepAliveFlood,
    /// The peer does not read what is sent to it.
    SlowReader,
    /// The bytes were not SIP.
    Unparsable,
    /// A WebSocket frame or message was over the limit (close code 1009).
    TooLarge,
    /// A WebSocket frame broke RFC 6455 (close code 1002).
    Protocol,
    /// A WebSocket text was not UTF-8 (close code 1007).
    Encoding,
    /// It had carried no SIP yet and made room for a newer connection at the bound.
    Evicted,
    /// A fault of ours ended the connection's task.
    Fault,
}

impl CloseReason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 15] = [
        Self::Peer,
        Self::Reset,
        Self::Local,
        Self::Shutdown,
        Self::Idle,
        Self::MessageTimeout,
        Self::PingTimeout,
        Self::KeepAliveFlood,
        Self::SlowReader,
        Self::Unparsable,
        Self::TooLarge,
        Self::Protocol,
        Self::Encoding,
        Self::Evicted,
        Self::Fault,
    ];

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Reset => "reset",
            Self::Local => "local",
            Self::Shutdown => "shutdown",
            Self::Idle => "idle",
            Self::MessageTimeout => "message_timeout",
            Self::PingTimeout => "ping_timeout",
            Self::KeepAliveFlood => "keep_alive_flood",
            Self::SlowReader => "slow_reader",
            Self::Unparsable => "unparsable",
            Self::TooLarge => "too_large",
            Self::Protocol => "protocol",
            Self::Encoding => "encoding",
            Self::Evicted => "evicted",
            Self::Fault => "fault",
        }
    }

    /// Whether the peer is worth waiting for until it has our last bytes.
    pub(super) fn leaves_listener(self) -> bool {
        match self {
            Self::Local
            | Self::Shutdown
            | Self::Unparsable
            | Self::KeepAliveFlood
            | Self::TooLarge
            | Self::Protocol
            | Self::Encoding => true,
            Self::Peer
            | Self::Reset
            | Self::Idle
            | Self::MessageTimeout
            | Self::PingTimeout
            | Self::SlowReader
            | Self::Evicted
            | Self::Fault => false,
        }
    }

    /// Whether what is queued is still delivered before the end.
    pub(super) fn is_orderly(self) -> bool {
        matches!(self, Self::Local | Self::Shutdown | Self::Idle | Self::Unparsable)
    }
}

/// Why a message or a connection was given up before it counted as one, or did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Sent on a flow that has ended.
    NoFlow,
    /// More waited to be sent than may wait.
    QueueFull,
    /// The kernel refused to send.
    SendFailed,
    /// The network said that it could not deliver a datagram that we had sent.
    Undelivered,
    /// The kernel dropped datagrams because we did not read fast enough.
    ReceiveBuffer,
    /// A connection over the total bound.
    ConnectionsMax,
    /// A connection over the bound of its address.
    AddressMax,
    /// A connection evicted, cut or failed before its handshake was done.
    Handshake,
    /// A handshake that took too long.
    HandshakeTimeout,
    /// A WebSocket request that was refused.
    WebSocketRefused,
}

impl DropReason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 10] = [
        Self::NoFlow,
        Self::QueueFull,
        Self::SendFailed,
        Self::Undelivered,
        Self::ReceiveBuffer,
        Self::ConnectionsMax,
        Self::AddressMax,
        Self::Handshake,
        Self::HandshakeTimeout,
        Self::WebSocketRefused,
    ];

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoFlow => "no_flow",
            Self::QueueFull => "queue_full",
            Self::Undelivered => "undelivered",
            Self::SendFailed => "send_failed",
            Self::ReceiveBuffer => "receive_buffer",
            Self::ConnectionsMax => "connections_max",
            Self::AddressMax => "address_max",
            Self::Handshake => "handshake",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::WebSocketRefused => "web_socket_refused",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn a_query_is_read_by_name_and_never_shown() {
        let query = Query::new("a=1&token=x.y=z&token=2&b").unwrap();
        assert_eq!(query.value("token"), Some("x.y=z"));
        assert_eq!((query.value("b"), query.value("c")), (None, None));
        assert!(!format!("{query:?}").contains("x.y"));
        assert!(Query::new(&"a".repeat(QUERY_BYTES_MAX + 1)).is_none());
    }

    #[test]
    fn counters_are_indexed_in_the_order_of_the_lists() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.label());
        }
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.label());
        }
    }
}
