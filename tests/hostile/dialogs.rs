//! Callers who break the rules of a call that is up, or were never in it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::agent::{Agent, Connect};
use crate::call::Call;
use crate::live::Live;
use crate::metrics::{Metrics, wait_for, wait_for_calls};
use crate::request::{Request, fresh, header, status, to_tag};
use crate::sdp;
use crate::start;

#[test]
fn rfc3261_11_2_options_outside_a_dialog_says_what_we_can_do() {
    let server = start("");
    let answer = Agent::udp(server.address("udp")).ask(&Request::new("OPTIONS", "anybody"));
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(to_tag(&answer).is_some(), "{answer}");
    let lists = |name: &str, wanted: &str| {
        let listed = header(&answer, name).unwrap_or_default();
        assert!(listed.split(", ").any(|value| value == wanted), "{wanted} is not in {answer}");
    };
    lists("Allow", "INVITE");
    lists("Accept", "application/sdp");
    lists("Supported", "timer");
}

#[test]
fn a_request_of_no_dialog_is_481_and_the_call_goes_on() {
    let server = start("");
    let live = Live::start(&server);
    let call = &live.call;
    let mut agent = Agent::udp(server.address("udp"));
    for method in ["BYE", "INFO", "UPDATE", "INVITE"] {
        let good = Request { cseq: 7, ..call.again(method) };
        for request in [
            Request { to_tag: Some("wrong".to_owned()), ..good.clone() },
            Request { from_tag: "wrong".to_owned(), ..good.clone() },
            Request { call_id: "wrong".to_owned(), ..good.clone() },
            Request { from_tag: good.to_tag.clone().unwrap(), ..good.clone() },
        ] {
            let answer = agent.ask(&request);
            assert_eq!(status(&answer), 481, "{answer}");
        }
    }
    for _ in 0..2_000 {
        let forged = Request { to_tag: Some(fresh("guess")), ..call.again("BYE") };
        agent.send(&forged.bytes(&agent));
    }
    wait_for_calls(&server, 1);
    live.finish();
    wait_for_calls(&server, 0);
}

#[test]
fn a_call_survives_what_makes_no_sense_within_it() {
    let server = start("");
    let mut live = Live::start(&server);
    let call = &mut live.call;
    for _ in 0..5 {
        call.request("OPTIONS");
    }
    let options = call.request("OPTIONS");
    assert_eq!(status(&call.ask(&options)), 200);
    let late = Request { cseq: 2, ..call.again("OPTIONS") };
    let answer = call.ask(&late);
    assert_eq!(status(&answer), 500, "a number that was passed already: {answer}");

    for body in ["v=0\r\nbroken", "", "v=0\r\nm=audio 99999 RTP/AVP 0\r\n", "\0\0\0"] {
        let reinvite = match body {
            "" => call.reinvite().content_type("text/html"),
            broken => call.request("INVITE").body(broken),
        };
        let answer = call.ask(&reinvite);
        assert!((400..=488).contains(&status(&answer)), "{body:?}: {answer}");
        let update = call.request("UPDATE").body("m=nothing");
        let answer = call.ask(&update);
        assert!((400..=488).contains(&status(&answer)), "{answer}");
    }
    let nothing_in_common = call.reinvite();
    let offer = String::from_utf8(nothing_in_common.body.clone()).unwrap();
    let answer = call.ask(&nothing_in_common.body(offer.replace("RTP/AVP 0 8 101", "RTP/AVP 18")));
    assert_eq!(status(&answer), 488, "{answer}");
    let other_family = call.request("INVITE").body(sdp::plain("[::1]:4000".parse().unwrap()));
    let answer = call.ask(&other_family);
    assert_eq!(status(&answer), 488, "{answer}");
    assert!(header(&answer, "Warning").is_some_and(|text| text.starts_with("301 ")), "{answer}");

    for (content_type, body) in [
        ("application/dtmf-relay", &b"Signal=\r\nDuration=-1\r\n"[..]),
        ("application/dtmf-relay", b"Signal=123456789012345678901234567890\r\nDuration=1e99\r\n"),
        ("application/dtmf", &[0xff; 500]),
        (
            "application/media_control+xml",
            b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\">]>",
        ),
        ("multipart/mixed;boundary=", b"--\r\n--\r\n"),
        (";;;", b"x"),
    ] {
        let info = call.request("INFO").content_type(content_type).body(body);
        let answer = call.ask(&info);
        assert!((200..=488).contains(&status(&answer)), "{content_type}: {answer}");
    }
    for method in ["MESSAGE", "REFER", "SUBSCRIBE", "NOTIFY", "REGISTER", "NONSENSE"] {
        let request = call.request(method).header("Refer-To: <sip:900@trunk>");
        let answer = call.ask(&request);
        assert!((400..=501).contains(&status(&answer)), "{method}: {answer}");
    }
    wait_for_calls(&server, 1);
    live.finish();
    wait_for_calls(&server, 0);
}

