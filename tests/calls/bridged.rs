//! Calls of two legs, one behaviour at a time.

use std::time::Duration;

use sidetone::config::{DtmfMode, RingContacts};
use tokio::time::sleep;
use transport::Name;

use crate::agent::{Part, Script, address, rtp_port};
use crate::mock::{Mode, local_port};
use crate::office::{Office, answers, calls, refuses, request, run, seconds, status_of};
use crate::simulation::SERVER;

#[test]
fn rfc3261_13_3_1_3_nobody_is_rung_for_a_caller_whose_media_cannot_be_reached() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = "192.0.2.10:5060".parse().unwrap();
        let (_to_server, mut to_caller) = office.simulation.line(caller);
        let (_link, mut to_callee) = office.simulation.line(address(1));
        let description = "v=0\r\no=- 1 1 IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\n\
                           t=0 0\r\nm=audio 40002 RTP/AVP 0\r\n";
        office.simulation.arrive(caller, request("INVITE", description));
        sleep(Duration::from_secs(1)).await;
        let mut refused = false;
        while let Ok(bytes) = to_caller.try_recv() {
            refused |= bytes.starts_with(b"SIP/2.0 488 ");
        }
        assert!(refused, "not refused");
        assert!(to_callee.try_recv().is_err(), "called");
    });
}

#[test]
fn two_phones_are_joined_and_the_end_of_one_ends_the_other() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.caller("one");
        let callee = office.phone(1, Script { hang_up: seconds(5), ..answers(2) });
        office.pass(4).await;
        assert!(office.is_joined(0, 1));
        office.pass(5).await;
        assert!(office.simulation.is_idle());
        office.close().await;
        let (caller, callee) = (caller.await.unwrap(), callee.await.unwrap());
        assert_eq!((caller.answered, caller.ended), (1, 1));
        assert_eq!(caller.end_reason.as_deref(), Some("Q.850;cause=16;text=\"bye\""));
        assert!(caller.rang && callee.ended == 1);
    });
}

#[test]
fn media_at_a_port_that_has_become_ours_is_refused() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        // The first leg that is opened is the callee's, after the caller's offer was looked at.
        let media_at = Some(local_port(0));
        let caller = office.phone(0, Script { media_at, ..calls("one") });
        let callee = office.phone(1, Script { hang_up: seconds(20), ..answers(2) });
        office.pass(10).await;
        assert!(office.simulation.is_idle());
        office.close().await;
        assert_eq!(status_of(&caller.await.unwrap()), Some(488));
        assert_eq!(callee.await.unwrap().ended, 1);
    });
}

#[test]
fn nobody_who_is_called_has_media_at_a_port_of_ours() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.caller("one");
        let media_at = Some(local_port(0));
        let callee = office.phone(1, Script { media_at, hang_up: seconds(20), ..answers(2) });
        office.pass(10).await;
        assert!(office.simulation.is_idle());
        office.close().await;
        let (caller, callee) = (caller.await.unwrap(), callee.await.unwrap());
        assert_eq!((caller.answered, caller.ended, callee.ended), (0, 1, 1));
    });
}

#[test]
fn the_first_answer_wins_and_the_others_hear_that_it_was_elsewhere() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.caller("both");
        let slow = office.phone(3, answers(10));
        let fast = office.phone(4, Script { hang_up: seconds(20), ..answers(2) });
        office.pass(4).await;
        assert!(office.is_joined(0, 4));
        office.close().await;
        let slow = slow.await.unwrap();
        assert_eq!(slow.answered, 0);
        let elsewhere = "SIP;cause=200;text=\"Call completed elsewhere\"";
        assert_eq!(slow.end_reason.as_deref(), Some(elsewhere));
        assert_eq!((fast.await.unwrap().answered, caller.await.unwrap().answered), (1, 1));
    });
}

