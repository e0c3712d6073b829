//! Those who are called at once: when each one is called, for how long, and what became of it.

use std::cmp::Reverse;
use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use dialplan::{BridgeRequest, Cause, Destination};
use tokio::time::Instant;
use tracing::warn;

use super::destination::Place;
use super::failure::{Best, Failure};
use crate::calls::leg::{Leg, LegInput};
use crate::calls::live::LiveCall;
use crate::config::RingContacts;
use crate::metrics::EndCause;

/// One attempt of a bridge while it rings.
pub(super) struct Fork<'a> {
    pub request: &'a BridgeRequest,
    destinations: &'a [Destination],
    pub branches: Vec<Branch>,
    best: Best,
    /// When all that rings is given up.
    deadline: Instant,
    /// How long those whose turn it is ring before the next ones are called.
    ring_step: Duration,
    /// What was called in this attempt, so that a redirection leads nowhere twice.
    visited: HashSet<(usize, String)>,
    pub redirects: usize,
    /// Branches there may be, redirections included.
    pub branches_max: usize,
    /// A place was left out, and the log says so.
    is_full: bool,
}

/// One place that is called.
pub(super) struct Branch {
    pub place: Place,
    /// Other flows of the same device, which rings once (RFC 5626 §7).
    others: VecDeque<Place>,
    /// Which of the destinations of the attempt it is a place of.
    pub destination: usize,
    pub state: State,
    turns: Vec<Turn>,
    starts_at: Instant,
    deadline: Option<Instant>,
    /// A provisional response came.
    pub has_rung: bool,
}

/// When a place has its turn among those of one destination, the lowest number first. A place that
/// is called instead of another has its turn within the turn of that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    number: u32,
    branch: usize,
}

pub(super) enum State {
    Waiting,
    Ringing(Box<Leg>),
    Over,
}

impl<'a> Fork<'a> {
    pub(super) fn new(
        call: &LiveCall,
        request: &'a BridgeRequest,
        destinations: &'a [Destination],
    ) -> Self {
        let policy = call.shared.policy;
        let now = Instant::now();
        // Who may ring for longer than is usual has that time.
        let own = |d: &Destination| d.delay.unwrap_or_default() + d.timeout.unwrap_or_default();
        let longest = destinations.iter().map(own).fold(policy.ring_timeout, Duration::max);
        let mut fork = Fork {
            request,
            destinations,
            branches: Vec::new(),
            best: Best::default(),
            deadline: now + request.timeout.unwrap_or(longest),
            ring_step: policy.ring_step,
            visited: HashSet::new(),
            redirects: 0,
            branches_max: policy.fork_max,
            is_full: false,
        };
        for (index, destination) in destinations.iter().enumerate() {
            match call.places(&destination.target) {
                Ok(places) => {
                    let places = places.into_iter().map(|place| (Q_MOST, place)).collect();
                    let starts_at = now + destination.delay.unwrap_or_default();
                    fork.add_in_turns(places, index, &[], starts_at, call);
                }
                Err(failure) => fork.best.add(failure),
            }
        }
        fork.take_turns();
        fork
    }

    /// Adds places that are called instead of a branch, and how much each one is preferred (q, 0 to
    /// 1000): those with a lower q after the others (RFC 3261 §8.1.3.4). `false` if none may be called.
    pub(super) fn add_instead(
        &mut self,
        index: usize,
        places: Vec<(u16, Place)>,
        call: &LiveCall,
    ) -> bool {
        let Some(branch) = self.branches.get(index) else { return false };
        let (destination, within) = (branch.destination, branch.turns.clone());
        let before = self.branches.len();
        self.add_in_turns(places, destination, &within, Instant::now(), call);
        self.take_turns();
        self.branches.len() > before
    }

    /// Adds places of a destination, each one with the q of the redirection that led there.
    fn add_in_turns(
        &mut self,
        mut places: Vec<(u16, Place)>,
        destination: usize,
        within: &[Turn],
        starts_at: Instant,
        call: &LiveCall,
    ) {
        let policy = call.shared.policy;
        let preference = |(q_milli, place): &(u16, Place)| match policy.ring_contacts {
            RingContacts::InOrder => (*q_milli, place.q_milli),
            RingContacts::Together => (*q_milli, Q_MOST),
        };
        places.sort_by_key(|place| Reverse(preference(place)));
        let (mut number, mut last) = (0, places.first().map(preference));
        let first = self.branches.len();
        for place in places {
            let own = Some(preference(&place));
            let (_, place) = place;
            if let Some(branch) = self.branch_of_device(&place, first) {
                branch.others.push_back(place);
                continue;
            }
            if own < last {
                (number, last) = (number + 1, own);
            }
            let mut turns = within.to_vec();
            turns.push(Turn { number, branch: self.branches.len() });
            self.add(place, destination, turns, starts_at, call);
        }
    }