#[test]
fn two_reinvites_at_once_are_both_answered_and_audio_goes_on() {
    let server = start("");
    let mut live = Live::start(&server);
    let call = &mut live.call;
    for _ in 0..10 {
        let (first, second) = (call.reinvite(), call.reinvite());
        call.agent.send(&first.bytes(&call.agent));
        call.agent.send(&second.bytes(&call.agent));
        for reinvite in [&first, &second] {
            // Asking repeats the request, which changes nothing.
            let answer = call.agent.ask(reinvite);
            assert!([200, 491, 500].contains(&status(&answer)), "{answer}");
            if status(&answer) == 200 {
                call.acknowledge(reinvite.cseq);
            }
        }
    }
    wait_for_calls(&server, 1);
    live.finish();
    wait_for_calls(&server, 0);
}

#[test]
fn rfc3261_13_3_1_4_a_200_without_ack_is_repeated_and_then_given_up_with_bye() {
    let server = start("[sip]\nt1_ms = 60\n");
    let invited = Instant::now();
    let mut call = Call::answered(Agent::udp(server.address("udp")), "9197");
    let began = Instant::now();
    let mut repeated = Vec::new();
    let bye = loop {
        assert!(began.elapsed() < Duration::from_secs(10), "no BYE");
        let Some(message) = call.agent.receive(Duration::from_secs(10)) else { continue };
        match status(&message) {
            0 => break message,
            200 if header(&message, "CSeq") == Some("1 INVITE") => {
                assert_eq!(message, call.answer, "a repeated answer differs");
                repeated.push(began.elapsed().as_millis());
            }
            _ => {}
        }
    };
    assert!(bye.starts_with("BYE "), "{bye}");
    // After 64 times T1, which begin with the first 200.
    let gave_up = invited.elapsed();
    assert!((3_800..5_000).contains(&gave_up.as_millis()), "{gave_up:?}");
    // T1, then twice as long each time up to T2.
    assert!((5..=7).contains(&repeated.len()), "{repeated:?}");
    for (at, due) in repeated.iter().zip([60_u128, 180, 420, 900, 1_860, 3_780]) {
        assert!(at.abs_diff(due) < 100 + due / 5, "{repeated:?}");
    }
    call.agent.answer(&bye, "200 OK", "");
    let metrics = wait_for_calls(&server, 0);
    assert_eq!(metrics.sum("sidetone_calls_ended_total", &["cause=\"no_ack\""]), 1.0);
}

#[test]
fn an_invite_that_comes_again_and_by_two_ways_is_one_call() {
    let server = start("");
    let mut call = Call::answered(Agent::udp(server.address("udp")), "9197");
    let invite = call.invite.clone();
    for _ in 0..20 {
        call.agent.send(&invite.bytes(&call.agent));
    }
    call.ack();
    let merged = Request { branch: fresh("z9hG4bK"), ..invite.clone() };
    let answer = call.ask(&merged);
    assert_eq!(status(&answer), 482, "RFC 3261 §8.2.2.2: {answer}");
    let metrics = wait_for_calls(&server, 1);
    assert_eq!(metrics.sum("sidetone_calls_started_total", &[]), 1.0);
    assert!(call.hear(Duration::from_millis(300)) > 10);
    call.hang_up();
    wait_for_calls(&server, 0);
}

#[test]
fn rfc3261_9_2_a_cancel_after_the_answer_is_without_effect() {
    let server = start("");
    let mut live = Live::start(&server);
    let call = &mut live.call;
    let cancel = call.invite.same_transaction("CANCEL");
    let answer = call.ask(&cancel);
    assert!([200, 481].contains(&status(&answer)), "{answer}");
    let unknown = Request { branch: fresh("z9hG4bK"), ..cancel };
    let answer = call.ask(&unknown);
    assert_eq!(status(&answer), 481, "{answer}");
    std::thread::sleep(Duration::from_millis(600));
    wait_for_calls(&server, 1);
    live.finish();
}