#[test]
fn who_may_ring_for_longer_than_is_usual_does() {
    run(|seed| async move {
        let mut office = Office::new(seed, |config| config.calls.ring_timeout_s = 20);
        let caller = office.caller("patient");
        let callee = office.phone(1, Script::of(Part::Rings));
        office.pass(85).await;
        assert!(!office.simulation.is_idle());
        office.pass(10).await;
        assert!(office.simulation.is_idle());
        office.close().await;
        assert_eq!((caller.await.unwrap().ended, callee.await.unwrap().ended), (1, 1));
    });
}

#[test]
fn nobody_waits_for_an_answer_for_ever() {
    run(|seed| async move {
        for (number, rings) in [("queue", 0), ("patient", 1)] {
            let mut office = Office::new(seed, |config| config.calls.unanswered_max_s = 70);
            let caller = office.caller(number);
            let callee = office.phone(1, Script::of(Part::Rings));
            office.pass(65).await;
            assert!(!office.simulation.is_idle());
            office.pass(10).await;
            assert!(office.simulation.is_idle(), "{number}");
            office.close().await;
            assert_eq!(status_of(&caller.await.unwrap()), Some(480));
            assert_eq!(callee.await.unwrap().ended, rings);
        }
    });
}

#[test]
fn contacts_are_called_in_order_of_their_q_where_that_is_wanted() {
    run(|seed| async move {
        let mut office = Office::new(seed, |config| {
            config.calls.ring_contacts = RingContacts::InOrder;
            config.calls.ring_step_s = 5;
        });
        let caller = office.caller("both");
        let first = office.phone(3, Script::of(Part::Rings));
        let second = office.phone(4, Script { hang_up: seconds(5), ..answers(1) });
        office.pass(3).await;
        assert_eq!(office.mock.legs(), 1, "the second one is not called yet");
        office.pass(5).await;
        assert!(office.is_joined(0, 4));
        office.close().await;
        assert_eq!(first.await.unwrap().ended, 1);
        assert_eq!((second.await.unwrap().answered, caller.await.unwrap().answered), (1, 1));
    });
}

#[test]
fn who_heard_one_that_was_called_hears_a_ringback_when_the_next_one_is() {
    run(|seed| async move {
        let mut office = Office::new(seed, |config| {
            config.calls.ring_contacts = RingContacts::InOrder;
            config.calls.ring_step_s = 5;
        });
        let _caller = office.caller("both");
        let part = Part::Answers { after: Duration::from_secs(60), has_early_media: true };
        let _first = office.phone(3, Script::of(part));
        let _second = office.phone(4, Script { hang_up: seconds(5), ..answers(10) });
        office.pass(3).await;
        assert!(office.is_joined(0, 3));
        office.pass(5).await;
        assert_eq!(office.modes(0, 4).0, Some(Mode::Plays), "the second one rings");
        office.pass(10).await;
        assert!(office.is_joined(0, 4));
        office.close().await;
    });
}

#[test]
fn rfc5626_7_a_device_rings_on_one_flow_and_on_another_where_that_failed() {
    for (status, reaches_other) in [(430, true), (408, true), (486, false)] {
        run(|seed| async move {
            let mut office = Office::new(seed, |_| {});
            let caller = office.caller("device");
            let first = office.phone(5, refuses(status));
            let second = office.phone(6, Script { hang_up: seconds(5), ..answers(1) });
            office.close().await;
            let (first, second) = (first.await.unwrap(), second.await.unwrap());
            assert_eq!(
                (first.invites, second.invites),
                (1, usize::from(reaches_other)),
                "{status}"
            );
            let expected = (!reaches_other).then_some(status);
            assert_eq!(status_of(&caller.await.unwrap()), expected, "{status}");
        });
    }
}

