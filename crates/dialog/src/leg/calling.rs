//! Our INVITE: its responses from any number of forks, and its end (RFC 3261 §13.2, §9.1).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rand::Rng;
use transport::{Error as AddressError, Flow, Message, Method, Name, NameAddr, TransportKind, Uri};

use super::{COMPLETED_ELSEWHERE, Leg, Parts, SUPPORTED, reason};
use crate::body::Body;
use crate::dialog::{Dialog, DialogId};
use crate::error::Error;
use crate::event::{Action, Cause, Event, Failure, Headers, Party, Purpose, Redirection};
use crate::offer_answer;
use crate::reject::ALLOW;
use crate::session_timer::SECONDS_MAX;
use crate::settings::Settings;
use crate::state::{Input, State};

/// A call that we make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// The Request-URI.
    pub uri: String,
    /// Route values, such as the Path of a registration (RFC 3327 §5.3).
    pub routes: Vec<String>,
    /// User part of From, unescaped.
    pub from_user: String,
    /// Display name of From.
    pub from_name: Option<String>,
    /// User part of To at our own address; without it To is the Request-URI.
    pub to_user: Option<String>,
    /// Max-Forwards.
    pub max_forwards: u8,
    /// Our offer.
    pub offer: Body,
    /// Further header fields.
    pub headers: Headers,
}

/// What is kept of our INVITE until its transaction is gone.
pub(super) struct Calling {
    /// The number of the last attempt.
    cseq: u32,
    attempts: u8,
    max_forwards: u8,
    offer: Body,
    headers: Headers,
    /// Session-Expires and Min-SE, in seconds.
    session_expires: Option<u32>,
    min_se: u32,
    forks: Vec<Fork>,
}

/// An early dialog.
struct Fork {
    dialog: Dialog,
    /// The first answer; a later one of the same fork is none (RFC 3261 §13.2.1).
    answer: Option<Body>,
}

impl Leg {
    /// A leg that calls: its INVITE is the first thing to do.
    ///
    /// `flow` is where the INVITE goes, `contact` the `host:port` at which the peer can reach us.
    /// `rng` decides our tag, the Call-ID and the branches of our requests.
    ///
    /// # Errors
    ///
    /// [`Error::UnusableAddress`] for a URI or route that cannot be sent to.
    pub fn call(
        invite: Invite,
        flow: Flow,
        contact: &str,
        settings: Arc<Settings>,
        rng: &mut impl Rng,
        now: Instant,
    ) -> Result<Leg, Error> {
        let id = DialogId {
            call_id: format!("{}{:016x}{:016x}", settings.node, rng.next_u64(), rng.next_u64())
                .into(),
            local_tag: format!("{}{:016x}", settings.node, rng.next_u64()).into(),
            remote_tag: Box::default(),
        };
        let dialog = half_dialog(&invite, id, contact)?;
        let policy = &settings.session;
        let calling = Calling {
            cseq: 0,
            attempts: 0,
            max_forwards: invite.max_forwards,
            offer: invite.offer,
            headers: invite.headers,
            session_expires: policy.session_expires,
            min_se: policy.least(),
            forks: Vec::new(),
        };
        let state = State::Calling;
        let secret = rng.next_u64();
        let is_sips = dialog.begins_at_sips();
        let mut leg = Leg::of(Parts { state, dialog, flow, contact, is_sips, settings, secret });
        leg.step_offer(offer_answer::Input::SendOffer);
        leg.local_body = Some(calling.offer.clone());
        leg.is_caller = true;
        leg.calling = Some(Box::new(calling));
        leg.send_invite(now);
        Ok(leg)
    }

    fn send_invite(&mut self, now: Instant) {
        let (contact, branch) = (self.contact_value(), self.new_branch());
        let Some(calling) = &mut self.calling else { return };
        let Ok(writer) = self.dialog.invite(calling.max_forwards) else {
            return self.run(Input::Refused, now);
        };
        calling.cseq = self.dialog.local_cseq();
        calling.attempts += 1;
        calling.forks.clear();
        let mut writer = writer
            .via(self.flow.kind, &self.contact, &branch)
            .header(Name::Contact, contact)
            .header(Name::UserAgent, &self.settings.server)
            .header(Name::Allow, ALLOW)
            .header(Name::Supported, SUPPORTED)
            .header(Name::MinSe, calling.min_se);
        if let Some(seconds) = calling.session_expires {
            writer = writer.header(Name::SessionExpires, seconds.max(calling.min_se));
        }
        for (name, value) in &calling.headers {
            writer = writer.header(*name, value);
        }
        let bytes = writer.body(&calling.offer.content_type, &calling.offer.bytes).finish();
        let purpose = Purpose::Invite { cseq: calling.cseq };
        self.invites.push(calling.cseq);
        self.actions.push_back(Action::Request { purpose, bytes, flow: self.flow });
    }

