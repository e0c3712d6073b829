//! How the server is reached from outside of a NAT or a container.

use std::net::IpAddr;

use media::net::{LocalNetworks, PortRange};
use serde::{Deserialize, Deserializer, de::Error};

/// What is advertised in place of a bound address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalAddress {
    /// To be found out at start.
    Auto,
    /// This one.
    Ip(IpAddr),
}

impl<'de> Deserialize<'de> for ExternalAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "auto" {
            return Ok(ExternalAddress::Auto);
        }
        let ip = text.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified());
        ip.map(ExternalAddress::Ip).ok_or_else(|| {
            D::Error::custom(format!("{text:?} is neither \"auto\" nor an IP address"))
        })
    }
}

/// Networks, each as `ADDRESS/PREFIX`.
pub(super) fn networks<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<LocalNetworks, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let networks = LocalNetworks::read(texts.iter().map(String::as_str));
    networks.map_err(|(text, error)| D::Error::custom(format!("{text:?} {error}")))
}

/// Ports that have other numbers outside, such as `10000:20000`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExternalPorts(pub Vec<PortRange>);

impl<'de> Deserialize<'de> for ExternalPorts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: String| {
            text.parse().map_err(|error| D::Error::custom(format!("{text:?} {error}")))
        };
        Vec::<String>::deserialize(deserializer)?
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(ExternalPorts)
    }
}
