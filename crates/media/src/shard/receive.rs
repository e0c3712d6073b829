//! Packets on their way in: told apart, checked, and handed to what the leg does.

use std::{net::SocketAddr, time::Instant};

use super::{
    command::LegEvent,
    core::Shard,
    counters::{Discard, MediaStage, StunResult},
    digits::EventPacket,
    leg::{Bridge, FAREWELL_WAIT, Mode, Transport},
    meaning::{Meta, kind_of, meaning},
    send::{self, Context},
    source::Verdict,
    transmit::{LegKey, MediaKind, PacketBuffer, Path, StreamId, Transmits},
};
use crate::{
    dtls::{is_client_hello, is_record},
    rtcp,
    rtp::{Arrival, Packet, is_rtcp},
    srtp::SrtpError,
    stun::{Request, StunError},
};

impl Shard {
    /// Handles the datagram in `buffer`, which came `from` an address by `path`. The buffer may be
    /// overwritten.
    pub fn handle_packet(
        &mut self,
        path: Path,
        from: SocketAddr,
        buffer: &mut PacketBuffer,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        match path {
            Path::Shared(socket) => self.shared(socket, from, buffer, now, transmits),
            Path::Rtp(key) => self.plain(key, from, buffer, now, transmits),
            Path::Rtcp(key) => self.plain_rtcp(key, from, buffer, now),
        }
    }

    /// The first byte tells what it is (RFC 7983 §7).
    fn shared(
        &mut self,
        socket: u8,
        from: SocketAddr,
        buffer: &mut PacketBuffer,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        match buffer.datagram().first() {
            Some(128..=191) => match self.by_address.get(&from).copied() {
                Some(key) => self.protected(key, from, buffer, now, transmits),
                None => self.counters.discard(Discard::UnknownSource),
            },
            Some(0..=3) => self.stun(socket, from, buffer.datagram(), now, transmits),
            Some(20..=63) => self.dtls(socket, from, buffer.datagram(), now, transmits),
            _ => self.counters.discard(Discard::Malformed),
        }
    }

    fn stun(
        &mut self,
        socket: u8,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let request = match Request::parse(datagram) {
            Ok(request) => request,
            Err(StunError::Malformed) => return self.counters.stun(StunResult::Malformed),
            Err(StunError::Fingerprint) => return self.counters.stun(StunResult::Fingerprint),
        };
        let key = request.local_ufrag().and_then(|ufrag| self.by_ufrag.get(ufrag)).copied();
        let Some(key) = key else { return self.counters.stun(StunResult::UnknownUser) };
        if self.is_held_by_another(from, key, now) {
            return self.counters.stun(StunResult::AddressRefused);
        }
        let Some(leg) = self.leg(key) else { return };
        let Transport::WebRtc(webrtc) = &mut leg.transport else { return };
        let checked = webrtc.session.ice.handle_check(&request, from, socket, now);
        if let Some(response) = &checked.response {
            transmits.send(Path::Shared(socket), from, response, &[]);
        }
        if checked.result == StunResult::Success {
            let selected = webrtc.session.ice.selected();
            webrtc.send_to = selected.map(|selected| (selected.socket, selected.address));
        }
        self.counters.stun(checked.result);
        if checked.result != StunResult::Success {
            return;
        }
        if let Some(replaced) = checked.replaced {
            self.by_address.remove(&replaced);
        }
        if let Some(retired) = checked.retired {
            self.by_ufrag.remove(&retired.ufrag);
        }
        if checked.is_new {
            self.take_address(from, key);
            self.validated(key, socket, from, now, transmits);
        }
        self.heard(key, now);
        self.schedule(key, now);
        self.arm(key);
    }

    /// Whether another leg was checked from an address lately: it cannot be taken from it by who
    /// forges a source address.
    fn is_held_by_another(&mut self, from: SocketAddr, key: LegKey, now: Instant) -> bool {
        let Some(holder) = self.by_address.get(&from).copied() else { return false };
        if holder == key {
            return false;
        }
        let Some(leg) = self.leg(holder) else { return false };
        match &leg.transport {
            Transport::WebRtc(webrtc) => webrtc.session.ice.holds(from, now),
            Transport::Plain(_) => false,
        }
    }

    fn take_address(&mut self, from: SocketAddr, key: LegKey) {
        let before = self.by_address.insert(from, key).filter(|before| *before != key);
        let Some(leg) = before.and_then(|before| self.leg(before)) else { return };
        if let Transport::WebRtc(webrtc) = &mut leg.transport {
            webrtc.session.ice.forget(from);
            let selected = webrtc.session.ice.selected();
            webrtc.send_to = selected.map(|selected| (selected.socket, selected.address));
        }
    }

