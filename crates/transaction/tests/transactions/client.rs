//! Rules of the client side.

use bytes::Bytes;
use transaction::{ClientId, Config, Error, Event};
use transport::{Flow, FlowId, Name, TransportKind};

use super::support::{
    Rig, first_line, flow, header, message, request, request_with, response, times,
};

#[test]
fn rfc3261_17_1_1_2_timer_a_doubles() {
    let mut rig = Rig::new();
    let id = start(&mut rig, &request("INVITE", BRANCH), TransportKind::Udp);
    let sent = rig.run(40.0);
    assert_eq!(times(&sent), [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]);
    assert!(ended_by_timeout(&mut rig, id));
    assert_eq!(rig.layer.counters().request_retransmissions_sent, 6);
}

#[test]
fn rfc3261_17_1_1_2_timer_b_ends_an_invite_at_64_t1() {
    let mut rig = Rig::new();
    start(&mut rig, &request("INVITE", BRANCH), TransportKind::Tcp);
    rig.run(31.9);
    assert!(rig.events().is_empty());
    rig.run(0.1);
    assert!(matches!(rig.events()[..], [Event::Timeout { .. }, Event::ClientTerminated { .. }]));
}

#[test]
fn rfc3261_17_1_1_2_a_reliable_transport_is_not_given_a_request_twice() {
    for (method, kind) in [("INVITE", TransportKind::Tcp), ("BYE", TransportKind::Ws)] {
        let mut rig = Rig::new();
        start(&mut rig, &request(method, BRANCH), kind);
        assert_eq!(times(&rig.run(40.0)), [0.0]);
    }
}

#[test]
fn rfc3261_17_1_1_2_a_provisional_response_stops_timer_a() {
    let mut rig = Rig::new();
    start(&mut rig, &request("INVITE", BRANCH), TransportKind::Udp);
    rig.sent();
    answer(&mut rig, "INVITE", 180);
    assert_eq!(rig.run(100.0), []);
    assert!(matches!(rig.events()[..], [Event::Response { .. }]));
}

#[test]
fn rfc3261_17_1_1_3_ack_of_a_failure_repeats_the_invite_and_takes_its_to() {
    let mut rig = Rig::new();
    let route = "Route: <sip:192.0.2.9;lr>\r\n";
    start(&mut rig, &request_with("INVITE", BRANCH, route), TransportKind::Udp);
    rig.sent();
    answer(&mut rig, "INVITE", 486);
    let ack = rig.transmits().pop().unwrap().bytes;
    assert_eq!(first_line(&ack), "ACK sip:bob@example.com SIP/2.0");
    assert!(header(&ack, Name::Via).ends_with(&format!("branch={BRANCH}")));
    assert_eq!(header(&ack, Name::To), "<sip:bob@example.com>;tag=b1");
    assert_eq!(header(&ack, Name::CSeq), "7 ACK");
    assert_eq!(header(&ack, Name::Route), "<sip:192.0.2.9;lr>");
    assert_eq!(message(&String::from_utf8_lossy(&ack)).vias().count(), 1);
}

#[test]
fn rfc3261_17_1_1_2_a_repeated_failure_gets_the_ack_again_and_is_told_once() {
    let mut rig = Rig::new();
    start(&mut rig, &request("INVITE", BRANCH), TransportKind::Udp);
    rig.sent();
    for _ in 0..3 {
        answer(&mut rig, "INVITE", 404);
    }
    assert_eq!(rig.sent().len(), 3);
    assert!(matches!(rig.events()[..], [Event::Response { .. }]));
    rig.run(31.9);
    assert_eq!(rig.layer.len(), 1);
    rig.run(0.2);
    assert_eq!(rig.layer.len(), 0);
}

#[test]
fn rfc6026_8_4_every_2xx_reaches_the_user_until_timer_m() {
    let mut rig = Rig::new();
    start(&mut rig, &request("INVITE", BRANCH), TransportKind::Ws);
    rig.sent();
    for _ in 0..3 {
        answer(&mut rig, "INVITE", 200);
    }
    let events = rig.events();
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| matches!(event, Event::Response { .. })));
    assert_eq!(rig.sent(), [], "the ACK of a 2xx belongs to the dialog");
    rig.run(32.0);
    assert!(rig.layer.is_empty());
    answer(&mut rig, "INVITE", 200);
    assert_eq!(rig.layer.counters().responses_unmatched, 1);
}

