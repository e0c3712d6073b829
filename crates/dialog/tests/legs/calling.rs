//! Calls of ours: responses from one or more forks, CANCEL, and what the peer asks meanwhile.

use dialog::state::State;
use dialog::{Action, Body, Cause, Event, Failure, Party, Purpose, Redirection, Settings};
use transport::{Flow, FlowId, Message, Name, TransportKind};

use super::support::{Rig, ended, flow, message_of, outgoing, parse, what};

#[test]
fn rfc3261_8_1_1_the_invite_says_who_calls_whom() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.only_message();
    let header = |name| invite.header(name).unwrap().into_owned();
    assert_eq!(invite.request_uri().unwrap().unwrap().as_str(), "sip:bob@192.0.2.2:5062");
    let tag = rig.leg.id().local_tag.clone();
    let from = format!(r#""Alice \"A\" Smith" <sip:alice%20smith@192.0.2.1:5060>;tag={tag}"#);
    assert_eq!(header(Name::From), from);
    assert_eq!(header(Name::To), "<sip:bob@192.0.2.2:5062>");
    assert_eq!(header(Name::MaxForwards), "42");
    assert_eq!(header(Name::Contact), "<sip:192.0.2.1:5060>");
    assert_eq!(header(Name::Subject), "hello");
    assert_eq!(header(Name::Supported), "timer");
    assert_eq!(header(Name::SessionExpires), "1800");
    assert_eq!(header(Name::MinSe), "90");
    assert!(header(Name::CallId).starts_with("n1.") && tag.starts_with("n1."));
    assert_eq!(invite.body(), outgoing().offer.bytes);
}

#[test]
fn rfc3261_13_2_2_4_a_2xx_is_acknowledged_as_often_as_it_comes() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    answer(&mut rig, &invite, "b1", "Record-Route: <sip:p2;lr>, <sip:192.0.2.2:5099;lr>\r\n");
    let acks = rig.actions();
    let ack = message_of(&acks[0]);
    assert_eq!((acks.len(), ack.method().as_str()), (1, "ACK"));
    assert_eq!(ack.request_uri().unwrap().unwrap().as_str(), "sip:bob@192.0.2.2:5070");
    let routes: Vec<_> = ack.headers(Name::Route).collect();
    assert_eq!(routes, ["<sip:192.0.2.2:5099;lr>", "<sip:p2;lr>"]);
    assert_eq!(ack.cseq().unwrap().number, 1);
    assert_eq!(ack.to_tag().as_deref(), Some("b1"));
    let Action::Acknowledge { flow, .. } = &acks[0] else { panic!("{acks:?}") };
    assert_eq!(flow.remote.port(), 5099, "the first route is the next hop");
    let accepted = Event::Accepted { answer: Some(Body::sdp("v=0 b1")) };
    assert_eq!(rig.events(), [accepted]);
    assert_eq!(rig.leg.state(), State::Confirmed);
    for _ in 0..3 {
        answer(&mut rig, &invite, "b1", "");
        assert_eq!(rig.actions(), acks, "the same ACK again");
    }
    assert_eq!(rig.events(), []);
}

