//! SIP over WebSocket after the opening handshake.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message as Frame,
        client::IntoClientRequest,
        protocol::frame::{
            Frame as RawFrame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};
use transport::{
    TransportKind,
    net::{CloseReason, HttpHandler, Listen},
};

use crate::support::{LOOPBACKS, Rig, certificate, connect_tls, expect_bytes, request, soon};

#[tokio::test]
async fn sip_is_spoken_on_any_path() {
    for path in ["/", "/ws", "/a/b?c=d", "/%2e%2e//x"] {
        for address in LOOPBACKS {
            let mut rig = Rig::new();
            let server = rig.listen_on(Listen::Http(HttpHandler::none()), address);
            let stream = TcpStream::connect(server).await.unwrap();
            let mut client = open(stream, server, path).await;
            let opened = rig.opened().await;
            assert_eq!((opened.kind, opened.local), (TransportKind::Ws, server));
            client.send(text(&request("ws"))).await.unwrap();
            assert_eq!(rig.echo("ws").await, opened);
            assert_eq!(next(&mut client).await, text(&request("ws")));
            client.send(Frame::Binary(request("binary"))).await.unwrap();
            rig.echo("binary").await;
            assert_eq!(next(&mut client).await, text(&request("binary")));
            client.close(None).await.unwrap();
            assert_eq!(rig.closed().await, (opened.id, CloseReason::Peer));
            rig.ends_silent().await;
        }
    }
}

#[tokio::test]
async fn sip_is_spoken_under_tls() {
    let (config, connector) = certificate();
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Https(config, HttpHandler::none()));
    let stream = connect_tls(&connector, server).await;
    let mut client = open(stream, server, "/ws").await;
    let opened = rig.opened().await;
    assert_eq!(opened.kind, TransportKind::Wss);
    client.send(text(&request("wss"))).await.unwrap();
    rig.echo("wss").await;
    assert_eq!(next(&mut client).await, text(&request("wss")));
    // A page that goes away takes its connection with it.
    drop(client);
    let (id, reason) = rig.closed().await;
    assert_eq!(id, opened.id);
    assert!(matches!(reason, CloseReason::Peer | CloseReason::Reset), "{reason:?}");
    rig.ends_silent().await;
}

#[tokio::test]
async fn bytes_that_are_no_text_travel_as_binary() {
    let (mut rig, mut client) = websocket(|_| {}).await;
    let flow = rig.opened().await;
    rig.network.send(&flow, (&b"\xff\xfe"[..]).into()).unwrap();
    assert_eq!(next(&mut client).await, Frame::Binary((&b"\xff\xfe"[..]).into()));
}

#[tokio::test]
async fn a_message_may_come_in_fragments() {
    let (mut rig, mut client) = websocket(|_| {}).await;
    rig.opened().await;
    let bytes = request("fragments");
    let (head, tail) = bytes.split_at(30);
    let first = RawFrame::message(head.to_vec(), OpCode::Data(Data::Text), false);
    let last = RawFrame::message(tail.to_vec(), OpCode::Data(Data::Continue), true);
    client.send(Frame::Frame(first)).await.unwrap();
    client.send(Frame::Ping("between".into())).await.unwrap();
    client.send(Frame::Frame(last)).await.unwrap();
    rig.echo("fragments").await;
    assert_eq!(next(&mut client).await, Frame::Pong("between".into()));
    assert_eq!(next(&mut client).await, text(&bytes));
}

#[tokio::test]
async fn keep_alives_are_answered_or_ignored() {
    let (mut rig, mut client) = websocket(|_| {}).await;
    rig.opened().await;
    client.send(text(b"\r\n\r\n")).await.unwrap();
    assert_eq!(next(&mut client).await, text(b"\r\n"));
    client.send(text(b"\r\n")).await.unwrap();
    client.send(text(b"")).await.unwrap();
    client.send(text(&request("after"))).await.unwrap();
    rig.echo("after").await;
    assert_eq!(next(&mut client).await, text(&request("after")));
}

#[tokio::test]
async fn garbage_is_reported_and_the_connection_lives() {
    let (mut rig, mut client) = websocket(|_| {}).await;
    let opened = rig.opened().await;
    client.send(text(b"no SIP")).await.unwrap();
    assert_eq!(rig.unparsable().await.0, opened);
    client.send(text(&request("fine"))).await.unwrap();
    rig.echo("fine").await;
}

