//! What is said once calls are answered: to a person, and to a program that waits for it.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::json;

use crate::address::MediaAddress;
use crate::config::ListenKind;
use crate::http::phone::Number;

/// Where a running server is reached.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The bound listeners in the order of the configuration.
    pub listen: Vec<(ListenKind, SocketAddr)>,
    /// Metrics and health.
    pub control: SocketAddr,
    /// What media is bound to and advertises.
    pub media: Vec<MediaAddress>,
    /// The shared WebRTC sockets, one of each family a shard.
    pub webrtc: Vec<SocketAddr>,
    /// Ports of plain RTP and RTCP.
    pub rtp_ports: RangeInclusive<u16>,
    /// What can be called.
    pub numbers: Vec<Number>,
    /// Whether the certificate is one that browsers ask about.
    pub is_self_made_certificate: bool,
    /// Whether the web listeners serve the web phone.
    pub has_phone: bool,
}

impl Addresses {
    /// The first listener of a kind.
    #[must_use]
    pub fn of(&self, kind: ListenKind) -> Option<SocketAddr> {
        self.listen.iter().find(|(found, _)| *found == kind).map(|(_, address)| *address)
    }
}

/// Shows the addresses to a person.
#[derive(Debug)]
pub struct Banner<'a>(pub &'a Addresses);

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Addresses { listen, control, media, webrtc, rtp_ports, numbers, .. } = self.0;
        writeln!(f, "Sidetone {} answers calls.\n", env!("CARGO_PKG_VERSION"))?;
        if self.0.has_phone {
            for (kind, address) in listen {
                match kind {
                    ListenKind::Http => {
                        writeln!(f, "  Web phone  http://{}/", shown(*address, media))?
                    }
                    ListenKind::Https if self.0.is_self_made_certificate => writeln!(
                        f,
                        "             https://{}/  (self-made certificate: open it once and accept it)",
                        shown(*address, media)
                    )?,
                    ListenKind::Https => {
                        writeln!(f, "             https://{}/", shown(*address, media))?
                    }
                    ListenKind::Udp | ListenKind::Tcp | ListenKind::Tls => {}
                }
            }
        }
        for number in numbers {
            writeln!(f, "  Call       {:<13} {}", number.number, number.name)?;
        }
        for (kind, address) in listen {
            let scheme = match kind {
                ListenKind::Http => "ws",
                ListenKind::Https => "wss",
                ListenKind::Udp | ListenKind::Tcp | ListenKind::Tls => kind.label(),
            };
            writeln!(f, "  SIP        {scheme:<4} {address}")?;
        }
        for address in media {
            writeln!(f, "  Media      {} advertised: {}", address.advertised, address.reason)?;
        }
        let ports: Vec<String> = webrtc.iter().map(SocketAddr::to_string).collect();
        writeln!(f, "             WebRTC on UDP {}", ports.join(", "))?;
        writeln!(
            f,
            "             plain RTP on UDP ports {} to {}",
            rtp_ports.start(),
            rtp_ports.end()
        )?;
        writeln!(f, "  Metrics    http://{control}/metrics")?;
        write!(f, "\nPress Ctrl-C to stop.")
    }
}

/// Writes the addresses as JSON; the file appears complete or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write_ready_file(addresses: &Addresses, path: &Path) -> std::io::Result<()> {
    let listen: Vec<_> = addresses
        .listen
        .iter()
        .map(|(kind, address)| json!({ "kind": kind.label(), "address": address }))
        .collect();
    let media: Vec<_> = addresses
        .media
        .iter()
        .map(|m| json!({ "bound": m.bound, "advertised": m.advertised, "reason": m.reason }))
        .collect();
    let ready = json!({
        "listen": listen,
        "control": addresses.control,
        "media": media,
        "webrtc": addresses.webrtc,
        "numbers": addresses.numbers,
    });
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, format!("{ready:#}\n"))?;
    std::fs::rename(fresh, path)
}

/// An address a browser can open: a wildcard is reached by the address that media has.
fn shown(address: SocketAddr, media: &[MediaAddress]) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    if let Some(known) = media.iter().find(|m| m.advertised.is_ipv6() == address.is_ipv6()) {
        return SocketAddr::new(known.advertised, address.port());
    }
    let ip = if address.is_ipv6() {
        std::net::Ipv6Addr::LOCALHOST.into()
    } else {
        std::net::Ipv4Addr::LOCALHOST.into()
    };
    SocketAddr::new(ip, address.port())
}
