//! Offers of ours within the dialog.

use dialog::{Action, Body, Cause, Error, Event, Failure, OfferNumber, Party};
use transport::{FlowId, Name, TransportKind};

use super::support::{Rig, answer, ended, invite, message_of, what};

#[test]
fn rfc3261_14_1_an_offer_is_a_re_invite_and_its_2xx_is_acknowledged() {
    let mut rig = Rig::confirmed();
    rig.leg.offer(Body::sdp("v=0 hold"), rig.now);
    let invite = rig.actions().remove(0);
    let message = message_of(&invite);
    assert_eq!(message.method().as_str(), "INVITE");
    assert!(message.has(Name::Contact) && message.to_tag().is_some());
    assert_eq!(message.body(), "v=0 hold");
    rig.respond_with(&invite, 200, SDP, "v=0 held");
    let ack = rig.only_message();
    assert_eq!(ack.method().as_str(), "ACK");
    assert_eq!(ack.cseq().unwrap().number, message.cseq().unwrap().number);
    let answer = Some(Body::sdp("v=0 held"));
    assert_eq!(rig.events(), [Event::OfferAnswered { status: 200, answer }]);
    rig.respond_with(&invite, 200, SDP, "v=0 held");
    assert_eq!(rig.words(), ["ACK"], "and again");
    assert_eq!(rig.events(), []);
}

#[test]
fn rfc3261_14_1_a_refused_offer_leaves_the_session_as_it_was() {
    for status in [400, 403, 415, 486, 488, 500, 603] {
        let mut rig = Rig::confirmed();
        rig.leg.offer(Body::sdp("v=0 new"), rig.now);
        let invite = rig.actions().remove(0);
        rig.respond(&invite, status, "");
        assert_eq!(rig.events(), [Event::OfferAnswered { status, answer: None }]);
        rig.leg.offer(Body::sdp("v=0 next"), rig.now);
        assert_eq!(rig.words(), ["INVITE"], "another one may follow");
    }
}

#[test]
fn rfc3261_14_1_an_offer_that_finds_no_dialog_ends_the_leg() {
    for status in [408, 481] {
        let mut rig = Rig::confirmed();
        rig.leg.offer(Body::sdp("v=0 new"), rig.now);
        let invite = rig.actions().remove(0);
        match status {
            408 => fail(&mut rig, &invite, Failure::Timeout),
            _ => rig.respond(&invite, status, ""),
        }
        let bye = rig.actions().remove(0);
        assert_eq!(what(&bye), "BYE");
        assert_eq!(rig.events(), [Event::Ending { cause: Cause::DialogLost { status } }]);
        rig.respond(&bye, 200, "");
        assert_eq!(rig.events(), [ended(Party::Local, Cause::DialogLost { status })]);
    }
}

#[test]
fn rfc3261_14_1_after_glare_the_callee_tries_again_within_two_seconds() {
    let mut rig = Rig::confirmed();
    rig.leg.offer(Body::sdp("v=0 new"), rig.now);
    let invite = rig.actions().remove(0);
    rig.respond(&invite, 491, "");
    assert_eq!(rig.events(), []);
    let again = rig.run(2.001);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].1, "INVITE");
}

#[test]
fn rfc3261_14_1_after_glare_the_caller_tries_again_after_2_1_to_4_seconds() {
    let mut rig = Rig::calling(TransportKind::Udp, Default::default());
    let invite = rig.actions().remove(0);
    rig.respond_tagged(&invite, 200, "b1", SDP, "v=0 answer");
    rig.actions();
    rig.events();
    rig.leg.offer(Body::sdp("v=0 new"), rig.now);
    let invite = rig.actions().remove(0);
    rig.respond(&invite, 491, "");
    let again = rig.run(4.001);
    assert_eq!(again.len(), 1, "{again:?}");
    assert!((2.1..=4.0).contains(&again[0].0), "{again:?}");
}

