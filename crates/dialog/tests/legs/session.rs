//! Session timers.

use std::time::Duration;

use dialog::{Body, Cause, Event, Failure, Party, Purpose};
use transport::{Name, TransportKind};

use super::support::{Rig, answer, ended, flow, invite, message_of, response_to};

/// What JsSIP asks for.
const BROWSER: &str = "Session-Expires: 90\r\nSupported: timer,ice,outbound\r\n";

#[test]
fn rfc4028_9_the_interval_of_a_browser_is_agreed() {
    let mut rig = Rig::with(&invite(BROWSER), TransportKind::Ws);
    rig.accept();
    let success = rig.only_message();
    assert_eq!(success.header(Name::SessionExpires).unwrap(), "90;refresher=uac");
    assert!(success.lists(Name::Require, "timer"));
}

#[test]
fn rfc4028_10_a_session_nobody_refreshes_ends_with_bye() {
    let mut rig = agreed(BROWSER);
    let sent = rig.run(120.0);
    assert_eq!(sent, [(60.0, "BYE".to_owned())], "90 s less a third");
    assert_eq!(rig.events(), [Event::Ending { cause: Cause::SessionExpired }]);
    rig.leg.handle_failure(Purpose::Bye, Failure::Timeout, rig.now);
    assert_eq!(rig.events(), [ended(Party::Local, Cause::SessionExpired)]);
    assert_eq!(rig.leg.poll_timeout(), None);
}

#[test]
fn rfc4028_9_an_update_refreshes_the_session() {
    let mut rig = agreed(BROWSER);
    rig.run(45.0);
    rig.receive("UPDATE", "Session-Expires: 90;refresher=uac\r\nSupported: timer\r\n", "");
    let response = rig.only_message();
    assert_eq!(response.header(Name::SessionExpires).unwrap(), "90;refresher=uac");
    assert_eq!(rig.run(100.0), [(105.0, "BYE".to_owned())]);
}

#[test]
fn rfc4028_9_too_short_an_interval_gets_422_with_min_se() {
    let more = "Session-Expires: 30\r\nSupported: timer\r\n";
    let refused = Rig::attempt(&invite(more), TransportKind::Udp).err().unwrap();
    let response = super::support::parse(refused.bytes);
    assert_eq!(response.status(), Some(422));
    assert_eq!(response.header(Name::MinSe).unwrap(), "90");
    let mut rig = agreed(BROWSER);
    rig.receive("UPDATE", more, "");
    assert_eq!(rig.words(), ["422"]);
    assert_eq!(rig.run(100.0), [(60.0, "BYE".to_owned())], "the old interval goes on");
}

#[test]
fn rfc4028_7_4_as_the_refresher_we_send_an_update_at_half_the_interval() {
    let mut rig = agreed("Session-Expires: 100;refresher=uas\r\nSupported: timer\r\n");
    rig.now += std::time::Duration::from_secs(50);
    rig.leg.handle_timeout(rig.now);
    let actions = rig.actions();
    let update = message_of(&actions[0]);
    assert_eq!(update.method().as_str(), "UPDATE");
    assert_eq!(update.header(Name::SessionExpires).unwrap(), "100;refresher=uac");
    assert!(update.has(Name::Contact));
    let more = "Session-Expires: 100;refresher=uac\r\n";
    rig.respond(&actions[0], 200, more);
    assert_eq!(rig.run(51.0), [(100.0, "UPDATE".to_owned())], "and again");
}

#[test]
fn rfc4028_7_4_a_422_raises_the_interval() {
    let mut rig = agreed("Session-Expires: 100;refresher=uas\r\nSupported: timer\r\n");
    rig.now += std::time::Duration::from_secs(50);
    rig.leg.handle_timeout(rig.now);
    let refused = response_to(&rig.actions()[0], 422, "Min-SE: 600\r\n");
    rig.leg.handle_response(Purpose::Refresh, &refused, flow(TransportKind::Ws), rig.now);
    let update = rig.only_message();
    assert_eq!(update.header(Name::SessionExpires).unwrap(), "600;refresher=uac");
    assert_eq!(update.header(Name::MinSe).unwrap(), "600");
    rig.leg.handle_response(Purpose::Refresh, &refused, flow(TransportKind::Ws), rig.now);
    assert_eq!(rig.words(), [""; 0], "asked once only");
    rig.leg.offer(Body::sdp("v=0 later"), rig.now);
    assert_eq!(rig.only_message().header(Name::MinSe).unwrap(), "600", "from then on");
}

#[test]
fn rfc3261_12_2_1_2_a_refresh_that_tells_of_no_dialog_ends_the_leg() {
    for status in [408, 481] {
        let mut rig = agreed("Session-Expires: 100;refresher=uas\r\nSupported: timer\r\n");
        rig.now += std::time::Duration::from_secs(50);
        rig.leg.handle_timeout(rig.now);
        let refused = response_to(&rig.actions()[0], status, "");
        rig.leg.handle_response(Purpose::Refresh, &refused, flow(TransportKind::Ws), rig.now);
        assert_eq!(rig.words(), ["BYE"]);
        assert_eq!(rig.events(), [Event::Ending { cause: Cause::DialogLost { status } }]);
        rig.leg.handle_failure(Purpose::Bye, Failure::Timeout, rig.now);
        assert_eq!(rig.events(), [ended(Party::Local, Cause::DialogLost { status })]);
    }
}

