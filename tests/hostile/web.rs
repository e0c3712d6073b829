//! WebSockets and web requests that are not as a page makes them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::agent::Agent;
use crate::live::Live;
use crate::metrics::{Metrics, wait_for};
use crate::request::{Request, status};
use crate::start;
use crate::websocket::{BINARY, CONTINUATION, FINAL, PING, TEXT, WebSocket, frame, head, upgrade};

#[test]
fn frames_that_break_a_rule_are_refused_with_its_close_code() {
    let server = start("");
    let before = Metrics::of(&server).rss_bytes();
    let live = Live::start(&server);
    let mask = [1, 2, 3, 4];
    let announce = |length| [&head(FINAL | TEXT, length)[..], &mask].concat();
    let fragments = [&frame(TEXT, &[b'x'; 30_000])[..], &frame(CONTINUATION, &[b'x'; 30_000])]
        .into_iter()
        .chain(std::iter::repeat_n(&frame(CONTINUATION, &[b'x'; 30_000])[..], 8))
        .collect::<Vec<_>>()
        .concat();
    let unmasked = [&[FINAL | TEXT, 4][..], b"ACK "].concat();
    for (what, bytes, code) in [
        ("2^63-1 bytes", announce((1 << 63) - 1), 1009),
        ("2^64-1 bytes", announce(u64::MAX), 1009),
        ("1 GiB", announce(1 << 30), 1009),
        ("a message of 300 kB in fragments", fragments, 1009),
        ("a frame without mask", unmasked, 1002),
        ("a reserved opcode", frame(FINAL | 3, b"x"), 1002),
        ("a reserved bit", frame(FINAL | 0x40 | TEXT, b"x"), 1002),
        ("a ping in fragments", frame(PING, b"x"), 1002),
        ("a ping of 200 bytes", frame(FINAL | PING, &[0; 200]), 1002),
        ("a continuation of nothing", frame(FINAL | CONTINUATION, b"x"), 1002),
        ("text that is not UTF-8", frame(FINAL | TEXT, &[0xff, 0xfe]), 1007),
    ] {
        let mut socket = WebSocket::open(server.address("http"));
        let _ = socket.send_raw(&bytes);
        let closed = socket.close_code(Duration::from_secs(5));
        assert_eq!(closed, Some(code), "{what}");
    }
    let after = wait_for(&server, "all connections given back", |metrics| {
        metrics.sum("sidetone_sip_connections", &[]) == 0.0
    });
    assert!(after.rss_bytes() - before < 60e6);
    assert!(after.sum("sidetone_sip_connections_closed_total", &["reason=\"too_large\""]) >= 4.0);
    live.finish();
}

#[test]
fn frames_that_are_not_sip_leave_the_socket_usable() {
    let server = start("");
    let mut agent = Agent::ws(server.address("http"));
    for garbage in [&b"hello"[..], b"\r\n\r\n", b"", b"\0\0\0\0", b"INVITE", &[0xff; 1_000]] {
        agent.send(garbage);
    }
    assert_eq!(status(&agent.ask(&Request::new("OPTIONS", "anybody"))), 200);
    let mut socket = WebSocket::open(server.address("http"));
    socket.send_raw(&frame(FINAL | BINARY, &[0xff; 100])).unwrap();
    socket.send_raw(&frame(FINAL | PING, b"still there?")).unwrap();
    socket.send_raw(&frame(FINAL | 8, &1000_u16.to_be_bytes())).unwrap();
    assert_eq!(socket.close_code(Duration::from_secs(5)), Some(1000));
}

#[test]
fn a_flood_of_pings_is_cut_off() {
    let server = start("");
    let live = Live::start(&server);
    let mut socket = WebSocket::open(server.address("http"));
    let _ = socket.send_raw(&frame(FINAL | PING, b"x").repeat(20_000));
    wait_for(&server, "the flood is cut off", |metrics| {
        let reason = "reason=\"keep_alive_flood\"";
        metrics.sum("sidetone_sip_connections_closed_total", &[reason]) == 1.0
    });
    live.finish();
}

#[test]
fn only_pages_of_the_listed_origins_open_a_sip_websocket() {
    let server = start("[web]\norigins = ['https://phone.example.com']\n");
    let status = |headers: &str| {
        let (answer, _stream) = upgrade(server.address("http"), headers);
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    let sip = "Sec-WebSocket-Protocol: sip\r\n";
    assert_eq!(status(""), 400);
    assert_eq!(status("Sec-WebSocket-Protocol: mqtt\r\n"), 400);
    assert_eq!(status("Sec-WebSocket-Protocol: sipx, xsip\r\n"), 400);
    for (origin, expected) in [
        ("https://phone.example.com", 101),
        ("http://phone.example.com", 403),
        ("https://phone.example.com:8443", 403),
        ("https://phone.example.com.evil.test", 403),
        ("https://evil.test/https://phone.example.com", 403),
        ("null", 403),
        ("", 403),
    ] {
        assert_eq!(status(&format!("{sip}Origin: {origin}\r\n")), expected, "{origin:?}");
    }
    // No browser: nothing that a page could have been talked into.
    assert_eq!(status(sip), 101);
    let metrics = Metrics::of(&server);
    let refused = metrics.sum("sidetone_sip_dropped_total", &["reason=\"web_socket_refused\""]);
    assert_eq!(refused, 9.0);
}

#[test]
fn web_requests_read_no_file_and_reflect_nothing() {
    let server = start("");
    let live = Live::start(&server);
    for path in [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/etc/passwd%00.html",
        "/<script>alert(1)</script>",
        "/?q=<script>alert(1)</script>",
        "http://169.254.169.254/latest/meta-data",
    ] {
        let answer = get(server.address("http"), &format!("GET {path} HTTP/1.1\r\nHost: x\r\n"));
        assert!(!answer.contains("root:") && !answer.contains("<script>alert"), "{path}: {answer}");
        let (_, page) = server.get(path);
        assert!(!page.contains("root:") && !page.contains("<script>alert"), "{path}: {page}");
    }
    for request in [
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}", "X: y\r\n".repeat(1_000)),
        "GET / HTTP/9.9\r\nHost: x\r\n".to_owned(),
        "\0\0\0\0\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n".to_owned(),
    ] {
        let answer = get(server.address("http"), &request);
        let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(is_refused, "{}: {answer}", &request[..20]);
    }
    live.finish();
}

fn get(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The server may have refused and closed before it has everything.
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
