//! What the packets of several legs will touch, asked for ahead.
//!
//! A leg has a packet every 20 ms, and by then others have taken its place in the processor's caches.
//! To handle a packet is to wait for memory a dozen times, unless it was asked for while the packets
//! before it were handled. What is reached only through something else is asked for in a further
//! pass, when that is there.

use std::net::SocketAddr;

use super::{
    core::Shard,
    leg::{Leg, Mode, Play, Transport},
    transmit::{LegKey, Transmits},
};
use crate::prefetch::prefetch;

impl Shard {
    /// The WebRTC leg whose peer has passed a check from an address.
    pub(crate) fn at_address(&self, from: SocketAddr) -> Option<LegKey> {
        self.by_address.get(&from).copied()
    }

    /// Asks for what will be touched when packets of these legs are handled.
    pub(crate) fn expect_packets(&self, keys: &[LegKey], transmits: &impl Transmits) {
        let legs = || keys.iter().filter_map(|key| self.legs.get(key.index()));
        let targets = || legs().filter_map(|leg| self.legs.get(self.target(leg)?.index()));
        legs().for_each(prefetch);
        for leg in legs() {
            match &leg.transport {
                Transport::Plain(plain) => plain.sdes.as_deref().into_iter().for_each(prefetch),
                Transport::WebRtc(webrtc) => {
                    prefetch(&webrtc.session.association_ends);
                    webrtc.inbound.iter().for_each(|inbound| inbound.prefetch());
                }
            }
        }
        targets().for_each(prefetch);
        targets().for_each(|leg| expect_sending(leg, transmits));
    }

    /// Asks for what will be touched when these legs have their turn to send.
    pub(super) fn expect_frames(&self, keys: &[LegKey], transmits: &impl Transmits) {
        let legs = || keys.iter().filter_map(|key| self.legs.get(key.index()));
        legs().for_each(prefetch);
        for leg in legs() {
            if let Mode::Play(Play { track, next, .. }) = &leg.mode {
                track.frames.get(*next).into_iter().for_each(prefetch);
            }
            expect_sending(leg, transmits);
        }
    }

    /// Where what a leg hears goes on at once.
    fn target(&self, leg: &Leg) -> Option<LegKey> {
        match &leg.mode {
            Mode::Bridge(bridge) if bridge.peer.shard == self.config.shard => {
                self.find(bridge.peer.serial)
            }
            Mode::Echo => Some(leg.key),
            _ => None,
        }
    }
}

fn expect_sending(leg: &Leg, transmits: &impl Transmits) {
    match &leg.transport {
        Transport::Plain(plain) => {
            transmits.expect(leg.key);
            let keys = plain.sdes.as_ref().and_then(|sdes| sdes.outbound.as_ref());
            keys.into_iter().for_each(|(outbound, _)| outbound.prefetch());
        }
        Transport::WebRtc(webrtc) => {
            webrtc.outbound.iter().for_each(|outbound| outbound.prefetch());
        }
    }
}
