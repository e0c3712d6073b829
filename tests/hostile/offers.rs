//! Session descriptions that nobody should send, one call each.

use std::net::SocketAddr;
use std::time::Duration;

use crate::agent::Agent;
use crate::call::Call;
use crate::live::Live;
use crate::metrics::{Metrics, wait_for_calls};
use crate::request::{Request, header, status, to_tag};
use crate::sdp;
use crate::server::Server;
use crate::start;

/// A description, and the answers that are right.
type Case = (&'static str, Vec<u8>, &'static [u16]);

#[test]
fn every_broken_offer_has_its_answer_and_leaves_no_call() {
    let server = start("");
    let before = Metrics::of(&server).series();
    let live = Live::start(&server);
    let mut agent = Agent::tcp(server.address("tcp"));
    for (what, offer, expected) in plain().into_iter().chain(webrtc()) {
        let invite = Request::new("INVITE", "9197").body(offer);
        let answer = agent.try_ask(&invite, Duration::from_secs(5));
        let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
        assert!(expected.contains(&status(&answer)), "{what}: {answer}");
        end(&mut agent, &invite, &answer, what);
        wait_for_calls(&server, 1);
    }
    live.finish();
    let after = wait_for_calls(&server, 0);
    assert_eq!(after.sum("sidetone_media_port_pairs", &["state=\"used\""]), 0.0);
    assert_eq!(before, after.series(), "series came or went");
}

#[test]
fn a_body_that_is_no_session_description_is_415() {
    let server = start("");
    let mut agent = Agent::udp(server.address("udp"));
    let sdp = sdp::plain(([127, 0, 0, 1], 9).into());
    for content_type in ["text/plain", "application/xml", "x", "application/sdpx", "audio/pcmu"] {
        let invite = Request::new("INVITE", "9197").content_type(content_type).body(sdp.clone());
        let answer = agent.ask(&invite);
        assert_eq!(status(&answer), 415, "{content_type}: {answer}");
        assert_eq!(header(&answer, "Accept"), Some("application/sdp"), "{answer}");
    }
    wait_for_calls(&server, 0);
}

#[test]
fn a_description_among_other_parts_is_read_and_what_is_encoded_is_not() {
    let server = start("");
    let mut agent = Agent::udp(server.address("udp"));
    let sdp = sdp::plain(([127, 0, 0, 1], 9).into());
    let parts = format!(
        "--b\r\nContent-Type: application/isup\r\nContent-Disposition: signal;handling=optional\r\n\
         \r\n\u{1}\r\n--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b--\r\n"
    );
    let invite = |kind: &str| Request::new("INVITE", "9197").content_type(kind).body(parts.clone());
    let several = invite("multipart/mixed;boundary=b");
    let answer = agent.ask(&several);
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("m=audio "), "{answer}");
    end(&mut agent, &several, &answer, "several parts");
    let optional = Request::new("INVITE", "9197")
        .content_type("text/plain")
        .header("Content-Disposition: render;handling=optional")
        .body("hello");
    let answer = agent.ask(&optional);
    assert_eq!(status(&answer), 200, "as without a body: {answer}");
    end(&mut agent, &optional, &answer, "a body that may be passed over");
    let packed = Request::new("INVITE", "9197").header("Content-Encoding: gzip").body(sdp);
    let answer = agent.ask(&packed);
    assert_eq!((status(&answer), header(&answer, "Accept-Encoding")), (415, Some("identity")));
    wait_for_calls(&server, 0);
}

#[test]
fn a_codec_we_lack_is_488_with_what_was_offered_and_nothing_else() {
    let server = start("");
    let mut agent = Agent::udp(server.address("udp"));
    let local = "127.0.0.1".parse().unwrap();
    let offer = format!(
        "{}m=audio 4000 RTP/AVP 96 97\r\na=rtpmap:96 evil\"\r\n\
         a=rtpmap:97 x\\\"; Set-Cookie: a=b/8000\r\n",
        sdp::head(local)
    );
    let answer = agent.ask(&Request::new("INVITE", "9197").body(offer));
    assert_eq!(status(&answer), 488, "{answer}");
    let warning = header(&answer, "Warning").unwrap();
    assert_eq!(warning.matches('"').count(), 2, "{warning}");
    assert!(warning.contains("PCMU"), "{warning}");
}