#[test]
fn rfc3261_14_1_after_glare_the_offer_of_the_peer_goes_first_however_long_it_takes() {
    let mut rig = Rig::confirmed();
    rig.leg.offer(Body::sdp("v=0 new"), rig.now);
    let invite = rig.actions().remove(0);
    rig.respond(&invite, 491, "");
    rig.receive("INVITE", "", "v=0 theirs");
    assert_eq!(rig.run(10.0), []);
    rig.answer_offer().unwrap();
    assert_eq!(rig.words(), ["200"]);
    rig.ack(2);
    assert_eq!(rig.words(), ["INVITE"]);
}

#[test]
fn glare_without_end_is_told() {
    let mut rig = Rig::confirmed();
    rig.leg.offer(Body::sdp("v=0 new"), rig.now);
    let mut sent = 0;
    while let Some(invite) = rig.actions().pop() {
        sent += 1;
        rig.respond(&invite, 491, "");
        let next = rig.leg.poll_timeout();
        rig.now = next.unwrap_or(rig.now);
        rig.leg.handle_timeout(rig.now);
    }
    assert_eq!(sent, 6);
    assert_eq!(rig.events(), [Event::OfferAnswered { status: 491, answer: None }]);
}

#[test]
fn rfc3261_14_2_while_our_offer_is_out_the_peers_gets_491() {
    let mut rig = Rig::confirmed();
    rig.leg.offer(Body::sdp("v=0 ours"), rig.now);
    let invite = rig.actions().remove(0);
    rig.receive("INVITE", "", "v=0 theirs");
    rig.receive("UPDATE", "", "v=0 theirs");
    assert_eq!(rig.words(), ["491", "491"]);
    rig.respond_with(&invite, 200, SDP, "v=0 answer");
    assert_eq!(rig.words(), ["ACK"]);
    rig.receive("INVITE", "", "v=0 theirs");
    rig.answer_offer().unwrap();
    assert_eq!(rig.words(), ["200"]);
}

#[test]
fn rfc3261_14_1_our_offer_waits_for_the_end_of_every_other_exchange() {
    let mut rig = Rig::new();
    rig.accept();
    rig.leg.offer(Body::sdp("v=0 ours"), rig.now);
    assert_eq!(rig.words(), ["200"], "not before the ACK");
    rig.ack(1);
    assert_eq!(rig.words(), ["INVITE"]);

    let mut rig = Rig::confirmed();
    rig.receive("INVITE", "", "v=0 theirs");
    rig.leg.offer(Body::sdp("v=0 ours"), rig.now);
    assert_eq!(rig.words(), [""; 0]);
    rig.answer_offer().unwrap();
    assert_eq!(rig.words(), ["200"]);
    rig.ack(2);
    assert_eq!(rig.words(), ["INVITE"]);
}

#[test]
fn one_offer_at_a_time() {
    let mut rig = Rig::confirmed();
    rig.leg.offer(Body::sdp("v=0 one"), rig.now);
    rig.leg.offer(Body::sdp("v=0 two"), rig.now);
    assert_eq!(rig.words(), ["INVITE"]);
    assert_eq!(rig.events(), [Event::OfferAnswered { status: 491, answer: None }]);
}

#[test]
fn an_offer_to_a_peer_whose_connection_is_gone_is_refused_at_once() {
    let mut rig = Rig::with(&invite(""), TransportKind::Ws);
    rig.accept();
    rig.ack(1);
    rig.events();
    rig.actions();
    rig.leg.handle_flow_closed(FlowId(TransportKind::Ws as u64), rig.now);
    rig.leg.offer(Body::sdp("v=0 one"), rig.now);
    assert_eq!(rig.events(), [Event::OfferAnswered { status: 503, answer: None }]);
}