    /// A response to an INVITE or re-INVITE of ours.
    pub(super) fn handle_invite_response(
        &mut self,
        cseq: u32,
        response: &Message,
        flow: Flow,
        now: Instant,
    ) {
        let Some(status) = response.status() else { return };
        if (200..=299).contains(&status) {
            return self.handle_success(cseq, response, flow, now);
        }
        if !self.is_calling(cseq) {
            return self.handle_offer_refused(cseq, status, response, now);
        }
        match status {
            100 => {}
            101..=199 => self.handle_progress(status, response),
            422 if self.lengthen_interval(response) => self.send_invite(now),
            _ => {
                let reason = reason(response);
                let contacts = contacts(status, response);
                self.ends(Party::Remote, Cause::Refused { status, contacts }, reason);
                self.run(Input::Refused, now);
            }
        }
    }

    /// The INVITE or re-INVITE of this number gets no final response.
    pub(super) fn handle_invite_failure(&mut self, cseq: u32, failure: Failure, now: Instant) {
        // RFC 3261 §8.1.3.1.
        let status = match failure {
            Failure::Timeout => 408,
            Failure::Transport => 503,
        };
        if self.is_calling(cseq) {
            let has_rung = self.calling.as_ref().is_some_and(|calling| !calling.forks.is_empty());
            if has_rung && failure == Failure::Transport {
                // It rings on, and may be picked up. RFC 3261 §18.2.2 has it answer by a connection
                // of its own; that answer is acknowledged, and the session ended.
                self.late_until = Some(now + self.settings.timers.transaction_timeout());
            }
            self.ends(Party::Local, Cause::Refused { status, contacts: Vec::new() }, None);
            self.run(Input::Refused, now);
        } else {
            self.handle_offer_failure(cseq, status, now);
        }
    }

    /// Whether our INVITE of this number waits for its final response.
    fn is_calling(&self, cseq: u32) -> bool {
        matches!(self.state, State::Calling | State::Cancelling)
            && self.calling.as_ref().is_some_and(|calling| calling.cseq == cseq)
    }

    fn handle_progress(&mut self, status: u16, response: &Message) {
        self.note_allow(response);
        let Some(calling) = &mut self.calling else { return };
        let body = Body::description(response);
        let fork = response.to_tag().and_then(|tag| calling.fork(&tag, &self.dialog, response));
        let answer = match (body, fork) {
            (Some(body), Some(fork)) => Some(fork.answer.get_or_insert(body).clone()),
            (body, _) => body,
        };
        self.events.push_back(Event::Progress { status, answer });
    }

    /// RFC 3261 §13.2.2.4: each 2xx is acknowledged however often it comes. The first one decides
    /// the dialog, and later ones of other forks are ended.
    fn handle_success(&mut self, cseq: u32, response: &Message, flow: Flow, now: Instant) {
        let tag = response.to_tag().unwrap_or_default();
        let known = self.acks.iter_mut().find(|ack| ack.cseq == cseq && *ack.tag == *tag);
        if let Some(ack) = known {
            // Who repeats it on another connection has lost the one it came on (RFC 3261 §18.2.2).
            if flow.kind == ack.flow.kind && flow.kind.is_reliable() {
                ack.flow = flow;
            }
            self.actions.push_back(ack.action());
        } else if self.is_calling(cseq) {
            self.take_success(&tag, response, flow, now);
        } else if *self.dialog.id().remote_tag == *tag {
            self.dialog.refresh_target(response);
            self.acknowledge(cseq);
            self.handle_offer_answered(cseq, response, now);
        } else if self.may_end_fork(cseq) {
            self.end_fork(cseq, response, &flow);
        }
    }

    /// Forks answer within the time of the INVITE's transaction, and there are only so many: more are
    /// made up, or forged.
    fn may_end_fork(&self, cseq: u32) -> bool {
        let is_in_time = self.invites.contains(&cseq) || self.late_until.is_some();
        is_in_time && self.acks.len() < FORKS_MAX
    }

