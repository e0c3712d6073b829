//! The table of all SIP legs: by dialog, by transaction, by connection, by deadline.

mod actions;
mod index;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dialog::state::State;
use dialog::{Body, Failure, Leg, Purpose, Settings};
use dialplan::Cause;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{self, error::TrySendError};
use tracing::{debug, warn};
use transaction::{ClientId, Peak, ServerId, TransactionLayer};
use transport::routing::NextHop;
use transport::{Flow, FlowId, Message, Method};

pub use self::actions::Unsent;
use super::farewells::{Farewells, Returned};
use super::per_address::PerAddress;
use crate::calls::{self, EVENTS_RESERVED, SipCommand, SipEvent};
use crate::metrics::{Direction, Metrics};

/// Names a leg for as long as the process lives; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegKey(u64);

impl LegKey {
    pub(crate) fn new(number: u64) -> Self {
        LegKey(number)
    }
}

/// The table.
pub(super) struct Legs {
    settings: Arc<Settings>,
    /// Boxed, since the table keeps room for more than there are.
    table: FxHashMap<LegKey, Box<Entry>>,
    /// By our tag, which no other leg has, whatever tags its peers have.
    by_tag: HashMap<Box<str>, LegKey>,
    /// Requests of the peers within dialogs, and what began the legs.
    by_server: FxHashMap<ServerId, (LegKey, Method)>,
    by_client: FxHashMap<ClientId, (LegKey, Purpose)>,
    /// Legs whose peer was heard last on a connection.
    by_flow: BTreeSet<(FlowId, LegKey)>,
    deadlines: BTreeSet<(Instant, LegKey)>,
    /// Legs whose connection is closed.
    lost: BTreeSet<LegKey>,
    /// Legs with something to say.
    changed: Vec<LegKey>,
    /// Requests to peers whose connection is closed.
    unrouted: VecDeque<(Unsent, NextHop)>,
    farewells: Farewells,
    /// Answered calls that wait for their ACK, of callers without a password, by address.
    unacknowledged: PerAddress,
    /// Calls without a final answer, of callers without a password, by address.
    unanswered: PerAddress,
    /// Those of the unacknowledged in datagrams to which their 2xx is sent again, and then a BYE.
    repeated: PerAddress,
    /// ACKs of 2xx, which no transaction sends.
    acks: VecDeque<(Flow, Bytes)>,
    /// Legs that have not ended.
    live: usize,
    peak: Peak,
}

struct Entry {
    leg: Leg,
    /// Who has shown a password, or was called.
    user: Option<Box<str>>,
    /// Until the end has been told.
    events: Option<mpsc::Sender<SipEvent>>,
    /// Where it comes from, if it counts as unacknowledged.
    unacknowledged: Option<IpAddr>,
    /// Where it comes from, if it counts as unanswered.
    unanswered: Option<IpAddr>,
    /// Where it comes from, if it counts as one to which the 2xx is sent again.
    repeated: Option<IpAddr>,
    /// Requests of the peer whose transactions are there.
    requests: u16,
    /// The transaction of our last INVITE.
    invite: Option<(Purpose, ClientId)>,
    flow: FlowId,
    deadline: Option<Instant>,
}

impl Legs {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Legs {
            settings,
            table: FxHashMap::default(),
            by_tag: HashMap::new(),
            by_server: FxHashMap::default(),
            by_client: FxHashMap::default(),
            by_flow: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            lost: BTreeSet::new(),
            changed: Vec::new(),
            unrouted: VecDeque::new(),
            farewells: Farewells::default(),
            unacknowledged: PerAddress::default(),
            unanswered: PerAddress::default(),
            repeated: PerAddress::default(),
            acks: VecDeque::new(),
            live: 0,
            peak: Peak::default(),
        }
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Whether every leg has ended. Some may still wait for 2xx to acknowledge.
    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Shrinks tables that a flood of calls has left almost empty; whether there were such.
    pub(super) fn shrink(&mut self) -> bool {
        let has_passed = self.peak.has_passed(self.table.len());
        if has_passed {
            self.table.shrink_to_fit();
            self.by_tag.shrink_to_fit();
            self.by_server.shrink_to_fit();
            self.by_client.shrink_to_fit();
        }
        has_passed
    }

