//! One leg: what every packet touches inline, the rest boxed.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    command::{LegId, LegKind, LegStatistics, PlayToken},
    delay::DelayRing,
    listener::Listener,
    outbound::Outbound,
    sdes::Sdes,
    source::PlainSource,
    taps::Taps,
    transmit::{LegKey, Path},
};
use crate::{
    codec::{CODECS, Codec, FRAME_MS, opus},
    comfort_noise::Pause,
    dtls::Association,
    dtmf::{DtmfReceiver, DtmfSender},
    ice::IceLite,
    prompt::Track,
    rtp::{PayloadType, ReceiveStatistics, ReportBlock},
    sdp::{DtmfFormat, Fingerprint, Negotiated, OpusParameters},
    srtp::{InboundSrtcp, InboundSrtp, OutboundSrtcp, OutboundSrtp},
    transcoder::Transcoder,
};

pub(crate) struct Leg {
    pub(crate) key: LegKey,
    pub(crate) serial: u64,
    pub(crate) format: Option<Format>,
    /// Whether the agreed direction lets us send.
    pub(crate) sends: bool,
    /// Whether the agreed direction lets the peer send, so that its silence means something.
    pub(crate) receives: bool,
    /// Whether it is time to send: the peer is known to listen, or was given time to.
    pub(crate) is_started: bool,
    pub(crate) is_quiet: bool,
    pub(crate) in_slot: bool,
    pub(crate) has_sent: bool,
    pub(crate) has_received: bool,
    /// The codec of the last frame, and the tick since which it has been that.
    pub(crate) heard_codec: Option<Codec>,
    pub(crate) codec_since: u32,
    pub(crate) slot: u8,
    /// Packets that may be sent yet, as long as the peer may not be where it says.
    pub(crate) allowance: Option<u16>,
    /// Whether media from the host that signals lifts that.
    pub(crate) trusts_media: bool,
    /// Whether events of the other leg of a bridge are passed on as they come; else its peer hears
    /// of digits by signalling.
    pub(crate) takes_events: bool,
    /// How often it changed what becomes of what is heard: what is passed on after a pause is another
    /// stream.
    pub(crate) passages: u32,
    pub(crate) last_heard: Instant,
    pub(crate) armed: Option<Instant>,
    pub(crate) mode: Mode,
    /// Digits to be sent; kept from the first one on.
    pub(crate) dtmf: Option<Box<DtmfSender>>,
    /// Listens for digits where the peer sends no events.
    pub(crate) listener: Option<Box<Listener>>,
    /// Recordings that are being made; kept from the first one on.
    pub(crate) taps: Option<Box<Taps>>,
    pub(crate) outbound: Outbound,
    pub(crate) inbound: ReceiveStatistics,
    pub(crate) transport: Transport,
    pub(crate) cold: Box<Cold>,
}

/// The agreed codec with what every packet needs to know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) codec: Codec,
    pub(crate) payload_type: PayloadType,
    pub(crate) dtmf: Option<DtmfFormat>,
    /// What the peer sends the codec with.
    pub(crate) local_payload_type: PayloadType,
    /// What the peer sends DTMF events with.
    pub(crate) local_dtmf: Option<DtmfFormat>,
    /// What else the peer may send DTMF events with.
    pub(crate) local_dtmf_other: Option<DtmfFormat>,
    /// Whether comfort noise (RFC 3389) is agreed on.
    pub(crate) comfort_noise: bool,
    /// The longest packet that the peer takes, in milliseconds (RFC 8866 §6.4), but not less than
    /// the frames that are made here.
    pub(crate) packet_ms_max: Option<u16>,
    pub(crate) frame_ticks: u32,
}

/// What a leg does with the media it hears, and what it sends.
#[derive(Debug)]
pub(crate) enum Mode {
    Idle,
    Play(Play),
    Echo,
    DelayedEcho(Box<DelayRing>),
    Bridge(Bridge),
}

