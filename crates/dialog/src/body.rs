//! Bodies of messages, and the part of one that is read (RFC 5621).

use bytes::Bytes;
use transport::{Message, Method, Name, split};

/// A body and its type. What it says is not read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The type without parameters, in lower case when it came from a peer.
    pub content_type: String,
    /// The bytes.
    pub bytes: Bytes,
}

impl Body {
    /// A session description.
    pub fn sdp(bytes: impl Into<Bytes>) -> Body {
        Body { content_type: SDP.to_owned(), bytes: bytes.into() }
    }

    /// The body of a message, if it has one.
    pub fn of(message: &Message) -> Option<Body> {
        let bytes = message.body();
        let content_type = message.content_type().unwrap_or_default();
        (!bytes.is_empty()).then_some(Body { content_type, bytes })
    }

    /// The session description of a message, also when it is one part of several (RFC 5621 §3.1).
    ///
    /// A message without one may have a body of another type. That is given if its sender asks that
    /// it be understood, which is the rule (RFC 3261 §20.11); otherwise the message counts as empty.
    /// A request that has one beside a part marked as required is given whole, to be refused.
    pub fn description(message: &Message) -> Option<Body> {
        let whole = Body::of(message)?;
        if whole.is_sdp() {
            return Some(whole);
        }
        let value = |name| message.header(name).unwrap_or_default();
        let content = content_of(&value(Name::ContentType), &whole.bytes, NESTED_MAX);
        match (content.description, content.rest.disposed(&value(Name::ContentDisposition))) {
            (Some(_), Rest::Required) if can_be_refused(message) => Some(whole),
            (Some(bytes), _) => Some(Body::sdp(bytes)),
            (None, Rest::Optional) => None,
            (None, Rest::Unnamed | Rest::Required) => Some(whole),
        }
    }

    /// What an INFO may carry.
    pub const DIGITS: &str = "application/dtmf-relay, application/dtmf";

    /// Whether it is a digit, by its media type.
    pub fn is_digit(&self) -> bool {
        let media_type = self.content_type.split(';').next().unwrap_or_default().trim();
        Body::DIGITS.split(", ").any(|digit| digit.eq_ignore_ascii_case(media_type))
    }

    /// Whether this is a session description.
    pub fn is_sdp(&self) -> bool {
        self.content_type.eq_ignore_ascii_case(SDP)
    }
}

fn can_be_refused(message: &Message) -> bool {
    message.is_request() && *message.method() != Method::Ack
}

/// What a body holds, as far as we can read it.
struct Content {
    description: Option<Bytes>,
    rest: Rest,
}

/// What is to become of what we cannot read, the strictest of its parts (RFC 3261 §20.11).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    /// It is passed over, or there is none.
    Optional,
    /// It counts as required, but nobody said so.
    Unnamed,
    /// It must be understood.
    Required,
}

impl Rest {
    /// What a Content-Disposition says of it.
    fn disposed(self, disposition: &str) -> Rest {
        let handling = split::find_param(disposition.as_bytes(), "handling");
        let handling = handling.map(|handling| handling.text().to_ascii_lowercase());
        match (self, handling.as_deref()) {
            (Rest::Optional, _) | (_, Some("optional")) => Rest::Optional,
            (_, Some("required")) => Rest::Required,
            (rest, _) => rest,
        }
    }
}

/// Looks into a body of type `kind`, with its parameters.
fn content_of(kind: &str, bytes: &Bytes, depth: u8) -> Content {
    let name = kind.split(';').next().unwrap_or_default().trim();
    if name.eq_ignore_ascii_case(SDP) {
        return Content { description: Some(bytes.clone()), rest: Rest::Optional };
    }
    let multipart =
        name.get(..MULTIPART.len()).filter(|start| start.eq_ignore_ascii_case(MULTIPART));
    let boundary = split::find_param(kind.as_bytes(), "boundary").map(|param| param.text());
    let (Some(_), Some(boundary), 1..) = (multipart, boundary, depth) else {
        return Content { description: None, rest: Rest::Unnamed };
    };
    let mut content = Content { description: None, rest: Rest::Optional };
    for part in parts(bytes, &boundary).take(PARTS_MAX) {
        let inner = match part.is_encoded() {
            true => Content { description: None, rest: Rest::Unnamed },
            false => content_of(&part.field("Content-Type"), &part.bytes, depth - 1),
        };
        let rest = inner.rest.disposed(&part.field("Content-Disposition"));
        content.rest = content.rest.max(rest);
        content.description = content.description.or(inner.description);
    }
    content
}

