//! One side of a call: a dialog and its INVITE usage, whoever called whom.

mod calling;
mod command;
mod inbound;
mod offering;
mod outbound;
mod reach;
mod repeat;
mod response;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::Rng;
use tracing::debug;
use transaction::ServerId;
use transport::{Flow, FlowId, Message, Name, Scheme};

use crate::body::Body;
use crate::dialog::{Dialog, DialogId};
use crate::event::{Action, Cause, Event, Headers, OfferNumber, Party};
use crate::offer_answer::{self, OfferAnswer};
use crate::reject::Refusal;
use crate::session_timer::{SessionInterval, SessionRequest};
use crate::settings::Settings;
use crate::state::{self, Input, State};

use calling::{Ack, Calling};
use offering::Offering;
use outbound::Session;
use reach::ByeWay;
use repeat::Success;

pub use calling::Invite;
pub(crate) use response::refuse_writer;

/// One side of a call.
///
/// Sans-I/O: after every call, poll [`poll_action`](Self::poll_action) and
/// [`poll_event`](Self::poll_event) until `None`, then read [`poll_timeout`](Self::poll_timeout).
/// After [`Event::Ended`] keep it until [`is_finished`](Self::is_finished): a late 2xx of a fork has
/// to be acknowledged, and a BYE answered.
pub struct Leg {
    state: State,
    offer_answer: OfferAnswer,
    dialog: Dialog,
    settings: Arc<Settings>,
    /// `host:port` of ours that the peer can reach.
    contact: Box<str>,
    /// The peer was called, or called us, by a SIPS URI.
    is_sips: bool,
    /// Where the peer was heard last.
    flow: Flow,
    is_flow_lost: bool,
    bye_way: ByeWay,
    /// The flow at the last probe, if it may be repeated on another.
    probed: Option<FlowId>,
    /// An INFO is out, and these wait for its response.
    infos: Option<VecDeque<Body>>,
    /// The INVITE or re-INVITE that waits for its final response.
    invite: Option<Pending>,
    /// The UPDATE that waits for the answer to its offer.
    update: Option<Pending>,
    /// The BYE of the peer while it is being answered.
    bye: Option<Pending>,
    /// The 2xx that waits for its ACK.
    success: Option<Success>,
    /// What the ACK carried, while it is being told.
    ack_body: Option<Body>,
    /// The final response that is not a 2xx, while it is being sent.
    refusal: Option<(u16, Headers)>,
    /// The provisional response to send next, and when: the last one again, or a first one.
    provisional: Option<(u16, Instant)>,
    /// Until when the INVITE wants an answer (RFC 3261 §13.3.1).
    expiry: Option<Instant>,
    session: Option<Session>,
    /// The shortest session that the peer accepts, once it has refused a shorter one (422).
    peer_min_se: Option<u32>,
    /// Our INVITE, until its transaction is gone.
    calling: Option<Box<Calling>>,
    /// The INVITE was ours, and with it the Call-ID.
    is_caller: bool,
    /// The 2xx to our INVITE and its answer, while they are being told.
    answered: Option<(Message, Option<Body>)>,
    /// Our description that is offered or waits to be.
    offering: Option<Box<Offering>>,
    /// The last description of ours that was offered or answered.
    local_body: Option<Body>,
    /// The answer that a provisional response of ours has told already.
    early_answer: Option<Body>,
    /// Which of the peer's offers came last.
    offers: OfferNumber,
    /// Whether the peer takes UPDATE, if it has said.
    peer_has_update: Option<bool>,
    /// The transactions of our INVITEs that still take responses, by CSeq number.
    invites: Vec<u32>,
    /// What acknowledged their 2xx.
    acks: Vec<Ack>,
    /// Until when a phone whose connection closed while it rang may still answer, by another one.
    late_until: Option<Instant>,
    /// The Reason of the BYE or CANCEL to come.
    bye_reason: Option<Box<str>>,
    end: Option<(Party, Cause, Option<String>)>,
    branches: u32,
    secret: u64,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

/// What every leg is made of.
struct Parts<'a> {
    state: State,
    dialog: Dialog,
    flow: Flow,
    contact: &'a str,
    is_sips: bool,
    settings: Arc<Settings>,
    secret: u64,
}

/// A request of the peer that waits for our final response.
#[derive(Clone)]
struct Pending {
    id: ServerId,
    message: Message,
    flow: Flow,
    session: Option<SessionInterval>,
}

/// An INVITE that cannot become a leg: give this response to its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// The whole response.
    pub bytes: Bytes,
}

