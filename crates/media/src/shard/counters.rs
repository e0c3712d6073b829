//! What a shard counts: plain integers with one writer, read by whoever scrapes.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{codec::Codec, shard::LegKind};

/// A number that one thread writes and others read; adding costs what adding to an integer costs.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Relaxed);
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.0.store(self.get().saturating_sub(count), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Declares an enum whose variants index an array and have a label each.
macro_rules! labelled {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $label:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every value, in the order of the arrays they index.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// A word for metrics.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

labelled! {
    /// Why a packet was received and not used.
    Discard {
        /// Not RTP, RTCP, STUN or DTLS, or malformed.
        Malformed => "malformed",
        /// From an address that belongs to no leg.
        UnknownSource => "unknown_source",
        /// To a plain leg from an address that is not its peer.
        ForeignSource => "foreign_source",
        /// DTLS from an address without a valid ICE check.
        DtlsUnvalidated => "dtls_unvalidated",
        /// DTLS that belongs to no handshake, or beyond its bounds.
        DtlsUnexpected => "dtls_unexpected",
        /// SRTP before there are keys.
        SrtpNoKeys => "srtp_no_keys",
        /// The SRTP tag is wrong.
        SrtpAuth => "srtp_auth",
        /// Seen before.
        SrtpReplay => "srtp_replay",
        /// A payload type that was not agreed on.
        PayloadType => "payload_type",
        /// A stray packet of another source or sequence.
        Probation => "probation",
        /// Seen before, or too late to be forwarded.
        Late => "late",
        /// More than 200 ms of audio, for another codec or another thread.
        TooLong => "too_long",
        /// The other leg of a bridge speaks another codec.
        CodecMismatch => "codec_mismatch",
        /// The other leg of a bridge is gone or cannot be sent to.
        NoPeer => "no_peer",
        /// The ring to another shard was full.
        RingFull => "ring_full",
        /// RTCP that could not be read or authenticated.
        Rtcp => "rtcp",
        /// The delayed echo had no room.
        EchoFull => "echo_full",
    }
}

labelled! {
    /// What became of a STUN message.
    StunResult {
        /// Answered with a success response.
        Success => "success",
        /// Not STUN, or not a Binding request.
        Malformed => "malformed",
        /// Its user name is of no leg.
        UnknownUser => "unknown_user",
        /// MESSAGE-INTEGRITY is missing or wrong.
        Integrity => "integrity",
        /// FINGERPRINT is missing or wrong.
        Fingerprint => "fingerprint",
        /// Answered with 420.
        UnknownAttribute => "unknown_attribute",
        /// Answered with 487.
        RoleConflict => "role_conflict",
        /// The leg has as many addresses as it may, or another leg has this one.
        AddressRefused => "address_refused",
    }
}

labelled! {
    /// What became of a DTLS handshake.
    HandshakeResult {
        /// Keys were agreed on.
        Success => "success",
        /// The certificate does not match the signalled fingerprint.
        Fingerprint => "fingerprint",
        /// It offered no SRTP profile of ours.
        NoProfile => "no_profile",
        /// It failed otherwise.
        Failed => "failed",
        /// It took too many retransmissions.
        Timeout => "timeout",
        /// Put off to the next tick because too many were at work.
        Deferred => "deferred",
    }
}

labelled! {
    /// What comes up on a leg.
    MediaStage {
        /// The first valid ICE check, from opening the leg.
        Ice => "ice",
        /// Keys, from the first DTLS datagram.
        Dtls => "dtls",
        /// The first RTP packet that could be used, from opening the leg.
        FirstPacketIn => "first_packet_in",
        /// The first RTP packet sent, from opening the leg.
        FirstPacketOut => "first_packet_out",
    }
}

/// Upper bounds of the buckets of [`ShardCounters::media_ready`] in milliseconds.
pub const MEDIA_READY_BOUNDS_MS: [u64; 11] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/// Upper bounds of the buckets of [`ShardCounters::tick_lag`] in microseconds.
pub const TICK_LAG_BOUNDS_US: [u64; 8] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000];

const CODECS: usize = crate::codec::CODECS.len();
const KINDS: usize = 2;

/// The live counters of one shard.
#[derive(Debug, Default)]
pub(crate) struct LiveCounters {
    pub(crate) packets_in: [Counter; CODECS],
    pub(crate) bytes_in: [Counter; CODECS],
    pub(crate) packets_out: [Counter; CODECS],
    pub(crate) bytes_out: [Counter; CODECS],
    pub(crate) lost_in: Counter,
    pub(crate) rtcp_in: Counter,
    pub(crate) rtcp_out: Counter,
    pub(crate) dtmf_in: Counter,
    pub(crate) dtmf_dropped: Counter,
    pub(crate) discarded: [Counter; Discard::ALL.len()],
    pub(crate) stun: [Counter; StunResult::ALL.len()],
    pub(crate) handshakes: [Counter; HandshakeResult::ALL.len()],
    pub(crate) tick_lag: [Counter; TICK_LAG_BOUNDS_US.len() + 1],
    pub(crate) tick_lag_us: Counter,
    pub(crate) ticks_skipped: Counter,
    pub(crate) send_failures: Counter,
    pub(crate) events_dropped: Counter,
    pub(crate) legs: [[Counter; CODECS + 1]; KINDS],
    pub(crate) media_ready: [[Counter; MEDIA_READY_BOUNDS_MS.len() + 1]; MediaStage::ALL.len()],
    pub(crate) media_ready_us: [Counter; MediaStage::ALL.len()],
}

/// The counters of one shard at one moment. Arrays are indexed by `as usize` of the type named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardCounters {
    /// RTP packets received and used, by [`codec_index`].
    pub packets_in: [u64; CODECS],
    /// Payload bytes of them.
    pub bytes_in: [u64; CODECS],
    /// RTP packets sent, by [`codec_index`].
    pub packets_out: [u64; CODECS],
    /// Payload bytes of them.
    pub bytes_out: [u64; CODECS],
    /// Packets never received, counted when a leg closes.
    pub lost_in: u64,
    /// RTCP packets received and read.
    pub rtcp_in: u64,
    /// RTCP packets sent.
    pub rtcp_out: u64,
    /// DTMF digits received (RFC 4733).
    pub dtmf_in: u64,
    /// Digits that were to be sent and were none, or too many at once.
    pub dtmf_dropped: u64,
    /// Packets received and not used, by [`Discard`].
    pub discarded: [u64; Discard::ALL.len()],
    /// STUN messages, by [`StunResult`].
    pub stun: [u64; StunResult::ALL.len()],
    /// DTLS handshakes, by [`HandshakeResult`].
    pub handshakes: [u64; HandshakeResult::ALL.len()],
    /// Ticks by how late they ran; bounds in [`TICK_LAG_BOUNDS_US`], the last one is unbounded.
    /// Not cumulative.
    pub tick_lag: [u64; TICK_LAG_BOUNDS_US.len() + 1],
    /// Sum of how late ticks ran, in microseconds.
    pub tick_lag_us: u64,
    /// Ticks skipped because the thread was held up for too long to catch up.
    pub ticks_skipped: u64,
    /// Datagrams that the system refused to send.
    pub send_failures: u64,
    /// Leg events dropped because whoever reads them fell behind.
    pub events_dropped: u64,
    /// Open legs by [`LegKind`] and [`codec_index`]; the last one has no codec yet.
    pub legs: [[u64; CODECS + 1]; KINDS],
    /// How long each [`MediaStage`] took to come up; bounds in [`MEDIA_READY_BOUNDS_MS`], the last
    /// one is unbounded. Not cumulative.
    pub media_ready: [[u64; MEDIA_READY_BOUNDS_MS.len() + 1]; MediaStage::ALL.len()],
    /// Sums of the same, in microseconds.
    pub media_ready_us: [u64; MediaStage::ALL.len()],
}

