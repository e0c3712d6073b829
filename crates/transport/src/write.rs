//! Writers of our own messages. No value can end its line: control characters become blanks.

use std::fmt::{self, Display, Write as _};
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::{
    Flow, Message, Method, Name, Rejection, Token, TransportKind, Uri, Via, reason, split,
    vocabulary,
};

/// Writes a response to a request (RFC 3261 §8.2.6).
#[derive(Debug)]
pub struct ResponseWriter {
    head: Head,
    status: u16,
    phrase: Option<String>,
    to: Vec<u8>,
    has_to_tag: bool,
}

impl ResponseWriter {
    /// Begins a response. Copies Via, From, To, Call-ID and CSeq byte for byte, Record-Route
    /// where a dialog can come of it, and Timestamp into a 100. The topmost Via gets `received`
    /// and `rport` from the flow that the request came on (RFC 3581 §4), whatever it said of them
    /// itself. A status outside 100 to 699 becomes 500.
    pub fn to(request: &Message, flow: &Flow, status: u16) -> ResponseWriter {
        let status = if (100..=699).contains(&status) { status } else { 500 };
        let mut head = Head::default();
        copy_vias(&mut head, request, flow);
        if (101..=299).contains(&status) {
            head.copy(request, Name::RecordRoute);
        }
        if status == 100 {
            head.copy(request, Name::Timestamp);
        }
        for name in [Name::From, Name::CallId, Name::CSeq] {
            if let Some(value) = request.header_bytes(name) {
                head.raw(name, value);
            }
        }
        let value = request.header_bytes(Name::To).unwrap_or_default();
        let mut to = Vec::with_capacity(value.len() + TAG_BYTES);
        to.extend_from_slice(value);
        let has_to_tag = request.to_tag().is_some();
        ResponseWriter { head, status, phrase: None, to, has_to_tag }
    }

    /// Begins the response that a [`Rejection`] asks for.
    pub fn reject(request: &Message, flow: &Flow, rejection: &Rejection) -> ResponseWriter {
        let writer = ResponseWriter::to(request, flow, rejection.status).phrase(rejection.phrase);
        rejection.headers.iter().fold(writer, |writer, (name, value)| writer.header(*name, value))
    }

    /// Replaces the registered reason phrase.
    pub fn phrase(mut self, phrase: &str) -> ResponseWriter {
        self.phrase = Some(phrase.to_owned());
        self
    }

    /// Our tag; ignored if the To of the request has one already, or if `tag` is not a token.
    pub fn to_tag(mut self, tag: &str) -> ResponseWriter {
        let has_to = !self.to.is_empty();
        if has_to && !self.has_to_tag && Token::new(tag).is_some() {
            self.to.extend_from_slice(b";tag=");
            self.to.extend_from_slice(tag.as_bytes());
            self.has_to_tag = true;
        }
        self
    }

    /// Adds a header field. [`Name::Other`] names none, and Content-Length and Content-Type come
    /// with the body: these three are left out.
    pub fn header(mut self, name: Name, value: impl Display) -> ResponseWriter {
        self.head.display(name, value);
        self
    }

    /// Adds a header field that has no [`Name`].
    pub fn header_named(mut self, name: &Token, value: impl Display) -> ResponseWriter {
        self.head.display_named(name, value);
        self
    }

    /// Copies all lines of a header field from another message, value for value.
    pub fn copy(mut self, message: &Message, name: Name) -> ResponseWriter {
        self.head.copy(message, name);
        self
    }

    /// Adds Allow.
    pub fn allow(self, methods: &[Method]) -> ResponseWriter {
        self.header(Name::Allow, vocabulary::allow(methods))
    }

    /// The body and its type. The bytes are copied.
    pub fn body(mut self, content_type: &str, body: &[u8]) -> ResponseWriter {
        self.head.body(content_type, body);
        self
    }