    /// Sets when each place is called that waits for others to have had their turn: once the last of
    /// these has rung for a step, or will have.
    pub(super) fn take_turns(&mut self) {
        let numbers = |index: &usize| {
            let turns = self.branches.get(*index).map(|branch| branch.turns.as_slice());
            turns.unwrap_or_default().iter().map(|turn| turn.number).collect::<Vec<_>>()
        };
        let is_waiting = |(_, branch): &(_, &Branch)| matches!(branch.state, State::Waiting);
        let waiting = self.branches.iter().enumerate().filter(is_waiting);
        let mut waiting: Vec<usize> = waiting.map(|(index, _)| index).collect();
        waiting.sort_by_cached_key(numbers);
        for index in waiting {
            let is_awaited = |(earlier, other): &(usize, &Branch)| {
                !matches!(other.state, State::Over) && self.is_before(*earlier, index)
            };
            let awaited = self.branches.iter().enumerate().filter(is_awaited);
            let last = awaited.map(|(_, other)| other.starts_at).max();
            if let (Some(last), Some(branch)) = (last, self.branches.get_mut(index)) {
                branch.starts_at = last + self.ring_step;
            }
        }
    }

    /// The branch of the same device among those from `first` on.
    fn branch_of_device(&mut self, place: &Place, first: usize) -> Option<&mut Branch> {
        let instance = place.instance.as_ref()?;
        let is_it = |branch: &&mut Branch| branch.place.instance.as_ref() == Some(instance);
        self.branches.iter_mut().skip(first).find(is_it)
    }

    /// Adds a place, unless it was called before or there are too many.
    fn add(
        &mut self,
        place: Place,
        destination: usize,
        turns: Vec<Turn>,
        starts_at: Instant,
        call: &LiveCall,
    ) {
        let identity = place.identity();
        // Who is redirected to a phone that is being called already joins those who wait for it.
        let rings = |branch: &Branch| {
            !matches!(branch.state, State::Over) && branch.place.identity() == identity
        };
        let is_redirected = turns.len() > 1;
        if is_redirected && self.branches.iter().any(rings) {
            return;
        }
        if !self.visited.insert((destination, identity)) {
            return;
        }
        if self.branches.len() >= self.branches_max {
            let (call_id, fork_max) = (&call.facts.uuid, self.branches_max);
            if !std::mem::replace(&mut self.is_full, true) {
                warn!(
                    call_id,
                    fork_max, "more places to call than calls.fork_max; the rest is left out"
                );
            }
            return;
        }
        let state = State::Waiting;
        let (deadline, has_rung) = (None, false);
        self.branches.push(Branch {
            place,
            others: VecDeque::new(),
            destination,
            state,
            turns,
            starts_at,
            deadline,
            has_rung,
        });
    }

    fn is_before(&self, earlier: usize, index: usize) -> bool {
        let branches = self.branches.get(earlier).zip(self.branches.get(index));
        branches.is_some_and(|(earlier, branch)| earlier.is_before(branch))
    }