impl Mode {
    /// Whether what is heard is sent on at once.
    pub(crate) fn relays(&self) -> bool {
        match self {
            Mode::Echo | Mode::Bridge(_) => true,
            Mode::Idle | Mode::Play(_) | Mode::DelayedEcho(_) => false,
        }
    }
}

/// The other leg of a bridge, and how its audio is made fit for this one.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) peer: LegId,
    /// Made when audio of another codec comes, and gone when it is of this leg's.
    pub(crate) transcoder: Option<Box<Transcoder>>,
    /// What the peer's pause is to sound like, until its audio goes on.
    pub(crate) pause: Option<Pause>,
}

impl Bridge {
    pub(crate) fn new(peer: LegId) -> Self {
        Self { peer, transcoder: None, pause: None }
    }

    /// Whether there is or soon may be a frame to send.
    fn is_awake(&self) -> bool {
        let is_pausing = self.pause.as_ref().is_some_and(|pause| pause.lasts());
        is_pausing || self.transcoder.as_ref().is_some_and(|transcoder| transcoder.is_awake())
    }
}

#[derive(Debug)]
pub(crate) struct Play {
    pub(crate) track: Arc<Track>,
    pub(crate) next: usize,
    /// Times still to be begun after this one; `None`: without end.
    pub(crate) left: Option<u32>,
    pub(crate) token: PlayToken,
}

pub(crate) enum Transport {
    Plain(Plain),
    WebRtc(WebRtc),
}

#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) source: PlainSource,
    /// Where the session description wants RTCP.
    pub(crate) rtcp_signalled: Option<SocketAddr>,
    /// Where RTCP came from, when the host is the peer's.
    pub(crate) rtcp_learned: Option<SocketAddr>,
    pub(crate) rtcp_mux: bool,
    /// Set while keys in the session description protect the media.
    pub(crate) sdes: Option<Box<Sdes>>,
}

impl Plain {
    pub(crate) fn new(source: PlainSource) -> Self {
        Self { source, rtcp_signalled: None, rtcp_learned: None, rtcp_mux: false, sdes: None }
    }
}

pub(crate) struct WebRtc {
    pub(crate) send_to: Option<(u8, SocketAddr)>,
    pub(crate) outbound: Option<OutboundSrtp>,
    pub(crate) inbound: Option<InboundSrtp>,
    pub(crate) session: Box<Session>,
}

/// The part of a WebRTC leg that only checks, handshakes and reports touch.
pub(crate) struct Session {
    pub(crate) ice: IceLite,
    /// What the certificate of the present association must match.
    pub(crate) fingerprints: Vec<Fingerprint>,
    pub(crate) association: Option<Box<Association>>,
    /// Where handshake datagrams go: to where the last one came from.
    pub(crate) dtls_to: Option<(u8, SocketAddr)>,
    pub(crate) srtcp: Option<(InboundSrtcp, OutboundSrtcp)>,
    pub(crate) first_check: Option<Instant>,
    pub(crate) dtls_began: Option<Instant>,
    /// When the association is of no more use.
    pub(crate) association_ends: Option<Instant>,
}

/// How a DTMF event reaches the other leg of a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Not within the shard: whoever is told of it may press the key again.
    #[default]
    None,
    /// As its packets come.
    Forwarded,
    /// As an event of that leg's own, which lasts as long.
    Held,
}

/// What no packet touches unless something changes.
#[derive(Debug)]
pub(crate) struct Cold {
    pub(crate) cname: String,
    pub(crate) opened: Instant,
    pub(crate) quiet_after: Duration,
    pub(crate) starts_at: Option<Instant>,
    /// The peer may have said that it closes: when it said so.
    pub(crate) farewell: Option<Instant>,
    /// When it certainly said so.
    pub(crate) closed_at: Option<Instant>,
    pub(crate) rtcp_at: Option<Instant>,
    pub(crate) dtmf: DtmfReceiver,
    /// How the last event that came reaches the peer in a bridge.
    pub(crate) event_passage: Passage,
    /// What the peer may send besides the codec agreed on.
    pub(crate) other_codecs: [Option<(Codec, PayloadType)>; CODECS.len() - 1],
    /// What the peer asks of an Opus encoder.
    pub(crate) opus: OpusParameters,
    /// The peer's last sender report: middle bits of its NTP time, and when it came.
    pub(crate) sender_report: Option<(u32, Instant)>,
    pub(crate) remote_block: Option<ReportBlock>,
    pub(crate) round_trip: Option<Duration>,
    /// Packets sent at the report before the last one, and at the last one.
    pub(crate) sent_at_reports: [u64; 2],
    pub(crate) discarded: u64,
}