    /// An address has passed its first check: what waited for that goes on.
    fn validated(
        &mut self,
        key: LegKey,
        socket: u8,
        from: SocketAddr,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let Some(leg) = self.leg(key) else { return };
        let Transport::WebRtc(webrtc) = &mut leg.transport else { return };
        let session = &mut webrtc.session;
        let opened = leg.cold.opened;
        let is_first = session.first_check.is_none();
        session.first_check.get_or_insert(now);
        if is_first {
            session.dtls_to.get_or_insert((socket, from));
            let took = now.saturating_duration_since(opened);
            self.counters.ready(MediaStage::Ice, took);
            self.start_handshake(key, now, transmits);
        }
        while let Some(datagram) = self.pen.take(from, now) {
            self.handshake_datagram(key, socket, from, &datagram, now, transmits);
        }
    }

    fn dtls(
        &mut self,
        socket: u8,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        if !is_record(datagram) {
            return self.counters.discard(Discard::Malformed);
        }
        match self.by_address.get(&from).copied() {
            Some(key) => self.handshake_datagram(key, socket, from, datagram, now, transmits),
            None if is_client_hello(datagram) => {
                for _ in 0..self.pen.push(from, datagram, now) {
                    self.counters.discard(Discard::DtlsUnvalidated);
                }
            }
            None => self.counters.discard(Discard::DtlsUnvalidated),
        }
    }

    /// SRTP or SRTCP from an address that passed a check.
    fn protected(
        &mut self,
        key: LegKey,
        from: SocketAddr,
        buffer: &mut PacketBuffer,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let Some(leg) = self.legs.get_mut(key.index()).filter(|leg| leg.key == key) else { return };
        let Transport::WebRtc(webrtc) = &mut leg.transport else { return };
        if is_rtcp(buffer.datagram()) {
            let Some((inbound, _)) = &mut webrtc.session.srtcp else {
                return self.discard(key, Discard::SrtpNoKeys);
            };
            return match inbound.unprotect(buffer.datagram_mut()) {
                Ok(len) => {
                    buffer.len = len;
                    self.authentic(key, now);
                    self.read_rtcp(key, buffer.datagram(), now);
                }
                Err(_) => self.discard(key, Discard::Rtcp),
            };
        }
        let Some(inbound) = &mut webrtc.inbound else {
            return self.discard(key, Discard::SrtpNoKeys);
        };
        let number = match inbound.unprotect(buffer.datagram_mut()) {
            Ok((len, number)) => {
                buffer.len = len;
                number
            }
            Err(error) => return self.discard(key, reason(error)),
        };
        let is_elsewhere = webrtc.send_to.is_none_or(|(_, to)| to != from);
        if is_elsewhere && leg.inbound.is_newest(number) && webrtc.session.ice.follow_media(from) {
            let selected = webrtc.session.ice.selected();
            webrtc.send_to = selected.map(|selected| (selected.socket, selected.address));
        }
        self.authentic(key, now);
        self.media(key, buffer, true, now, transmits);
    }

    /// The peer has keys and listens: nothing sent now is lost on it.
    fn authentic(&mut self, key: LegKey, now: Instant) {
        let Some(leg) = self.legs.get_mut(key.index()).filter(|leg| leg.key == key) else { return };
        leg.last_heard = now;
        if let Transport::WebRtc(webrtc) = &mut leg.transport
            && webrtc.session.association_ends.is_none()
            && webrtc.session.association.as_ref().is_some_and(|a| a.is_established())
        {
            webrtc.session.association_ends = Some(now + super::control::ASSOCIATION_KEPT);
            self.arm(key);
        }
        self.start_sending(key, now);
    }

