//! BYE, CANCEL, and what else ends a leg.

use dialog::state::State;
use dialog::{Action, Cause, Event, Failure, Party, Purpose};
use transport::{FlowId, Name, TransportKind};

use super::support::{Rig, ended, flow, invite, message_of, parse};

const CLEARING: &str = "Q.850;cause=16;text=\"NORMAL_CLEARING\"";

#[test]
fn rfc3261_15_1_1_our_bye_is_a_request_of_the_dialog() {
    let mut rig = Rig::confirmed();
    rig.leg.hang_up(Some(CLEARING), rig.now);
    let actions = rig.actions();
    let bye = message_of(&actions[0]);
    assert_eq!(bye.request_uri_bytes(), b"sip:alice@192.0.2.2:5070");
    assert_eq!(bye.from_tag().unwrap(), *rig.leg.id().local_tag);
    assert_eq!(bye.to_tag().unwrap(), "a1");
    assert_eq!(bye.header(Name::Reason).unwrap(), CLEARING);
    assert_eq!(bye.header(Name::MaxForwards).unwrap(), "70");
    assert!(bye.via().unwrap().unique_branch().is_some());
    assert!(bye.via().unwrap().wants_rport());
    assert_eq!(bye.via().unwrap().host(), "192.0.2.1");
    assert_eq!(rig.leg.state(), State::Terminating);
    rig.respond(&actions[0], 200, "");
    assert_eq!(rig.events(), [ended(Party::Local, Cause::HungUp)]);
}

#[test]
fn rfc3261_15_bye_waits_for_the_ack() {
    let mut rig = Rig::new();
    rig.accept();
    rig.done();
    rig.leg.hang_up(Some(CLEARING), rig.now);
    assert_eq!(rig.words(), [""; 0]);
    rig.ack(1);
    assert_eq!(rig.words(), ["BYE"]);
}

#[test]
fn rfc3261_15_or_for_the_end_of_the_transaction() {
    let mut rig = Rig::new();
    rig.accept();
    rig.leg.hang_up(None, rig.now);
    assert_eq!(rig.run(33.0).last().unwrap(), &(32.0, "BYE".to_owned()));
    rig.leg.handle_failure(Purpose::Bye, Failure::Timeout, rig.now);
    assert_eq!(rig.events(), [ended(Party::Local, Cause::HungUp)]);
    assert_eq!(rig.leg.poll_timeout(), None);
}

#[test]
fn rfc3261_12_2_1_1_the_route_set_leads_our_requests() {
    let routes = "Record-Route: <sip:192.0.2.2:5080;lr>, <sip:192.0.2.8;lr>\r\n";
    let mut rig = Rig::with(&invite(routes), TransportKind::Udp);
    rig.accept();
    rig.ack(1);
    rig.done();
    rig.leg.hang_up(None, rig.now);
    let actions = rig.actions();
    let routes: Vec<String> =
        message_of(&actions[0]).list(Name::Route).map(|route| route.into_owned()).collect();
    assert_eq!(routes, ["<sip:192.0.2.2:5080;lr>", "<sip:192.0.2.8;lr>"]);
    assert_eq!(remote_of(&actions[0]), "192.0.2.2:5080");
}

#[test]
fn a_route_that_names_a_host_the_peer_was_not_heard_from_does_not_aim_us_at_it() {
    let mut rig =
        Rig::with(&invite("Record-Route: <sip:192.0.2.9:5080;lr>\r\n"), TransportKind::Udp);
    rig.accept();
    rig.ack(1);
    rig.done();
    rig.leg.hang_up(None, rig.now);
    assert_eq!(remote_of(&rig.actions()[0]), "192.0.2.2:5062");
}

#[test]
fn rfc3261_12_2_1_1_a_strict_router_gets_the_request_uri() {
    let routes = "Record-Route: <sip:192.0.2.9>\r\n";
    let mut rig = Rig::with(&invite(routes), TransportKind::Udp);
    rig.accept();
    rig.ack(1);
    rig.done();
    rig.leg.hang_up(None, rig.now);
    let bye = rig.only_message();
    assert_eq!(bye.request_uri_bytes(), b"sip:192.0.2.9");
    assert_eq!(bye.header(Name::Route).unwrap(), "<sip:alice@192.0.2.2:5070>");
}

