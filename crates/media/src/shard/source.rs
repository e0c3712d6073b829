//! Which address a plain leg listens to and sends to: symmetric RTP without letting strangers in.
//!
//! The address in the session description comes first; behind it, an address with the IP of that or
//! of the signalling (a NAT gave it another port); last, any address, after a few packets in a row.
//! Nothing speaks of a NAT where the address in the session description has the IP of the signalling:
//! then another port of that host, too, has to go on for a while, and nobody else is heard.
//! Media never moves to a worse address than the one that spoke, with these exceptions:
//! - A peer whose NAT changed under it goes on from another port with the very next packets of its
//!   stream. Once the old port has fallen silent, that is followed within a tenth of a second; who
//!   does not hear the stream cannot guess its SSRC and its numbers. Another host may have heard it,
//!   and has to be signalled, unless the peer was never known by anything but its stream.
//! - A better address that said a few words and fell silent may have been forged: who spoke before
//!   it and goes on is believed again. Of strangers that holds only against another port of a known
//!   host; a known host is believed again even after many words, in two seconds.
//! - A peer known by nothing but its stream may be another stranger after an offer or an answer.
//!
//! What an offer or an answer gives up goes on until the peer has read our side, and is heard so
//! long; media no longer goes there. Who spoke in an earlier call at the same port and goes on is not
//! heard, unless it is what the session description names.
//!
//! A phone on our own machine may signal one of its addresses and, its sockets being bound to none,
//! send from another: to whatever it sends, the system gives that same address as the source. So our
//! own address is the peer's too, with the port that was signalled.

mod candidates;
mod earlier;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::rtp::{SequenceNumber, Ssrc};
use candidates::Candidates;
pub use earlier::Earlier;
use earlier::{SPEAKERS_MAX, Speakers};

/// The source of a plain leg's media.
#[derive(Debug)]
pub(crate) struct PlainSource {
    signalled: Option<SocketAddr>,
    signalling: Option<IpAddr>,
    own: Option<IpAddr>,
    locked: Option<Locked>,
    rest: Box<Rest>,
}

/// What is not needed for a packet from where the last one came from.
#[derive(Debug)]
struct Rest {
    candidates: Candidates,
    /// Who spoke before a better address did.
    former: Option<Locked>,
    left: Option<Left>,
    /// Whether a stranger may follow a stranger.
    is_reopened: bool,
    earlier: Earlier,
    /// Those of `earlier` when the leg was opened, and which of them go on.
    speakers: Speakers,
    go_on: [bool; SPEAKERS_MAX],
}

/// What the last offer or answer gave up.
#[derive(Clone, Copy, Debug)]
struct Left {
    signalled: Option<SocketAddr>,
    locked: Option<Locked>,
    at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Locked {
    address: SocketAddr,
    rank: Rank,
    last_packet: Instant,
    /// The stream and its last number.
    stream: (Ssrc, SequenceNumber),
    /// Packets that came from here, as far as it matters.
    count: u8,
}

/// How much an address is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Stranger,
    KnownHost,
    Signalled,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the peer's.
    Accept,
    /// It is the peer's, and media goes to where it came from now.
    Move,
    /// It may become the peer's; this one is dropped.
    Probation,
    /// It is not the peer's.
    Refuse,
}

impl PlainSource {
    /// The source of a leg whose ports `earlier` calls had before.
    pub(crate) fn new(
        signalling: Option<IpAddr>,
        own: Option<IpAddr>,
        earlier: Option<Earlier>,
    ) -> Self {
        let earlier = earlier.unwrap_or_default();
        let rest = Rest {
            candidates: Candidates::default(),
            former: None,
            left: None,
            is_reopened: false,
            speakers: earlier.read(),
            go_on: [false; SPEAKERS_MAX],
            earlier,
        };
        Self { signalled: None, signalling, own, locked: None, rest: Box::new(rest) }
    }

    /// Leaves word of who spoke last for the next call at these ports.
    pub(crate) fn close(&self) {
        let Rest { speakers, go_on, earlier, .. } = &*self.rest;
        let last = self.locked.map(|locked| (locked.address, locked.stream.0));
        let still = |goes_on: bool| {
            let marked = speakers.iter().zip(go_on);
            marked.filter(move |(_, goes)| **goes == goes_on).filter_map(|(speaker, _)| *speaker)
        };
        let mut places = Speakers::default();
        let all = last.into_iter().chain(still(true)).chain(still(false));
        for (place, speaker) in places.iter_mut().zip(all) {
            *place = Some(speaker);
        }
        earlier.write(places);
    }

