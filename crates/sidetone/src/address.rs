//! Which address media is bound to and which one SDP advertises, and why.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Config;

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
/// the addresses the listeners are really bound to.
#[must_use]
pub fn media_addresses(config: &Config, bound: &[IpAddr]) -> Vec<MediaAddress> {
    let mut addresses: Vec<MediaAddress> =
        [false, true].into_iter().filter_map(|v6| of_family(config, bound, v6)).collect();
    if let Some(external) = config.media.external_address {
        for address in &mut addresses {
            if address.bound.is_ipv6() == external.is_ipv6() {
                address.advertised = external;
                address.reason = format!(
                    "media.external_address in the configuration; bound to {}",
                    address.bound
                );
            }
        }
    }
    addresses
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

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn loopback_listeners_advertise_both_loopback_addresses() {
        let found = media_addresses(&Config::default(), &[ip("127.0.0.1"), ip("::1")]);
        assert_eq!(found[0].advertised, ip("127.0.0.1"));
        assert_eq!(found[1].advertised, ip("::1"));
        assert!(found[0].reason.contains("loopback"));
    }

    #[test]
    fn a_network_address_goes_before_loopback() {
        let found = media_addresses(&Config::default(), &[ip("127.0.0.1"), ip("192.0.2.4")]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bound, ip("192.0.2.4"));
    }

    #[test]
    fn an_external_address_is_advertised_and_not_bound() {
        let mut config = Config::default();
        config.media.external_address = Some(ip("203.0.113.9"));
        let found = media_addresses(&config, &[ip("192.0.2.4"), ip("::1")]);
        assert_eq!((found[0].bound, found[0].advertised), (ip("192.0.2.4"), ip("203.0.113.9")));
        assert_eq!(found[1].advertised, ip("::1"));
    }

    #[test]
    fn a_wildcard_listener_never_advertises_itself() {
        let found = media_addresses(&Config::default(), &[ip("0.0.0.0")]);
        assert!(!found[0].advertised.is_unspecified());
    }
}
