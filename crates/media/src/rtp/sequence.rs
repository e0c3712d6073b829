//! Sequence numbers: 16 bits on the wire, widened once received (RFC 3550 §A.1).

/// The number that counts the packets of a stream; wraps at 65,536.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SequenceNumber(pub u16);

impl SequenceNumber {
    /// How far `self` is ahead of `other`, from -32,768 to 32,767.
    pub fn distance_from(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// The number `count` packets later.
    pub fn plus(self, count: u16) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

/// A sequence number with the count of its wraps above it: 48 bits, the packet index of
/// RFC 3711 §3.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtendedSequenceNumber(pub u64);

impl ExtendedSequenceNumber {
    /// The low 16 bits, as they go on the wire.
    pub fn sequence_number(self) -> SequenceNumber {
        SequenceNumber(self.0 as u16)
    }

    /// How often the 16 bits have wrapped: the rollover counter of RFC 3711 §3.3.1.
    pub fn rollover_counter(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The extended number nearest to `self` whose low 16 bits are `number`.
    ///
    /// A guess that would fall before the first wrap is moved up by one wrap.
    pub fn nearest(self, number: SequenceNumber) -> Self {
        let distance = i64::from(number.distance_from(self.sequence_number()));
        match self.0.checked_add_signed(distance) {
            Some(index) => Self(index & INDEX_BITS),
            None => Self(u64::from(number.0)),
        }
    }

    /// The next number.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1) & INDEX_BITS)
    }
}

/// The 128 numbers up to the highest one seen, and which of them were seen (RFC 3711 §3.3.2).
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceTracker {
    highest: u64,
    seen: u128,
}

impl SequenceTracker {
    /// The highest number seen, if any was.
    pub fn highest(&self) -> Option<ExtendedSequenceNumber> {
        (self.seen != 0).then_some(ExtendedSequenceNumber(self.highest))
    }

    /// Whether `number` has neither been seen nor is too old to tell.
    pub fn is_new(&self, number: ExtendedSequenceNumber) -> bool {
        if self.seen == 0 || number.0 > self.highest {
            return true;
        }
        let age = self.highest - number.0;
        age < TRACKED && self.seen & (1 << age) == 0
    }

    /// Marks `number` as seen.
    pub fn mark(&mut self, number: ExtendedSequenceNumber) {
        if self.seen == 0 || number.0 > self.highest {
            let step = if self.seen == 0 { TRACKED } else { number.0 - self.highest };
            self.seen = if step < TRACKED { self.seen << step } else { 0 } | 1;
            self.highest = number.0;
        } else if self.highest - number.0 < TRACKED {
            self.seen |= 1 << (self.highest - number.0);
        }
    }
}

const INDEX_BITS: u64 = (1 << 48) - 1;
const TRACKED: u64 = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distance_goes_over_the_wrap() {
        assert_eq!(SequenceNumber(2).distance_from(SequenceNumber(65_534)), 4);
        assert_eq!(SequenceNumber(65_534).distance_from(SequenceNumber(2)), -4);
    }

    #[test]
    fn rfc3711_3_3_1_the_nearest_index_is_taken() {
        let index = ExtendedSequenceNumber(0x1_fffe);
        assert_eq!(index.nearest(SequenceNumber(1)).0, 0x2_0001);
        assert_eq!(index.nearest(SequenceNumber(0xfff0)).0, 0x1_fff0);
        assert_eq!(ExtendedSequenceNumber(3).nearest(SequenceNumber(0xffff)).0, 0xffff);
    }

    #[test]
    fn a_number_is_new_once() {
        let mut tracker = SequenceTracker::default();
        for number in [10, 12, 11, 300] {
            let number = ExtendedSequenceNumber(number);
            assert!(tracker.is_new(number));
            tracker.mark(number);
            assert!(!tracker.is_new(number));
        }
        assert!(!tracker.is_new(ExtendedSequenceNumber(11)));
        assert!(!tracker.is_new(ExtendedSequenceNumber(172)));
        assert!(tracker.is_new(ExtendedSequenceNumber(173)));
    }

    proptest! {
        #[test]
        fn nearest_keeps_the_low_bits(index in 0_u64..(1 << 48), number: u16) {
            let number = SequenceNumber(number);
            let nearest = ExtendedSequenceNumber(index).nearest(number);
            prop_assert_eq!(nearest.sequence_number(), number);
        }

        #[test]
        fn the_tracker_agrees_with_a_set(numbers in prop::collection::vec(0_u64..400, 1..200)) {
            let mut tracker = SequenceTracker::default();
            let mut seen = std::collections::HashSet::new();
            let mut highest = 0;
            for number in numbers {
                let too_old = !seen.is_empty() && number + 128 <= highest;
                let new = !too_old && !seen.contains(&number);
                prop_assert_eq!(tracker.is_new(ExtendedSequenceNumber(number)), new);
                if new {
                    tracker.mark(ExtendedSequenceNumber(number));
                    seen.insert(number);
                    highest = highest.max(number);
                }
            }
        }
    }
}
