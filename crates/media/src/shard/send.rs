//! Media on its way out of a leg: played, echoed later, forwarded.

use std::{collections::VecDeque, ops::Range, time::Instant};

use super::{
    bridge::translate,
    command::{LegEvent, PlayEnd},
    counters::{Discard, LiveCounters, MediaStage, codec_index},
    leg::{Leg, Mode, Plain, Play, Transport},
    outbound::Moment,
    transmit::{LegKey, Media, MediaKind, PacketBuffer, StreamId, Transmits},
};
use crate::{
    comfort_noise::Pause,
    dtmf::Step,
    jitter_buffer::PAYLOAD_BYTES_MAX,
    rtp::{ExtendedSequenceNumber, HEADER_BYTES, Header, PayloadType},
    sdp::DtmfFormat,
    transcoder::Transcoder,
};

/// What everything that is sent needs beside the leg.
pub(super) struct Context<'a> {
    pub(super) events: &'a mut VecDeque<(LegKey, LegEvent)>,
    pub(super) counters: &'a LiveCounters,
    pub(super) now: Instant,
    /// The moment the packet belongs to, in milliseconds of the shard's clock.
    pub(super) at_ms: u64,
}

/// Sends what is due at the leg's turn.
pub(super) fn frame(leg: &mut Leg, context: &mut Context<'_>, transmits: &mut impl Transmits) {
    let is_muted = digits(leg, context, transmits);
    match std::mem::replace(&mut leg.mode, Mode::Idle) {
        Mode::Play(play) => played(leg, play, is_muted, context, transmits),
        Mode::DelayedEcho(mut ring) => {
            for _ in 0..DELAYED_PER_TURN_MAX {
                let buffer = transmits.buffer();
                let Some(room) = buffer.get_mut(HEADER_BYTES..) else { break };
                let Some(media) = ring.pop(room, context.now) else { break };
                let payload_bytes = media.payload.len();
                if is_muted || !matches!(media.kind, MediaKind::Audio(_)) {
                    leg.outbound.pass_over(&media);
                } else if let Some((header, number)) = prepare(leg, &media, None, context) {
                    queue(leg, header, number, payload_bytes, context, transmits);
                }
            }
            leg.mode = Mode::DelayedEcho(ring);
        }
        Mode::Bridge(mut bridge) => {
            match (&mut bridge.transcoder, &mut bridge.pause) {
                (Some(transcoder), _) => transcoded(leg, transcoder, is_muted, context, transmits),
                (None, Some(pause)) => paused(leg, pause, is_muted, context, transmits),
                (None, None) => {}
            }
            leg.mode = Mode::Bridge(bridge);
        }
        mode @ (Mode::Idle | Mode::Echo) => leg.mode = mode,
    }
}

/// Sends what is due of the digits; whether that takes the place of all else.
fn digits(leg: &mut Leg, context: &mut Context<'_>, transmits: &mut impl Transmits) -> bool {
    let (Some(mut dtmf), Some(format)) = (leg.dtmf.take(), leg.format) else { return false };
    let can_say = format.dtmf.is_some() || dtmf.tone_codec().is_some();
    if !leg.sends || !can_say {
        dtmf.clear();
    }
    let event = format.dtmf.unwrap_or(DtmfFormat { payload_type: 0, clock_rate_hz: 8000 });
    let step = dtmf.step(event.clock_rate_hz);
    match step {
        Step::Voice => {}
        Step::Event { begins, payload } => {
            let begin = || leg.outbound.begin_event(format.frame_ticks, context.at_ms);
            let timestamp = dtmf.timestamp(begin);
            let payload_type = PayloadType(event.payload_type);
            let packet = leg.outbound.event_packet(begins, payload_type, timestamp);
            send_packet(leg, packet, &payload, context, transmits);
        }
        Step::Tone => {
            let room = transmits.buffer().get_mut(HEADER_BYTES..HEADER_BYTES + PAYLOAD_BYTES_MAX);
            if let Some(len) = room.and_then(|room| dtmf.tone(room)) {
                queue_frame(leg, len, context, transmits);
            }
        }
    }
    leg.dtmf = Some(dtmf);
    step != Step::Voice
}

fn transcoded(
    leg: &mut Leg,
    transcoder: &mut Transcoder,
    is_muted: bool,
    context: &mut Context<'_>,
    transmits: &mut impl Transmits,
) {
    let room = transmits.buffer().get_mut(HEADER_BYTES..HEADER_BYTES + PAYLOAD_BYTES_MAX);
    match room.filter(|_| leg.sends && !is_muted) {
        None => transcoder.pass_over_frame(context.now),
        Some(room) => {
            if let Some(len) = transcoder.frame(room, context.now) {
                queue_frame(leg, len, context, transmits);
            }
        }
    }
}

