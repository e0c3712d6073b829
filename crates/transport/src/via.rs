//! One Via value: who sent the request, and where its response goes.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use bytes::Bytes;

use crate::split::{self, Param};
use crate::uri::host_and_port;
use crate::{Error, TransportKind};

/// One value of a Via header field (RFC 3261 §20.42). A header line may hold several; see
/// [`crate::Message::vias`].
#[derive(Clone, PartialEq, Eq)]
pub struct Via {
    text: Bytes,
    transport: Range<usize>,
    host: Range<usize>,
    port: Option<u16>,
    params: Range<usize>,
}

impl Via {
    /// Reads one value. The bytes are shared, not copied; they must not be folded.
    ///
    /// # Errors
    /// [`Error::MalformedVia`] on anything the grammar does not have, empty parameters included.
    pub fn parse(text: Bytes) -> Result<Via, Error> {
        Via::read(text).ok_or(Error::MalformedVia)
    }

    fn read(text: Bytes) -> Option<Via> {
        let slash = text.iter().position(|&byte| byte == b'/')?;
        let slash_two = slash + 1 + text.get(slash + 1..)?.iter().position(|&byte| byte == b'/')?;
        let protocol = split::trim(text.get(..slash)?);
        let version = split::trim(text.get(slash + 1..slash_two)?);
        if !protocol.eq_ignore_ascii_case(b"SIP") || !crate::method::is_token(version) {
            return None;
        }
        let transport = word(&text, slash_two + 1)?;
        if !crate::method::is_token(text.get(transport.clone())?) {
            return None;
        }
        let params = split::top_level(text.get(transport.end..)?, |byte| byte == b';')
            .map_or(text.len(), |offset| transport.end + offset);
        let sent_by = split::trim(text.get(transport.end..params)?);
        let start = text.get(transport.end..)?.iter().position(|&byte| !is_blank(byte))?;
        let start = transport.end + start;
        let (host, port) = host_and_port(sent_by)?;
        split::are_params(text.get(params..)?).then_some(())?;
        let (host, params) = (start + host.start..start + host.end, params..text.len());
        Some(Via { text, transport, host, port, params })
    }

    /// The transport token as it was written.
    pub fn transport(&self) -> &str {
        self.part(&self.transport)
    }

    /// The transport, if we know it.
    pub fn kind(&self) -> Option<TransportKind> {
        TransportKind::from_token(self.transport())
    }

    /// The host of sent-by as it was written, IPv6 in its brackets.
    pub fn host(&self) -> &str {
        self.part(&self.host)
    }

    /// The port of sent-by, if one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// All parameters.
    pub fn params(&self) -> impl Iterator<Item = Param<'_>> + Clone {
        split::params(self.text.get(self.params.clone()).unwrap_or_default())
    }

    /// The value of a parameter without its quotes; empty if it has none.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params().find(|param| param.is(name)).map(|param| param.text())
    }

    /// The branch, which names the transaction (RFC 3261 §17.1.3).
    pub fn branch(&self) -> Option<Cow<'_, str>> {
        self.param("branch").filter(|branch| !branch.is_empty())
    }

    /// The branch if it is unique as RFC 3261 §8.1.1.7 asks: the magic cookie and something after
    /// it (RFC 4475 §3.4.2 shows the cookie alone). Otherwise RFC 2543 matching applies.
    pub fn unique_branch(&self) -> Option<Cow<'_, str>> {
        self.branch().filter(|branch| {
            branch.starts_with(BRANCH_COOKIE) && branch.len() > BRANCH_COOKIE.len()
        })
    }

    /// The `received` address (RFC 3261 §18.2.1), with or without brackets (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        self.param("received").and_then(|text| split::ip(&text))
    }

    /// The port of `rport` if it has one (RFC 3581 §4).
    pub fn rport(&self) -> Option<u16> {
        self.param("rport").and_then(|text| text.parse().ok())
    }

    /// Whether the sender asks for `rport` (RFC 3581 §3).
    pub fn wants_rport(&self) -> bool {
        self.params().any(|param| param.is("rport"))
    }

    /// The value as it was written.
    pub fn bytes(&self) -> &Bytes {
        &self.text
    }

    /// Where the parameters begin in [`Via::bytes`].
    pub(crate) fn params_start(&self) -> usize {
        self.params.start
    }

    fn part(&self, range: &Range<usize>) -> &str {
        std::str::from_utf8(self.text.get(range.clone()).unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl fmt::Debug for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Via({self})")
    }
}

/// RFC 3261 §8.1.1.7.
pub(crate) const BRANCH_COOKIE: &str = "z9hG4bK";

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The next run of bytes without blanks.
fn word(text: &[u8], from: usize) -> Option<Range<usize>> {
    let start = from + text.get(from..)?.iter().position(|&byte| !is_blank(byte))?;
    let length = text.get(start..)?.iter().position(|&byte| is_blank(byte))?;
    Some(start..start + length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    fn read(text: &str) -> Via {
        Via::parse(Bytes::copy_from_slice(text.as_bytes()))
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn blanks_before_the_parameters_lose_nothing() {
        let via = read("SIP/2.0/UDP a:5060 ;branch=z9hG4bKx");
        assert_eq!((via.host(), via.port()), ("a", Some(5060)));
        assert_eq!(via.unique_branch().as_deref(), Some("z9hG4bKx"));
        let via = read("SIP  /   2.0  /UDP 192.0.2.2 : 5061;rport;branch=390skdjuw");
        assert_eq!((via.transport(), via.port()), ("UDP", Some(5061)));
        assert!(via.wants_rport() && via.rport().is_none() && via.unique_branch().is_none());
    }

    #[test]
    fn rfc5118_ipv6_sent_by_and_received_are_read_whole() {
        let via =
            read("SIP/2.0/TLS [2001:db8::9:1]:5061;received=2001:db8::9:255;branch=z9hG4bKas3");
        assert_eq!(via.host(), "[2001:db8::9:1]");
        assert_eq!(via.received(), Some("2001:db8::9:255".parse().unwrap()));
        assert_eq!(via.branch().as_deref(), Some("z9hG4bKas3"));
        let via = read("SIP/2.0/UDP a;received=[2001:db8::9:255]");
        assert_eq!(via.received(), Some("2001:db8::9:255".parse().unwrap()));
    }

    #[test]
    fn an_unknown_transport_is_kept() {
        let via = read("SIP/2.0/UNKNOWN host;branch=z9hG4bKkdjuw");
        assert_eq!((via.transport(), via.kind()), ("UNKNOWN", None));
        assert_eq!(read("SIP/2.0/UDP a;branch=;rport=").branch(), None);
        assert_eq!(read("SIP/2.0/WSS df7jal23ls0d.invalid;rport=7").rport(), Some(7));
    }

    #[test]
    fn what_is_not_a_via_is_refused() {
        for text in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 UDP a",
            "HTTP/1.1/TCP a",
            "SIP/2.0/UDP a;;",
            "SIP/2.0/UDP ;branch=1",
            "SIP/2.0/UDP a:x;branch=1",
            "SIP/2.0/UDP [::1;branch=1",
            "SIP/2.0/UDP a b;branch=1",
            "SIP/2.0/UDP 2001:db8::1;branch=1",
        ] {
            assert!(Via::parse(Bytes::copy_from_slice(text.as_bytes())).is_err(), "{text}");
        }
    }
}
