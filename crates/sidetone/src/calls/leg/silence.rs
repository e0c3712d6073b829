//! When a leg that nothing is heard from any more counts as gone.

use std::time::Duration;

use media::sdp::Direction;
use media::shard::LegKind;
use tokio::time::Instant;

use super::Leg;

/// What is known of the peer's silence.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// The connection that the peer was heard on last is closed.
    pub is_flow_closed: bool,
    /// When the last packet came, once the media leg says that nothing comes any more.
    since: Option<Instant>,
    /// From when on silence counts: the answer, or the last change of the session.
    counted_from: Option<Instant>,
    /// The peer has closed its media; its BYE should follow.
    closed_at: Option<Instant>,
    /// When the peer was asked last whether it is still there.
    asked_at: Option<Instant>,
    /// The other side of the call holds, and the peer listens to music.
    is_on_hold: bool,
}

impl Silence {
    pub(super) fn counts_from(&mut self, now: Instant) {
        self.counted_from = Some(now);
    }

    pub(super) fn began(&mut self, since: Instant) {
        self.since.get_or_insert(since);
    }

    /// The peer is heard again, or has never been gone: an alert can be forged, and a page may come
    /// back with another connection.
    pub(super) fn ended(&mut self) {
        self.since = None;
        self.closed_at = None;
    }

    /// A page that hangs up closes its media before its BYE arrives.
    pub(super) fn peer_closed(&mut self, now: Instant) {
        self.closed_at.get_or_insert(now);
    }

    /// When the leg counts as gone, as things stand.
    pub(super) fn deadline(&self, leg: &Leg) -> Option<Instant> {
        // Until the answer, ringing has its own end.
        leg.answered_at?;
        let counted_from = self.counted_from?;
        let policy = &leg.shared.policy;
        // A page is gone with its connection; a phone may make another when it has something to say.
        let is_page = leg.kind() == LegKind::WebRtc || leg.peer.is_browser();
        let has_left = self.is_flow_closed && is_page;
        let limit = if has_left { policy.webrtc_silence } else { policy.plain_silence };
        if let Some(closed_at) = self.closed_at {
            return Some(
                closed_at
                    + if self.is_flow_closed { Duration::ZERO } else { policy.webrtc_silence },
            );
        }
        let may_be_silent = match leg.kind() {
            // Its connection tells more than its packets, unless a proxy stands before it.
            LegKind::WebRtc => !self.is_flow_closed && leg.peer.is_browser(),
            LegKind::Plain => self.is_excused(leg),
        };
        let since = self.since.filter(|_| !may_be_silent)?;
        Some(since.max(counted_from) + limit)
    }

    /// When the peer is to be asked whether it is still there, since its silence says nothing.
    pub(super) fn probe_at(&self, leg: &Leg) -> Option<Instant> {
        leg.answered_at?;
        let interval = leg.shared.policy.probe_interval?;
        let is_asked = leg.kind() == LegKind::Plain && self.is_excused(leg);
        self.asked_at.max(self.counted_from).filter(|_| is_asked).map(|since| since + interval)
    }

    pub(super) fn asked(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    /// On hold, and where it only listens, a phone need not send anything.
    fn is_excused(&self, leg: &Leg) -> bool {
        self.is_on_hold || leg.direction() != Direction::SendRecv
    }
}

impl Leg {
    /// Whether the other side of the call holds. What the peer does not send meanwhile says nothing.
    pub(in crate::calls) fn put_on_hold(&mut self, is_on_hold: bool) {
        if std::mem::replace(&mut self.silence.is_on_hold, is_on_hold) != is_on_hold {
            self.silence.counts_from(Instant::now());
        }
    }

    /// After how long the media leg is to tell that nothing comes.
    pub(super) fn quiet_after(&self) -> Duration {
        let policy = &self.shared.policy;
        policy.webrtc_silence.min(policy.plain_silence)
    }

    fn direction(&self) -> Direction {
        self.negotiated.as_ref().map_or(Direction::Inactive, |negotiated| negotiated.direction)
    }
}
