//! Connections that say nothing, half of something, or the wrong thing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::call::Call;
use crate::live::Live;
use crate::metrics::wait_for;
use crate::request::{Request, status};
use crate::start;
use crate::websocket::{FINAL, TEXT, WebSocket, head};

#[test]
fn idle_and_half_open_connections_delay_nobody_and_are_given_back() {
    let server = start(TLS_LISTENERS);
    let live = Live::start(&server);
    let before = wait_for(&server, "no connection", |m| m.sum(OPEN, &[]) == 0.0).rss_bytes();

    let idle: Vec<_> = (0..200).map(|_| connect(server.address("tcp"))).collect();
    let mut halves: Vec<_> = (0..20).map(|_| WebSocket::open(server.address("http"))).collect();
    for half in &mut halves {
        half.send_raw(&[&head(FINAL | TEXT, 5_000)[..], b"\x01\x02\x03\x04INVITE"].concat())
            .unwrap();
    }
    let mut loris = Vec::new();
    for (kind, piece) in [
        ("tcp", &b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP"[..]),
        ("http", b"GET / HTTP/1.1\r\nHost: "),
        // The head of a TLS record with a ClientHello of which nothing follows.
        ("https", b"\x16\x03\x01\x02\x00\x01\x00"),
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00"),
    ] {
        for _ in 0..10 {
            let mut stream = connect(server.address(kind));
            stream.write_all(piece).unwrap();
            loris.push(stream);
        }
    }
    for _ in 0..20 {
        loris.iter_mut().for_each(|stream| stream.write_all(b"x").unwrap());
        let began = Instant::now();
        let mut agent = Agent::tcp(server.address("tcp"));
        assert_eq!(status(&agent.ask(&Request::new("OPTIONS", "anybody"))), 200);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    let began = Instant::now();
    for agent in [
        Agent::udp(server.address("udp")),
        Agent::tcp(server.address("tcp")),
        Agent::ws(server.address("http")),
    ] {
        let mut call = Call::dial(agent, "9197");
        assert!(call.hear(Duration::from_millis(200)) > 5);
        call.hang_up();
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());

    drop((idle, halves, loris));
    let after = wait_for(&server, "all connections given back", |m| m.sum(OPEN, &[]) == 0.0);
    assert!(after.rss_bytes() - before < 60e6);
    live.finish();
}

#[test]
fn keep_alives_are_answered_and_a_flood_of_them_is_cut_off() {
    let server = start("");
    let live = Live::start(&server);
    let mut stream = connect(server.address("tcp"));
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");

    // As many as there may be in an hour, at once.
    let _ = stream.write_all(&b"\r\n\r\n".repeat(20_000));
    assert_eq!(rest(&mut stream).iter().find(|byte| !b"\r\n".contains(byte)), None);
    let mut udp = Agent::udp(server.address("udp"));
    for _ in 0..1_000 {
        udp.send(b"\r\n\r\n");
        udp.send(b"");
    }
    assert_eq!(status(&udp.ask(&Request::new("OPTIONS", "anybody"))), 200);
    wait_for(&server, "the flood is cut off", |metrics| {
        let reason = "reason=\"keep_alive_flood\"";
        metrics.sum("sidetone_sip_connections_closed_total", &[reason]) == 1.0
    });
    live.finish();
}

#[test]
fn a_tls_port_tells_who_speaks_plain_http_and_cuts_everything_else() {
    let server = start(TLS_LISTENERS);
    let live = Live::start(&server);
    for kind in ["tls", "https"] {
        let said = |bytes: &[u8]| {
            let mut stream = connect(server.address(kind));
            stream.write_all(bytes).unwrap();
            String::from_utf8_lossy(&rest(&mut stream)).into_owned()
        };
        let answer = said(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{kind}: {answer}");
        assert_eq!(said(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n"), "");
        assert_eq!(said(&[0; 600]), "");
        // A record that is longer than there may be: an alert at the most.
        assert!(said(&[&[22, 3, 1, 0xff, 0xff][..], &[1; 100]].concat()).len() < 32);
        // Cut in the middle of a handshake.
        let mut stream = connect(server.address(kind));
        stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).unwrap();
    }
    wait_for(&server, "broken handshakes are counted", |metrics| {
        metrics.sum("sidetone_sip_dropped_total", &["reason=\"handshake\""]) >= 10.0
    });
    live.finish();
}

#[test]
fn a_peer_that_never_reads_is_cut_off_alone() {
    let server = start("");
    let live = Live::start(&server);
    let mut agent = Agent::tcp(server.address("tcp"));
    let mut other = Agent::tcp(server.address("tcp"));
    let request = Request::new("OPTIONS", "anybody");
    let end = Instant::now() + Duration::from_secs(10);
    // Requests whose answers nobody takes until buffers are full.
    let mut sent = 0;
    while Instant::now() < end && sent < 40_000 {
        let fresh = Request { branch: crate::request::fresh("z9hG4bK"), ..request.clone() };
        if agent.try_send(&fresh.bytes(&agent)).is_err() {
            break;
        }
        sent += 1;
        if sent % 1_000 == 0 {
            let began = Instant::now();
            assert_eq!(status(&other.ask(&Request::new("OPTIONS", "anybody"))), 200);
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        }
        let slow = "reason=\"slow_reader\"";
        if sent % 1_000 == 0
            && crate::metrics::Metrics::of(&server)
                .sum("sidetone_sip_connections_closed_total", &[slow])
                > 0.0
        {
            break;
        }
    }
    wait_for(&server, "the slow reader is cut off", |metrics| {
        metrics.sum("sidetone_sip_connections_closed_total", &["reason=\"slow_reader\""]) == 1.0
    });
    live.finish();
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// What comes until the server ends the connection, which it must.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
            panic!("the connection is not ended: {error}")
        }
        _ => bytes,
    }
}

const OPEN: &str = "sidetone_sip_connections";
const TLS_LISTENERS: &str = "\
[[listen]]
kind = 'tls'
address = 'localhost:0'
[[listen]]
kind = 'https'
address = 'localhost:0'
";
