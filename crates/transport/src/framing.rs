//! Message boundaries on streams, and the keep-alives between messages.

use bytes::{Buf, Bytes, BytesMut};

use crate::index::{self, leading_line_ends};
use crate::{Fault, Framing, Limits, Message, ParseError};

/// What a peer sends between messages to learn whether we are there (RFC 5626 §3.5.1).
pub const PING: &[u8] = b"\r\n\r\n";

/// Our answer to a [`PING`] (RFC 5626 §4.4.1).
pub const PONG: &[u8] = b"\r\n";

/// Whether a datagram is a keep-alive and no message: only line ends and zero bytes.
pub fn is_keep_alive(datagram: &[u8]) -> bool {
    datagram.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0 | b' '))
}

/// What came out of a stream.
#[derive(Debug)]
pub enum StreamEvent {
    /// A whole message.
    Message(Message),
    /// A keep-alive that wants [`PONG`] back.
    Ping,
    /// A whole message that cannot be read: answer the error if it is answerable. The next one is
    /// no worse for it, which may be another caller's where a proxy shares one stream.
    Unreadable(ParseError),
    /// The boundary of the next message cannot be found: answer the error if it is answerable,
    /// then close. Nothing comes after this.
    Broken(ParseError),
}

/// Cuts a stream into messages. It looks at each byte of a head once, however it is cut, and
/// never holds more than four heads, one body and what one read brought.
#[derive(Debug)]
pub struct StreamDecoder {
    limits: Limits,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no end of the head.
    scanned: usize,
    /// The length of the message at the start of the buffer, once its head is there.
    length: Option<usize>,
    /// Line ends seen since the last message or ping.
    line_feeds: u8,
    is_broken: bool,
}

impl StreamDecoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> StreamDecoder {
        StreamDecoder {
            limits,
            buffer: BytesMut::new(),
            scanned: 0,
            length: None,
            line_feeds: 0,
            is_broken: false,
        }
    }

    /// Where to read into. Call [`StreamDecoder::poll`] until `None` after each read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether the stream stands between two messages, so that its end loses nothing.
    pub fn is_between_messages(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next thing that is complete.
    pub fn poll(&mut self) -> Option<StreamEvent> {
        if self.is_broken {
            self.buffer.clear();
            return None;
        }
        if self.scanned == 0 && self.skip_line_ends() {
            return Some(StreamEvent::Ping);
        }
        let length = match self.length {
            Some(length) => length,
            None => match self.measure()? {
                Ok(length) => *self.length.insert(length),
                Err(fault) => return Some(self.broken(fault)),
            },
        };
        if self.buffer.len() < length {
            self.buffer.reserve(length - self.buffer.len());
            return None;
        }
        self.scanned = 0;
        self.length = None;
        // Copied to its own size: a message kept for a whole call must not keep the read buffer.
        let bytes = Bytes::copy_from_slice(self.buffer.get(..length).unwrap_or_default());
        self.buffer.advance(length);
        Some(match Message::parse(bytes, Framing::Stream, &self.limits) {
            Ok(message) => StreamEvent::Message(message),
            Err(error) => StreamEvent::Unreadable(error),
        })
    }

    /// Drops line ends before a message; says whether two of them make a ping. A single one is
    /// a pong or slack of the peer.
    fn skip_line_ends(&mut self) -> bool {
        while let Some(&byte) = self.buffer.first().filter(|byte| matches!(byte, b'\r' | b'\n')) {
            self.buffer.advance(1);
            if byte == b'\n' {
                self.line_feeds += 1;
            }
            if self.line_feeds == 2 {
                self.line_feeds = 0;
                return true;
            }
        }
        if !self.buffer.is_empty() {
            self.line_feeds = 0;
        }
        false
    }

    /// The length of the message at the start of the buffer, once its head is complete: also of a
    /// message that is too large to be read, or with a line that is none. Where readers might
    /// disagree about its end, there is none.
    fn measure(&mut self) -> Option<Result<usize, Fault>> {
        let Some(head_end) = self.head_end() else {
            let most = self.limits.head_bytes_max.saturating_mul(HEADS_SKIPPED);
            return (self.buffer.len() > most).then_some(Err(Fault::HeadTooLarge));
        };
        let head = self.buffer.get(..head_end).unwrap_or_default();
        let limits =
            Limits { head_bytes_max: head_end, headers_max: usize::MAX, ..self.limits.clone() };
        let lines = match index::index(head, &limits) {
            Ok(index) => index.lines,
            Err((Fault::HeaderLine, Some(index))) if !index::has_bare_cr(head) => index.lines,
            Err((fault, _)) => return Some(Err(fault)),
        };
        Some(match index::content_length(&lines, head) {
            Ok(None) => Err(Fault::ContentLengthMissing),
            Ok(Some(length)) if length > self.limits.body_bytes_max => Err(Fault::BodyTooLarge),
            Ok(Some(length)) => Ok(head_end + length),
            Err(fault) => Err(fault),
        })
    }

    /// The end of the empty line that closes the head, searched from where the last search ended.
    fn head_end(&mut self) -> Option<usize> {
        let mut position = self.scanned;
        while let Some(offset) = self.buffer.get(position..)?.iter().position(|&byte| byte == b'\n')
        {
            let feed = position + offset;
            match self.buffer.get(feed + 1..)? {
                [b'\n', ..] => return Some(feed + 2),
                [b'\r', b'\n', ..] => return Some(feed + 3),
                // The next line has only begun to arrive: look at this feed again then.
                [] | [b'\r'] => {
                    self.scanned = feed;
                    return None;
                }
                _ => position = feed + 1,
            }
        }
        self.scanned = self.buffer.len();
        None
    }

    /// Gives the fault with what there is of the message, and stops.
    fn broken(&mut self, fault: Fault) -> StreamEvent {
        self.is_broken = true;
        let bytes = self.buffer.split().freeze();
        debug_assert_eq!(leading_line_ends(&bytes), 0, "line ends are skipped before a message");
        StreamEvent::Broken(match Message::parse(bytes, Framing::Stream, &self.limits) {
            // The whole of it may show another fault first; what was indexed serves an answer.
            Err(error) => error,
            Ok(_) => ParseError::new(fault, None),
        })
    }
}