impl LiveCounters {
    pub(crate) fn discard(&self, reason: Discard) {
        self.discarded[reason as usize].add(1);
    }

    pub(crate) fn stun(&self, result: StunResult) {
        self.stun[result as usize].add(1);
    }

    pub(crate) fn handshake(&self, result: HandshakeResult) {
        self.handshakes[result as usize].add(1);
    }

    pub(crate) fn lag(&self, lag_us: u64) {
        self.tick_lag[bucket(&TICK_LAG_BOUNDS_US, lag_us)].add(1);
        self.tick_lag_us.add(lag_us);
    }

    /// A stage came up on a leg after this time.
    pub(crate) fn ready(&self, stage: MediaStage, after: Duration) {
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let buckets = &self.media_ready[stage as usize];
        buckets[bucket(&MEDIA_READY_BOUNDS_MS, us.div_ceil(1_000))].add(1);
        self.media_ready_us[stage as usize].add(us);
    }

    pub(crate) fn leg(&self, kind: LegKind, codec: Option<Codec>) -> &Counter {
        &self.legs[kind as usize][codec.map_or(CODECS, codec_index)]
    }

    pub(crate) fn snapshot(&self) -> ShardCounters {
        ShardCounters {
            packets_in: read(&self.packets_in),
            bytes_in: read(&self.bytes_in),
            packets_out: read(&self.packets_out),
            bytes_out: read(&self.bytes_out),
            lost_in: self.lost_in.get(),
            rtcp_in: self.rtcp_in.get(),
            rtcp_out: self.rtcp_out.get(),
            dtmf_in: self.dtmf_in.get(),
            dtmf_dropped: self.dtmf_dropped.get(),
            discarded: read(&self.discarded),
            stun: read(&self.stun),
            handshakes: read(&self.handshakes),
            tick_lag: read(&self.tick_lag),
            tick_lag_us: self.tick_lag_us.get(),
            ticks_skipped: self.ticks_skipped.get(),
            send_failures: self.send_failures.get(),
            events_dropped: self.events_dropped.get(),
            legs: self.legs.each_ref().map(read),
            media_ready: self.media_ready.each_ref().map(read),
            media_ready_us: read(&self.media_ready_us),
        }
    }
}