    fn take_success(&mut self, tag: &str, response: &Message, flow: Flow, now: Instant) {
        let Some(calling) = &mut self.calling else { return };
        let fork = calling.forks.iter().position(|fork| *fork.dialog.id().remote_tag == *tag);
        let fork = fork.map(|index| calling.forks.swap_remove(index));
        calling.forks.clear();
        let (dialog, early_answer) = match fork {
            Some(Fork { mut dialog, answer }) => {
                dialog.confirm(response);
                (dialog, answer)
            }
            None => (self.dialog.of_uac(response), None),
        };
        self.dialog = dialog;
        self.flow = flow;
        self.is_flow_lost = false;
        self.note_allow(response);
        self.step_offer(offer_answer::Input::OfferDone);
        let answer = Body::description(response).or(early_answer);
        if answer.is_none() {
            self.ends(Party::Local, Cause::AnswerMissing, None);
        }
        self.answered = Some((response.clone(), answer.clone()));
        let input = if answer.is_some() { Input::Success } else { Input::UnusableSuccess };
        self.run(input, now);
        self.answered = None;
    }

    /// A fork that answered after another: ACK and BYE.
    fn end_fork(&mut self, cseq: u32, response: &Message, flow: &Flow) {
        let mut dialog = self.dialog.of_uac(response);
        self.acknowledge_in(&dialog, cseq, flow);
        let (hop, branch) = (dialog.next_hop(flow), self.new_branch());
        // A target that cannot be addressed cannot be told.
        let Ok(writer) = dialog.request(Method::Bye) else { return };
        let writer = writer
            .via(hop.kind, &self.contact, &branch)
            .header(Name::UserAgent, &self.settings.server);
        // Who answers after its connection was lost may be the only one that was called.
        let bytes = match self.late_until {
            None => writer.header(Name::Reason, COMPLETED_ELSEWHERE).finish(),
            Some(_) => writer.finish(),
        };
        self.actions.push_back(Action::Request { purpose: Purpose::ForkBye, bytes, flow: hop });
    }

    /// Acknowledges the 2xx that decides the dialog.
    pub(super) fn acknowledge_success(&mut self) {
        if let Some(cseq) = self.calling.as_ref().map(|calling| calling.cseq) {
            self.acknowledge(cseq);
        }
    }

    fn acknowledge(&mut self, cseq: u32) {
        // A copy, since writing a request counts its branch.
        let (dialog, flow) = (self.dialog.clone(), self.flow);
        self.acknowledge_in(&dialog, cseq, &flow);
    }

    fn acknowledge_in(&mut self, dialog: &Dialog, cseq: u32, heard: &Flow) {
        let (flow, branch) = (dialog.next_hop(heard), self.new_branch());
        let Ok(writer) = dialog.ack(cseq) else { return };
        let bytes = writer.via(flow.kind, &self.contact, &branch).finish();
        let ack = Ack { tag: dialog.id().remote_tag.clone(), cseq, bytes, flow };
        self.actions.push_back(ack.action());
        if self.acks.len() == FORKS_MAX {
            self.acks.remove(0);
        }
        // As a rule there is one.
        self.acks.reserve_exact(1);
        self.acks.push(ack);
    }

    pub(super) fn cancel_invite(&mut self) {
        let Some(calling) = &self.calling else { return };
        let purpose = Purpose::Invite { cseq: calling.cseq };
        let reason = self.bye_reason.as_deref().map(str::to_owned);
        self.actions.push_back(Action::Cancel { purpose, reason });
    }

    /// RFC 4028 §7.4: a 422 names the least that the peer accepts.
    fn lengthen_interval(&mut self, response: &Message) -> bool {
        let (State::Calling, Some(calling)) = (self.state, &mut self.calling) else { return false };
        let asked = response.number(Name::MinSe).unwrap_or(0);
        let is_longer = asked > calling.min_se && asked <= SECONDS_MAX;
        if is_longer && calling.attempts < ATTEMPTS_MAX {
            calling.min_se = asked;
            self.peer_min_se = Some(asked);
            return true;
        }
        false
    }

    /// The early dialog of a request of the peer, or the dialog.
    pub(super) fn dialog_of(&mut self, request: &Message) -> Option<&mut Dialog> {
        let tag = request.from_tag().unwrap_or_default();
        if self.state != State::Calling && self.state != State::Cancelling {
            return (*self.dialog.id().remote_tag == *tag).then_some(&mut self.dialog);
        }
        let forks = &mut self.calling.as_mut()?.forks;
        let fork = forks.iter_mut().find(|fork| *fork.dialog.id().remote_tag == *tag)?;
        Some(&mut fork.dialog)
    }

