//! The opening handshake of SIP over WebSocket (RFC 6455 §4.2, RFC 7118 §4).

use hyper::{
    Method, Request, Response, StatusCode, Version,
    header::{
        CONNECTION, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::http::{HttpBody, sentence};
use crate::websocket::{SUBPROTOCOL, is_origin_allowed, offers_sip};

/// Whether a request asks for a WebSocket, rightly or not.
pub(super) fn is_asked_for<B>(request: &Request<B>) -> bool {
    has_token(request.headers(), UPGRADE, "websocket")
}

/// The answer to a request for a WebSocket: 101, or why not.
pub(super) fn answer<B>(request: &Request<B>, origins: Option<&[String]>) -> Response<HttpBody> {
    match accept_key(request, origins) {
        Ok(accept) => switch_protocols(accept),
        Err(refusal) => {
            let mut response = sentence(refusal.status, refusal.text);
            if refusal.status == StatusCode::UPGRADE_REQUIRED {
                let headers = response.headers_mut();
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
            }
            response
        }
    }
}

/// Why a request for a WebSocket is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    text: &'static str,
}

impl Refusal {
    const fn bad(text: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text }
    }
}

fn accept_key<B>(request: &Request<B>, origins: Option<&[String]>) -> Result<HeaderValue, Refusal> {
    let headers = request.headers();
    if request.method() != Method::GET || request.version() < Version::HTTP_11 {
        return Err(Refusal::bad("A WebSocket is opened by a GET of HTTP/1.1.\n"));
    }
    if !has_token(headers, CONNECTION, "upgrade") {
        return Err(Refusal::bad(
            "The header Connection: Upgrade is missing. A proxy in between may have removed it.\n",
        ));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        let status = StatusCode::UPGRADE_REQUIRED;
        return Err(Refusal { status, text: "Only version 13 of WebSocket is spoken here.\n" });
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|key| is_nonce(key.as_bytes())) else {
        return Err(Refusal::bad("Sec-WebSocket-Key is missing or is not 16 bytes in base64.\n"));
    };
    if !values(headers, SEC_WEBSOCKET_PROTOCOL).any(offers_sip) {
        return Err(Refusal::bad(
            "This WebSocket carries SIP: offer the subprotocol sip (Sec-WebSocket-Protocol: sip).\n",
        ));
    }
    let origin = headers.get(ORIGIN).map(|origin| String::from_utf8_lossy(origin.as_bytes()));
    if !is_origin_allowed(origins, origin.as_deref()) {
        let status = StatusCode::FORBIDDEN;
        let text =
            "Pages of this origin may not connect. It is not among the configured origins.\n";
        return Err(Refusal { status, text });
    }
    HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .map_err(|_| Refusal::bad("Sec-WebSocket-Key cannot be used.\n"))
}

fn switch_protocols(accept: HeaderValue) -> Response<HttpBody> {
    let mut response = sentence(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.clear();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    response
}

/// Whether a comma-separated header has such a token on any of its lines.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let mut tokens = values(headers, name).flat_map(|line| line.split(','));
    tokens.any(|one| one.trim().eq_ignore_ascii_case(token))
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok())
}

/// Sixteen bytes in base64 are 22 digits and two equals signs.
fn is_nonce(key: &[u8]) -> bool {
    matches!(key.split_last_chunk::<2>(), Some((digits, b"==")) if digits.len() == 22
        && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')))
}

/// The one version of RFC 6455.
const VERSION: &str = "13";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6455_1_3_the_key_is_answered() {
        let response = answer(&request(&[]), None);
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "sip");
    }

    #[test]
    fn each_wrong_header_has_its_answer() {
        let status = |headers: &[(HeaderName, &'static str)]| {
            answer(&request(headers), None).status().as_u16()
        };
        assert_eq!(status(&[(SEC_WEBSOCKET_VERSION, "8")]), 426);
        assert_eq!(status(&[(CONNECTION, "close")]), 400);
        assert_eq!(status(&[(SEC_WEBSOCKET_KEY, "c2hvcnQ=")]), 400);
        assert_eq!(status(&[(SEC_WEBSOCKET_PROTOCOL, "mqtt, xmpp")]), 400);
        assert_eq!(status(&[(SEC_WEBSOCKET_PROTOCOL, "mqtt, sip")]), 101);
        assert_eq!(status(&[(CONNECTION, "keep-alive, Upgrade")]), 101);
    }

    #[test]
    fn an_origin_must_be_listed_where_there_is_a_list() {
        let origins = ["https://phone.example.com".to_owned()];
        let status = |headers: &[(HeaderName, &'static str)]| {
            answer(&request(headers), Some(&origins)).status().as_u16()
        };
        assert_eq!(status(&[(ORIGIN, "https://phone.example.com")]), 101);
        assert_eq!(status(&[(ORIGIN, "https://phone.example.com.evil.test")]), 403);
        assert_eq!(status(&[(ORIGIN, "null")]), 403);
        assert_eq!(status(&[]), 101);
    }

    fn request(changes: &[(HeaderName, &'static str)]) -> Request<()> {
        let mut request = Request::new(());
        let headers = request.headers_mut();
        for (name, value) in [
            (UPGRADE, "websocket"),
            (CONNECTION, "Upgrade"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
            (SEC_WEBSOCKET_PROTOCOL, "sip"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in changes {
            headers.insert(name, HeaderValue::from_static(value));
        }
        request
    }
}