#[test]
fn a_second_bye_is_answered_and_an_ack_from_nowhere_is_not() {
    let server = start("");
    let mut call = Call::dial(Agent::udp(server.address("udp")), "9197");
    let bye = call.request("BYE");
    assert_eq!(status(&call.ask(&bye)), 200);
    assert_eq!(status(&call.ask(&bye)), 200, "a repeated BYE");
    let another = call.request("BYE");
    assert_eq!(status(&call.ask(&another)), 481);
    let mut agent = Agent::udp(server.address("udp"));
    for _ in 0..100 {
        agent.send(&call.again("ACK").bytes(&agent));
        agent.send(&Request::new("ACK", "9197").bytes(&agent));
    }
    assert_eq!(agent.receive(Duration::from_millis(500)), None);
    wait_for_calls(&server, 0);
}

#[test]
fn callers_that_vanish_over_a_stream_leave_no_call_behind() {
    for ((kind, connect), silence) in STREAMS.into_iter().zip(["plain", "webrtc"]) {
        let server = start(&format!("[calls]\n{silence}_silence_s = 1\n"));
        let address = server.address(kind);
        // Before the answer is acknowledged, after it, and in the middle of an INVITE.
        drop(Call::answered(connect(address), "9197"));
        drop(Call::dial(connect(address), "9197"));
        let mut agent = connect(address);
        let invite = Request::new("INVITE", "9197").body("v=0\r\n".repeat(50)).bytes(&agent);
        agent.try_send(&invite[..invite.len() / 2]).unwrap();
        let ended = ["cause=\"gone\""];
        wait_for(&server, "both calls gone", |metrics| {
            metrics.sum("sidetone_calls_ended_total", &ended) == 2.0
        });
        wait_for_calls(&server, 0);
    }
}

#[test]
fn a_quiet_phone_may_close_its_connection_and_a_page_may_not() {
    let server = start("[calls]\nwebrtc_silence_s = 1\n");
    for (kind, connect) in STREAMS {
        drop(Call::answered(connect(server.address(kind)), "9197"));
    }
    let metrics = wait_for_calls(&server, 1);
    assert_eq!(metrics.sum("sidetone_calls_ended_total", &["cause=\"gone\""]), 1.0);
    std::thread::sleep(Duration::from_secs(2));
    wait_for_calls(&server, 1);
}

#[test]
fn rfc3261_18_1_1_a_phone_that_closed_its_stream_gets_its_bye_on_a_new_one() {
    let server = start("[calls]\nplain_silence_s = 1\n");
    let phone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let contact = format!("Contact: <sip:phone@{};transport=tcp>", phone.local_addr().unwrap());
    let mut agent = Agent::tcp(server.address("tcp"));
    let invite = Request::new("INVITE", "9197").body(sdp::plain(([127, 0, 0, 1], 9).into()));
    let text = String::from_utf8(invite.bytes(&agent)).unwrap();
    let own = format!("Contact: <sip:mallory@{}>", agent.local());
    agent.send(text.replace(&own, &contact).as_bytes());
    let answer = agent.final_response(&invite, Duration::from_secs(5)).unwrap();
    let to_tag = to_tag(&answer);
    let ack = Request { branch: fresh("z9hG4bK"), to_tag, ..invite.same_transaction("ACK") };
    agent.send(&ack.bytes(&agent));
    drop(agent);
    let mut agent = Agent::accepted(&phone);
    let bye = agent.next_request(Duration::from_secs(5)).unwrap();
    assert!(bye.starts_with("BYE sip:phone@"), "{bye}");
    agent.answer(&bye, "200 OK", "");
    wait_for_calls(&server, 0);
}

#[test]
fn who_only_listens_is_asked_whether_it_is_there_and_ends_by_saying_that_it_is_not() {
    let server = start("[calls]\nplain_silence_s = 1\nprobe_interval_s = 1\n");
    let mut agent = Agent::udp(server.address("udp"));
    let offer = sdp::plain(([127, 0, 0, 1], 9).into()) + "a=recvonly\r\n";
    let invite = Request::new("INVITE", "9197").body(offer);
    let answer = agent.ask(&invite);
    let to_tag = to_tag(&answer);
    let ack = Request { branch: fresh("z9hG4bK"), to_tag, ..invite.same_transaction("ACK") };
    agent.send(&ack.bytes(&agent));
    for word in ["200 OK", "501 Not Implemented", "200 OK"] {
        let asked = agent.next_request(Duration::from_secs(5)).unwrap();
        assert!(asked.starts_with("OPTIONS sip:mallory@"), "{asked}");
        agent.answer(&asked, word, "");
    }
    wait_for_calls(&server, 1);
    let asked = agent.next_request(Duration::from_secs(5)).unwrap();
    agent.answer(&asked, "481 Call Does Not Exist", "");
    let bye = agent.next_request(Duration::from_secs(5)).unwrap();
    assert!(bye.starts_with("BYE "), "{bye}");
    agent.answer(&bye, "200 OK", "");
    wait_for_calls(&server, 0);
}

