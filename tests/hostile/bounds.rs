//! What is answered when something is as large, or as much, as it may be.

use std::io::Read;
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use crate::agent::{Agent, Connect, connect_from};
use crate::call::Call;
use crate::identity::register;
use crate::live::Live;
use crate::metrics::{wait_for, wait_for_calls};
use crate::request::{Request, header, status};
use crate::sdp;
use crate::server::Server;
use crate::start;

#[test]
fn who_acknowledges_nothing_keeps_nobody_out() {
    let server = start("[limits]\ncalls_max = 40\n");
    let mut silent = Agent::udp(server.address("udp"));
    let description = sdp::plain(([127, 0, 0, 1], 9).into());
    let answers: Vec<u16> = (0..15)
        .map(|_| {
            let invite = Request::new("INVITE", "9197").body(description.clone());
            let answer = silent.ask(&invite);
            if status(&answer) == 503 {
                assert!(answer.contains("Retry-After: "), "{answer}");
            }
            status(&answer)
        })
        .collect();
    assert_eq!(answers[..10], [200; 10]);
    assert_eq!(answers[10..], [503; 5], "a quarter of all");
    let other = Agent::udp_from([127, 0, 0, 2].into(), server.address("udp"));
    Call::dial(other, "9197").hang_up();
}

#[test]
fn one_call_cannot_fill_the_table_of_transactions() {
    let server = start("");
    let mut busy = Call::dial(Agent::udp(server.address("udp")), "9196");
    let mut taken = 0;
    for _ in 0..400 {
        let request = busy.request("OPTIONS");
        match status(&busy.ask(&request)) {
            200 => taken += 1,
            503 => {}
            other => panic!("{other}"),
        }
    }
    // The INVITE is one, too.
    assert_eq!(taken, 255);
    Call::dial(Agent::udp(server.address("udp")), "9197").hang_up();
    busy.hang_up();
    wait_for_calls(&server, 0);
}

#[test]
fn what_is_too_large_is_told_so_on_every_transport() {
    let server = start("");
    let live = Live::start(&server);
    let options = || Request::new("OPTIONS", "anybody");
    // Eight more are always there.
    let headers =
        |count: usize| (8..count).fold(options(), |request, n| request.header(format!("X-{n}: y")));
    for (kind, connect) in TRANSPORTS {
        let mut cases = vec![
            ("a head of 20 kB", options().header(format!("X: {}", "y".repeat(20_000))), 513),
            ("a head of 60 kB", options().header(format!("X: {}", "y".repeat(60_000))), 513),
            ("129 headers", headers(129), 513),
            ("4,000 headers", headers(4_000), 513),
            ("128 headers", headers(128), 200),
            ("a second Content-Length", options().header("Content-Length: 7"), 400),
            ("a negative Content-Length", options().header("Content-Length: -1"), 400),
            ("no number in CSeq", options().header("CSeq: x OPTIONS"), 400),
        ];
        if kind != "udp" {
            cases.push(("a body of 70 kB", options().body(vec![b'x'; 70_000]), 413));
            cases.push(("a body of 10 MB", options().body(vec![b'x'; 10_000_000]), 413));
        }
        for (what, request, expected) in cases {
            let mut agent = connect(server.address(kind));
            let answer = agent.try_ask(&request, Duration::from_secs(5));
            // A WebSocket is closed with 1009 for what exceeds a whole message; a stream is cut when
            // more comes than is waited for.
            let may_be_cut = if kind == "http" { 60_000 } else { 1_000_000 };
            let is_ended = expected != 200 && request.bytes(&agent).len() > may_be_cut;
            match answer {
                Some(answer) => assert_eq!(status(&answer), expected, "{kind}, {what}: {answer}"),
                None => assert!(is_ended, "{kind}, {what}: no answer"),
            }
        }
    }
    live.finish();
}