#[test]
fn rfc3261_12_2_1_1_the_server_of_a_uri_says_where_the_dialog_goes_on() {
    let contact = "Contact: <sip:bob@198.51.100.7:5070>\r\n";
    for (to_user, headers, expected) in [
        (None, contact, "198.51.100.7:5070"),
        (None, "Record-Route: <sip:198.51.100.9:5099;lr>\r\n", "198.51.100.9:5099"),
        (None, "Record-Route: <sip:10.1.2.3:5099;lr>\r\n", "192.0.2.2:5062"),
        (None, "Record-Route: <sip:0.0.0.0:5099;lr>\r\n", "192.0.2.2:5062"),
        (None, "Record-Route: <sip:[2001:db8::1]:5099;lr>\r\n", "192.0.2.2:5062"),
        (Some("bob"), "Record-Route: <sip:198.51.100.9:5099;lr>\r\n", "192.0.2.2:5062"),
    ] {
        let invite = dialog::Invite { to_user: to_user.map(str::to_owned), ..outgoing() };
        let mut rig = Rig::calling_with(invite, TransportKind::Udp, settings());
        let invite = rig.actions().remove(0);
        let contact = if headers.starts_with("Contact") { "" } else { CONTACT };
        rig.respond_tagged(&invite, 200, "b1", &format!("{contact}{SDP}{headers}"), "v=0");
        let Action::Acknowledge { flow, .. } = &rig.actions()[0] else { panic!("no ACK") };
        assert_eq!(flow.remote, expected.parse().unwrap(), "{headers}");
    }
}

#[test]
fn rfc3261_13_2_2_4_later_forks_are_acknowledged_and_ended() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    progress(&mut rig, &invite, 183, "b1", "v=0 early b1");
    progress(&mut rig, &invite, 180, "b2", "");
    answer(&mut rig, &invite, "b2", "");
    assert_eq!(rig.words(), ["ACK"]);
    for _ in 0..2 {
        answer(&mut rig, &invite, "b1", "");
    }
    let actions = rig.actions();
    let words: Vec<String> = actions.iter().map(what).collect();
    assert_eq!(words, ["ACK", "BYE", "ACK"], "one BYE, and an ACK for each");
    for action in &actions {
        assert_eq!(message_of(action).to_tag().as_deref(), Some("b1"));
    }
    let bye = message_of(&actions[1]);
    assert_eq!(bye.cseq().unwrap().number, 2);
    assert_eq!(bye.header(Name::Reason).as_deref(), Some(dialog::COMPLETED_ELSEWHERE));
    assert_eq!(rig.leg.id().remote_tag, "b2".into());
    rig.respond(&actions[1], 481, "");
    assert_eq!(rig.leg.state(), State::Confirmed);
    let early = Some(Body::sdp("v=0 early b1"));
    let told = [
        Event::Progress { status: 183, answer: early },
        Event::Progress { status: 180, answer: None },
        Event::Accepted { answer: Some(Body::sdp("v=0 b2")) },
    ];
    assert_eq!(rig.events(), told);
}

#[test]
fn rfc3261_13_2_2_4_a_fork_that_answers_after_the_end_is_ended_too() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    answer(&mut rig, &invite, "b1", "");
    rig.leg.hang_up(None, rig.now);
    let actions = rig.actions();
    rig.respond(&actions[1], 200, "");
    assert_eq!(rig.leg.state(), State::Terminated);
    assert!(!rig.leg.is_finished(), "the INVITE's transaction lives");
    answer(&mut rig, &invite, "b2", "");
    assert_eq!(rig.words(), ["ACK", "BYE"]);
    end_client(&mut rig, &invite);
    assert!(rig.leg.is_finished());
}

#[test]
fn rfc3261_18_2_2_a_phone_that_rang_may_answer_by_another_connection_for_a_while() {
    for rings in [true, false] {
        let mut rig = Rig::calling(TransportKind::Tcp, settings());
        let invite = rig.actions().remove(0);
        if rings {
            progress(&mut rig, &invite, 180, "b1", "");
        }
        let Action::Request { purpose, .. } = &invite else { panic!("no INVITE") };
        rig.leg.handle_failure(*purpose, Failure::Transport, rig.now);
        end_client(&mut rig, &invite);
        assert_eq!(rig.leg.state(), State::Terminated);
        assert_eq!(rig.leg.is_finished(), !rings);
        if rings {
            answer(&mut rig, &invite, "b1", "");
            assert_eq!(rig.words(), ["ACK", "BYE"]);
            rig.run(32.1);
            assert!(rig.leg.is_finished());
        }
    }
}

