//! What happens to a call while an application waits.

use std::future::pending;

use dialplan::{Cause, Ended};
use tokio::sync::watch;
use tokio::time::Instant;

use super::LiveCall;
use crate::calls::leg::{LegEnd, Notice};
use crate::calls::sleep_until;
use crate::metrics::EndCause;

/// What ended a wait.
pub(in crate::calls) enum Step<T> {
    /// Something that the caller's leg has seen to.
    Caller(Notice),
    /// What else was waited for.
    Other(T),
    /// The deadline passed.
    Deadline,
}

impl LiveCall {
    /// Waits until `wanted` finds what it wants in a notice, or the deadline passes (`None`).
    pub(super) async fn wait<T>(
        &mut self,
        deadline: Option<Instant>,
        mut wanted: impl FnMut(&Notice) -> Option<T>,
    ) -> Result<Option<T>, Ended> {
        loop {
            match self.step(pending::<()>(), deadline).await? {
                Step::Caller(notice) => {
                    self.keep_key(&notice);
                    if let Some(found) = wanted(&notice) {
                        return Ok(Some(found));
                    }
                }
                Step::Deadline => return Ok(None),
                Step::Other(()) => {}
            }
        }
    }

    /// Waits for the next thing that happens to the caller, for `other`, or for the deadline.
    pub(in crate::calls) async fn step<T>(
        &mut self,
        other: impl Future<Output = T>,
        deadline: Option<Instant>,
    ) -> Result<Step<T>, Ended> {
        let policy = &self.shared.policy;
        let last = match self.caller.answered_at() {
            Some(answered_at) => policy.duration_max.map(|most| answered_at + most),
            None => Some(self.invited_at + policy.unanswered_max),
        };
        let next = [deadline, last].into_iter().flatten().min();
        let mut stop = self.shared.stop.clone();
        tokio::select! {
            biased;
            input = self.caller.input() => match self.caller.handle(input).await {
                Ok(notice) => Ok(Step::Caller(notice)),
                Err(end) => Err(self.ended(end)),
            },
            () = stopped(&mut stop) => {
                let cause = Cause::SYSTEM_SHUTDOWN;
                Err(self.ended(LegEnd::by_system(EndCause::Shutdown, cause)))
            }
            other = other => Ok(Step::Other(other)),
            () = sleep_until(next) => {
                if last.is_some_and(|last| Instant::now() >= last) {
                    let cause = Cause::ALLOTTED_TIMEOUT;
                    return Err(self.ended(LegEnd::by_system(EndCause::TooLong, cause)));
                }
                Ok(Step::Deadline)
            }
        }
    }

    /// Notes what ended the call; what came first counts.
    pub(in crate::calls) fn ended(&mut self, end: LegEnd) -> Ended {
        self.end.get_or_insert(end.end);
        self.caller_reason = end.reason;
        Ended { by: end.by, cause: end.cause }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the server itself is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}