#[test]
fn rfc3261_17_1_2_2_timer_e_doubles_up_to_t2() {
    let mut rig = Rig::new();
    let id = start(&mut rig, &request("BYE", BRANCH), TransportKind::Udp);
    let sent = rig.run(40.0);
    let expected = [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5];
    assert_eq!(times(&sent), expected);
    assert!(ended_by_timeout(&mut rig, id));
}

#[test]
fn rfc3261_17_1_2_2_after_a_provisional_response_timer_e_is_t2() {
    let mut rig = Rig::new();
    start(&mut rig, &request("BYE", BRANCH), TransportKind::Udp);
    rig.sent();
    answer(&mut rig, "BYE", 100);
    assert_eq!(times(&rig.run(12.0)), [0.5, 4.5, 8.5]);
}

#[test]
fn rfc3261_17_1_2_2_timer_k_absorbs_a_repeated_response() {
    let mut rig = Rig::new();
    start(&mut rig, &request("BYE", BRANCH), TransportKind::Udp);
    rig.sent();
    answer(&mut rig, "BYE", 200);
    answer(&mut rig, "BYE", 200);
    assert!(matches!(rig.events()[..], [Event::Response { .. }]));
    rig.run(4.9);
    assert_eq!(rig.layer.len(), 1);
    rig.run(0.2);
    assert!(matches!(rig.events()[..], [Event::ClientTerminated { .. }]));
    assert_eq!(rig.layer.poll_timeout(), None);
}

#[test]
fn rfc3261_17_1_3_the_method_of_cseq_is_part_of_the_match() {
    let mut rig = Rig::new();
    start(&mut rig, &request("INVITE", BRANCH), TransportKind::Udp);
    answer(&mut rig, "CANCEL", 200);
    assert!(rig.events().is_empty());
    assert_eq!(rig.layer.counters().responses_unmatched, 1);
}

#[test]
fn rfc3261_9_1_cancel_is_sent_when_a_provisional_response_comes() {
    let mut rig = Rig::new();
    let id = start(&mut rig, &request("INVITE", BRANCH), TransportKind::Tcp);
    rig.sent();
    rig.layer.cancel(id, Some("SIP;cause=200;text=\"Call completed elsewhere\""), rig.now).unwrap();
    assert_eq!(rig.sent(), []);
    answer(&mut rig, "INVITE", 180);
    let cancel = rig.transmits().pop().unwrap().bytes;
    assert_eq!(first_line(&cancel), "CANCEL sip:bob@example.com SIP/2.0");
    assert_eq!(header(&cancel, Name::CSeq), "7 CANCEL");
    assert!(header(&cancel, Name::Via).ends_with(&format!("branch={BRANCH}")));
    assert!(header(&cancel, Name::Reason).starts_with("SIP;cause=200"));
    assert_eq!(rig.layer.cancel(id, None, rig.now), Ok(()), "a second one is harmless");
    assert_eq!(rig.sent(), []);
}

#[test]
fn rfc3261_9_1_only_the_invite_is_told_of_and_it_ends_64_t1_after_cancel() {
    let mut rig = Rig::new();
    let id = start(&mut rig, &request("INVITE", BRANCH), TransportKind::Udp);
    answer(&mut rig, "INVITE", 180);
    rig.events();
    rig.layer.cancel(id, None, rig.now).unwrap();
    answer(&mut rig, "CANCEL", 200);
    assert!(rig.events().is_empty());
    rig.run(33.0);
    assert!(ended_by_timeout(&mut rig, id));
    assert!(rig.layer.is_empty());
}