#[test]
fn a_request_goes_to_the_contact_or_behind_nat_to_where_the_peer_was_heard() {
    for (contact, kind, remote) in [
        ("192.0.2.2:5070", TransportKind::Udp, "192.0.2.2:5070"),
        ("10.0.0.7:5070", TransportKind::Udp, "192.0.2.2:5062"),
        ("phone.invalid", TransportKind::Udp, "192.0.2.2:5062"),
        ("192.0.2.2:5070;transport=sctp", TransportKind::Udp, "192.0.2.2:5070"),
        ("192.0.2.2:5070", TransportKind::Tcp, "192.0.2.2:5062"),
        ("b1x.invalid;transport=ws", TransportKind::Wss, "192.0.2.2:5062"),
    ] {
        let mut rig = Rig::with(&invite("").replace("192.0.2.2:5070", contact), kind);
        rig.accept();
        rig.ack(1);
        rig.done();
        rig.leg.hang_up(None, rig.now);
        assert_eq!(remote_of(&rig.actions()[0]), remote, "{contact}");
    }
}

#[test]
fn rfc3261_15_1_2_the_bye_of_the_peer_gets_200_and_its_reason_is_told() {
    let mut rig = Rig::confirmed();
    rig.receive("BYE", "Reason: Q.850;cause=16\r\n", "");
    assert_eq!(rig.words(), ["200"]);
    let reason = Some("Q.850;cause=16".to_owned());
    assert_eq!(rig.events(), [Event::Ended { by: Party::Remote, cause: Cause::HungUp, reason }]);
    assert_eq!(rig.leg.state(), State::Terminated);
}

#[test]
fn rfc3326_2_reasons_on_several_lines_are_one_list() {
    let mut rig = Rig::confirmed();
    rig.receive("BYE", "Reason: SIP;cause=486;text=\"Busy\"\r\nReason: Q.850;cause=17\r\n", "");
    let reason = Some("SIP;cause=486;text=\"Busy\", Q.850;cause=17".to_owned());
    assert_eq!(rig.events(), [Event::Ended { by: Party::Remote, cause: Cause::HungUp, reason }]);
}

#[test]
fn rfc3261_15_1_2_a_bye_before_the_answer_ends_the_invite_with_487() {
    let mut rig = Rig::new();
    rig.leg.ring(rig.now).unwrap();
    rig.receive("BYE", "", "");
    assert_eq!(rig.words(), ["180", "200", "487"]);
    assert_eq!(rig.events(), [ended(Party::Remote, Cause::HungUp)]);
    assert_eq!(rig.leg.poll_timeout(), None);
}

#[test]
fn rfc3261_15_1_2_a_request_that_waits_when_the_dialog_ends_gets_487() {
    let mut rig = Rig::confirmed();
    rig.receive("INVITE", "", "v=0 hold");
    rig.leg.hang_up(None, rig.now);
    assert_eq!(rig.words(), ["BYE", "487"]);
}

#[test]
fn byes_that_cross_end_the_leg_once() {
    let mut rig = Rig::confirmed();
    rig.leg.hang_up(None, rig.now);
    rig.receive("BYE", "", "");
    rig.leg.handle_failure(Purpose::Bye, Failure::Timeout, rig.now);
    assert_eq!(rig.words(), ["BYE", "200"]);
    assert_eq!(rig.events(), [ended(Party::Local, Cause::HungUp)]);
}

#[test]
fn rfc3261_9_2_cancel_before_the_final_response_gives_487() {
    let mut rig = Rig::new();
    rig.leg.ring(rig.now).unwrap();
    let id = rig.invite_id();
    rig.cancel(id);
    assert_eq!(rig.words(), ["180", "487"]);
    let reason = Some("SIP;cause=200".to_owned());
    assert_eq!(rig.events(), [Event::Ended { by: Party::Remote, cause: Cause::Cancelled, reason }]);
}

