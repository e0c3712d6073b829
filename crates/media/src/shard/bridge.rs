//! Media from one leg to the other of a bridge: forwarded, translated or transcoded.

use std::time::Instant;

use super::{
    command::LegId,
    core::Shard,
    counters::Discard,
    leg::{Bridge, Mode},
    meaning::Meta,
    send::{self, Context},
    transmit::{LegKey, Media, MediaKind, PacketBuffer, StreamId, Transmits},
};
use crate::{
    comfort_noise::Pause,
    jitter_buffer::PAYLOAD_BYTES_MAX,
    transcoder::{Transcoder, translation},
};

/// What becomes of a packet that comes to a leg from its peer in a bridge.
enum Way {
    /// They are not in one bridge.
    None,
    /// It is not sent, and nobody is to take it for lost.
    PassOver,
    /// It is sent as it is, after each code of a payload of G.711 was replaced where there is a
    /// table.
    Forward(Option<&'static [u8; 256]>),
    /// It waits to be decoded.
    Transcode,
    /// The pause that it describes is made audible.
    Pause,
}

impl Bridge {
    /// What is forwarded has numbers and times of its own: nothing is sent between.
    fn forward(&mut self, table: Option<&'static [u8; 256]>) -> Way {
        self.pause = None;
        Way::Forward(table)
    }
}

impl Shard {
    /// Hands what `key` has heard to its peer.
    pub(super) fn bridge(
        &mut self,
        peer: LegId,
        meta: &Meta,
        buffer: &mut PacketBuffer,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let datagram = buffer.datagram_mut();
        let payload = datagram.get_mut(meta.payload.clone()).unwrap_or_default();
        if peer.shard != self.config.shard {
            if payload.len() > PAYLOAD_BYTES_MAX {
                self.counters.discard(Discard::TooLong);
            } else if !transmits.forward(peer, &meta.media(payload)) {
                self.counters.discard(Discard::RingFull);
            }
            return;
        }
        let Some(target) = self.find(peer.serial) else {
            return self.counters.discard(Discard::NoPeer);
        };
        let table = match self.way(target, meta.stream, meta.kind, payload) {
            Way::Forward(table) => table,
            way => return self.keep(target, &way, &meta.media(payload), now),
        };
        if let Some(table) = table {
            translate(payload, table);
        }
        let at_ms = self.clock.tick(now);
        let (events, counters) = (&mut self.events, &*self.counters);
        let Some(leg) = self.legs.get_mut(target.index()) else { return };
        let mut context = Context { events, counters, now, at_ms };
        let media = meta.media(&[]).of(leg.codec());
        send::in_place(leg, &media, buffer, meta.payload.clone(), &mut context, transmits);
    }

    /// Takes over a packet that a leg of another shard forwards to the leg with a number.
    pub fn handle_forwarded(
        &mut self,
        serial: u64,
        media: &Media<'_>,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let Some(key) = self.find(serial) else { return self.counters.discard(Discard::NoPeer) };
        let is_event = matches!(media.kind, MediaKind::Dtmf(_));
        let table = match self.way(key, media.stream, media.kind, media.payload) {
            // Whom it comes from has reported that it goes no further.
            Way::Forward(_) if is_event => return self.keep(key, &Way::PassOver, media, now),
            Way::Forward(table) => table,
            way => return self.keep(key, &way, media, now),
        };
        let at_ms = self.clock.tick(now);
        let (events, counters) = (&mut self.events, &*self.counters);
        let Some(leg) = self.legs.get_mut(key.index()) else { return };
        let mut context = Context { events, counters, now, at_ms };
        send::copied(leg, &media.of(leg.codec()), table, &mut context, transmits);
    }

    /// The leg of this shard that hears what this one hears.
    pub(super) fn bridged(&mut self, key: LegKey) -> Option<LegKey> {
        let leg = self.leg(key)?;
        let (serial, Mode::Bridge(Bridge { peer, .. })) = (leg.serial, &leg.mode) else {
            return None;
        };
        let peer = *peer;
        let target = self.find(peer.serial).filter(|_| peer.shard == self.config.shard)?;
        let Mode::Bridge(bridge) = &self.leg(target)?.mode else { return None };
        (bridge.peer.serial == serial).then_some(target)
    }

    /// Whether DTMF events that come to the leg go on to its peer in a bridge as they are. Only on
    /// this shard, where both sides of that can be seen.
    pub(super) fn passes_events(&mut self, key: LegKey, rate_hz: u32) -> bool {
        let Some(serial) = self.leg(key).map(|leg| leg.serial) else { return false };
        let stream = StreamId { leg: serial, ordinal: 0 };
        self.bridged(key).is_some_and(|target| {
            matches!(self.way(target, stream, MediaKind::Dtmf(rate_hz), &[]), Way::Forward(_))
        })
    }