/// A part of a body, and the header fields of it.
struct Part {
    head: String,
    bytes: Bytes,
}

impl Part {
    fn new(bytes: &Bytes) -> Part {
        let ends = [b"\r\n\r\n".as_slice(), b"\n\n"];
        let end = (0..bytes.len()).find_map(|at| {
            let rest = bytes.get(at..)?;
            ends.iter().find(|end| rest.starts_with(end)).map(|end| (at, at + end.len()))
        });
        // A part may have no header fields: it begins with an empty line then.
        let (head, start) = match bytes.as_ref() {
            [b'\r', b'\n', ..] => (0, 2),
            [b'\n', ..] => (0, 1),
            _ => end.unwrap_or((bytes.len(), bytes.len())),
        };
        let head = String::from_utf8_lossy(bytes.get(..head).unwrap_or_default());
        // A line that begins with a blank goes on with the one before.
        let head = head.replace("\r\n", "\n").replace("\n ", " ").replace("\n\t", " ");
        Part { head, bytes: bytes.slice(start..) }
    }

    /// The value of a header field; empty if there is none.
    fn field(&self, name: &str) -> String {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(known, _)| known.trim().eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }

    /// Whether the bytes are not what they stand for.
    fn is_encoded(&self) -> bool {
        let encoding = self.field("Content-Transfer-Encoding").to_ascii_lowercase();
        !matches!(encoding.as_str(), "" | "7bit" | "8bit" | "binary")
    }
}

/// The parts between the lines that a boundary makes (RFC 2046 §5.1.1).
fn parts(bytes: &Bytes, boundary: &str) -> impl Iterator<Item = Part> {
    let delimiter = format!("--{boundary}");
    let mut starts = Vec::new();
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n').take(LINES_MAX) {
        let text = line.trim_ascii_end();
        if let Some(rest) = text.strip_prefix(delimiter.as_bytes())
            && matches!(rest, b"" | b"--")
            && !boundary.is_empty()
        {
            starts.push((at, at + line.len()));
        }
        at += line.len();
    }
    let ends: Vec<usize> = starts.iter().skip(1).map(|(end, _)| *end).collect();
    let bytes = bytes.clone();
    starts.into_iter().zip(ends).map(move |((_, start), end)| {
        // The line end before a delimiter belongs to the delimiter.
        let part = bytes.get(start..end).unwrap_or_default();
        let part = part.strip_suffix(b"\n").unwrap_or(part);
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        Part::new(&bytes.slice(start..start + part.len()))
    })
}