    /// The whole response. Content-Length is always there and always last.
    pub fn finish(mut self) -> Bytes {
        if !self.to.is_empty() {
            self.head.raw(Name::To, &self.to);
        }
        let phrase = self.phrase.as_deref().unwrap_or(reason::phrase(self.status));
        self.head.finish(format_args!("SIP/2.0 {} {phrase}", self.status))
    }
}

/// Writes a request.
#[derive(Debug)]
pub struct RequestWriter {
    head: Head,
    method: Method,
    uri: Uri,
}

impl RequestWriter {
    /// Begins a request. What may not stand in a request line is left out of `uri`.
    pub fn new(method: Method, uri: &Uri) -> RequestWriter {
        RequestWriter { head: Head::default(), method, uri: uri.for_request() }
    }

    /// Adds our Via. `sent_by` is an address or `host:port`; `rport` is always asked for (RFC
    /// 3581 §3).
    pub fn via(self, kind: TransportKind, sent_by: impl Display, branch: &str) -> RequestWriter {
        let token = kind.via_token();
        self.header(Name::Via, format_args!("SIP/2.0/{token} {sent_by};rport;branch={branch}"))
    }

    /// Adds the CSeq; its method is that of the request.
    pub fn cseq(self, number: u32) -> RequestWriter {
        let value = vocabulary::cseq(number, &self.method);
        self.header(Name::CSeq, value)
    }

    /// Adds Max-Forwards.
    pub fn max_forwards(self, hops: u8) -> RequestWriter {
        self.header(Name::MaxForwards, hops)
    }

    /// Adds Allow.
    pub fn allow(self, methods: &[Method]) -> RequestWriter {
        self.header(Name::Allow, vocabulary::allow(methods))
    }

    /// Adds a header field. [`Name::Other`] names none, and Content-Length and Content-Type come
    /// with the body: these three are left out.
    pub fn header(mut self, name: Name, value: impl Display) -> RequestWriter {
        self.head.display(name, value);
        self
    }

    /// Adds a header field that has no [`Name`].
    pub fn header_named(mut self, name: &Token, value: impl Display) -> RequestWriter {
        self.head.display_named(name, value);
        self
    }

    /// Copies all lines of a header field from another message, value for value.
    pub fn copy(mut self, message: &Message, name: Name) -> RequestWriter {
        self.head.copy(message, name);
        self
    }

    /// The body and its type. The bytes are copied.
    pub fn body(mut self, content_type: &str, body: &[u8]) -> RequestWriter {
        self.head.body(content_type, body);
        self
    }

    /// The whole request: Via, Route, Max-Forwards, From, To, Call-ID and CSeq first, whatever
    /// the order they were added in, then the rest in its order, Content-Length last.
    pub fn finish(self) -> Bytes {
        self.head.finish(format_args!("{} {} SIP/2.0", self.method, self.uri))
    }
}

/// Header lines and body in the making.
#[derive(Debug)]
struct Head {
    text: BytesMut,
    lines: Vec<(u8, Range<usize>)>,
    content_type: Vec<u8>,
    body: Vec<u8>,
}

impl Default for Head {
    /// Room for a usual message, so that it grows once or not at all.
    fn default() -> Head {
        Head {
            text: BytesMut::with_capacity(HEAD_BYTES),
            lines: Vec::with_capacity(HEAD_LINES),
            content_type: Vec::new(),
            body: Vec::new(),
        }
    }
}

impl Head {
    fn raw(&mut self, name: Name, value: &[u8]) {
        self.raw_named(name, name.as_str().as_bytes(), value);
    }

    fn raw_named(&mut self, name: Name, name_text: &[u8], value: &[u8]) {
        let start = self.begin(name_text);
        put_folded(&mut self.text, value);
        self.end(name, start);
    }

    fn display(&mut self, name: Name, value: impl Display) {
        if name == Name::Other {
            return;
        }
        let start = self.begin(name.as_str().as_bytes());
        self.put(value);
        self.end(name, start);
    }

