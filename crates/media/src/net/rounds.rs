//! Legs whose sockets are asked by the clock instead of being watched.
//!
//! A watched socket makes work for epoll with every datagram that comes and, since room to send in
//! is news to it as well, with every one that leaves. A peer sends a frame after a frame, so where
//! many do, their packets are fetched when they are due.
//!
//! A frame has four quarters, and a leg that relays has its turn in one of them. When nothing is
//! there, its turn comes a quarter later from then on; when something has been there for a while,
//! a quarter earlier. Thus a packet waits for little more than a quarter, and the turn follows the
//! peer's clock. A leg that does not keep to a frame is watched again.
//!
//! For media that is not passed on nobody waits: these legs are asked once a frame, as a rule when
//! the thread is up anyway, and more seldom while they are silent.

use std::time::{Duration, Instant};

use super::pace::FRAME;
use crate::{codec::FRAME_MS, prefetch::prefetch, shard::LegKey};

/// Whose turn it is when.
#[derive(Debug)]
pub(super) struct Rounds {
    epoch: Instant,
    /// The quarter that comes next, counted from `epoch`.
    next: u64,
    /// Legs that relay, by their quarters.
    quarters: [Vec<LegKey>; QUARTERS],
    /// Legs that do not.
    others: Vec<LegKey>,
    /// When the others had their turn, and how many frames none of them is asked after that.
    others_at: Instant,
    others_wait: u8,
    /// By the places of their legs.
    asked: Vec<Option<Asked>>,
    /// How many of `asked` there may be without allocating when they change places.
    room: usize,
}

/// What a leg answered lately.
#[derive(Clone, Copy, Debug)]
struct Asked {
    key: LegKey,
    relays: bool,
    quarter: u8,
    /// Turns in a row at which it had something, and at which it had nothing.
    hits: u8,
    misses: u8,
    /// Frames to be left out.
    wait: u8,
}

