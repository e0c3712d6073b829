//! The rules of SIP over WebSocket that need no socket (RFC 7118).

use bytes::Bytes;

use crate::framing::is_keep_alive;
use crate::{Framing, Limits, Message, ParseError};

/// The subprotocol that both sides must name (RFC 7118 §4).
pub const SUBPROTOCOL: &str = "sip";

/// Whether a `Sec-WebSocket-Protocol` value offers [`SUBPROTOCOL`]. The header may be repeated:
/// ask for each of its values.
pub fn offers_sip(header: &str) -> bool {
    header.split(',').any(|token| token.trim().eq_ignore_ascii_case(SUBPROTOCOL))
}

/// Whether a page may connect. Without a list every page may; a request without Origin comes
/// from no page.
pub fn is_origin_allowed(origins: Option<&[String]>, origin: Option<&str>) -> bool {
    match (origins, origin) {
        (None, _) | (Some(_), None) => true,
        (Some(origins), Some(origin)) => {
            origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
        }
    }
}

/// What one WebSocket message carries, text or binary alike (RFC 7118 §5).
#[derive(Debug)]
pub enum FrameEvent {
    /// One SIP message.
    Message(Message),
    /// Line ends only: a keep-alive of RFC 5626 that wants [`crate::framing::PONG`].
    Ping,
    /// Not a message. The connection lives on: the next frame has its own boundary.
    Unparsable(ParseError),
}

/// Reads one WebSocket message: exactly one SIP message, or a keep-alive.
pub fn read(payload: Bytes, limits: &Limits) -> FrameEvent {
    if is_keep_alive(&payload) {
        return FrameEvent::Ping;
    }
    match Message::parse(payload, Framing::WebSocket, limits) {
        Ok(message) => FrameEvent::Message(message),
        Err(error) => FrameEvent::Unparsable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7118_4_the_subprotocol_must_be_offered() {
        assert!(offers_sip("sip") && offers_sip("xmpp, SIP") && offers_sip(" sip ,"));
        assert!(!offers_sip("") && !offers_sip("sips") && !offers_sip("sip2"));
    }

    #[test]
    fn origins_are_checked_only_where_they_are_listed() {
        let listed = ["https://phone.example".to_owned()];
        assert!(is_origin_allowed(None, Some("https://any.example")));
        assert!(is_origin_allowed(Some(&listed), Some("https://Phone.example")));
        assert!(is_origin_allowed(Some(&listed), None));
        assert!(!is_origin_allowed(Some(&listed), Some("https://evil.example")));
        assert!(!is_origin_allowed(Some(&listed), Some("null")));
    }

    #[test]
    fn rfc7118_5_a_frame_is_one_message() {
        let limits = Limits::default();
        let message = "OPTIONS sip:a SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\nbody";
        let FrameEvent::Message(read_back) = read(Bytes::from(message), &limits) else {
            panic!("not a message")
        };
        assert_eq!(read_back.body(), "body");
        assert!(matches!(read(Bytes::from("\r\n\r\n"), &limits), FrameEvent::Ping));
        assert!(matches!(read(Bytes::from("{}"), &limits), FrameEvent::Unparsable(_)));
    }
}
