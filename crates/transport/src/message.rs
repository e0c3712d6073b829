//! A message: the bytes as they came, and an index into them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::index::{self, Framing, Index, Limits, Line, Span, Start};
use crate::name_addr::tag_of;
use crate::{Error, Fault, Method, Name, NameAddr, ParseError, Uri, Via, split};

/// A request or a response. Cloning it is cheap; values are read when they are asked for.
///
/// What is indexed need not be right: call [`crate::validate()`] before acting on it.
#[derive(Clone)]
pub struct Message(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    index: Index,
    /// For a response that of its CSeq.
    method: Method,
    body: Range<usize>,
    /// The topmost Via, which every step on the way of a message asks for.
    via: OnceLock<Option<Result<Via, Error>>>,
    /// Where the tags of From and To are: every table that a message is looked up in asks for them.
    from_tag: OnceLock<Option<Span>>,
    to_tag: OnceLock<Option<Span>>,
}

impl Inner {
    fn new(bytes: Bytes, index: Index, method: Method, body: Range<usize>) -> Inner {
        let (via, from_tag, to_tag) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Inner { bytes, index, method, body, via, from_tag, to_tag }
    }
}

/// What a CSeq header field says (RFC 3261 §20.16).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method,
}

/// One header field as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderLine<'a> {
    /// Which one it is.
    pub name: Name,
    /// Its name as it was written.
    pub name_text: &'a [u8],
    /// Its value without blanks at its ends, but with its folds.
    pub value: &'a [u8],
}

impl Message {
    /// Indexes a message. Line ends before it are skipped; bytes after it are left out of
    /// [`Message::bytes`].
    ///
    /// # Errors
    /// Only if it cannot be indexed; [`ParseError::answerable`] tells whether what there is
    /// suffices for an answer.
    pub fn parse(bytes: Bytes, framing: Framing, limits: &Limits) -> Result<Message, ParseError> {
        let bytes = bytes.slice(index::leading_line_ends(&bytes)..);
        if bytes.is_empty() {
            return Err(ParseError::new(Fault::Empty, None));
        }
        let index = match index::index(&bytes, limits) {
            Ok(index) => index,
            // What a response carries beside what is needed is passed over (RFC 3261 §8.1.3): its
            // loss would cost a call.
            Err((Fault::HeaderLine, Some(index)))
                if matches!(index.start, Start::Response { .. })
                    && !index::has_bare_cr(bytes.get(..index.head_end).unwrap_or_default()) =>
            {
                index
            }
            Err((fault, partial)) => {
                let partial = partial.and_then(|index| Message::partial(&bytes, index));
                return Err(ParseError::new(fault, partial));
            }
        };
        let body = match body_range(&bytes, &index, framing, limits) {
            Ok(body) => body,
            Err(fault) => return Err(ParseError::new(fault, Message::partial(&bytes, index))),
        };
        let bytes = bytes.slice(..body.end);
        let Some(method) = method_of(&index, &bytes) else {
            return Err(ParseError::new(Fault::ResponseCSeq, None));
        };
        Ok(Message(Arc::new(Inner::new(bytes, index, method, body))))
    }

    /// What could be indexed of a message with a fault, without its body.
    fn partial(bytes: &Bytes, index: Index) -> Option<Message> {
        let method = method_of(&index, bytes)?;
        let body = index.head_end..index.head_end;
        let bytes = bytes.slice(..index.head_end);
        Some(Message(Arc::new(Inner::new(bytes, index, method, body))))
    }

    /// Whether this is a request.
    pub fn is_request(&self) -> bool {
        !matches!(self.0.index.start, Start::Response { .. })
    }

    /// The method of the request line, or of the CSeq of a response.
    pub fn method(&self) -> &Method {
        &self.0.method
    }

    /// The status code of a response, 100 to 699.
    pub fn status(&self) -> Option<u16> {
        match self.0.index.start {
            Start::Response { status, .. } => Some(status),
            Start::Request { .. } | Start::BrokenRequest { .. } => None,
        }
    }