/// Sends what the peer's pause sounds like.
fn paused(
    leg: &mut Leg,
    pause: &mut Pause,
    is_muted: bool,
    context: &mut Context<'_>,
    transmits: &mut impl Transmits,
) {
    let Some(codec) = leg.codec().filter(|_| leg.sends && !is_muted) else {
        return pause.pass_over_frame();
    };
    let room = transmits.buffer().get_mut(HEADER_BYTES..HEADER_BYTES + PAYLOAD_BYTES_MAX);
    if let Some(len) = room.and_then(|room| pause.frame(codec, room)) {
        queue_frame(leg, len, context, transmits);
    }
}

fn played(
    leg: &mut Leg,
    mut play: Play,
    is_muted: bool,
    context: &mut Context<'_>,
    transmits: &mut impl Transmits,
) {
    if let Some(payload) = play.track.frames.get(play.next) {
        if !is_muted {
            send_frame(leg, payload, context, transmits);
        }
        play.next += 1;
    }
    if play.next >= play.track.frames.len() {
        play.next = 0;
        match &mut play.left {
            None if !play.track.frames.is_empty() => {}
            Some(left) if *left > 0 => *left -= 1,
            _ => {
                let done = LegEvent::PlayDone { token: play.token, end: PlayEnd::Completed };
                return context.events.push_back((leg.key, done));
            }
        }
    }
    leg.mode = Mode::Play(play);
}

/// Sends one frame of a track.
fn send_frame(
    leg: &mut Leg,
    payload: &[u8],
    context: &mut Context<'_>,
    transmits: &mut impl Transmits,
) {
    let (Some(format), true) = (leg.format, leg.route().is_some()) else { return };
    // An empty frame is silence that the codec does not send.
    if !leg.sends || payload.is_empty() {
        return;
    }
    let packet = leg.outbound.next_frame(format.payload_type, format.frame_ticks, context.at_ms);
    send_packet(leg, packet, payload, context, transmits);
}

/// Sends a packet: in the clear as header and payload, protected as a copy that is encrypted where
/// it lies.
fn send_packet(
    leg: &mut Leg,
    (header, number): (Header, ExtendedSequenceNumber),
    payload: &[u8],
    context: &mut Context<'_>,
    transmits: &mut impl Transmits,
) {
    let Some((path, to)) = leg.route() else { return };
    match &leg.transport {
        Transport::Plain(Plain { sdes: None, .. }) => {
            tap(leg, &header, number, payload, context);
            transmits.send(path, to, &header.to_bytes(), payload);
            sent(leg, payload.len(), context);
        }
        Transport::Plain(_) | Transport::WebRtc(_) => {
            let buffer = transmits.buffer();
            let Some(room) = buffer.get_mut(HEADER_BYTES..HEADER_BYTES + payload.len()) else {
                return;
            };
            room.copy_from_slice(payload);
            queue(leg, header, number, payload.len(), context, transmits);
        }
    }
}

/// Queues the frame whose payload was written into the transmit buffer.
fn queue_frame(
    leg: &mut Leg,
    payload_bytes: usize,
    context: &mut Context<'_>,
    transmits: &mut impl Transmits,
) {
    let (Some(format), true) = (leg.format, leg.sends) else { return };
    let (header, number) =
        leg.outbound.next_frame(format.payload_type, format.frame_ticks, context.at_ms);
    queue(leg, header, number, payload_bytes, context, transmits);
}

/// Forwards media whose payload lies in `buffer` behind at least a header's length, in place.
pub(super) fn in_place(
    leg: &mut Leg,
    media: &Media<'_>,
    buffer: &mut PacketBuffer,
    payload: Range<usize>,
    context: &mut Context<'_>,
    transmits: &mut impl Transmits,
) {
    let is_event = matches!(media.kind, MediaKind::Dtmf(_));
    let content = buffer.bytes.get(payload.clone()).unwrap_or_default();
    let event = content.first().copied().filter(|_| is_event);
    let Some((header, number)) = prepare(leg, media, event, context) else { return };
    let Some((path, to)) = leg.route() else { return };
    let Some(start) = payload.start.checked_sub(HEADER_BYTES) else { return };
    let Some(bytes) = buffer.bytes.get_mut(start..) else { return };
    let len = HEADER_BYTES + payload.len();
    let content = bytes.get(HEADER_BYTES..len).unwrap_or_default();
    tap(leg, &header, number, content, context);
    if let Some(len) = finish(leg, header, number, bytes, len) {
        transmits.send(path, to, bytes.get(..len).unwrap_or_default(), &[]);
        sent(leg, payload.len(), context);
    }
}

/// Forwards media that lies elsewhere, such as that of another shard.
pub(super) fn copied(
    leg: &mut Leg,
    media: &Media<'_>,
    table: Option<&[u8; 256]>,
    context: &mut Context<'_>,
    transmits: &mut impl Transmits,
) {
    let Some((header, number)) = prepare(leg, media, None, context) else { return };
    let buffer = transmits.buffer();
    let end = HEADER_BYTES + media.payload.len();
    let Some(room) = buffer.get_mut(HEADER_BYTES..end) else { return };
    room.copy_from_slice(media.payload);
    if let Some(table) = table {
        translate(room, table);
    }
    queue(leg, header, number, media.payload.len(), context, transmits);
}