#[tokio::test]
async fn an_announced_length_over_the_limit_is_refused_before_it_comes() {
    // 2^63-1 bytes; and one byte more than a head and a body may have together.
    let over = (16_384u64 + 65_536 + 1).to_be_bytes();
    for length in [(u64::MAX >> 1).to_be_bytes(), over] {
        let (mut rig, mut stream) = raw().await;
        let id = rig.opened().await.id;
        stream.write_all(&[0x82, 0xff]).await.unwrap();
        stream.write_all(&length).await.unwrap();
        stream.write_all(&[1, 2, 3, 4]).await.unwrap();
        expect_close(&mut stream, CloseCode::Size).await;
        drop(stream);
        assert_eq!(rig.closed().await, (id, CloseReason::TooLarge));
        rig.ends_silent().await;
    }
}

#[tokio::test]
async fn fragments_over_the_limit_are_refused() {
    let (mut rig, mut client) = websocket(|_| {}).await;
    rig.opened().await;
    let mut code = OpCode::Data(Data::Text);
    for _ in 0..3 {
        let frame = RawFrame::message(vec![b'x'; 40_000], code, false);
        client.send(Frame::Frame(frame)).await.unwrap();
        code = OpCode::Data(Data::Continue);
    }
    expect_close_frame(&mut client, CloseCode::Size).await;
    drop(client);
    assert_eq!(rig.closed().await.1, CloseReason::TooLarge);
}

#[tokio::test]
async fn rfc6455_5_1_an_unmasked_frame_is_refused() {
    let (mut rig, mut stream) = raw().await;
    rig.opened().await;
    stream.write_all(b"\x81\x04\r\n\r\n").await.unwrap();
    expect_close(&mut stream, CloseCode::Protocol).await;
    drop(stream);
    assert_eq!(rig.closed().await.1, CloseReason::Protocol);
}

#[tokio::test]
async fn rfc6455_8_1_a_text_that_is_not_utf8_is_refused() {
    let (mut rig, mut stream) = raw().await;
    rig.opened().await;
    stream.write_all(b"\x81\x81\0\0\0\0\xff").await.unwrap();
    expect_close(&mut stream, CloseCode::Invalid).await;
    drop(stream);
    assert_eq!(rig.closed().await.1, CloseReason::Encoding);
}

#[tokio::test]
async fn frames_right_behind_the_handshake_are_read() {
    let mut rig = Rig::new();
    let server = rig.listen(Listen::Http(HttpHandler::none()));
    let mut stream = TcpStream::connect(server).await.unwrap();
    let bytes = [HANDSHAKE, b"\x81\x84\0\0\0\0\r\n\r\n"].concat();
    stream.write_all(&bytes).await.unwrap();
    read_head(&mut stream).await;
    rig.opened().await;
    expect_bytes(&mut stream, b"\x81\x02\r\n").await;
}