    /// Whether a digit that is heard from the leg reaches its peer in a bridge as an event or by
    /// signalling: whoever listens to its tone as well would take it for two. Only on this shard.
    pub(super) fn carries_digits(&mut self, key: LegKey) -> bool {
        let target = self.bridged(key).and_then(|target| self.leg(target));
        target.is_some_and(|leg| {
            let has_events = leg.format.is_some_and(|format| format.dtmf.is_some());
            has_events || !leg.takes_events
        })
    }

    /// How a packet of a stream gets out of the leg `target`.
    fn way(&mut self, target: LegKey, stream: StreamId, kind: MediaKind, payload: &[u8]) -> Way {
        let Some(leg) = self.legs.get_mut(target.index()).filter(|leg| leg.key == target) else {
            return Way::None;
        };
        let is_open = leg.sends && !leg.is_muted() && leg.route().is_some();
        let takes_noise = is_open && leg.format.is_some_and(|format| format.comfort_noise);
        let takes_event = is_open
            && leg.takes_events
            && matches!(kind, MediaKind::Dtmf(rate) if leg.forwards_events(rate));
        let (format, codec) = (leg.format, leg.codec());
        let Mode::Bridge(bridge) = &mut leg.mode else { return Way::None };
        if bridge.peer.serial != stream.leg {
            return Way::None;
        }
        let (MediaKind::Audio(from), Some(to)) = (kind, codec) else {
            return match kind {
                _ if bridge.transcoder.is_some() => Way::Transcode,
                MediaKind::ComfortNoise if takes_noise => bridge.forward(None),
                MediaKind::ComfortNoise if is_open && codec.is_some_and(Pause::fits) => Way::Pause,
                MediaKind::Dtmf(_) if takes_event => bridge.forward(None),
                _ => Way::PassOver,
            };
        };
        let table = translation(from, to);
        if from != to && table.is_none() {
            return Way::Transcode;
        }
        // Who takes no long packets gets frames of our own from the first one on.
        let is_too_long = format.is_some_and(|format| format.is_too_long(payload));
        let is_reframed = bridge.transcoder.as_deref().is_some_and(|t| t.is_between(from, to));
        if is_too_long || is_reframed {
            return Way::Transcode;
        }
        bridge.transcoder = None;
        let way = bridge.forward(table);
        if is_open { way } else { Way::PassOver }
    }

    /// Does what is to be done with a packet that is not forwarded.
    fn keep(&mut self, target: LegKey, way: &Way, media: &Media<'_>, now: Instant) {
        match way {
            Way::None => self.counters.discard(Discard::NoPeer),
            Way::PassOver => {
                if let Some(leg) = self.leg(target) {
                    leg.outbound.pass_over(media);
                }
            }
            Way::Transcode => self.transcode(target, media, now),
            Way::Pause => self.pause(target, media, now),
            Way::Forward(_) => {}
        }
    }

    /// Makes the pause that a packet describes audible.
    fn pause(&mut self, target: LegKey, media: &Media<'_>, now: Instant) {
        let Some(leg) = self.leg(target) else { return };
        leg.outbound.forget_source();
        let Mode::Bridge(bridge) = &mut leg.mode else { return };
        bridge.pause.get_or_insert_with(Pause::new).describe(media.payload);
        if !leg.in_slot {
            self.schedule(target, now);
        }
    }

    fn transcode(&mut self, target: LegKey, media: &Media<'_>, now: Instant) {
        let complexity = self.config.opus_complexity;
        let Some(leg) = self.leg(target) else { return };
        leg.outbound.forget_source();
        let (Some(format), wishes) = (leg.format, leg.cold.opus) else { return };
        let Mode::Bridge(bridge) = &mut leg.mode else { return };
        bridge.pause = None;
        if let MediaKind::Audio(from) = media.kind {
            let fits = |transcoder: &Transcoder| transcoder.is_between(from, format.codec);
            if !bridge.transcoder.as_deref().is_some_and(fits) {
                let made = Transcoder::new(from, format.codec, &wishes, complexity, now);
                bridge.transcoder = made.ok().map(Box::new);
            }
        }
        let Some(transcoder) = &mut bridge.transcoder else {
            return self.counters.discard(Discard::CodecMismatch);
        };
        let pushed = transcoder.push(media, now);
        if !leg.in_slot {
            self.schedule(target, now);
        }
        if let Err(reason) = pushed {
            self.counters.discard(reason);
        }
    }
}

/// Replaces each code of a payload.
pub(super) fn translate(payload: &mut [u8], table: &[u8; 256]) {
    for code in payload {
        *code = table[usize::from(*code)];
    }
}