#[test]
fn a_challenge_to_our_bye_learns_no_digest_and_the_process_ends_in_order() {
    let mut server = start("");
    let mut call = Call::dial(Agent::udp(server.address("udp")), "9197");
    let over_v6 = Call::dial(Agent::udp(server.address_v6("udp")), "9197");
    drop(over_v6);
    server.signal("TERM");
    server.wait_for_output("Ending live calls");
    let bye = call.agent.next_request(Duration::from_secs(5)).unwrap();
    assert!(bye.starts_with("BYE "), "{bye}");
    let challenge = "WWW-Authenticate: Digest realm=\"trunk\", nonce=\"abc\", qop=\"auth\"\r\n\
                     Proxy-Authenticate: Digest realm=\"trunk\", nonce=\"abc\"\r\n";
    call.agent.answer(&bye, "401 Unauthorized", challenge);
    while let Some(request) = call.agent.next_request(Duration::from_millis(800)) {
        assert!(!request.contains("uthorization:"), "{request}");
    }
    // One peer challenges, the other is gone: the end comes all the same.
    assert_eq!(server.wait(Duration::from_secs(10)), Some(0));
}

#[test]
fn headers_of_an_invite_that_make_no_sense_leave_no_call() {
    let server = start("");
    let live = Live::start(&server);
    let mut agent = Agent::tcp(server.address("tcp"));
    let offer = sdp::plain(([127, 0, 0, 1], 9).into());
    for (line, expected) in [
        ("Session-Expires: 1", &[200, 422][..]),
        ("Session-Expires: 0", &[200, 400, 422]),
        ("Session-Expires: 4294967296", &[200, 400]),
        ("Session-Expires: never", &[200, 400]),
        ("Session-Expires: 90;refresher=nobody", &[200, 400]),
        ("Min-SE: 99999999999999999999", &[200, 400, 422]),
        ("Require: 100rel", &[420]),
        ("Require: replaces, timer, evil", &[420]),
        ("Proxy-Require: evil", &[420]),
        ("Expires: 0", &[200, 487]),
        ("Expires: -1", &[400]),
        ("Expires: 99999999999999999999", &[400]),
        ("Max-Forwards: 70", &[400]),
        ("Max-Forwards: 256", &[400]),
        ("CSeq: 4294967295 INVITE", &[400]),
        ("Content-Encoding: gzip", &[415, 200]),
        ("Content-Disposition: icon;handling=required", &[415, 200]),
        ("Replaces: 1;from-tag=2;to-tag=3", &[200, 400, 481]),
        ("Route: not an address", &[400]),
        ("Record-Route: <sip:", &[400]),
        ("Contact: *", &[400]),
        ("From: <sip:a@b>;tag=second", &[400]),
        ("Via: nonsense", &[400]),
        ("x: folded\r\n over lines", &[400]),
        ("X-Y:\tfolded\r\n over\r\n\tlines", &[200]),
        ("X\u{fe}\u{ff}: y", &[200, 400]),
        ("no colon in this line", &[400]),
    ] {
        let invite = Request::new("INVITE", "9197").body(offer.clone()).header(line);
        let answer = agent.try_ask(&invite, Duration::from_secs(5));
        let answer = answer.unwrap_or_else(|| panic!("{line}: no answer"));
        assert!(expected.contains(&status(&answer)), "{line}: {answer}");
        if status(&answer) == 200 {
            crate::offers::end(&mut agent, &invite, &answer, line);
        } else {
            // What cannot be framed has ended the connection.
            agent = Agent::tcp(server.address("tcp"));
        }
        wait_for_calls(&server, 1);
    }
    live.finish();
    wait_for_calls(&server, 0);
}

#[test]
fn rfc4028_6_refreshes_that_are_asked_for_too_often_are_422_and_told_apart_from_mistakes() {
    let server = start("");
    let mut agent = Agent::udp(server.address("udp"));
    let offer = sdp::plain(([127, 0, 0, 1], 9).into());
    let invite = Request::new("INVITE", "9197").body(offer).header("Supported: timer");
    let answer = agent.ask(&invite.header("Session-Expires: 1"));
    assert_eq!(status(&answer), 422, "{answer}");
    assert!(header(&answer, "Min-SE").is_some(), "{answer}");
    let metrics = Metrics::of(&server);
    let refused = |reason: &str| {
        metrics.sum("sidetone_calls_rejected_total", &[&format!("reason=\"{reason}\"")])
    };
    assert_eq!((refused("too_brief"), refused("malformed")), (1.0, 0.0));
}

