//! What a shard does when it is told something about a leg, or when a leg's time has come.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    command::{Command, ECHO_DELAY_MAX, LegEvent, LegId, PlayEnd, PlayToken, Repeat, Update},
    core::Shard,
    delay::DelayRing,
    leg::{Bridge, FAREWELL_WAIT, Format, Leg, Mode, Passage, Play, Transport},
    listener::Listener,
    sdes::Sdes,
    transmit::{LegKey, Path, Transmits},
};
use crate::{
    dtls::Association,
    dtmf::DtmfSender,
    prompt::Track,
    rtcp::{Report, SenderInfo},
    rtp::{PayloadType, ReportBlock},
    sdp::{Negotiated, RemoteMedia, RemoteWebRtc},
    srtp::RTCP_TRAILER_BYTES_MAX,
    transcoder::encoder,
};

impl Shard {
    /// Does what a leg is told.
    pub fn handle_command(
        &mut self,
        key: LegKey,
        command: Command,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        match command {
            Command::Play { track, repeat, token } => self.play(key, track, repeat, token),
            Command::Stop => self.set_mode(key, Mode::Idle),
            Command::Echo { delay: None } => self.set_mode(key, Mode::Echo),
            Command::Echo { delay: Some(delay) } => {
                let ring = DelayRing::new(delay.min(ECHO_DELAY_MAX));
                self.set_mode(key, Mode::DelayedEcho(Box::new(ring)));
            }
            Command::Bridge { peer } => self.bridge_with(key, peer),
            Command::Dtmf { digit, duration } => self.press(key, digit, duration),
            Command::Record(tap) => {
                if let Some(leg) = self.leg(key) {
                    leg.taps.get_or_insert_default().add(tap);
                }
            }
            Command::StopRecord(id) => {
                if let Some(taps) = self.leg(key).and_then(|leg| leg.taps.as_mut()) {
                    taps.remove(id);
                }
            }
            Command::Update(update) => self.update(key, *update, now, transmits),
            Command::Trust => {
                if let Some(leg) = self.leg(key) {
                    leg.allowance = None;
                }
            }
            Command::Close => return self.close(key, now, transmits),
        }
        self.schedule(key, now);
        self.arm(key);
    }

    fn play(&mut self, key: LegKey, track: Arc<Track>, repeat: Repeat, token: PlayToken) {
        self.set_mode(key, Mode::Idle);
        let Some(leg) = self.leg(key) else { return };
        if leg.codec().is_some_and(|codec| codec != track.codec) {
            let end = PlayEnd::CodecMismatch;
            return self.event(key, LegEvent::PlayDone { token, end });
        }
        let left = match repeat {
            Repeat::Once => Some(0),
            Repeat::Times(times) => Some(times.saturating_sub(1)),
            Repeat::Forever => None,
        };
        leg.mode = Mode::Play(Play { track, next: 0, left, token });
    }

    fn bridge_with(&mut self, key: LegKey, peer: LegId) {
        let is_it = |leg: &mut Leg| matches!(&leg.mode, Mode::Bridge(now) if now.peer == peer);
        if !self.leg(key).is_some_and(is_it) {
            self.set_mode(key, Mode::Bridge(Bridge::new(peer)));
        }
    }

    fn press(&mut self, key: LegKey, digit: char, duration: Duration) {
        let Some(leg) = self.leg(key) else { return };
        // Who is not sent to, such as one on hold, does not get it later either.
        if leg.format.is_some() && !leg.sends {
            return self.counters.dtmf_dropped.add(1);
        }
        let dtmf = leg.dtmf.get_or_insert_with(|| Box::new(DtmfSender::new()));
        if !dtmf.push(digit, duration) {
            self.counters.dtmf_dropped.add(1);
        }
        self.tune_digits(key);
    }