#[test]
fn rfc4028_7_4_a_peer_without_update_is_refreshed_by_a_re_invite_with_our_last_description() {
    let mut rig = agreed("Session-Expires: 100;refresher=uas\r\nSupported: timer\r\n");
    rig.now += std::time::Duration::from_secs(50);
    rig.leg.handle_timeout(rig.now);
    let update = rig.actions();
    rig.respond(&update[0], 405, "");
    let invite = rig.actions();
    let message = message_of(&invite[0]);
    assert_eq!(message.method().as_str(), "INVITE");
    assert_eq!(message.body(), answer().bytes);
    assert_eq!(message.header(Name::SessionExpires).unwrap(), "100;refresher=uac");
    let more = "Session-Expires: 100;refresher=uac\r\nContent-Type: application/sdp\r\n";
    rig.respond_with(&invite[0], 200, more, "v=0 same");
    assert_eq!(rig.words(), ["ACK"]);
    assert_eq!(rig.events(), [Event::Answer { answer: Some(Body::sdp("v=0 same")) }]);
    assert_eq!(rig.run(51.0), [(100.0, "INVITE".to_owned())], "without asking again");
}

#[test]
fn rfc4028_7_4_a_peer_that_says_it_has_no_update_gets_none() {
    let more = "Allow: INVITE, BYE\r\nSession-Expires: 100;refresher=uas\r\nSupported: timer\r\n";
    let mut rig = agreed(more);
    assert_eq!(rig.run(51.0), [(50.0, "INVITE".to_owned())]);
}

#[test]
fn rfc4028_7_4_a_refresh_that_waited_says_what_was_said_last() {
    let timer = "Session-Expires: 100;refresher=uas\r\nSupported: timer\r\n";
    let without_update = format!("Allow: INVITE, BYE\r\n{timer}");
    let mut rig = Rig::with(&invite(&without_update), TransportKind::Ws);
    rig.accept();
    rig.ack(1);
    rig.done();
    rig.events();
    rig.now += Duration::from_secs(50);
    rig.leg.handle_timeout(rig.now);
    let refresh = rig.actions().remove(0);
    // A hold crosses it, and comes again first.
    rig.receive("INVITE", timer, "v=0 hold");
    rig.respond(&refresh, 491, "");
    rig.done();
    rig.receive("INVITE", timer, "v=0 hold");
    let held = Body::sdp("v=0 held");
    let number = rig.events().iter().find_map(|event| match event {
        Event::Offer { number, .. } => Some(*number),
        _ => None,
    });
    rig.leg.answer_offer(number.unwrap(), &held, rig.now).unwrap();
    rig.ack(3);
    rig.done();
    rig.now += Duration::from_secs(5);
    rig.leg.handle_timeout(rig.now);
    assert_eq!(rig.only_message().body()[..], b"v=0 held"[..]);
}

#[test]
fn a_refresh_that_failed_for_now_is_tried_again_before_the_end() {
    let mut rig = agreed("Session-Expires: 100;refresher=uas\r\nSupported: timer\r\n");
    rig.now += std::time::Duration::from_secs(50);
    rig.leg.handle_timeout(rig.now);
    rig.done();
    rig.leg.handle_failure(Purpose::Refresh, Failure::Transport, rig.now);
    let sent = rig.run(30.0);
    let words: Vec<&str> = sent.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(words, ["UPDATE", "BYE"]);
}

#[test]
fn a_refresh_waits_for_a_browser_whose_connection_is_gone() {
    for by_invite in [false, true] {
        let allow = if by_invite { "Allow: INVITE, BYE\r\n" } else { "" };
        let more = "Session-Expires: 120;refresher=uas\r\nSupported: timer\r\n";
        let mut rig = agreed(&format!("{allow}{more}"));
        rig.run(59.0);
        rig.leg.handle_flow_closed(flow(TransportKind::Ws).id, rig.now);
        assert_eq!(rig.run(11.0), [], "nobody to send it to");
        rig.leg.handle_flow_moved(flow(TransportKind::Wss));
        let refresh = if by_invite { "INVITE" } else { "UPDATE" };
        assert_eq!(rig.run(5.0), [(74.0, refresh.to_owned())], "half of what is left to 88 s");
        assert_eq!(rig.events(), []);
    }
}

/// A confirmed leg of an INVITE with these header lines; time starts with its 200.
fn agreed(more: &str) -> Rig {
    let mut rig = Rig::with(&invite(more), TransportKind::Ws);
    rig.accept();
    rig.ack(1);
    rig.done();
    rig.events();
    rig
}
