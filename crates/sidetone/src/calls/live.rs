//! A call while it lives: [`dialplan::Call`] over a SIP leg and a media leg.

mod application;
mod digits;
mod events;
mod session;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dialog::Body;
use dialplan::{Cause, EndedBy, Facts, Variables};
use media::sdp::Negotiated;
use media::shard::{Command, LegEvent, LegStatistics, PlayEnd, PlayToken};
use rand::RngExt;
use tokio::time::{Instant, timeout};
use tracing::debug;
use transport::{Flow, Name};

use super::offer::{self, Refused};
use super::report::Report;
use super::{Invitation, MediaLeg, Shared, SipCommand, SipPort};
use crate::metrics::{CallResult, EndCause, Refusal};

/// One call from its INVITE to its end.
pub(super) struct LiveCall {
    shared: Arc<Shared>,
    facts: Facts,
    variables: Variables,
    sip: SipPort,
    flow: Flow,
    offer: Bytes,
    invited_at: Instant,
    answered_at: Option<Instant>,
    negotiated: Option<Negotiated>,
    media: Option<Box<dyn MediaLeg>>,
    /// Identifies our session descriptions (RFC 8866 §5.2).
    session_id: u64,
    session_version: u64,
    plays: u64,
    /// When the last packet of the last play was sent.
    played_at: Option<Instant>,
    is_connected: bool,
    is_flow_closed: bool,
    is_quiet: bool,
    /// When a caller that closed its media, and has not said BYE, counts as gone.
    gone_at: Option<Instant>,
    /// What ended the call, when it was not the dialplan.
    end: Option<EndCause>,
    /// Nothing more can be sent on the SIP leg.
    is_leg_over: bool,
}

/// What a wait may be for.
enum Notice {
    Confirmed(Option<Body>),
    Connected,
    PlayDone(PlayToken, PlayEnd),
    Other,
}

impl LiveCall {
    pub(super) fn new(shared: Arc<Shared>, invitation: Invitation, sip: SipPort) -> Self {
        let Invitation { facts, offer, flow, at } = invitation;
        LiveCall {
            shared,
            facts,
            variables: Variables::default(),
            sip,
            flow,
            offer,
            invited_at: at,
            answered_at: None,
            negotiated: None,
            media: None,
            session_id: rand::rng().random::<u64>() >> 1,
            session_version: 1,
            plays: 0,
            played_at: None,
            is_connected: false,
            is_flow_closed: false,
            is_quiet: false,
            gone_at: None,
            end: None,
            is_leg_over: false,
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
        let statistics = self.close_media().await;
        let result = match (self.answered_at, cause) {
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
            answered_at: self.answered_at,
            codec: self.negotiated.as_ref().map_or("none", |negotiated| negotiated.codec.name()),
            statistics,
        }
        .publish(&self.shared);
    }

    async fn accept_or_refuse(&mut self) -> Result<(EndCause, String), (Refusal, String)> {
        let shared = Arc::clone(&self.shared);
        let route = match shared.plan.route(&shared.public_context, &self.facts) {
            Ok(route) => route,
            Err(no_match) => {
                let status = Cause::NO_ROUTE_DESTINATION.sip_status();
                self.reject(status, Vec::new()).await;
                return Err((Refusal::NoRoute, no_match.to_string()));
            }
        };
        if !self.offer.is_empty() {
            match offer::agree(
                &Body::sdp(std::mem::take(&mut self.offer)),
                &shared.capabilities,
                None,
            ) {
                Ok(negotiated) => self.negotiated = Some(negotiated),
                Err(Refused { status, headers, reason }) => {
                    self.reject(status, headers).await;
                    return Err((Refusal::NotAcceptable, reason));
                }
            }
        }
        debug!(call_id = self.facts.uuid, extension = route.extension().name, "extension matches");
        let outcome = dialplan::run(&route, self).await;
        let cause = self.end.unwrap_or(EndCause::Dialplan);
        if outcome.ended.by == EndedBy::System && !self.is_leg_over {
            self.hang_up_leg(outcome.ended.cause).await;
        }
        let reason = match outcome.during {
            Some((application, _)) => {
                format!("{} during {application}", outcome.ended.cause.name())
            }
            None => outcome.ended.cause.name().to_owned(),
        };
        Ok((cause, reason))
    }

    async fn reject(&mut self, status: u16, headers: Vec<(Name, String)>) {
        self.sip.command(SipCommand::Reject { status, headers }).await;
    }

    /// Ends the SIP leg: BYE once it was answered, a final response before.
    async fn hang_up_leg(&mut self, cause: Cause) {
        if self.answered_at.is_some() {
            self.sip.command(SipCommand::HangUp { cause }).await;
            return;
        }
        let status = cause.sip_status();
        let mut headers = vec![(Name::Reason, super::reason(cause))];
        if status == 503 {
            headers.push((Name::RetryAfter, "5".to_owned()));
        }
        self.reject(status, headers).await;
    }

    /// Closes the media leg and waits for what it counted.
    async fn close_media(&mut self) -> Option<LegStatistics> {
        let mut leg = self.media.take()?;
        leg.command(Command::Close).ok()?;
        let closed = async {
            while let Some(event) = leg.events().recv().await {
                if let LegEvent::Closed(statistics) = event {
                    return Some(*statistics);
                }
            }
            None
        };
        timeout(CLOSE_TIMEOUT, closed).await.ok().flatten()
    }
}

/// How long a shard may take to close a leg before its statistics are given up.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