    /// Lets digits take the form that the leg's format has for them.
    fn tune_digits(&mut self, key: LegKey) {
        let complexity = self.config.opus_complexity;
        let Some(leg) = self.leg(key) else { return };
        let (Some(dtmf), Some(format)) = (&mut leg.dtmf, leg.format) else { return };
        let wanted = if format.dtmf.is_some() { None } else { Some(format.codec) };
        if dtmf.tone_codec() != wanted {
            let tones = wanted.and_then(|codec| {
                let encoder = encoder(codec, TONE_RATE_HZ, &leg.cold.opus, complexity).ok()?;
                Some((codec, encoder, TONE_RATE_HZ))
            });
            dtmf.set_tones(tones);
        }
    }

    fn set_mode(&mut self, key: LegKey, mode: Mode) {
        let relays = mode.relays();
        let Some(leg) = self.leg(key) else { return };
        let before = std::mem::replace(&mut leg.mode, mode);
        leg.passages = leg.passages.wrapping_add(1);
        leg.outbound.forget_source();
        self.relaying += usize::from(relays);
        self.relaying -= usize::from(before.relays());
        if let Mode::Play(play) = before {
            let end = PlayEnd::Interrupted;
            self.event(key, LegEvent::PlayDone { token: play.token, end });
        }
    }

    fn update(
        &mut self,
        key: LegKey,
        update: Update,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let remote_ufrag = match &update.negotiated.remote {
            RemoteMedia::WebRtc(remote) => Some(remote.ufrag.clone()),
            RemoteMedia::Plain { .. } => None,
        };
        if let Some(credentials) = update.ice
            && let Some(leg) = self.leg(key)
            && let Transport::WebRtc(webrtc) = &mut leg.transport
        {
            let ufrag = credentials.ufrag.clone();
            // Those of before a restart that is taken back are retired and new at once.
            let retired = webrtc.session.ice.restart(credentials, remote_ufrag);
            if let Some(retired) = retired {
                self.by_ufrag.remove(&retired.ufrag);
            }
            self.by_ufrag.insert(ufrag, key);
        }
        self.negotiated(key, update.negotiated, update.signalling_remote, now);
        self.start_handshake(key, now, transmits);
    }

