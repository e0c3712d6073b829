//! Rules of the server side.

use transaction::{Config, Error, Event};
use transport::{Name, TransportKind};

use super::support::{
    Rig, first_line, flow, header, message, request, request_with, response, times,
};

#[test]
fn rfc3261_17_2_1_an_invite_gets_100_after_200_ms() {
    let mut rig = Rig::new();
    rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    let sent = rig.run(1.0);
    assert_eq!(sent, [(0.2, "SIP/2.0 100 Trying".to_owned())]);
    rig.receive(&request("INVITE", BRANCH), TransportKind::Udp);
    assert_eq!(rig.sent().len(), 1, "a retransmission gets it again");
    assert_eq!(rig.layer.counters().request_retransmissions_received, 1);
}

#[test]
fn rfc3261_17_2_1_a_quick_user_spares_the_100() {
    let mut rig = Rig::new();
    let (id, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    rig.respond(id, &invite, 180);
    assert_eq!(rig.run(10.0), [(0.0, "SIP/2.0 180 Ringing".to_owned())]);
}

#[test]
fn rfc3261_17_2_1_timer_g_doubles_up_to_t2_until_timer_h() {
    let mut rig = Rig::new();
    let (id, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    rig.respond(id, &invite, 486);
    let sent = rig.run(40.0);
    let expected = [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5];
    assert_eq!(times(&sent), expected);
    assert!(matches!(rig.events()[..], [Event::Unanswered { .. }, Event::ServerTerminated { .. }]));
}

#[test]
fn callers_that_may_be_elsewhere_are_sent_three_times_what_came_but_for_a_few() {
    let mut rig = Rig::new();
    let texts: Vec<_> = (0..150).map(|n| request("INVITE", &format!("{BRANCH}{n}"))).collect();
    let mut most = 0;
    for text in &texts {
        let (id, invite) = rig.receive_new(text, TransportKind::Udp);
        most = 3 * text.len() / response(&invite, 486).len();
        rig.respond(id, &invite, 486);
    }
    assert!(most >= 3, "lost once or twice, it still arrives");
    assert_eq!(rig.run(31.9).len(), 100 * 11 + 50 * most);
    rig.receive(&texts[149], TransportKind::Udp);
    assert_eq!(rig.sent().len(), 1, "who asks is answered");
    rig.run(1.0);
    rig.events();
    let (id, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    rig.respond(id, &invite, 486);
    assert_eq!(rig.run(40.0).len(), 11, "there is room for others again");
}

#[test]
fn rfc3261_17_2_1_the_ack_of_a_failure_is_absorbed() {
    let mut rig = Rig::new();
    let (id, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    rig.respond(id, &invite, 486);
    for _ in 0..2 {
        rig.receive(&request("ACK", BRANCH), TransportKind::Udp);
    }
    assert!(rig.events().is_empty());
    assert_eq!(rig.run(4.9).len(), 1);
    assert_eq!(rig.layer.len(), 1);
    rig.run(0.2);
    assert!(rig.layer.is_empty());
    assert_eq!(rig.layer.poll_timeout(), None);
}

#[test]
fn rfc3261_17_2_1_on_a_stream_a_failure_is_sent_once_and_ends_with_its_ack() {
    let mut rig = Rig::new();
    let (id, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Ws);
    rig.respond(id, &invite, 404);
    assert_eq!(rig.run(20.0).len(), 1);
    rig.receive(&request("ACK", BRANCH), TransportKind::Ws);
    assert!(rig.layer.is_empty());
}

#[test]
fn rfc6026_8_5_a_2xx_is_forwarded_as_often_as_the_user_gives_it() {
    let mut rig = Rig::new();
    let (id, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    rig.respond(id, &invite, 200);
    rig.respond(id, &invite, 200);
    assert_eq!(rig.sent().len(), 2);
    rig.receive(&request("INVITE", BRANCH), TransportKind::Udp);
    assert_eq!(rig.run(31.9), [], "retransmissions of the INVITE are absorbed");
    let late = rig.layer.respond(id, 486, response(&invite, 486), rig.now);
    assert_eq!(late, Err(Error::AlreadyAnswered { status: 486 }));
    rig.run(0.2);
    let gone = rig.layer.respond(id, 200, response(&invite, 200), rig.now);
    assert_eq!(gone, Err(Error::Ended));
}

#[test]
fn rfc3261_13_3_1_4_the_ack_of_a_2xx_reaches_the_user() {
    let mut rig = Rig::new();
    let (id, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    rig.respond(id, &invite, 200);
    rig.receive(&request("ACK", "z9hG4bKnew"), TransportKind::Udp);
    rig.receive(&request("ACK", BRANCH), TransportKind::Udp);
    assert!(matches!(rig.events()[..], [Event::Ack { .. }, Event::Ack { .. }]));
}

#[test]
fn rfc3261_17_2_2_a_retransmission_gets_the_last_response() {
    let mut rig = Rig::new();
    let (id, options) = rig.receive_new(&request("OPTIONS", BRANCH), TransportKind::Udp);
    rig.receive(&request("OPTIONS", BRANCH), TransportKind::Udp);
    assert_eq!(rig.sent(), [], "nothing to repeat yet");
    rig.respond(id, &options, 200);
    rig.receive(&request("OPTIONS", BRANCH), TransportKind::Udp);
    let sent = rig.transmits();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1]);
    assert_eq!(rig.layer.counters().response_retransmissions_sent, 1);
    assert!(rig.events().is_empty());
}

#[test]
fn rfc3261_18_2_2_answers_follow_a_peer_to_its_new_connection() {
    let mut rig = Rig::new();
    let (id, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Tcp);
    let old = flow(TransportKind::Tcp);
    let new = transport::Flow { id: transport::FlowId(99), ..old };
    rig.respond(id, &invite, 180);
    assert_eq!(rig.transmits()[0].flow, old);
    rig.layer.move_server(id, new);
    let again = rig.transmits();
    assert_eq!((again.len(), again[0].flow), (1, new), "it may have been lost");
    rig.respond(id, &invite, 486);
    assert_eq!(rig.transmits()[0].flow, new);
    rig.layer.move_server(id, flow(TransportKind::Udp));
    rig.receive(&request("INVITE", BRANCH), TransportKind::Tcp);
    assert_eq!(rig.transmits()[0].flow, new, "the request came by another transport");
}

#[test]
fn rfc3261_17_2_2_timer_j_is_64_t1_on_udp_and_nothing_on_streams() {
    let mut rig = Rig::new();
    let (id, bye) = rig.receive_new(&request("BYE", BRANCH), TransportKind::Udp);
    rig.respond(id, &bye, 200);
    rig.run(31.9);
    assert_eq!(rig.layer.len(), 1);
    rig.run(0.2);
    assert!(rig.layer.is_empty());
    let (id, bye) = rig.receive_new_after_end(&request("BYE", BRANCH), TransportKind::Tls);
    rig.respond(id, &bye, 200);
    assert!(rig.layer.is_empty());
}

#[test]
fn rfc4320_4_2_nobody_is_answered_after_timer_f() {
    let mut rig = Rig::new();
    let (id, options) = rig.receive_new(&request("OPTIONS", BRANCH), TransportKind::Udp);
    rig.run(32.0);
    assert!(matches!(rig.events()[..], [Event::Unanswered { .. }, Event::ServerTerminated { .. }]));
    let late = rig.layer.respond(id, 200, response(&options, 200), rig.now);
    assert_eq!(late, Err(Error::Ended));
}

#[test]
fn rfc3261_17_2_3_sent_by_and_method_are_part_of_the_match() {
    let mut rig = Rig::new();
    let first = request_with("OPTIONS", BRANCH, "");
    rig.receive_new(&first, TransportKind::Udp);
    let other_host = first.replace("UDP 192.0.2.2:5062", "UDP 192.0.2.3:5062").replace("a1", "a2");
    rig.receive_new(&other_host, TransportKind::Udp);
    rig.receive_new(&request("INFO", BRANCH), TransportKind::Udp);
    assert_eq!(rig.layer.len(), 3);
}

#[test]
fn rfc3261_17_2_3_a_branch_without_the_cookie_is_matched_by_the_other_fields() {
    let mut rig = Rig::new();
    let (id, invite) = rig.receive_new(&request("INVITE", "1"), TransportKind::Udp);
    rig.receive(&request("INVITE", "1"), TransportKind::Udp);
    assert!(rig.events().is_empty());
    rig.respond(id, &invite, 486);
    let ack = request("ACK", "1")
        .replace("<sip:bob@example.com>\r\n", "<sip:bob@example.com>;tag=b1\r\n");
    rig.receive(&ack, TransportKind::Udp);
    assert!(rig.events().is_empty(), "the ACK is absorbed although its To has our tag");
    let next = request("INVITE", "1").replace("CSeq: 7", "CSeq: 8");
    rig.receive_new(&next, TransportKind::Udp);
}

#[test]
fn rfc3261_9_2_cancel_is_answered_and_names_its_invite() {
    let mut rig = Rig::new();
    let (id, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    rig.respond(id, &invite, 180);
    rig.sent();
    for _ in 0..2 {
        rig.receive(&request("CANCEL", BRANCH), TransportKind::Udp);
    }
    let sent = rig.transmits();
    assert_eq!(sent.len(), 2, "the retransmission gets the same response");
    assert_eq!(header(&sent[0].bytes, Name::To), "<sip:bob@example.com>;tag=b1");
    let events = rig.events();
    assert!(matches!(events[..], [Event::Cancel { invite, .. }] if invite == id));
    rig.respond(id, &invite, 487);
    assert_eq!(rig.sent().len(), 1);
}

#[test]
fn rfc3261_9_2_cancel_after_the_final_response_is_answered_and_not_told() {
    let mut rig = Rig::new();
    let (id, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    rig.respond(id, &invite, 200);
    rig.sent();
    let cancel = message(&request("CANCEL", BRANCH));
    rig.layer.handle_message(cancel, flow(TransportKind::Udp), rig.now);
    let answer = rig.layer.poll_transmit().unwrap().bytes;
    assert_eq!(first_line(&answer), "SIP/2.0 200 OK");
    assert_eq!(header(&answer, Name::To), "<sip:bob@example.com>;tag=b1", "the tag of the 200");
    assert!(rig.events().is_empty());
}

#[test]
fn a_retransmission_is_known_and_a_new_request_is_not() {
    let mut rig = Rig::new();
    let (_, invite) = rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    assert!(rig.layer.has_server(&invite));
    assert!(!rig.layer.has_server(&message(&request("OPTIONS", BRANCH))));
}

#[test]
fn rfc3261_9_2_cancel_without_an_invite_gets_481() {
    let mut rig = Rig::new();
    rig.receive(&request("CANCEL", BRANCH), TransportKind::Udp);
    assert!(rig.sent()[0].1.starts_with("SIP/2.0 481 "));
    assert!(rig.events().is_empty());
    assert_eq!(rig.layer.counters().cancels_unmatched, 1);
    assert!(rig.layer.is_empty(), "nothing is remembered of it");
}

#[test]
fn rfc3261_8_2_2_2_a_request_that_came_by_two_ways_is_answered_once() {
    let mut rig = Rig::new();
    let invite = request("INVITE", BRANCH);
    rig.receive_new(&invite, TransportKind::Udp);
    rig.receive(&invite.replace("branch=z9hG4bK", "branch=z9hG4bKother"), TransportKind::Udp);
    assert!(rig.sent()[0].1.starts_with("SIP/2.0 482 "));
    assert!(rig.events().is_empty());
    assert_eq!((rig.layer.counters().merged_requests, rig.layer.len()), (1, 1));
}

#[test]
fn rfc3261_18_2_2_without_rport_the_response_goes_to_the_port_of_sent_by() {
    let mut rig = Rig::new();
    let text = request("OPTIONS", BRANCH).replace("5062;rport", "7000");
    let (id, options) = rig.receive_new(&text, TransportKind::Udp);
    rig.respond(id, &options, 200);
    assert_eq!(rig.transmits()[0].flow.remote.port(), 7000);
}

#[test]
fn at_the_bound_a_request_is_handed_back_and_nothing_grows() {
    let mut rig = Rig::with(Config { transactions_max: 2, ..Config::default() });
    rig.receive_new(&request("INVITE", BRANCH), TransportKind::Udp);
    rig.receive_new(&request("OPTIONS", "z9hG4bK2"), TransportKind::Udp);
    rig.receive(&request("INVITE", "z9hG4bK3"), TransportKind::Udp);
    assert!(matches!(rig.events()[..], [Event::Overflow { .. }]));
    rig.receive(&request("CANCEL", BRANCH), TransportKind::Udp);
    assert!(matches!(rig.events()[..], [Event::Cancel { .. }]), "a CANCEL frees and is served");
    assert_eq!((rig.layer.len(), rig.layer.counters().overflows), (2, 1));
}

#[test]
fn a_name_of_an_ended_transaction_does_not_reach_its_successor() {
    let mut rig = Rig::new();
    let (old, options) = rig.receive_new(&request("OPTIONS", BRANCH), TransportKind::Tcp);
    rig.respond(old, &options, 200);
    let (new, _) = rig.receive_new_after_end(&request("OPTIONS", "z9hG4bK2"), TransportKind::Tcp);
    assert_ne!(old, new);
    assert_eq!(rig.layer.respond(old, 200, response(&options, 200), rig.now), Err(Error::Ended));
    let range = rig.layer.respond(new, 99, response(&options, 200), rig.now);
    assert_eq!(range, Err(Error::StatusRange { status: 99 }));
}

#[test]
fn a_message_that_cannot_be_matched_is_counted() {
    let mut rig = Rig::new();
    let text = request("OPTIONS", BRANCH).replace("SIP/2.0/UDP 192.0.2.2:5062;rport;branch=", "!");
    rig.layer.handle_message(message(&text), super::support::flow(TransportKind::Udp), rig.now);
    assert_eq!(rig.layer.counters().messages_unmatchable, 1);
    assert!(rig.layer.is_empty());
}

const BRANCH: &str = "z9hG4bKtheirs1";

impl Rig {
    /// As `receive_new`, with the end of an earlier transaction told before.
    fn receive_new_after_end(
        &mut self,
        text: &str,
        kind: TransportKind,
    ) -> (transaction::ServerId, transport::Message) {
        assert!(matches!(self.events()[..], [Event::ServerTerminated { .. }]));
        self.receive_new(text, kind)
    }
}
