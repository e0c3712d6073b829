//! The one pass that decides whether an indexed message may be acted on.

use crate::{Message, Method, Name, Scheme};

/// What this element understands, for [`validate`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy<'a> {
    /// The option tags that a Require or Proxy-Require may name (RFC 3261 §8.2.2.3).
    pub supported: &'a [&'a str],
}

/// Why a message may not be acted on. A request is answered with it
/// ([`crate::ResponseWriter::reject`]), unless it is an ACK; a response is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// 400, 415, 416, 420 or 505, and 483 of [`next_max_forwards`].
    pub status: u16,
    /// A fixed word for a metric label.
    pub label: &'static str,
    /// What is wrong, for the reason phrase.
    pub phrase: &'static str,
    /// Header fields that the response must carry, such as Unsupported.
    pub headers: Vec<(Name, String)>,
}

impl Rejection {
    /// Every label there is.
    pub const LABELS: [&'static str; 20] = [
        "call_id",
        "contact",
        "content_encoding",
        "cseq",
        "cseq_method",
        "expires",
        "extension",
        "from",
        "max_forwards",
        "missing_header",
        "repeated_header",
        "request_uri",
        "route",
        "session_timer",
        "to",
        "too_many_values",
        "uri_scheme",
        "version",
        "via",
        "via_count",
    ];

    fn new(status: u16, label: &'static str, phrase: &'static str) -> Rejection {
        Rejection { status, label, phrase, headers: Vec::new() }
    }

    fn bad_request(label: &'static str, phrase: &'static str) -> Rejection {
        Rejection::new(400, label, phrase)
    }
}

/// Checks all that does not depend on state: RFC 3261 §8.2 up to the method, which the layer
/// above answers with 405 or 501 because it knows its Allow.
///
/// Not checked, on purpose: Max-Forwards of 0, which an endpoint processes (RFC 4475 §3.4.2;
/// forwarding asks [`next_max_forwards`]); Date and other header fields that nothing depends on;
/// a missing From tag, branch or Max-Forwards, as RFC 2543 has it; what the body is, which is 415
/// or 488 above. Of a response nothing but what it is matched by: what else cannot be read in it is
/// left out by those who read it, since a request whose response is dropped waits in vain.
///
/// # Errors
/// The first [`Rejection`].
pub fn validate(message: &Message, policy: &Policy<'_>) -> Result<(), Rejection> {
    version(message)?;
    mandatory(message)?;
    singles(message)?;
    vias(message)?;
    identity(message)?;
    sequence(message)?;
    if !message.is_request() {
        return Ok(());
    }
    request_uri(message)?;
    numbers(message)?;
    encoding(message)?;
    addresses(message)?;
    extensions(message, policy)
}

/// The Max-Forwards of a request that is made because of this one: one less, or 70 if it has none.
///
/// # Errors
/// A 483 at zero (RFC 3261 §16.3), a 400 if it is not a number.
pub fn next_max_forwards(message: &Message) -> Result<u8, Rejection> {
    let too_many = || Rejection::new(483, "max_forwards", "Too Many Hops");
    match hops(message)? {
        None => Ok(MAX_FORWARDS),
        Some(hops) => hops.checked_sub(1).ok_or_else(too_many),
    }
}

/// Values of one list, over all its lines. A path through more hops does not exist.
pub(crate) const VALUES_MAX: usize = 128;

/// RFC 3261 §8.1.1.6.
const MAX_FORWARDS: u8 = 70;

/// Header fields that every message has.
const MANDATORY: [(Name, &str); 5] = [
    (Name::Via, "Missing Via"),
    (Name::From, "Missing From"),
    (Name::To, "Missing To"),
    (Name::CallId, "Missing Call-ID"),
    (Name::CSeq, "Missing CSeq"),
];

fn version(message: &Message) -> Result<(), Rejection> {
    match message.version().eq_ignore_ascii_case(b"SIP/2.0") {
        true => Ok(()),
        false => Err(Rejection::new(505, "version", "Version Not Supported")),
    }
}

fn mandatory(message: &Message) -> Result<(), Rejection> {
    match MANDATORY.iter().find(|(name, _)| !message.has(*name)) {
        Some((_, phrase)) => Err(Rejection::bad_request("missing_header", phrase)),
        None => Ok(()),
    }
}

