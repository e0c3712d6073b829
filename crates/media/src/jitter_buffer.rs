//! Packets that wait for their turn, in the order in which they were sent.

use crate::rtp::{ExtendedSequenceNumber, RtpTimestamp};

/// A ring with one slot for each of the next [`PACKETS_MAX`] sequence numbers. What comes out goes
/// up in number, whatever comes in.
#[derive(Debug)]
pub(crate) struct JitterBuffer {
    slots: [Option<Waiting>; PACKETS_MAX],
    payloads: Box<[u8]>,
    /// The number that comes out next, unless it never came.
    next: ExtendedSequenceNumber,
    waiting: usize,
}

/// A packet that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) number: ExtendedSequenceNumber,
    pub(crate) timestamp: RtpTimestamp,
    len: usize,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Kept,
    /// It is there already, or its turn is over.
    Late,
    /// It is further ahead than there is room, or too long.
    NoRoom,
}

impl JitterBuffer {
    pub(crate) fn new() -> Self {
        Self {
            slots: [None; PACKETS_MAX],
            payloads: vec![0; PACKETS_MAX * PAYLOAD_BYTES_MAX].into(),
            next: ExtendedSequenceNumber(0),
            waiting: 0,
        }
    }

    /// Empties the ring; `next` comes out next.
    pub(crate) fn restart(&mut self, next: ExtendedSequenceNumber) {
        self.slots = [None; PACKETS_MAX];
        self.waiting = 0;
        self.next = next;
    }

    /// Keeps a packet until its turn; one without a payload only says that its number was used.
    pub(crate) fn push(
        &mut self,
        number: ExtendedSequenceNumber,
        timestamp: RtpTimestamp,
        payload: &[u8],
    ) -> Pushed {
        if number < self.next {
            return Pushed::Late;
        }
        let at = slot_of(number);
        let room = self.payloads.get_mut(at * PAYLOAD_BYTES_MAX..(at + 1) * PAYLOAD_BYTES_MAX);
        let room = room.and_then(|room| room.get_mut(..payload.len()));
        let is_near = number.0 - self.next.0 < PACKETS_MAX as u64;
        let (Some(room), true) = (room, is_near) else { return Pushed::NoRoom };
        if self.slots[at].is_some() {
            return Pushed::Late;
        }
        room.copy_from_slice(payload);
        self.slots[at] = Some(Waiting { number, timestamp, len: payload.len() });
        self.waiting += 1;
        Pushed::Kept
    }

    /// The number that comes out next, unless it never came.
    pub(crate) fn next(&self) -> ExtendedSequenceNumber {
        self.next
    }

    /// The packet with the lowest number.
    pub(crate) fn front(&self) -> Option<Waiting> {
        if self.waiting == 0 {
            return None;
        }
        let numbers = self.next.0..self.next.0 + PACKETS_MAX as u64;
        numbers.into_iter().find_map(|number| self.slots[slot_of(ExtendedSequenceNumber(number))])
    }

    pub(crate) fn payload(&self, waiting: &Waiting) -> &[u8] {
        let start = slot_of(waiting.number) * PAYLOAD_BYTES_MAX;
        self.payloads.get(start..start + waiting.len).unwrap_or_default()
    }

    /// Takes out the packet that [`Self::front`] gave.
    pub(crate) fn take(&mut self, waiting: &Waiting) {
        if self.slots[slot_of(waiting.number)].take().is_some() {
            self.waiting -= 1;
        }
        self.next = waiting.number.next();
    }
}

fn slot_of(number: ExtendedSequenceNumber) -> usize {
    (number.0 % PACKETS_MAX as u64) as usize
}

/// 640 ms of the usual packets of 20 ms; the delay that is allowed is shorter.
pub(crate) const PACKETS_MAX: usize = 32;
/// The longest Opus frame fits, and 200 ms of G.711 (RFC 3551 §4.2).
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1600;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn push(buffer: &mut JitterBuffer, number: u64) -> Pushed {
        let timestamp = RtpTimestamp(number as u32 * 160);
        buffer.push(ExtendedSequenceNumber(number), timestamp, &[number as u8; 3])
    }

    fn pop(buffer: &mut JitterBuffer) -> Option<u64> {
        let front = buffer.front()?;
        assert_eq!(buffer.payload(&front), [front.number.0 as u8; 3]);
        assert_eq!(front.timestamp.0, front.number.0 as u32 * 160);
        buffer.take(&front);
        Some(front.number.0)
    }

    #[test]
    fn packets_come_out_in_order_once_and_not_late() {
        let mut buffer = JitterBuffer::new();
        buffer.restart(ExtendedSequenceNumber(100));
        for (number, expected) in [
            (101, Pushed::Kept),
            (100, Pushed::Kept),
            (101, Pushed::Late),
            (99, Pushed::Late),
            (104, Pushed::Kept),
            (100 + PACKETS_MAX as u64, Pushed::NoRoom),
        ] {
            assert_eq!(push(&mut buffer, number), expected, "{number}");
        }
        assert_eq!([pop(&mut buffer), pop(&mut buffer)], [Some(100), Some(101)]);
        assert_eq!(buffer.next(), ExtendedSequenceNumber(102));
        assert_eq!([pop(&mut buffer), pop(&mut buffer)], [Some(104), None]);
        assert_eq!(push(&mut buffer, 103), Pushed::Late);
    }

    #[test]
    fn a_payload_that_is_too_long_is_not_kept() {
        let mut buffer = JitterBuffer::new();
        let long = [0; PAYLOAD_BYTES_MAX + 1];
        let number = ExtendedSequenceNumber(0);
        assert_eq!(buffer.push(number, RtpTimestamp(0), &long), Pushed::NoRoom);
        assert_eq!(buffer.front(), None);
    }

    proptest! {
        #[test]
        fn the_order_never_breaks(steps in prop::collection::vec(prop::option::of(0_u64..60), 1..200)) {
            let mut buffer = JitterBuffer::new();
            let mut last = None;
            for step in steps {
                match step {
                    Some(ahead) => { push(&mut buffer, last.unwrap_or(0) + ahead); }
                    None => {
                        let popped = pop(&mut buffer);
                        prop_assert!(popped.is_none() || last < popped);
                        last = popped.or(last);
                    }
                }
            }
        }
    }
}
