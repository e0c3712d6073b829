//! The INVITE server transaction: RFC 3261 §17.2.1, figure 7, as corrected by RFC 6026 §8.5.

use crate::action::ServerAction::{
    self, Forward, Repeat, Request, Resend, Send, Start, Stop, Timeout, Trying,
};
use crate::timer::Timer::{self, C, G, H, I, L};

/// A state of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The user has given no final response.
    Proceeding,
    /// A final response other than 2xx is out and repeated until its ACK.
    Completed,
    /// The ACK came; more of them are absorbed.
    Confirmed,
    /// A 2xx is out; retransmissions of the INVITE are absorbed.
    Accepted,
    /// Gone.
    Terminated,
}

/// What can happen to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The INVITE arrived again.
    Retransmission,
    /// An ACK arrived in this transaction.
    Ack,
    /// The user responds with 1xx.
    Provisional,
    /// The user responds with 2xx.
    Success,
    /// The user responds with 300 to 699.
    Failure,
    /// The transport cannot deliver.
    TransportError,
    /// The 200 ms for the user's first response are over.
    TimerTrying,
    /// Timer C fired.
    TimerC,
    /// Timer G fired.
    TimerG,
    /// Timer H fired.
    TimerH,
    /// Timer I fired.
    TimerI,
    /// Timer L fired.
    TimerL,
}

/// The state a new transaction enters, and what is done on the way.
pub const ENTRY: (State, &[ServerAction]) =
    (State::Proceeding, &[Request, Start(Timer::Trying), Start(C)]);

/// The table: what `input` does in `state`.
///
/// A transport error changes no state (RFC 6026 §8.9).
pub fn step(state: State, input: Input) -> (State, &'static [ServerAction]) {
    use Input::*;
    use State::*;
    match (state, input) {
        (Proceeding, Retransmission) => (Proceeding, &[Resend]),
        (Proceeding, TimerTrying) => (Proceeding, &[Trying]),
        (Proceeding, Provisional) => (Proceeding, &[Stop(Timer::Trying), Send, Start(C)]),
        (Proceeding, Success) => (Accepted, &[Stop(Timer::Trying), Forward, Start(L)]),
        (Proceeding, Failure) => (Completed, &[Stop(Timer::Trying), Send, Start(G), Start(H)]),
        (Proceeding, TimerC) => (Terminated, &[Timeout]),

        (Completed, Retransmission) => (Completed, &[Resend]),
        (Completed, TimerG) => (Completed, &[Repeat, Start(G)]),
        (Completed, TimerH) => (Terminated, &[Timeout]),
        (Completed, Input::Ack) => (Confirmed, &[Stop(G), Start(I)]),

        (Confirmed, TimerI) => (Terminated, &[]),

        (Accepted, Success) => (Accepted, &[Forward]),
        (Accepted, Input::Ack) => (Accepted, &[ServerAction::Ack]),
        (Accepted, TimerL) => (Terminated, &[]),

        (_, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn rfc3261_17_2_1_table_of_the_invite_server() {
        use Input::*;
        use State::*;
        let states = [Proceeding, Completed, Confirmed, Accepted, Terminated];
        let inputs = [
            Retransmission,
            Input::Ack,
            Provisional,
            Success,
            Failure,
            TransportError,
            TimerTrying,
            TimerC,
            TimerG,
            TimerH,
            TimerI,
            TimerL,
        ];
        golden::check("invite_server", ENTRY, &states, &inputs, step);
    }

    #[test]
    fn rfc6026_8_9_a_transport_error_changes_no_state() {
        for state in [State::Proceeding, State::Completed, State::Confirmed, State::Accepted] {
            assert_eq!(step(state, Input::TransportError), (state, &[][..]));
        }
    }

    #[test]
    fn rfc6026_8_5_an_accepted_invite_absorbs_retransmissions() {
        assert_eq!(step(State::Accepted, Input::Retransmission), (State::Accepted, &[][..]));
    }
}