#[test]
fn a_contact_or_maddr_of_a_third_party_does_not_aim_our_messages_at_it() {
    aims_nothing_at(|text, third| {
        let (before, contact) = text.split_once("Contact: <sip:mallory@").unwrap();
        let (_, after) = contact.split_once('>').unwrap();
        let text = format!("{before}Contact: <sip:mallory@{third}>{after}");
        text.replace(";rport;", &format!(";rport;maddr={};", third.ip()))
    });
}

#[test]
fn a_record_route_of_a_stranger_does_not_aim_our_bye_at_a_third_party() {
    aims_nothing_at(|text, third| {
        text.replacen("Contact:", &format!("Record-Route: <sip:{third};lr>\r\nContact:"), 1)
    });
}

/// Calls with an INVITE that names a third party; fails if the server sends that one anything.
fn aims_nothing_at(change: impl FnOnce(String, SocketAddr) -> String) {
    let mut server = start("");
    let third = std::net::UdpSocket::bind("127.0.0.4:0").unwrap();
    let mut agent = Agent::udp(server.address("udp"));
    let invite = Request::new("INVITE", "9197").body(sdp::plain(([127, 0, 0, 1], 9).into()));
    let text = String::from_utf8(invite.bytes(&agent)).unwrap();
    agent.send(change(text, third.local_addr().unwrap()).as_bytes());
    let answer = agent.final_response(&invite, Duration::from_secs(5)).unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    let to_tag = to_tag(&answer);
    let ack = Request { branch: fresh("z9hG4bK"), to_tag, ..invite.same_transaction("ACK") };
    agent.send(&ack.bytes(&agent));
    wait_for_calls(&server, 1);
    server.signal("TERM");
    let bye = agent.next_request(Duration::from_secs(3));
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut buffer = [0; 2048];
    if let Ok(length) = third.recv(&mut buffer) {
        panic!("the third party got {}", String::from_utf8_lossy(&buffer[..length]));
    }
    let bye = bye.expect("the caller gets a BYE");
    agent.answer(&bye, "200 OK", "");
    assert_eq!(server.wait(Duration::from_secs(10)), Some(0));
}

#[test]
fn the_process_ends_in_order_under_a_flood_of_calls() {
    let mut server = start("");
    let udp = server.address("udp");
    let mut call = Call::dial(Agent::udp(udp), "9197");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let code = std::thread::scope(|scope| {
        scope.spawn(|| {
            let agent = Agent::udp(udp);
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let offer = sdp::plain(([127, 0, 0, 1], 9).into());
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let invite = Request::new("INVITE", "9197").body(offer.clone());
                // The server's port closes at the end.
                let _ = socket.send_to(&invite.bytes(&agent), udp);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        server.signal("TERM");
        let bye = call.agent.next_request(Duration::from_secs(5)).expect("a BYE");
        call.agent.answer(&bye, "200 OK", "");
        let code = server.wait(Duration::from_secs(12));
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        code
    });
    assert_eq!(code, Some(0));
}

#[test]
fn text_from_the_network_stays_text() {
    let server = start("");
    let mut agent = Agent::udp(server.address("udp"));
    let before = Metrics::of(&server).series();
    for number in [
        "%24%7Bdestination_number%7D",
        "$%7Bglobal%7D",
        "9197%0d%0aX-Injected:%20yes",
        "9197%00",
        "..%2f..%2fetc%2fpasswd",
        "%3cscript%3e",
        "9197;phone-context=evil",
        "'%20OR%201=1",
        &"9".repeat(5_000),
    ] {
        let answer = agent.ask(&Request::new("INVITE", number).body("v=0\r\n"));
        assert!([400, 404, 484, 488].contains(&status(&answer)), "{number}: {answer}");
        assert!(header(&answer, "X-Injected").is_none(), "{answer}");
    }
    let metrics = wait_for(&server, "no call", |m| m.sum("sidetone_calls", &[]) == 0.0);
    assert_eq!(before, metrics.series(), "series came or went");
}

const STREAMS: [(&str, Connect); 2] = [("tcp", Agent::tcp), ("http", Agent::ws)];