    /// The leg of the dialog that a request belongs to.
    pub(super) fn find(&self, request: &Message) -> Option<LegKey> {
        let key = *self.by_tag.get(&*request.to_tag()?)?;
        self.table.get(&key)?.leg.owns(request).then_some(key)
    }

    pub(super) fn insert(
        &mut self,
        key: LegKey,
        leg: Leg,
        user: Option<Box<str>>,
        invite: Option<ServerId>,
        events: mpsc::Sender<SipEvent>,
    ) {
        let flow = leg.flow().id;
        self.by_tag.insert(leg.id().local_tag.clone(), key);
        let requests = u16::from(invite.is_some());
        let is_of_a_stranger = invite.is_some() && user.is_none();
        let unanswered = is_of_a_stranger.then_some(leg.flow().remote.ip());
        if let Some(from) = unanswered {
            self.unanswered.add(from);
        }
        if let Some(invite) = invite {
            self.by_server.insert(invite, (key, Method::Invite));
        }
        self.by_flow.insert((flow, key));
        let entry = Entry {
            leg,
            user,
            events: Some(events),
            unacknowledged: None,
            unanswered,
            repeated: None,
            requests,
            invite: None,
            flow,
            deadline: None,
        };
        self.table.insert(key, Box::new(entry));
        self.live += 1;
        self.changed.push(key);
    }

    /// Does what a call asked of its leg; one that has ended is past it.
    pub(super) fn command(&mut self, key: LegKey, command: SipCommand, now: Instant) {
        let Some(entry) = self.table.get_mut(&key) else { return };
        let leg = &mut entry.leg;
        let done = match command {
            SipCommand::Ring => leg.ring(now),
            SipCommand::Progress { description } => {
                leg.progress(description.map(Body::sdp).as_ref(), now)
            }
            SipCommand::Accept { description } => {
                leg.accept(&Body::sdp(description), Vec::new(), now)
            }
            SipCommand::Reject { status, headers } => leg.reject(status, headers, now),
            SipCommand::AnswerOffer { number, description } => {
                leg.answer_offer(number, &Body::sdp(description), now)
            }
            SipCommand::RejectOffer { number, status, headers } => {
                leg.reject_offer(number, status, headers, now)
            }
            SipCommand::Info { body } => leg.info(&body),
            SipCommand::Probe => {
                leg.probe();
                Ok(())
            }
            SipCommand::HangUp { cause, reason } => {
                let reason = reason.unwrap_or_else(|| calls::reason(cause));
                leg.hang_up(Some(&reason), now);
                Ok(())
            }
        };
        if let Err(error) = done {
            // The peer was faster: it cancelled, hung up, or took its offer back; or it is too slow.
            debug!(%error, "command to a leg not done");
        }
        self.changed.push(key);
    }

    /// Hangs up the legs whose calls are gone.
    pub(super) fn hang_up_left(&mut self, now: Instant) {
        let is_left = |entry: &Entry| entry.events.as_ref().is_some_and(mpsc::Sender::is_closed);
        let left = self.table.iter().filter(|(_, entry)| is_left(entry));
        for key in left.map(|(key, _)| *key).collect::<Vec<_>>() {
            let cause = Cause::NORMAL_CLEARING;
            self.command(key, SipCommand::HangUp { cause, reason: None }, now);
        }
    }

    /// Hands a request to the leg of its dialog; `false` if there is none.
    pub(super) fn handle_request(
        &mut self,
        id: ServerId,
        request: &Message,
        flow: &Flow,
        now: Instant,
    ) -> bool {
        let Some(key) = self.find(request) else { return false };
        let Some(entry) = self.table.get_mut(&key) else { return false };
        self.by_server.insert(id, (key, request.method().clone()));
        entry.requests = entry.requests.saturating_add(1);
        entry.leg.handle_request(id, request.clone(), *flow, now);
        self.changed.push(key);
        true
    }