#[test]
fn rfc3261_17_1_1_2_an_invite_rings_until_its_user_cancels_it() {
    let mut rig = Rig::new();
    let id = start(&mut rig, &request("INVITE", BRANCH), TransportKind::Tcp);
    answer(&mut rig, "INVITE", 180);
    rig.run(3_600.0);
    rig.layer.cancel(id, None, rig.now).unwrap();
    let sent = rig.run(1.0);
    assert_eq!(sent.last().unwrap().1, "CANCEL sip:bob@example.com SIP/2.0");
    assert_eq!(sent.iter().filter(|(_, line)| line.starts_with("CANCEL")).count(), 1);
}

#[test]
fn rfc3261_17_1_4_a_closed_flow_fails_its_requests_and_no_others() {
    let mut rig = Rig::new();
    let lost = start(&mut rig, &request("INVITE", BRANCH), TransportKind::Tcp);
    start(&mut rig, &request("BYE", "z9hG4bKother"), TransportKind::Ws);
    rig.layer.handle_flow_closed(FlowId(TransportKind::Tcp as u64), rig.now);
    let events = rig.events();
    assert!(matches!(events[..], [
        Event::TransportFailed { id },
        Event::ClientTerminated { id: gone },
    ] if id == lost && gone == lost));
    assert_eq!(rig.layer.len(), 1);
}

#[test]
fn a_closed_flow_leaves_the_successor_of_an_ended_request_alone() {
    let mut rig = Rig::new();
    start(&mut rig, &request("BYE", BRANCH), TransportKind::Tcp);
    answer(&mut rig, "BYE", 200);
    start(&mut rig, &request("BYE", "z9hG4bKother"), TransportKind::Ws);
    rig.events();
    rig.layer.handle_flow_closed(FlowId(TransportKind::Tcp as u64), rig.now);
    assert!(rig.events().is_empty());
}

#[test]
fn rfc3261_18_4_a_request_that_cannot_be_delivered_twice_fails() {
    for method in ["INVITE", "OPTIONS"] {
        let mut rig = Rig::new();
        let text = request(method, BRANCH);
        let id = start(&mut rig, &text, TransportKind::Udp);
        let other = start(&mut rig, &request(method, "z9hG4bKother"), TransportKind::Udp);
        let branch_end = text.find(BRANCH).unwrap() + BRANCH.len();
        undelivered(&mut rig, &text[..branch_end]);
        assert_eq!(failed(&mut rig), [], "{method}: it may be there in a moment");
        rig.run(0.5);
        undelivered(&mut rig, &text[..branch_end]);
        assert_eq!(failed(&mut rig), [id], "{method}");
        undelivered(&mut rig, &text);
        assert_eq!(failed(&mut rig), [], "it is gone");
        rig.run(40.0);
        assert!(ended_by_timeout(&mut rig, other));
        assert!(rig.layer.is_empty());
    }
}

#[test]
fn rfc3261_18_4_an_error_that_names_no_request_counts_for_those_repeated_in_vain() {
    for quote in ["", "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192"] {
        let mut rig = Rig::new();
        let id = start(&mut rig, &request("INVITE", BRANCH), TransportKind::Udp);
        undelivered(&mut rig, quote);
        assert_eq!(failed(&mut rig), [], "whoever forges it comes too early or too late");
        rig.run(0.5);
        let fresh = start(&mut rig, &request("INVITE", "z9hG4bKfresh"), TransportKind::Udp);
        undelivered(&mut rig, quote);
        assert_eq!(failed(&mut rig), [id]);
        rig.run(40.0);
        assert!(ended_by_timeout(&mut rig, fresh));
    }
}

#[test]
fn rfc3261_18_4_an_error_of_another_datagram_fails_nothing() {
    let mut rig = Rig::new();
    let text = request("INVITE", BRANCH);
    let id = start(&mut rig, &text, TransportKind::Udp);
    rig.run(1.0);
    for other in ["ACK", "CANCEL"] {
        undelivered(&mut rig, &request(other, BRANCH));
    }
    undelivered(&mut rig, &request("INVITE", "z9hG4bKguess"));
    let Flow { id: socket, remote, .. } = flow(TransportKind::Udp);
    let elsewhere = "192.0.2.2:5063".parse().unwrap();
    rig.layer.handle_undelivered(socket, elsewhere, text.as_bytes(), rig.now);
    rig.layer.handle_undelivered(FlowId(99), remote, text.as_bytes(), rig.now);
    assert_eq!(failed(&mut rig), []);
    rig.run(40.0);
    assert!(ended_by_timeout(&mut rig, id));
}

