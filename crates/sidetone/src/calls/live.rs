//! A call while it lives: [`dialplan::Call`] over the legs of those who speak.

mod application;
mod events;
mod playing;
mod recording;
mod refusing;
mod situation;
mod webhook;

pub(super) use events::Step;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use dialog::Body;
use dialplan::{Cause, Ended, EndedBy, Facts, Situation, Variables};
use media::net::Recording;
pub(crate) use situation::moment;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use transport::{Flow, Name};

use super::bridge::{BridgeEnd, Hears};
use super::leg::{Leg, Peer, Side};
use super::offer::Refused;
use super::ourselves::End;
use super::report::{CalleeReport, Report};
use super::terms::Terms;
use super::{Invitation, Shared, SipPort};
use crate::metrics::{CallResult, Direction, EndCause, Refusal};

/// One call from its INVITE to its end.
pub(super) struct LiveCall {
    pub(super) shared: Arc<Shared>,
    pub(super) facts: Facts,
    variables: Variables,
    pub(super) caller: Leg,
    /// Whether it began in the context of callers who are not authenticated. What they may reach does
    /// not change with anything that the dialplan does.
    pub(super) is_public: bool,
    flow: Flow,
    offer: Bytes,
    invited_at: Instant,
    /// Keys that the caller pressed and nobody asked for yet.
    keys: VecDeque<char>,
    /// The recording of both sides.
    session: Option<Recording>,
    /// When the last packet of the last play was sent.
    played_at: Option<Instant>,
    /// What ended the call, when it was not the dialplan.
    pub(super) end: Option<EndCause>,
    /// The value of Reason with which the caller ended it.
    pub(super) caller_reason: Option<String>,
    /// How many hops an INVITE of the call may make.
    pub(super) max_forwards: u8,
    /// The marks of our own INVITEs that the caller's descends from.
    pub(super) trail: Vec<String>,
    /// Whoever is called may not learn who calls.
    pub(super) is_anonymous: bool,
    /// The caller may call some numbers only.
    pub(super) is_limited: bool,
    /// What the caller hears while others ring.
    pub(super) hears: Hears,
    /// How the last bridge ended, until the dialplan does something else.
    pub(super) bridged: Option<BridgeEnd>,
    /// Who was spoken to last.
    pub(super) callee: Option<CalleeReport>,
}

impl LiveCall {
    pub(super) fn new(shared: Arc<Shared>, invitation: Invitation, sip: SipPort) -> Self {
        let Invitation {
            facts,
            offer,
            flow,
            at,
            max_forwards,
            mut trail,
            is_anonymous,
            is_limited,
            standing,
        } = invitation;
        let (local, remote) = (Some(flow.local.ip()), Some(flow.remote.ip()));
        let peer = Peer { kind: flow.kind, local, remote, standing };
        let user = facts.user.as_deref().and_then(|user| shared.users.get(user));
        let terms = Terms::new(&shared, user, flow.kind);
        let uuid = facts.uuid.clone();
        let mut caller = Leg::new(Arc::clone(&shared), uuid, Side::Caller, sip, peer, terms);
        caller.ourselves = End::called(&shared.ourselves, &mut trail);
        let is_public = facts.context == shared.public_context;
        LiveCall {
            shared,
            is_public,
            facts,
            variables: Variables::default(),
            caller,
            flow,
            offer,
            invited_at: at,
            keys: VecDeque::new(),
            session: None,
            played_at: None,
            end: None,
            caller_reason: None,
            max_forwards,
            trail,
            is_anonymous,
            is_limited,
            hears: Hears::default(),
            bridged: None,
            callee: None,
        }
    }

    /// Routes the call, runs its extension, and cleans up after it.
    pub(super) async fn run(&mut self) {
        // A flood of refused calls is worth one line each, at their end.
        debug!(
            call_id = self.facts.uuid,
            sip_call_id = self.facts.sip_call_id,
            user = self.facts.user,
            caller = self.facts.caller_id_number,
            number = self.facts.destination_number,
            transport = self.facts.transport,
            remote = %self.flow.remote,
            "call started"
        );
        self.shared.metrics.call_started(Direction::In, self.flow.kind);
        let (cause, reason) = match self.accept_or_refuse().await {
            Ok((ended, reason)) => (ended, reason),
            Err((refusal, reason)) => {
                self.shared.metrics.call_rejected(refusal);
                (EndCause::Dialplan, reason)
            }
        };
        let statistics = self.caller.close_media().await;
        let answered_at = self.caller.answered_at();
        let result = match cause {
            _ if self.caller.is_answered() => CallResult::Answered,
            EndCause::Caller | EndCause::Gone => CallResult::Cancelled,
            _ => CallResult::Refused,
        };
        Report {
            call_id: &self.facts.uuid,
            sip_call_id: &self.facts.sip_call_id,
            user: self.facts.user.as_deref(),
            caller: &self.facts.caller_id_number,
            remote: self.flow.remote,
            number: &self.facts.destination_number,
            result,
            cause,
            reason: &reason,
            answered_at,
            codec: self.caller.codec().map_or("none", |codec| codec.name()),
            statistics,
            callee: self.callee.take(),
        }
        .publish(&self.shared);
    }