#[test]
fn rfc3261_18_2_2_a_2xx_that_comes_again_by_another_connection_is_acknowledged_there() {
    for kind in [TransportKind::Ws, TransportKind::Tcp, TransportKind::Udp] {
        let mut rig = Rig::calling(kind, settings());
        let invite = rig.actions().remove(0);
        answer(&mut rig, &invite, "b1", "");
        let first = rig.actions();
        let other = Flow { id: FlowId(77), ..flow(kind) };
        let more = format!("{CONTACT}{SDP}");
        rig.respond_on(other, &invite, 200, "b1", &more, "v=0 b1");
        let went = |actions: &[Action]| match actions {
            [Action::Acknowledge { bytes, flow }] => (bytes.clone(), *flow),
            _ => panic!("no ACK: {actions:?}"),
        };
        let ((ack, at_first), (again, then)) = (went(&first), went(&rig.actions()));
        assert_eq!(ack, again);
        assert_eq!(then, if kind == TransportKind::Udp { at_first } else { other });
    }
}

#[test]
fn rfc3261_12_2_1_1_a_server_of_our_choice_is_connected_to_by_the_name_it_gives() {
    for (to_user, contact, expected) in [
        (None, "pbx.example", Some("pbx.example")),
        (None, "198.51.100.7", Some("198.51.100.7")),
        (None, "10.1.2.3", None),
        (Some("bob"), "pbx.example", None),
        (Some("bob"), "192.0.2.2", Some("192.0.2.2")),
    ] {
        let invite = dialog::Invite { to_user: to_user.map(str::to_owned), ..outgoing() };
        let mut rig = Rig::calling_with(invite, TransportKind::Tcp, settings());
        let invite = rig.actions().remove(0);
        let contact = format!("Contact: <sip:bob@{contact};transport=tcp>\r\n{SDP}");
        rig.respond_tagged(&invite, 200, "b1", &contact, "v=0");
        rig.leg.handle_flow_closed(FlowId(TransportKind::Tcp as u64), rig.now);
        let hop = rig.leg.way_back().map(|hop| hop.host.to_string());
        assert_eq!(hop.as_deref(), expected, "{contact}");
    }
}

#[test]
fn rfc6026_7_2_a_2xx_after_its_transaction_is_acknowledged_anew() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    answer(&mut rig, &invite, "b1", "");
    rig.actions();
    end_client(&mut rig, &invite);
    answer(&mut rig, &invite, "b1", "");
    assert_eq!(rig.words(), ["ACK"]);
    answer(&mut rig, &invite, "b3", "");
    assert_eq!(rig.words(), [""; 0], "a fork has answered by then, or is made up");
    assert_eq!(rig.leg.state(), State::Confirmed);
}

#[test]
fn rfc3261_13_2_1_the_first_answer_of_a_fork_stands_for_one_that_the_2xx_lacks() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    progress(&mut rig, &invite, 183, "b1", "v=0 first");
    progress(&mut rig, &invite, 183, "b1", "v=0 second");
    rig.respond_tagged(&invite, 200, "b1", CONTACT, "");
    let first = || Some(Body::sdp("v=0 first"));
    let told = [
        Event::Progress { status: 183, answer: first() },
        Event::Progress { status: 183, answer: first() },
        Event::Accepted { answer: first() },
    ];
    assert_eq!(rig.events(), told);
    assert_eq!(rig.words(), ["ACK"]);
}

#[test]
fn rfc3261_13_2_2_4_a_2xx_without_an_answer_is_acknowledged_and_ended() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    progress(&mut rig, &invite, 183, "b1", "v=0 of another fork");
    rig.respond_tagged(&invite, 200, "b2", CONTACT, "");
    let actions = rig.actions();
    assert_eq!(actions.iter().map(what).collect::<Vec<_>>(), ["ACK", "BYE"]);
    let told = Event::Ending { cause: Cause::AnswerMissing };
    assert_eq!(rig.events().last(), Some(&told), "before the BYE is answered");
    rig.respond(&actions[1], 200, "");
    assert_eq!(rig.events(), [ended(Party::Local, Cause::AnswerMissing)]);
}