const SDP: &str = "application/sdp";
const MULTIPART: &str = "multipart/";
/// How many multiparts may lie within each other.
const NESTED_MAX: u8 = 3;
const PARTS_MAX: usize = 16;
const LINES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use transport::{Framing, Limits};

    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n";

    fn invite(head: &str, body: &str) -> Message {
        let length = body.len();
        let text =
            format!("INVITE sip:a@b SIP/2.0\r\n{head}Content-Length: {length}\r\n\r\n{body}");
        Message::parse(text.into(), Framing::Datagram, &Limits::default()).unwrap()
    }

    fn read(head: &str, body: &str) -> Option<(String, String)> {
        let body = Body::description(&invite(head, body))?;
        Some((body.content_type, String::from_utf8(body.bytes.to_vec()).unwrap()))
    }

    fn sdp(bytes: &str) -> Option<(String, String)> {
        Some((SDP.to_owned(), bytes.to_owned()))
    }

    #[test]
    fn rfc5621_3_1_a_description_is_found_among_other_parts() {
        for kind in ["multipart/mixed", "Multipart/Alternative", "multipart/related"] {
            let head = format!("Content-Type: {kind};boundary=\"x y\"\r\n");
            let body = format!(
                "preamble\r\n--x y\r\nContent-Type: application/isup; version=nxv3\r\n\
                 Content-Disposition: signal;\r\n handling=optional\r\n\r\n\u{1}\0--x yz\r\n\
                 --x y\r\ncontent-type:Application/SDP\r\n\r\n{OFFER}\r\n--x y--\r\nepilogue"
            );
            assert_eq!(read(&head, &body), sdp(OFFER), "{kind}");
        }
    }

    #[test]
    fn rfc5621_3_1_1_a_description_is_found_in_a_nested_part() {
        let body = format!(
            "--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n\
             --b\nContent-Type: application/sdp\n\n{OFFER}\n--b--\n\n--a--\n"
        );
        assert_eq!(read("Content-Type: multipart/mixed;boundary=a\r\n", &body), sdp(OFFER));
    }

    #[test]
    fn rfc3261_20_11_what_need_not_be_understood_is_passed_over() {
        let text = "Content-Type: text/plain\r\n";
        let optional = "Content-Disposition: render;handling=Optional\r\n";
        assert_eq!(read(text, "hello"), Some(("text/plain".to_owned(), "hello".to_owned())));
        assert_eq!(read(&format!("{text}{optional}"), "hello"), None);
        let head = "Content-Type: multipart/mixed;boundary=a\r\n";
        let parts = |disposition: &str| {
            format!("--a\r\nContent-Type: text/plain\r\n{disposition}\r\nhello\r\n--a--\r\n")
        };
        assert_eq!(read(head, &parts(optional)), None);
        let required = parts("");
        assert_eq!(read(head, &required), Some(("multipart/mixed".to_owned(), required)));
    }

    #[test]
    fn rfc3261_20_11_a_part_that_must_be_understood_is_not_passed_over() {
        let head = "CSeq: 1 INVITE\r\nContent-Type: multipart/mixed;boundary=a\r\n";
        let foreign = |handling: &str| {
            format!(
                "Content-Type: text/plain\r\nContent-Disposition: render{handling}\r\n\r\nhello"
            )
        };
        let description = format!("Content-Type: application/sdp\r\n\r\n{OFFER}");
        for (handling, is_read) in
            [("", true), (";handling=optional", true), (";handling=\"Required\"", false)]
        {
            let parts = [description.clone(), foreign(handling)];
            for [first, second] in [[0, 1], [1, 0]] {
                let body =
                    format!("--a\r\n{}\r\n--a\r\n{}\r\n--a--\r\n", parts[first], parts[second]);
                let whole = Some(("multipart/mixed".to_owned(), body.clone()));
                let expected = if is_read { sdp(OFFER) } else { whole };
                assert_eq!(read(head, &body), expected, "{handling}");
                let message = invite(head, &body);
                let text = String::from_utf8(message.bytes().to_vec()).unwrap();
                let answer = text.replace("INVITE sip:a@b SIP/2.0", "SIP/2.0 200 OK");
                let limits = Limits::default();
                let answer = Message::parse(answer.into(), Framing::Datagram, &limits).unwrap();
                assert!(Body::description(&answer).unwrap().is_sdp(), "what came is made use of");
            }
        }
    }

    #[test]
    fn rfc2045_6_a_part_that_is_encoded_is_not_read() {
        let body = "--a\r\nContent-Type: application/sdp\r\n\
                    Content-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--a--\r\n";
        let head = "Content-Type: multipart/mixed;boundary=a\r\n";
        assert_eq!(read(head, body).unwrap().0, "multipart/mixed");
    }

    #[test]
    fn a_multipart_without_a_boundary_or_nested_too_deep_is_another_type() {
        for (boundary, body) in [("", "--\r\n\r\nx\r\n----\r\n"), (";boundary=\"\"", "x")] {
            let head = format!("Content-Type: multipart/mixed{boundary}\r\n");
            assert_ne!(read(&head, body), sdp(OFFER));
        }
        let mut body = format!("Content-Type: application/sdp\r\n\r\n{OFFER}");
        for boundary in ["d", "c", "b", "a"] {
            body = format!(
                "Content-Type: multipart/mixed;boundary={boundary}\r\n\r\n\
                 --{boundary}\r\n{body}\r\n--{boundary}--"
            );
        }
        let (head, body) = body.split_once("\r\n\r\n").unwrap();
        assert_eq!(read(&format!("{head}\r\n"), body).unwrap().0, "multipart/mixed");
    }

    proptest! {
        #[test]
        fn any_bytes_may_stand_between_two_boundaries(
            before in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..400,
        ) {
            let mut body = before;
            body.extend(b"\r\n--a\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--a--\r\n");
            let whole = Bytes::from(body);
            let kind = "multipart/mixed;boundary=a";
            let found = |bytes: &Bytes| content_of(kind, bytes, NESTED_MAX).description;
            prop_assert_eq!(found(&whole), Some(Bytes::from_static(b"v=0")));
            found(&whole.slice(..cut.min(whole.len())));
        }
    }
}