    fn plain(
        &mut self,
        key: LegKey,
        from: SocketAddr,
        buffer: &mut PacketBuffer,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let Some(leg) = self.legs.get_mut(key.index()).filter(|leg| leg.key == key) else { return };
        let Transport::Plain(plain) = &mut leg.transport else { return };
        if plain.rtcp_mux && is_rtcp(buffer.datagram()) {
            return self.plain_rtcp(key, from, buffer, now);
        }
        let Ok(packet) = Packet::parse(buffer.datagram()) else {
            return self.discard(key, Discard::Malformed);
        };
        let payload_type = packet.payload_type();
        let format = leg.format.ok_or(Discard::PayloadType);
        if let Err(reason) = format.and_then(|format| meaning(&format, &leg.cold, payload_type)) {
            return self.discard(key, reason);
        }
        let (ssrc, number) = (packet.ssrc(), packet.sequence_number());
        let is_protected = plain.sdes.is_some();
        if let Some(sdes) = &mut plain.sdes {
            // Nothing is learned from a packet before its tag is checked.
            let is_newest = match sdes.inbound.unprotect(buffer.datagram_mut()) {
                Ok((len, index)) => {
                    buffer.len = len;
                    leg.inbound.is_newest(index)
                }
                Err(error) => return self.discard(key, reason(error)),
            };
            if plain.source.follow(from, (ssrc, number), is_newest, now) {
                plain.rtcp_learned = None;
            }
        } else {
            match plain.source.judge(from, ssrc, number, now) {
                Verdict::Accept => {}
                Verdict::Move => plain.rtcp_learned = None,
                Verdict::Probation => return self.discard(key, Discard::Probation),
                Verdict::Refuse => return self.discard(key, Discard::ForeignSource),
            }
        }
        // It has read our description, which went to that host alone.
        let is_proof = leg.trusts_media && plain.source.is_signalling_host(from);
        leg.last_heard = now;
        if is_proof {
            (leg.allowance, leg.trusts_media) = (None, false);
            self.schedule(key, now);
        }
        self.start_sending(key, now);
        self.media(key, buffer, is_protected, now, transmits);
    }

    fn plain_rtcp(
        &mut self,
        key: LegKey,
        from: SocketAddr,
        buffer: &mut PacketBuffer,
        now: Instant,
    ) {
        let Some(leg) = self.leg(key) else { return };
        let Transport::Plain(plain) = &mut leg.transport else { return };
        if let Some(sdes) = &mut plain.sdes {
            match sdes.inbound_srtcp.unprotect(buffer.datagram_mut()) {
                Ok(len) => buffer.len = len,
                Err(_) => return self.discard(key, Discard::Rtcp),
            }
        } else if !plain.source.is_peer_host(from) {
            return self.discard(key, Discard::ForeignSource);
        }
        if self.read_rtcp(key, buffer.datagram(), now)
            && let Some(leg) = self.leg(key)
        {
            if let Transport::Plain(plain) = &mut leg.transport {
                plain.rtcp_learned = Some(from);
            }
            self.heard(key, now);
        }
    }

    /// Reads what the peer reports; `false` when it could not be read.
    fn read_rtcp(&mut self, key: LegKey, bytes: &[u8], now: Instant) -> bool {
        let Some(leg) = self.leg(key) else { return false };
        let Ok(received) = rtcp::read(bytes, leg.outbound.ssrc) else {
            self.discard(key, Discard::Rtcp);
            return false;
        };
        if let Some(middle) = received.sender_report {
            leg.cold.sender_report = Some((middle, now));
        }
        self.counters.rtcp_in.add(1);
        if let Some(block) = received.block {
            let round_trip = self.round_trip(&block, now);
            if let Some(leg) = self.leg(key) {
                leg.cold.remote_block = Some(block);
                leg.cold.round_trip = round_trip.or(leg.cold.round_trip);
                if let Mode::Bridge(Bridge { transcoder: Some(transcoder), .. }) = &mut leg.mode {
                    let percent = (u16::from(block.fraction_lost) * 100).div_ceil(256);
                    let is_of_use = leg.cold.opus.inband_fec;
                    transcoder.expect_loss(if is_of_use { percent as u8 } else { 0 });
                }
            }
        }
        true
    }