#[test]
fn rfc3261_13_2_2_3_a_refusal_ends_the_leg_with_its_status_and_reason() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    rig.respond_tagged(&invite, 486, "b1", "Reason: Q.850;cause=17\r\n", "");
    let cause = refused(486);
    let reason = Some("Q.850;cause=17".to_owned());
    assert_eq!(rig.events(), [Event::Ended { by: Party::Remote, cause, reason }]);
    assert_eq!(rig.words(), [""; 0], "the transaction acknowledges");
    for status in [401, 407] {
        let mut rig = Rig::calling(TransportKind::Udp, settings());
        let invite = rig.actions().remove(0);
        let more = "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n";
        rig.respond_tagged(&invite, status, "b1", more, "");
        assert_eq!(rig.events(), [ended(Party::Remote, refused(status))], "nothing is proved");
    }
}

#[test]
fn rfc3261_8_1_3_4_the_targets_of_a_redirection_are_told_best_first() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    let more = "Contact: <sip:a@192.0.2.7>;q=0.2, <mailto:b@example.com>\r\n\
                Contact: <sip:c@192.0.2.8;transport=tcp>, <sip:d@192.0.2.9>;q=0.7\r\n";
    rig.respond_tagged(&invite, 302, "b1", more, "");
    let best = ("sip:c@192.0.2.8;transport=tcp", 1000);
    let contacts = [best, ("sip:d@192.0.2.9", 700), ("sip:a@192.0.2.7", 200)]
        .map(|(uri, q_milli)| Redirection { uri: uri.to_owned(), q_milli })
        .to_vec();
    assert_eq!(rig.events(), [ended(Party::Remote, Cause::Refused { status: 302, contacts })]);
}

#[test]
fn rfc3261_8_1_3_1_silence_counts_as_408_and_a_broken_flow_as_503() {
    for (failure, status) in [(Failure::Timeout, 408), (Failure::Transport, 503)] {
        let mut rig = Rig::calling(TransportKind::Tcp, settings());
        let invite = rig.actions().remove(0);
        if failure == Failure::Transport {
            rig.leg.handle_flow_closed(FlowId(TransportKind::Tcp as u64), rig.now);
        }
        rig.leg.handle_failure(purpose_of(&invite), failure, rig.now);
        end_client(&mut rig, &invite);
        assert_eq!(rig.events(), [ended(Party::Local, refused(status))]);
        assert!(rig.leg.is_finished());
    }
}

#[test]
fn rfc3261_9_1_hanging_up_before_the_answer_cancels_with_the_reason() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    progress(&mut rig, &invite, 180, "b1", "");
    rig.events();
    let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
    rig.leg.hang_up(Some(reason), rig.now);
    rig.leg.hang_up(None, rig.now);
    let expected = Action::Cancel { purpose: purpose_of(&invite), reason: Some(reason.to_owned()) };
    assert_eq!(rig.actions(), [expected]);
    assert_eq!(rig.events(), []);
    rig.respond_tagged(&invite, 487, "b1", "", "");
    assert_eq!(rig.events(), [ended(Party::Local, Cause::Cancelled)]);
}

#[test]
fn rfc3261_9_1_a_2xx_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    rig.leg.hang_up(Some("Q.850;cause=16"), rig.now);
    rig.actions();
    answer(&mut rig, &invite, "b1", "");
    let actions = rig.actions();
    assert_eq!(actions.iter().map(what).collect::<Vec<_>>(), ["ACK", "BYE"]);
    assert_eq!(message_of(&actions[1]).header(Name::Reason).unwrap(), "Q.850;cause=16");
    answer(&mut rig, &invite, "b1", "");
    assert_eq!(rig.words(), ["ACK"], "the ACK was lost");
    rig.respond(&actions[1], 200, "");
    assert_eq!(rig.events(), [ended(Party::Local, Cause::Cancelled)]);
}

