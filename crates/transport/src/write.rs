//! Writers of our own messages. No value can end its line: control characters become blanks.

use std::fmt::{self, Display, Write as _};
use std::net::IpAddr;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use crate::message::HeaderLine;
use crate::{
    Flow, Message, Method, Name, Rejection, Token, TransportKind, Uri, reason, vocabulary,
};

/// Writes a response to a request (RFC 3261 §8.2.6).
#[derive(Debug)]
pub struct ResponseWriter {
    head: Head,
    status: u16,
    phrase: Option<String>,
    to: Bytes,
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
        let to = Bytes::copy_from_slice(request.header_bytes(Name::To).unwrap_or_default());
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
        if !self.has_to_tag && Token::new(tag).is_some() {
            let mut to = BytesMut::from(self.to.as_ref());
            to.extend_from_slice(b";tag=");
            to.extend_from_slice(tag.as_bytes());
            self.to = to.freeze();
            self.has_to_tag = true;
        }
        self
    }

    /// Adds a header field.
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
        let mut first = BytesMut::new();
        first.extend_from_slice(format!("SIP/2.0 {} ", self.status).as_bytes());
        put_clean(&mut first, phrase.as_bytes());
        self.head.finish(&first)
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

    /// Adds a header field.
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
        let first = format!("{} {} SIP/2.0", self.method, self.uri);
        self.head.finish(first.as_bytes())
    }
}

/// Header lines and body in the making.
#[derive(Debug, Default)]
struct Head {
    text: BytesMut,
    lines: Vec<(u8, Range<usize>)>,
    content_type: Vec<u8>,
    body: Vec<u8>,
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
        for HeaderLine { value, .. } in message.lines().filter(|line| line.name == name) {
            self.raw(name, value);
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
        let written = write!(Clean(&mut self.text), "{value}");
        debug_assert!(written.is_ok(), "writing into memory does not fail");
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

    fn finish(mut self, first: &[u8]) -> Bytes {
        self.lines.sort_by_key(|(rank, _)| *rank);
        let length = first.len() + self.text.len() + self.body.len() + self.content_type.len();
        let mut whole = BytesMut::with_capacity(length + 64);
        whole.extend_from_slice(first);
        whole.extend_from_slice(b"\r\n");
        for (_, range) in self.lines {
            whole.extend_from_slice(self.text.get(range).unwrap_or_default());
        }
        if !self.body.is_empty() {
            whole.extend_from_slice(b"Content-Type: ");
            put_clean(&mut whole, &self.content_type);
            whole.extend_from_slice(b"\r\n");
        }
        whole.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
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

/// Copies the Via values; the topmost one is told where its request came from.
fn copy_vias(head: &mut Head, request: &Message, flow: &Flow) {
    let mut lines = request.lines().filter(|line| line.name == Name::Via);
    if let (Some(first), Some(top)) = (lines.next(), request.via()) {
        let mut value =
            top.bytes().get(..top.params_start()).unwrap_or_default().trim_ascii_end().to_vec();
        let wants_rport = top.wants_rport();
        for param in top.params().filter(|param| !param.is("received") && !param.is("rport")) {
            value.push(b';');
            value.extend_from_slice(param.name);
            if let Some(text) = param.value {
                value.push(b'=');
                value.extend_from_slice(text);
            }
        }
        let source = canonical(flow.remote.ip());
        if wants_rport || crate::split::ip(top.host()) != Some(source) {
            value.extend_from_slice(format!(";received={source}").as_bytes());
        }
        if wants_rport {
            value.extend_from_slice(format!(";rport={}", flow.remote.port()).as_bytes());
        }
        let length = crate::split::top_level(first.value, |byte| byte == b',');
        let rest = length.and_then(|length| first.value.get(length..)).unwrap_or_default();
        value.extend_from_slice(rest);
        head.raw(Name::Via, &value);
    }
    for line in lines {
        head.raw(Name::Via, line.value);
    }
}

/// The address as the peer wrote it: a socket for both families shows IPv4 inside IPv6.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// A value that came with folds keeps them; any other line end becomes a blank.
fn put_folded(text: &mut BytesMut, value: &[u8]) {
    if value.contains(&b'\n') {
        put_clean(text, &crate::split::unfold(value));
    } else {
        put_clean(text, value);
    }
}

/// Appends with line ends turned into blanks. Other control characters are legal inside quotes.
fn put_clean(text: &mut BytesMut, value: &[u8]) {
    text.reserve(value.len());
    for &byte in value {
        text.put_u8(if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
    }
}

struct Clean<'a>(&'a mut BytesMut);

impl fmt::Write for Clean<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        put_clean(self.0, text.as_bytes());
        Ok(())
    }
}
