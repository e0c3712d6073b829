//! Changes of the session within the dialog.

use std::net::{IpAddr, Ipv4Addr};

use dialog::{Body, Error, Event, OfferMethod, OfferNumber};
use transport::{Name, TransportKind};

use super::support::{Rig, invite, invite_with_body};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

#[test]
fn rfc3261_14_2_a_re_invite_is_answered_repeated_and_acknowledged() {
    let mut rig = Rig::confirmed();
    rig.receive("INVITE", "Contact: <sip:alice@192.0.2.2:5099>\r\n", "v=0 hold");
    let offer = Some(Body::sdp("v=0 hold"));
    assert_eq!(
        rig.events(),
        [Event::Offer { number: OfferNumber(1), method: OfferMethod::Invite, offer, source: HOST }]
    );
    rig.answer_offer().unwrap();
    assert_eq!(rig.run(2.0).len(), 3, "200 at 0, 0.5 and 1.5 s");
    rig.ack(2);
    assert_eq!(rig.run(60.0), []);
    assert!(rig.events().is_empty());
    rig.leg.hang_up(None, rig.now);
    let bye = rig.only_message();
    assert_eq!(bye.request_uri_bytes(), b"sip:alice@192.0.2.2:5099", "the target was refreshed");
}

#[test]
fn rfc3261_14_2_a_re_invite_without_offer_is_answered_in_its_ack() {
    let mut rig = Rig::confirmed();
    rig.receive("INVITE", "", "");
    assert_eq!(
        rig.events(),
        [Event::Offer {
            number: OfferNumber(1),
            method: OfferMethod::Invite,
            offer: None,
            source: HOST
        }]
    );
    rig.leg.answer_offer(rig.offer, &Body::sdp("v=0 our offer"), rig.now).unwrap();
    rig.receive("UPDATE", "", "v=0 crossing");
    assert_eq!(rig.words(), ["200", "491"], "our offer is out");
    rig.ack_with(2, "v=0 their answer");
    let answer = Some(Body::sdp("v=0 their answer"));
    assert_eq!(rig.events(), [Event::Answer { answer }]);
}

#[test]
fn rfc3261_14_2_a_second_re_invite_gets_500_with_retry_after() {
    let mut rig = Rig::confirmed();
    rig.receive("INVITE", "", "v=0 hold");
    rig.receive("INVITE", "", "v=0 resume");
    let response = rig.only_message();
    assert_eq!(response.status(), Some(500));
    let seconds: u8 = response.header(Name::RetryAfter).unwrap().parse().unwrap();
    assert!(seconds <= 10);
    rig.answer_offer().unwrap();
    assert_eq!(rig.words(), ["200"], "the first one goes on");
}

#[test]
fn rfc6141_4_1_the_contact_of_a_refused_re_invite_is_not_taken() {
    for (is_accepted, expected) in [(true, "sip:elsewhere@192.0.2.2:5070"), (false, "")] {
        let mut rig = Rig::confirmed();
        let before = rig.leg.remote_target().to_owned();
        rig.receive("INVITE", "Contact: <sip:elsewhere@192.0.2.2:5070>\r\n", "v=0 video");
        assert_eq!(rig.leg.remote_target(), before);
        if is_accepted {
            rig.answer_offer().unwrap();
            assert_eq!(rig.leg.remote_target(), expected);
        } else {
            rig.reject_offer(488, Vec::new()).unwrap();
            assert_eq!(rig.leg.remote_target(), before);
        }
    }
}

#[test]
fn rfc3261_14_2_a_refused_re_invite_leaves_the_call_as_it_was() {
    let mut rig = Rig::confirmed();
    rig.receive("INVITE", "", "v=0 video");
    rig.reject_offer(488, Vec::new()).unwrap();
    assert_eq!(rig.words(), ["488"]);
    assert_eq!(rig.reject_offer(488, Vec::new()), Err(Error::NoOfferWaits));
    rig.receive("INVITE", "", "v=0 hold");
    rig.answer_offer().unwrap();
    assert_eq!(rig.words(), ["200"]);
}