impl ShardCounters {
    /// Packets received and not used for `reason`.
    pub fn discarded(&self, reason: Discard) -> u64 {
        self.discarded[reason as usize]
    }

    /// STUN messages with `result`.
    pub fn stun(&self, result: StunResult) -> u64 {
        self.stun[result as usize]
    }

    /// DTLS handshakes with `result`.
    pub fn handshakes(&self, result: HandshakeResult) -> u64 {
        self.handshakes[result as usize]
    }

    /// Open legs of `kind`.
    pub fn legs(&self, kind: LegKind) -> u64 {
        self.legs[kind as usize].iter().sum()
    }
}

/// The place of `codec` in arrays by codec.
pub fn codec_index(codec: Codec) -> usize {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 1,
        Codec::Opus => 2,
        Codec::G722 => 3,
    }
}

/// The bucket of `value` among upper bounds; the one past the last is unbounded.
pub(crate) fn bucket(bounds: &[u64], value: u64) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len())
}

fn read<const N: usize>(counters: &[Counter; N]) -> [u64; N] {
    counters.each_ref().map(Counter::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shows_what_was_counted() {
        let live = LiveCounters::default();
        live.discard(Discard::SrtpAuth);
        live.discard(Discard::SrtpAuth);
        live.lag(700);
        live.lag(1_000_000);
        live.leg(LegKind::WebRtc, None).add(1);
        live.ready(MediaStage::Dtls, Duration::from_micros(5_000));
        live.ready(MediaStage::Dtls, Duration::from_micros(5_001));
        live.ready(MediaStage::Dtls, Duration::from_secs(60));
        let counters = live.snapshot();
        assert_eq!(counters.discarded(Discard::SrtpAuth), 2);
        assert_eq!(counters.tick_lag, [0, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!(counters.legs(LegKind::WebRtc), 1);
        let dtls = MediaStage::Dtls as usize;
        assert_eq!(counters.media_ready[dtls], [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(counters.media_ready_us[dtls], 60_010_001);
    }

    #[test]
    fn labels_are_distinct() {
        let mut labels: Vec<_> = Discard::ALL.iter().map(|reason| reason.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Discard::ALL.len());
    }
}