fn singles(message: &Message) -> Result<(), Rejection> {
    let mut seen = [false; 256];
    let is_needed = |name| MANDATORY.iter().any(|(needed, _)| *needed == name);
    let counts = |name: Name| name.is_single() && (message.is_request() || is_needed(name));
    for line in message.lines().filter(|line| counts(line.name)) {
        let Some(seen) = seen.get_mut(line.name as usize) else {
            continue;
        };
        if std::mem::replace(seen, true) {
            return Err(Rejection::bad_request("repeated_header", "Repeated Header Field"));
        }
    }
    Ok(())
}

/// A response with a second Via was meant for somebody else (RFC 3261 §8.1.3.3).
fn vias(message: &Message) -> Result<(), Rejection> {
    bounded(message, Name::Via)?;
    if !message.vias().all(|via| via.is_ok()) {
        return Err(Rejection::bad_request("via", "Malformed Via"));
    }
    if !message.is_request() && message.vias().nth(1).is_some() {
        return Err(Rejection::bad_request("via_count", "More than One Via"));
    }
    Ok(())
}

/// A list is read more than once on its way through us, so its length has a bound.
fn bounded(message: &Message, name: Name) -> Result<(), Rejection> {
    match message.elements(name).nth(VALUES_MAX).is_some() {
        true => Err(Rejection::bad_request("too_many_values", "Too Many Values")),
        false => Ok(()),
    }
}

fn identity(message: &Message) -> Result<(), Rejection> {
    if message.from().is_none() {
        return Err(Rejection::bad_request("from", "Malformed From"));
    }
    if message.to().is_none() {
        return Err(Rejection::bad_request("to", "Malformed To"));
    }
    let call_id = message.call_id();
    if call_id.is_empty() || call_id.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(Rejection::bad_request("call_id", "Malformed Call-ID"));
    }
    Ok(())
}

fn sequence(message: &Message) -> Result<(), Rejection> {
    let cseq = message.cseq().ok_or(Rejection::bad_request("cseq", "Malformed CSeq"))?;
    match cseq.method == *message.method() {
        true => Ok(()),
        false => Err(Rejection::bad_request("cseq_method", "CSeq Method Differs")),
    }
}

fn request_uri(message: &Message) -> Result<(), Rejection> {
    let malformed = || Rejection::bad_request("request_uri", "Malformed Request-URI");
    let uri = message.request_uri().and_then(Result::ok).ok_or_else(malformed)?;
    match uri.scheme() {
        Scheme::Sip | Scheme::Sips | Scheme::Tel if uri.has_headers() => Err(malformed()),
        Scheme::Sip | Scheme::Sips | Scheme::Tel => Ok(()),
        Scheme::Other => Err(Rejection::new(416, "uri_scheme", "Unsupported URI Scheme")),
    }
}

/// Numbers that are acted on must be numbers (RFC 4475 §3.1.2.4).
fn numbers(message: &Message) -> Result<(), Rejection> {
    hops(message)?;
    let is_delta = |value: &[u8]| {
        crate::split::number(value).is_some_and(|seconds| seconds <= u64::from(u32::MAX))
    };
    if message.header_bytes(Name::Expires).is_some_and(|value| !is_delta(value)) {
        return Err(Rejection::bad_request("expires", "Malformed Expires"));
    }
    // RFC 4028 §4 and §5.
    for name in [Name::SessionExpires, Name::MinSe] {
        let seconds =
            message.header_bytes(name).and_then(|value| value.split(|byte| *byte == b';').next());
        if seconds.is_some_and(|seconds| !is_delta(crate::split::trim(seconds))) {
            return Err(Rejection::bad_request(
                "session_timer",
                "Malformed Session-Expires or Min-SE",
            ));
        }
    }
    Ok(())
}

/// RFC 3261 §8.2.3. ACK and CANCEL cannot be refused for what they carry.
fn encoding(message: &Message) -> Result<(), Rejection> {
    let is_identity =
        |encoding: std::borrow::Cow<'_, str>| encoding.trim().eq_ignore_ascii_case("identity");
    if matches!(message.method(), Method::Ack | Method::Cancel)
        || message.body().is_empty()
        || message.list(Name::ContentEncoding).all(is_identity)
    {
        return Ok(());
    }
    let mut rejection = Rejection::new(415, "content_encoding", "Unsupported Content-Encoding");
    rejection.headers.push((Name::AcceptEncoding, "identity".to_owned()));
    Err(rejection)
}

fn hops(message: &Message) -> Result<Option<u8>, Rejection> {
    let malformed = || Rejection::bad_request("max_forwards", "Malformed Max-Forwards");
    let Some(value) = message.header_bytes(Name::MaxForwards) else {
        return Ok(None);
    };
    let hops = crate::split::number(value).ok_or_else(malformed)?;
    u8::try_from(hops).map(Some).map_err(|_| malformed())
}