#[test]
fn rfc3261_13_2_2_4_a_2xx_to_a_re_invite_is_acknowledged_after_the_end() {
    let mut rig = Rig::confirmed();
    rig.leg.offer(Body::sdp("v=0 ours"), rig.now);
    let invite = rig.actions().remove(0);
    rig.receive("BYE", "", "");
    assert_eq!(rig.words(), ["200", "CANCEL"], "it might never be answered");
    assert!(!rig.leg.is_finished());
    rig.respond_with(&invite, 200, SDP, "v=0 answer");
    assert_eq!(rig.words(), ["ACK"]);
    let Action::Request { purpose, .. } = invite else { panic!("no request") };
    rig.leg.handle_client_ended(purpose);
    assert!(rig.leg.is_finished());
}

#[test]
fn rfc6086_4_2_an_info_goes_out_and_481_ends_the_leg() {
    let mut rig = Rig::confirmed();
    let digit = || Body {
        content_type: "application/dtmf-relay".to_owned(),
        bytes: "Signal=5\r\nDuration=160\r\n".into(),
    };
    for status in [200, 405, 415, 501] {
        rig.leg.info(&digit()).unwrap();
        let info = rig.actions().remove(0);
        assert_eq!(message_of(&info).body(), digit().bytes);
        rig.respond(&info, status, "");
        assert_eq!(rig.events(), []);
    }
    rig.leg.info(&digit()).unwrap();
    let info = rig.actions().remove(0);
    fail(&mut rig, &info, Failure::Timeout);
    assert_eq!(rig.events(), []);
    rig.leg.info(&digit()).unwrap();
    let info = rig.actions().remove(0);
    rig.respond(&info, 481, "");
    assert_eq!(rig.words(), ["BYE"]);
}

#[test]
fn rfc3261_12_2_2_infos_go_out_one_after_the_other_and_are_bounded() {
    let mut rig = Rig::confirmed();
    let digit = |n: usize| Body {
        content_type: "application/dtmf".to_owned(),
        bytes: n.to_string().into(),
    };
    for n in 0..33 {
        rig.leg.info(&digit(n)).unwrap();
    }
    assert_eq!(rig.leg.info(&digit(33)), Err(Error::InfosWait));
    for n in 0..33 {
        let info = rig.actions().remove(0);
        assert_eq!(message_of(&info).body(), digit(n).bytes);
        rig.respond(&info, 100, "");
        assert_eq!(rig.actions(), []);
        rig.respond(&info, 200, "");
    }
    assert_eq!(rig.actions(), []);
    // Who answers none gets no others for it, but those that are pressed later.
    for n in 0..3 {
        rig.leg.info(&digit(n)).unwrap();
    }
    let info = rig.actions().remove(0);
    fail(&mut rig, &info, Failure::Timeout);
    assert_eq!(rig.actions(), []);
    rig.leg.info(&digit(7)).unwrap();
    assert_eq!(rig.words(), ["INFO"]);
}

#[test]
fn rfc3261_12_2_1_2_who_does_not_answer_whether_it_is_there_is_gone() {
    let probe = |rig: &mut Rig| {
        rig.leg.probe();
        rig.actions().remove(0)
    };
    let mut rig = Rig::confirmed();
    for status in [200, 405, 486, 501] {
        let options = probe(&mut rig);
        assert_eq!(message_of(&options).method().as_str(), "OPTIONS");
        rig.respond(&options, status, "");
        assert_eq!((rig.events(), rig.words()), (vec![], vec![]));
    }
    for status in [408, 481] {
        let mut rig = Rig::confirmed();
        let options = probe(&mut rig);
        rig.respond(&options, status, "");
        assert_eq!(rig.words(), ["BYE"], "{status}");
    }
    for failure in [Failure::Timeout, Failure::Transport] {
        let mut rig = Rig::confirmed();
        let options = probe(&mut rig);
        fail(&mut rig, &options, failure);
        assert_eq!(rig.words(), ["BYE"], "{failure:?}");
    }
}