    fn display_named(&mut self, name: &Token, value: impl Display) {
        let start = self.begin(name.as_str().as_bytes());
        self.put(value);
        self.end(Name::parse(name.as_str().as_bytes()), start);
    }

    fn copy(&mut self, message: &Message, name: Name) {
        for line in message.lines().filter(|line| line.name == name) {
            let text = if name == Name::Other { line.name_text } else { name.as_str().as_bytes() };
            self.raw_named(name, text, line.value);
        }
    }

    fn body(&mut self, content_type: &str, body: &[u8]) {
        self.content_type = content_type.as_bytes().to_vec();
        self.body = body.to_vec();
    }

    fn begin(&mut self, name: &[u8]) -> usize {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(b": ");
        start
    }

    fn put(&mut self, value: impl Display) {
        put(&mut self.text, format_args!("{value}"));
    }

    fn end(&mut self, name: Name, start: usize) {
        self.text.extend_from_slice(b"\r\n");
        // The body decides these two, nobody else.
        if matches!(name, Name::ContentLength | Name::ContentType) {
            self.text.truncate(start);
        } else {
            self.lines.push((rank(name), start..self.text.len()));
        }
    }

    fn finish(mut self, first: fmt::Arguments<'_>) -> Bytes {
        self.lines.sort_by_key(|(rank, _)| *rank);
        let length = self.text.len() + self.body.len() + self.content_type.len();
        let mut whole = BytesMut::with_capacity(length + FIRST_LINE_BYTES);
        put(&mut whole, first);
        whole.extend_from_slice(b"\r\n");
        for (_, range) in self.lines {
            whole.extend_from_slice(self.text.get(range).unwrap_or_default());
        }
        if !self.body.is_empty() {
            whole.extend_from_slice(b"Content-Type: ");
            put_clean(&mut whole, &self.content_type);
            whole.extend_from_slice(b"\r\n");
        }
        put(&mut whole, format_args!("Content-Length: {}", self.body.len()));
        whole.extend_from_slice(b"\r\n\r\n");
        whole.extend_from_slice(&self.body);
        whole.freeze()
    }
}

/// What routing needs comes first, so that a hop can stop reading early (RFC 3261 §7.3.1).
fn rank(name: Name) -> u8 {
    match name {
        Name::Via => 0,
        Name::Route => 1,
        Name::RecordRoute => 2,
        Name::MaxForwards => 3,
        Name::From => 4,
        Name::To => 5,
        Name::CallId => 6,
        Name::CSeq => 7,
        _ => 8,
    }
}

/// Copies the Via values; the topmost one is told where its request came from, if it can be read.
fn copy_vias(head: &mut Head, request: &Message, flow: &Flow) {
    let mut lines = request.lines().filter(|line| line.name == Name::Via);
    if let (Some(first), Some(top)) = (lines.clone().next(), request.via()) {
        lines.next();
        let length = split::top_level(first.value, |byte| byte == b',');
        let rest = length.and_then(|length| first.value.get(length..)).unwrap_or_default();
        head.raw(Name::Via, &[&told_via(&top, flow), rest].concat());
    }
    for line in lines {
        head.raw(Name::Via, line.value);
    }
}

/// A Via value with `received` and `rport` as the flow has them; the rest stays byte for byte.
fn told_via(via: &Via, flow: &Flow) -> Vec<u8> {
    let sent_by = via.bytes().get(..via.params_start()).unwrap_or_default();
    let mut value = sent_by.trim_ascii_end().to_vec();
    for param in via.params().filter(|param| !param.is("received") && !param.is("rport")) {
        value.push(b';');
        value.extend_from_slice(param.name);
        if let Some(text) = param.value {
            value.push(b'=');
            value.extend_from_slice(text);
        }
    }
    // A socket for both families shows IPv4 inside IPv6; the peer knows itself by the former.
    let source = flow.remote.ip().to_canonical();
    if via.wants_rport() || split::ip(via.host()) != Some(source) {
        value.extend_from_slice(format!(";received={source}").as_bytes());
    }
    if via.wants_rport() {
        value.extend_from_slice(format!(";rport={}", flow.remote.port()).as_bytes());
    }
    value
}

