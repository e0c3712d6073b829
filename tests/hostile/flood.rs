//! More than a server wants to hear.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::agent::Agent;
use crate::call::Call;
use crate::live::Live;
use crate::metrics::{Metrics, wait_for, wait_for_calls};
use crate::request::{Request, fresh, status, to_tag};
use crate::sdp;
use crate::start;

#[test]
fn a_flood_of_all_methods_and_of_garbage_harms_no_call_and_leaves_nothing_behind() {
    let server = start("");
    let udp = server.address("udp");
    Call::dial(Agent::udp(udp), "9197").hang_up();
    let before = wait_for_calls(&server, 0);
    let live = Live::start(&server);

    let (sent, set_up) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(udp));
        for mut agent in [Agent::tcp(server.address("tcp")), Agent::ws(server.address("http"))] {
            scope.spawn(move || {
                for n in 0..2_000 {
                    agent.ask(&request(METHODS[n % 8], 1));
                }
            });
        }
        let callers = scope.spawn(|| {
            for _ in 0..5 {
                let began = Instant::now();
                let mut call = Call::dial(Agent::udp(udp), "9196");
                let took = began.elapsed();
                assert!(took < Duration::from_secs(4), "a call took {took:?} beside the flood");
                call.hang_up();
            }
            5
        });
        (flood.join().unwrap(), callers.join().unwrap())
    });
    live.finish();
    let after = wait_for_calls(&server, 0);

    let taken = |metrics: &Metrics| {
        metrics.sum("sidetone_sip_messages_total", &["direction=\"in\"", "transport=\"udp\""])
            + metrics.sum("sidetone_sip_unparsable_total", &["transport=\"udp\""])
    };
    let dropped = |metrics: &Metrics| {
        metrics.sum("sidetone_sip_dropped_total", &["receive_buffer", "transport=\"udp\""])
    };
    let seen = taken(&after) + dropped(&after) - taken(&before) - dropped(&before);
    assert!(seen >= f64::from(sent), "{seen} of {sent} datagrams are accounted for");
    assert!(taken(&after) - taken(&before) > 5_000.0, "the flood was not read");
    let grown = after.rss_bytes() - before.rss_bytes();
    assert!(grown < 60e6, "{:.1} MB more memory", grown / 1e6);
    let answered =
        |metrics: &Metrics| metrics.sum("sidetone_calls_ended_total", &["result=\"answered\""]);
    assert_eq!(answered(&after) - answered(&before), f64::from(1 + set_up));
    assert_eq!(before.series(), after.series(), "series came or went");
    after.check_with_promtool();
}