#[test]
fn rfc3261_9_2_cancel_after_the_final_response_has_no_effect() {
    let mut rig = Rig::new();
    rig.accept();
    let id = rig.invite_id();
    rig.cancel(id);
    assert_eq!(rig.words(), ["200"]);
    assert_eq!(rig.leg.state(), State::Answered);
    assert!(rig.events().is_empty());
}

#[test]
fn a_closed_stream_ends_a_leg_that_is_not_answered() {
    let mut rig = Rig::with(&invite(""), TransportKind::Ws);
    rig.leg.handle_flow_closed(FlowId(TransportKind::Ws as u64), rig.now);
    assert_eq!(rig.words(), ["480"], "the transaction still needs its end");
    assert_eq!(rig.events(), [ended(Party::Remote, Cause::FlowClosed)]);
}

#[test]
fn a_closed_stream_leaves_an_answered_leg_until_the_call_gives_up() {
    let mut rig = Rig::with(&invite(""), TransportKind::Ws);
    rig.accept();
    rig.ack(1);
    rig.done();
    rig.events();
    rig.leg.handle_flow_closed(FlowId(77), rig.now);
    assert!(!rig.leg.is_flow_lost(), "another connection");
    rig.leg.handle_flow_closed(FlowId(TransportKind::Ws as u64), rig.now);
    assert!(rig.leg.is_flow_lost());
    assert!(rig.events().is_empty());
    rig.leg.hang_up(None, rig.now);
    let left = rig.actions();
    assert!(matches!(&left[..], [Action::Farewell { .. }]), "nobody to send a BYE to: {left:?}");
    assert_eq!(rig.events(), [ended(Party::Remote, Cause::FlowClosed)]);
}

#[test]
fn rfc3261_18_1_1_a_phone_whose_stream_is_closed_is_connected_to_for_its_bye() {
    let named = invite("").replace("alice@192.0.2.2:5070", "alice@198.51.100.7:5070");
    let mut rig = Rig::with(&invite(""), TransportKind::Tcp);
    let mut third = Rig::with(&named, TransportKind::Tcp);
    for rig in [&mut rig, &mut third] {
        rig.accept();
        rig.ack(1);
        rig.done();
        rig.events();
        assert_eq!(rig.leg.way_back(), None, "it is there");
        rig.leg.handle_flow_closed(FlowId(TransportKind::Tcp as u64), rig.now);
    }
    let hop = rig.leg.way_back().unwrap();
    assert_eq!((hop.host.to_string(), hop.port), ("192.0.2.2".to_owned(), Some(5070)));
    assert_eq!(hop.transport, TransportKind::Tcp, "as the Via says");
    rig.leg.hang_up(None, rig.now);
    assert_eq!(rig.words(), ["BYE"]);
    assert_eq!(third.leg.way_back(), None, "not where it was heard from");
    third.leg.hang_up(None, third.now);
    assert!(matches!(third.actions()[..], [Action::Farewell { .. }]));
}

#[test]
fn a_peer_that_comes_back_on_another_connection_keeps_its_leg() {
    let mut rig = Rig::with(&invite(""), TransportKind::Ws);
    rig.accept();
    rig.ack(1);
    rig.leg.handle_flow_closed(FlowId(TransportKind::Ws as u64), rig.now);
    rig.kind = TransportKind::Wss;
    rig.receive("UPDATE", "", "");
    rig.done();
    assert!(!rig.leg.is_flow_lost());
    rig.leg.hang_up(None, rig.now);
    assert!(
        matches!(&rig.actions()[..], [Action::Request { flow, .. }] if flow.kind == TransportKind::Wss)
    );
}