    /// Takes over what both sides agreed on.
    pub(super) fn negotiated(
        &mut self,
        key: LegKey,
        negotiated: Negotiated,
        signalling: Option<IpAddr>,
        now: Instant,
    ) {
        let configs = self.config.dtls.clone();
        let Some(leg) = self.legs.get_mut(key.index()).filter(|leg| leg.key == key) else { return };
        let before = leg.codec();
        let format = Format::new(&negotiated);
        leg.format = Some(format);
        let listened = leg.listener.as_ref().map(|listener| listener.codec());
        let wanted = format.local_dtmf.is_none().then_some(format.codec);
        if listened != wanted {
            leg.listener = wanted.and_then(Listener::new);
        }
        leg.cold.other_codecs = Default::default();
        for (place, (codec, number)) in
            leg.cold.other_codecs.iter_mut().zip(&negotiated.local_others)
        {
            *place = Some((*codec, PayloadType(*number)));
        }
        if leg.cold.opus != negotiated.opus {
            leg.cold.opus = negotiated.opus;
            // The next packet makes another, as wished now.
            if let Mode::Bridge(bridge) = &mut leg.mode {
                bridge.transcoder = None;
            }
        }
        let sent = std::mem::replace(&mut leg.sends, negotiated.direction.sends());
        if !sent || before != Some(format.codec) {
            leg.outbound.forget_source();
        }
        let mut is_forgiven = false;
        if !std::mem::replace(&mut leg.receives, negotiated.direction.receives()) {
            leg.passages = leg.passages.wrapping_add(1);
            leg.last_heard = now;
            // Who was told of the silence before counts on from there otherwise.
            is_forgiven = std::mem::take(&mut leg.is_quiet);
        }
        let mut starts = false;
        match (&mut leg.transport, negotiated.remote) {
            (Transport::Plain(plain), RemoteMedia::Plain { rtp, rtcp, rtcp_mux }) => {
                let rtcp = usable(rtcp);
                let has_moved = plain.source.signal(usable(rtp), signalling, now);
                if has_moved || plain.rtcp_signalled != rtcp {
                    plain.rtcp_learned = None;
                }
                plain.rtcp_signalled = rtcp;
                plain.rtcp_mux = rtcp_mux;
                let before = plain.sdes.take();
                let next = leg.outbound.next_number();
                plain.sdes =
                    negotiated.crypto.map(|crypto| Sdes::update(before, crypto, has_moved, next));
                starts = plain.source.is_certain();
                if !starts && !leg.is_started {
                    leg.cold.starts_at.get_or_insert(now + FIRST_PACKET_WAIT);
                }
            }
            (Transport::WebRtc(webrtc), RemoteMedia::WebRtc(remote)) => {
                let session = &mut webrtc.session;
                let RemoteWebRtc { ufrag, fingerprints, role, .. } = remote;
                // We restart no ICE, so an answer with another name is that of another fork.
                let known = session.ice.remote_ufrag();
                let is_fork = negotiated.is_answer && known.is_some_and(|known| *known != ufrag);
                session.ice.set_remote_ufrag(ufrag);
                // Another certificate means another association, and so does another fork, of which
                // many may have the same one; the keys hold until it is there.
                if session.fingerprints != fingerprints || is_fork {
                    session.fingerprints.clone_from(&fingerprints);
                    let association = Association::new(configs, role, fingerprints);
                    session.association = Some(Box::new(association));
                    session.association_ends = None;
                    session.dtls_began = None;
                    // It may be with another host, which the next check tells.
                    session.dtls_to = None;
                }
            }
            // A leg stays what it was opened as.
            (Transport::Plain(_), RemoteMedia::WebRtc(_))
            | (Transport::WebRtc(_), RemoteMedia::Plain { .. }) => {}
        }
        if is_forgiven {
            self.event(key, LegEvent::Heard);
        }
        if starts {
            self.start_sending(key, now);
        }
        self.recount(key, before);
        self.tune_digits(key);
        if let Some(leg) = self.leg(key)
            && !leg.sends
            && let Some(dtmf) = &mut leg.dtmf
        {
            dtmf.clear();
        }
        if before.is_some_and(|before| before != format.codec) {
            self.end_play_of_another_codec(key);
        }
        if self.leg(key).is_some_and(|leg| leg.cold.rtcp_at.is_none()) {
            let first = self.next_report(now, RTCP_INTERVAL / 2);
            if let Some(leg) = self.leg(key) {
                leg.cold.rtcp_at = Some(first);
            }
        }
    }

    fn recount(&mut self, key: LegKey, before: Option<crate::codec::Codec>) {
        let counters = Arc::clone(&self.counters);
        if let Some(leg) = self.leg(key) {
            counters.leg(leg.kind(), before).subtract(1);
            counters.leg(leg.kind(), leg.codec()).add(1);
        }
    }

    fn end_play_of_another_codec(&mut self, key: LegKey) {
        let Some(leg) = self.leg(key) else { return };
        let Mode::Play(play) = &leg.mode else { return };
        if Some(play.track.codec) != leg.codec() {
            let (token, end) = (play.token, PlayEnd::CodecMismatch);
            leg.mode = Mode::Idle;
            self.event(key, LegEvent::PlayDone { token, end });
        }
    }

    /// From now on the leg sends: the peer listens, or had its time.
    pub(super) fn start_sending(&mut self, key: LegKey, now: Instant) {
        let Some(leg) = self.legs.get_mut(key.index()).filter(|leg| leg.key == key) else { return };
        if leg.is_started {
            return;
        }
        leg.is_started = true;
        leg.cold.starts_at = None;
        self.schedule(key, now);
    }