#[test]
fn rfc4028_7_4_a_422_is_answered_with_the_longer_interval() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let mut invite = rig.actions().remove(0);
    for (number, least) in [(2, 2_000), (3, 3_000), (4, 4_000)] {
        let more = format!("Min-SE: {least}\r\n");
        rig.respond_tagged(&invite, 422, "b1", &more, "");
        let again = rig.actions().remove(0);
        let (first, second) = (message_of(&invite), message_of(&again));
        assert_eq!(second.cseq().unwrap().number, number);
        assert_eq!(second.call_id(), first.call_id());
        assert_eq!(second.from_tag(), first.from_tag());
        assert_ne!(second.via().unwrap().unique_branch(), first.via().unwrap().unique_branch());
        assert_eq!(second.header(Name::SessionExpires).unwrap(), least.to_string());
        assert_eq!(second.header(Name::MinSe).unwrap(), least.to_string());
        assert_eq!(second.body(), first.body());
        rig.leg.handle_failure(purpose_of(&invite), Failure::Transport, rig.now);
        assert_eq!(rig.events(), [], "the attempt before says nothing any more");
        invite = again;
    }
    rig.respond_tagged(&invite, 422, "b1", "Min-SE: 5000\r\n", "");
    assert_eq!(rig.events(), [ended(Party::Remote, refused(422))], "not for ever");
    assert_eq!(rig.words(), [""; 0]);
}

#[test]
fn rfc4028_7_4_a_422_that_asks_for_nothing_longer_refuses() {
    for more in ["", "Min-SE: 90\r\n", "Min-SE: 4000000000\r\n", "Min-SE: x\r\n"] {
        let mut rig = Rig::calling(TransportKind::Udp, settings());
        let invite = rig.actions().remove(0);
        rig.respond_tagged(&invite, 422, "b1", more, "");
        assert_eq!(rig.events(), [ended(Party::Remote, refused(422))], "{more}");
    }
}

#[test]
fn rfc4028_7_2_the_2xx_says_who_refreshes() {
    let rows = [
        ("", None),
        ("Session-Expires: 100;refresher=uac\r\n", Some((50.0, "UPDATE"))),
        ("Session-Expires: 100\r\n", Some((50.0, "UPDATE"))),
        ("Session-Expires: 100;refresher=uas\r\n", Some((68.0, "BYE"))),
        ("Allow: INVITE\r\nSession-Expires: 100;refresher=uac\r\n", Some((50.0, "INVITE"))),
    ];
    for (more, expected) in rows {
        let mut rig = Rig::calling(TransportKind::Udp, settings());
        let invite = rig.actions().remove(0);
        answer(&mut rig, &invite, "b1", more);
        rig.actions();
        let first = rig.run(3_000.0).into_iter().next();
        assert_eq!(first, expected.map(|(at, what)| (at, what.to_owned())), "{more}");
    }
}

#[test]
fn rfc3311_5_2_requests_of_early_dialogs_are_answered() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    progress(&mut rig, &invite, 180, "b1", "");
    rig.events();
    rig.receive_from("b1", "UPDATE", "", "");
    rig.receive_from("b1", "UPDATE", "", "v=0 too early");
    rig.receive_from("b1", "INVITE", "", "v=0 too early");
    rig.receive_from("b1", "INFO", "", "5");
    rig.receive_from("b1", "OPTIONS", "", "");
    rig.receive_from("stranger", "INFO", "", "5");
    assert_eq!(rig.words(), ["200", "491", "491", "200", "200", "481"]);
    assert!(matches!(rig.events()[..], [Event::Info { .. }]));
    assert!(rig.leg.owns(&parse_request(&rig, "b1")));
    assert!(!rig.leg.owns(&parse_request(&rig, "stranger")));
}