#[test]
fn an_answer_that_comes_too_late_for_its_offer_is_not_taken_for_the_next() {
    let mut rig = Rig::confirmed();
    let first = rig.receive("INVITE", "", "v=0 first");
    rig.events();
    rig.cancel(first);
    rig.receive("INVITE", "", "v=0 second");
    rig.words();
    let late = rig.leg.answer_offer(OfferNumber(1), &answer(), rig.now);
    assert_eq!(late, Err(Error::NoOfferWaits));
    assert_eq!(rig.leg.reject_offer(OfferNumber(1), 488, Vec::new(), rig.now), late);
    rig.leg.answer_offer(OfferNumber(2), &answer(), rig.now).unwrap();
    assert_eq!(rig.words(), ["200"]);
}

#[test]
fn rfc3261_15_a_process_that_stops_says_bye_before_the_ack() {
    let mut rig = Rig::new();
    rig.accept();
    rig.actions();
    rig.leg.hang_up(Some("Q.850;cause=16"), rig.now);
    assert_eq!(rig.words(), [""; 0]);
    rig.leg.stop_waiting(rig.now);
    let bye = rig.actions().remove(0);
    assert_eq!(message_of(&bye).header(Name::Reason).unwrap(), "Q.850;cause=16");
    rig.respond(&bye, 481, "");
    assert_eq!(rig.events().last(), Some(&ended(Party::Local, Cause::HungUp)));
}

#[test]
fn rfc3261_13_2_1_an_early_answer_is_repeated_by_the_2xx() {
    let mut rig = Rig::new();
    rig.leg.progress(Some(&answer()), rig.now).unwrap();
    rig.leg.progress(Some(&Body::sdp("v=0 other")), rig.now).unwrap();
    rig.leg.accept(&Body::sdp("v=0 third"), Vec::new(), rig.now).unwrap();
    for action in rig.actions() {
        assert_eq!(message_of(&action).body(), answer().bytes);
    }
}

fn fail(rig: &mut Rig, action: &Action, failure: Failure) {
    let Action::Request { purpose, .. } = action else { panic!("no request: {action:?}") };
    rig.leg.handle_failure(*purpose, failure, rig.now);
}

const SDP: &str = "Content-Type: application/sdp\r\n";

#[test]
fn rfc3261_17_1_1_2_an_offer_that_gets_no_more_than_100_is_cancelled_and_another_may_follow() {
    for is_refused in [true, false] {
        let mut rig = Rig::confirmed();
        rig.leg.offer(Body::sdp("v=0 hold"), rig.now);
        let invite = rig.actions().remove(0);
        rig.respond(&invite, 100, "");
        assert_eq!(rig.run(63.9), []);
        assert_eq!(rig.run(0.2), [(64.0, "CANCEL".to_owned())]);
        assert_eq!(rig.run(60.0), [], "once");
        // One that does not even answer the CANCEL keeps its call, too.
        let status = if is_refused { 487 } else { 408 };
        match is_refused {
            true => rig.respond(&invite, 487, ""),
            false => fail(&mut rig, &invite, Failure::Timeout),
        }
        assert_eq!(rig.events(), [Event::OfferAnswered { status, answer: None }]);
        rig.leg.offer(Body::sdp("v=0 resume"), rig.now);
        assert_eq!(rig.words(), ["INVITE"]);
    }
}

#[test]
fn an_answer_that_crosses_our_cancel_counts() {
    let mut rig = Rig::confirmed();
    rig.leg.offer(Body::sdp("v=0 hold"), rig.now);
    let invite = rig.actions().remove(0);
    rig.respond(&invite, 100, "");
    rig.run(65.0);
    rig.respond_with(&invite, 200, SDP, "v=0 held");
    assert_eq!(rig.words(), ["ACK"]);
    let answer = Some(Body::sdp("v=0 held"));
    assert_eq!(rig.events(), [Event::OfferAnswered { status: 200, answer }]);
}
