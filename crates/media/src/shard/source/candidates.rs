//! Addresses that may become a peer's: each has to send packets in a row of one stream.

use std::{
    cmp::Reverse,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::rtp::{SequenceNumber, Ssrc};

/// A few addresses under proof; who sends from many at once does not push out the one that goes on.
#[derive(Debug, Default)]
pub(super) struct Candidates([Option<Candidate>; CANDIDATES_MAX]);

#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: SocketAddr,
    ssrc: Ssrc,
    next: SequenceNumber,
    proof: Proof,
    last: Instant,
}

/// What an address has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    /// Packets in a row.
    pub(super) count: u8,
    /// When the first of them came.
    pub(super) since: Instant,
}

impl Candidates {
    /// Counts a packet of a stream from an address.
    pub(super) fn prove(
        &mut self,
        from: SocketAddr,
        ssrc: Ssrc,
        number: SequenceNumber,
        now: Instant,
    ) -> Proof {
        let is_there = |place: &Option<Candidate>| place.is_some_and(|c| c.address == from);
        let place = self.0.iter().position(is_there).unwrap_or_else(|| self.least(now));
        let goes_on = |c: &Candidate| c.address == from && c.ssrc == ssrc && c.next == number;
        let proof = match self.0[place].filter(goes_on) {
            Some(Candidate { proof: Proof { count, since }, .. }) => {
                Proof { count: count.saturating_add(1), since }
            }
            None => Proof { count: 1, since: now },
        };
        let next = number.plus(1);
        self.0[place] = Some(Candidate { address: from, ssrc, next, proof, last: now });
        proof
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The place of the one that has shown least, the last to come of several; who stopped has
    /// shown nothing.
    fn least(&self, now: Instant) -> usize {
        let shown = |place: &Option<Candidate>| {
            let alive = place.filter(|c| now.saturating_duration_since(c.last) < FORGOTTEN_AFTER);
            alive.map(|c| (c.proof.count, Reverse(c.last)))
        };
        let places = self.0.iter().enumerate();
        places.min_by_key(|(_, place)| shown(place)).map_or(0, |(at, _)| at)
    }
}

const CANDIDATES_MAX: usize = 3;
/// Who goes on sends more often.
const FORGOTTEN_AFTER: Duration = Duration::from_millis(200);
