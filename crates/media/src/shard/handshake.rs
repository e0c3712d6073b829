//! DTLS on its way to keys, on behalf of the legs of a shard.

use std::{net::SocketAddr, time::Instant};

use super::{
    command::{LegEvent, LegFailure},
    control::PEER_READY_AFTER,
    core::Shard,
    counters::{Discard, HandshakeResult, MediaStage},
    leg::{Session, Transport},
    transmit::{LegKey, Path, Transmits},
};
use crate::{
    dtls::{AssociationError, AssociationEvent},
    srtp::{InboundSrtcp, InboundSrtp, KeyingMaterial, OutboundSrtcp, OutboundSrtp, SrtpProfile},
};

impl Shard {
    fn session(&mut self, key: LegKey) -> Option<&mut Session> {
        match &mut self.leg(key)?.transport {
            Transport::WebRtc(webrtc) => Some(&mut webrtc.session),
            Transport::Plain(_) => None,
        }
    }

    /// Sends the ClientHello, if that is our part.
    pub(super) fn start_handshake(
        &mut self,
        key: LegKey,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let Some(session) = self.session(key) else { return };
        if session.first_check.is_none() {
            return;
        }
        if let Some(association) = &mut session.association {
            association.start(now);
            self.flush_handshake(key, now, transmits);
        }
        self.arm(key);
    }

    /// Takes a DTLS datagram of a leg's validated address: at once as long as the tick has room,
    /// else at the next tick.
    pub(super) fn handshake_datagram(
        &mut self,
        key: LegKey,
        socket: u8,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        if self.session(key).is_none_or(|session| session.association.is_none()) {
            return self.after_handshake(key, datagram, now);
        }
        let tick = self.clock.tick(now);
        if self.handshakes.0 != tick {
            self.handshakes = (tick, 0);
        }
        if self.handshakes.1 < self.config.handshakes_per_tick_max
            && self.waiting_handshakes.is_empty()
        {
            self.handshakes.1 += 1;
            self.handshake_now(key, socket, from, datagram, now, transmits);
        } else if self.may_wait(key) {
            self.counters.handshake(HandshakeResult::Deferred);
            self.waiting_handshakes.push_back((key, socket, from, datagram.into()));
        } else {
            self.discard(key, Discard::DtlsUnexpected);
        }
    }

    /// Whether there is room for one more datagram that waits, and the leg has not taken its share.
    fn may_wait(&self, key: LegKey) -> bool {
        let waiting = &self.waiting_handshakes;
        waiting.len() < self.config.handshakes_waiting_max
            && waiting.iter().filter(|(known, ..)| *known == key).count()
                < self.config.handshakes_of_leg_max
    }

    /// The association is gone, so an alert cannot be read; but it is most likely the peer's
    /// close_notify. If nothing authentic follows, the peer has closed; a forged one changes nothing.
    fn after_handshake(&mut self, key: LegKey, datagram: &[u8], now: Instant) {
        self.discard(key, Discard::DtlsUnexpected);
        let Some(leg) = self.leg(key) else { return };
        let Transport::WebRtc(webrtc) = &leg.transport else { return };
        if datagram.first() == Some(&ALERT) && webrtc.inbound.is_some() {
            leg.cold.farewell.get_or_insert(now);
            self.arm(key);
        }
    }

    /// The peer has closed its media, as far as anyone can tell. What is heard of it later than what
    /// was on its way when it said so, at `said_at`, is the end of that silence.
    pub(super) fn peer_closed(&mut self, key: LegKey, said_at: Option<Instant>) {
        let Some(leg) = self.leg(key) else { return };
        leg.cold.closed_at = said_at;
        leg.is_quiet = true;
        self.event(key, LegEvent::Failed { reason: LegFailure::PeerClosed });
    }

    /// Handles datagrams that had to wait, as many as a tick has room for.
    pub(super) fn run_waiting_handshakes(&mut self, now: Instant, transmits: &mut impl Transmits) {
        let tick = self.clock.tick(now);
        if self.handshakes.0 == tick {
            return;
        }
        self.handshakes = (tick, 0);
        while self.handshakes.1 < self.config.handshakes_per_tick_max {
            let Some((key, socket, from, datagram)) = self.waiting_handshakes.pop_front() else {
                return;
            };
            self.handshakes.1 += 1;
            self.handshake_now(key, socket, from, &datagram, now, transmits);
        }
    }

