//! From the INVITE to the ACK.

use dialog::state::State;
use dialog::{Body, Cause, DialogId, Error, Event, Party};
use transport::{Name, TransportKind};

use super::support::{Rig, answer, ended, invite, invite_with_body, message};

#[test]
fn rfc3261_12_1_1_responses_carry_tag_contact_and_record_route() {
    let routes = "Record-Route: <sip:192.0.2.9;lr>\r\nRecord-Route: <sip:192.0.2.8;lr>\r\n";
    let mut rig = Rig::with(&invite(routes), TransportKind::Udp);
    rig.leg.ring(rig.now).unwrap();
    let ringing = rig.only_message();
    assert_eq!(ringing.status(), Some(180));
    assert!(ringing.to_tag().unwrap().starts_with("n1."));
    assert_eq!(ringing.header(Name::Contact).unwrap(), "<sip:192.0.2.1:5060>");
    assert_eq!(ringing.list(Name::RecordRoute).count(), 2);
    rig.accept();
    let success = rig.only_message();
    assert_eq!(success.to_tag(), ringing.to_tag());
    assert_eq!(success.header(Name::Contact).unwrap(), "<sip:192.0.2.1:5060>");
    assert!(success.lists(Name::Allow, "UPDATE"));
    assert!(success.lists(Name::Supported, "timer"));
    assert_eq!(&success.body()[..], b"v=0 answer");
    assert_eq!(DialogId::of_response(&success).unwrap().remote_tag, rig.leg.id().local_tag);
}

#[test]
fn rfc7118_5_a_browser_is_given_a_contact_with_transport_ws() {
    let mut rig = Rig::with(&invite(""), TransportKind::Wss);
    rig.accept();
    let success = rig.only_message();
    assert_eq!(success.header(Name::Contact).unwrap(), "<sip:192.0.2.1:5060;transport=ws>");
}

#[test]
fn rfc3261_13_3_1_4_a_2xx_is_repeated_until_its_ack_on_every_transport() {
    for kind in [TransportKind::Udp, TransportKind::Ws] {
        let mut rig = Rig::with(&invite(""), kind);
        rig.accept();
        let sent = rig.run(12.0);
        let times: Vec<f64> = sent.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0.0, 0.5, 1.5, 3.5, 7.5, 11.5], "{kind:?}");
        rig.ack(1);
        assert_eq!(rig.run(100.0), [], "{kind:?}");
        assert_eq!(rig.events(), [Event::Confirmed { answer: None }]);
        assert_eq!(rig.leg.poll_timeout(), None);
    }
}

#[test]
fn rfc3261_13_3_1_4_without_an_ack_the_call_ends_with_bye_after_64_t1() {
    let mut rig = Rig::new();
    rig.accept();
    let sent = rig.run(40.0);
    assert_eq!(sent.last().unwrap(), &(32.0, "BYE".to_owned()));
    assert_eq!(rig.events(), [Event::Ending { cause: Cause::Unacknowledged }]);
    assert_eq!(rig.leg.state(), State::Terminating);
}

#[test]
fn an_ack_with_another_number_confirms_nothing() {
    let mut rig = Rig::new();
    rig.accept();
    rig.ack(2);
    assert_eq!(rig.leg.state(), State::Answered);
    assert!(rig.events().is_empty());
}

#[test]
fn rfc3261_13_3_1_1_a_provisional_response_is_repeated_every_minute() {
    let mut rig = Rig::new();
    rig.leg.progress(Some(&answer()), rig.now).unwrap();
    let sent = rig.run(150.0);
    assert_eq!(sent, [(0.0, "183".into()), (60.0, "183".into()), (120.0, "183".into())]);
    rig.accept();
    rig.ack(1);
    rig.done();
    assert_eq!(rig.run(200.0), []);
}

#[test]
fn rfc3261_13_3_1_1_a_call_of_which_nothing_is_said_is_still_under_way() {
    let mut rig = Rig::new();
    assert_eq!(rig.run(130.0), [(60.0, "183".into()), (120.0, "183".into())]);
    rig.leg.ring(rig.now).unwrap();
    assert_eq!(rig.run(65.0), [(130.0, "180".into()), (190.0, "180".into())]);
}

#[test]
fn rfc3261_13_2_1_an_invite_without_offer_is_answered_in_its_ack() {
    let mut rig = Rig::with(&invite_with_body("", ""), TransportKind::Udp);
    rig.leg.accept(&Body::sdp("v=0 our offer"), Vec::new(), rig.now).unwrap();
    rig.ack_with(1, "v=0 their answer");
    let answer = Some(Body::sdp("v=0 their answer"));
    assert_eq!(rig.events(), [Event::Confirmed { answer }]);
}