#[test]
fn devices_that_name_the_same_contact_all_ring() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let _caller = office.caller("alike");
        let first = office.phone(7, answers(10));
        let _second = office.phone(8, Script { hang_up: seconds(5), ..answers(2) });
        office.pass(4).await;
        assert!(office.is_joined(0, 8));
        office.close().await;
        assert_eq!(first.await.unwrap().invites, 1);
    });
}

#[test]
fn rfc3261_18_4_a_phone_whose_port_is_closed_is_given_up_at_once() {
    // The contacts of `both` are 3 and 4, the flows of `device` 5 and 6.
    for (number, gone, there, expected) in [
        ("one", 1, None, 480),
        ("both", 3, Some(4), 486),
        ("both", 4, Some(3), 486),
        ("device", 5, Some(6), 486),
    ] {
        run(|seed| async move {
            let mut office = Office::new(seed, |_| {});
            office.simulation.close_port(address(gone));
            let caller = office.caller(number);
            let _busy = there.map(|index| {
                let (after, status) = (Duration::from_millis(100), 486);
                office.phone(index, Script::of(Part::Refuses { after, status, contact: None }))
            });
            office.pass(1).await;
            assert!(office.simulation.is_idle(), "{number}");
            office.close().await;
            assert_eq!(status_of(&caller.await.unwrap()), Some(expected), "{number}");
        });
    }
}

#[test]
fn rfc5626_7_a_device_is_called_on_its_other_flow_where_a_port_is_closed() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        office.simulation.close_port(address(5));
        let caller = office.caller("device");
        let second = office.phone(6, Script { hang_up: seconds(5), ..answers(0) });
        office.pass(1).await;
        assert!(office.is_joined(0, 6));
        office.close().await;
        assert_eq!((second.await.unwrap().invites, caller.await.unwrap().answered), (1, 1));
    });
}

#[test]
fn whoever_refuses_tells_the_caller_why() {
    for (number, phone, expected) in [
        ("one", Some(refuses(486)), 486),
        ("one", Some(refuses(603)), 603),
        ("one", Some(refuses(404)), 404),
        ("one", Some(refuses(503)), 500),
        ("one", Some(refuses(407)), 403),
        ("one", Some(Script::of(Part::Rings)), 480),
        ("one", None, 408),
        // Before the time to ring is over, that of the transaction is.
        ("patient", None, 408),
        ("away", None, 480),
    ] {
        run(|seed| async move {
            let mut office = Office::new(seed, |_| {});
            let caller = office.caller(number);
            let _phone = phone.map(|script| office.phone(1, script));
            office.close().await;
            assert_eq!(status_of(&caller.await.unwrap()), Some(expected), "{number}");
        });
    }
}

#[test]
fn a_group_rings_together_and_turns_are_taken() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.caller("turns");
        let _rings = office.phone(1, Script::of(Part::Rings));
        let _answers = office.phone(2, Script { hang_up: seconds(3), ..answers(2) });
        office.pass(4).await;
        assert_eq!(office.mock.legs(), 1, "the second one is not called yet");
        office.pass(5).await;
        assert!(office.is_joined(0, 2));
        office.close().await;
        assert_eq!(caller.await.unwrap().answered, 1);
    });
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.caller("group");
        let _busy = office.phone(1, refuses(486));
        let _answers = office.phone(2, Script { hang_up: seconds(3), ..answers(2) });
        office.pass(4).await;
        assert!(office.is_joined(0, 2));
        office.close().await;
        assert_eq!(caller.await.unwrap().answered, 1);
    });
}

#[test]
fn the_dialplan_goes_on_where_nobody_answers() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.phone(0, Script { hang_up: seconds(5), ..calls("goes_on") });
        let _busy = office.phone(1, refuses(486));
        office.close().await;
        assert_eq!(caller.await.unwrap().answered, 1, "the echo answers");
    });
}