#[test]
fn a_datagram_shorter_than_its_body_is_refused() {
    let server = start("");
    let mut agent = Agent::udp(server.address("udp"));
    let request = Request::new("OPTIONS", "anybody").body("v=0\r\n".repeat(20));
    let bytes = request.bytes(&agent);
    agent.send(&bytes[..bytes.len() - 10]);
    let answer = agent.final_response(&request, Duration::from_secs(5)).unwrap();
    assert_eq!(status(&answer), 400, "{answer}");
}

#[test]
fn at_the_bound_of_calls_503_says_when_to_come_back_and_a_bye_makes_room() {
    let server = start("[limits]\ncalls_max = 3\n");
    let udp = server.address("udp");
    let live = Live::start(&server);
    let mut calls: Vec<_> = (0..2).map(|_| Call::dial(Agent::udp(udp), "9197")).collect();
    for connect in [Agent::udp(udp), Agent::tcp(server.address("tcp"))] {
        let mut agent = connect;
        let invite = Request::new("INVITE", "9197").body(sdp::plain(([127, 0, 0, 1], 9).into()));
        let answer = agent.ask(&invite);
        assert_eq!(status(&answer), 503, "{answer}");
        let seconds: u32 = header(&answer, "Retry-After").expect("Retry-After").parse().unwrap();
        assert!((1..=60).contains(&seconds));
    }
    assert_eq!(server.get("/livez").0, 200);
    assert_eq!(server.get("/readyz").0, 503, "no new calls are taken");
    let metrics = wait_for_calls(&server, 3);
    assert_eq!(metrics.sum("sidetone_calls_rejected_total", &["reason=\"overload\""]), 2.0);

    calls.pop().unwrap().hang_up();
    wait_for_calls(&server, 2);
    Call::dial(Agent::udp(udp), "9197").hang_up();
    calls.pop().unwrap().hang_up();
    live.finish();
    wait_for_calls(&server, 0);
    assert_eq!(server.get("/readyz").0, 200);
}

#[test]
fn at_the_bound_of_transactions_new_calls_get_503_and_live_ones_can_still_end() {
    let server = start("[limits]\ntransactions_max = 50\n");
    let udp = server.address("udp");
    let live = Live::start(&server);
    let mut talker = Call::dial(Agent::tcp(server.address("tcp")), "9196");
    // A refused INVITE is remembered for five seconds (Timer I).
    let mut agent = Agent::udp(udp);
    let mut refused = 0;
    for _ in 0..120 {
        let answer = agent.ask(&Request::new("INVITE", "no-such-number").body("v=0\r\n"));
        match status(&answer) {
            404 => {}
            503 => {
                assert!(header(&answer, "Retry-After").is_some(), "{answer}");
                refused += 1;
            }
            other => panic!("{other}: {answer}"),
        }
    }
    assert!((70..=75).contains(&refused), "{refused} of 120 refused");
    assert_eq!(status(&agent.ask(&Request::new("OPTIONS", "anybody"))), 200);
    let reinvite = talker.reinvite();
    assert_eq!(status(&talker.ask(&reinvite)), 200);
    talker.acknowledge(reinvite.cseq);
    talker.hang_up();
    live.finish();
    wait_for(&server, "room again", |m| m.sum("sidetone_sip_transactions", &[]) < 20.0);
    Call::dial(agent, "9197").hang_up();
    let metrics = wait_for_calls(&server, 0);
    let counted = metrics.sum("sidetone_calls_rejected_total", &["reason=\"transactions\""]);
    assert_eq!(counted, f64::from(refused));
}