impl Rounds {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            next: 0,
            quarters: [const { Vec::new() }; QUARTERS],
            others: Vec::new(),
            others_at: now,
            others_wait: 0,
            asked: Vec::new(),
            room: 0,
        }
    }

    fn quarter(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        (since.as_micros() / QUARTER.as_micros()) as u64
    }

    /// The end of the quarter of `now`.
    pub(super) fn quarter_ends(&self, now: Instant) -> Instant {
        self.at(self.quarter(now) + 1)
    }

    fn at(&self, quarter: u64) -> Instant {
        self.epoch + Duration::from_micros(quarter * QUARTER.as_micros() as u64)
    }

    /// Whether the leg is asked, and if so, as one that relays or not.
    pub(super) fn relays(&self, key: LegKey) -> Option<bool> {
        self.entry(key).map(|asked| asked.relays)
    }

    fn entry(&self, key: LegKey) -> Option<&Asked> {
        self.asked.get(key.index())?.as_ref().filter(|asked| asked.key == key)
    }

    /// Whether legs that relay are asked.
    pub(super) fn has_relays(&self) -> bool {
        self.quarters.iter().any(|legs| !legs.is_empty())
    }

    /// From now on the leg, which was just read, is asked: for the first time a frame after `now`,
    /// if what was due by then was taken out.
    pub(super) fn join(&mut self, key: LegKey, relays: bool, now: Instant) {
        if self.entry(key).is_some() {
            return;
        }
        if self.asked.len() <= key.index() {
            self.asked.resize(key.index() + 1, None);
        }
        let quarter = (self.quarter(now) % QUARTERS as u64) as u8;
        let asked = Asked { key, relays, quarter, hits: 0, misses: 0, wait: 0 };
        self.asked[key.index()] = Some(asked);
        self.make_room();
        self.put(asked);
    }

    /// Keeps every list able to hold all legs, so that changing places allocates nothing.
    fn make_room(&mut self) {
        let legs = self.others.len() + self.quarters.iter().map(Vec::len).sum::<usize>() + 1;
        if legs > self.room {
            self.room = legs.next_power_of_two().max(64);
            for list in self.quarters.iter_mut().chain([&mut self.others]) {
                list.reserve(self.room - list.len());
            }
        }
    }

    fn put(&mut self, asked: Asked) {
        match asked.relays {
            true => self.quarters[usize::from(asked.quarter) % QUARTERS].push(asked.key),
            false => {
                self.others_wait = self.others_wait.min(asked.wait);
                self.others.push(asked.key);
            }
        }
    }

    /// The leg is not asked any more.
    pub(super) fn leave(&mut self, key: LegKey) {
        if self.entry(key).is_some() {
            self.asked[key.index()] = None;
            for list in self.quarters.iter_mut().chain([&mut self.others]) {
                list.retain(|known| *known != key);
            }
        }
    }

    /// When somebody has a turn for which the thread must be up.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let quarter = (self.next..self.next + QUARTERS as u64)
            .find(|quarter| !self.quarters[(quarter % QUARTERS as u64) as usize].is_empty());
        let frames = 1 + u32::from(self.others_wait);
        let others = (!self.others.is_empty()).then(|| self.others_at + FRAME * frames);
        quarter.map(|quarter| self.at(quarter)).into_iter().chain(others).min()
    }

    /// Takes out everybody whose turn it is; [`Self::answered`] or [`Self::leave`] is to follow for
    /// each.
    pub(super) fn take_due(&mut self, now: Instant, due: &mut Vec<LegKey>) {
        let current = self.quarter(now);
        // Who was not asked for a frame is asked once.
        self.next = self.next.max((current + 1).saturating_sub(QUARTERS as u64));
        while self.next <= current {
            due.append(&mut self.quarters[(self.next % QUARTERS as u64) as usize]);
            self.next += 1;
        }
        let since = now.saturating_duration_since(self.others_at);
        let frames = (since + FRAME / 4).as_micros() / FRAME.as_micros();
        if frames > 0 {
            self.others_at = now;
            self.others_wait = u8::MAX;
            let (asked, least) = (&mut self.asked, &mut self.others_wait);
            self.others.retain(|key| match asked.get_mut(key.index()) {
                Some(Some(asked)) if asked.key == *key && u128::from(asked.wait) >= frames => {
                    asked.wait -= frames as u8;
                    *least = asked.wait.min(*least);
                    true
                }
                _ => {
                    due.push(*key);
                    false
                }
            });
        }
    }

    /// Asks for what [`Self::turn`] and [`Self::answered`] will touch.
    pub(super) fn expect(&self, key: LegKey) {
        self.asked.get(key.index()).into_iter().for_each(prefetch);
    }

    /// Whether a leg whose turn it is relays, and how many datagrams it may give; `None`: it is not
    /// asked any more.
    pub(super) fn turn(&self, key: LegKey) -> Option<(bool, usize)> {
        let asked = self.entry(key)?;
        let max = match asked {
            // After a stall, or if one has been there too early, some may be left behind.
            Asked { relays: true, misses: 2.., .. } => DATAGRAMS_TOO_MANY,
            Asked { relays: true, .. } if asked.hits >= HITS => DATAGRAMS_TOO_MANY,
            Asked { relays: false, misses: 1.., .. } => DATAGRAMS_AFTER_SILENCE,
            // Who sends more often than once a frame is found out now and then.
            Asked { relays: false, .. } if asked.hits % HITS == HITS - 1 => DATAGRAMS_TOO_MANY,
            _ => 1,
        };
        Some((asked.relays, max))
    }

    /// The leg whose turn it was gave so many datagrams; `false`: it does not keep to a frame, or to
    /// ask it no longer pays, and it has left.
    pub(super) fn answered(&mut self, key: LegKey, datagrams: usize, pays: bool) -> bool {
        let Some(mut asked) = self.entry(key).copied() else { return true };
        let (was_silent, is_one) = (asked.misses > 0, datagrams < DATAGRAMS_TOO_MANY);
        let stays = match (asked.relays, datagrams) {
            (true, 0) => {
                asked.hits = 0;
                asked.misses += 1;
                asked.quarter = (asked.quarter + 1) % QUARTERS as u8;
                asked.misses < MISSES_MAX
            }
            (true, _) => {
                asked.misses = 0;
                asked.hits += 1;
                if asked.hits >= HITS {
                    asked.quarter = (asked.quarter + QUARTERS as u8 - 1) % QUARTERS as u8;
                }
                // The time to look whether it pays is when nobody is waited for in vain.
                is_one && asked.hits < HITS + EARLIER_MAX && (pays || asked.hits != HITS)
            }
            (false, 0) => {
                asked.hits = 0;
                asked.misses = (asked.misses * 2 + 1).min(WAIT_MAX);
                asked.wait = asked.misses;
                pays
            }
            (false, _) => {
                (asked.misses, asked.wait) = (0, 0);
                asked.hits = asked.hits.wrapping_add(1);
                pays && (is_one || was_silent)
            }
        };
        self.asked[key.index()] = stays.then_some(asked);
        if stays {
            self.put(asked);
        }
        stays
    }
}

