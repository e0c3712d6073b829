//! Whatever happens in whatever order: one final response per INVITE, one end, no timer after it.

use std::collections::HashMap;
use std::time::Duration;

use dialog::state::State;
use dialog::{Action, Event, Failure, Purpose};
use proptest::prelude::*;
use transaction::ServerId;
use transport::{FlowId, TransportKind};

use super::support::{Rig, answer, cases, invite_with_body};

#[derive(Clone, Debug)]
enum Step {
    Ring,
    Progress,
    Accept,
    Reject,
    HangUp,
    AnswerOffer,
    RejectOffer,
    Receive { method: &'static str, body: &'static str },
    Ack { cseq: u32, body: &'static str },
    Cancel { which: usize },
    Fail { purpose: Purpose, failure: Failure },
    FlowClosed,
    Unanswered { which: usize },
    Advance { seconds: f64 },
}

proptest! {
    #![proptest_config(cases(512))]
    #[test]
    fn one_final_response_one_end_and_no_timer_after_it(
        has_offer in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let body = if has_offer { "v=0 offer" } else { "" };
        let text = invite_with_body("Session-Expires: 90\r\nSupported: timer\r\n", body);
        let mut world = World::new(&text);
        for step in steps {
            world.take(step);
            let most = world.finals.values().max().copied().unwrap_or(0);
            prop_assert!(most <= 1, "an INVITE got {most} different final responses");
            prop_assert!(world.ends <= 1, "told of {} ends", world.ends);
            prop_assert_eq!(world.ends == 1, world.rig.leg.state() == State::Terminated);
        }
        world.finish();
        prop_assert_eq!(world.ends, 1);
        prop_assert_eq!(world.rig.leg.poll_timeout(), None);
        for id in &world.invites {
            let count = world.finals.get(id).copied().unwrap_or(0);
            let expected = usize::from(!world.gone.contains(id));
            prop_assert_eq!(count, expected, "final responses of one INVITE");
        }
        prop_assert_eq!(world.requests, world.answered, "each request has its final response");
    }
}

struct World {
    rig: Rig,
    invites: Vec<ServerId>,
    /// The transactions that ended without us.
    gone: Vec<ServerId>,
    /// How many different final responses each INVITE got; repetitions of one do not count.
    finals: HashMap<ServerId, usize>,
    last: HashMap<ServerId, u16>,
    requests: usize,
    answered: usize,
    ends: usize,
}

impl World {
    fn new(text: &str) -> World {
        let mut rig = Rig::with(text, TransportKind::Tcp);
        let invites = vec![rig.invite_id()];
        World {
            rig,
            invites,
            gone: Vec::new(),
            finals: HashMap::new(),
            last: HashMap::new(),
            requests: 0,
            answered: 0,
            ends: 0,
        }
    }

    fn take(&mut self, step: Step) {
        let rig = &mut self.rig;
        let now = rig.now;
        // Commands that do not fit are refused; that is part of what is tested.
        match step {
            Step::Ring => drop(rig.leg.ring(now)),
            Step::Progress => drop(rig.leg.progress(Some(&answer()), now)),
            Step::Accept => drop(rig.leg.accept(&answer(), Vec::new(), now)),
            Step::Reject => drop(rig.leg.reject(486, Vec::new(), now)),
            Step::HangUp => rig.leg.hang_up(None, now),
            Step::AnswerOffer => drop(rig.answer_offer()),
            Step::RejectOffer => drop(rig.reject_offer(488, Vec::new())),
            Step::Receive { method, body } => {
                let id = rig.receive(method, "", body);
                if method == "INVITE" {
                    self.invites.push(id);
                } else {
                    self.requests += 1;
                }
            }
            Step::Ack { cseq, body } => rig.ack_with(cseq, body),
            Step::Cancel { which } => {
                let id = self.invites[which % self.invites.len()];
                rig.cancel(id);
            }
            Step::Fail { purpose, failure } => rig.leg.handle_failure(purpose, failure, now),
            Step::FlowClosed => rig.leg.handle_flow_closed(FlowId(TransportKind::Tcp as u64), now),
            Step::Unanswered { which } => {
                let id = self.invites[which % self.invites.len()];
                if !self.finals.contains_key(&id) && !self.gone.contains(&id) {
                    rig.leg.handle_unanswered(id, now);
                    self.gone.push(id);
                }
            }
            Step::Advance { seconds } => {
                self.advance(Duration::from_secs_f64(seconds));
            }
        }
        self.drain();
    }

    fn advance(&mut self, time: Duration) {
        let end = self.rig.now + time;
        while let Some(at) = self.rig.leg.poll_timeout().filter(|at| *at <= end) {
            self.rig.now = self.rig.now.max(at);
            self.rig.handle_timeout();
            self.drain();
        }
        self.rig.now = end;
    }

    /// Hangs up, and lets every timer and every request of ours come to its end.
    fn finish(&mut self) {
        self.take(Step::HangUp);
        self.take(Step::Advance { seconds: 40.0 });
        self.take(Step::Fail { purpose: Purpose::Bye, failure: Failure::Timeout });
    }

    fn drain(&mut self) {
        for action in self.rig.actions() {
            if let Action::Respond { id, status, .. } = action
                && status >= 200
            {
                if !self.invites.contains(&id) {
                    self.answered += 1;
                } else if self.last.insert(id, status) != Some(status) {
                    *self.finals.entry(id).or_default() += 1;
                }
            }
        }
        let told = self.rig.events();
        self.ends += told.iter().filter(|event| matches!(event, Event::Ended { .. })).count();
    }
}

fn step() -> impl Strategy<Value = Step> {
    let body = || prop::sample::select(vec!["", "v=0 x"]);
    let method = prop::sample::select(vec![
        "INVITE", "UPDATE", "INFO", "OPTIONS", "PRACK", "REFER", "BYE", "INVITE", "UPDATE",
    ]);
    let purpose = prop::sample::select(vec![Purpose::Bye, Purpose::Refresh]);
    let failure = prop::sample::select(vec![Failure::Timeout, Failure::Transport]);
    prop_oneof![
        1 => Just(Step::Ring),
        1 => Just(Step::Progress),
        4 => Just(Step::Accept),
        1 => Just(Step::Reject),
        1 => Just(Step::HangUp),
        4 => Just(Step::AnswerOffer),
        2 => Just(Step::RejectOffer),
        6 => (method, body()).prop_map(|(method, body)| Step::Receive { method, body }),
        6 => (1u32..6, body()).prop_map(|(cseq, body)| Step::Ack { cseq, body }),
        2 => (0usize..4).prop_map(|which| Step::Cancel { which }),
        1 => (purpose, failure).prop_map(|(purpose, failure)| Step::Fail { purpose, failure }),
        1 => Just(Step::FlowClosed),
        1 => (0usize..4).prop_map(|which| Step::Unanswered { which }),
        4 => (0.0f64..40.0).prop_map(|seconds| Step::Advance { seconds }),
    ]
}
