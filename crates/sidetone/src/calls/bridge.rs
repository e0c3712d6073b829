//! The application `bridge`: calls others on behalf of the caller, and joins the two who speak.

mod destination;
mod failure;
mod fork;
mod redirect;
mod ring;
mod talk;

use dialplan::{BridgeOutcome, BridgeRequest, Cause, Ended};

use super::leg::Leg;
use super::live::LiveCall;
use super::report::CalleeReport;
use crate::metrics::EndCause;
use failure::Failure;
use fork::Fork;

pub(super) use failure::q850;
pub(super) use ring::Hears;

/// How the last bridge of a call ended, for as long as nothing else has happened since.
#[derive(Debug, Clone)]
pub(super) struct BridgeEnd {
    pub cause: Cause,
    /// The status that the caller is refused with, if nobody answered.
    pub status: u16,
    /// The value of Reason that the other side gave.
    pub reason: Option<String>,
}

impl LiveCall {
    /// Tries one attempt after the other until somebody answers, and joins the two.
    pub(super) async fn bridge_to(
        &mut self,
        request: &BridgeRequest,
    ) -> Result<BridgeOutcome, Ended> {
        let mut failure = Failure::ours(Cause::NO_ROUTE_DESTINATION);
        for attempt in &request.attempts {
            // RFC 3261 §16.3: a request that may make no further hop makes none.
            if self.max_forwards == 0 {
                let cause = Cause::EXCHANGE_ROUTING_ERROR;
                failure = Failure { status: Some(483), ..Failure::ours(cause) };
                break;
            }
            let mut fork = Fork::new(self, request, attempt);
            let answered = self.ring(&mut fork).await;
            match answered {
                Ok(Some(callee)) => {
                    let reason = Some(dialog::COMPLETED_ELSEWHERE.to_owned());
                    fork.cancel(EndCause::Elsewhere, Cause::LOSE_RACE, reason).await;
                    return self.talk(*callee).await;
                }
                Ok(None) => failure = fork.failure(),
                Err(ended) => {
                    let reason = self.caller_reason.clone();
                    let end = self.end.unwrap_or(EndCause::Caller);
                    fork.cancel(end, ended.cause, reason).await;
                    return Err(ended);
                }
            }
        }
        self.silence_caller()?;
        let status = failure.status_for_caller();
        let Failure { cause, status: received, reason, .. } = failure;
        self.bridged = Some(BridgeEnd { cause, status, reason });
        Ok(BridgeOutcome::Failed { cause, status: received })
    }

    /// Ends a callee who has answered and whose caller has ended, or cannot be answered; `why`, if
    /// nothing else is known to have ended the call.
    async fn give_up(&mut self, mut callee: Leg, ended: Ended, why: EndCause) -> Ended {
        let reason = self.caller_reason.clone();
        callee.hang_up(self.end.unwrap_or(why), ended.cause, reason).await;
        self.callee = Some(CalleeReport::of(&mut callee, &self.shared.metrics).await);
        ended
    }
}