const QUARTERS: usize = 4;
/// The longest that what is passed on waits for others, where many datagrams come.
pub(super) const QUARTER: Duration = Duration::from_millis(FRAME_MS as u64 / QUARTERS as u64);
/// Turns in a row with something there, after which the turn comes earlier: at the cost of one in
/// vain, if the packet is not there yet.
const HITS: u8 = 4;
/// Turns in a row that came earlier, after which the peer sends more than a frame after a frame.
const EARLIER_MAX: u8 = 8;
/// Turns in vain, a frame and a quarter in all, after which a leg is watched.
const MISSES_MAX: u8 = 5;
/// The most frames that a silent leg is left out.
const WAIT_MAX: u8 = 3;
/// What a leg may have sent since it was last asked in vain.
const DATAGRAMS_AFTER_SILENCE: usize = 4 * (WAIT_MAX as usize + 1);
/// Who has so many, or more, is watched until it keeps to a frame again.
const DATAGRAMS_TOO_MANY: usize = 3;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn leg(index: u32) -> LegKey {
        LegKey { index, generation: index + 7 }
    }

    /// A peer whose packets arrive at certain times, and how it fares.
    #[derive(Default)]
    struct Peer {
        arrivals: VecDeque<Duration>,
        asked: usize,
        in_vain: usize,
        waits: Vec<Duration>,
    }

    impl Peer {
        fn give(&mut self, max: usize, at: Duration) -> usize {
            let there =
                self.arrivals.iter().take(max).take_while(|arrival| **arrival <= at).count();
            self.waits.extend(self.arrivals.drain(..there).map(|arrival| at - arrival));
            self.asked += 1;
            self.in_vain += usize::from(there == 0);
            there
        }
    }

    /// Lets the clock run until the peer has left or all it sends was read; whether it stayed.
    fn run(rounds: &mut Rounds, key: LegKey, peer: &mut Peer, until: Duration) -> bool {
        let mut due = Vec::new();
        while let Some(now) = rounds.poll_timeout() {
            let at = now - rounds.epoch;
            if at > until {
                return true;
            }
            rounds.take_due(now, &mut due);
            for key in due.drain(..) {
                let max = rounds.turn(key).unwrap().1;
                let count = peer.give(max, at);
                if !rounds.answered(key, count, true) {
                    return false;
                }
            }
        }
        rounds.relays(key).is_some()
    }

    fn joined(relays: bool) -> Rounds {
        let start = Instant::now();
        let mut rounds = Rounds::new(start);
        rounds.take_due(start, &mut Vec::new());
        rounds.join(leg(3), relays, start);
        assert_eq!(rounds.relays(leg(3)), Some(relays));
        rounds
    }

    proptest! {
        /// Whatever the phase and the drift of the peer's clock: what is passed on waits for a
        /// quarter or little more, and few turns are in vain.
        #[test]
        fn a_turn_follows_the_clock_of_its_peer(
            phase_us in 1_u64..20_000,
            drift_ppm in -300_i64..=300,
            jitter_us in prop::collection::vec(0_u64..1_000, 3_000),
        ) {
            let period = (20_000_000 + 20 * drift_ppm) as u64;
            let arrivals = jitter_us.iter().zip(0..).map(|(jitter, n)| {
                Duration::from_nanos(phase_us * 1_000 + period * n + jitter * 1_000)
            });
            let mut peer = Peer { arrivals: arrivals.collect(), ..Peer::default() };
            let until = *peer.arrivals.back().unwrap();
            let mut rounds = joined(true);
            prop_assert!(run(&mut rounds, leg(3), &mut peer, until));
            // At the most one to look whether the packet comes earlier now.
            prop_assert!(peer.in_vain * usize::from(HITS) < peer.asked, "{} of {}", peer.in_vain, peer.asked);
            let settled = peer.waits.get(60..).unwrap();
            let longest = settled.iter().max().unwrap();
            prop_assert!(*longest <= QUARTER * 2, "{longest:?}");
            let mean = settled.iter().sum::<Duration>() / settled.len() as u32;
            prop_assert!(mean <= QUARTER, "{mean:?}");
        }
    }

    #[test]
    fn a_packet_left_behind_is_caught_up_with() {
        let mut rounds = joined(true);
        let mut arrivals: VecDeque<_> =
            (0..200).map(|n| Duration::from_millis(1 + 20 * n)).collect();
        arrivals.push_front(Duration::from_millis(1));
        let mut peer = Peer { arrivals, ..Peer::default() };
        assert!(run(&mut rounds, leg(3), &mut peer, Duration::from_secs(4)));
        assert!(peer.waits.iter().skip(40).all(|wait| *wait <= QUARTER), "{:?}", peer.waits);
    }

    #[test]
    fn what_comes_at_once_does_not_stay_behind() {
        for extra in 1..=6 {
            let mut rounds = joined(true);
            let mut arrivals: Vec<_> =
                (0..400).map(|n| Duration::from_millis(3 + 20 * n)).collect();
            arrivals.extend((0..extra).map(|_| Duration::from_millis(4_003)));
            arrivals.sort();
            let mut peer = Peer { arrivals: arrivals.into(), ..Peer::default() };
            // It is read empty, or it leaves and is then read empty.
            let stays = run(&mut rounds, leg(3), &mut peer, Duration::from_secs(8));
            let late = peer.waits.iter().skip(100).filter(|wait| **wait > QUARTER).count();
            assert!(late <= 12, "{extra} more: {late} late");
            assert!(stays || peer.waits.len() < 400, "{extra} more");
        }
    }

    #[test]
    fn who_does_not_keep_to_a_frame_leaves() {
        for (every_ms, frames) in [(10, 30), (60, 4), (100_000, 3)] {
            let mut rounds = joined(true);
            let arrivals = (1..1_000).map(|n| Duration::from_millis(every_ms * n)).collect();
            let mut peer = Peer { arrivals, ..Peer::default() };
            assert!(!run(&mut rounds, leg(3), &mut peer, FRAME * frames), "{every_ms} ms");
            assert_eq!(rounds.relays(leg(3)), None);
            assert_eq!(rounds.poll_timeout(), None);
        }
    }

    #[test]
    fn nobody_is_asked_for_the_sake_of_a_few() {
        let mut rounds = joined(true);
        let mut due = Vec::new();
        for turn in 1..=HITS {
            let now = rounds.poll_timeout().unwrap();
            rounds.take_due(now, &mut due);
            assert_eq!(due.pop(), Some(leg(3)));
            assert_eq!(rounds.answered(leg(3), 1, false), turn < HITS, "turn {turn}");
        }
    }

    #[test]
    fn a_silent_leg_that_nobody_waits_for_is_asked_seldom_and_then_emptied() {
        let mut rounds = joined(false);
        let mut peer = Peer::default();
        assert!(run(&mut rounds, leg(3), &mut peer, Duration::from_secs(10)));
        assert!((120..=130).contains(&peer.asked), "{} turns in 10 s", peer.asked);
        let again = (0..50).map(|n| Duration::from_millis(10_000 + 20 * n)).collect();
        peer.arrivals = again;
        assert!(run(&mut rounds, leg(3), &mut peer, Duration::from_secs(12)));
        assert_eq!(peer.waits.len(), 50);
        assert!(peer.waits.iter().skip(8).all(|wait| *wait <= FRAME * 2), "{:?}", peer.waits);
    }

    #[test]
    fn a_leg_that_nobody_waits_for_leaves_if_it_sends_more_than_it_is_asked_for() {
        let mut rounds = joined(false);
        let arrivals = (1..1_000).map(|n| Duration::from_millis(10 * n)).collect();
        let mut peer = Peer { arrivals, ..Peer::default() };
        assert!(!run(&mut rounds, leg(3), &mut peer, Duration::from_secs(1)));
    }

    #[test]
    fn changing_places_allocates_nothing() {
        let start = Instant::now();
        let mut rounds = Rounds::new(start);
        let mut due = Vec::new();
        for index in 0..200 {
            rounds.join(leg(index), index % 2 == 0, start);
        }
        let room = |rounds: &Rounds| {
            let lists = rounds.quarters.iter().chain([&rounds.others]);
            lists.map(Vec::capacity).collect::<Vec<_>>()
        };
        let before = room(&rounds);
        assert!(before.iter().all(|room| *room >= 200), "{before:?}");
        for _ in 0..100 {
            let now = rounds.poll_timeout().unwrap();
            rounds.take_due(now, &mut due);
            for key in due.drain(..) {
                rounds.answered(key, 1, true);
            }
        }
        assert_eq!(room(&rounds), before);
    }

    #[test]
    fn a_leg_that_left_and_one_in_its_place_are_told_apart() {
        let mut rounds = joined(true);
        let start = rounds.epoch;
        let other = LegKey { index: 3, generation: 99 };
        rounds.join(other, false, start);
        assert_eq!((rounds.relays(leg(3)), rounds.relays(other)), (None, Some(false)));
        let mut due = Vec::new();
        rounds.take_due(start + FRAME, &mut due);
        assert_eq!(due, [leg(3), other]);
        assert_eq!(rounds.turn(leg(3)), None);
        assert!(rounds.answered(other, 0, true));
        rounds.leave(other);
        assert_eq!(rounds.poll_timeout(), None);
    }
}
