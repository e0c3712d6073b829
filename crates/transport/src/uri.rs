//! URIs: `sip`, `sips`, `tel`, and any other as opaque text.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::str::FromStr;

use bytes::Bytes;
use memchr::{memchr, memrchr};

use crate::split::{self, Param};
use crate::{Error, TransportKind};

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip` (RFC 3261 §19.1).
    Sip,
    /// `sips` (RFC 3261 §19.1).
    Sips,
    /// `tel` (RFC 3966).
    Tel,
    /// Any other: such a Request-URI is answered with 416.
    Other,
}

/// A host: a name to look up, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name.
    Name(String),
    /// An IP address.
    Ip(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// A URI: the text as it came, and where its parts are. Printing it gives the same bytes back.
#[derive(Clone)]
pub struct Uri {
    text: Bytes,
    scheme: Scheme,
    user: Option<Range<usize>>,
    password: Option<Range<usize>>,
    host: Range<usize>,
    port: Option<u16>,
    params: Range<usize>,
    headers: Option<Range<usize>>,
}

impl Uri {
    /// Reads a URI. The bytes are shared, not copied.
    ///
    /// # Errors
    /// [`Error::MalformedUri`] on blanks, control characters, quotes, angle brackets, text that
    /// is not UTF-8, a missing scheme, and for `sip` and `sips` a host or port that is none.
    pub fn parse(text: Bytes) -> Result<Uri, Error> {
        let plain = std::str::from_utf8(&text).map_err(|_| Error::MalformedUri)?;
        if text.iter().any(|byte| matches!(byte, 0..=b' ' | b'<' | b'>' | b'"' | 0x7f)) {
            return Err(Error::MalformedUri);
        }
        let colon = memchr(b':', &text).ok_or(Error::MalformedUri)?;
        let (scheme_text, rest) = (&plain[..colon], colon + 1);
        let end = plain.len();
        let (scheme, parts) = if scheme_text.eq_ignore_ascii_case("sip") {
            (Scheme::Sip, sip_parts(&text, rest)?)
        } else if scheme_text.eq_ignore_ascii_case("sips") {
            (Scheme::Sips, sip_parts(&text, rest)?)
        } else if scheme_text.eq_ignore_ascii_case("tel") {
            (Scheme::Tel, tel_parts(plain, rest)?)
        } else if is_scheme(scheme_text) {
            let nothing = Parts { host: end..end, params: end..end, ..Parts::default() };
            (Scheme::Other, nothing)
        } else {
            return Err(Error::MalformedUri);
        };
        let Parts { user, password, host, port, params, headers } = parts;
        Ok(Uri { text, scheme, user, password, host, port, params, headers })
    }

    /// A `sip` URI at an address of ours; the user part is escaped, the `transport` parameter is
    /// there unless the transport is UDP, and TLS under `sip` says `transport=tls` as phones expect.
    pub fn at(user: Option<&str>, address: SocketAddr, transport: TransportKind) -> Uri {
        let mut text = String::from("sip:");
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            escape_user(user, &mut text);
            text.push('@');
        }
        text.push_str(&format!("{}:{}", Host::Ip(address.ip()), address.port()));
        if transport != TransportKind::Udp {
            text.push_str(";transport=");
            text.push_str(transport.label());
        }
        Uri::parse(Bytes::from(text)).expect("an escaped user at a socket address is a sip uri")
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The whole URI as it was written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// The whole URI as shared bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.text
    }

    /// The user part, or the number of a `tel` URI, still escaped.
    pub fn user(&self) -> Option<&str> {
        self.user.clone().and_then(|range| self.as_str().get(range))
    }

    /// The user part with its escapes resolved. It may hold any character, NUL and line ends among
    /// them (RFC 4475 §3.1.1.4).
    pub fn user_decoded(&self) -> Option<Cow<'_, str>> {
        self.user().map(decode)
    }

    /// The password of the userinfo, still escaped.
    pub fn password(&self) -> Option<&str> {
        self.password.clone().and_then(|range| self.as_str().get(range))
    }

    /// The host as it was written, IPv6 in its brackets; `None` unless `sip` or `sips`.
    pub fn host(&self) -> Option<&str> {
        self.as_str().get(self.host.clone()).filter(|host| !host.is_empty())
    }

    /// The host as an address, if it is one.
    pub fn host_ip(&self) -> Option<IpAddr> {
        self.host().and_then(split::ip)
    }

    /// The port, if one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The URI parameters.
    pub fn params(&self) -> impl Iterator<Item = Param<'_>> + Clone {
        split::params(self.text.get(self.params.clone()).unwrap_or_default())
    }

    /// The value of a URI parameter, in its own case; empty if it has none.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        self.params().find(|param| param.is(name)).map(|param| param.text())
    }

    /// Whether a URI parameter is there, with or without a value.
    pub fn has_param(&self, name: &str) -> bool {
        self.params().any(|param| param.is(name))
    }

    /// The header fields after `?`, unescaped (RFC 3261 §19.1.1).
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let text = self.headers.clone().and_then(|range| self.as_str().get(range));
        text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        })
    }

    /// Whether there is a `?`. Such a URI may not be a Request-URI (RFC 3261 §19.1.1).
    pub fn has_headers(&self) -> bool {
        self.headers.is_some()
    }

    /// The `transport` parameter, if we know its value.
    pub fn transport(&self) -> Option<TransportKind> {
        self.param("transport").and_then(|value| TransportKind::from_token(&value))
    }

    /// The form for a request line or a route: without header fields and `method` (RFC 3261
    /// §19.1.5). Everything else stays byte for byte.
    pub fn for_request(&self) -> Uri {
        if !self.has_headers() && !self.has_param("method") {
            return self.clone();
        }
        let mut text = self.as_str().get(..self.params.start).unwrap_or_default().to_owned();
        for param in self.params().filter(|param| !param.is("method")) {
            text.push(';');
            text.push_str(&String::from_utf8_lossy(param.name));
            if let Some(value) = param.value {
                text.push('=');
                text.push_str(&String::from_utf8_lossy(value));
            }
        }
        Uri::parse(Bytes::from(text)).unwrap_or_else(|_| self.clone())
    }
}

impl FromStr for Uri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Uri, Error> {
        Uri::parse(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({self})")
    }
}

/// Two URIs are equal if they are the same bytes; RFC 3261 §19.1.4 is looser.
impl PartialEq for Uri {
    fn eq(&self, other: &Uri) -> bool {
        self.text == other.text
    }
}

impl Eq for Uri {}

#[derive(Default)]
struct Parts {
    user: Option<Range<usize>>,
    password: Option<Range<usize>>,
    host: Range<usize>,
    port: Option<u16>,
    params: Range<usize>,
    headers: Option<Range<usize>>,
}

/// The parts of `sip:` and `sips:`. The userinfo goes up to the last `@`: before it `;`, `?` and
/// `/` are plain characters.
fn sip_parts(text: &[u8], start: usize) -> Result<Parts, Error> {
    let mut parts = Parts::default();
    let mut host_start = start;
    if let Some(at) = memrchr(b'@', text).filter(|&at| at >= start) {
        host_start = at + 1;
        let colon = memchr(b':', &text[start..at]).map(|offset| start + offset);
        let user = start..colon.unwrap_or(at);
        if user.is_empty() {
            return Err(Error::MalformedUri);
        }
        parts.user = Some(user);
        parts.password = colon.map(|colon| colon + 1..at);
    }
    let question = memchr(b'?', &text[host_start..]).map(|offset| host_start + offset);
    let params_end = question.unwrap_or(text.len());
    let params_start =
        memchr(b';', &text[host_start..params_end]).map(|offset| host_start + offset);
    let params_start = params_start.unwrap_or(params_end);
    let (host, port) = host_and_port(&text[host_start..params_start]).ok_or(Error::MalformedUri)?;
    parts.host = host_start + host.start..host_start + host.end;
    parts.port = port;
    parts.params = params_start..params_end;
    parts.headers = question.map(|question| question + 1..text.len());
    Ok(parts)
}

fn tel_parts(text: &str, start: usize) -> Result<Parts, Error> {
    let end = text.len();
    let params_start = text[start..].find(';').map_or(end, |offset| start + offset);
    let number = start..params_start;
    let is_number = |byte: u8| byte.is_ascii_hexdigit() || b"+-.()*#".contains(&byte);
    if number.is_empty() || !text[number.clone()].bytes().all(is_number) {
        return Err(Error::MalformedUri);
    }
    Ok(Parts { user: Some(number), host: end..end, params: params_start..end, ..Parts::default() })
}

/// Splits `host[:port]`: a name, an IPv4 address or an IPv6 address in brackets, and a port that
/// fits. Blanks around the colon are allowed, as a sent-by may have them (RFC 3261 §25.1).
pub(crate) fn host_and_port(bytes: &[u8]) -> Option<(Range<usize>, Option<u16>)> {
    let host_end = match bytes.first()? {
        b'[' => {
            let close = bytes.iter().position(|&byte| byte == b']')?;
            split::ip(std::str::from_utf8(bytes.get(..=close)?).ok()?)?.is_ipv6().then_some(())?;
            close + 1
        }
        _ => {
            let is_host =
                |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            let end = bytes.iter().position(|byte| !is_host(byte)).unwrap_or(bytes.len());
            (end > 0).then_some(end)?
        }
    };
    let after = split::trim(bytes.get(host_end..)?);
    let port = match after {
        [] => None,
        [b':', digits @ ..] => Some(u16::try_from(split::number(split::trim(digits))?).ok()?),
        _ => return None,
    };
    Some((0..host_end, port))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Resolves `%` escapes; a `%` that begins none stays.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape = match after {
            [high, low, ..] if byte == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                plain.push(high * 16 + low);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// RFC 3261 §25.1 `user`: unreserved and user-unreserved stay, the rest is escaped.
fn escape_user(user: &str, text: &mut String) {
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_user_with_dots_stays_a_user() {
        let uri = uri("sip:alice.smith@example.com");
        assert_eq!((uri.user(), uri.host()), (Some("alice.smith"), Some("example.com")));
    }

    #[test]
    fn rfc5118_an_ipv6_host_keeps_its_brackets() {
        let uri = uri("sips:bob@[2001:db8::1]:5070;transport=tcp");
        assert_eq!(uri.host(), Some("[2001:db8::1]"));
        assert_eq!(uri.host_ip(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!((uri.port(), uri.scheme()), (Some(5070), Scheme::Sips));
        assert_eq!(uri.to_string(), "sips:bob@[2001:db8::1]:5070;transport=tcp");
    }

    #[test]
    fn rfc5118_4_10_three_colons_are_read_as_two() {
        let uri = uri("sip:user@[2001:db8:::192.0.2.1]");
        assert_eq!(uri.host_ip(), Some("2001:db8::192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn params_and_headers_keep_colons_equals_and_case() {
        let uri = uri(
            "sip:a@b;gr=urn:uuid:f81d;vsf=AAA==;transport=ws;lr?Replaces=x%40y%3Bto-tag%3D1&Subject=",
        );
        assert_eq!(uri.param("gr").as_deref(), Some("urn:uuid:f81d"));
        assert_eq!(uri.param("VSF").as_deref(), Some("AAA=="));
        assert_eq!(uri.param("lr").as_deref(), Some(""));
        assert_eq!(uri.transport(), Some(TransportKind::Ws));
        let headers: Vec<_> = uri.headers().collect();
        assert_eq!(headers[0], ("Replaces".into(), "x@y;to-tag=1".into()));
        assert_eq!(headers[1], ("Subject".into(), "".into()));
        assert_eq!(
            uri.for_request().as_str(),
            "sip:a@b;gr=urn:uuid:f81d;vsf=AAA==;transport=ws;lr"
        );
    }

    #[test]
    fn a_tel_uri_keeps_its_plus() {
        let uri = uri("tel:+12125550100;phone-context=example.com");
        assert_eq!(
            (uri.scheme(), uri.user(), uri.host()),
            (Scheme::Tel, Some("+12125550100"), None)
        );
        assert_eq!(uri.param("phone-context").as_deref(), Some("example.com"));
    }

    #[test]
    fn rfc4475_the_userinfo_goes_up_to_the_last_at() {
        let uri = uri("sip:user;par=u%40example.net:pass@host5?x=1");
        assert_eq!(uri.user_decoded().as_deref(), Some("user;par=u@example.net"));
        assert_eq!((uri.password(), uri.host()), (Some("pass"), Some("host5")));
        assert!(!uri.has_param("par"));
    }

    #[test]
    fn what_is_not_a_uri_is_refused() {
        for text in [
            "",
            "sip:",
            "alice",
            "sip:@host",
            "sip:a@",
            "sip:a@b:",
            "sip:a@b:99999",
            "sip:a@b:-1",
            "sip:2001:db8::10",
            "sip:[2001:db8::10",
            "sip:[nonsense]",
            "sip:[192.0.2.1]",
            "sip:[::1::]",
            "sip:a b@c",
            "<sip:a@b>",
            "sip:a@b\r\nX: y",
            "1sip:a",
            "tel:",
            "tel:alice",
        ] {
            assert!(text.parse::<Uri>().is_err(), "{text}");
        }
        assert!(Uri::parse(Bytes::from_static(b"sip:\xff@a")).is_err());
    }

    #[test]
    fn an_unknown_scheme_is_kept_as_text() {
        let uri = uri("nobodyKnowsThisScheme:totallyopaquecontent");
        assert_eq!((uri.scheme(), uri.host()), (Scheme::Other, None));
    }

    #[test]
    fn our_own_uri_escapes_its_user() {
        let address = "[::1]:5061".parse().unwrap();
        assert_eq!(
            Uri::at(Some("a b@\r\n"), address, TransportKind::Tls).as_str(),
            "sip:a%20b%40%0D%0A@[::1]:5061;transport=tls"
        );
    }
}
