//! A call while it lives: [`dialplan::Call`] over the legs of those who speak.

mod application;
mod events;
mod situation;

use std::sync::Arc;

use bytes::Bytes;
use dialog::Body;
use dialplan::{Cause, EndedBy, Facts, Situation, Variables};
use media::sdp::Capabilities;
use situation::moment;
use tokio::time::Instant;
use tracing::{debug, info};
use transport::{Flow, Name};

use super::leg::{Leg, Peer, Side, Terms};
use super::offer::Refused;
use super::report::Report;
use super::{Invitation, Shared, SipPort};
use crate::metrics::{CallResult, EndCause, Refusal};

/// One call from its INVITE to its end.
pub(super) struct LiveCall {
    pub(super) shared: Arc<Shared>,
    pub(super) facts: Facts,
    variables: Variables,
    pub(super) caller: Leg,
    flow: Flow,
    offer: Bytes,
    invited_at: Instant,
    /// When the last packet of the last play was sent.
    played_at: Option<Instant>,
    /// What ended the call, when it was not the dialplan.
    end: Option<EndCause>,
}

impl LiveCall {
    pub(super) fn new(shared: Arc<Shared>, invitation: Invitation, sip: SipPort) -> Self {
        let Invitation { facts, offer, flow, at, .. } = invitation;
        let peer =
            Peer { kind: flow.kind, local: Some(flow.local.ip()), remote: Some(flow.remote.ip()) };
        let is_confidential = flow.kind.is_secure();
        let terms =
            Terms { capabilities: Capabilities { is_confidential, ..shared.capabilities.clone() } };
        let uuid = facts.uuid.clone();
        let caller = Leg::new(Arc::clone(&shared), uuid, Side::Caller, sip, peer, terms);
        LiveCall {
            shared,
            facts,
            variables: Variables::default(),
            caller,
            flow,
            offer,
            invited_at: at,
            played_at: None,
            end: None,
        }
    }

    /// Routes the call, runs its extension, and cleans up after it.
    pub(super) async fn run(&mut self) {
        // A flood of refused calls is worth one line each, at their end.
        debug!(
            call_id = self.facts.uuid,
            sip_call_id = self.facts.sip_call_id,
            number = self.facts.destination_number,
            transport = self.facts.transport,
            remote = %self.flow.remote,
            "call started"
        );
        self.shared.metrics.call_started(self.flow.kind);
        let (cause, reason) = match self.accept_or_refuse().await {
            Ok((ended, reason)) => (ended, reason),
            Err((refusal, reason)) => {
                self.shared.metrics.call_rejected(refusal);
                (EndCause::Dialplan, reason)
            }
        };
        let statistics = self.caller.close_media().await;
        let answered_at = self.caller.answered_at();
        let result = match (answered_at, cause) {
            (Some(_), _) => CallResult::Answered,
            (None, EndCause::Caller | EndCause::Gone) => CallResult::Cancelled,
            (None, _) => CallResult::Refused,
        };
        Report {
            call_id: &self.facts.uuid,
            sip_call_id: &self.facts.sip_call_id,
            number: &self.facts.destination_number,
            result,
            cause,
            reason: &reason,
            answered_at,
            codec: self.caller.codec().map_or("none", |codec| codec.name()),
            statistics,
        }
        .publish(&self.shared);
    }

    async fn accept_or_refuse(&mut self) -> Result<(EndCause, String), (Refusal, String)> {
        let shared = Arc::clone(&self.shared);
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
            if let Err(Refused { status, headers, reason }) = self.caller.agree(&offer) {
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
        let cause = self.end.unwrap_or(EndCause::Dialplan);
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

    /// Answers the caller, or says how to refuse.
    pub(super) async fn answer_caller(&mut self) -> Result<(), Refused> {
        self.caller.accept().await?;
        info!(
            call_id = self.facts.uuid,
            sip_call_id = self.facts.sip_call_id,
            number = self.facts.destination_number,
            transport = self.facts.transport,
            remote = %self.flow.remote,
            "call answered"
        );
        self.shared.metrics.call_answered(self.invited_at.elapsed());
        Ok(())
    }

    /// Ends the caller's leg: BYE once it was answered, a final response before.
    async fn hang_up_caller(&mut self, cause: Cause) {
        if self.caller.answered_at().is_some() {
            self.caller.hang_up(cause).await;
            return;
        }
        let status = cause.sip_status();
        let mut headers = vec![(Name::Reason, super::reason(cause))];
        if status == 503 {
            headers.push((Name::RetryAfter, "5".to_owned()));
        }
        self.caller.reject(status, headers).await;
    }
}