#[test]
fn at_the_bound_of_connections_those_that_speak_sip_stay_and_room_is_made_again() {
    let server = start("[limits]\nconnections_max = 12\n");
    let tcp = server.address("tcp");
    let live = Live::start(&server);
    let speaks = |agent: &mut Agent| {
        let answer = agent.try_ask(&Request::new("OPTIONS", "anybody"), Duration::from_secs(5));
        answer.is_some_and(|answer| status(&answer) == 200)
    };
    // Silent ones make room for whoever comes.
    let silent: Vec<_> = (0..30).map(|_| TcpStream::connect(tcp).unwrap()).collect();
    let mut proven: Vec<_> = (0..12).map(|_| Agent::tcp(tcp)).collect();
    assert!(proven.iter_mut().all(speaks), "a newcomer is let in");
    for stream in &silent {
        assert!(is_cut(stream), "a silent connection is left");
    }
    // Now all have spoken, and nobody has to go.
    assert!(is_cut(&TcpStream::connect(tcp).unwrap()));
    let mut web = TcpStream::connect(server.address("http")).unwrap();
    let mut answer = String::new();
    let _ = web.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After:"), "{answer:?}");
    assert!(proven.iter_mut().all(speaks), "who has spoken stays");
    wait_for(&server, "refusals are counted", |metrics| {
        metrics.sum("sidetone_sip_dropped_total", &["reason=\"connections_max\""]) == 2.0
    });

    proven.truncate(4);
    wait_for(&server, "room again", |metrics| metrics.sum("sidetone_sip_connections", &[]) == 4.0);
    assert!(speaks(&mut Agent::tcp(tcp)));
    live.finish();
}

#[test]
fn strangers_who_speak_on_many_connections_make_room_and_users_and_calls_stay() {
    let server = start("[limits]\nconnections_max = 12\n[users.199]\npassword = '199pass'\n");
    let tcp = server.address("tcp");
    let from = |last: u8| Agent::tcp_from([127, 0, 0, last].into(), tcp);
    let options = Request::new("OPTIONS", "anybody");
    let mut phone = from(2);
    let registered = register(&mut phone, "199", "199pass", Request::new("REGISTER", "199"));
    assert_eq!(status(&registered), 200);
    let mut guest = Call::dial(from(3), "9197");
    let mut strangers: Vec<_> = (0..10).map(|_| from(4)).collect();
    for stranger in &mut strangers {
        assert_eq!(status(&stranger.ask(&options)), 200);
    }
    assert_eq!(from(4).try_ask(&options, Duration::from_secs(5)), None, "they have enough");
    let newcomers = (5..9).map(|last| {
        let mut newcomer = from(last);
        assert_eq!(status(&newcomer.ask(&options)), 200);
        newcomer
    });
    let _newcomers: Vec<_> = newcomers.collect();
    wait_for(&server, "room is made", |metrics| {
        let reason = "reason=\"evicted\"";
        metrics.sum("sidetone_sip_connections_closed_total", &[reason]) == 4.0
    });
    let mut left = strangers.iter_mut().map(|s| s.try_ask(&options, Duration::from_secs(5)));
    assert_eq!(left.by_ref().take(4).flatten().count(), 0, "the oldest of them");
    assert_eq!(left.flatten().count(), 6);
    assert_eq!(status(&phone.ask(&options)), 200);
    guest.hang_up();
}

#[test]
fn one_address_cannot_take_all_connections() {
    let server = start("[limits]\nconnections_per_address_max = 5\n");
    let tcp = server.address("tcp");
    let _taken: Vec<_> = (0..5).map(|_| TcpStream::connect(tcp).unwrap()).collect();
    assert!(is_cut(&TcpStream::connect(tcp).unwrap()));
    let other: IpAddr = [127, 0, 0, 9].into();
    let mut elsewhere = connect_from(other, tcp);
    std::io::Write::write_all(&mut elsewhere, b"\r\n\r\n").unwrap();
    elsewhere.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    elsewhere.read_exact(&mut [0; 2]).unwrap();
}

#[test]
fn a_bound_of_nothing_is_refused_at_the_start() {
    for key in ["calls_max", "transactions_max", "connections_max"] {
        let (code, error) = Server::start_refused(&format!("[limits]\n{key} = 0\n"));
        assert!(code == 1 && error.contains(key), "{error}");
    }
}

/// Whether the server ends a connection without having been asked anything.
fn is_cut(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

const TRANSPORTS: [(&str, Connect); 3] =
    [("udp", Agent::udp), ("tcp", Agent::tcp), ("http", Agent::ws)];