    /// Takes the session description's address, and that of the signalling if it is known anew.
    /// What was learned is left if the former changed, and taken up again if it changed back.
    /// Returns whether it did.
    pub(crate) fn signal(
        &mut self,
        address: Option<SocketAddr>,
        signalling: Option<IpAddr>,
        now: Instant,
    ) -> bool {
        self.signalling = signalling.or(self.signalling);
        self.rest.is_reopened = true;
        let is_other = self.signalled != address;
        if is_other {
            let before = self.signalled;
            let back = self.rest.left.filter(|left| left.signalled == address && left.is_on(now));
            self.rest.left =
                before.map(|_| Left { signalled: before, locked: self.locked, at: now });
            self.signalled = address;
            self.locked = back.and_then(|left| left.locked);
            self.rest.former = None;
            self.rest.candidates.clear();
        }
        // Another host that signals may have brought its media along.
        let rank = self.locked.map(|locked| self.rank(locked.address));
        if let (Some(locked), Some(rank)) = (&mut self.locked, rank) {
            locked.rank = rank;
        }
        is_other
    }

    /// Where media is sent.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        self.locked.map(|locked| locked.address).or(self.signalled)
    }

    /// Whether an address is known without waiting: the session description names the host that the
    /// signalling comes from, or media came.
    pub(crate) fn is_certain(&self) -> bool {
        let same_host = self.signalled.map(|address| address.ip()) == self.signalling;
        self.locked.is_some() || (self.signalled.is_some() && same_host)
    }

    /// Judges an RTP packet by where it came from.
    pub(crate) fn judge(
        &mut self,
        from: SocketAddr,
        ssrc: Ssrc,
        number: SequenceNumber,
        now: Instant,
    ) -> Verdict {
        if self.goes_on(from, (ssrc, number), now) {
            return Verdict::Accept;
        }
        let rank = self.rank(from);
        if rank < Rank::Signalled && self.rest.is_of_earlier(from, ssrc) {
            return Verdict::Refuse;
        }
        if self.is_left(from, now) {
            return if self.locked.is_none() { Verdict::Accept } else { Verdict::Refuse };
        }
        if let Some(locked) = self.locked {
            if rank <= locked.rank
                && let Some(verdict) = self.doubt(from, rank, locked, (ssrc, number), now)
            {
                return verdict;
            }
        } else if rank == Rank::Stranger {
            // Who signals its own address needs no other found for it, however long it is silent.
            if self.is_certain() {
                return Verdict::Refuse;
            }
            if self.rest.candidates.prove(from, ssrc, number, now).count < PROBATION_PACKETS {
                return Verdict::Probation;
            }
        } else if rank == Rank::KnownHost && self.is_certain() && !self.is_on_our_machine(from) {
            let proof = self.rest.candidates.prove(from, ssrc, number, now);
            let goes_on_for = now.saturating_duration_since(proof.since);
            if proof.count < PROBATION_PACKETS || goes_on_for < SIGNALLED_SILENT_AFTER {
                return Verdict::Probation;
            }
        }
        if self.lock(from, rank, (ssrc, number), now) { Verdict::Move } else { Verdict::Accept }
    }

    /// Follows an authentic packet to wherever it came from, if it `is_newest`: a late one may come
    /// from where the peer was before. Returns whether media goes elsewhere now.
    pub(crate) fn follow(
        &mut self,
        from: SocketAddr,
        stream: (Ssrc, SequenceNumber),
        is_newest: bool,
        now: Instant,
    ) -> bool {
        if !is_newest && self.locked.is_some()
            || self.goes_on(from, stream, now)
            || self.is_left(from, now)
        {
            return false;
        }
        self.lock(from, self.rank(from), stream, now)
    }

    /// Takes note of a packet from where the last one came from, if it is one.
    fn goes_on(&mut self, from: SocketAddr, stream: (Ssrc, SequenceNumber), now: Instant) -> bool {
        let Some(locked) = self.locked.as_mut().filter(|locked| locked.address == from) else {
            return false;
        };
        locked.last_packet = now;
        locked.stream = stream;
        locked.count = locked.count.saturating_add(1);
        true
    }

    /// Takes an address as the peer's; returns whether media goes elsewhere now.
    fn lock(
        &mut self,
        from: SocketAddr,
        rank: Rank,
        stream: (Ssrc, SequenceNumber),
        now: Instant,
    ) -> bool {
        let moves = self.destination() != Some(from);
        let better = |locked: &Locked| locked.rank < rank && locked.address != from;
        self.rest.former = self.locked.filter(better);
        self.locked = Some(Locked { address: from, rank, last_packet: now, stream, count: 1 });
        self.rest.is_reopened = false;
        self.rest.candidates.clear();
        moves
    }

    /// What speaks against an address that is no better than the one in use.
    fn doubt(
        &mut self,
        from: SocketAddr,
        rank: Rank,
        locked: Locked,
        (ssrc, number): (Ssrc, SequenceNumber),
        now: Instant,
    ) -> Option<Verdict> {
        let (known, last) = locked.stream;
        let goes_on = known == ssrc && (1..=GOES_ON_MAX).contains(&number.distance_from(last));
        let is_port_only = rank == Rank::KnownHost && locked.rank == Rank::KnownHost;
        let is_strangers_only = rank == Rank::Stranger && locked.rank == Rank::Stranger;
        let (silent_after, packets) = match (goes_on, rank) {
            _ if self.is_back(from, ssrc, rank, locked) => match locked.count {
                ..WORDS => (MOVED_AFTER, MOVED_PACKETS),
                _ => (SILENT_AFTER, PROBATION_PACKETS),
            },
            (true, Rank::Stranger) if is_strangers_only => (MOVED_FAR_AFTER, PROBATION_PACKETS),
            (true, Rank::KnownHost | Rank::Signalled) => (MOVED_AFTER, MOVED_PACKETS),
            (false, _) if is_port_only => (SILENT_AFTER, PROBATION_PACKETS),
            (false, _) if is_strangers_only && self.rest.is_reopened => {
                (SILENT_AFTER, PROBATION_PACKETS)
            }
            (true, Rank::Stranger) | (false, _) => return Some(Verdict::Refuse),
        };
        let is_silent = now.saturating_duration_since(locked.last_packet) >= silent_after;
        // The packets that come while it is not known yet whether the old address is silent count.
        if !goes_on && !is_silent {
            return Some(Verdict::Refuse);
        }
        let is_proven = self.rest.candidates.prove(from, ssrc, number, now).count >= packets;
        (!is_proven || !is_silent).then_some(Verdict::Probation)
    }

    /// Whether the stream spoke before a better address did, and may be believed again.
    fn is_back(&self, from: SocketAddr, ssrc: Ssrc, rank: Rank, locked: Locked) -> bool {
        let is = |former: &Locked| former.address == from && former.stream.0 == ssrc;
        let is_worth_it = match rank {
            Rank::Stranger => locked.rank == Rank::KnownHost && locked.count < WORDS,
            Rank::KnownHost | Rank::Signalled => true,
        };
        is_worth_it && self.rest.former.as_ref().is_some_and(is)
    }

    /// Whether the peer has left this address a moment ago and may not know yet that we know.
    fn is_left(&self, from: SocketAddr, now: Instant) -> bool {
        self.signalled != Some(from)
            && self.rest.left.is_some_and(|left| {
                let locked = left.locked.map(|locked| locked.address);
                (left.signalled == Some(from) || locked == Some(from)) && left.is_on(now)
            })
    }

    /// Whether an RTCP packet may be the peer's: it comes from the host that media comes from.
    pub(crate) fn is_peer_host(&self, from: SocketAddr) -> bool {
        match self.locked {
            Some(locked) => locked.address.ip() == from.ip(),
            None => self.rank(from) > Rank::Stranger,
        }
    }

    /// Whether a packet comes from the host that signals.
    pub(crate) fn is_signalling_host(&self, from: SocketAddr) -> bool {
        self.signalling == Some(from.ip())
    }

    fn rank(&self, from: SocketAddr) -> Rank {
        if self.signalled == Some(from) {
            Rank::Signalled
        } else if self.signalled.map(|address| address.ip()) == Some(from.ip())
            || self.signalling == Some(from.ip())
            || self.is_on_our_machine(from)
        {
            Rank::KnownHost
        } else {
            Rank::Stranger
        }
    }

    fn is_on_our_machine(&self, from: SocketAddr) -> bool {
        self.own == Some(from.ip())
            && self.signalled.is_some_and(|signalled| signalled.port() == from.port())
    }
}

