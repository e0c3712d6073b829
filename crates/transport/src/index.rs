//! The byte index: one pass over a message that notes where everything is and reads nothing.

use std::ops::Range;

use memchr::memchr;

use crate::method::is_token;
use crate::{Fault, Method, Name, split};

/// What tells where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// A datagram: Content-Length may be absent, and bytes beyond it are ignored (RFC 3261 §18.3).
    Datagram,
    /// A stream: Content-Length is the only boundary.
    Stream,
    /// A WebSocket message: as a datagram (RFC 7118 §5).
    WebSocket,
}

/// What one message may be at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the start line and the header lines.
    pub head_bytes_max: usize,
    /// Bytes of the body.
    pub body_bytes_max: usize,
    /// Header lines.
    pub headers_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { head_bytes_max: 16_384, body_bytes_max: 65_536, headers_max: 128 }
    }
}

/// The first line.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    Request {
        method: Method,
        uri: Span,
        version: Span,
    },
    Response {
        status: u16,
        reason: Span,
        version: Span,
    },
    /// A request whose first line cannot be read; the rest is indexed so that it can be answered.
    BrokenRequest {
        method: Method,
    },
}

/// A range of a message that is known to be inside it. Messages are far shorter than 4 GB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Span {
        let narrow = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
        Span { start: narrow(start), end: narrow(end) }
    }

    /// Where a part of `bytes` lies in it.
    pub(crate) fn of_part(bytes: &[u8], part: &[u8]) -> Span {
        let start = part.as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
        Span::new(start, start + part.len())
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }
}

/// One header field, with its folded lines if it has some.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) name: Name,
    pub(crate) name_text: Span,
    /// Without blanks at its ends, but with the folds inside.
    pub(crate) value: Span,
}

/// Where everything is. The body begins at `head_end`.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) start: Start,
    pub(crate) lines: Vec<Line>,
    pub(crate) head_end: usize,
}

/// Indexes the head of `bytes`, which must not begin with a line end.
///
/// # Errors
/// The first fault, and the index as far as it makes sense: a line that is no header field is left
/// out and the rest is indexed, so that the request can be answered.
pub(crate) fn index(bytes: &[u8], limits: &Limits) -> Result<Index, (Fault, Option<Index>)> {
    let head = bytes.get(..limits.head_bytes_max.min(bytes.len())).unwrap_or_default();
    let incomplete = || match head.len() < bytes.len() {
        true => Fault::HeadTooLarge,
        false => Fault::HeadIncomplete,
    };
    let Some(first) = next_line(head, 0) else {
        return Err((incomplete(), None));
    };
    let (start, mut fault) =
        start_line(head, first.content.clone()).ok_or((Fault::StartLine, None))?;
    fault = fault.or(first.has_bare_cr.then_some(Fault::StartLine));
    let mut index = Index { start, lines: Vec::with_capacity(LINES_USUAL), head_end: first.next };
    let mut position = first.next;
    loop {
        let Some(line) = next_line(head, position) else {
            rescue(bytes, position, &mut index);
            return Err((fault.unwrap_or_else(incomplete), Some(index)));
        };
        position = line.next;
        index.head_end = position;
        if line.content.is_empty() {
            break;
        }
        let mut line = line;
        while matches!(head.get(position), Some(b' ' | b'\t')) {
            let Some(more) = next_line(head, position) else {
                return Err((fault.unwrap_or_else(incomplete), Some(index)));
            };
            position = more.next;
            line.content.end = more.content.end;
            line.has_bare_cr |= more.has_bare_cr;
        }
        match header_line(head, line.content).filter(|_| !line.has_bare_cr) {
            Some(_) if index.lines.len() >= limits.headers_max => {
                rescue(bytes, position, &mut index);
                return Err((fault.unwrap_or(Fault::TooManyHeaders), Some(index)));
            }
            Some(header) => index.lines.push(header),
            None => fault = fault.or(Some(Fault::HeaderLine)),
        }
    }
    match fault {
        Some(fault) => Err((fault, Some(index))),
        None => Ok(index),
    }
}

/// What a response copies (RFC 3261 §8.2.6.2).
const ANSWER_NEEDS: [Name; 5] = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq];
/// How far the search for them goes: a datagram has no more.
const RESCUE_BYTES_MAX: usize = 65_536;
/// How many lines of them are taken.
const RESCUED_MAX: usize = 16;

/// A usual INVITE of a browser has fourteen header lines.
const LINES_USUAL: usize = 20;

/// The line ends at the start of `bytes`: keep-alives, which may also precede a message (RFC 3261
/// §7.5).
pub(crate) fn leading_line_ends(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len())
}

/// Whether a CR stands somewhere else than at the end of a line: some readers end a line at it.
pub(crate) fn has_bare_cr(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', head).any(|at| head.get(at + 1) != Some(&b'\n'))
}

