//! Digits that a leg hears: as events (RFC 4733), or as tones in its audio.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{
    command::LegEvent,
    core::Shard,
    leg::{Mode, Passage},
    meaning::Meta,
    transmit::LegKey,
};
use crate::{
    codec::Codec,
    dtmf::{DtmfEvent, DtmfSender, Pressed},
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
        let before = leg.cold.event_passage;
        let heard = leg.cold.dtmf.handle_packet(ssrc, timestamp, payload, rate, now);
        if let Some(event) = heard.before {
            if before == Passage::Held {
                self.hold_on(key, event.duration, true);
            }
            self.report_dtmf(key, event, before != Passage::None);
        }
        let Some(Pressed { event, begins, ends }) = heard.this else { return self.arm(key) };
        let passage = match before {
            Passage::Held if !begins => Passage::Held,
            _ if passes => Passage::Forwarded,
            // Of a key that is heard of when it is let go, it is too late for that.
            _ if begins && !ends && self.hold(key, event.digit, rate, now) => Passage::Held,
            _ => Passage::None,
        };
        if passage == Passage::Held {
            self.hold_on(key, event.duration, ends);
        }
        if let Some(leg) = self.leg(key) {
            leg.cold.event_passage = passage;
        }
        if ends {
            self.report_dtmf(key, event, passage != Passage::None);
        }
        self.arm(key);
    }

    /// Lets the peer in a bridge be sent an event of its own from now on, because it cannot take those
    /// of this rate as they come; whether it is.
    fn hold(&mut self, key: LegKey, digit: char, rate_hz: u32, now: Instant) -> bool {
        let Some(target) = self.bridged(key) else { return false };
        let Some(leg) = self.leg(target) else { return false };
        let has_events = leg.format.is_some_and(|format| format.dtmf.is_some());
        let is_open = leg.sends && leg.takes_events && leg.route().is_some();
        if !has_events || !is_open || leg.forwards_events(rate_hz) {
            return false;
        }
        let dtmf = leg.dtmf.get_or_insert_with(|| Box::new(DtmfSender::new()));
        if !dtmf.hold(digit) {
            return false;
        }
        if !leg.in_slot {
            self.schedule(target, now);
        }
        true
    }

    /// Tells the peer in a bridge for how long a key has been pressed that it is sent.
    fn hold_on(&mut self, key: LegKey, duration: Duration, is_let_go: bool) {
        let target = self.bridged(key).and_then(|target| self.leg(target));
        if let Some(dtmf) = target.and_then(|leg| leg.dtmf.as_mut()) {
            dtmf.pressed(duration, is_let_go);
        }
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