    /// The reason phrase of a response; empty for a request.
    pub fn reason_phrase(&self) -> Cow<'_, str> {
        match self.0.index.start {
            Start::Response { reason, .. } => String::from_utf8_lossy(reason.of(&self.0.bytes)),
            Start::Request { .. } | Start::BrokenRequest { .. } => Cow::Borrowed(""),
        }
    }

    /// The version as it was written, such as `SIP/2.0`; empty if the start line is broken.
    pub fn version(&self) -> &[u8] {
        match self.0.index.start {
            Start::Response { version, .. } | Start::Request { version, .. } => {
                version.of(&self.0.bytes)
            }
            Start::BrokenRequest { .. } => &[],
        }
    }

    /// The Request-URI of a request.
    pub fn request_uri(&self) -> Option<Result<Uri, Error>> {
        match self.0.index.start {
            Start::Request { uri, .. } => Some(Uri::parse(self.0.bytes.slice(uri.range()))),
            Start::Response { .. } | Start::BrokenRequest { .. } => None,
        }
    }

    /// The Request-URI as it was written; empty for a response.
    pub fn request_uri_bytes(&self) -> &[u8] {
        match self.0.index.start {
            Start::Request { uri, .. } => uri.of(&self.0.bytes),
            Start::Response { .. } | Start::BrokenRequest { .. } => &[],
        }
    }

    /// Whether a header field is there.
    pub fn has(&self, name: Name) -> bool {
        self.lines_of(name).next().is_some()
    }

    /// The first value of a header field: unfolded, trimmed, and text whatever it is.
    pub fn header(&self, name: Name) -> Option<Cow<'_, str>> {
        self.lines_of(name).next().map(|line| text(self.raw(line)))
    }

    /// The first value of a header field as it was written, folds included.
    pub fn header_bytes(&self, name: Name) -> Option<&[u8]> {
        self.lines_of(name).next().map(|line| self.raw(line))
    }

    /// The values of a header field, one for each line.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = Cow<'_, str>> {
        self.lines_of(name).map(|line| text(self.raw(line)))
    }

    /// The first value of a header field that has no [`Name`]; case does not matter.
    pub fn header_named(&self, name: &str) -> Option<Cow<'_, str>> {
        self.lines()
            .find(|line| line.name_text.eq_ignore_ascii_case(name.as_bytes()))
            .map(|line| text(line.value))
    }

    /// All header lines in their order.
    pub fn lines(&self) -> impl Iterator<Item = HeaderLine<'_>> + Clone {
        self.0.index.lines.iter().map(|line| HeaderLine {
            name: line.name,
            name_text: line.name_text.of(&self.0.bytes),
            value: self.raw(line),
        })
    }

    /// The elements of a comma-separated header field over all its lines, without empty ones.
    pub fn list(&self, name: Name) -> impl Iterator<Item = Cow<'_, str>> {
        self.elements(name).filter(|element| !element.is_empty()).map(text)
    }

    /// Whether a list such as Supported has an element, in any case.
    pub fn lists(&self, name: Name, element: &str) -> bool {
        self.elements(name).any(|bytes| bytes.eq_ignore_ascii_case(element.as_bytes()))
    }

    /// The number at the start of a header field such as Expires; `None` too if it is none, or
    /// if it does not fit.
    pub fn number(&self, name: Name) -> Option<u32> {
        let value = self.header_bytes(name)?;
        let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
        u32::try_from(split::number(value.get(..end)?)?).ok()
    }

    /// All Via values, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via, Error>> {
        self.elements(Name::Via).enumerate().map(|(at, element)| match self.top_via() {
            Some(top) if at == 0 => top.clone(),
            Some(_) | None => Via::parse(self.share(element)),
        })
    }

    /// The topmost Via value, if it can be read.
    pub fn via(&self) -> Option<Via> {
        self.top_via()?.as_ref().ok().cloned()
    }

    fn top_via(&self) -> Option<&Result<Via, Error>> {
        let read = || Some(Via::parse(self.share(self.elements(Name::Via).next()?)));
        self.0.via.get_or_init(read).as_ref()
    }

    /// The addresses of Route, Record-Route, Contact, Path and their like, over all lines.
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = Result<NameAddr, Error>> {
        self.elements(name).map(|element| NameAddr::parse(self.share(element)))
    }

    /// The From, if it can be read.
    pub fn from(&self) -> Option<NameAddr> {
        self.address(Name::From)
    }

    /// The To, if it can be read.
    pub fn to(&self) -> Option<NameAddr> {
        self.address(Name::To)
    }

    /// The first Contact, if it can be read.
    pub fn contact(&self) -> Option<NameAddr> {
        self.addresses(Name::Contact).next()?.ok()
    }

    /// One address of a header field that has one value, such as Refer-To.
    pub fn address(&self, name: Name) -> Option<NameAddr> {
        let line = self.lines_of(name).next()?;
        NameAddr::parse(self.share(self.raw(line))).ok()
    }

    /// The tag of the From.
    pub fn from_tag(&self) -> Option<Cow<'_, str>> {
        self.tag(Name::From, &self.0.from_tag)
    }

    /// The tag of the To.
    pub fn to_tag(&self) -> Option<Cow<'_, str>> {
        self.tag(Name::To, &self.0.to_tag)
    }

    fn tag(&self, name: Name, place: &OnceLock<Option<Span>>) -> Option<Cow<'_, str>> {
        let find = || Some(Span::of_part(&self.0.bytes, tag_of(self.header_bytes(name)?)?));
        let tag = split::unquote(place.get_or_init(find).as_ref()?.of(&self.0.bytes));
        Some(tag).filter(|tag| !tag.is_empty())
    }

    /// The Call-ID; empty if there is none or it is not text.
    pub fn call_id(&self) -> &str {
        let bytes = self.header_bytes(Name::CallId).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The CSeq, if it can be read and its number is below 2^31.
    pub fn cseq(&self) -> Option<CSeq> {
        let (number, method) = cseq_words(self.header_bytes(Name::CSeq)?)?;
        let number = u32::try_from(split::number(number)?).ok()?;
        (number < 1 << 31).then_some(CSeq { number, method: Method::parse(method)? })
    }

    /// The Content-Type without its parameters, in lower case.
    pub fn content_type(&self) -> Option<String> {
        let value = self.header(Name::ContentType)?;
        let kind = value.split(';').next().unwrap_or_default();
        let plain: String = kind.chars().filter(|character| !character.is_whitespace()).collect();
        Some(plain.to_ascii_lowercase())
    }

    /// The body.
    pub fn body(&self) -> Bytes {
        self.0.bytes.slice(self.0.body.clone())
    }

    /// The whole message, from its first line to the end of its body.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Whether a response can be made for this: a request other than ACK with a readable top Via
    /// and the header fields that a response repeats.
    pub(crate) fn is_answerable(&self) -> bool {
        self.is_request()
            && *self.method() != Method::Ack
            && self.via().is_some()
            && [Name::From, Name::To, Name::CallId, Name::CSeq].iter().all(|&name| self.has(name))
    }

    /// The elements of a list as they were written; blanks are trimmed, folds inside stay.
    pub(crate) fn elements(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.lines_of(name).flat_map(|line| split::list(self.raw(line)))
    }

    fn lines_of(&self, name: Name) -> impl Iterator<Item = &Line> {
        self.0.index.lines.iter().filter(move |line| line.name == name)
    }

    fn raw(&self, line: &Line) -> &[u8] {
        line.value.of(&self.0.bytes)
    }

    /// A part of this message as shared bytes; copied only if it has a fold to remove.
    fn share(&self, part: &[u8]) -> Bytes {
        match has_fold(part) {
            true => Bytes::from(split::unfold(part)),
            false => self.0.bytes.slice_ref(part),
        }
    }
}