#[test]
fn rfc3261_15_a_bye_of_the_only_early_dialog_cancels() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    progress(&mut rig, &invite, 180, "b1", "");
    progress(&mut rig, &invite, 180, "b2", "");
    rig.events();
    rig.receive_from("b1", "BYE", "", "");
    assert_eq!(rig.words(), ["200"], "the other one rings on");
    rig.receive_from("b2", "BYE", "", "");
    assert_eq!(rig.words(), ["200", "CANCEL"]);
    rig.respond_tagged(&invite, 487, "b2", "", "");
    assert_eq!(rig.events(), [ended(Party::Remote, Cause::HungUp)]);
}

#[test]
fn more_forks_than_are_kept_are_told_and_only_so_many_ended() {
    let mut rig = Rig::calling(TransportKind::Udp, settings());
    let invite = rig.actions().remove(0);
    for number in 0..40 {
        progress(&mut rig, &invite, 180, &format!("b{number}"), "");
    }
    assert_eq!(rig.events().len(), 40);
    let mut count = |word: &str| {
        for number in 0..40 {
            answer(&mut rig, &invite, &format!("b{number}"), "");
        }
        let words = rig.words();
        [word, "BYE"].map(|word| words.iter().filter(|said| *said == word).count())
    };
    assert_eq!(count("ACK"), [16, 15]);
    assert_eq!(count("ACK"), [16, 0], "each is ended once");
}

#[test]
fn rfc5626_5_3_a_leg_follows_its_peer_to_another_connection() {
    let mut rig = Rig::calling(TransportKind::Ws, settings());
    let invite = rig.actions().remove(0);
    answer(&mut rig, &invite, "b1", "");
    rig.actions();
    rig.leg.handle_flow_closed(FlowId(TransportKind::Ws as u64), rig.now);
    assert!(rig.leg.is_flow_lost());
    let mut moved = flow(TransportKind::Ws);
    moved.id = FlowId(99);
    rig.leg.handle_flow_moved(moved);
    rig.leg.hang_up(None, rig.now);
    let actions = rig.actions();
    let Action::Request { flow, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!(flow.id, FlowId(99));
}

fn settings() -> Settings {
    let session =
        dialog::session_timer::SessionPolicy { session_expires: Some(1_800), ..Default::default() };
    Settings { node: "n1.".to_owned(), session, ..Settings::default() }
}

fn answer(rig: &mut Rig, invite: &Action, tag: &str, more: &str) {
    let more = format!("{CONTACT}{SDP}{more}");
    rig.respond_tagged(invite, 200, tag, &more, &format!("v=0 {tag}"));
}

fn progress(rig: &mut Rig, invite: &Action, status: u16, tag: &str, body: &str) {
    rig.respond_tagged(invite, status, tag, &format!("{CONTACT}{SDP}"), body);
}

fn purpose_of(action: &Action) -> Purpose {
    match action {
        Action::Request { purpose, .. } => *purpose,
        other => panic!("no request: {other:?}"),
    }
}

fn end_client(rig: &mut Rig, invite: &Action) {
    rig.leg.handle_client_ended(purpose_of(invite));
}

fn refused(status: u16) -> Cause {
    Cause::Refused { status, contacts: Vec::new() }
}

fn parse_request(rig: &Rig, tag: &str) -> Message {
    let id = rig.leg.id();
    parse(
        format!(
            "INFO sip:x SIP/2.0\r\nFrom: <sip:b>;tag={tag}\r\nTo: <sip:a>;tag={}\r\n\
             Call-ID: {}\r\nCSeq: 1 INFO\r\n\r\n",
            id.local_tag, id.call_id
        )
        .into(),
    )
}

const CONTACT: &str = "Contact: <sip:bob@192.0.2.2:5070>\r\n";
const SDP: &str = "Content-Type: application/sdp\r\n";
