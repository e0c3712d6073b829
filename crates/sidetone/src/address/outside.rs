//! How this machine is seen from outside, where the configuration leaves that to be found out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use media::stun::{binding_request, mapped_address};
use rand::RngExt;
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use super::media_addresses;
use crate::config::{Config, ExternalAddress};

/// What is advertised instead of the bound address of its family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Outside {
    /// Nothing.
    #[default]
    Same,
    /// What the configuration says.
    Configured(IpAddr),
    /// What a STUN server saw.
    Seen {
        /// The address.
        ip: IpAddr,
        /// The server.
        server: String,
    },
    /// It was to be found out, and was not.
    Unknown(String),
}

impl Outside {
    /// Finds out what the configuration wants to be found out; takes a few seconds at most. `bound`
    /// are the addresses that are listened on.
    pub async fn find(config: &Config, bound: &[IpAddr]) -> Self {
        match config.media.external_address {
            None => Outside::Same,
            Some(ExternalAddress::Ip(ip)) => Outside::Configured(ip),
            Some(ExternalAddress::Auto) => {
                let found = media_addresses(config, bound, &Outside::Same);
                let here = found.iter().map(|address| address.bound).find(IpAddr::is_ipv4);
                match (here, &config.media.stun_server) {
                    (None, _) => Outside::Same,
                    (Some(here), _) if here.is_loopback() || is_public(here) => Outside::Same,
                    (Some(_), None) => Outside::Unknown("no media.stun_server to ask".to_owned()),
                    (Some(here), Some(server)) => Self::ask(server, here).await,
                }
            }
        }
    }

    async fn ask(server: &str, here: IpAddr) -> Self {
        let asked = timeout(ASK_MAX, seen_by(server, here)).await;
        let failed = |why: &dyn fmt::Display| Outside::Unknown(format!("{server} {why}"));
        match asked {
            Ok(Ok(Some(ip))) => Outside::Seen { ip, server: server.to_owned() },
            Ok(Ok(None)) => failed(&"has no IPv4 address"),
            Ok(Err(error)) => failed(&format_args!("cannot be asked: {error}")),
            Err(_) => failed(&"did not answer"),
        }
    }

    /// The address, if one is known.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Outside::Configured(ip) | Outside::Seen { ip, .. } => Some(*ip),
            Outside::Same | Outside::Unknown(_) => None,
        }
    }
}

/// Asks until there is an answer; whoever waits bounds the time.
async fn seen_by(server: &str, here: IpAddr) -> std::io::Result<Option<IpAddr>> {
    let Some(server) = lookup_host(server).await?.find(SocketAddr::is_ipv4) else {
        return Ok(None);
    };
    let socket = UdpSocket::bind(SocketAddr::new(here, 0)).await?;
    // Nobody else's answers are received then.
    socket.connect(server).await?;
    let transaction_id = rand::rng().random();
    let mut wait = FIRST_WAIT;
    loop {
        socket.send(&binding_request(transaction_id)).await?;
        if let Ok(answer) = timeout(wait, answer(&socket, transaction_id)).await {
            return answer.map(Some);
        }
        wait *= 2;
    }
}

/// Waits for the response to a request; anything else is passed over.
async fn answer(socket: &UdpSocket, transaction_id: [u8; 12]) -> std::io::Result<IpAddr> {
    let mut buffer = [0; 1500];
    loop {
        let len = socket.recv(&mut buffer).await?;
        let response = buffer.get(..len).unwrap_or_default();
        if let Some(address) = mapped_address(response, transaction_id) {
            return Ok(address.ip());
        }
    }
}

/// Whether the internet can send to an address, as far as the address tells.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !is_special(ip),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
    }
}

fn is_special(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    // RFC 6598: between customers and a carrier's NAT.
    let is_shared = a == 100 && (64..=127).contains(&b);
    ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || is_shared
}

/// How long a server may take, its name included.
const ASK_MAX: Duration = Duration::from_secs(3);
// RFC 8489 §6.2.1.
const FIRST_WAIT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn addresses_behind_a_nat_are_told_from_public_ones() {
        for ip in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.1.1", "fd00::1"]
        {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["203.0.113.9", "100.128.0.1", "2001:db8::1"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn a_stun_server_tells_how_we_are_seen() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let answering = tokio::spawn(async move {
            let mut buffer = [0; 100];
            // The first request is lost.
            server.recv_from(&mut buffer).await.unwrap();
            let (len, from) = server.recv_from(&mut buffer).await.unwrap();
            // Success, twelve bytes: XOR-MAPPED-ADDRESS 203.0.113.9:1.
            let mut response = buffer[..len].to_vec();
            (response[0], response[1], response[3]) = (1, 1, 12);
            response.extend([0, 0x20, 0, 8, 0, 1, 0x21, 0x13, 0xea, 0x12, 0xd5, 0x4b]);
            server.send_to(b"noise", from).await.unwrap();
            server.send_to(&response, from).await.unwrap();
        });
        let seen = Outside::ask(&address, "127.0.0.1".parse().unwrap()).await;
        answering.await.unwrap();
        let ip = "203.0.113.9".parse().unwrap();
        assert_eq!(seen, Outside::Seen { ip, server: address });
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let seen = Outside::ask(&address, "127.0.0.1".parse().unwrap()).await;
        assert_eq!(seen, Outside::Unknown(format!("{address} did not answer")));
    }
}