    fn handshake_now(
        &mut self,
        key: LegKey,
        socket: u8,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let Some(session) = self.session(key) else { return };
        session.dtls_to = Some((socket, from));
        session.dtls_began.get_or_insert(now);
        let Some(association) = &mut session.association else { return };
        let event = association.handle_datagram(datagram, now);
        self.heard(key, now);
        self.handshake_event(key, event, now, transmits);
    }

    pub(super) fn handshake_timeout(
        &mut self,
        key: LegKey,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let Some(session) = self.session(key) else { return };
        if session.association_ends.is_some_and(|at| at <= now) {
            session.association_ends = None;
            session.association = None;
            return;
        }
        let Some(association) = &mut session.association else { return };
        let event = association.handle_timeout(now);
        self.handshake_event(key, event, now, transmits);
    }

    fn handshake_event(
        &mut self,
        key: LegKey,
        event: Option<AssociationEvent>,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        self.flush_handshake(key, now, transmits);
        match event {
            None => {}
            Some(AssociationEvent::Connected { profile, keys }) => {
                self.counters.handshake(HandshakeResult::Success);
                self.connected(key, profile, &keys, now);
            }
            Some(AssociationEvent::Restarted(error)) => {
                self.counters.handshake(result(error));
                self.start_handshake(key, now, transmits);
            }
            Some(AssociationEvent::Failed(error)) => {
                self.counters.handshake(result(error));
                let reason = match error {
                    AssociationError::Fingerprint => LegFailure::Fingerprint,
                    AssociationError::NoProfile
                    | AssociationError::Handshake
                    | AssociationError::Timeout => LegFailure::Handshake,
                };
                self.event(key, LegEvent::Failed { reason });
            }
            Some(AssociationEvent::PeerClosed) => self.peer_closed(key, Some(now)),
        }
        self.arm(key);
    }

    fn connected(
        &mut self,
        key: LegKey,
        profile: SrtpProfile,
        keys: &KeyingMaterial,
        now: Instant,
    ) {
        let Some(leg) = self.leg(key) else { return };
        let Transport::WebRtc(webrtc) = &mut leg.transport else { return };
        let next = leg.outbound.next_number();
        webrtc.outbound = Some(OutboundSrtp::new(&keys.local).since(next));
        webrtc.inbound = Some(InboundSrtp::new(&keys.remote));
        let srtcp = (InboundSrtcp::new(&keys.remote), OutboundSrtcp::new(&keys.local));
        webrtc.session.srtcp = Some(srtcp);
        leg.cold.starts_at = (!leg.is_started).then_some(now + PEER_READY_AFTER);
        let opened = leg.cold.opened;
        let session = &webrtc.session;
        let ice = session.first_check.unwrap_or(now).saturating_duration_since(opened);
        let dtls = now.saturating_duration_since(session.dtls_began.unwrap_or(now));
        self.counters.ready(MediaStage::Dtls, dtls);
        self.event(key, LegEvent::Connected { ice, dtls, profile });
        self.schedule(key, now);
    }

    /// Sends what the handshake has to say.
    pub(super) fn flush_handshake(
        &mut self,
        key: LegKey,
        now: Instant,
        transmits: &mut impl Transmits,
    ) {
        let Some(leg) = self.leg(key) else { return };
        let Transport::WebRtc(webrtc) = &mut leg.transport else { return };
        let session = &mut webrtc.session;
        let Some((socket, to)) = session.dtls_to.or(webrtc.send_to) else { return };
        let Some(association) = &mut session.association else { return };
        let datagrams = association.take_transmits();
        if !datagrams.is_empty() {
            session.dtls_began.get_or_insert(now);
        }
        for datagram in datagrams {
            transmits.send(Path::Shared(socket), to, &datagram, &[]);
        }
    }
}

// RFC 5246 §6.2.1.
const ALERT: u8 = 21;

fn result(error: AssociationError) -> HandshakeResult {
    match error {
        AssociationError::Fingerprint => HandshakeResult::Fingerprint,
        AssociationError::NoProfile => HandshakeResult::NoProfile,
        AssociationError::Handshake => HandshakeResult::Failed,
        AssociationError::Timeout => HandshakeResult::Timeout,
    }
}