impl Rest {
    /// Whether a stream is one of an earlier call's, which goes on then.
    fn is_of_earlier(&mut self, from: SocketAddr, ssrc: Ssrc) -> bool {
        let place = self.speakers.iter().position(|speaker| *speaker == Some((from, ssrc)));
        if let Some(place) = place {
            self.go_on[place] = true;
        }
        place.is_some()
    }
}

impl Left {
    fn is_on(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < LEFT_FOR
    }
}

/// Packets in a row after which an address is learned that nothing speaks for.
const PROBATION_PACKETS: u8 = 5;
/// Who signals its own address has so long to be heard from it first.
const SIGNALLED_SILENT_AFTER: Duration = Duration::from_millis(100);
/// A learned address may give way to another port of the same host after this long without it.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// A stream that goes on from another port of a known host, and one of a stranger from another host,
/// is followed once the address in use has been silent for so long.
const MOVED_AFTER: Duration = Duration::from_millis(60);
const MOVED_FAR_AFTER: Duration = Duration::from_millis(100);
/// Packets in a row after which a stream that goes on from a known host is followed.
const MOVED_PACKETS: u8 = 3;
/// How many packets may be missing where a stream goes on: one second of the shortest.
const GOES_ON_MAX: i16 = 100;
/// Who sent fewer packets may have been forged.
const WORDS: u8 = 5;
/// How long a peer goes on from where it was before, with our answer on its way to it: twice, since
/// the first may be lost, and a long way.
const LEFT_FOR: Duration = Duration::from_secs(2);