#[test]
fn callers_who_never_acknowledge_are_gone_after_a_while() {
    let server = start("[sip]\nt1_ms = 50\n");
    let udp = server.address("udp");
    let live = Live::start(&server);
    let ghost = UdpSocket::bind("127.0.0.1:0").unwrap();
    let agent = Agent::udp(udp);
    for n in 0..300 {
        let offer = sdp::plain(([127, 0, 0, 1], 9).into());
        let number = ["9195", "9196", "9197", "07010002000"][n % 4];
        ghost.send_to(&Request::new("INVITE", number).body(offer).bytes(&agent), udp).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    wait_for(&server, "300 ghosts", |metrics| {
        metrics.sum("sidetone_calls_started_total", &[]) == 301.0
    });
    let began = Instant::now();
    let metrics = wait_for_calls(&server, 1);
    assert!(began.elapsed() < Duration::from_secs(10));
    let ended = metrics.sum("sidetone_calls_ended_total", &["cause=\"no_ack\""]);
    assert_eq!(ended, 300.0);
    live.finish();
    let metrics = wait_for_calls(&server, 0);
    assert_eq!(metrics.sum("sidetone_media_port_pairs", &["state=\"used\""]), 0.0);
}

#[test]
fn whoever_shows_no_password_gets_nothing_but_calls() {
    let server = start("");
    let mut agent = Agent::udp(server.address("udp"));
    for (method, expected) in [
        ("REGISTER", &[405, 401, 403][..]),
        ("MESSAGE", &[405, 401, 403]),
        ("REFER", &[405, 401, 403]),
        ("SUBSCRIBE", &[489, 405, 401, 403]),
        ("PUBLISH", &[489, 405, 401, 403]),
        ("NOTIFY", &[481, 489, 405]),
        ("UPDATE", &[481]),
        ("INFO", &[481]),
        ("BYE", &[481]),
        ("NONSENSE", &[501]),
    ] {
        let answer = agent.ask(&request(method, 1));
        assert!(expected.contains(&status(&answer)), "{method}: {answer}");
    }
    assert!(agent.next_request(Duration::from_millis(200)).is_none(), "something was relayed");
}

#[test]
fn an_answer_to_a_forged_request_is_no_amplifier() {
    let server = start("");
    for method in ["OPTIONS", "REGISTER", "SUBSCRIBE", "BYE", "NONSENSE"] {
        let mut agent = Agent::udp(server.address("udp"));
        let bytes = request(method, 1).bytes(&agent);
        agent.send(&bytes);
        let mut back = 0;
        while let Some(answer) = agent.receive(Duration::from_millis(700)) {
            back += answer.len();
        }
        assert!(back < 3 * bytes.len(), "{method}: {} bytes bring {back}", bytes.len());
    }
}

#[test]
fn a_challenge_is_no_amplifier_however_short_the_request_is() {
    let server = start(
        "[auth]\nalgorithms = ['MD5', 'SHA-256', 'SHA-512-256']\n[users.199]\npassword = 'p'\n",
    );
    for method in ["REGISTER", "INVITE"] {
        let mut agent = Agent::udp(server.address("udp"));
        let contact = if method == "INVITE" { "m:sip:a\r\n" } else { "" };
        let bytes = format!(
            "{method} sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;rport;branch=z9hG4bKb\r\nf:sip:a;tag=1\r\n\
             t:sip:a\r\ni:a\r\n{contact}CSeq:1 {method}\r\n\r\n"
        );
        agent.send(bytes.as_bytes());
        let answer = agent.receive(Duration::from_secs(2)).unwrap();
        assert_eq!(status(&answer), 401);
        assert!(agent.receive(Duration::from_millis(700)).is_none(), "once");
        assert!(answer.len() < 3 * bytes.len(), "{} bytes bring {}", bytes.len(), answer.len());
    }
}

#[test]
fn calls_from_a_forged_address_are_repeated_there_only_so_often() {
    let server = start("[sip]\nt1_ms = 50\n");
    let udp = server.address("udp");
    let mut victim = Agent::udp(udp);
    let (mut sent, count) = (0, 300);
    for _ in 0..count {
        let invite = Request::new("INVITE", "9197").body(sdp::plain(([127, 0, 0, 1], 9).into()));
        let invite = invite.bytes(&victim);
        victim.send(&invite);
        sent += invite.len();
        std::thread::sleep(Duration::from_millis(1));
    }
    let (mut back, mut answers, mut byes) = (0, 0, 0);
    while let Some(message) = victim.receive(Duration::from_secs(4)) {
        back += message.len();
        answers += u32::from(message.starts_with("SIP/2.0 200 "));
        byes += u32::from(message.starts_with("BYE "));
    }
    // As many calls as are repeated to one address have 11 answers and as many BYEs each.
    assert!((count..count + 50 * 11).contains(&answers), "{answers} answers");
    assert!((50..=50 * 11).contains(&byes), "{byes} BYEs");
    assert!(back < 6 * sent, "{sent} bytes bring {back}");
    wait_for_calls(&server, 0);
}

#[test]
fn media_goes_to_another_host_than_the_callers_only_once_it_has_acknowledged() {
    let server = start("");
    let host = UdpSocket::bind("127.0.0.3:0").unwrap();
    host.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut agent = Agent::udp(server.address("udp"));
    let invite = Request::new("INVITE", "9197").body(sdp::plain(host.local_addr().unwrap()));
    let answer = agent.ask(&invite);
    assert_eq!(status(&answer), 200);
    assert!(host.recv(&mut [0; 2_048]).is_err(), "the source of an INVITE may be forged");
    let (branch, to_tag) = (fresh("z9hG4bK"), to_tag(&answer));
    let ack = Request { branch, to_tag, ..invite.same_transaction("ACK") };
    agent.send(&ack.bytes(&agent));
    assert!(host.recv(&mut [0; 2_048]).is_ok());
}

#[test]
fn answers_that_nobody_asked_for_are_dropped() {
    let server = start("");
    let live = Live::start(&server);
    let mut agent = Agent::udp(server.address("udp"));
    for code in [100, 180, 200, 302, 401, 407, 500, 699] {
        for method in ["INVITE", "BYE", "REGISTER", "OPTIONS"] {
            let invite = &live.call.invite;
            let response = format!(
                "SIP/2.0 {code} Surprise\r\nVia: SIP/2.0/UDP {};branch={}\r\n\
                 From: <sip:a@b>;tag={}\r\nTo: <sip:b@b>;tag=x\r\nCall-ID: {}\r\n\
                 CSeq: 1 {method}\r\nWWW-Authenticate: Digest realm=\"trunk\", nonce=\"n\"\r\n\
                 Content-Length: 0\r\n\r\n",
                server.address("udp"),
                invite.branch,
                invite.from_tag,
                invite.call_id
            );
            agent.send(response.as_bytes());
        }
    }
    assert!(agent.receive(Duration::from_millis(700)).is_none(), "an answer was answered");
    live.finish();
}

/// Sends 20,000 datagrams in four seconds; how many.
fn flood(server: SocketAddr) -> u32 {
    let mut rng = StdRng::seed_from_u64(41145);
    let agents: Vec<Agent> = (0..4).map(|_| Agent::udp(server)).collect();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let began = Instant::now();
    for batch in 0..BATCHES {
        for n in 0..BATCH {
            let method = METHODS[n as usize % METHODS.len()];
            let mut bytes = request(method, n).bytes(&agents[n as usize % agents.len()]);
            match n % 4 {
                0 => bytes = (0..rng.random_range(0..1_400)).map(|_| rng.random()).collect(),
                1 => {
                    for _ in 0..8 {
                        let at = rng.random_range(0..bytes.len());
                        bytes[at] = rng.random();
                    }
                }
                _ => {}
            }
            socket.send_to(&bytes, server).unwrap();
        }
        let due = began + Duration::from_millis(20) * (batch + 1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    BATCHES * BATCH
}

fn request(method: &str, cseq: u32) -> Request {
    Request::new(method, "no-such-number")
        .cseq(cseq)
        .header("Event: presence")
        .header("Expires: 3600")
        .header("Authorization: Digest username=\"a\", realm=\"b\", nonce=\"c\", response=\"d\"")
}

const METHODS: [&str; 9] =
    ["REGISTER", "OPTIONS", "INVITE", "SUBSCRIBE", "MESSAGE", "INFO", "NOTIFY", "BYE", "ACK"];
const BATCHES: u32 = 200;
const BATCH: u32 = 100;
