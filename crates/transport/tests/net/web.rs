//! HTTP on a web listener, and the opening handshake of WebSocket.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, body::Body, routing::get};
use hyper::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tower::ServiceExt;
use transport::{
    TransportKind,
    net::{DropReason, HttpHandler, Listen, Peer},
};

use crate::support::{Rig, certificate, connect_tls, read_to_end};

#[tokio::test]
async fn a_router_serves_what_is_not_sip() {
    let (config, connector) = certificate();
    let rig = Rig::new();
    let plain = rig.listen(Listen::Http(router()));
    let secure = rig.listen(Listen::Https(config, router()));
    let client = TcpStream::connect(plain).await.unwrap();
    let remote = client.local_addr().unwrap();
    let answer = ask(client, "GET /who HTTP/1.1", "").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with(&format!("{remote} at {plain}, secure false")), "{answer}");
    let client = connect_tls(&connector, secure).await;
    let answer = ask(client, "GET /who HTTP/1.1", "").await;
    assert!(answer.ends_with(&format!("at {secure}, secure true")), "{answer}");
    let client = TcpStream::connect(plain).await.unwrap();
    let answer = ask(client, "GET /elsewhere HTTP/1.1", "").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    rig.ends_silent().await;
}

#[tokio::test]
async fn a_bad_opening_handshake_is_answered_with_a_sentence() {
    let rig = Rig::with(|config| config.origins = Some(vec!["https://good.test".to_owned()]));
    let server = rig.listen(Listen::Http(router()));
    let sip = "Sec-WebSocket-Protocol: sip\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let cases = [
        (version.to_owned(), "400", "subprotocol sip"),
        (format!("{version}Sec-WebSocket-Protocol: mqtt\r\n"), "400", "subprotocol sip"),
        (format!("{sip}{version}Origin: https://evil.test\r\n"), "403", "origin"),
        (format!("{sip}Sec-WebSocket-Version: 8\r\n"), "426", "version 13"),
        (format!("{sip}{version}Origin: https://good.test\r\n"), "101", ""),
    ];
    for (headers, status, sentence) in &cases {
        let client = TcpStream::connect(server).await.unwrap();
        let answer = ask(client, "GET /any/path HTTP/1.1", &format!("{UPGRADE}{headers}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(sentence), "{answer}");
    }
    assert_eq!(rig.dropped(TransportKind::Ws, DropReason::WebSocketRefused), 4);
}

#[tokio::test]
async fn an_unfinished_http_head_ends_in_time() {
    let rig = Rig::with(|config| config.handshake_timeout = Duration::from_millis(80));
    let server = rig.listen(Listen::Http(router()));
    for begun in ["", "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n"] {
        let mut client = TcpStream::connect(server).await.unwrap();
        client.write_all(begun.as_bytes()).await.unwrap();
        read_to_end(&mut client).await;
    }
    rig.network.shutdown().await;
    assert_eq!(rig.dropped(TransportKind::Ws, DropReason::HandshakeTimeout), 2);
    assert_eq!(rig.network.connections(), 0);
    rig.ends_silent().await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_idle_browsers() {
    let rig = Rig::new();
    let server = rig.listen(Listen::Http(router()));
    let mut idle = TcpStream::connect(server).await.unwrap();
    idle.write_all(b"GET /who HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    idle.readable().await.unwrap();
    rig.network.shutdown().await;
    assert_eq!(rig.network.connections(), 0);
    assert!(!read_to_end(&mut idle).await.is_empty());
}

/// A Router as the product plugs one in.
fn router() -> HttpHandler {
    let router = Router::new().route("/who", get(who));
    HttpHandler::new(move |mut request: Request<_>, peer| {
        request.extensions_mut().insert(peer);
        let router = router.clone();
        async move { router.oneshot(request).await.unwrap_or_else(|never| match never {}) }
    })
}

async fn who(request: Request<Body>) -> String {
    let Peer { remote, local, secure } = *request.extensions().get::<Peer>().unwrap();
    let _: (SocketAddr, SocketAddr) = (remote, local);
    format!("{remote} at {local}, secure {secure}")
}

/// Sends one request and reads all that is answered.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, line: &str, headers: &str) -> String {
    let connection = if headers.is_empty() { "Connection: close\r\n" } else { "" };
    let head = format!("{line}\r\nHost: sidetone.test\r\n{connection}{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    if headers.is_empty() {
        return String::from_utf8(read_to_end(&mut stream).await).unwrap();
    }
    // A refused upgrade leaves the connection open; ending our half ends it.
    stream.shutdown().await.unwrap();
    String::from_utf8_lossy(&read_to_end(&mut stream).await).into_owned()
}

const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