/// What Content-Length says: nothing, a number, or something that is not one number.
///
/// # Errors
/// [`Fault::ContentLength`] if it is no number or there are two of them: two readers that chose
/// differently would see two messages.
pub(crate) fn content_length(lines: &[Line], bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let mut found = lines.iter().filter(|line| line.name == Name::ContentLength);
    let Some(line) = found.next() else {
        return Ok(None);
    };
    if found.next().is_some() {
        return Err(Fault::ContentLength);
    }
    let number = split::number(line.value.of(bytes)).ok_or(Fault::ContentLength)?;
    Ok(Some(usize::try_from(number).unwrap_or(usize::MAX)))
}

struct RawLine {
    content: Range<usize>,
    next: usize,
    has_bare_cr: bool,
}

/// Looks beyond a bound for what an answer needs, so that the sender is told of it.
fn rescue(bytes: &[u8], mut position: usize, index: &mut Index) {
    let reach = bytes.get(..RESCUE_BYTES_MAX.min(bytes.len())).unwrap_or_default();
    let mut kept = 0;
    while let Some(line) = next_line(reach, position) {
        position = line.next;
        index.head_end = position;
        if line.content.is_empty() || kept == RESCUED_MAX {
            return;
        }
        let header = header_line(reach, line.content).filter(|_| !line.has_bare_cr);
        if let Some(header) = header.filter(|header| ANSWER_NEEDS.contains(&header.name)) {
            index.lines.push(header);
            kept += 1;
        }
    }
}

/// The line at `start`, ended by CRLF or a bare LF; `None` if it has no end. A CR elsewhere is
/// noted: some readers end a line at it, others do not, so it is refused.
fn next_line(bytes: &[u8], start: usize) -> Option<RawLine> {
    let rest = bytes.get(start..)?;
    let feed = start + memchr(b'\n', rest)?;
    let line = bytes.get(start..feed)?;
    let (end, body) = match line.split_last() {
        Some((b'\r', body)) => (feed - 1, body),
        _ => (feed, line),
    };
    Some(RawLine {
        content: start..end,
        next: feed + 1,
        has_bare_cr: memchr(b'\r', body).is_some(),
    })
}

/// Reads a request line or a status line. `None` if it is neither, not even a broken request line.
fn start_line(bytes: &[u8], content: Range<usize>) -> Option<(Start, Option<Fault>)> {
    let line = bytes.get(content.clone())?;
    if line.len() >= 4 && line.get(..4)?.eq_ignore_ascii_case(b"SIP/") {
        return status_line(line, content.start).map(|start| (start, None));
    }
    let first = line.iter().position(|&byte| byte == b' ')?;
    let method = Method::parse(line.get(..first)?)?;
    let rest = line.get(first + 1..)?;
    let uri_length = rest.iter().position(|&byte| byte == b' ');
    let version = uri_length.and_then(|length| rest.get(length + 1..)).unwrap_or_default();
    let is_version = version.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"))
        && !version.iter().any(|byte| byte.is_ascii_whitespace());
    let Some(uri_length) = uri_length.filter(|&length| length > 0 && is_version) else {
        return Some((Start::BrokenRequest { method }, Some(Fault::StartLine)));
    };
    let uri = content.start + first + 1;
    Some((
        Start::Request {
            method,
            uri: Span::new(uri, uri + uri_length),
            version: Span::new(uri + uri_length + 1, content.end),
        },
        None,
    ))
}

/// RFC 3261 §7.2. The phrase may be empty, and the blank before it may be missing.
fn status_line(line: &[u8], offset: usize) -> Option<Start> {
    let space = line.iter().position(|&byte| byte == b' ')?;
    let code = line.get(space + 1..space + 4)?;
    let status = u16::try_from(split::number(code)?).ok()?;
    let reason = match line.get(space + 4..)? {
        [] => line.len(),
        [b' ', ..] => space + 5,
        _ => return None,
    };
    (100..=699).contains(&status).then(|| Start::Response {
        status,
        reason: Span::new(offset + reason, offset + line.len()),
        version: Span::new(offset, offset + space),
    })
}

/// Splits `name: value`. Blanks before the colon are allowed (RFC 3261 §7.3.1).
fn header_line(bytes: &[u8], content: Range<usize>) -> Option<Line> {
    let line = bytes.get(content.clone())?;
    let colon = memchr(b':', line)?;
    let before = line.get(..colon)?;
    let name_length = before.iter().rposition(|byte| !matches!(byte, b' ' | b'\t'))? + 1;
    let name = before.get(..name_length)?;
    if !is_token(name) {
        return None;
    }
    let after = line.get(colon + 1..)?;
    let value = split::trim(after);
    let value = match value.is_empty() {
        true => Span::new(content.end, content.end),
        false => Span::of_part(bytes, value),
    };
    let name_text = Span::new(content.start, content.start + name_length);
    Some(Line { name: Name::parse(name), name_text, value })
}