impl Format {
    pub(crate) fn new(negotiated: &Negotiated) -> Self {
        Self {
            codec: negotiated.codec,
            payload_type: PayloadType(negotiated.payload_type),
            dtmf: negotiated.dtmf,
            local_payload_type: PayloadType(negotiated.local_payload_type),
            local_dtmf: negotiated.local_dtmf,
            local_dtmf_other: negotiated.local_dtmf_other,
            comfort_noise: negotiated.comfort_noise,
            packet_ms_max: negotiated
                .packet_time_ms_max
                .map(|most| most.clamp(FRAME_MS, PACKET_MS_MAX) as u16),
            frame_ticks: negotiated.codec.samples_per_frame(),
        }
    }

    /// Whether a payload of the codec lasts longer than the peer takes.
    pub(crate) fn is_too_long(&self, payload: &[u8]) -> bool {
        let is_longer = |most: u16| match self.codec {
            Codec::Opus => {
                opus::duration_ticks(payload).is_some_and(|ticks| ticks > 48 * u32::from(most))
            }
            Codec::Pcmu | Codec::Pcma | Codec::G722 => payload.len() > 8 * usize::from(most),
        };
        self.packet_ms_max.is_some_and(is_longer)
    }

    pub(crate) fn ticks_per_ms(&self) -> u32 {
        self.frame_ticks / FRAME_MS
    }

    /// The events that can stand in the codec's stream: those with its clock.
    pub(crate) fn events(&self) -> Option<DtmfFormat> {
        self.dtmf.filter(|dtmf| dtmf.clock_rate_hz == self.clock_rate_hz())
    }

    pub(crate) fn clock_rate_hz(&self) -> u32 {
        self.codec.clock_rate_hz()
    }
}

impl Cold {
    /// The codec that the peer may send besides the one agreed on with this payload type.
    pub(crate) fn other_codec(&self, payload_type: PayloadType) -> Option<Codec> {
        let mut others = self.other_codecs.iter().flatten();
        others.find(|(_, other)| *other == payload_type).map(|(codec, _)| *codec)
    }
}

impl Leg {
    pub(crate) fn kind(&self) -> LegKind {
        match self.transport {
            Transport::Plain(_) => LegKind::Plain,
            Transport::WebRtc(_) => LegKind::WebRtc,
        }
    }

    pub(crate) fn codec(&self) -> Option<Codec> {
        self.format.map(|format| format.codec)
    }

    /// Whether a frame of this codec is taken. A peer may change its codec, but to another than that
    /// agreed on no faster than transcoders can be made.
    pub(crate) fn takes(&mut self, codec: Codec, tick: u64) -> bool {
        let tick = tick as u32;
        let is_agreed = self.codec() == Some(codec);
        let is_too_soon = tick.wrapping_sub(self.codec_since) < CODEC_TICKS_MIN;
        match self.heard_codec {
            Some(heard) if heard == codec => return true,
            Some(_) if !is_agreed && is_too_soon => return false,
            _ => {}
        }
        (self.heard_codec, self.codec_since) = (Some(codec), tick);
        true
    }

    /// Whether events of a rate may stand in what is forwarded to the leg.
    pub(crate) fn forwards_events(&self, rate_hz: u32) -> bool {
        let is_transcoded =
            matches!(&self.mode, Mode::Bridge(bridge) if bridge.transcoder.is_some());
        let events = self.format.and_then(|format| format.events());
        !is_transcoded && events.is_some_and(|events| events.clock_rate_hz == rate_hz)
    }