#[test]
fn rfc3261_14_2_a_missing_ack_of_a_re_invite_ends_the_call() {
    let mut rig = Rig::confirmed();
    rig.receive("INVITE", "", "v=0 hold");
    rig.answer_offer().unwrap();
    assert_eq!(rig.run(33.0).last().unwrap(), &(32.0, "BYE".to_owned()));
}

#[test]
fn rfc3261_9_2_a_re_invite_can_be_cancelled() {
    let mut rig = Rig::confirmed();
    let id = rig.receive("INVITE", "", "v=0 hold");
    rig.events();
    rig.cancel(id);
    assert_eq!(rig.words(), ["487"]);
    assert_eq!(rig.events(), [Event::OfferCancelled]);
    assert_eq!(rig.answer_offer(), Err(Error::NoOfferWaits));
}

#[test]
fn rfc5407_3_1_5_a_re_invite_proves_that_the_2xx_arrived() {
    let mut rig = Rig::new();
    rig.accept();
    rig.receive("INVITE", "", "v=0 hold");
    let offer = Some(Body::sdp("v=0 hold"));
    let expected = [
        Event::Confirmed { answer: None },
        Event::Offer { number: OfferNumber(1), method: OfferMethod::Invite, offer, source: HOST },
    ];
    assert_eq!(rig.events(), expected);
    rig.done();
    assert_eq!(rig.run(32.0), [], "the first 2xx is not repeated any more");
}

#[test]
fn rfc3261_14_2_a_re_invite_before_the_answer_gets_500() {
    let mut rig = Rig::new();
    rig.receive("INVITE", "", "v=0 again");
    assert_eq!(rig.words(), ["500"]);
    rig.accept();
    assert_eq!(rig.words(), ["200"]);
}

#[test]
fn rfc3311_5_2_an_update_with_an_offer_waits_for_the_answer() {
    let mut rig = Rig::confirmed();
    rig.receive("UPDATE", "", "v=0 codec");
    let offer = Some(Body::sdp("v=0 codec"));
    assert_eq!(
        rig.events(),
        [Event::Offer { number: OfferNumber(1), method: OfferMethod::Update, offer, source: HOST }]
    );
    rig.receive("UPDATE", "", "v=0 other");
    assert_eq!(rig.words(), ["500"]);
    rig.answer_offer().unwrap();
    let response = rig.only_message();
    assert_eq!((response.status(), &response.body()[..]), (Some(200), &b"v=0 answer"[..]));
    assert_eq!(rig.run(60.0), [], "the 2xx to UPDATE is the transaction's");
}

#[test]
fn rfc3311_5_2_an_update_with_an_offer_before_the_answer_gets_500() {
    let mut rig = Rig::new();
    rig.leg.ring(rig.now).unwrap();
    rig.done();
    rig.receive("UPDATE", "", "v=0 early");
    let response = rig.only_message();
    assert_eq!(response.status(), Some(500));
    assert!(response.has(Name::RetryAfter));
}

#[test]
fn rfc3311_5_1_an_update_without_an_offer_is_answered_at_once() {
    let mut rig = Rig::confirmed();
    rig.receive("UPDATE", "Contact: <sip:alice@192.0.2.2:5099>\r\n", "");
    let response = rig.only_message();
    assert_eq!(response.status(), Some(200));
    assert!(response.has(Name::Contact));
    assert!(response.body().is_empty());
    assert!(rig.events().is_empty());
}

#[test]
fn rfc6337_2_our_offer_in_the_2xx_refuses_a_re_invite_before_its_ack() {
    let mut rig = Rig::with(&invite_with_body("", ""), TransportKind::Udp);
    rig.leg.accept(&Body::sdp("v=0 our offer"), Vec::new(), rig.now).unwrap();
    rig.receive("INVITE", "", "v=0 crossing");
    assert_eq!(rig.words(), ["200", "491"]);
    assert!(rig.events().is_empty());
}

#[test]
fn the_first_offer_is_not_answered_like_a_later_one() {
    let mut rig = Rig::with(&invite(""), TransportKind::Udp);
    assert_eq!(rig.answer_offer(), Err(Error::NoOfferWaits));
    assert_eq!(rig.words(), [""; 0]);
}
