//! What is counted and logged of a call when it ends.

use std::net::SocketAddr;
use std::time::Duration;

use media::shard::LegStatistics;
use tokio::time::Instant;
use tracing::info;

use super::Shared;
use super::leg::Leg;
use crate::metrics::{CallResult, Direction, EndCause, Metrics};

/// What a call was, at its end.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub call_id: &'a str,
    pub sip_call_id: &'a str,
    /// Whose password or token was shown.
    pub user: Option<&'a str>,
    pub caller: &'a str,
    pub remote: SocketAddr,
    pub number: &'a str,
    pub result: CallResult,
    pub cause: EndCause,
    pub reason: &'a str,
    pub answered_at: Option<Instant>,
    pub codec: &'static str,
    pub statistics: Option<LegStatistics>,
    /// Who was spoken to last.
    pub callee: Option<CalleeReport>,
}

/// What the leg of somebody who answered was, at its end.
#[derive(Debug)]
pub(super) struct CalleeReport {
    name: String,
    codec: &'static str,
    cause: EndCause,
    duration: Duration,
    statistics: Option<LegStatistics>,
}

impl CalleeReport {
    /// Closes the media of a leg that has ended, and counts what it was.
    pub(super) async fn of(leg: &mut Leg, metrics: &Metrics) -> Self {
        let statistics = leg.close_media().await;
        if let Some(statistics) = &statistics {
            metrics.leg_closed(statistics);
        }
        CalleeReport {
            name: leg.name().to_owned(),
            codec: leg.codec().map_or("none", |codec| codec.name()),
            cause: leg.end().unwrap_or(EndCause::Failure),
            duration: leg.answered_at().map(|at| at.elapsed()).unwrap_or_default(),
            statistics,
        }
    }
}

impl Report<'_> {
    pub(super) fn publish(&self, shared: &Shared) {
        let duration = self.answered_at.map(|at| at.elapsed());
        shared.metrics.call_ended(Direction::In, self.result, self.cause, duration);
        let callee = self.callee.as_ref();
        let callee_media = callee.and_then(|callee| callee.statistics);
        let answered = self.statistics.filter(|_| self.answered_at.is_some());
        if let Some(statistics) = answered {
            shared.metrics.leg_closed(&statistics);
        }
        let media = self.statistics.unwrap_or_default();
        info!(
            call_id = self.call_id,
            sip_call_id = self.sip_call_id,
            user = self.user,
            caller = self.caller,
            remote = %self.remote,
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
            callee = callee.map(|callee| callee.name.as_str()),
            callee_ended_by = callee.map(|callee| callee.cause.label()),
            callee_duration_ms = callee.map(|callee| millis(callee.duration)),
            callee_codec = callee.map(|callee| callee.codec),
            callee_packets_in = callee_media.map(|media| media.packets_in),
            callee_packets_out = callee_media.map(|media| media.packets_out),
            callee_lost_in = callee_media.map(|media| media.lost_in),
            callee_lost_out = callee_media.map(|media| media.lost_out),
            "call ended"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
