//! `a=candidate`: an address at which a peer may be reached (RFC 8839 §5.1).

use std::net::{IpAddr, SocketAddr};

/// A UDP candidate of the RTP component with a literal address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where the peer may be reached.
    pub address: SocketAddr,
    /// Its priority (RFC 8445 §5.1.2).
    pub priority: u32,
    /// How the peer learned of it.
    pub kind: CandidateKind,
}

/// How a candidate was learned (RFC 8445 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    /// An interface's own address.
    Host,
    /// Seen by a STUN server.
    ServerReflexive,
    /// Seen by the other peer.
    PeerReflexive,
    /// At a TURN server.
    Relayed,
}

impl Candidate {
    /// Reads an attribute's value.
    ///
    /// `None` for what cannot be used: malformed, not UDP, another component than RTP, or with a
    /// name for an address, as the `.local` names are behind which browsers hide (RFC 8839 §5.1
    /// lets an agent ignore those).
    pub fn parse(value: &str) -> Option<Self> {
        let mut fields = value.split_ascii_whitespace();
        let _foundation = fields.next()?;
        let is_rtp = fields.next()? == "1";
        let is_udp = fields.next()?.eq_ignore_ascii_case("udp");
        let priority = fields.next()?.parse().ok()?;
        let address: IpAddr = fields.next()?.parse().ok()?;
        let port: u16 = fields.next()?.parse().ok()?;
        let is_typed = fields.next()? == "typ";
        let kind = CandidateKind::parse(fields.next()?)?;
        let is_usable = is_rtp && is_udp && is_typed && port != 0 && !address.is_unspecified();
        is_usable.then_some(Candidate { address: SocketAddr::new(address, port), priority, kind })
    }
}

impl CandidateKind {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "host" => Some(CandidateKind::Host),
            "srflx" => Some(CandidateKind::ServerReflexive),
            "prflx" => Some(CandidateKind::PeerReflexive),
            "relay" => Some(CandidateKind::Relayed),
            _ => None,
        }
    }
}

/// The value of a host candidate of ours; `index` counts our candidates, the best one being 0.
pub(super) fn host_candidate(address: SocketAddr, index: usize) -> String {
    // RFC 8445 §5.1.2.1: type preference of a host, a local preference, component 1.
    let local_preference = 65_535 - (index as u32).min(65_535);
    let priority = 126 << 24 | local_preference << 8 | (256 - 1);
    let (ip, port) = (address.ip(), address.port());
    format!("{} 1 udp {priority} {ip} {port} typ host", index + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn a_browsers_candidate_is_read_with_its_extensions() {
        let value = "842163049 1 udp 1677729535 198.51.100.7 46154 typ srflx raddr 10.0.0.5 \
                     rport 46154 generation 0 network-cost 999";
        let expected = Candidate {
            address: "198.51.100.7:46154".parse().unwrap(),
            priority: 1_677_729_535,
            kind: CandidateKind::ServerReflexive,
        };
        assert_eq!(Candidate::parse(value), Some(expected));
    }

    #[test]
    fn our_candidate_is_read_back() {
        for address in ["192.0.2.1:10000", "[2001:db8::1]:10000"] {
            let address = address.parse().unwrap();
            let read = Candidate::parse(&host_candidate(address, 0)).unwrap();
            assert_eq!((read.address, read.kind), (address, CandidateKind::Host));
            assert_eq!(read.priority, 2_130_706_431);
        }
    }

    #[test]
    fn what_cannot_be_used_is_ignored() {
        for value in [
            "1 1 udp 2113937151 4d1c5a3e-0c1f-4a6b.local 50000 typ host",
            "1 2 udp 2113937150 192.0.2.1 50001 typ host",
            "1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
            "1 1 udp 2113937151 192.0.2.1 0 typ host",
            "1 1 udp 2113937151 0.0.0.0 9 typ host",
            "1 1 udp 99999999999 192.0.2.1 9 typ host",
            "1 1 udp 2113937151 192.0.2.1 99999 typ host",
            "1 1 udp 2113937151 192.0.2.1 9 typ",
            "",
        ] {
            assert_eq!(Candidate::parse(value), None, "{value}");
        }
    }
}