#[test]
fn hanging_up_before_the_answer_refuses_the_invite() {
    let mut rig = Rig::new();
    rig.leg.hang_up(Some(CLEARING), rig.now);
    let response = rig.only_message();
    assert_eq!(response.status(), Some(480));
    assert_eq!(response.header(Name::Reason).unwrap(), CLEARING);
    rig.leg.hang_up(None, rig.now);
    assert_eq!(rig.events().len(), 1);
}

#[test]
fn an_invite_whose_transaction_ended_unanswered_ends_the_leg() {
    let mut rig = Rig::new();
    let id = rig.invite_id();
    rig.leg.handle_unanswered(id, rig.now);
    assert_eq!(rig.words(), [""; 0]);
    assert_eq!(rig.events(), [ended(Party::Local, Cause::Unanswered)]);
}

fn remote_of(action: &Action) -> String {
    match action {
        Action::Request { flow, .. } => flow.remote.to_string(),
        other => panic!("no request: {other:?}"),
    }
}

#[test]
fn rfc5626_4_4_a_bye_that_went_into_a_dead_connection_reaches_a_peer_that_is_back() {
    let ws = TransportKind::Ws;
    let hung_up = || {
        let mut rig = Rig::with(&invite(""), ws);
        rig.accept();
        rig.ack(1);
        rig.actions();
        rig.leg.hang_up(Some("Q.850;cause=16"), rig.now);
        let bye = rig.actions().remove(0);
        (rig, bye)
    };
    let says_why = |bytes: bytes::Bytes| parse(bytes).header(Name::Reason).is_some();
    // The page is back before anybody knows that the old connection is dead.
    let (mut rig, _) = hung_up();
    let mut moved = flow(ws);
    moved.id = FlowId(99);
    rig.leg.handle_peer_moved(moved);
    let [Action::Request { bytes, flow, .. }] = &rig.actions()[..] else { panic!("no BYE") };
    assert_eq!(flow.id, FlowId(99));
    assert!(bytes.starts_with(b"BYE ") && says_why(bytes.clone()));
    // It is back later.
    let (mut rig, bye) = hung_up();
    let Action::Request { purpose, .. } = bye else { panic!("no BYE") };
    rig.leg.handle_flow_closed(FlowId(ws as u64), rig.now);
    rig.leg.handle_failure(purpose, Failure::Transport, rig.now);
    let [Action::Farewell { bytes }] = &rig.actions()[..] else { panic!("no farewell") };
    assert!(bytes.starts_with(b"BYE ") && says_why(bytes.clone()));
    assert_eq!(rig.leg.state(), State::Terminated);
}

#[test]
fn rfc3263_4_1_a_bye_goes_by_udp_where_the_peer_cannot_be_connected_to() {
    for (contact, kind, expected) in [
        ("192.0.2.2:5070", TransportKind::Tcp, &["TCP", "TCP", "UDP"][..]),
        ("192.0.2.2:5070;transport=tcp", TransportKind::Tcp, &["TCP", "TCP"]),
        ("192.0.2.2:5070", TransportKind::Tls, &["TLS", "TLS"]),
        ("10.0.0.7:5070", TransportKind::Tcp, &[]),
    ] {
        let mut rig = Rig::with(&invite("").replace("192.0.2.2:5070", contact), kind);
        rig.accept();
        rig.ack(1);
        rig.done();
        rig.leg.handle_flow_closed(FlowId(kind as u64), rig.now);
        rig.leg.hang_up(None, rig.now);
        let mut tried = Vec::new();
        while let Some(Action::Request { bytes, .. }) = rig.actions().first() {
            let hop = rig.leg.way_back().unwrap();
            let via = parse(bytes.clone()).via().unwrap();
            assert_eq!(via.kind(), Some(hop.transport));
            tried.push(hop.transport.via_token());
            assert!(tried.len() < 9, "for ever: {tried:?}");
            rig.leg.handle_failure(Purpose::Bye, Failure::Transport, rig.now);
        }
        assert_eq!(tried, expected, "{contact}");
        assert_eq!(rig.leg.state(), State::Terminated);
    }
}

