//! When a shard does what: twenty slots of 1 ms for frames, a heap for everything else.
//!
//! Waking a thread costs as much as sending ten packets, so a shard with few legs serves several
//! slots at once, at the end of the last of them: as many as make a burst of [`BURST_MAX`] packets
//! at the most. Each leg keeps its distance of one frame all the same.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use super::transmit::LegKey;

/// Legs that send frames, spread over the slots of a frame so that no burst forms.
#[derive(Debug)]
pub(crate) struct Slots {
    members: [Vec<LegKey>; SLOTS],
    /// Legs that have a slot, sending or not.
    assigned: [u32; SLOTS],
    sending: usize,
    /// A tick at which slots are served, from which the others are counted.
    phase: u64,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self { members: [const { Vec::new() }; SLOTS], assigned: [0; SLOTS], sending: 0, phase: 0 }
    }

    /// Whether nobody sends.
    pub(crate) fn is_idle(&self) -> bool {
        self.sending == 0
    }

    /// Slots are served at `tick`, and from there on as often as their legs need it.
    pub(crate) fn begin(&mut self, tick: u64) {
        self.phase = tick;
    }

    /// The tick at which the slot of `tick` is served: its own, or that of a later slot that is
    /// served with it.
    pub(crate) fn served(&self, tick: u64) -> u64 {
        self.phase + tick.saturating_sub(self.phase).next_multiple_of(self.together())
    }

    /// The last tick up to `tick` at which slots were served.
    pub(crate) fn boundary(&self, tick: u64) -> u64 {
        tick - tick.saturating_sub(self.phase) % self.together()
    }

    fn together(&self) -> u64 {
        let fits = |slots: &usize| self.sending * slots <= BURST_MAX * SLOTS;
        TOGETHER.into_iter().find(fits).unwrap_or(1) as u64
    }

    /// The slot with the fewest legs, for the life of a leg.
    pub(crate) fn assign(&mut self) -> u8 {
        let fewest = (0..SLOTS).min_by_key(|slot| self.assigned[*slot]).unwrap_or(0);
        self.assigned[fewest] += 1;
        fewest as u8
    }

    /// Gives a slot back.
    pub(crate) fn release(&mut self, slot: u8) {
        self.assigned[usize::from(slot)] -= 1;
    }

    /// From now on the leg has a frame to send at every turn of its slot.
    pub(crate) fn join(&mut self, slot: u8, leg: LegKey) {
        self.members[usize::from(slot)].push(leg);
        self.sending += 1;
    }

    /// Takes the members of the slot of a tick out, to be visited; [`Self::put_back`] follows.
    pub(crate) fn take(&mut self, tick: u64) -> Vec<LegKey> {
        let members = std::mem::take(&mut self.members[slot_of(tick)]);
        self.sending -= members.len();
        members
    }

    /// Puts back the members that go on.
    pub(crate) fn put_back(&mut self, tick: u64, members: Vec<LegKey>) {
        self.sending += members.len();
        self.members[slot_of(tick)] = members;
    }

    /// The first tick from `tick` on at which somebody sends.
    pub(crate) fn next_from(&self, tick: u64) -> Option<u64> {
        if self.sending == 0 {
            return None;
        }
        (tick..tick + SLOTS as u64).find(|tick| !self.members[slot_of(*tick)].is_empty())
    }
}

fn slot_of(tick: u64) -> usize {
    (tick % SLOTS as u64) as usize
}

/// The deadlines of legs, earliest first. An entry that no longer holds is passed over by whoever
/// pops it; a leg has few, so the heap stays in proportion to the legs.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, LegKey)>>,
}

impl Deadlines {
    pub(crate) fn push(&mut self, at: Instant, leg: LegKey) {
        self.heap.push(Reverse((at, leg)));
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, LegKey)> {
        let Reverse((at, _)) = *self.heap.peek()?;
        if at > now { None } else { self.heap.pop().map(|Reverse(entry)| entry) }
    }