#[test]
fn a_call_without_offer_whose_ack_brings_no_usable_answer_is_ended() {
    let server = start("");
    let udp = server.address("udp");
    for answer in ["", "broken", "v=0\r\n", "v=0\r\nm=audio 0 RTP/AVP 0\r\n"] {
        let mut agent = Agent::udp(udp);
        let invite = Request::new("INVITE", "9197");
        let offer = agent.ask(&invite);
        assert_eq!(status(&offer), 200, "{offer}");
        assert!(offer.contains("m=audio "), "our offer: {offer}");
        let ack = Request { to_tag: to_tag(&offer), ..invite.same_transaction("ACK") };
        agent.send(&ack.body(answer).bytes(&agent));
        let bye = agent.next_request(Duration::from_secs(12));
        let bye = bye.unwrap_or_else(|| panic!("an answer of {answer:?} ends nothing"));
        assert!(bye.starts_with("BYE "), "{bye}");
        agent.answer(&bye, "200 OK", "");
        wait_for_calls(&server, 0);
    }
}

#[test]
fn calls_cannot_be_aimed_at_each_other_to_stay_up_for_ever() {
    let server = start("");
    let udp = server.address("udp");
    let live = Live::start(&server);
    let mut calls =
        ["9196", "9196", "9197", "9197", "9197"].map(|number| Call::dial(Agent::udp(udp), number));
    let [echo, other, ..] = &calls;
    let (echo, other) = (echo.rtp, other.rtp);
    let offer = Request::new("INVITE", "9197").body(sdp::plain(echo));
    assert_eq!(status(&Agent::udp(udp).ask(&offer)), 488);
    // The tones would set off the echoes; one goes to the port that signalling is on.
    for (call, target) in calls.iter_mut().zip([other, echo, echo, other, udp]) {
        let reinvite = call.request("INVITE").body(sdp::plain(target));
        let answer = call.ask(&reinvite);
        assert_eq!(status(&answer), 488, "{answer}");
    }
    // What is reported to a port of ours counts as heard there.
    for call in &mut calls {
        let rtcp = call.rtp.port() + 1;
        let description = sdp::plain(call.media.local_addr().unwrap());
        let description = format!("{description}a=rtcp:{rtcp}\r\n");
        let reinvite = call.request("INVITE").body(description);
        let answer = call.ask(&reinvite);
        assert_eq!(status(&answer), 488, "{answer}");
    }
    let sent = |metrics: Metrics| metrics.sum("sidetone_rtp_packets_total", &["direction=\"out\""]);
    let before = sent(Metrics::of(&server));
    std::thread::sleep(Duration::from_secs(1));
    let count = sent(Metrics::of(&server)) - before;
    // Four tones.
    assert!(count < 250.0, "{count} packets in a second");
    calls.iter_mut().for_each(Call::hang_up);
    live.finish();
    wait_for_calls(&server, 0);
}

#[test]
fn a_call_does_not_get_the_port_that_its_caller_has_foreseen() {
    let server = start("");
    let udp = server.address("udp");
    let mut last = Call::dial(Agent::udp(udp), "9197");
    for _ in 0..5 {
        let mut foreseen = last.rtp;
        foreseen.set_port(foreseen.port() + 2);
        let mut agent = Agent::udp(udp);
        let invite = Request::new("INVITE", "9196").body(sdp::plain(foreseen));
        let answer = agent.ask(&invite);
        assert_eq!(status(&answer), 200, "{answer}");
        assert_ne!(sdp::rtp_address(&answer), Some(foreseen), "its echo would go on for ever");
        // Nor does the next call.
        let next = Call::dial(Agent::udp(udp), "9197");
        assert_ne!(next.rtp, foreseen);
        end(&mut agent, &invite, &answer, "the caller that foresees");
        last.hang_up();
        last = next;
    }
    last.hang_up();
    wait_for_calls(&server, 0);
}

/// Where the WebRTC media of a server goes.
pub fn webrtc_port(server: &Server) -> SocketAddr {
    let mut agent = Agent::udp(server.address("udp"));
    let invite = Request::new("INVITE", "9197").body(sdp::webrtc());
    let answer = agent.ask(&invite);
    assert_eq!(status(&answer), 200, "{answer}");
    end(&mut agent, &invite, &answer, "to learn the port");
    sdp::rtp_address(&answer).unwrap()
}

