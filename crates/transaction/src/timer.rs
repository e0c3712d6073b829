//! T1, T2, T4 and the Timers A to M that follow from them.

use std::time::Duration;

/// The timers of the four machines, by the letters of the RFCs.
///
/// RFC 3261 §17 (table 4), RFC 6026 §8 for L and M.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// INVITE request retransmission.
    A,
    /// INVITE client transaction timeout; also the wait for a final response after CANCEL (RFC 3261 §9.1).
    B,
    /// Silence after a provisional response (RFC 3261 §16.6); bounds a ringing INVITE on either side.
    C,
    /// Wait for retransmissions of a final response to INVITE.
    D,
    /// Non-INVITE request retransmission.
    E,
    /// Non-INVITE transaction timeout. On the server side: the client has given up (RFC 4320 §4.2).
    F,
    /// Final response retransmission to an INVITE.
    G,
    /// Wait for the ACK.
    H,
    /// Wait for retransmissions of the ACK.
    I,
    /// Wait for retransmissions of a non-INVITE request.
    J,
    /// Wait for retransmissions of a response to a non-INVITE request.
    K,
    /// Wait for retransmissions of an accepted INVITE.
    L,
    /// Wait for retransmissions of a 2xx to INVITE, and for those of other branches.
    M,
    /// The 200 ms after which an INVITE that is still unanswered gets 100 (RFC 3261 §17.2.1).
    Trying,
}

impl Timer {
    /// Whether the timer repeats a message, as opposed to ending a state.
    pub fn is_retransmission(self) -> bool {
        matches!(self, Timer::A | Timer::E | Timer::G | Timer::Trying)
    }
}

/// The base values, from which every other duration is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timers {
    /// The round-trip estimate. Every transaction ends within 64 times this once nobody speaks.
    pub t1: Duration,
    /// The longest interval between retransmissions of a non-INVITE request or an INVITE response.
    pub t2: Duration,
    /// The longest time a message stays in the network.
    pub t4: Duration,
    /// Timer C: how long an INVITE that came may wait for the next response of its user. Over 3
    /// minutes.
    pub c: Duration,
    /// How long the layer waits for its user before it answers an INVITE with 100.
    pub trying: Duration,
}

impl Default for Timers {
    /// RFC 3261 §17.1.1.1, §17.1.1.2, §16.6 and §17.2.1.
    fn default() -> Timers {
        Timers {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            c: Duration::from_secs(300),
            trying: Duration::from_millis(200),
        }
    }
}

impl Timers {
    /// 64 times T1: the life of Timers B, F, H, J, L and M.
    pub fn transaction_timeout(&self) -> Duration {
        self.t1 * 64
    }

    /// The interval before retransmission number `sent + 1`, doubling from T1 up to T2.
    ///
    /// The rule of Timers E and G, and of a 2xx until its ACK (RFC 3261 §13.3.1.4).
    pub fn doubling_to_t2(&self, sent: u8) -> Duration {
        self.doubling(sent).min(self.t2)
    }

    /// How long `timer` runs when it is started for the time number `round` (from 0).
    ///
    /// `None` means that the transport makes the timer needless; zero that it fires at once.
    pub fn duration(&self, timer: Timer, round: u8, is_reliable: bool) -> Option<Duration> {
        match timer {
            Timer::A if is_reliable => None,
            Timer::A => Some(self.doubling(round)),
            Timer::E | Timer::G if is_reliable => None,
            Timer::E | Timer::G => Some(self.doubling_to_t2(round)),
            Timer::B | Timer::F | Timer::H | Timer::L | Timer::M => {
                Some(self.transaction_timeout())
            }
            Timer::D | Timer::I | Timer::J | Timer::K if is_reliable => Some(Duration::ZERO),
            // RFC 3261 §17.1.1.2: at least 32 s, which is Timer H of the other side.
            Timer::D => Some(self.transaction_timeout().max(Duration::from_secs(32))),
            Timer::J => Some(self.transaction_timeout()),
            Timer::I | Timer::K => Some(self.t4),
            Timer::C => Some(self.c),
            Timer::Trying => Some(self.trying),
        }
    }

    fn doubling(&self, round: u8) -> Duration {
        self.t1 * (1 << round.min(DOUBLINGS_MAX))
    }
}

/// Timer B ends an INVITE after 7 transmissions; the bound only keeps the arithmetic in range.
const DOUBLINGS_MAX: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3261_17_1_1_2_timer_a_doubles_without_a_ceiling() {
        let timers = Timers::default();
        let seconds: Vec<f32> = (0..6)
            .map(|round| timers.duration(Timer::A, round, false).unwrap().as_secs_f32())
            .collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]);
    }

    #[test]
    fn rfc3261_17_1_2_2_timer_e_doubles_up_to_t2() {
        let timers = Timers::default();
        let seconds: Vec<f32> = (0..6)
            .map(|round| timers.duration(Timer::E, round, false).unwrap().as_secs_f32())
            .collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]);
    }

    #[test]
    fn rfc3261_17_reliable_transports_repeat_nothing_and_linger_only_for_2xx() {
        let timers = Timers::default();
        for timer in [Timer::A, Timer::E, Timer::G] {
            assert_eq!(timers.duration(timer, 0, true), None, "{timer:?}");
        }
        for timer in [Timer::D, Timer::I, Timer::J, Timer::K] {
            assert_eq!(timers.duration(timer, 0, true), Some(Duration::ZERO), "{timer:?}");
        }
        for timer in [Timer::B, Timer::F, Timer::H, Timer::L, Timer::M] {
            assert_eq!(timers.duration(timer, 0, true), Some(Duration::from_secs(32)), "{timer:?}");
        }
    }

    #[test]
    fn every_duration_follows_a_configured_t1() {
        let timers = Timers { t1: Duration::from_millis(100), ..Timers::default() };
        assert_eq!(timers.duration(Timer::B, 0, false), Some(Duration::from_millis(6400)));
        assert_eq!(timers.duration(Timer::A, 2, false), Some(Duration::from_millis(400)));
    }
}