    /// Drops what is due first as long as it belongs to a leg that is gone, so that nobody wakes
    /// for it.
    pub(crate) fn drop_gone(&mut self, is_open: impl Fn(LegKey) -> bool) {
        while self.heap.peek().is_some_and(|Reverse((_, leg))| !is_open(*leg)) {
            self.heap.pop();
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

/// The shard's clock in ticks of 1 ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TickClock {
    epoch: Instant,
}

impl TickClock {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self { epoch }
    }

    pub(crate) fn tick(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }

    pub(crate) fn at(&self, tick: u64) -> Instant {
        self.epoch + Duration::from_millis(tick)
    }

    pub(crate) fn since_epoch(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
    }
}

/// How many slots may be served at once; each divides a frame.
const TOGETHER: [usize; 5] = [20, 10, 5, 2, 1];
/// Packets that legs served together may make.
const BURST_MAX: usize = 256;
/// Slots of a frame: one each millisecond.
pub(crate) const SLOTS: usize = crate::codec::FRAME_MS as usize;

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(index: u32) -> LegKey {
        LegKey { index, generation: 0 }
    }

    #[test]
    fn legs_are_spread_evenly() {
        let mut slots = Slots::new();
        for _ in 0..SLOTS * 3 {
            slots.assign();
        }
        assert_eq!(slots.assigned, [3; SLOTS]);
        slots.release(7);
        assert_eq!(slots.assign(), 7);
    }

    #[test]
    fn the_next_tick_is_found_over_the_end_of_the_frame() {
        let mut slots = Slots::new();
        assert_eq!(slots.next_from(5), None);
        slots.join(3, leg(1));
        assert_eq!(slots.next_from(3), Some(3));
        assert_eq!(slots.next_from(4), Some(23));
        let members = slots.take(23);
        assert_eq!(members, [leg(1)]);
        slots.put_back(23, Vec::new());
        assert_eq!(slots.next_from(4), None);
    }

    #[test]
    fn few_legs_are_served_together_and_many_are_not() {
        let mut slots = Slots::new();
        slots.begin(1_000);
        let join = |slots: &mut Slots, until: usize| {
            while slots.sending < until {
                slots.join((slots.sending % SLOTS) as u8, leg(slots.sending as u32));
            }
        };
        for (legs, together) in [(1, 20), (256, 20), (500, 10), (1_000, 5), (2_000, 2), (5_000, 1)]
        {
            join(&mut slots, legs);
            let served: Vec<u64> = (1_001..=1_020).map(|tick| slots.served(tick)).collect();
            let expected: Vec<u64> =
                (1..=20_u64).map(|n| 1_000 + n.next_multiple_of(together)).collect();
            assert_eq!(served, expected, "{legs} legs");
        }
        assert_eq!(slots.served(1_000), 1_000);
    }

    #[test]
    fn deadlines_come_in_order() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        for n in [3, 1, 2] {
            deadlines.push(start + Duration::from_secs(n), leg(n as u32));
        }
        assert_eq!(deadlines.next(), Some(start + Duration::from_secs(1)));
        assert_eq!(deadlines.pop_due(start), None);
        let later = start + Duration::from_secs(2);
        assert_eq!(deadlines.pop_due(later).map(|(_, leg)| leg.index), Some(1));
        assert_eq!(deadlines.pop_due(later).map(|(_, leg)| leg.index), Some(2));
        assert_eq!(deadlines.pop_due(later), None);
    }

    #[test]
    fn nothing_is_due_for_legs_that_are_gone() {
        let start = Instant::now();
        let mut deadlines = Deadlines::default();
        for n in 1..=4 {
            deadlines.push(start + Duration::from_secs(n), leg(n as u32));
        }
        deadlines.drop_gone(|leg| leg.index == 3);
        assert_eq!(deadlines.next(), Some(start + Duration::from_secs(3)));
        deadlines.drop_gone(|_| false);
        assert_eq!(deadlines.next(), None);
    }
}
