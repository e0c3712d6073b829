//! Digits that a leg hears: as events (RFC 4733), or as tones in its audio.

use std::{ops::Range, time::Instant};

use super::{command::LegEvent, core::Shard, leg::Mode, meaning::Meta, transmit::LegKey};
use crate::{
    codec::Codec,
    dtmf::DtmfEvent,
    rtp::{RtpTimestamp, Ssrc},
};

/// A packet about a DTMF event.
pub(super) struct EventPacket {
    pub(super) ssrc: Ssrc,
    pub(super) timestamp: RtpTimestamp,
    /// Where its payload is in the datagram.
    pub(super) payload: Range<usize>,
    /// Its clock rate in Hz.
    pub(super) rate: u32,
}

impl Shard {
    /// Takes in a packet about a DTMF event, which `passes` on to the peer in a bridge as it is.
    pub(super) fn dtmf(
        &mut self,
        key: LegKey,
        event: EventPacket,
        datagram: &[u8],
        passes: bool,
        now: Instant,
    ) {
        let EventPacket { ssrc, timestamp, payload, rate } = event;
        let payload = datagram.get(payload).unwrap_or_default();
        let Some(leg) = self.leg(key) else { return };
        let passed = std::mem::replace(&mut leg.cold.passes_event, passes);
        let [before, this] = leg.cold.dtmf.handle_packet(ssrc, timestamp, payload, rate, now);
        for (event, passed) in [(before, passed), (this, passes)] {
            if let Some(event) = event {
                self.report_dtmf(key, event, passed);
            }
        }
        self.arm(key);
    }

    /// Listens for digits in the audio of a peer that sends no events, and returns whether one is
    /// being heard. Nobody asks for them while it hears itself.
    pub(super) fn listen(
        &mut self,
        key: LegKey,
        codec: Codec,
        meta: &Meta,
        datagram: &[u8],
        now: Instant,
    ) -> bool {
        let Some(leg) = self.legs.get_mut(key.index()).filter(|leg| leg.key == key) else {
            return false;
        };
        if matches!(leg.mode, Mode::Echo | Mode::DelayedEcho(_)) {
            return false;
        }
        // Who agreed on one codec and sends another agreed on events before, or has none.
        let listener = leg.listener.as_mut().filter(|listener| listener.codec() == codec);
        let Some(listener) = listener else { return false };
        let payload = datagram.get(meta.payload.clone()).unwrap_or_default();
        let before = listener.poll_timeout();
        let event = listener.hear(&mut self.heard, meta.number, payload, now);
        let has_changed = listener.poll_timeout() != before;
        let is_hearing = listener.poll_timeout().is_some();
        if let Some(event) = event {
            self.report_dtmf(key, event, false);
        }
        if has_changed {
            self.arm(key);
        }
        is_hearing
    }

    pub(super) fn report_dtmf(&mut self, key: LegKey, event: DtmfEvent, is_passed_on: bool) {
        self.counters.dtmf_in.add(1);
        let DtmfEvent { digit, duration } = event;
        self.event(key, LegEvent::Dtmf { digit, duration, is_passed_on });
    }
}