    /// Does whatever of the leg is due; the caller arms the next deadline.
    pub(super) fn handle_deadline(
        &mut self,
        key: LegKey,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let Some(leg) = self.leg(key) else { return };
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let (starts, reports) = (is_due(leg.cold.starts_at), is_due(leg.cold.rtcp_at));
        let silence = now.saturating_duration_since(leg.last_heard);
        let falls_quiet = leg.may_fall_quiet() && silence >= leg.cold.quiet_after;
        leg.is_quiet |= falls_quiet;
        let tones = leg.listener.as_mut().and_then(|listener| listener.handle_timeout(now));
        let event = leg.cold.dtmf.handle_timeout(now);
        let digits = [(event, leg.cold.event_passage != Passage::None), (tones, false)];
        let said = leg.cold.farewell.take_if(|at| *at + FAREWELL_WAIT <= now);
        let has_left = said.is_some_and(|at| leg.last_heard <= at);
        if falls_quiet {
            self.event(key, LegEvent::Quiet { since: silence });
        }
        if has_left {
            self.peer_closed(key, None);
        }
        for (event, is_passed_on) in digits {
            if let Some(event) = event {
                self.report_dtmf(key, event, is_passed_on);
            }
        }
        if starts {
            self.start_sending(key, now);
        }
        if reports {
            self.send_report(key, false, now, transmits);
            let next = self.next_report(now, RTCP_INTERVAL);
            if let Some(leg) = self.leg(key) {
                leg.cold.rtcp_at = Some(next);
            }
        }
        self.handshake_timeout(key, now, transmits);
    }

    /// Sends RTCP: what we sent, what we heard, and at the end that this is the end.
    fn send_report(
        &mut self,
        key: LegKey,
        bye: bool,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let ntp = self.ntp(now);
        let at_ms = self.clock.tick(now);
        let counters = Arc::clone(&self.counters);
        let Some(leg) = self.leg(key) else { return };
        let Some((path, to)) = rtcp_route(leg) else { return };
        let ticks_per_ms = leg.format.map_or(8, |format| format.ticks_per_ms());
        // A sender is who has sent since the report before the last one (RFC 3550 §6.4).
        let [before_last, last] = leg.cold.sent_at_reports;
        leg.cold.sent_at_reports = [last, leg.outbound.packets];
        let is_sender = leg.outbound.packets > before_last;
        let sender = is_sender.then(|| SenderInfo {
            ntp,
            timestamp: leg.outbound.timestamp_at(ticks_per_ms, at_ms).0,
            packets: leg.outbound.packets as u32,
            bytes: leg.outbound.bytes as u32,
        });
        let block = leg.inbound.report(leg.cold.sender_report, now);
        let ssrc = leg.outbound.ssrc;
        let report = Report { ssrc, sender, block, cname: &leg.cold.cname, bye };
        let mut buffer = [0; REPORT_BYTES_MAX];
        let Some(len) = report.write(&mut buffer) else { return };
        let len = match &mut leg.transport {
            Transport::Plain(plain) => match &mut plain.sdes {
                None => Some(len),
                Some(sdes) => {
                    let outbound = sdes.outbound.as_mut();
                    outbound.and_then(|(_, srtcp)| srtcp.protect(&mut buffer, len))
                }
            },
            Transport::WebRtc(webrtc) => {
                let srtcp = webrtc.session.srtcp.as_mut();
                srtcp.and_then(|(_, outbound)| outbound.protect(&mut buffer, len))
            }
        };
        if let Some(bytes) = len.and_then(|len| buffer.get(..len)) {
            transmits.send(path, to, bytes, &[]);
            counters.rtcp_out.add(1);
        }
    }

    fn ntp(&self, now: Instant) -> u64 {
        let since = self.clock.since_epoch(now);
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        self.config.ntp_epoch.wrapping_add((since.as_secs() << 32) + fraction)
    }

    /// RFC 3550 §6.4.1: arrival, less the last sender report, less the delay since.
    pub(super) fn round_trip(&self, block: &ReportBlock, now: Instant) -> Option<Duration> {
        if block.last_sender_report == 0 {
            return None;
        }
        let arrival = (self.ntp(now) >> 16) as u32;
        let units =
            arrival.wrapping_sub(block.last_sender_report).wrapping_sub(block.delay_since_last);
        // Beyond 32 seconds it is a clock that lies.
        let is_sane = units < 32 << 16;
        is_sane.then(|| Duration::from_micros(u64::from(units) * 1_000_000 / 65_536))
    }