    /// An RTP packet of the peer, in the clear now.
    fn media(
        &mut self,
        key: LegKey,
        buffer: &mut PacketBuffer,
        is_authentic: bool,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let (since_epoch, tick) = (self.clock.since_epoch(now), self.clock.tick(now));
        let Ok(packet) = Packet::parse(buffer.datagram()) else {
            return self.discard(key, Discard::Malformed);
        };
        let Some(leg) = self.legs.get_mut(key.index()).filter(|leg| leg.key == key) else { return };
        let kind = match kind_of(leg, packet.payload_type()) {
            Ok(kind) => kind,
            Err(reason) => return self.discard(key, reason),
        };
        if let MediaKind::Audio(codec) = kind
            && !leg.takes(codec, tick)
        {
            return self.discard(key, Discard::CodecMismatch);
        }
        let (ssrc, timestamp) = (packet.ssrc(), packet.timestamp());
        let payload = packet.payload_range();
        let known = leg.inbound.ssrc();
        // Some send events beside the voice, in a stream of their own: the voice goes on.
        if let MediaKind::Dtmf(rate) = kind
            && known.is_some_and(|voice| voice != ssrc)
        {
            let event = EventPacket { ssrc, timestamp, payload, rate };
            self.heard(key, now);
            return self.dtmf(key, event, buffer.datagram(), false, now);
        }
        let number = match leg.inbound.receive(ssrc, packet.sequence_number(), is_authentic) {
            Arrival::InOrder(number) | Arrival::Late(number) => number,
            Arrival::Started(number) => {
                if known == Some(ssrc) {
                    leg.cold.dtmf = Default::default();
                }
                // What another source reported says nothing of this one (RFC 3550 §6.4.1).
                leg.cold.sender_report = None;
                if let Some(listener) = &mut leg.listener {
                    listener.restart();
                }
                number
            }
            Arrival::OnProbation => return self.discard(key, Discard::Probation),
        };
        if let MediaKind::Audio(codec) = kind {
            leg.inbound.time(timestamp, codec.clock_rate_hz(), since_epoch);
            leg.inbound.count_payload(payload.len());
            Self::count_codec(&self.counters, codec, payload.len());
        }
        if !leg.has_received {
            leg.has_received = true;
            let after = now.saturating_duration_since(leg.cold.opened);
            self.counters.ready(MediaStage::FirstPacketIn, after);
        }
        let is_quiet = leg.is_quiet;
        let stream = StreamId { leg: leg.serial, ordinal: leg.inbound.stream() };
        let marker = packet.is_marked();
        let mut meta = Meta { kind, stream, number, timestamp, marker, payload };
        if let Some(taps) = &leg.taps {
            let payload = buffer.datagram().get(meta.payload.clone()).unwrap_or_default();
            taps.heard(&meta.media(payload), now);
        }
        meta.stream.ordinal = meta.stream.ordinal.wrapping_add(leg.passages);
        if is_quiet {
            self.heard(key, now);
        }
        match kind {
            MediaKind::Dtmf(rate) => {
                let passes = self.passes_events(key, rate);
                let event = EventPacket { ssrc, timestamp, payload: meta.payload.clone(), rate };
                self.dtmf(key, event, buffer.datagram(), passes, now);
            }
            MediaKind::Audio(codec) => {
                let is_digit = self.listen(key, codec, &meta, buffer.datagram(), now);
                if is_digit && self.carries_digits(key) {
                    meta.hush(buffer.datagram_mut());
                }
            }
            MediaKind::ComfortNoise => {}
        }
        self.pass_on(key, &meta, buffer, now, transmits);
    }

    /// Does with heard media what the leg was told to.
    fn pass_on(
        &mut self,
        key: LegKey,
        meta: &Meta,
        buffer: &mut PacketBuffer,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let at_ms = self.clock.tick(now);
        let Some(leg) = self.legs.get_mut(key.index()).filter(|leg| leg.key == key) else { return };
        let is_audio = matches!(meta.kind, MediaKind::Audio(_));
        let is_muted = leg.is_muted();
        match &mut leg.mode {
            Mode::Idle | Mode::Play(_) => {}
            // Digits are reported; to echo them would press them again at the other end. Their
            // numbers are passed over when their time has come.
            Mode::Echo if !is_audio || is_muted => {
                leg.outbound.pass_over(&meta.media(&[]));
            }
            Mode::Echo => {
                let (events, counters) = (&mut self.events, &*self.counters);
                let mut context = Context { events, counters, now, at_ms };
                let payload = meta.payload.clone();
                send::in_place(leg, &meta.media(&[]), buffer, payload, &mut context, transmits);
            }
            Mode::DelayedEcho(ring) => {
                let payload = buffer.datagram().get(meta.payload.clone()).filter(|_| is_audio);
                let payload = payload.unwrap_or_default();
                if !ring.push(&meta.media(payload), now) {
                    self.discard(key, Discard::EchoFull);
                }
            }
            Mode::Bridge(bridge) => {
                let peer = bridge.peer;
                self.bridge(peer, meta, buffer, now, transmits);
            }
        }
    }

    /// Something authentic came from the peer.
    pub(super) fn heard(&mut self, key: LegKey, now: Instant) {
        let Some(leg) = self.leg(key) else { return };
        leg.last_heard = now;
        if leg.cold.closed_at.is_some_and(|at| now < at + FAREWELL_WAIT) {
            return;
        }
        leg.cold.closed_at = None;
        if std::mem::take(&mut leg.is_quiet) {
            self.event(key, LegEvent::Heard);
            self.arm(key);
        }
    }
}

fn reason(error: SrtpError) -> Discard {
    match error {
        SrtpError::Malformed => Discard::Malformed,
        SrtpError::Authentication => Discard::SrtpAuth,
        SrtpError::Replay => Discard::SrtpReplay,
    }
}