/// Appends text with line ends turned into blanks.
fn put(text: &mut BytesMut, value: fmt::Arguments<'_>) {
    let written = Clean(text).write_fmt(value);
    debug_assert!(written.is_ok(), "writing into memory does not fail");
}

/// A fold becomes one space (RFC 3261 §7.3.1); everything else stays byte for byte.
fn put_folded(text: &mut BytesMut, value: &[u8]) {
    if value.contains(&b'\n') {
        put_clean(text, &split::unfold(value));
    } else {
        put_clean(text, value);
    }
}

/// Appends with line ends turned into blanks. Other control characters are legal inside quotes.
fn put_clean(text: &mut BytesMut, value: &[u8]) {
    let start = text.len();
    text.extend_from_slice(value);
    let copied = text.get_mut(start..).unwrap_or_default();
    for byte in copied.iter_mut().filter(|byte| matches!(**byte, b'\r' | b'\n')) {
        *byte = b' ';
    }
}

/// Of the header lines of a usual message; the body is apart.
const HEAD_BYTES: usize = 1024;
/// A response to a browser has fifteen.
const HEAD_LINES: usize = 20;
/// Of the first line, Content-Type's name, and Content-Length.
const FIRST_LINE_BYTES: usize = 160;
/// Of our tags, node and all.
const TAG_BYTES: usize = 48;

