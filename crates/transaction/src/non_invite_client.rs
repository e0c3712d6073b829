//! The non-INVITE client transaction: RFC 3261 §17.1.2, figure 6.

use crate::action::ClientAction::{
    self, Response, Send, SlowDown, Start, Stop, Timeout, TransportFailed,
};
use crate::timer::Timer::{E, F, K};

/// A state of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing has come back.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// A final response came; retransmissions of it are absorbed.
    Completed,
    /// Gone.
    Terminated,
}

/// What can happen to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A 1xx arrived.
    Provisional,
    /// A 200 to 699 arrived.
    Final,
    /// The transport cannot deliver.
    TransportError,
    /// Timer E fired.
    TimerE,
    /// Timer F fired.
    TimerF,
    /// Timer K fired.
    TimerK,
}

/// The state a new transaction enters, and what is done on the way.
pub const ENTRY: (State, &[ClientAction]) = (State::Trying, &[Send, Start(E), Start(F)]);

/// The table: what `input` does in `state`.
pub fn step(state: State, input: Input) -> (State, &'static [ClientAction]) {
    use Input::*;
    use State::*;
    match (state, input) {
        (Trying, TimerE) => (Trying, &[Send, Start(E)]),
        (Trying, TimerF) => (Terminated, &[Timeout]),
        (Trying, TransportError) => (Terminated, &[TransportFailed]),
        (Trying, Provisional) => (Proceeding, &[SlowDown, Response]),
        (Trying, Final) => (Completed, &[Stop(E), Start(K), Response]),

        (Proceeding, TimerE) => (Proceeding, &[Send, Start(E)]),
        (Proceeding, TimerF) => (Terminated, &[Timeout]),
        (Proceeding, TransportError) => (Terminated, &[TransportFailed]),
        (Proceeding, Provisional) => (Proceeding, &[Response]),
        (Proceeding, Final) => (Completed, &[Stop(E), Start(K), Response]),

        (Completed, TimerK) => (Terminated, &[]),

        (_, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn rfc3261_17_1_2_table_of_the_non_invite_client() {
        use Input::*;
        use State::*;
        let states = [Trying, Proceeding, Completed, Terminated];
        let inputs = [Provisional, Final, TransportError, TimerE, TimerF, TimerK];
        golden::check("non_invite_client", ENTRY, &states, &inputs, step);
    }
}