    async fn accept_or_refuse(&mut self) -> Result<(EndCause, String), (Refusal, String)> {
        let shared = Arc::clone(&self.shared);
        let mark = shared.trail.mark(&self.facts.context, &self.facts.destination_number);
        if self.trail.contains(&mark) {
            // RFC 3261 §16.3 step 4: it would go round for ever.
            let cause = Cause::EXCHANGE_ROUTING_ERROR;
            self.caller.reject(482, vec![(Name::Reason, super::reason(cause))]).await;
            return Err((Refusal::Loop, "the call has come back to where it was".to_owned()));
        }
        let context = self.facts.context.clone();
        let mut situation =
            Situation { facts: &self.facts, variables: &mut self.variables, now: moment() };
        let route = match shared.plan.hunt(&context, &mut situation) {
            Ok(route) => route,
            Err(no_match) => {
                let status = Cause::NO_ROUTE_DESTINATION.sip_status();
                self.caller.reject(status, Vec::new()).await;
                return Err((Refusal::NoRoute, no_match.to_string()));
            }
        };
        if !self.offer.is_empty() {
            let offer = Body::sdp(std::mem::take(&mut self.offer));
            if let Err(Refused { status, headers, reason }) = self.caller.agree(offer) {
                self.caller.reject(status, headers).await;
                return Err((Refusal::NotAcceptable, reason));
            }
        }
        debug!(
            call_id = self.facts.uuid,
            extension = route.extension().map(|found| &found.name),
            "extension matches"
        );
        let outcome = dialplan::run(&shared.plan, &route, self).await;
        // What is left to the dialplan after a bridge is to end the call.
        let bridged = self.bridged.as_ref().filter(|_| outcome.ended.by == EndedBy::Dialplan);
        let dialplan = match bridged {
            Some(end) if [Cause::NO_ANSWER, Cause::NO_USER_RESPONSE].contains(&end.cause) => {
                EndCause::NoAnswer
            }
            Some(_) => EndCause::Callee,
            None => EndCause::Dialplan,
        };
        let cause = self.end.unwrap_or(dialplan);
        if outcome.ended.by == EndedBy::System {
            self.hang_up_caller(outcome.ended.cause).await;
        }
        let reason = match outcome.during {
            Some((application, _)) => {
                format!("{} during {application}", outcome.ended.cause.name())
            }
            None => outcome.ended.cause.name().to_owned(),
        };
        Ok((cause, reason))
    }

    /// Answers the caller with media on a shard, if that matters, or says how to refuse.
    pub(super) async fn answer_caller(&mut self, shard: Option<u16>) -> Result<(), Refused> {
        self.caller.accept(shard).await?;
        info!(
            call_id = self.facts.uuid,
            sip_call_id = self.facts.sip_call_id,
            user = self.facts.user,
            caller = self.facts.caller_id_number,
            number = self.facts.destination_number,
            transport = self.facts.transport,
            remote = %self.flow.remote,
            "call answered"
        );
        self.shared.metrics.call_answered(Direction::In, self.invited_at.elapsed());
        Ok(())
    }

    /// Refuses a caller who cannot be answered.
    pub(super) async fn refuse(&mut self, refused: Refused) -> Ended {
        let Refused { status, headers, reason } = refused;
        warn!(call_id = self.facts.uuid, reason, "call cannot be answered");
        self.shared.metrics.media_setup_failed("no_leg");
        self.caller.reject(status, headers).await;
        self.end.get_or_insert(EndCause::Failure);
        Ended::by_dialplan(Cause::from_sip_status(status))
    }

    /// Ends the caller's leg: BYE once it was answered, a final response before. If nothing else
    /// came in between, the caller hears what the other side said.
    async fn hang_up_caller(&mut self, cause: Cause) {
        let is_told = |end: &BridgeEnd| end.cause == cause || cause == Cause::NORMAL_CLEARING;
        let bridged = self.bridged.clone().filter(is_told);
        let reason = bridged.as_ref().and_then(|end| end.reason.clone());
        let (cause, status) =
            bridged.map_or((cause, cause.sip_status()), |end| (end.cause, end.status));
        if self.caller.answered_at().is_some() {
            self.caller.hang_up(self.end.unwrap_or(EndCause::Dialplan), cause, reason).await;
            return;
        }
        let mut headers = vec![(Name::Reason, reason.unwrap_or_else(|| super::reason(cause)))];
        if status == 503 {
            headers.push((Name::RetryAfter, "5".to_owned()));
        }
        self.caller.reject(status, headers).await;
    }
}