#[test]
fn a_caller_who_gives_up_takes_the_others_with_it() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let patience = seconds(5);
        let part = Part::Calls { number: "both".to_owned(), at: Duration::ZERO, patience };
        let caller = office.phone(0, Script::of(part));
        let phones = [3, 4].map(|index| office.phone(index, Script::of(Part::Rings)));
        office.pass(10).await;
        assert!(office.simulation.is_idle());
        office.close().await;
        assert_eq!(caller.await.unwrap().end, Some(dialog::Cause::Cancelled));
        for phone in phones {
            assert_eq!(phone.await.unwrap().ended, 1);
        }
    });
}

#[test]
fn who_is_put_on_hold_hears_music_until_it_is_taken_off() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let hold = Some((Duration::from_secs(2), Duration::from_secs(6)));
        let caller = office.caller("one");
        let callee = office.phone(1, Script { hold, hang_up: seconds(20), ..answers(1) });
        office.pass(2).await;
        assert!(office.is_joined(0, 1));
        office.pass(2).await;
        assert_eq!(office.modes(0, 1), (Some(Mode::Plays), Some(Mode::Idle)));
        office.pass(6).await;
        assert!(office.is_joined(0, 1), "taken off hold");
        office.close().await;
        assert_eq!(callee.await.unwrap().offers_answered, [200, 200]);
        assert_eq!(caller.await.unwrap().ended, 1);
    });
}

#[test]
fn two_who_hold_each_other_hear_nothing_and_then_each_other() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let hold = |at, most| Some((Duration::from_secs(at), Duration::from_secs(most)));
        let _caller = office.phone(0, Script { hold: hold(2, 4), ..calls("one") });
        let script = Script { hold: hold(3, 6), hang_up: seconds(20), ..answers(0) };
        let _callee = office.phone(1, script);
        office.pass(4).await;
        assert_eq!(office.modes(0, 1), (Some(Mode::Idle), Some(Mode::Idle)));
        office.pass(4).await;
        assert_eq!(office.modes(0, 1), (Some(Mode::Plays), Some(Mode::Idle)));
        office.pass(4).await;
        assert!(office.is_joined(0, 1));
        office.close().await;
    });
}

#[test]
fn sound_before_the_answer_reaches_the_caller() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.caller("one");
        let part = Part::Answers { after: Duration::from_secs(5), has_early_media: true };
        let _callee = office.phone(1, Script { hang_up: seconds(5), ..Script::of(part) });
        office.pass(2).await;
        assert!(office.is_joined(0, 1), "before the answer");
        office.pass(5).await;
        assert!(office.is_joined(0, 1), "after the answer");
        office.close().await;
        assert_eq!(caller.await.unwrap().answered, 1);
    });
}

#[test]
fn who_hears_one_of_two_that_sound_hears_the_other_once_that_one_is_gone() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let _caller = office.caller("both");
        let _first = office.phone(3, Script::of(Part::Announces { after: Duration::from_secs(5) }));
        let part = Part::Answers { after: Duration::from_secs(20), has_early_media: true };
        let _second = office.phone(4, Script { hang_up: seconds(5), ..Script::of(part) });
        let heard = |office: &Office| [3, 4].map(|phone| office.is_joined(0, phone));
        office.pass(3).await;
        assert_eq!(heard(&office), [true, false]);
        office.pass(5).await;
        assert_eq!(heard(&office), [false, true]);
        office.close().await;
    });
}

#[test]
fn a_phone_that_dies_ends_the_call_after_its_silence() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.caller("one");
        let _callee = office.phone(1, Script { death: seconds(10), ..answers(1) });
        office.pass(40).await;
        assert!(!office.simulation.is_idle());
        office.pass(30).await;
        assert!(office.simulation.is_idle());
        office.close().await;
        let caller = caller.await.unwrap();
        assert_eq!(caller.ended, 1);
        let gone = "Q.850;cause=102;text=\"RECOVERY_ON_TIMER_EXPIRE\"";
        assert_eq!(caller.end_reason.as_deref(), Some(gone));
    });
}