#[test]
fn a_peer_whose_connection_closes_while_it_is_probed_is_asked_once_more_on_another() {
    let tcp = TransportKind::Tcp;
    let probed = |contact: &str| {
        let mut rig = Rig::with(&invite("").replace("192.0.2.2:5070", contact), tcp);
        rig.accept();
        rig.ack(1);
        rig.done();
        rig.leg.probe();
        assert_eq!(rig.words(), ["OPTIONS"]);
        rig
    };
    let fail = |rig: &mut Rig| {
        rig.leg.handle_failure(Purpose::Probe, Failure::Transport, rig.now);
        (rig.leg.state() == State::Confirmed).then(|| rig.words())
    };
    let again = Some(vec!["OPTIONS".to_owned()]);
    // It can be connected to, and may close that connection, too.
    let mut rig = probed("192.0.2.2:5070");
    rig.leg.handle_flow_closed(FlowId(tcp as u64), rig.now);
    assert_eq!(fail(&mut rig), again);
    let mut made = flow(tcp);
    made.id = FlowId(98);
    rig.leg.handle_flow_moved(made);
    rig.leg.handle_flow_closed(made.id, rig.now);
    assert_eq!(fail(&mut rig), None, "for ever");
    // It has come back before the other connection closed.
    let mut rig = probed("10.0.0.7:5070");
    made.id = FlowId(99);
    rig.leg.handle_peer_moved(made);
    assert_eq!(fail(&mut rig), again);
    // The call is over: whether it is there concerns nobody.
    let mut rig = probed("192.0.2.2:5070");
    rig.leg.hang_up(None, rig.now);
    assert_eq!(rig.words(), ["BYE"]);
    rig.leg.handle_flow_closed(FlowId(tcp as u64), rig.now);
    assert_eq!((fail(&mut rig), rig.words()), (None, vec![]));
    assert_eq!(rig.leg.state(), State::Terminating, "the BYE has its own answer");
    // Nobody knows where it is.
    let mut rig = probed("10.0.0.7:5070");
    rig.leg.handle_flow_closed(FlowId(tcp as u64), rig.now);
    assert_eq!(fail(&mut rig), None);
}

#[test]
fn a_second_hang_up_leaves_a_bye_alone_that_is_on_its_way() {
    let mut rig = Rig::with(&invite(""), TransportKind::Tcp);
    rig.accept();
    rig.ack(1);
    rig.done();
    rig.leg.handle_flow_closed(FlowId(TransportKind::Tcp as u64), rig.now);
    rig.leg.hang_up(Some(CLEARING), rig.now);
    assert_eq!(rig.words(), ["BYE"]);
    rig.leg.hang_up(None, rig.now);
    assert_eq!(rig.words(), [""; 0]);
    assert_eq!(rig.leg.state(), State::Terminating);
}

#[test]
fn rfc3261_15_a_page_that_lost_its_connection_before_its_ack_may_come_back_for_its_bye() {
    let ws = TransportKind::Ws;
    let hung_up = || {
        let mut rig = Rig::with(&invite(""), ws);
        rig.accept();
        rig.done();
        rig.leg.handle_flow_closed(FlowId(ws as u64), rig.now);
        rig.leg.hang_up(Some(CLEARING), rig.now);
        assert_eq!(rig.leg.state(), State::AnsweredToEnd);
        rig
    };
    // It is back in time, and has its ACK.
    let mut rig = hung_up();
    let mut moved = flow(ws);
    moved.id = FlowId(99);
    rig.leg.handle_peer_moved(moved);
    rig.ack(1);
    assert_eq!(rig.words(), ["BYE"]);
    // It is not.
    let mut rig = hung_up();
    let said = rig.run(40.0);
    assert_eq!(said.last().map(|(_, what)| what.as_str()), Some("BYE"), "{said:?}");
    rig.leg.handle_failure(Purpose::Bye, Failure::Transport, rig.now);
    assert!(matches!(&rig.actions()[..], [Action::Farewell { .. }]));
    assert_eq!(rig.leg.state(), State::Terminated);
}
