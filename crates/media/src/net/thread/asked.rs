//! Legs' connected sockets: watched for arrivals, or asked by the clock.

use std::{io, time::Instant};

use super::ShardThread;
use crate::{
    net::token::Token,
    shard::{LegKey, Path, Transmits},
};

impl ShardThread {
    /// Sees to it that what comes to sockets that were connected is read.
    pub(super) fn read_fresh(&mut self) {
        while let Some(key) = self.outbox.take_fresh() {
            match self.shard.relays(key) {
                false if self.pays(false) => self.rounds.join(key, false, Instant::now()),
                _ => self.watch_leg(key),
            }
        }
    }

    /// From now on a datagram on the leg's connected socket is an event.
    pub(super) fn watch_leg(&mut self, key: LegKey) {
        self.rounds.leave(key);
        let socket = self.outbox.pair(key).and_then(|pair| pair.steady.socket());
        let token = Token::Steady(key).pack();
        let added = socket.map_or(Ok(()), |socket| self.sockets.add_arrivals(socket, token));
        if added.is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
            self.outbox.give_up_steady(key);
        }
    }

    /// Whether legs are so many that to ask them by the clock is cheaper than to watch them.
    fn pays(&self, relays: bool) -> bool {
        if relays { self.pace.is_dense() } else { self.shard.legs() >= CROWD }
    }

    /// From now on the leg's connected socket is asked by the clock, if that pays.
    pub(super) fn ask_leg(&mut self, key: LegKey, now: Instant) {
        let relays = self.shard.relays(key);
        let Some(socket) = self.outbox.pair(key).and_then(|pair| pair.steady.socket()) else {
            return;
        };
        if self.pays(relays) && self.sockets.remove(socket).is_ok() {
            self.rounds.join(key, relays, now);
        }
    }

    /// Asks the connected sockets whose turn it is.
    pub(super) fn ask_due(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        self.rounds.take_due(now, &mut due);
        for key in &due {
            self.rounds.expect(*key);
            self.outbox.expect(*key);
        }
        for key in due.drain(..) {
            let Some((relays, max)) = self.rounds.turn(key) else { continue };
            let Some(count) = self.receive_up_to(max, Path::Rtp(key), |pair| pair.steady.socket())
            else {
                self.rounds.leave(key);
                continue;
            };
            if !self.rounds.answered(key, count, self.pays(relays)) {
                self.watch_leg(key);
            }
        }
        self.due = due;
    }
}

/// So many legs are a crowd.
const CROWD: usize = 50;