#[test]
fn rfc3261_13_3_1_3_a_rejection_carries_what_the_call_adds() {
    let mut rig = Rig::new();
    let warning = "305 sidetone \"offered G729, allowed PCMU\"".to_owned();
    rig.leg.reject(488, vec![(Name::Warning, warning.clone())], rig.now).unwrap();
    let response = rig.only_message();
    assert_eq!(response.status(), Some(488));
    assert_eq!(response.header(Name::Warning).unwrap(), warning);
    assert!(response.to_tag().is_some());
    assert_eq!(rig.events(), [ended(Party::Local, Cause::Rejected { status: 488 })]);
}

#[test]
fn rfc3261_13_3_1_an_invite_that_expires_gets_487() {
    let mut rig = Rig::with(&invite("Expires: 20\r\n"), TransportKind::Udp);
    rig.leg.ring(rig.now).unwrap();
    assert_eq!(rig.run(30.0), [(0.0, "180".to_owned()), (20.0, "487".to_owned())]);
    assert_eq!(rig.events(), [ended(Party::Remote, Cause::Expired)]);
    let mut rig = Rig::with(&invite("Expires: 20\r\n"), TransportKind::Udp);
    rig.accept();
    rig.ack(1);
    rig.done();
    assert_eq!(rig.run(30.0), [], "an answer was in time");
}

#[test]
fn commands_after_the_final_response_are_refused() {
    let mut rig = Rig::new();
    rig.accept();
    let state = State::Answered;
    assert_eq!(rig.leg.ring(rig.now), Err(Error::WrongState { state }));
    assert_eq!(rig.leg.accept(&answer(), Vec::new(), rig.now), Err(Error::WrongState { state }));
    assert_eq!(rig.leg.reject(486, Vec::new(), rig.now), Err(Error::WrongState { state }));
    assert_eq!(rig.words(), ["200"]);
}

#[test]
fn a_status_that_refuses_nothing_is_refused() {
    let mut rig = Rig::new();
    assert_eq!(rig.leg.reject(200, Vec::new(), rig.now), Err(Error::StatusRange { status: 200 }));
    assert_eq!(rig.leg.state(), State::Early);
}

#[test]
fn rfc3261_8_1_1_8_an_invite_without_contact_gets_400() {
    let text = invite("").replace("Contact: <sip:alice@192.0.2.2:5070>\r\n", "");
    let refused = Rig::attempt(&text, TransportKind::Udp).err().unwrap();
    let response = message(&String::from_utf8_lossy(&refused.bytes));
    assert_eq!((refused.status, response.status()), (400, Some(400)));
    assert!(response.to_tag().is_some());
}

#[test]
fn the_dialog_is_found_by_what_a_later_request_carries() {
    let rig = Rig::new();
    let text = invite("").replace(
        "To: <sip:100@example.com>",
        &format!("To: <sip:100@example.com>;tag={}", rig.leg.id().local_tag),
    );
    assert_eq!(DialogId::of_request(&message(&text)).as_ref(), Some(rig.leg.id()));
    assert_eq!(DialogId::of_request(&message(&invite(""))), None);
}

#[test]
fn a_leg_stays_small() {
    let bytes = size_of::<dialog::Leg>();
    assert!(bytes <= 1536, "{bytes} bytes");
}

#[test]
fn rfc3261_12_1_1_who_calls_by_a_sips_uri_is_given_one() {
    let plain = invite("");
    let called = plain.replacen(" sip:", " sips:", 1);
    let routed = invite("Record-Route: <sips:192.0.2.9;lr>\r\n");
    for (text, kind, expected) in [
        (&plain, TransportKind::Tls, "<sip:192.0.2.1:5060;transport=tls>"),
        (&called, TransportKind::Tls, "<sips:192.0.2.1:5060>"),
        (&routed, TransportKind::Tls, "<sips:192.0.2.1:5060>"),
        (&called, TransportKind::Wss, "<sips:192.0.2.1:5060;transport=ws>"),
        // Nobody would find us there by TLS.
        (&called, TransportKind::Udp, "<sip:192.0.2.1:5060>"),
    ] {
        let mut rig = Rig::with(text, kind);
        rig.accept();
        assert_eq!(rig.only_message().header(Name::Contact).unwrap(), expected, "{kind:?}");
    }
}
