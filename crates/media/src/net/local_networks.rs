//! Networks on our side of a NAT.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// Networks whose hosts reach us at the addresses that we are bound to, where all others need the
/// ones outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalNetworks(Vec<IpNet>);

/// A text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no network, as 192.168.0.0/16 and fd00::/8 are")]
pub struct NoNetwork;

impl LocalNetworks {
    /// Whether a host is in one of them.
    pub fn has(&self, host: IpAddr) -> bool {
        let host = host.to_canonical();
        self.0.iter().any(|network| network.contains(&host))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads networks in the notation of RFC 4632; an address alone is one host.
    ///
    /// # Errors
    /// The first text that is none.
    pub fn read<'a>(
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, (&'a str, NoNetwork)> {
        let network = |text: &'a str| {
            let host = || IpAddr::from_str(text).map(IpNet::from);
            text.parse::<IpNet>().or_else(|_| host()).map_err(|_| (text, NoNetwork))
        };
        texts.into_iter().map(network).collect::<Result<_, _>>().map(LocalNetworks)
    }
}

/// One after the other, as they are read.
impl fmt::Display for LocalNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, network) in self.0.iter().enumerate() {
            let between = if at == 0 { "" } else { ", " };
            write!(f, "{between}{network}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn rfc4632_3_1_a_host_is_in_a_network_by_its_prefix() {
        let networks = LocalNetworks::read(["192.168.8.0/22", "10.1.2.3", "fd00::/8"]).unwrap();
        for (host, is_local) in [
            ("192.168.11.255", true),
            ("192.168.12.0", false),
            ("::ffff:192.168.8.1", true),
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("fd12::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(networks.has(host.parse().unwrap()), is_local, "{host}");
        }
        assert_eq!(networks.to_string(), "192.168.8.0/22, 10.1.2.3/32, fd00::/8");
        assert!(!LocalNetworks::default().has("127.0.0.1".parse().unwrap()));
        for text in ["192.168.0.0/33", "office", "10.0.0.0/255.0.0.0/8", ""] {
            assert_eq!(LocalNetworks::read([text]).unwrap_err(), (text, NoNetwork));
        }
    }
}
