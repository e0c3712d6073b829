//! Which address a plain leg listens to and sends to: symmetric RTP without letting strangers in.
//!
//! The address in the session description comes first; behind it, an address with the IP of that or
//! of the signalling (a NAT gave it another port); last, any address, after a few packets in a row.
//! Nothing speaks of a NAT where the address in the session description has the IP of the signalling:
//! then another port of that host, too, has to go on for a while, and nobody else is heard.
//! Media never moves to a worse address than the one that spoke, with one exception: a peer whose
//! NAT changed under it goes on from another port with the very next packets of its stream. Once the
//! old port has fallen silent, that is followed within a tenth of a second; who does not hear the
//! stream cannot guess its SSRC and its numbers. Another host may have heard it, and has to be
//! signalled, unless the peer was never known by anything but its stream.
//!
//! A phone on our own machine may signal one of its addresses and, its sockets being bound to none,
//! send from another: to whatever it sends, the system gives that same address as the source. So our
//! own address is the peer's too, with the port that was signalled.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::rtp::{SequenceNumber, Ssrc};

/// The source of a plain leg's media.
#[derive(Debug, Default)]
pub(crate) struct PlainSource {
    signalled: Option<SocketAddr>,
    signalling: Option<IpAddr>,
    own: Option<IpAddr>,
    locked: Option<Locked>,
    candidate: Option<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Locked {
    address: SocketAddr,
    rank: Rank,
    last_packet: Instant,
    /// The stream and its last number, unless the address was learned otherwise.
    stream: Option<(Ssrc, SequenceNumber)>,
}

/// How much an address is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Stranger,
    KnownHost,
    Signalled,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: SocketAddr,
    ssrc: Ssrc,
    next: SequenceNumber,
    count: u8,
    since: Instant,
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
    /// Takes the session description's address and that of the signalling; what was learned is
    /// forgotten if the former changed. Returns whether it did.
    pub(crate) fn signal(
        &mut self,
        address: Option<SocketAddr>,
        signalling: Option<IpAddr>,
    ) -> bool {
        self.signalling = signalling.or(self.signalling);
        let is_other = self.signalled != address;
        if is_other {
            self.signalled = address;
            self.locked = None;
            self.candidate = None;
        }
        is_other
    }

    /// Takes the address of ours that the peer sends to.
    pub(crate) fn reach(&mut self, own: Option<IpAddr>) {
        self.own = own;
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
        let rank = self.rank(from);
        if let Some(locked) = &mut self.locked {
            if locked.address == from {
                locked.last_packet = now;
                locked.stream = Some((ssrc, number));
                return Verdict::Accept;
            }
            let locked = *locked;
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
            if self.prove(from, ssrc, number, now).count < PROBATION_PACKETS {
                return Verdict::Probation;
            }
        } else if rank == Rank::KnownHost && self.is_certain() && !self.is_on_our_machine(from) {
            let proven = self.prove(from, ssrc, number, now);
            let goes_on_for = now.saturating_duration_since(proven.since);
            if proven.count < PROBATION_PACKETS || goes_on_for < SIGNALLED_SILENT_AFTER {
                return Verdict::Probation;
            }
        }
        let moves = self.destination() != Some(from);
        let stream = Some((ssrc, number));
        self.locked = Some(Locked { address: from, rank, last_packet: now, stream });
        self.candidate = None;
        if moves { Verdict::Move } else { Verdict::Accept }
    }

