//! The deadlines of all transactions, in order.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::timer::Timer;

/// Which of a transaction's two timers: the one that repeats a message, or the one that ends a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
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

    /// The owner of the earliest deadline that has passed at `now`.
    pub(crate) fn due(&self, now: Instant) -> Option<Owner> {
        self.deadlines.first().filter(|(deadline, ..)| *deadline <= now).map(|&(_, owner, _)| owner)
    }

    /// Takes the timer of `running` that has passed at `now`, the earlier one first.
    pub(crate) fn fire(
        &mut self,
        running: &mut Running,
        owner: Owner,
        now: Instant,
    ) -> Option<Timer> {
        let due = |slot: &Option<(Instant, Timer)>| slot.filter(|(deadline, _)| *deadline <= now);
        let purpose = match (due(&running.retransmission), due(&running.end)) {
            (Some((repeat, _)), Some((end, _))) if end < repeat => Purpose::End,
            (Some(_), _) => Purpose::Retransmission,
            (None, Some(_)) => Purpose::End,
            (None, None) => return None,
        };
        let (deadline, timer) = running.slot(purpose).take()?;
        self.deadlines.remove(&(deadline, owner, purpose));
        Some(timer)
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
        assert_eq!(schedule.fire(&mut running, OWNER, now), Some(Timer::C));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn the_earlier_of_two_due_timers_fires_first() {
        let (mut schedule, mut running, now) = fixture();
        schedule.start(&mut running, Timer::A, OWNER, now + Duration::from_secs(2));
        schedule.start(&mut running, Timer::B, OWNER, now + Duration::from_secs(1));
        let late = now + Duration::from_secs(3);
        assert_eq!(schedule.due(late), Some(OWNER));
        assert_eq!(schedule.fire(&mut running, OWNER, late), Some(Timer::B));
        assert_eq!(schedule.fire(&mut running, OWNER, late), Some(Timer::A));
        assert_eq!(schedule.fire(&mut running, OWNER, late), None);
        assert_eq!(schedule.due(late), None);
    }

    fn fixture() -> (Schedule, Running, Instant) {
        (Schedule::default(), Running::default(), Instant::now())
    }
}