struct Clean<'a>(&'a mut BytesMut);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        put_clean(self.0, text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;
    use crate::{FlowId, Framing, Limits};

    fn flow(kind: TransportKind, remote: &str) -> Flow {
        let local = "192.0.2.9:5060".parse().unwrap();
        Flow { id: FlowId(1), kind, local, remote: remote.parse().unwrap() }
    }

    fn read(bytes: impl Into<Bytes>) -> Message {
        Message::parse(bytes.into(), Framing::Datagram, &Limits::default()).unwrap()
    }

    fn invite(via: &str) -> Message {
        read(format!(
            "INVITE sip:a@b SIP/2.0\r\nVia: {via}\r\nRecord-Route: <sip:r;lr>\r\n\
             v: SIP/2.0/TCP second;branch=2;received=192.0.2.7\r\nf: \"C\" <sip:c@d>;tag=1\r\n\
             t: <sip:a@b>\r\ni: x@y\r\nCSeq: 0007 INVITE\r\nTimestamp: 54\r\nContent-Length: 0\r\n\r\n"
        ))
    }

    #[test]
    fn a_response_repeats_what_rfc3261_8_2_6_2_asks() {
        let request = invite("SIP/2.0/UDP 192.0.2.1:5066;branch=z9hG4bK1");
        let flow = flow(TransportKind::Udp, "192.0.2.1:5066");
        let bytes = ResponseWriter::to(&request, &flow, 486).to_tag("t1").finish();
        assert_eq!(
            bytes,
            "SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP 192.0.2.1:5066;branch=z9hG4bK1\r\n\
             Via: SIP/2.0/TCP second;branch=2;received=192.0.2.7\r\nFrom: \"C\" <sip:c@d>;tag=1\r\n\
             To: <sip:a@b>;tag=t1\r\nCall-ID: x@y\r\nCSeq: 0007 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
        let ringing = read(ResponseWriter::to(&request, &flow, 180).finish());
        assert_eq!(ringing.header(Name::RecordRoute).as_deref(), Some("<sip:r;lr>"));
        let trying = read(ResponseWriter::to(&request, &flow, 100).finish());
        assert_eq!(trying.header(Name::Timestamp).as_deref(), Some("54"));
        assert!(trying.to_tag().is_none() && !trying.has(Name::RecordRoute));
    }

    #[test]
    fn rfc3581_4_the_source_is_told_in_the_topmost_via() {
        let source = flow(TransportKind::Udp, "[2001:db8::7]:40000");
        let rows = [
            (
                "SIP/2.0/UDP 10.0.0.1;rport;branch=b",
                "SIP/2.0/UDP 10.0.0.1;branch=b;received=2001:db8::7;rport=40000",
            ),
            (
                "SIP/2.0/UDP 10.0.0.1 ; branch=b",
                "SIP/2.0/UDP 10.0.0.1;branch=b;received=2001:db8::7",
            ),
            ("SIP/2.0/UDP [2001:db8::7];branch=b", "SIP/2.0/UDP [2001:db8::7];branch=b"),
            (
                "SIP/2.0/UDP x;received=1.1.1.1;rport=1;branch=b,  SIP/2.0/UDP y;rport",
                "SIP/2.0/UDP x;branch=b;received=2001:db8::7;rport=40000,  SIP/2.0/UDP y;rport",
            ),
        ];
        for (sent, told) in rows {
            let bytes = ResponseWriter::to(&invite(sent), &source, 200).finish();
            let response = read(bytes);
            assert_eq!(response.headers(Name::Via).next().as_deref(), Some(told));
        }
    }

    #[test]
    fn no_value_can_begin_a_line_of_its_own() {
        let request = invite("SIP/2.0/UDP h;branch=b");
        let evil = "x\r\nContact: <sip:evil>\n\r\n\r\nbody";
        let flow = flow(TransportKind::Tcp, "192.0.2.1:1");
        let token = Token::new("X-Note").unwrap();
        let bytes = ResponseWriter::to(&request, &flow, 200)
            .phrase(evil)
            .to_tag(evil)
            .header(Name::Server, evil)
            .header_named(&token, evil)
            .header(Name::Other, evil)
            .header(Name::ContentLength, 99)
            .body(evil, b"12345")
            .finish();
        let response = read(bytes);
        assert!(!response.has(Name::Contact) && response.to_tag().is_none());
        assert_eq!(response.body().as_ref(), b"12345");
        assert_eq!(response.headers(Name::ContentLength).collect::<Vec<_>>(), ["5"]);
    }

    #[test]
    fn a_request_is_written_in_order_whatever_the_calls() {
        let uri: Uri = "sip:a@[::1];transport=tcp;method=BYE?Subject=x".parse().unwrap();
        let bytes = RequestWriter::new(Method::Invite, &uri)
            .header(Name::Contact, "<sip:us>")
            .cseq(3)
            .header(Name::CallId, "id")
            .header(Name::To, "<sip:a>")
            .header(Name::From, "<sip:b>;tag=1")
            .max_forwards(70)
            .via(TransportKind::Tcp, "[::1]:5060", "z9hG4bKx")
            .allow(&[Method::Invite, Method::Ack])
            .body("application/sdp", b"v=0\r\n")
            .finish();
        assert_eq!(
            bytes,
            "INVITE sip:a@[::1];transport=tcp SIP/2.0\r\n\
             Via: SIP/2.0/TCP [::1]:5060;rport;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n\
             From: <sip:b>;tag=1\r\nTo: <sip:a>\r\nCall-ID: id\r\nCSeq: 3 INVITE\r\n\
             Contact: <sip:us>\r\nAllow: INVITE, ACK\r\nContent-Type: application/sdp\r\n\
             Content-Length: 5\r\n\r\nv=0\r\n"
        );
    }

    #[test]
    fn headers_without_a_name_are_passed_through() {
        let from = read("OPTIONS sip:a SIP/2.0\r\nX-One: 1\r\nx-two:\r\n 2\r\n b\r\n\r\n");
        let uri = "sip:a".parse().unwrap();
        let copy =
            read(RequestWriter::new(Method::Options, &uri).copy(&from, Name::Other).finish());
        assert_eq!(copy.header_named("x-one").as_deref(), Some("1"));
        assert_eq!(copy.header_named("X-Two").as_deref(), Some("2 b"));
    }
}