    pub(super) fn has_fork(&self, tag: &str) -> bool {
        let forks = self.calling.as_ref().map(|calling| calling.forks.as_slice());
        forks.unwrap_or_default().iter().any(|fork| *fork.dialog.id().remote_tag == *tag)
    }

    /// Forgets the early dialog that a BYE ended; whether it was the last one.
    pub(super) fn forget_fork(&mut self, bye: &Message) -> bool {
        let tag = bye.from_tag().unwrap_or_default();
        self.calling.as_mut().is_none_or(|calling| {
            calling.forks.retain(|fork| *fork.dialog.id().remote_tag != *tag);
            calling.forks.is_empty()
        })
    }
}

impl Calling {
    pub(super) fn cseq(&self) -> u32 {
        self.cseq
    }

    /// The early dialog of a response, new or known; `None` at the bound.
    fn fork(&mut self, tag: &str, half: &Dialog, response: &Message) -> Option<&mut Fork> {
        let known = self.forks.iter().position(|fork| *fork.dialog.id().remote_tag == *tag);
        let index = match known {
            Some(index) => index,
            None if self.forks.len() < FORKS_MAX => {
                self.forks.push(Fork { dialog: half.of_uac(response), answer: None });
                self.forks.len() - 1
            }
            None => return None,
        };
        self.forks.get_mut(index)
    }
}

/// The ACK of a 2xx, kept to be repeated with it.
pub(super) struct Ack {
    tag: Box<str>,
    pub(super) cseq: u32,
    bytes: bytes::Bytes,
    flow: Flow,
}

impl Ack {
    fn action(&self) -> Action {
        Action::Acknowledge { bytes: self.bytes.clone(), flow: self.flow }
    }
}

/// RFC 3261 §8.1.1: what is known of the dialogs to come.
fn half_dialog(invite: &Invite, id: DialogId, contact: &str) -> Result<Dialog, AddressError> {
    let uri: Uri = invite.uri.parse()?;
    uri.host().ok_or(AddressError::NoHost)?;
    for route in &invite.routes {
        NameAddr::parse(bytes::Bytes::copy_from_slice(route.as_bytes()))?;
    }
    let ours: SocketAddr = contact.parse().map_err(|_| AddressError::NoHost)?;
    let at = |user: &str| Uri::at(Some(user), ours, TransportKind::Udp);
    let from = at(&invite.from_user);
    let local = match &invite.from_name {
        Some(name) => format!("{} <{from}>;tag={}", quoted(name), id.local_tag),
        None => format!("<{from}>;tag={}", id.local_tag),
    };
    let remote = match &invite.to_user {
        Some(user) => format!("<{}>", at(user)),
        None => format!("<{}>", uri.for_request()),
    };
    let is_routed = invite.to_user.is_none();
    Ok(Dialog::of_invite(id, local, remote, invite.routes.clone(), &uri, is_routed))
}

/// A display name as a quoted string (RFC 3261 §25.1).
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for character in name.chars().filter(|character| !character.is_control()) {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
    text
}

/// The targets of a redirection, those with the highest q first (RFC 3261 §8.1.3.4).
fn contacts(status: u16, response: &Message) -> Vec<Redirection> {
    if !(300..=399).contains(&status) {
        return Vec::new();
    }
    let mut targets: Vec<Redirection> = response
        .addresses(Name::Contact)
        .filter_map(Result::ok)
        .take(CONTACTS_MAX)
        .filter(|address| address.uri().host().is_some())
        .map(|address| Redirection {
            uri: address.uri().as_str().to_owned(),
            q_milli: q_milli(&address),
        })
        .collect();
    targets.sort_by_key(|target| std::cmp::Reverse(target.q_milli));
    targets
}

/// The q value in thousandths; 1 where there is none (RFC 3261 §20.10).
fn q_milli(address: &NameAddr) -> u16 {
    let q = address.param("q").and_then(|q| q.parse::<f32>().ok());
    q.map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16)
}

/// Early dialogs and acknowledged forks that one INVITE may have.
const FORKS_MAX: usize = 16;
/// How often an INVITE is sent with a longer session interval, the first time included.
const ATTEMPTS_MAX: u8 = 4;
/// Targets of a redirection that are read.
const CONTACTS_MAX: usize = 10;
