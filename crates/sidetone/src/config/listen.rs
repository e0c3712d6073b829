//! A `[[listen]]` entry: what is spoken, and where.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use transport::TransportKind;

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// What is spoken there.
    pub kind: ListenKind,
    /// `IP:port`, `[IPv6]:port`, or `localhost:port` for both loopback addresses.
    pub address: Address,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenKind {
    /// SIP over UDP.
    Udp,
    /// SIP over TCP.
    Tcp,
    /// SIP over TLS.
    Tls,
    /// HTTP: the web phone, and SIP over WebSocket on any path.
    #[serde(alias = "ws")]
    Http,
    /// HTTPS: the web phone, and SIP over secure WebSocket on any path.
    #[serde(alias = "wss")]
    Https,
}

/// Where a listener is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Localhost,
    Ip(IpAddr),
}

impl ListenKind {
    /// The transport of the SIP that arrives here.
    #[must_use]
    pub fn transport(self) -> TransportKind {
        match self {
            ListenKind::Udp => TransportKind::Udp,
            ListenKind::Tcp => TransportKind::Tcp,
            ListenKind::Tls => TransportKind::Tls,
            ListenKind::Http => TransportKind::Ws,
            ListenKind::Https => TransportKind::Wss,
        }
    }

    /// The name used in the configuration and in what is printed.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            ListenKind::Udp => "udp",
            ListenKind::Tcp => "tcp",
            ListenKind::Tls => "tls",
            ListenKind::Http => "http",
            ListenKind::Https => "https",
        }
    }

    /// Whether the listener needs a certificate.
    #[must_use]
    pub fn is_secure(self) -> bool {
        matches!(self, ListenKind::Tls | ListenKind::Https)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.label(), self.address)
    }
}

impl Address {
    /// Both loopback addresses.
    #[must_use]
    pub fn localhost(port: u16) -> Self {
        Address { host: Host::Localhost, port }
    }

    /// One address.
    #[must_use]
    pub fn ip(address: SocketAddr) -> Self {
        Address { host: Host::Ip(address.ip()), port: address.port() }
    }

    /// The same port on another host.
    #[must_use]
    pub fn with_ip(self, ip: IpAddr) -> Self {
        Address { host: Host::Ip(ip), ..self }
    }

    /// The socket addresses to bind. The second one of `localhost` may be missing on a machine
    /// without IPv6, so each carries whether it is required.
    #[must_use]
    pub fn sockets(self) -> Vec<(SocketAddr, bool)> {
        match self.host {
            Host::Ip(ip) => vec![(SocketAddr::new(ip, self.port), true)],
            Host::Localhost => vec![
                (SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port), true),
                (SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), self.port), false),
            ],
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(port) = text.strip_prefix("localhost:") {
            let port = port.parse().map_err(|_| format!("{text:?} has no valid port"))?;
            return Ok(Address::localhost(port));
        }
        text.parse().map(Address::ip).map_err(|_| {
            format!("{text:?} is not an address such as \"192.0.2.1:5060\", \"[::1]:5060\" or \"localhost:5060\"")
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host {
            Host::Localhost => write!(f, "localhost:{}", self.port),
            Host::Ip(ip) => write!(f, "{}", SocketAddr::new(ip, self.port)),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Reads a socket address; an error names what is none.
pub(super) fn socket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{text:?} is not an address with a port such as \"127.0.0.1:8090\""
        ))
    })
}

/// Reads addresses; an error names what is none.
pub(super) fn ips<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let read = |text: String| {
        text.parse().map_err(|_| {
            D::Error::custom(format!("{text:?} is not an address such as \"192.0.2.1\""))
        })
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(read).collect()
}
