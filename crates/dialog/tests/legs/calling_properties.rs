//! Whatever happens to a call of ours, in whatever order: one end, every 2xx acknowledged, every
//! fork but the first ended, no request left unanswered, no timer after the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dialog::state::State;
use dialog::{Action, Body, Event, Failure, Purpose, Settings};
use proptest::prelude::*;
use transaction::ServerId;
use transport::{Method, TransportKind};

use super::support::{Rig, cases, message_of};

#[derive(Clone, Debug)]
enum Step {
    HangUp,
    Offer,
    Info,
    Probe,
    AnswerOffer,
    RejectOffer,
    /// A response to one of our requests that still take one.
    Respond {
        which: usize,
        status: u16,
        fork: usize,
        has_body: bool,
    },
    Fail {
        which: usize,
        failure: Failure,
    },
    Receive {
        fork: usize,
        method: &'static str,
        body: &'static str,
    },
    Ack {
        cseq: u32,
    },
    FlowClosed,
    Advance {
        seconds: f64,
    },
}

proptest! {
    #![proptest_config(cases(1024))]
    #[test]
    fn one_end_and_every_2xx_acknowledged(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            prop_assert!(world.ends <= 1, "told of {} ends", world.ends);
            prop_assert_eq!(world.ends == 1, world.rig.leg.state() == State::Terminated);
        }
        world.finish();
        prop_assert_eq!(world.ends, 1);
        prop_assert!(world.rig.leg.is_finished());
        prop_assert_eq!(world.rig.leg.poll_timeout(), None);
        prop_assert_eq!(&world.received, &world.answered, "each request has its final response");
        for (tag, byes) in &world.byes {
            prop_assert!(*byes <= 1, "{byes} BYEs for {tag}");
        }
        for tag in &world.confirmed {
            let is_over = world.byes.contains_key(tag) || world.ended_by_peer.contains(tag);
            prop_assert!(is_over || world.is_silent, "the dialog of {tag} was left alone");
        }
    }
}

struct World {
    rig: Rig,
    /// Requests of ours without a final response, and INVITEs that take more 2xx.
    open: Vec<(Action, Kind)>,
    confirmed: BTreeSet<String>,
    byes: BTreeMap<String, usize>,
    ended_by_peer: BTreeSet<String>,
    /// The leg was given up without a word: its connection closed.
    is_silent: bool,
    received: BTreeSet<ServerId>,
    answered: BTreeSet<ServerId>,
    ends: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Any response may come.
    Open,
    /// RFC 6026: only 2xx.
    Accepted,
}

impl World {
    fn new() -> World {
        let session = dialog::session_timer::SessionPolicy {
            session_expires: Some(90),
            ..Default::default()
        };
        let rig = Rig::calling(TransportKind::Tcp, Settings { session, ..Settings::default() });
        let mut world = World {
            rig,
            open: Vec::new(),
            confirmed: BTreeSet::new(),
            byes: BTreeMap::new(),
            ended_by_peer: BTreeSet::new(),
            is_silent: false,
            received: BTreeSet::new(),
            answered: BTreeSet::new(),
            ends: 0,
        };
        world.drain(None);
        world
    }

    fn take(&mut self, step: Step) {
        let now = self.rig.now;
        let leg = &mut self.rig.leg;
        // Commands that do not fit are refused; that is part of what is tested.
        match step {
            Step::HangUp => leg.hang_up(None, now),
            Step::Offer => leg.offer(Body::sdp("v=0 ours"), now),
            Step::Info => {
                let _ = leg.info(&Body::sdp("5"));
            }
            Step::Probe => leg.probe(),
            Step::AnswerOffer => drop(self.rig.answer_offer()),
            Step::RejectOffer => drop(self.rig.reject_offer(488, Vec::new())),
            Step::Respond { which, status, fork, has_body } => {
                return self.respond(which, status, fork, has_body);
            }
            Step::Fail { which, failure } => return self.fail(which, failure),
            Step::Receive { fork, method, body } => {
                let tag = tag(fork);
                let is_known = *self.rig.leg.id().remote_tag == *tag;
                self.received.insert(self.rig.receive_from(&tag, method, "", body));
                if method == "BYE" && is_known {
                    self.ended_by_peer.insert(tag);
                }
            }
            Step::Ack { cseq } => self.rig.ack(cseq),
            Step::FlowClosed => leg.handle_flow_closed(super::support::flow(self.rig.kind).id, now),
            Step::Advance { seconds } => return self.advance(Duration::from_secs_f64(seconds)),
        }
        self.drain(None);
    }