    /// Where RTP goes; `None` as long as it may not go anywhere.
    pub(crate) fn route(&self) -> Option<(Path, SocketAddr)> {
        if !self.is_started || self.allowance == Some(0) {
            return None;
        }
        match &self.transport {
            Transport::Plain(plain) => {
                let has_keys = plain.sdes.as_ref().is_none_or(|sdes| sdes.outbound.is_some());
                let to = plain.source.destination().filter(|_| has_keys);
                to.map(|to| (Path::Rtp(self.key), to))
            }
            Transport::WebRtc(webrtc) => {
                webrtc.outbound.as_ref()?;
                webrtc.send_to.map(|(socket, to)| (Path::Shared(socket), to))
            }
        }
    }

    /// Whether the leg has something to send at every turn of its slot.
    pub(crate) fn wants_slot(&self) -> bool {
        let has_frames = match &self.mode {
            Mode::Play(_) | Mode::DelayedEcho(_) => true,
            Mode::Bridge(bridge) => bridge.is_awake(),
            Mode::Idle | Mode::Echo => false,
        };
        let has_digits = self.dtmf.as_ref().is_some_and(|dtmf| dtmf.is_active());
        (has_frames || has_digits) && self.format.is_some() && self.route().is_some()
    }

    /// Whether a digit is being sent, and nothing else may be.
    pub(crate) fn is_muted(&self) -> bool {
        self.dtmf.as_ref().is_some_and(|dtmf| dtmf.is_muting())
    }

    /// Whether silence would be worth reporting. A WebRTC peer sends checks even on hold.
    pub(crate) fn may_fall_quiet(&self) -> bool {
        let is_expected = self.receives || matches!(self.transport, Transport::WebRtc(_));
        is_expected && !self.is_quiet
    }

    /// When the leg next wants its deadline handled.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let quiet = self.may_fall_quiet().then(|| self.last_heard + self.cold.quiet_after);
        let cold = &self.cold;
        let farewell = cold.farewell.map(|at| at + FAREWELL_WAIT);
        let tones = self.listener.as_ref().and_then(|listener| listener.poll_timeout());
        let own = [quiet, cold.starts_at, cold.rtcp_at, cold.dtmf.poll_timeout(), tones, farewell];
        let session = match &self.transport {
            Transport::Plain(_) => [None; 2],
            Transport::WebRtc(webrtc) => {
                let association = webrtc.session.association.as_ref();
                [association.and_then(|a| a.poll_timeout()), webrtc.session.association_ends]
            }
        };
        own.into_iter().chain(session).flatten().min()
    }

    pub(crate) fn statistics(&self, now: Instant) -> LegStatistics {
        let rate = self.format.map_or(8000, |format| format.clock_rate_hz());
        let time =
            |ticks: u32| Duration::from_micros(u64::from(ticks) * 1_000_000 / u64::from(rate));
        let remote = self.cold.remote_block.unwrap_or_default();
        LegStatistics {
            duration: now.saturating_duration_since(self.cold.opened),
            packets_in: self.inbound.received_total(),
            bytes_in: self.inbound.bytes_total(),
            packets_out: self.outbound.packets,
            bytes_out: self.outbound.bytes,
            lost_in: self.inbound.lost_total(),
            discarded_in: self.cold.discarded,
            lost_out: u64::try_from(remote.cumulative_lost).unwrap_or(0),
            jitter_in: time(self.inbound.jitter()),
            jitter_out: time(remote.jitter),
            round_trip: self.cold.round_trip,
        }
    }
}

/// How long a peer keeps to a codec before it may take another than the one agreed on, in ticks.
const CODEC_TICKS_MIN: u32 = 200;
/// No packet lasts longer.
const PACKET_MS_MAX: u32 = 1_000;
/// How long a peer must be silent after what may have been its farewell.
pub(crate) const FAREWELL_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_packet_touches_stays_below_a_kilobyte() {
        assert!(size_of::<Leg>() <= 768, "{} bytes", size_of::<Leg>());
    }
}