#[tokio::test]
async fn a_flood_of_pings_ends_the_connection() {
    let (mut rig, mut client) = websocket(|config| config.keep_alives_max = 5).await;
    rig.opened().await;
    for n in 0..6u8 {
        client.send(Frame::Ping(vec![n].into())).await.unwrap();
    }
    expect_close_frame(&mut client, CloseCode::Policy).await;
    drop(client);
    assert_eq!(rig.closed().await.1, CloseReason::KeepAliveFlood);
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_gone() {
    let mut rig = Rig::with(|config| {
        config.ping_interval = Duration::from_millis(60);
        config.pong_timeout = Duration::from_millis(40);
        config.linger = Duration::from_millis(50);
    });
    let server = rig.listen(Listen::Http(HttpHandler::none()));
    let mut deaf = TcpStream::connect(server).await.unwrap();
    deaf.write_all(HANDSHAKE).await.unwrap();
    let id = rig.opened().await.id;
    assert_eq!(rig.closed().await, (id, CloseReason::PingTimeout));
    // Half a frame does not count as life for ever either.
    let mut half = TcpStream::connect(server).await.unwrap();
    half.write_all(&[HANDSHAKE, b"\x81\xfe\xff"].concat()).await.unwrap();
    rig.opened_and_closed(CloseReason::PingTimeout).await;
}

#[tokio::test]
async fn a_peer_that_answers_pings_stays() {
    let (mut rig, mut client) = websocket(|config| {
        config.ping_interval = Duration::from_millis(200);
        config.pong_timeout = Duration::from_millis(180);
    })
    .await;
    rig.opened().await;
    // The client answers each ping while it reads.
    for _ in 0..3 {
        assert_eq!(next(&mut client).await, Frame::Ping("".into()));
    }
    client.send(text(&request("alive"))).await.unwrap();
    rig.echo("alive").await;
}

#[tokio::test]
async fn a_pong_that_waits_for_a_busy_consumer_is_not_missed() {
    let (mut rig, client) = websocket(|config| {
        config.ping_interval = Duration::from_millis(200);
        config.pong_timeout = Duration::from_millis(180);
    })
    .await;
    rig.opened().await;
    let (mut sink, stream) = client.split();
    let reader = tokio::spawn(stream.for_each(async |_| {}));
    // More than the channel of events holds.
    for n in 0..100 {
        sink.send(text(&request(&n.to_string()))).await.unwrap();
    }
    sleep(Duration::from_millis(500)).await;
    for n in 0..100 {
        rig.echo(&n.to_string()).await;
    }
    reader.abort();
}

#[tokio::test]
async fn a_browser_that_does_not_read_is_cut_off() {
    let (mut rig, client) = websocket(|config| config.linger = Duration::from_millis(50)).await;
    let flow = rig.opened().await;
    let piece = request(&"x".repeat(50_000));
    let mut sent = 0;
    while rig.network.send(&flow, piece.clone()).is_ok() {
        sent += piece.len();
        assert!(sent < 100_000_000, "nothing bounds what waits for this peer");
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.closed().await, (flow.id, CloseReason::SlowReader));
    drop(client);
}

#[tokio::test]
async fn closing_delivers_what_is_queued_and_says_why() {
    let (mut rig, mut client) = websocket(|_| {}).await;
    let flow = rig.opened().await;
    for n in 0..5 {
        rig.network.send(&flow, request(&n.to_string())).unwrap();
    }
    rig.network.close(flow.id);
    for n in 0..5 {
        assert_eq!(next(&mut client).await, text(&request(&n.to_string())));
    }
    expect_close_frame(&mut client, CloseCode::Normal).await;
    drop(client);
    assert_eq!(rig.closed().await, (flow.id, CloseReason::Local));
}

#[tokio::test]
async fn shutdown_tells_browsers_that_the_server_goes_away() {
    let (mut rig, mut client) = websocket(|_| {}).await;
    let flow = rig.opened().await;
    let network = rig.network.clone();
    let reader = tokio::spawn(async move {
        expect_close_frame(&mut client, CloseCode::Away).await;
    });
    soon(network.shutdown()).await;
    reader.await.unwrap();
    assert_eq!(rig.closed().await, (flow.id, CloseReason::Shutdown));
}

type Client = WebSocketStream<TcpStream>;

async fn websocket(change: impl FnOnce(&mut transport::net::NetConfig)) -> (Rig, Client) {
    let rig = Rig::with(change);
    let server = rig.listen(Listen::Http(HttpHandler::none()));
    let stream = TcpStream::connect(server).await.unwrap();
    let client = open(stream, server, "/ws").await;
    (rig, client)
}

async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    server: SocketAddr,
    path: &str,
) -> WebSocketStream<S> {
    let mut request = format!("ws://{server}{path}").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "sip".parse().unwrap());
    let (client, response) = soon(client_async(request, stream)).await.unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
    client
}

/// A WebSocket whose frames the test writes itself.
async fn raw() -> (Rig, TcpStream) {
    let rig = Rig::new();
    let server = rig.listen(Listen::Http(HttpHandler::none()));
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(HANDSHAKE).await.unwrap();
    read_head(&mut stream).await;
    (rig, stream)
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(client: &mut WebSocketStream<S>) -> Frame {
    soon(client.next()).await.unwrap().unwrap()
}

async fn expect_close_frame(client: &mut Client, code: CloseCode) {
    loop {
        match next(client).await {
            Frame::Close(Some(close)) => return assert_eq!(close.code, code),
            Frame::Close(None) => panic!("a close frame without a code"),
            _ => {}
        }
    }
}

async fn expect_close(stream: &mut TcpStream, code: CloseCode) {
    let mut head = [0; 4];
    soon(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(head[0], 0x88, "a close frame");
    assert_eq!(u16::from_be_bytes([head[2], head[3]]), u16::from(code));
}

fn text(bytes: &[u8]) -> Frame {
    Frame::text(std::str::from_utf8(bytes).unwrap())
}

const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: sidetone.test\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: sip\r\n\r\n";