    /// Whether the ACK belongs to a leg.
    pub(super) fn handle_ack(&mut self, ack: &Message, flow: &Flow, now: Instant) -> bool {
        let key = self.find(ack);
        self.with(key, |leg| leg.handle_ack(ack, *flow, now));
        key.is_some()
    }

    pub(super) fn handle_cancel(&mut self, invite: ServerId, cancel: &Message, now: Instant) {
        let key = self.by_server.get(&invite).map(|(key, _)| *key);
        self.with(key, |leg| leg.handle_cancel(invite, cancel, now));
    }

    pub(super) fn handle_unanswered(&mut self, id: ServerId, now: Instant) {
        let key = self.by_server.get(&id).map(|(key, _)| *key);
        self.with(key, |leg| leg.handle_unanswered(id, now));
    }

    pub(super) fn handle_response(
        &mut self,
        id: ClientId,
        response: &Message,
        flow: Flow,
        now: Instant,
    ) {
        let Some((key, purpose)) = self.by_client.get(&id).copied() else { return };
        self.with(Some(key), |leg| leg.handle_response(purpose, response, flow, now));
    }

    /// A 2xx to an INVITE of ours whose transaction is gone.
    pub(super) fn handle_stray_success(&mut self, response: &Message, flow: Flow, now: Instant) {
        let tag = response.from_tag().unwrap_or_default();
        let key = self.by_tag.get(&*tag).copied();
        let Some(cseq) = response.cseq().map(|cseq| cseq.number) else { return };
        self.with(key, |leg| {
            if *leg.id().call_id == *response.call_id() {
                leg.handle_response(Purpose::Invite { cseq }, response, flow, now);
            }
        });
    }

    pub(super) fn handle_failure(&mut self, id: ClientId, failure: Failure, now: Instant) {
        let Some((key, purpose)) = self.by_client.get(&id).copied() else { return };
        self.with(Some(key), |leg| leg.handle_failure(purpose, failure, now));
    }

    pub(super) fn forget_client(&mut self, id: ClientId) {
        if let Some((key, purpose)) = self.by_client.remove(&id) {
            self.with(Some(key), |leg| leg.handle_client_ended(purpose));
        }
    }

    /// No leg waits any longer for an ACK: the process stops.
    pub(super) fn stop_waiting(&mut self, now: Instant) {
        let waits = |leg: &Leg| matches!(leg.state(), State::Answered | State::AnsweredToEnd);
        for (key, entry) in self.table.iter_mut().filter(|(_, entry)| waits(&entry.leg)) {
            entry.leg.stop_waiting(now);
            self.changed.push(*key);
        }
    }

    pub(super) fn forget_server(&mut self, id: ServerId) {
        let Some((key, _)) = self.by_server.remove(&id) else { return };
        if let Some(entry) = self.table.get_mut(&key) {
            entry.requests = entry.requests.saturating_sub(1);
        }
    }

    /// Whether the peer of this leg has as many requests going on as one may, so that nobody fills
    /// the table of transactions from within a call.
    pub(super) fn is_busy(&self, key: LegKey, most: u16) -> bool {
        self.table.get(&key).is_some_and(|entry| entry.requests >= most)
    }

    /// The connection is gone, which may be noticed more than once.
    pub(super) fn handle_flow_closed(&mut self, flow: FlowId, now: Instant) {
        for key in self.on_flow(flow) {
            if self.table.get(&key).is_some_and(|entry| entry.leg.is_flow_lost()) {
                continue;
            }
            self.with(Some(key), |leg| leg.handle_flow_closed(flow, now));
            if let Some(entry) = self.table.get_mut(&key) {
                entry.tell(SipEvent::FlowClosed, now);
                self.lost.insert(key);
            }
        }
    }

