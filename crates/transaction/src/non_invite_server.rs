//! The non-INVITE server transaction: RFC 3261 §17.2.2, figure 8.

use crate::action::ServerAction::{self, Request, Resend, Send, Start, Timeout};
use crate::timer::Timer::{F, J};

/// A state of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The user has not responded.
    Trying,
    /// The user has responded with 1xx.
    Proceeding,
    /// The user has given its final response.
    Completed,
    /// Gone.
    Terminated,
}

/// What can happen to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The request arrived again.
    Retransmission,
    /// The user responds with 1xx.
    Provisional,
    /// The user responds with 200 to 699.
    Final,
    /// The transport cannot deliver.
    TransportError,
    /// Timer F of the client is over: nobody waits for a response any more.
    TimerF,
    /// Timer J fired.
    TimerJ,
}

/// The state a new transaction enters, and what is done on the way.
pub const ENTRY: (State, &[ServerAction]) = (State::Trying, &[Request, Start(F)]);

/// The table: what `input` does in `state`.
///
/// A transport error changes no state (RFC 6026 §8.9). A final response after Timer F is not sent
/// (RFC 4320 §4.2).
pub fn step(state: State, input: Input) -> (State, &'static [ServerAction]) {
    use Input::*;
    use State::*;
    match (state, input) {
        (Trying, Provisional) => (Proceeding, &[Send]),
        (Trying, Final) => (Completed, &[Send, Start(J)]),
        (Trying, TimerF) => (Terminated, &[Timeout]),

        (Proceeding, Retransmission) => (Proceeding, &[Resend]),
        (Proceeding, Provisional) => (Proceeding, &[Send]),
        (Proceeding, Final) => (Completed, &[Send, Start(J)]),
        (Proceeding, TimerF) => (Terminated, &[Timeout]),

        (Completed, Retransmission) => (Completed, &[Resend]),
        (Completed, TimerJ) => (Terminated, &[]),

        (_, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn rfc3261_17_2_2_table_of_the_non_invite_server() {
        use Input::*;
        use State::*;
        let states = [Trying, Proceeding, Completed, Terminated];
        let inputs = [Retransmission, Provisional, Final, TransportError, TimerF, TimerJ];
        golden::check("non_invite_server", ENTRY, &states, &inputs, step);
    }

    #[test]
    fn rfc3261_17_2_2_a_retransmission_before_any_response_is_discarded() {
        assert_eq!(step(State::Trying, Input::Retransmission), (State::Trying, &[][..]));
    }
}