    /// Follows an authentic packet to wherever it came from, if it `is_newest`: a late one may come
    /// from where the peer was before. Returns whether media goes elsewhere now.
    pub(crate) fn follow(&mut self, from: SocketAddr, is_newest: bool, now: Instant) -> bool {
        if !is_newest && self.locked.is_some() {
            return false;
        }
        let moves = self.destination() != Some(from);
        let rank = self.rank(from);
        self.locked = Some(Locked { address: from, rank, last_packet: now, stream: None });
        self.candidate = None;
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
        let goes_on = locked.stream.is_some_and(|(known, last)| {
            known == ssrc && (1..=GOES_ON_MAX).contains(&number.distance_from(last))
        });
        let is_port_only = rank == Rank::KnownHost && locked.rank == Rank::KnownHost;
        let (silent_after, packets) = match (goes_on, rank) {
            (true, Rank::Stranger) if locked.rank == Rank::Stranger => {
                (MOVED_FAR_AFTER, PROBATION_PACKETS)
            }
            (true, Rank::KnownHost | Rank::Signalled) => (MOVED_AFTER, MOVED_PACKETS),
            (false, _) if is_port_only => (SILENT_AFTER, PROBATION_PACKETS),
            (true, Rank::Stranger) | (false, _) => return Some(Verdict::Refuse),
        };
        let is_silent = now.saturating_duration_since(locked.last_packet) >= silent_after;
        // The packets that come while it is not known yet whether the old address is silent count.
        if !goes_on && !is_silent {
            return Some(Verdict::Refuse);
        }
        let is_proven = self.prove(from, ssrc, number, now).count >= packets;
        (!is_proven || !is_silent).then_some(Verdict::Probation)
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

    /// Counts packets in a row of one stream from one address.
    fn prove(
        &mut self,
        from: SocketAddr,
        ssrc: Ssrc,
        number: SequenceNumber,
        now: Instant,
    ) -> Candidate {
        let (count, since) = match self.candidate {
            Some(candidate)
                if candidate.address == from
                    && candidate.ssrc == ssrc
                    && candidate.next == number =>
            {
                (candidate.count.saturating_add(1), candidate.since)
            }
            // Another address does not take over a candidate: the first to go on in a row wins.
            _ => (1, now),
        };
        let next = number.plus(1);
        *self.candidate.insert(Candidate { address: from, ssrc, next, count, since })
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

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNALLED: &str = "192.0.2.1:4000";
    const SIGNALLING: &str = "198.51.100.1";

    struct Fixture {
        source: PlainSource,
        now: Instant,
        number: u16,
    }

    impl Fixture {
        fn new() -> Self {
            let mut source = PlainSource::default();
            source.signal(Some(SIGNALLED.parse().unwrap()), Some(SIGNALLING.parse().unwrap()));
            Self { source, now: Instant::now(), number: 0 }
        }

        fn packet(&mut self, from: &str) -> Verdict {
            self.number += 1;
            self.now += Duration::from_millis(20);
            let from: SocketAddr = from.parse().unwrap();
            // Every address has a stream of its own.
            let ssrc = Ssrc(u32::from(from.port()));
            self.source.judge(from, ssrc, SequenceNumber(self.number), self.now)
        }

        /// The next packet of one stream.
        fn goes_on(&mut self, from: &str, after_ms: u64) -> Verdict {
            self.number += 1;
            self.now += Duration::from_millis(after_ms);
            let number = SequenceNumber(self.number);
            self.source.judge(from.parse().unwrap(), Ssrc(1), number, self.now)
        }

        fn destination(&self) -> String {
            self.source.destination().unwrap().to_string()
        }
    }

    #[test]
    fn the_signalled_address_is_taken_at_once_and_kept() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.packet(SIGNALLED), Verdict::Accept);
        for _ in 0..50 {
            assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Refuse);
            assert_eq!(fixture.packet("192.0.2.1:4002"), Verdict::Refuse);
        }
        fixture.now += Duration::from_secs(60);
        assert_eq!(fixture.packet("192.0.2.1:4002"), Verdict::Refuse);
        assert_eq!(fixture.destination(), SIGNALLED);
    }

    #[test]
    fn a_caller_that_signals_its_own_address_and_is_silent_is_not_taken_over() {
        let mut fixture = Fixture::new();
        let signalled: SocketAddr = SIGNALLED.parse().unwrap();
        fixture.source.signal(Some(signalled), Some(signalled.ip()));
        for _ in 0..50 {
            assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Refuse);
        }
        assert_eq!(fixture.destination(), SIGNALLED);
    }

    #[test]
    fn another_port_of_a_host_that_signals_its_own_address_has_to_go_on_for_a_while() {
        let signalled: SocketAddr = SIGNALLED.parse().unwrap();
        let other = "192.0.2.1:9";
        let start = || {
            let mut fixture = Fixture::new();
            fixture.source.signal(Some(signalled), Some(signalled.ip()));
            fixture
        };
        let mut fixture = start();
        for _ in 0..50 {
            assert_eq!(fixture.goes_on(other, 1), Verdict::Probation);
        }
        assert_eq!(fixture.goes_on(SIGNALLED, 1), Verdict::Accept, "it speaks at last");
        for _ in 0..50 {
            assert_eq!(fixture.packet(other), Verdict::Refuse);
        }
        let mut fixture = start();
        for _ in 0..5 {
            assert_eq!(fixture.goes_on(other, 20), Verdict::Probation);
        }
        assert_eq!(fixture.goes_on(other, 20), Verdict::Move);
        assert_eq!(fixture.goes_on(SIGNALLED, 20), Verdict::Move, "it still comes first");
        assert_eq!(fixture.destination(), SIGNALLED);
    }

    #[test]
    fn a_phone_on_our_machine_is_heard_from_our_own_address_with_its_own_port_only() {
        let mut fixture = Fixture::new();
        let signalled: SocketAddr = SIGNALLED.parse().unwrap();
        fixture.source.signal(Some(signalled), Some(signalled.ip()));
        let (peer, stranger) = (format!("127.0.0.1:{}", signalled.port()), "127.0.0.1:9");
        assert_eq!(fixture.packet(&peer), Verdict::Refuse);
        fixture.source.reach(Some("127.0.0.1".parse().unwrap()));
        assert_eq!(fixture.packet(stranger), Verdict::Refuse);
        assert_eq!(fixture.packet(&peer), Verdict::Move);
        assert_eq!(fixture.destination(), peer);
        assert_eq!(fixture.packet(stranger), Verdict::Refuse);
        // The signalled address still comes first.
        assert_eq!(fixture.packet(SIGNALLED), Verdict::Move);
        assert_eq!(fixture.destination(), SIGNALLED);
    }

    #[test]
    fn a_port_that_a_nat_chose_is_learned_from_the_first_packet() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.packet("198.51.100.1:555"), Verdict::Move);
        assert_eq!(fixture.packet("198.51.100.1:556"), Verdict::Refuse);
        assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Refuse);
        assert_eq!(fixture.destination(), "198.51.100.1:555");
        // The signalled address still comes first.
        assert_eq!(fixture.packet(SIGNALLED), Verdict::Move);
        assert_eq!(fixture.destination(), SIGNALLED);
    }

    #[test]
    fn a_nat_that_changes_its_port_is_followed_after_silence() {
        let mut fixture = Fixture::new();
        fixture.packet("198.51.100.1:555");
        fixture.now += SILENT_AFTER;
        for _ in 1..PROBATION_PACKETS {
            assert_eq!(fixture.packet("198.51.100.1:777"), Verdict::Probation);
        }
        assert_eq!(fixture.packet("198.51.100.1:777"), Verdict::Move);
    }

    #[test]
    fn a_stranger_is_learned_only_after_packets_in_a_row_and_loses_to_everyone() {
        let mut fixture = Fixture::new();
        for _ in 1..PROBATION_PACKETS {
            assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Probation);
        }
        assert_eq!(fixture.destination(), SIGNALLED);
        assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Move);
        fixture.now += Duration::from_secs(60);
        for _ in 0..20 {
            assert_eq!(fixture.packet("203.0.113.10:2"), Verdict::Refuse);
        }
        assert_eq!(fixture.packet("198.51.100.1:9"), Verdict::Move);
        assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Refuse);
        assert_eq!(fixture.packet(SIGNALLED), Verdict::Move);
    }

    #[test]
    fn cve_2025_53399_a_spray_between_does_not_learn() {
        let mut fixture = Fixture::new();
        for n in 0..200 {
            let from = format!("203.0.113.{}:{}", n % 7, 1000 + n);
            assert_eq!(fixture.packet(&from), Verdict::Probation);
        }
        assert_eq!(fixture.packet(SIGNALLED), Verdict::Accept);
    }

    #[test]
    fn a_peer_that_moves_is_followed_within_200_ms() {
        let learned = "203.0.113.8:7";
        for (first, moved, packets) in
            [(SIGNALLED, "192.0.2.1:9999", 3), (learned, "203.0.113.9:1", 5)]
        {
            let mut fixture = Fixture::new();
            for _ in 0..10 {
                fixture.goes_on(first, 20);
            }
            for _ in 1..packets {
                assert_eq!(fixture.goes_on(moved, 20), Verdict::Probation);
            }
            assert_eq!(fixture.goes_on(moved, 20), Verdict::Move, "{moved}");
            assert_eq!(fixture.goes_on(moved, 20), Verdict::Accept);
            assert_eq!(fixture.destination(), moved);
        }
    }

    #[test]
    fn a_stranger_who_goes_on_with_the_stream_of_a_signalled_peer_gets_nothing() {
        for known in [SIGNALLED, "192.0.2.1:4002", "198.51.100.1:9"] {
            let mut fixture = Fixture::new();
            fixture.goes_on(known, 20);
            for _ in 0..100 {
                assert_eq!(fixture.goes_on("203.0.113.9:1", 20), Verdict::Refuse, "{known}");
            }
            assert_eq!(fixture.destination(), known);
        }
    }

    #[test]
    fn a_stream_that_is_copied_while_the_peer_speaks_moves_nothing() {
        let mut fixture = Fixture::new();
        for n in 0..500 {
            assert_ne!(fixture.goes_on(SIGNALLED, 10), Verdict::Refuse);
            let copied = if n % 2 == 0 { "192.0.2.1:9999" } else { "203.0.113.9:1" };
            assert_ne!(fixture.goes_on(copied, 10), Verdict::Move);
        }
        assert_eq!(fixture.destination(), SIGNALLED);
    }

    #[test]
    fn a_stranger_with_a_stream_of_its_own_moves_nothing_however_long_the_peer_is_silent() {
        let mut fixture = Fixture::new();
        for _ in 0..10 {
            fixture.goes_on(SIGNALLED, 20);
        }
        for _ in 0..500 {
            assert_eq!(fixture.packet("203.0.113.9:7"), Verdict::Refuse);
        }
        assert_eq!(fixture.destination(), SIGNALLED);
    }

    #[test]
    fn an_update_of_the_signalled_address_starts_over() {
        let mut fixture = Fixture::new();
        fixture.packet(SIGNALLED);
        let moved: SocketAddr = "192.0.2.7:4000".parse().unwrap();
        fixture.source.signal(Some(moved), None);
        assert_eq!(fixture.source.destination(), Some(moved));
        assert_eq!(fixture.packet("192.0.2.7:4000"), Verdict::Accept);
    }
}