    fn close(&mut self, key: LegKey, now: Instant, transmits: &mut impl Transmits) {
        if self.leg(key).is_none() {
            return;
        }
        self.set_mode(key, Mode::Idle);
        self.send_report(key, true, now, transmits);
        self.close_association(key, now, transmits);
        let Some(leg) = self.legs.try_remove(key.index()) else { return };
        self.by_serial.remove(&leg.serial);
        self.slots.release(leg.slot);
        self.counters.leg(leg.kind(), leg.codec()).subtract(1);
        self.counters.lost_in.add(leg.inbound.lost_total());
        if let Transport::WebRtc(webrtc) = &leg.transport {
            for ufrag in webrtc.session.ice.local_ufrags() {
                self.by_ufrag.remove(ufrag);
            }
            for validated in webrtc.session.ice.addresses() {
                if self.by_address.get(&validated.address) == Some(&key) {
                    self.by_address.remove(&validated.address);
                }
            }
        }
        if let Transport::Plain(plain) = &leg.transport {
            plain.source.close();
        }
        self.forget_deadlines();
        self.event(key, LegEvent::Closed(Box::new(leg.statistics(now))));
    }

    fn close_association(&mut self, key: LegKey, now: Instant, transmits: &mut impl Transmits) {
        if let Some(leg) = self.leg(key)
            && let Transport::WebRtc(webrtc) = &mut leg.transport
            && let Some(association) = &mut webrtc.session.association
        {
            association.close(now);
            self.flush_handshake(key, now, transmits);
        }
    }
}

/// Where RTCP goes.
fn rtcp_route(leg: &Leg) -> Option<(Path, SocketAddr)> {
    match &leg.transport {
        Transport::WebRtc(webrtc) => webrtc.send_to.map(|(socket, to)| (Path::Shared(socket), to)),
        Transport::Plain(_) if !leg.is_started => None,
        Transport::Plain(plain) => {
            let rtp = plain.source.destination()?;
            if plain.rtcp_mux {
                return Some((Path::Rtp(leg.key), rtp));
            }
            // A peer behind a NAT is reached where its RTCP comes from, if it sends any.
            let signalled = plain.rtcp_signalled.filter(|rtcp| rtcp.ip() == rtp.ip());
            plain.rtcp_learned.or(signalled).map(|rtcp| (Path::Rtcp(leg.key), rtcp))
        }
    }
}

/// An address of a session description that can be sent to: one of all zeros means hold in old
/// descriptions, port 0 means none.
fn usable(address: SocketAddr) -> Option<SocketAddr> {
    (!address.ip().is_unspecified() && address.port() != 0).then_some(address)
}

/// How long a plain leg waits for the peer's first packet when the address of its session
/// description is not where its signalling comes from.
const FIRST_PACKET_WAIT: Duration = Duration::from_millis(200);
/// How long after it has keys a WebRTC leg waits for the peer's first protected packet, which shows
/// that the peer has them too.
pub(super) const PEER_READY_AFTER: Duration = Duration::from_millis(40);
/// How long the DTLS association is kept after the peer's first protected packet, to repeat a last
/// flight that was lost.
pub(super) const ASSOCIATION_KEPT: Duration = Duration::from_secs(2);
// RFC 3550 §6.2: the minimum interval, which two parties never exceed.
const RTCP_INTERVAL: Duration = Duration::from_secs(5);
/// The sampling rate of tones that are sent for want of events.
const TONE_RATE_HZ: u32 = 8000;
/// Room for a sender report with one block, SDES, BYE and protection.
const REPORT_BYTES_MAX: usize = 28 + 24 + 8 + 260 + 8 + RTCP_TRAILER_BYTES_MAX;