impl fmt::Debug for Message {
    /// The first line only: a message in a log is long and private.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status() {
            Some(status) => write!(f, "Message({status} to {})", self.method()),
            None => write!(f, "Message({})", self.method()),
        }
    }
}

/// Where the body is, once the head is indexed.
fn body_range(
    bytes: &[u8],
    index: &Index,
    framing: Framing,
    limits: &Limits,
) -> Result<Range<usize>, Fault> {
    let available = bytes.len().saturating_sub(index.head_end);
    let length = match (index::content_length(&index.lines, bytes)?, framing) {
        (Some(length), _) => length,
        (None, Framing::Datagram | Framing::WebSocket) => available,
        (None, Framing::Stream) => return Err(Fault::ContentLengthMissing),
    };
    if length > limits.body_bytes_max {
        return Err(Fault::BodyTooLarge);
    }
    if length > available {
        return Err(Fault::BodyIncomplete);
    }
    Ok(index.head_end..index.head_end + length)
}

fn method_of(index: &Index, bytes: &[u8]) -> Option<Method> {
    match &index.start {
        Start::Request { method, .. } | Start::BrokenRequest { method } => Some(method.clone()),
        Start::Response { .. } => {
            let line = index.lines.iter().find(|line| line.name == Name::CSeq)?;
            Method::parse(cseq_words(line.value.of(bytes))?.1)
        }
    }
}

/// The two words of a CSeq, and nothing else.
fn cseq_words(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let pair = (words.next()?, words.next()?);
    words.next().is_none().then_some(pair)
}

fn has_fold(bytes: &[u8]) -> bool {
    memchr::memchr(b'\n', bytes).is_some()
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    match has_fold(bytes) {
        true => Cow::Owned(String::from_utf8_lossy(&split::unfold(bytes)).into_owned()),
        false => split::text(bytes),
    }
}
