//! What is counted and logged of a call when it ends.

use std::time::Duration;

use media::shard::LegStatistics;
use tokio::time::Instant;
use tracing::info;

use super::Shared;
use crate::metrics::{CallResult, EndCause};

/// What a call was, at its end.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub call_id: &'a str,
    pub sip_call_id: &'a str,
    pub number: &'a str,
    pub result: CallResult,
    pub cause: EndCause,
    pub reason: &'a str,
    pub answered_at: Option<Instant>,
    pub codec: &'static str,
    pub statistics: Option<LegStatistics>,
}

impl Report<'_> {
    pub(super) fn publish(&self, shared: &Shared) {
        let duration = self.answered_at.map(|at| at.elapsed());
        shared.metrics.call_ended(self.result, self.cause, duration);
        let media = self.statistics.unwrap_or_default();
        if self.answered_at.is_some() && self.statistics.is_some() {
            shared.metrics.leg_closed(&media);
        }
        info!(
            call_id = self.call_id,
            sip_call_id = self.sip_call_id,
            number = self.number,
            result = self.result.label(),
            ended_by = self.cause.label(),
            reason = self.reason,
            duration_ms = millis(duration.unwrap_or_default()),
            codec = self.codec,
            packets_in = media.packets_in,
            packets_out = media.packets_out,
            lost_in = media.lost_in,
            lost_out = media.lost_out,
            jitter_in_ms = millis(media.jitter_in),
            "call ended"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