/// The header that a packet of another stream gets on this leg; `None` when it cannot be sent here,
/// and then nobody takes it for lost. `event` is the code of a DTMF event.
fn prepare(
    leg: &mut Leg,
    media: &Media<'_>,
    event: Option<u8>,
    context: &mut Context<'_>,
) -> Option<(Header, ExtendedSequenceNumber)> {
    let format = leg.format.filter(|_| leg.sends && leg.route().is_some());
    let Some(format) = format else {
        leg.outbound.pass_over(media);
        return None;
    };
    let payload_type = match media.kind {
        MediaKind::Audio(codec) if codec == format.codec => format.payload_type,
        MediaKind::ComfortNoise => COMFORT_NOISE,
        MediaKind::Dtmf(rate)
            if let Some(to) = format.dtmf.filter(|to| to.clock_rate_hz == rate) =>
        {
            PayloadType(to.payload_type)
        }
        MediaKind::Audio(_) | MediaKind::Dtmf(_) => {
            leg.outbound.pass_over(media);
            context.counters.discard(Discard::CodecMismatch);
            return None;
        }
    };
    let moment = Moment { at_ms: context.at_ms, ticks_per_ms: format.ticks_per_ms() };
    let prepared = leg.outbound.forward(media, event, payload_type, moment);
    if prepared.is_none() {
        context.counters.discard(Discard::Late);
    }
    prepared
}

/// Queues the packet whose payload lies in the transmit buffer behind the room for its header.
fn queue(
    leg: &mut Leg,
    header: Header,
    number: ExtendedSequenceNumber,
    payload_bytes: usize,
    context: &mut Context<'_>,
    transmits: &mut impl Transmits,
) {
    let Some((path, to)) = leg.route() else { return };
    let len = HEADER_BYTES + payload_bytes;
    let payload = transmits.buffer().get(HEADER_BYTES..len).unwrap_or_default();
    tap(leg, &header, number, payload, context);
    if let Some(len) = finish(leg, header, number, transmits.buffer(), len) {
        transmits.queue(path, to, len);
        sent(leg, payload_bytes, context);
    }
}

/// Copies what is sent to the recordings of the leg.
fn tap(
    leg: &Leg,
    header: &Header,
    number: ExtendedSequenceNumber,
    payload: &[u8],
    context: &Context<'_>,
) {
    let (Some(taps), Some(format)) = (&leg.taps, leg.format) else { return };
    let Header { timestamp, marker, .. } = *header;
    let kind = match header.payload_type {
        payload_type if payload_type == format.payload_type => MediaKind::Audio(format.codec),
        COMFORT_NOISE => MediaKind::ComfortNoise,
        // Of digits only the numbers count.
        _ => MediaKind::Dtmf(format.clock_rate_hz()),
    };
    let stream = StreamId { leg: leg.serial, ordinal: 0 };
    taps.sent(&Media { kind, stream, number, timestamp, marker, payload }, context.now);
}

/// Writes the header in front of the payload and protects the packet where the leg demands it;
/// returns its length.
fn finish(
    leg: &Leg,
    header: Header,
    number: ExtendedSequenceNumber,
    bytes: &mut [u8],
    len: usize,
) -> Option<usize> {
    bytes.get_mut(..HEADER_BYTES)?.copy_from_slice(&header.to_bytes());
    match &leg.transport {
        Transport::Plain(plain) => match &plain.sdes {
            None => Some(len),
            Some(sdes) => sdes.outbound.as_ref()?.0.protect(bytes, len, number),
        },
        Transport::WebRtc(webrtc) => webrtc.outbound.as_ref()?.protect(bytes, len, number),
    }
}

fn sent(leg: &mut Leg, payload_bytes: usize, context: &mut Context<'_>) {
    leg.outbound.count(payload_bytes);
    leg.allowance = leg.allowance.map(|left| left.saturating_sub(1));
    if let Some(codec) = leg.codec() {
        context.counters.packets_out[codec_index(codec)].add(1);
        context.counters.bytes_out[codec_index(codec)].add(payload_bytes as u64);
    }
    if !leg.has_sent {
        leg.has_sent = true;
        let after = context.now.saturating_duration_since(leg.cold.opened);
        context.counters.ready(MediaStage::FirstPacketOut, after);
    }
}

// RFC 3389 §4.
pub(super) const COMFORT_NOISE: PayloadType = PayloadType(13);
/// Packets of a delayed echo sent at one turn: enough for packets of 10 ms and to catch up.
const DELAYED_PER_TURN_MAX: usize = 4;