    fn respond(&mut self, which: usize, status: u16, fork: usize, has_body: bool) {
        if self.open.is_empty() {
            return;
        }
        let index = which % self.open.len();
        let (action, kind) = self.open[index].clone();
        let Action::Request { purpose, .. } = action else { panic!("no request") };
        let is_invite = matches!(purpose, Purpose::Invite { .. });
        let is_success = (200..300).contains(&status);
        if kind == Kind::Accepted && !is_success || !is_invite && status < 200 {
            return;
        }
        let sdp = "Contact: <sip:b@192.0.2.2>\r\nContent-Type: application/sdp\r\n";
        let body = if has_body { "v=0 answer" } else { "" };
        let has_tag = message_of(&action).to_tag().is_some();
        // In-dialog requests reach one peer only.
        let tag = if has_tag { String::new() } else { tag(fork) };
        if status >= 200 && !(is_invite && is_success) {
            self.open.remove(index);
        } else if is_success {
            self.open[index].1 = Kind::Accepted;
        }
        if has_tag {
            self.rig.respond_with(&action, status, sdp, body);
        } else {
            self.rig.respond_tagged(&action, status, &tag, sdp, body);
        }
        if is_invite && is_success && !has_tag {
            self.confirmed.insert(tag.clone());
        }
        let owed = (is_invite && is_success).then(|| match has_tag {
            true => message_of(&action).to_tag().unwrap_or_default().into_owned(),
            false => tag,
        });
        self.drain(owed);
        if is_invite && status >= 300 {
            self.rig.leg.handle_client_ended(purpose);
        }
    }

    fn fail(&mut self, which: usize, failure: Failure) {
        if self.open.is_empty() {
            return;
        }
        let (action, kind) = self.open.remove(which % self.open.len());
        let Action::Request { purpose, .. } = action else { panic!("no request") };
        // A connection that closes takes the BYE that it had along.
        if purpose == Purpose::Bye && failure == Failure::Transport {
            self.byes.remove(&*message_of(&action).to_tag().unwrap_or_default());
            self.is_silent = true;
        }
        if kind == Kind::Open {
            self.rig.leg.handle_failure(purpose, failure, self.rig.now);
        }
        self.rig.leg.handle_client_ended(purpose);
        self.drain(None);
    }

    fn advance(&mut self, time: Duration) {
        let end = self.rig.now + time;
        while let Some(at) = self.rig.leg.poll_timeout().filter(|at| *at <= end) {
            self.rig.now = self.rig.now.max(at);
            self.rig.handle_timeout();
            self.drain(None);
        }
        self.rig.now = end;
    }

    /// Hangs up, and lets every timer and every request of ours come to its end.
    fn finish(&mut self) {
        self.take(Step::HangUp);
        self.take(Step::Advance { seconds: 40.0 });
        while !self.open.is_empty() {
            self.fail(0, Failure::Timeout);
            self.take(Step::Advance { seconds: 40.0 });
        }
    }

    /// Takes note of what the leg does. `owed` is the fork whose 2xx came just now: its ACK must
    /// be the first thing.
    fn drain(&mut self, owed: Option<String>) {
        let actions = self.rig.actions();
        if let Some(tag) = owed {
            let ack = actions.first().map(message_of);
            let ack = ack.filter(|message| *message.method() == Method::Ack);
            assert_eq!(ack.as_ref().and_then(|ack| ack.to_tag()).as_deref(), Some(&*tag), "no ACK");
        }
        for action in actions {
            match &action {
                // A 2xx is repeated until its ACK.
                Action::Respond { id, status, .. } if *status >= 200 => {
                    self.answered.insert(*id);
                }
                Action::Respond { .. } => {}
                Action::Request { purpose, .. } => {
                    if matches!(purpose, Purpose::Bye | Purpose::ForkBye) {
                        let tag = message_of(&action).to_tag().unwrap().into_owned();
                        *self.byes.entry(tag).or_default() += 1;
                    }
                    self.open.push((action, Kind::Open));
                }
                Action::Cancel { .. } | Action::Farewell { .. } | Action::Acknowledge { .. } => {}
            }
        }
        for event in self.rig.events() {
            if let Event::Ended { cause, .. } = event {
                self.ends += 1;
                self.is_silent |= cause == dialog::Cause::FlowClosed;
            }
        }
    }
}

fn tag(fork: usize) -> String {
    format!("b{fork}")
}

fn step() -> impl Strategy<Value = Step> {
    let method = prop::sample::select(vec!["INVITE", "UPDATE", "INFO", "OPTIONS", "BYE", "REFER"]);
    let body = prop::sample::select(vec!["", "v=0 x"]);
    let status = prop::sample::select(vec![
        100, 180, 183, 183, 200, 200, 200, 200, 302, 401, 408, 422, 481, 486, 487, 491, 503, 603,
    ]);
    let failure = prop::sample::select(vec![Failure::Timeout, Failure::Transport]);
    prop_oneof![
        1 => Just(Step::HangUp),
        4 => Just(Step::Offer),
        1 => Just(Step::Info),
        1 => Just(Step::Probe),
        3 => Just(Step::AnswerOffer),
        1 => Just(Step::RejectOffer),
        16 => (0usize..4, status, 0usize..3, any::<bool>()).prop_map(
            |(which, status, fork, has_body)| Step::Respond { which, status, fork, has_body }
        ),
        1 => (0usize..4, failure).prop_map(|(which, failure)| Step::Fail { which, failure }),
        5 => (0usize..3, method, body)
            .prop_map(|(fork, method, body)| Step::Receive { fork, method, body }),
        2 => (1u32..6).prop_map(|cseq| Step::Ack { cseq }),
        1 => Just(Step::FlowClosed),
        4 => (0.0f64..40.0).prop_map(|seconds| Step::Advance { seconds }),
    ]
}