/// Ends what an accepted INVITE began.
pub fn end(agent: &mut Agent, invite: &Request, answer: &str, what: &str) {
    if status(answer) != 200 {
        return;
    }
    let to_tag = to_tag(answer);
    let ack = Request { to_tag: to_tag.clone(), ..invite.same_transaction("ACK") };
    agent.send(&ack.bytes(agent));
    let branch = crate::request::fresh("z9hG4bK");
    let bye = Request { to_tag, cseq: 2, branch, ..invite.same_transaction("BYE") };
    let answer = agent.ask(&bye);
    // The server may have been first.
    assert!([200, 481].contains(&status(&answer)), "{what}: {answer}");
}

fn plain() -> Vec<Case> {
    let text = sdp::plain(([127, 0, 0, 1], 9999).into());
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replacen(from, to, 1).into_bytes()
    };
    let and = |more: &str| format!("{text}{more}").into_bytes();
    let audio = "m=audio 9999 RTP/AVP 0 8 101";
    let mut not_utf8 = and("a=x:");
    not_utf8.extend([0xff, 0xfe, 0x80, b'\r', b'\n']);
    vec![
        ("nothing that is one", b"hello".to_vec(), BROKEN),
        ("NULs", vec![0; 2_000], BROKEN),
        ("version 1", with("v=0", "v=1"), BROKEN),
        ("only a version", b"v=0\r\n".to_vec(), REFUSED),
        ("a line without =", and("broken\r\n"), BROKEN),
        ("an unknown letter", and("y=1\r\n"), REFUSED),
        ("no c=", with("c=IN IP4 127.0.0.1\r\n", ""), REFUSED),
        ("c= without an address", with("c=IN IP4 127.0.0.1", "c=IN IP4"), REFUSED),
        ("c= with a name", with("c=IN IP4 127.0.0.1", "c=IN IP4 evil.test"), REFUSED),
        ("c= of another network", with("c=IN IP4 127.0.0.1", "c=ATM NSAP 47.0091"), REFUSED),
        ("c= multicast", with("c=IN IP4 127.0.0.1", "c=IN IP4 224.2.1.1/127"), REFUSED),
        ("c= broadcast", with("c=IN IP4 127.0.0.1", "c=IN IP4 255.255.255.255"), REFUSED),
        ("IPv6 in IP4", with("c=IN IP4 127.0.0.1", "c=IN IP4 ::1"), EITHER),
        ("IPv4 in IP6", with("c=IN IP4 127.0.0.1", "c=IN IP6 127.0.0.1"), EITHER),
        ("IPv6 multicast", with("c=IN IP4 127.0.0.1", "c=IN IP6 ff02::1"), REFUSED),
        ("half an address", with("c=IN IP4 127.0.0.1", "c=IN IP4 127.0.0"), REFUSED),
        ("a hold of old", with("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"), EITHER),
        ("port 0", with("audio 9999", "audio 0"), REFUSED),
        ("port 99999", with("audio 9999", "audio 99999"), REFUSED),
        ("port -1", with("audio 9999", "audio -1"), REFUSED),
        ("a range of ports", with("audio 9999", "audio 9999/65535"), EITHER),
        ("no formats", with(audio, "m=audio 9999 RTP/AVP"), REFUSED),
        ("formats that are no numbers", with("AVP 0 8 101", "AVP x y z"), REFUSED),
        ("formats beyond 127", with("AVP 0 8 101", "AVP 128 999 -1"), REFUSED),
        ("10,000 formats", with("AVP 0", &format!("AVP {}0", "8 ".repeat(10_000))), EITHER),
        ("a profile nobody knows", with("RTP/AVP", "RTP/XYZ"), REFUSED),
        ("T.38", with("RTP/AVP 0 8 101", "udptl t38"), REFUSED),
        ("SDES", with("RTP/AVP", "RTP/SAVP"), REFUSED),
        ("video only", with("m=audio", "m=video"), REFUSED),
        ("33 m= lines", and(&"m=video 0 RTP/AVP 31\r\n".repeat(32)), EITHER),
        ("1,000 m= lines", and(&"m=audio 9 RTP/AVP 0\r\n".repeat(1_000)), REFUSED),
        ("3,000 attributes", and(&"a=x:y\r\n".repeat(3_000)), EITHER),
        ("60 kB in one line", and(&format!("a=x:{}\r\n", "y".repeat(60_000))), EITHER),
        ("a rate of 0", and("a=rtpmap:0 PCMU/0\r\n"), EITHER),
        ("another codec as 0", and("a=rtpmap:0 G729/8000\r\na=rtpmap:8 x/1\r\n"), EITHER),
        ("events at 4 GHz", and("a=rtpmap:101 telephone-event/4294967295\r\n"), EITHER),
        ("an rtpmap of nothing", and("a=rtpmap\r\na=rtpmap:\r\na=rtpmap: /\r\n"), EITHER),
        ("an fmtp of nothing", and("a=fmtp\r\na=fmtp:\r\na=fmtp:0\r\n"), EITHER),
        ("a packet of 0 ms", and("a=ptime:0\r\na=maxptime:0\r\n"), EITHER),
        ("a packet of a year", and("a=ptime:31536000000\r\na=maxptime:-5\r\n"), EITHER),
        ("RTCP nowhere", and("a=rtcp:0\r\na=rtcp:99999 IN IP4 x\r\n"), EITHER),
        ("all directions", and("a=sendonly\r\na=recvonly\r\na=inactive\r\n"), EITHER),
        (
            "candidates for a plain leg",
            and(&"a=candidate:1 1 UDP 1 127.0.0.1 9 typ host\r\n".repeat(500)),
            EITHER,
        ),
        ("bytes that are not UTF-8", not_utf8, EITHER),
        ("line ends of LF", text.replace("\r\n", "\n").into_bytes(), &[200]),
        ("line ends of CR", text.replace("\r\n", "\r").into_bytes(), EITHER),
        ("no line end at all", text.trim_end().as_bytes().to_vec(), &[200]),
        (
            "T.140 with RED",
            and("m=text 9 RTP/AVP 98 99\r\na=rtpmap:99 red/1000\r\na=fmtp:99 98/98/98/\r\n"),
            EITHER,
        ),
    ]
}