/// A head that is larger than we read, but no larger than so many of them, is skipped.
const HEADS_SKIPPED: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nCSeq: 1 OPTIONS\r\nl: 4\r\n\r\nbody";

    /// What comes out, as text: bodies, `ping`, or the fault.
    fn feed(chunks: &[&[u8]]) -> Vec<String> {
        let limits = Limits { head_bytes_max: 200, body_bytes_max: 100, headers_max: 4 };
        let mut decoder = StreamDecoder::new(limits);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.buffer().extend_from_slice(chunk);
            while let Some(event) = decoder.poll() {
                events.push(match event {
                    StreamEvent::Message(message) => {
                        String::from_utf8_lossy(&message.body()).into_owned()
                    }
                    StreamEvent::Ping => "ping".to_owned(),
                    StreamEvent::Unreadable(error) => format!("skipped {}", error.reason()),
                    StreamEvent::Broken(error) => error.reason().to_owned(),
                });
            }
        }
        events
    }

    #[test]
    fn two_messages_in_one_read_are_two_messages() {
        assert_eq!(feed(&[&[MESSAGE, MESSAGE].concat()]), ["body", "body"]);
    }

    #[test]
    fn one_byte_at_a_time_is_the_same_stream() {
        let stream = [PING, MESSAGE, b"\r\n", MESSAGE, PING].concat();
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(feed(&bytes), feed(&[&stream]));
        assert_eq!(feed(&bytes), ["ping", "body", "body", "ping"]);
    }

    #[test]
    fn rfc5626_4_4_1_only_a_double_line_end_is_a_ping() {
        assert_eq!(feed(&[b"\r\n", MESSAGE, b"\r\n", MESSAGE]), ["body", "body"]);
        assert_eq!(feed(&[b"\r\n", b"\r\n"]), ["ping"]);
        assert_eq!(feed(&[b"\r\n\r\n\r\n\r\n"]), ["ping", "ping"]);
    }

    #[test]
    fn a_message_that_cannot_be_read_costs_no_other_message() {
        let many = "X-Many: 1\r\n".repeat(5);
        let large = format!("X-Large: {}\r\n", "1".repeat(300));
        for (line, label) in [
            ("X(odd): 1\r\n", "header_line"),
            ("no header\r\n", "header_line"),
            (&many, "too_many_headers"),
            (&large, "head_too_large"),
        ] {
            let odd = format!("OPTIONS sip:a SIP/2.0\r\nCSeq: 1 OPTIONS\r\n{line}l: 4\r\n\r\nbody");
            let stream = [MESSAGE, odd.as_bytes(), MESSAGE].concat();
            let skipped = format!("skipped {label}");
            assert_eq!(feed(&[&stream]), ["body", &skipped, "body"]);
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            assert_eq!(feed(&bytes), ["body", &skipped, "body"]);
        }
    }

    #[test]
    fn a_boundary_that_cannot_be_found_ends_the_stream() {
        let rows: [(&[u8], &str); 6] = [
            (b"OPTIONS sip:a SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n", "content_length_missing"),
            (b"OPTIONS sip:a SIP/2.0\r\nl: 1\r\nl: 1\r\n\r\n", "content_length"),
            (b"OPTIONS sip:a SIP/2.0\r\nl: -1\r\n\r\n", "content_length"),
            (b"OPTIONS sip:a SIP/2.0\r\nl: 101\r\n\r\n", "body_too_large"),
            (b"OPTIONS sip:a SIP/2.0\r\nl: 99999999999999999999999\r\n\r\n", "content_length"),
            (b"garbage\r\n\r\n", "start_line"),
        ];
        for (bytes, label) in rows {
            assert_eq!(feed(&[bytes, MESSAGE]), [label], "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(feed(&[&[b'a'; 200 * HEADS_SKIPPED + 1], MESSAGE]), ["head_too_large"]);
        assert_eq!(
            feed(&[b"X sip:a SIP/2.0\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\n\r\n"]),
            ["too_many_headers"]
        );
    }

    #[test]
    fn a_broken_request_can_still_be_answered() {
        let mut decoder = StreamDecoder::new(Limits::default());
        decoder.buffer().extend_from_slice(
            b"OPTIONS sip:a SIP/2.0\r\nv: SIP/2.0/TCP h\r\nf: <sip:a>\r\nt: <sip:a>\r\ni: i\r\n\
              CSeq: 1 OPTIONS\r\nl: 70000\r\n\r\n",
        );
        let Some(StreamEvent::Broken(error)) = decoder.poll() else { panic!("not broken") };
        assert_eq!((error.status(), error.answerable().is_some()), (413, true));
    }

    #[test]
    fn keep_alives_of_datagrams_are_known() {
        for bytes in [&b""[..], b"\r\n", b"\r\n\r\n", b"\0\0\0\0"] {
            assert!(is_keep_alive(bytes));
        }
        assert!(!is_keep_alive(MESSAGE));
    }
}