    pub(super) fn destination(&self, index: usize) -> Option<&'a Destination> {
        self.destinations.get(index)
    }

    /// Branches to start now: their time has come, or nobody before them is left.
    pub(super) fn due(&self, now: Instant) -> Vec<usize> {
        let is_first = |branch: &Branch| {
            let before = |other: &&Branch| other.is_before(branch);
            let mut before = self.branches.iter().filter(before).peekable();
            before.peek().is_some() && before.all(|other| matches!(other.state, State::Over))
        };
        let is_due = |branch: &Branch| {
            let is_waiting = matches!(branch.state, State::Waiting);
            is_waiting && (branch.starts_at <= now || is_first(branch))
        };
        let branches = self.branches.iter().enumerate();
        branches.filter(|(_, branch)| is_due(branch)).map(|(index, _)| index).collect()
    }

    /// A branch rings now; those whose turn was before it have had it.
    pub(super) async fn started(&mut self, index: usize, leg: Leg, now: Instant) {
        let Some(branch) = self.branches.get_mut(index) else { return };
        let timeout = self.destinations.get(branch.destination).and_then(|d| d.timeout);
        branch.deadline = timeout.map(|timeout| now + timeout);
        branch.starts_at = now;
        branch.state = State::Ringing(Box::new(leg));
        for earlier in 0..self.branches.len() {
            if self.is_before(earlier, index) {
                self.time_out(earlier).await;
            }
        }
    }

    /// The next thing that happens to any of those who are called.
    pub(super) async fn input(&mut self) -> (usize, LegInput) {
        std::future::poll_fn(|context| {
            for (index, branch) in self.branches.iter_mut().enumerate() {
                let State::Ringing(leg) = &mut branch.state else { continue };
                // Such a future keeps nothing between polls, since a leg that rings has no timers of
                // its own: it can be made anew.
                if let Poll::Ready(input) = pin!(leg.input()).poll(context) {
                    return Poll::Ready((index, input));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Whether nobody is called any more.
    pub(super) fn is_over(&self) -> bool {
        self.branches.iter().all(|branch| matches!(branch.state, State::Over))
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        let next = |branch: &Branch| match &branch.state {
            State::Waiting => Some(branch.starts_at),
            State::Ringing(_) => branch.deadline,
            State::Over => None,
        };
        let branches = self.branches.iter().filter_map(next).min();
        branches.map_or(self.deadline, |next| next.min(self.deadline))
    }

    /// Gives up who has rung for long enough.
    pub(super) async fn handle_timeout(&mut self, now: Instant) {
        for index in 0..self.branches.len() {
            let own = self.branches.get(index).and_then(|branch| branch.deadline);
            if self.deadline <= now || own.is_some_and(|deadline| deadline <= now) {
                self.time_out(index).await;
            }
        }
    }

    async fn time_out(&mut self, index: usize) {
        let Some(branch) = self.branches.get_mut(index) else { return };
        let cause = match (&branch.state, branch.has_rung) {
            (State::Over, _) => return,
            (State::Ringing(_), false) => Cause::NO_USER_RESPONSE,
            (State::Waiting, _) | (State::Ringing(_), true) => Cause::NO_ANSWER,
        };
        if let Some(mut leg) = branch.end() {
            leg.hang_up(EndCause::NoAnswer, cause, None).await;
        }
        self.best.add(Failure::ours(cause));
    }

    /// Notes why a branch is over, unless its device may be reached on another flow.
    pub(super) fn failed(&mut self, index: usize, failure: Failure) -> Option<Box<Leg>> {
        let branch = self.branches.get_mut(index)?;
        let leg = branch.end();
        if !(failure.is_of_flow && branch.try_other_flow()) {
            self.best.add(failure);
        }
        leg
    }

    /// A 6xx speaks for everything that its destination has (RFC 3261 §16.7 step 5).
    pub(super) async fn cancel_destination(&mut self, destination: usize) {
        for branch in self.branches.iter_mut().filter(|b| b.destination == destination) {
            if let Some(mut leg) = branch.end() {
                leg.hang_up(EndCause::Elsewhere, Cause::CALL_REJECTED, None).await;
            }
        }
    }

    /// Cancels everyone who is still called.
    pub(super) async fn cancel(&mut self, end: EndCause, cause: Cause, reason: Option<String>) {
        for branch in &mut self.branches {
            if let Some(mut leg) = branch.end() {
                leg.hang_up(end, cause, reason.clone()).await;
            }
        }
    }

    /// The one failure that the caller hears of.
    pub(super) fn failure(&mut self) -> Failure {
        self.best.take()
    }
}

impl Branch {
    /// Whether this one has its turn before another, which is for what lies in one destination.
    fn is_before(&self, other: &Branch) -> bool {
        let mut turns = self.turns.iter().zip(&other.turns);
        let differ = turns.find(|(own, other)| own != other);
        self.destination == other.destination
            && differ.is_some_and(|(own, other)| own.number < other.number)
    }

    /// Waits to be called on the next flow of its device; `false` if there is none.
    fn try_other_flow(&mut self) -> bool {
        let Some(place) = self.others.pop_front() else { return false };
        self.place = place;
        (self.state, self.has_rung) = (State::Waiting, false);
        true
    }

    /// Ends the branch; its leg, if it had one.
    pub(super) fn end(&mut self) -> Option<Box<Leg>> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Ringing(leg) => Some(leg),
            State::Waiting | State::Over => None,
        }
    }
}

/// The highest preference, which is that of a place that no redirection led to.
const Q_MOST: u16 = 1000;
