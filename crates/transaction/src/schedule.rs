//! The deadlines of all transactions, in order.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::timer::Timer;

/// Which of a transaction's two timers: the one that repeats a message, or the one that ends a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Retransmission,
    End,
}

/// Names a transaction in the schedule: its slot, and the side it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Client(u32),
    Server(u32),
}

/// The timers of one transaction. No state of any machine runs more than two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Running {
    retransmission: Option<(Instant, Timer)>,
    end: Option<(Instant, Timer)>,
}

impl Running {
    /// Takes the timer whose deadline [`Schedule::pop_due`] gave.
    pub(crate) fn take(&mut self, purpose: Purpose) -> Option<Timer> {
        self.slot(purpose).take().map(|(_, timer)| timer)
    }

    fn slot(&mut self, purpose: Purpose) -> &mut Option<(Instant, Timer)> {
        match purpose {
            Purpose::Retransmission => &mut self.retransmission,
            Purpose::End => &mut self.end,
        }
    }
}

/// An ordered set of deadlines. Every operation is logarithmic in the number of running timers.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    deadlines: BTreeSet<(Instant, Owner, Purpose)>,
}

impl Schedule {
    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, ..)| deadline)
    }

    /// Starts `timer`, in place of one that ran for the same purpose.
    pub(crate) fn start(
        &mut self,
        running: &mut Running,
        timer: Timer,
        owner: Owner,
        deadline: Instant,
    ) {
        let purpose = purpose_of(timer);
        if let Some((previous, _)) = running.slot(purpose).replace((deadline, timer)) {
            self.deadlines.remove(&(previous, owner, purpose));
        }
        self.deadlines.insert((deadline, owner, purpose));
    }

    /// Stops `timer` if it runs.
    pub(crate) fn stop(&mut self, running: &mut Running, timer: Timer, owner: Owner) {
        let purpose = purpose_of(timer);
        let slot = running.slot(purpose);
        if let Some((deadline, _)) = slot.take_if(|(_, running)| *running == timer) {
            self.deadlines.remove(&(deadline, owner, purpose));
        }
    }

    /// Stops whatever runs for a transaction that is gone.
    pub(crate) fn stop_all(&mut self, running: &mut Running, owner: Owner) {
        for purpose in [Purpose::Retransmission, Purpose::End] {
            if let Some((deadline, _)) = running.slot(purpose).take() {
                self.deadlines.remove(&(deadline, owner, purpose));
            }
        }
    }

    /// Takes the earliest deadline if it has passed at `now`: whose it is, and for what.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Owner, Purpose)> {
        let &(deadline, owner, purpose) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        Some((owner, purpose))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.deadlines.len()
    }
}

fn purpose_of(timer: Timer) -> Purpose {
    if timer.is_retransmission() { Purpose::Retransmission } else { Purpose::End }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;
    use std::time::Duration;

    const OWNER: Owner = Owner::Server(7);

    #[test]
    fn a_timer_started_again_moves_its_deadline() {
        let (mut schedule, mut running, now) = fixture();
        schedule.start(&mut running, Timer::A, OWNER, now + Duration::from_secs(1));
        schedule.start(&mut running, Timer::A, OWNER, now + Duration::from_secs(2));
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(2)));
        assert_eq!(schedule.len(), 1);
    }

    #[test]
    fn stopping_another_timer_of_the_same_purpose_leaves_the_running_one() {
        let (mut schedule, mut running, now) = fixture();
        schedule.start(&mut running, Timer::C, OWNER, now);
        schedule.stop(&mut running, Timer::B, OWNER);
        assert_eq!(schedule.pop_due(now), Some((OWNER, Purpose::End)));
        assert_eq!(running.take(Purpose::End), Some(Timer::C));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn the_earlier_of_two_due_timers_comes_first() {
        let (mut schedule, mut running, now) = fixture();
        schedule.start(&mut running, Timer::A, OWNER, now + Duration::from_secs(2));
        schedule.start(&mut running, Timer::B, OWNER, now + Duration::from_secs(1));
        assert_eq!(schedule.pop_due(now), None);
        let late = now + Duration::from_secs(3);
        assert_eq!(schedule.pop_due(late), Some((OWNER, Purpose::End)));
        assert_eq!(schedule.pop_due(late), Some((OWNER, Purpose::Retransmission)));
        assert_eq!(schedule.pop_due(late), None);
    }

    #[test]
    fn a_transaction_that_is_gone_leaves_no_deadline() {
        let (mut schedule, mut running, now) = fixture();
        schedule.start(&mut running, Timer::G, OWNER, now);
        schedule.start(&mut running, Timer::H, OWNER, now);
        schedule.stop_all(&mut running, OWNER);
        assert_eq!((schedule.next(), schedule.len()), (None, 0));
    }

    fn fixture() -> (Schedule, Running, Instant) {
        (Schedule::default(), Running::default(), Instant::now())
    }
}
