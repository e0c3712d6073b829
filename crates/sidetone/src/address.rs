//! Which address media is bound to and which one SDP advertises, and why.

mod outside;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Config;

pub use outside::Outside;

/// One address of the media plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaAddress {
    /// Address the sockets are bound to.
    pub bound: IpAddr,
    /// Address that SDP names.
    pub advertised: IpAddr,
    /// Where the two were learned, in words.
    pub reason: String,
}

/// The media addresses of a configuration, at most one of each family, IPv4 first. `bound` are
/// the addresses the listeners are really bound to; nothing is ever taken from what a peer says.
#[must_use]
pub fn media_addresses(config: &Config, bound: &[IpAddr], outside: &Outside) -> Vec<MediaAddress> {
    let mut addresses: Vec<MediaAddress> =
        [false, true].into_iter().filter_map(|v6| of_family(config, bound, v6)).collect();
    for address in &mut addresses {
        address.see(outside);
        let networks = &config.media.local_networks;
        if address.advertised != address.bound && !networks.is_empty() {
            address.reason += &format!(", which hosts of {networks} are told");
        }
        let ports = &config.media.external_ports.0;
        if address.advertised != address.bound && !ports.is_empty() {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            address.reason += &format!(", with its ports as {}", ports.join(", "));
        }
    }
    addresses
}

impl MediaAddress {
    /// Takes over how the address is seen from outside.
    fn see(&mut self, outside: &Outside) {
        let learned = match outside {
            Outside::Same => return,
            Outside::Unknown(why) if self.bound.is_ipv4() => {
                self.reason += &format!("; its address outside was not found: {why}");
                return;
            }
            Outside::Unknown(_) => return,
            Outside::Configured(_) => "media.external_address in the configuration".to_owned(),
            Outside::Seen { server, .. } => format!("as the STUN server {server} sees it"),
        };
        let of_family = |ip: &IpAddr| ip.is_ipv6() == self.bound.is_ipv6();
        if let Some(ip) = outside.ip().filter(of_family) {
            self.advertised = ip;
            self.reason = format!("{learned}; bound to {}", self.bound);
        }
    }
}

fn of_family(config: &Config, bound: &[IpAddr], v6: bool) -> Option<MediaAddress> {
    let here = |ip: IpAddr, reason: &str| {
        Some(MediaAddress { bound: ip, advertised: ip, reason: reason.to_owned() })
    };
    let of_family = |ip: &&IpAddr| ip.is_ipv6() == v6;
    if let Some(ip) = config.media.addresses.iter().find(of_family) {
        return here(*ip, "media.addresses in the configuration");
    }
    if !config.media.addresses.is_empty() {
        return None;
    }
    let listening: Vec<IpAddr> = bound.iter().filter(of_family).copied().collect();
    if let Some(ip) = listening.iter().find(|ip| !ip.is_unspecified() && !ip.is_loopback()) {
        return here(*ip, "the address that is listened on");
    }
    if listening.iter().any(IpAddr::is_unspecified) {
        return match (route_address(v6), interface_address(v6)) {
            (Some(ip), _) => {
                here(ip, "the address of the default route, since all are listened on")
            }
            (None, Some(ip)) => {
                here(ip, "the first interface that is up, since all are listened on")
            }
            (None, None) => here(loopback(v6), "this machine has no other address"),
        };
    }
    let ip = listening.first()?;
    here(*ip, "only loopback is listened on; `sidetone run --listen ADDRESS` serves a network")
}

/// The local address the kernel would use towards the internet. Connecting a UDP socket sends
/// nothing.
fn route_address(v6: bool) -> Option<IpAddr> {
    // Documentation addresses, RFC 5737 and RFC 3849: nobody is there.
    let far: IpAddr = if v6 {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()
    } else {
        Ipv4Addr::new(192, 0, 2, 1).into()
    };
    let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(far, 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

fn interface_address(v6: bool) -> Option<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    interfaces
        .into_iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .find(|ip| ip.is_ipv6() == v6)
}

fn loopback(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use crate::config::ExternalPorts;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn loopback_listeners_advertise_both_loopback_addresses() {
        let found =
            media_addresses(&Config::default(), &[ip("127.0.0.1"), ip("::1")], &Outside::Same);
        assert_eq!(found[0].advertised, ip("127.0.0.1"));
        assert_eq!(found[1].advertised, ip("::1"));
        assert!(found[0].reason.contains("loopback"));
    }

    #[test]
    fn a_network_address_goes_before_loopback() {
        let found = media_addresses(
            &Config::default(),
            &[ip("127.0.0.1"), ip("192.0.2.4")],
            &Outside::Same,
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bound, ip("192.0.2.4"));
    }

    #[test]
    fn an_external_address_is_advertised_and_not_bound() {
        let outside = Outside::Configured(ip("203.0.113.9"));
        let found = media_addresses(&Config::default(), &[ip("192.0.2.4"), ip("::1")], &outside);
        assert_eq!((found[0].bound, found[0].advertised), (ip("192.0.2.4"), ip("203.0.113.9")));
        assert_eq!(found[1].advertised, ip("::1"));
    }

    #[test]
    fn where_an_address_was_learned_is_said() {
        let reason = |outside: &Outside| {
            media_addresses(&Config::default(), &[ip("10.0.0.5")], outside)[0].reason.clone()
        };
        let seen = Outside::Seen { ip: ip("203.0.113.9"), server: "stun.example:3478".to_owned() };
        assert_eq!(
            reason(&seen),
            "as the STUN server stun.example:3478 sees it; bound to 10.0.0.5"
        );
        let config = "[media]\nexternal_address = '203.0.113.9'\nlocal_networks = ['10.0.0.0/8']\n";
        let config = Config::parse(config, "x".as_ref()).unwrap();
        let configured = Outside::Configured(ip("203.0.113.9"));
        assert_eq!(
            media_addresses(&config, &[ip("10.0.0.5")], &configured)[0].reason,
            "media.external_address in the configuration; bound to 10.0.0.5, which hosts of \
             10.0.0.0/8 are told"
        );
        let unknown = reason(&Outside::Unknown("stun.example:3478 did not answer".to_owned()));
        assert!(unknown.ends_with("was not found: stun.example:3478 did not answer"), "{unknown}");
    }

    #[test]
    fn mapped_ports_are_said_beside_a_mapped_address() {
        let mut config = Config::default();
        config.media.external_ports = ExternalPorts(vec!["10000:20000".parse().unwrap()]);
        let outside = Outside::Configured(ip("203.0.113.9"));
        let found = media_addresses(&config, &[ip("10.0.0.5"), ip("::1")], &outside);
        assert!(found[0].reason.ends_with("bound to 10.0.0.5, with its ports as 10000:20000"));
        assert!(!found[1].reason.contains("ports"));
    }

    #[test]
    fn a_wildcard_listener_never_advertises_itself() {
        let found = media_addresses(&Config::default(), &[ip("0.0.0.0")], &Outside::Same);
        assert!(!found[0].advertised.is_unspecified());
    }
}