#[test]
fn rfc3261_18_4_a_peer_that_has_said_something_is_there() {
    let mut rig = Rig::new();
    start(&mut rig, &request("INVITE", BRANCH), TransportKind::Udp);
    rig.run(1.0);
    answer(&mut rig, "INVITE", 100);
    undelivered(&mut rig, &request("INVITE", BRANCH));
    answer(&mut rig, "INVITE", 486);
    undelivered(&mut rig, &request("INVITE", BRANCH));
    undelivered(&mut rig, "");
    assert_eq!(failed(&mut rig), []);
}

#[test]
fn a_request_within_a_dialog_outlives_an_error_of_the_network() {
    let mut rig = Rig::new();
    let text =
        request("BYE", BRANCH).replace("bob@example.com>\r\n", "bob@example.com>;tag=b1\r\n");
    let id = start(&mut rig, &text, TransportKind::Udp);
    rig.run(1.0);
    undelivered(&mut rig, &text);
    undelivered(&mut rig, "");
    assert_eq!(failed(&mut rig), []);
    rig.run(40.0);
    assert!(ended_by_timeout(&mut rig, id));
}

#[test]
fn what_starts_no_transaction_is_refused() {
    let mut rig = Rig::new();
    let now = rig.now;
    let mut attempt =
        |text: String| rig.layer.request(Bytes::from(text), flow(TransportKind::Udp), now);
    assert_eq!(attempt(request("ACK", BRANCH)), Err(Error::NotARequest));
    assert_eq!(attempt(request("BYE", "old")), Err(Error::NotARequest));
    assert_eq!(attempt("SIP/2.0".to_owned()), Err(Error::NotARequest));
    attempt(request("BYE", BRANCH)).unwrap();
    assert_eq!(attempt(request("BYE", BRANCH)), Err(Error::BranchInUse));
}

#[test]
fn the_bound_holds_for_our_requests() {
    let mut rig = Rig::with(Config { transactions_max: 1, ..Config::default() });
    let id = start(&mut rig, &request("INVITE", BRANCH), TransportKind::Tcp);
    let bytes = Bytes::from(request("BYE", "z9hG4bKother"));
    let refused = rig.layer.request(bytes, flow(TransportKind::Tcp), rig.now);
    assert_eq!(refused, Err(Error::TransactionsMax { transactions_max: 1 }));
    answer(&mut rig, "INVITE", 180);
    rig.sent();
    rig.layer.cancel(id, None, rig.now).unwrap();
    assert_eq!(rig.sent().len(), 1, "a CANCEL goes out all the same");
    assert_eq!(rig.layer.len(), 1);
}

const BRANCH: &str = "z9hG4bKours1";

fn start(rig: &mut Rig, text: &str, kind: TransportKind) -> ClientId {
    rig.layer.request(Bytes::from(text.to_owned()), flow(kind), rig.now).unwrap()
}

/// Receives a response to the request with [`BRANCH`].
fn answer(rig: &mut Rig, method: &str, status: u16) {
    let bytes = response(&message(&request(method, BRANCH)), status);
    rig.receive(&String::from_utf8_lossy(&bytes), TransportKind::Udp);
}

/// The network says that what began like this did not reach the peer.
fn undelivered(rig: &mut Rig, quote: &str) {
    let Flow { id, remote, .. } = flow(TransportKind::Udp);
    rig.layer.handle_undelivered(id, remote, quote.as_bytes(), rig.now);
}

/// The requests that have failed for the network.
fn failed(rig: &mut Rig) -> Vec<ClientId> {
    let failed = rig.events().into_iter().filter_map(|event| match event {
        Event::TransportFailed { id } => Some(id),
        _ => None,
    });
    failed.collect()
}

fn ended_by_timeout(rig: &mut Rig, id: ClientId) -> bool {
    let events = rig.events();
    matches!(events[..], [.., Event::Timeout { id: timed_out }, Event::ClientTerminated { id: gone }]
        if timed_out == id && gone == id)
}