    /// A device of a user has registered again on another flow: its legs go on with that one (RFC 5626
    /// §4.4), whether a connection broke or an address translator gave a phone another port.
    pub(super) fn handle_moved(
        &mut self,
        user: &str,
        from: &Flow,
        to: &Flow,
        transactions: &mut TransactionLayer,
    ) {
        let is_moved = |key: &LegKey| {
            let entry = self.table.get(key);
            entry.is_some_and(|e| e.user.as_deref() == Some(user) && e.leg.flow() == from)
        };
        for key in self.on_flow(from.id).into_iter().filter(is_moved).collect::<Vec<_>>() {
            self.move_leg(key, *to, transactions);
        }
    }

    /// The legs whose peer was heard last on a flow, or on the socket that it shares.
    fn on_flow(&self, flow: FlowId) -> Vec<LegKey> {
        let range = (flow, LegKey(0))..=(flow, LegKey(u64::MAX));
        self.by_flow.range(range).map(|(_, key)| *key).collect()
    }

    /// Legs of a peer that has registered again and which have lost their connection go on with that
    /// one (RFC 5626 §4.4); those that have ended meanwhile are told.
    pub(super) fn handle_registered(
        &mut self,
        peer: &Returned<'_>,
        transactions: &mut TransactionLayer,
        metrics: &Metrics,
        now: Instant,
    ) {
        let is_of_peer = |entry: &Entry| {
            let (leg, user) = (&entry.leg, entry.user.as_deref());
            user.is_some_and(|user| peer.is_peer_of(user, leg.remote_target(), leg.flow().kind))
        };
        let lost = self.lost.iter().filter_map(|key| Some((*key, self.table.get(key)?)));
        let moved: Vec<LegKey> =
            lost.filter(|(_, entry)| is_of_peer(entry)).map(|(key, _)| key).collect();
        for key in moved {
            self.move_leg(key, peer.flow, transactions);
        }
        for bye in self.farewells.take(peer, now) {
            metrics.request(Direction::Out, peer.flow.kind, &Method::Bye);
            if let Err(error) = transactions.request(bye, peer.flow, now) {
                debug!(%error, "farewell not sent");
            }
        }
    }

    /// A leg goes on with another flow, and so do the answers that its peer waits for.
    fn move_leg(&mut self, key: LegKey, to: Flow, transactions: &mut TransactionLayer) {
        // Most legs owe nothing, and the table has the requests of all.
        if self.table.get(&key).is_some_and(|entry| entry.requests > 0) {
            for (id, _) in self.by_server.iter().filter(|(_, (of, _))| *of == key) {
                transactions.move_server(*id, to);
            }
        }
        self.with(Some(key), |leg| leg.handle_peer_moved(to));
    }

    fn with(&mut self, key: Option<LegKey>, act: impl FnOnce(&mut Leg)) {
        let Some(key) = key else { return };
        if let Some(entry) = self.table.get_mut(&key) {
            act(&mut entry.leg);
            self.changed.push(key);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((deadline, key)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.pop_first();
            if let Some(entry) = self.table.get_mut(&key) {
                entry.deadline = None;
                entry.leg.handle_timeout(now);
                self.changed.push(key);
            }
        }
    }
}

impl Entry {
    /// Tells the call. One that fell too far behind to take it has lost its leg: that is ended here, so
    /// that nothing hangs. One that has gone needs to know nothing, and what it wants of the leg is on
    /// its way to us: [`calls::SipPort`] sees to that.
    fn tell(&mut self, event: SipEvent, now: Instant) {
        let Some(events) = &self.events else { return };
        if event.can_be_lost() && events.capacity() <= EVENTS_RESERVED {
            return;
        }
        let told = events.try_send(event);
        if matches!(told, Err(TrySendError::Full(_))) && self.leg.state().is_open() {
            let sip_call_id = &self.leg.id().call_id;
            warn!(sip_call_id, "a call does not take its events; ending it");
            self.leg.hang_up(None, now);
        }
    }
}
