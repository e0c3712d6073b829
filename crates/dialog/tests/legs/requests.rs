//! What else the peer may send, and what belongs to no dialog.

use dialog::{Event, Refusal, Settings, outside};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use transport::{Name, TransportKind};

use super::support::{Rig, flow, invite, message, parse};

#[test]
fn rfc3261_12_2_2_a_lower_cseq_gets_500_and_changes_nothing() {
    let mut rig = Rig::confirmed();
    rig.receive_numbered("INFO", 10, "", "");
    rig.receive_numbered("INFO", 9, "", "");
    rig.receive_numbered("BYE", 10, "", "");
    assert_eq!(rig.words(), ["200", "500", "500"]);
    assert_eq!(rig.events(), [Event::Info { body: None }]);
    rig.receive_numbered("BYE", 11, "", "");
    assert_eq!(rig.words(), ["200"]);
}

#[test]
fn info_is_answered_and_its_body_told() {
    let mut rig = Rig::confirmed();
    rig.receive("INFO", "", "");
    rig.events();
    let body = "Signal=5\r\nDuration=160\r\n";
    rig.receive("INFO", "", body);
    assert_eq!(rig.words(), ["200", "200"]);
    match &rig.events()[..] {
        [Event::Info { body: Some(told) }] => assert_eq!(told.bytes, body),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rfc3261_8_2_3_an_info_whose_body_nobody_reads_is_refused() {
    let mut rig = Rig::confirmed();
    let (id, flow) = (rig.invite_id(), *rig.leg.flow());
    let info = |cseq: usize, media_type: &str| {
        format!(
            "INFO sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK9\r\nFrom: <sip:a>;tag=a1\r\n\
             To: <sip:b>;tag=b\r\nCall-ID: c\r\nCSeq: {cseq} INFO\r\nContent-Type: {media_type}\r\n\
             Content-Length: 1\r\n\r\n5"
        )
    };
    let cases = [
        ("application/x-foo", 415),
        ("text/plain", 415),
        ("application/dtmf", 200),
        ("Application/DTMF-relay; charset=utf-8", 200),
    ];
    for (n, (media_type, status)) in cases.into_iter().enumerate() {
        let message = parse(info(9 + n, media_type).into());
        rig.leg.handle_request(id, message, flow, rig.now);
        assert_eq!(rig.words(), [status.to_string()], "{media_type}");
    }
}

#[test]
fn rfc6086_5_2_2_an_info_package_nobody_asked_for_gets_469() {
    let mut rig = Rig::confirmed();
    rig.receive("INFO", "Info-Package: foo\r\n", "");
    let response = rig.only_message();
    assert_eq!((response.status(), response.has(Name::RecvInfo)), (Some(469), true));
}

#[test]
fn rfc3261_11_2_options_says_what_we_can_do() {
    let mut rig = Rig::confirmed();
    rig.receive("OPTIONS", "", "");
    let response = rig.only_message();
    assert_eq!(response.status(), Some(200));
    assert!(response.lists(Name::Allow, "INVITE"));
    assert!(response.lists(Name::Accept, "application/sdp"));
}

#[test]
fn what_a_dialog_of_ours_does_not_serve_is_refused_by_name() {
    for (method, more, status) in [
        ("REFER", "Refer-To: <sip:x@example.com>\r\n", "405"),
        ("MESSAGE", "", "405"),
        ("SUBSCRIBE", "Event: presence\r\n", "489"),
        ("NOTIFY", "Event: refer\r\n", "481"),
        ("PRACK", "RAck: 1 1 INVITE\r\n", "481"),
        ("FROBNICATE", "", "501"),
    ] {
        let mut rig = Rig::confirmed();
        rig.receive(method, more, "");
        assert_eq!(rig.words(), [status], "{method}");
        assert!(rig.events().is_empty());
    }
}

#[test]
fn rfc3261_8_2_1_405_names_what_is_allowed() {
    let mut rig = Rig::confirmed();
    rig.receive("REFER", "", "");
    assert!(rig.only_message().lists(Name::Allow, "BYE"));
}

#[test]
fn a_leg_that_is_ending_knows_no_requests() {
    let mut rig = Rig::confirmed();
    rig.leg.hang_up(None, rig.now);
    rig.done();
    rig.receive("INVITE", "", "v=0 hold");
    rig.receive("INFO", "", "");
    assert_eq!(rig.words(), ["481", "481"]);
}

#[test]
fn rfc3261_12_2_2_a_request_of_no_dialog_gets_481() {
    let mut rng = StdRng::seed_from_u64(1);
    let settings = Settings::default();
    let request = message(
        &invite("").replace("To: <sip:100@example.com>", "To: <sip:100@example.com>;tag=x"),
    );
    let flow = flow(TransportKind::Udp);
    let (status, bytes) =
        outside::refuse(&request, &flow, &Refusal::UnknownDialog, &settings, &mut rng);
    let response = parse(bytes);
    assert_eq!((status, response.status()), (481, Some(481)));
    assert_eq!(response.to_tag().unwrap(), "x");
}