/// The addresses that routing and dialogs read. A lone `*` is a Contact of REGISTER only.
fn addresses(message: &Message) -> Result<(), Rejection> {
    for name in [Name::Contact, Name::Route, Name::RecordRoute] {
        bounded(message, name)?;
    }
    let is_star = *message.method() == Method::Register
        && message.headers(Name::Contact).eq(["*"].map(std::borrow::Cow::Borrowed));
    if !is_star && !message.addresses(Name::Contact).all(|address| address.is_ok()) {
        return Err(Rejection::bad_request("contact", "Malformed Contact"));
    }
    for name in [Name::Route, Name::RecordRoute] {
        if !message.addresses(name).all(|address| address.is_ok()) {
            return Err(Rejection::bad_request("route", "Malformed Route or Record-Route"));
        }
    }
    Ok(())
}

/// RFC 3261 §8.2.2.3. ACK and CANCEL cannot be refused for an extension.
fn extensions(message: &Message, policy: &Policy<'_>) -> Result<(), Rejection> {
    if matches!(message.method(), Method::Ack | Method::Cancel) {
        return Ok(());
    }
    for name in [Name::Require, Name::ProxyRequire] {
        bounded(message, name)?;
    }
    let is_known = |tag: &str| policy.supported.iter().any(|known| known.eq_ignore_ascii_case(tag));
    let unknown: Vec<_> = message
        .list(Name::Require)
        .chain(message.list(Name::ProxyRequire))
        .filter(|tag| !is_known(tag))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let mut rejection = Rejection::new(420, "extension", "Bad Extension");
    rejection.headers.push((Name::Unsupported, unknown.join(", ")));
    Err(rejection)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use bytes::Bytes;

    use super::*;
    use crate::{Framing, Limits};

    const GOOD: &str = "OPTIONS sip:a@b SIP/2.0\r\n\
        Via: SIP/2.0/UDP c;branch=z9hG4bKx\r\n\
        From: <sip:c@d>;tag=1\r\n\
        To: <sip:a@b>\r\n\
        Call-ID: i\r\n\
        CSeq: 1 OPTIONS\r\n\
        Max-Forwards: 70\r\n\
        Require: timer\r\n\r\n";

    fn status(text: &str) -> (u16, &'static str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let message = Message::parse(bytes, Framing::Datagram, &Limits::default()).expect(text);
        match validate(&message, &Policy { supported: &["timer"] }) {
            Ok(()) => (0, ""),
            Err(rejection) => (rejection.status, rejection.label),
        }
    }

    #[test]
    fn rfc3261_8_2_each_rule_has_its_status() {
        assert_eq!(status(GOOD), (0, ""));
        let rows = [
            ("SIP/2.0\r\nVia", "SIP/2.1\r\nVia", 505, "version"),
            ("To: <sip:a@b>\r\n", "", 400, "missing_header"),
            ("Call-ID: i\r\n", "Call-ID: i\r\ni: i\r\n", 400, "repeated_header"),
            ("UDP c;", "UDP c;;", 400, "via"),
            ("<sip:c@d>", "\"<sip:c@d>", 400, "from"),
            ("To: <sip:a@b>", "To: sip", 400, "to"),
            ("Call-ID: i", "Call-ID: i j", 400, "call_id"),
            ("CSeq: 1 ", "CSeq: 2147483648 ", 400, "cseq"),
            ("CSeq: 1 ", "CSeq: -1 ", 400, "cseq"),
            ("1 OPTIONS", "1 options", 400, "cseq_method"),
            ("sip:a@b SIP", "sip:a@ SIP", 400, "request_uri"),
            ("sip:a@b SIP", "http://a SIP", 416, "uri_scheme"),
            ("Max-Forwards: 70", "Max-Forwards: 256", 400, "max_forwards"),
            ("Max-Forwards: 70", "Max-Forwards: 70\r\nExpires: soon", 400, "expires"),
            ("Max-Forwards: 70", "x: soon\r\nMax-Forwards: 70", 400, "session_timer"),
            ("Max-Forwards: 70", "Min-SE: \r\nMax-Forwards: 70", 400, "session_timer"),
            ("Max-Forwards: 70", "Session-Expires: 90 ;refresher=uac\r\nMin-SE: 90", 0, ""),
            ("Max-Forwards: 70", "Max-Forwards: 70\r\nContact: *", 400, "contact"),
            ("Max-Forwards: 70", "Max-Forwards: 70\r\nRoute: <a", 400, "route"),
            ("Require: timer", "Require: timer, 100rel", 420, "extension"),
        ];
        for (from, to, code, label) in rows {
            let changed = GOOD.replacen(from, to, 1);
            assert_ne!(changed, GOOD, "{from}");
            assert_eq!(status(&changed), (code, label), "{to}");
        }
        let many = format!("Route: {}<sip:r>\r\nRequire", "<sip:r>,".repeat(VALUES_MAX));
        assert_eq!(status(&GOOD.replacen("Require", &many, 1)), (400, "too_many_values"));
    }

    #[test]
    fn rfc3261_8_2_2_3_a_420_names_what_is_not_supported() {
        let text = GOOD.replacen("timer", "timer, x\r\nProxy-Require: y", 1);
        let bytes = Bytes::from(text.into_bytes());
        let message = Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap();
        let rejection = validate(&message, &Policy { supported: &["timer"] }).unwrap_err();
        assert_eq!(rejection.headers, [(Name::Unsupported, "x, y".to_owned())]);
    }

    #[test]
    fn rfc3261_8_2_3_a_415_says_that_nothing_is_encoded() {
        let with_body = |encoding: &str| {
            let (head, _) = GOOD.split_once("\r\n\r\n").unwrap();
            let text = format!("{head}\r\nContent-Encoding: {encoding}\r\n\r\nbody");
            let bytes = Bytes::from(text.into_bytes());
            let message = Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap();
            validate(&message, &Policy { supported: &["timer"] })
        };
        assert_eq!(with_body("Identity"), Ok(()));
        let rejection = with_body("gzip").unwrap_err();
        assert_eq!(rejection.status, 415);
        assert_eq!(rejection.headers, [(Name::AcceptEncoding, "identity".to_owned())]);
    }

    #[test]
    fn an_ack_and_a_cancel_are_not_refused_for_an_extension() {
        for method in ["ACK", "CANCEL"] {
            assert_eq!(status(&GOOD.replace("OPTIONS", method).replace("timer", "x")), (0, ""));
        }
    }

    #[test]
    fn rfc3261_10_2_2_a_register_may_have_a_star_for_contact() {
        let text =
            GOOD.replace("OPTIONS", "REGISTER").replacen("Require", "Contact: *\r\nRequire", 1);
        assert_eq!(status(&text), (0, ""));
    }

    #[test]
    fn a_response_is_believed_whatever_it_is_not_matched_by() {
        let good = GOOD.replacen("OPTIONS sip:a@b SIP/2.0", "SIP/2.0 302 Moved", 1);
        assert_eq!(status(&good), (0, ""));
        let many = format!("Record-Route: {}<sip:r>", "<sip:r>,".repeat(VALUES_MAX));
        for line in [
            "Contact: *",
            "Contact: ",
            "Contact: <>",
            "Contact: garbage",
            "Contact: <sip:a@b>, <",
            "Record-Route: <a",
            "Expires: soon\r\nExpires: later",
            "Session-Expires: x",
            "Content-Encoding: gzip",
            "Require: x",
            &many,
        ] {
            assert_eq!(status(&good.replacen("Require: timer", line, 1)), (0, ""), "{line}");
        }
        for (from, to, label) in [
            ("UDP c;", "UDP c;;", "via"),
            ("<sip:c@d>", "\"<sip:c@d>", "from"),
            ("To: <sip:a@b>", "To: sip", "to"),
            ("CSeq: 1 ", "CSeq: x ", "cseq"),
            ("Call-ID: i", "Call-ID: i\r\ni: i", "repeated_header"),
            ("From: ", "Via: SIP/2.0/UDP e\r\nFrom: ", "via_count"),
        ] {
            assert_eq!(status(&good.replacen(from, to, 1)).1, label, "{to}");
        }
    }

    #[test]
    fn rfc3261_16_3_hops_run_out() {
        let hops = |text: &str| {
            let bytes = Bytes::copy_from_slice(text.as_bytes());
            let message = Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap();
            next_max_forwards(&message).map_err(|rejection| rejection.status)
        };
        assert_eq!(hops(GOOD), Ok(69));
        assert_eq!(hops(&GOOD.replacen(": 70", ": 0", 1)), Err(483));
        assert_eq!(hops(&GOOD.replacen("Max-Forwards: 70\r\n", "", 1)), Ok(70));
        assert_eq!(hops(&GOOD.replacen(": 70", ": x", 1)), Err(400));
    }
}