#[test]
fn who_is_on_hold_may_be_silent_until_it_is_taken_off() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let hold = Some((Duration::from_secs(2), Duration::from_secs(100)));
        let _caller = office.phone(0, Script { hold, ..calls("one") });
        let _callee = office.phone(1, Script { death: seconds(10), ..answers(1) });
        office.pass(100).await;
        assert!(!office.simulation.is_idle(), "on hold");
        office.pass(55).await;
        assert!(!office.simulation.is_idle(), "a minute counts from the end of hold");
        office.pass(25).await;
        assert!(office.simulation.is_idle());
        office.close().await;
    });
}

#[test]
fn the_public_reaches_by_a_transfer_only_whom_it_reaches_without() {
    for is_public in [true, false] {
        run(|seed| async move {
            let mut office = Office::new(seed, |config| {
                config.users.get_mut("one").unwrap().public = is_public;
            });
            let caller = office.caller("through");
            let phone = office.phone(1, Script { hang_up: seconds(5), ..answers(1) });
            office.close().await;
            let (caller, phone) = (caller.await.unwrap(), phone.await.unwrap());
            assert_eq!((caller.answered, phone.invites), if is_public { (1, 1) } else { (0, 0) });
            assert_eq!(status_of(&caller), (!is_public).then_some(404));
        });
    }
}

#[test]
fn rfc3261_16_3_a_call_that_comes_back_to_its_number_is_482() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.caller("one");
        // What is sent to the phone comes back from elsewhere, to the number that was called.
        let (_, mut from_server) = office.simulation.line(address(1));
        let (to_server, mut answers) = office.simulation.line(address(9));
        let mirror = tokio::spawn(async move {
            while let Some(bytes) = from_server.recv().await {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                let (phone, elsewhere) = (address(1), address(9));
                let back = text
                    .replace(&format!("sip:one@{phone} "), &format!("sip:one@{SERVER} "))
                    .replace(&format!("UDP {SERVER};"), &format!("UDP {elsewhere};"))
                    .replace("z9hG4bK", "z9hG4bKback");
                to_server.send(back.into());
            }
        });
        let answer = loop {
            let text = String::from_utf8(answers.recv().await.unwrap().to_vec()).unwrap();
            let status = text.strip_prefix("SIP/2.0 ").unwrap()[..3].to_owned();
            if status != "100" {
                break status;
            }
        };
        assert_eq!(answer, "482");
        office.close().await;
        mirror.abort();
        assert_eq!(caller.await.unwrap().ended, 1);
    });
}

#[test]
fn an_invite_says_how_many_hops_are_left_and_where_it_has_been() {
    run(|seed| async move {
        let mut office = Office::new(seed, |_| {});
        let caller = office.caller("one");
        let callee = office.phone(1, refuses(486));
        office.close().await;
        let invite = callee.await.unwrap().invite.expect("an INVITE came");
        assert_eq!(invite.number(Name::MaxForwards), Some(69));
        assert!(invite.header(Name::SidetoneTrail).is_some());
        assert_eq!(caller.await.unwrap().ended, 1);
    });
}

#[test]
fn digits_reach_who_wants_them_as_info() {
    run(|seed| async move {
        let mut office = Office::new(seed, |config| {
            if let Some(user) = config.users.get_mut("one") {
                user.dtmf = DtmfMode::Info;
            }
        });
        let caller = office.caller("one");
        let callee = office.phone(1, Script { hang_up: seconds(10), ..answers(1) });
        office.pass(3).await;
        office.mock.press(rtp_port(0), '7');
        office.close().await;
        let infos = callee.await.unwrap().infos;
        assert_eq!(infos.len(), 1);
        assert_eq!(infos[0].content_type, "application/dtmf-relay");
        assert_eq!(&*infos[0].bytes, b"Signal=7\r\nDuration=100\r\n");
        assert!(caller.await.unwrap().infos.is_empty());
    });
}
