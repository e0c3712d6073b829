//! SIP under TLS, and what else knocks at a TLS port.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use transport::{
    TransportKind,
    net::{CloseReason, DropReason, HttpHandler, Listen},
};

use crate::support::{
    LOOPBACKS, Rig, certificate, connect_tls, expect_bytes, read_to_end, request,
};

#[tokio::test]
async fn a_request_is_answered_under_tls() {
    for address in LOOPBACKS {
        let mut rig = Rig::new();
        let (config, connector) = certificate();
        let server = rig.listen_on(Listen::Tls(config), address);
        let mut client = connect_tls(&connector, server).await;
        let opened = rig.opened().await;
        assert_eq!((opened.kind, opened.local), (TransportKind::Tls, server));
        client.write_all(&request("tls")).await.unwrap();
        assert_eq!(rig.echo("tls").await, opened);
        expect_bytes(&mut client, &request("tls")).await;
        client.shutdown().await.unwrap();
        assert_eq!(rig.closed().await, (opened.id, CloseReason::Peer));
        rig.ends_silent().await;
    }
}

#[tokio::test]
async fn closing_says_goodbye_under_tls_too() {
    let mut rig = Rig::new();
    let (config, connector) = certificate();
    let server = rig.listen(Listen::Tls(config));
    let mut client = connect_tls(&connector, server).await;
    let flow = rig.opened().await;
    rig.network.send(&flow, request("bye")).unwrap();
    rig.network.close(flow.id);
    expect_bytes(&mut client, &request("bye")).await;
    // Without close_notify this would be an error (RFC 8446 §6.1).
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    drop(client);
    assert_eq!(rig.closed().await, (flow.id, CloseReason::Local));
}

#[tokio::test]
async fn plain_http_at_a_tls_port_is_told_so() {
    let (config, _) = certificate();
    for listen in [Listen::Tls(config.clone()), Listen::Https(config, HttpHandler::none())] {
        let kind = listen.kind();
        let rig = Rig::new();
        let server = rig.listen(listen);
        let mut client = TcpStream::connect(server).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("https://"), "{answer}");
        drop(client);
        rig.network.shutdown().await;
        assert_eq!(rig.dropped(kind, DropReason::Handshake), 1);
        rig.ends_silent().await;
    }
}

#[tokio::test]
async fn garbage_and_silence_at_a_tls_port_never_open_a_flow() {
    let rig = Rig::with(|config| config.handshake_timeout = Duration::from_millis(400));
    let (config, _) = certificate();
    let server = rig.listen(Listen::Tls(config));
    for bytes in [&b"OPTIONS sip:a SIP/2.0\r\n\r\n"[..], b"\x16\x03\x01\x00\x05hello", b"\x16"] {
        let mut client = TcpStream::connect(server).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let alert = read_to_end(&mut client).await;
        assert!(alert.len() <= 7, "no more than an alert: {alert:?}");
    }
    let mut silent = TcpStream::connect(server).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, b"");
    rig.network.shutdown().await;
    assert_eq!(rig.dropped(TransportKind::Tls, DropReason::Handshake), 2);
    assert_eq!(rig.dropped(TransportKind::Tls, DropReason::HandshakeTimeout), 2);
    rig.ends_silent().await;
}