fn webrtc() -> Vec<Case> {
    let text = sdp::webrtc();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replacen(from, to, 1).into_bytes()
    };
    let and = |more: &str| format!("{text}{more}").into_bytes();
    let ufrag = format!("a=ice-ufrag:{}", sdp::UFRAG);
    vec![
        ("WebRTC as it should be", text.clone().into_bytes(), &[200]),
        ("no ufrag", with(&ufrag, "a=x"), REFUSED),
        ("a short ufrag", with(&ufrag, "a=ice-ufrag:a"), REFUSED),
        ("a ufrag of 10 kB", with(&ufrag, &format!("a=ice-ufrag:{}", "u".repeat(10_000))), REFUSED),
        ("a ufrag with a colon", with(&ufrag, "a=ice-ufrag:ab:cd"), REFUSED),
        ("a short password", with("a=ice-pwd:0123456789abcdefghijklmn", "a=ice-pwd:0"), REFUSED),
        ("no fingerprint", with("a=fingerprint:sha-256", "a=x:sha-256"), REFUSED),
        ("MD5", with("fingerprint:sha-256", "fingerprint:md5"), REFUSED),
        ("half a fingerprint", with("AB:AB:AB:AB", "AB:AB"), REFUSED),
        ("a fingerprint that is no hex", with("AB:AB:AB", "XX:YY:ZZ"), REFUSED),
        ("no rtcp-mux", with("a=rtcp-mux\r\n", ""), REFUSED),
        ("a setup that holds", with("setup:actpass", "setup:holdconn"), EITHER),
        ("a setup nobody knows", with("setup:actpass", "setup:sideways"), EITHER),
        (
            "1,000 candidates",
            and(&"a=candidate:1 1 UDP 1 10.9.8.7 9 typ host\r\n".repeat(1_000)),
            EITHER,
        ),
        (
            "candidates of nonsense",
            and(
                "a=candidate\r\na=candidate:\r\na=candidate:1 1 UDP\r\na=candidate:x x x x x x x x\r\n",
            ),
            EITHER,
        ),
        ("candidates with names", and("a=candidate:1 1 UDP 1 evil.local 9 typ host\r\n"), EITHER),
        ("a mid of 10 kB", with("a=mid:0", &format!("a=mid:{}", "0".repeat(10_000))), EITHER),
        ("a second section like it", and(&text[text.find("m=").unwrap()..]), EITHER),
    ]
}

const BROKEN: &[u16] = &[400];
const REFUSED: &[u16] = &[400, 488];
const EITHER: &[u16] = &[200, 400, 488];
