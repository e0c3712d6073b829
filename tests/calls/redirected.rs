//! Calls that are sent elsewhere (RFC 3261 §8.1.3.4).

use std::time::Duration;

use sidetone::config::RingContacts;

use crate::agent::{Part, Script, address};
use crate::office::{Office, answers, refuses, run, seconds, status_of};
use crate::simulation::SERVER;

#[test]
fn rfc3261_8_1_3_4_a_redirection_is_followed() {
    run(|seed| async move {
        let mut office = Office::new(seed, |config| config.dialplan.context = "public".to_owned());
        let caller = office.caller("one");
        let part = |contact: String| Part::Refuses {
            after: Duration::from_secs(1),
            status: 302,
            contact: Some(contact),
        };
        let _first = office.phone(1, Script::of(part(format!("sip:two@{}", SERVER.ip()))));
        let _second = office.phone(2, Script { hang_up: seconds(5), ..answers(1) });
        office.pass(4).await;
        assert!(office.is_joined(0, 2));
        office.close().await;
        assert_eq!(caller.await.unwrap().answered, 1);
    });
}

#[test]
fn rfc3261_8_1_3_4_the_targets_of_a_redirection_are_called_in_the_order_of_q() {
    run(|seed| async move {
        let mut office = Office::new(seed, |config| config.calls.ring_step_s = 10);
        let caller = office.caller("one");
        let to = |name: &str, q: &str| format!("<sip:{name}@{}>;q={q}", SERVER.ip());
        let contact = Some([to("both", "0.2"), to("two", "0.7")].join(", "));
        let redirects = Part::Refuses { after: Duration::from_secs(1), status: 302, contact };
        let is_busy = Part::Refuses { after: Duration::from_secs(4), status: 486, contact: None };
        let _first = office.phone(1, Script::of(redirects));
        let second = office.phone(2, Script::of(is_busy));
        let _third = office.phone(3, Script { hang_up: seconds(9), ..answers(1) });
        let fourth = office.phone(4, answers(20));
        office.pass(4).await;
        assert!(!office.is_joined(0, 3), "it waits for the second");
        office.pass(4).await;
        assert!(office.is_joined(0, 3));
        office.close().await;
        assert_eq!((second.await.unwrap().invites, fourth.await.unwrap().invites), (1, 1));
        assert_eq!(caller.await.unwrap().answered, 1);
    });
}

#[test]
fn the_targets_of_a_redirection_have_their_turn_before_the_next_contact_of_a_user() {
    run(|seed| async move {
        let mut office = Office::new(seed, |config| {
            config.calls.ring_contacts = RingContacts::InOrder;
            config.calls.ring_step_s = 5;
        });
        let caller = office.caller("both");
        let to = |name: &str, q: &str| format!("<sip:{name}@{}>;q={q}", SERVER.ip());
        let contact = Some([to("one", "0.2"), to("two", "0.7")].join(", "));
        let redirects = Part::Refuses { after: Duration::from_secs(1), status: 302, contact };
        let _third = office.phone(3, Script::of(redirects));
        let second = office.phone(2, answers(60));
        let _first = office.phone(1, Script { hang_up: seconds(9), ..answers(2) });
        let fourth = office.phone(4, answers(1));
        office.pass(10).await;
        assert!(
            office.is_joined(0, 1),
            "5 s after the redirection it was called, 2 s later it answered"
        );
        office.close().await;
        assert_eq!((second.await.unwrap().invites, fourth.await.unwrap().invites), (1, 0));
        assert_eq!(caller.await.unwrap().answered, 1);
    });
}

#[test]
fn who_is_called_early_rings_no_longer_than_others_before_the_next_one_is() {
    run(|seed| async move {
        let mut office = Office::new(seed, |config| {
            config.calls.ring_contacts = RingContacts::InOrder;
            config.calls.ring_step_s = 10;
        });
        let caller = office.caller("both");
        let to = |name: &str, q: &str| format!("<sip:{name}@{}>;q={q}", SERVER.ip());
        let contact = Some([to("one", "0.2"), to("two", "0.7")].join(", "));
        let redirects = Part::Refuses { after: Duration::from_secs(1), status: 302, contact };
        let _third = office.phone(3, Script::of(redirects));
        let _second = office.phone(2, refuses(486));
        let first = office.phone(1, Script::of(Part::Rings));
        let fourth = office.phone(4, Script { hang_up: seconds(9), ..answers(1) });
        // Redirected after 1 s and refused after 2 s: from then on the first phone rings alone.
        office.pass(11).await;
        assert_eq!(office.mock.legs(), 1, "the fourth is not called yet");
        office.pass(4).await;
        assert!(office.is_joined(0, 4));
        office.close().await;
        assert_eq!((first.await.unwrap().ended, fourth.await.unwrap().invites), (1, 1));
        assert_eq!(caller.await.unwrap().answered, 1);
    });
}

#[test]
fn rfc3261_16_5_a_phone_that_two_are_redirected_to_rings_once() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.caller("group");
        let contact = Some(format!("sip:device@{}", SERVER.ip()));
        let redirects = || {
            let (after, contact) = (Duration::from_secs(1), contact.clone());
            Script::of(Part::Refuses { after, status: 302, contact })
        };
        let _one = office.phone(1, redirects());
        let _two = office.phone(2, redirects());
        let target = office.phone(5, Script { hang_up: seconds(5), ..answers(3) });
        office.pass(6).await;
        assert!(office.is_joined(0, 5));
        office.close().await;
        assert_eq!((target.await.unwrap().invites, caller.await.unwrap().answered), (1, 1));
    });
}

#[test]
fn a_redirection_in_a_circle_or_to_the_outside_is_not_followed() {
    for contact in [format!("sip:one@{}", SERVER.ip()), format!("sip:x@{}", address(2))] {
        run(|seed| async move {
            let mut office = Office::new(seed, |_| {});
            let caller = office.caller("one");
            let contact = Some(contact);
            let part = Part::Refuses { after: Duration::from_secs(1), status: 302, contact };
            let first = office.phone(1, Script::of(part));
            let outside = office.phone(2, answers(1));
            office.close().await;
            assert_eq!(status_of(&caller.await.unwrap()), Some(480));
            assert_eq!((first.await.unwrap().invites, outside.await.unwrap().invites), (1, 0));
        });
    }
}

#[test]
fn rfc3261_8_1_3_4_a_redirection_that_cannot_be_read_leads_nowhere() {
    for contact in ["<>", "<garbage>", "*"] {
        run(|seed| async move {
            let mut office = Office::new(seed, |_| {});
            let caller = office.caller("one");
            let contact = Some(contact.to_owned());
            let part = Part::Refuses { after: Duration::from_secs(1), status: 302, contact };
            let phone = office.phone(1, Script::of(part));
            office.pass(2).await;
            assert!(office.simulation.is_idle());
            office.close().await;
            assert_eq!(status_of(&caller.await.unwrap()), Some(480));
            assert_eq!(phone.await.unwrap().invites, 1);
        });
    }
}