impl Leg {
    /// A leg for an INVITE without a To tag. Nothing is sent before the first command.
    ///
    /// `contact` is the `host:port` at which the peer can reach us, IPv6 in brackets. `rng` decides
    /// our tag and the branches of our requests.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the INVITE has no usable Contact or asks for too short a session interval.
    pub fn new(
        id: ServerId,
        invite: Message,
        flow: Flow,
        contact: &str,
        settings: Arc<Settings>,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Leg, Refused> {
        let tag = format!("{}{:016x}", settings.node, rng.next_u64());
        let parts = Dialog::of_uas(&invite, &tag)
            .and_then(|dialog| Ok((dialog, session_of(&invite, &settings)?)));
        let (dialog, session) = parts.map_err(|refusal| {
            let writer = refuse_writer(&invite, &flow, &refusal, &settings);
            Refused { status: refusal.status(), bytes: writer.to_tag(&tag).finish() }
        })?;
        let offer = match Body::description(&invite) {
            None => offer_answer::Input::InviteWithoutOffer,
            Some(_) => offer_answer::Input::InviteWithOffer,
        };
        let offer_answer =
            offer_answer::step(OfferAnswer::Stable, offer).unwrap_or(OfferAnswer::Stable);
        let seconds = invite.number(Name::Expires);
        let called = invite.request_uri().and_then(Result::ok);
        let is_sips =
            called.is_some_and(|uri| uri.scheme() == Scheme::Sips) || dialog.begins_at_sips();
        let (state, secret) = (State::Early, rng.next_u64());
        let parts = Parts { state, dialog, flow, contact, is_sips, settings, secret };
        let mut leg = Leg::of(parts);
        leg.offer_answer = offer_answer;
        leg.expiry = seconds.map(|seconds| now + Duration::from_secs(seconds.into()));
        leg.note_allow(&invite);
        leg.invite = Some(Pending { id, message: invite, flow, session });
        leg.provisional = Some((183, now + PROVISIONAL_INTERVAL));
        Ok(leg)
    }

    fn of(parts: Parts<'_>) -> Leg {
        let Parts { state, dialog, flow, contact, is_sips, settings, secret } = parts;
        Leg {
            state,
            offer_answer: OfferAnswer::Stable,
            dialog,
            settings,
            contact: contact.into(),
            is_sips,
            flow,
            is_flow_lost: false,
            bye_way: ByeWay::default(),
            probed: None,
            infos: None,
            invite: None,
            update: None,
            bye: None,
            success: None,
            ack_body: None,
            refusal: None,
            provisional: None,
            expiry: None,
            session: None,
            peer_min_se: None,
            calling: None,
            is_caller: false,
            answered: None,
            offering: None,
            local_body: None,
            early_answer: None,
            offers: OfferNumber::default(),
            peer_has_update: None,
            invites: Vec::new(),
            acks: Vec::new(),
            late_until: None,
            bye_reason: None,
            end: None,
            branches: 0,
            secret,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The identifiers of the dialog; without a tag of the peer while we call.
    pub fn id(&self) -> &DialogId {
        self.dialog.id()
    }

    /// The state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Where offers and answers stand.
    pub fn offer_answer(&self) -> OfferAnswer {
        self.offer_answer
    }

    /// Where our requests are addressed to, a URI.
    pub fn remote_target(&self) -> &str {
        self.dialog.remote_target()
    }

    /// Whether a request with our tag belongs to a dialog of this leg.
    pub fn owns(&self, request: &Message) -> bool {
        let tag = request.from_tag().unwrap_or_default();
        *self.dialog.id().call_id == *request.call_id()
            && (*self.dialog.id().remote_tag == *tag || self.has_fork(&tag))
    }

    /// Whether the leg has ended and no response is left that it would have to acknowledge. Until
    /// then it must be kept.
    pub fn is_finished(&self) -> bool {
        self.state == State::Terminated && self.invites.is_empty() && self.late_until.is_none()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        // A confirmed leg lives long and says little.
        if action.is_none() {
            self.actions.shrink_to_fit();
        }
        action
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            self.events.shrink_to_fit();
        }
        event
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let success = self.success.as_ref().and_then(Success::deadline);
        let session = self.session.as_ref().map(Session::deadline);
        let provisional = self.provisional.map(|(_, deadline)| deadline);
        let offering = self.offering.as_ref().and_then(|offering| offering.deadline());
        let deadlines = [success, session, provisional, self.expiry, offering, self.late_until];
        deadlines.into_iter().flatten().min()
    }

    /// Does what is due. Extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.late_until.take_if(|late_until| *late_until <= now);
        self.check_expiry(now);
        self.repeat_provisional(now);
        self.repeat_success(now);
        self.check_session(now);
        self.try_offer(now);
        self.check_offer(now);
    }

    /// Ends without waiting any longer for an ACK: the process stops, and a BYE before the ACK is
    /// better than none at all.
    pub fn stop_waiting(&mut self, now: Instant) {
        if matches!(self.state, State::Answered | State::AnsweredToEnd) {
            self.ends(Party::Local, Cause::Unacknowledged, None);
            self.run(Input::AckTimeout, now);
        }
    }

    fn check_expiry(&mut self, now: Instant) {
        if self.expiry.is_some_and(|expiry| expiry <= now) {
            self.refusal = Some((Refusal::Terminated.status(), Headers::new()));
            self.ends(Party::Remote, Cause::Expired, None);
            self.run(Input::Reject, now);
        }
    }

    /// Takes the step of `input`. Whatever ends the leg also ends the requests that wait for us.
    fn run(&mut self, input: Input, now: Instant) {
        let (next, actions) = state::step(self.state, input);
        if next != self.state {
            debug!(sip_call_id = %self.dialog.id().call_id, from = ?self.state, to = ?next, "leg");
        }
        self.state = next;
        for &action in actions {
            self.act(action, now);
        }
        if next != State::Early {
            self.provisional = None;
            self.expiry = None;
        }
        if matches!(next, State::Terminating | State::Terminated) {
            self.refuse_pending();
            self.withdraw_offer();
            self.local_body = None;
        }
        self.try_offer(now);
    }

    fn act(&mut self, action: state::Action, now: Instant) {
        match action {
            state::Action::Accept | state::Action::Repeat => self.send_success(),
            state::Action::StartRepeating => self.start_repeating(now),
            state::Action::StopRepeating => self.success = None,
            state::Action::RefuseInvite => {
                let default = (Refusal::Terminated.status(), Headers::new());
                let (status, headers) = self.refusal.take().unwrap_or(default);
                if let Some(invite) = self.invite.take() {
                    self.refuse_with(&invite, status, headers);
                }
            }
            state::Action::StopSession => self.session = None,
            state::Action::Bye => self.send_bye(now),
            state::Action::AnswerBye => {
                if let Some(bye) = self.bye.take() {
                    self.respond(&bye, 200);
                }
            }
            state::Action::Cancel => self.cancel_invite(),
            state::Action::Acknowledge => self.acknowledge_success(),
            state::Action::StartSession => {
                if let Some((success, answer)) = self.answered.take() {
                    self.start_session_as_caller(&success, now);
                    self.events.push_back(Event::Accepted { answer });
                }
            }
            state::Action::Confirmed => {
                let answer = self.ack_body.take();
                self.events.push_back(Event::Confirmed { answer });
            }
            state::Action::Ending => {
                if let Some((_, cause, _)) = &self.end {
                    self.events.push_back(Event::Ending { cause: cause.clone() });
                }
            }
            state::Action::Ended => {
                let default = (Party::Local, Cause::HungUp, None);
                let (by, cause, reason) = self.end.take().unwrap_or(default);
                self.events.push_back(Event::Ended { by, cause, reason });
            }
        }
    }

    /// Notes how the leg ends; what came first counts.
    fn ends(&mut self, by: Party, cause: Cause, reason: Option<String>) {
        self.end.get_or_insert((by, cause, reason));
    }

    /// RFC 3261 §15.1.2: requests that still wait get 487.
    fn refuse_pending(&mut self) {
        for pending in [self.invite.take(), self.update.take()].into_iter().flatten() {
            self.refuse_with(&pending, Refusal::Terminated.status(), Headers::new());
        }
        self.offer_answer = OfferAnswer::Stable;
    }

    fn new_branch(&mut self) -> String {
        self.branches = self.branches.wrapping_add(1);
        format!("z9hG4bK{:016x}", self.hash_of(self.branches))
    }

    /// 0 to 10 seconds, as RFC 3261 §14.2 asks for.
    fn retry_after_s(&self) -> u8 {
        (self.random() % 11) as u8
    }

    /// Another number after each request of ours.
    fn random(&self) -> u64 {
        self.hash_of(u32::MAX ^ self.branches)
    }

    /// Takes note of the methods that the peer says it has (RFC 3261 §20.5).
    fn note_allow(&mut self, message: &Message) {
        if message.has(Name::Allow) {
            self.peer_has_update = Some(message.lists(Name::Allow, "UPDATE"));
        }
    }

    fn hash_of(&self, value: u32) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.secret, &self.dialog.id().local_tag, value).hash(&mut hasher);
        hasher.finish()
    }
}

/// What a request asks of session timers, and what we agree to.
fn session_of(request: &Message, settings: &Settings) -> Result<Option<SessionInterval>, Refusal> {
    let is_supported =
        request.lists(Name::Supported, SUPPORTED) || request.lists(Name::Require, SUPPORTED);
    SessionRequest::read(
        request.header(Name::SessionExpires).as_deref(),
        request.header(Name::MinSe).as_deref(),
        is_supported,
    )
    .negotiate(&settings.session)
    .map_err(|small| Refusal::IntervalTooSmall { min_se: small.min_se })
}

/// What a message says of its reason: a list, on one line or several (RFC 3326 §2).
fn reason(message: &Message) -> Option<String> {
    let lines: Vec<_> = message.headers(Name::Reason).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// The Reason of a CANCEL or BYE to those who are not needed since another one answered (RFC 3326
/// §3.1).
pub const COMPLETED_ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// The option tags of ours (RFC 4028); also what a `transport::Policy` may accept in Require.
pub const SUPPORTED: &str = "timer";

/// RFC 3261 §13.3.1.1.
const PROVISIONAL_INTERVAL: Duration = Duration::from_secs(60);
