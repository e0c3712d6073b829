//! What an inbound packet is: what it holds, and where it belongs.

use std::ops::Range;

use super::{
    counters::Discard,
    leg::{Cold, Format, Leg},
    send::COMFORT_NOISE,
    transmit::{Media, MediaKind, StreamId},
};
use crate::{
    rtp::{ExtendedSequenceNumber, PayloadType, RtpTimestamp},
    sdp::DtmfFormat,
};

/// Everything of a packet but its bytes.
pub(super) struct Meta {
    pub(super) kind: MediaKind,
    pub(super) stream: StreamId,
    pub(super) number: ExtendedSequenceNumber,
    pub(super) timestamp: RtpTimestamp,
    pub(super) marker: bool,
    pub(super) payload: Range<usize>,
}

impl Meta {
    pub(super) fn media<'a>(&self, payload: &'a [u8]) -> Media<'a> {
        Media {
            kind: self.kind,
            stream: self.stream,
            number: self.number,
            timestamp: self.timestamp,
            marker: self.marker,
            payload,
        }
    }
}

impl Meta {
    /// Makes silence of the packet: the faintest comfort noise (RFC 3389 §3.1).
    pub(super) fn hush(&mut self, datagram: &mut [u8]) {
        let payload = self.payload.start..self.payload.end.min(self.payload.start + 1);
        if let Some(payload) = datagram.get_mut(payload.clone()) {
            payload.fill(FAINTEST);
        }
        (self.kind, self.payload) = (MediaKind::ComfortNoise, payload);
    }
}

/// What a payload type means on this leg.
pub(super) fn kind_of(leg: &Leg, payload_type: PayloadType) -> Result<MediaKind, Discard> {
    meaning(&leg.format.ok_or(Discard::PayloadType)?, &leg.cold, payload_type)
}

/// A payload type means what our description says; some peers that answered with numbers of their
/// own send with those. What we offered besides the codec agreed on comes after both.
pub(super) fn meaning(
    format: &Format,
    cold: &Cold,
    payload_type: PayloadType,
) -> Result<MediaKind, Discard> {
    let audio = Ok(MediaKind::Audio(format.codec));
    let is = |dtmf: &DtmfFormat| PayloadType(dtmf.payload_type) == payload_type;
    if payload_type == format.local_payload_type {
        return audio;
    }
    let local_dtmf = format.local_dtmf.filter(is);
    if let Some(dtmf) = local_dtmf.or_else(|| format.local_dtmf_other.filter(is)) {
        return Ok(MediaKind::Dtmf(dtmf.clock_rate_hz));
    }
    match format.dtmf.filter(is) {
        _ if payload_type == format.payload_type => audio,
        _ if let Some(codec) = cold.other_codec(payload_type) => Ok(MediaKind::Audio(codec)),
        Some(dtmf) => Ok(MediaKind::Dtmf(dtmf.clock_rate_hz)),
        None if payload_type == COMFORT_NOISE => Ok(MediaKind::ComfortNoise),
        None => Err(Discard::PayloadType),
    }
}

/// -127 dBov.
const FAINTEST: u8 = 127;
