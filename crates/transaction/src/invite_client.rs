//! The INVITE client transaction: RFC 3261 §17.1.1, figure 5, as corrected by RFC 6026 §8.4.
//!
//! It rings until its user cancels it: Timer C is a proxy's (RFC 3261 §16.6).

use crate::action::ClientAction::{
    self, Ack, ResendAck, Response, Send, Start, Stop, Timeout, TransportFailed,
};
use crate::timer::Timer::{A, B, D, M};

/// A state of the machine.
///
/// The figure's Calling and Proceeding are each split in two by a CANCEL, which must wait for a
/// provisional response and must be sent once (RFC 3261 §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing has come back.
    Calling,
    /// Nothing has come back, and the user has asked for a CANCEL.
    CallingToCancel,
    /// A provisional response came.
    Proceeding,
    /// A CANCEL is out; a final response is due.
    Cancelled,
    /// A final response other than 2xx came and was acknowledged.
    Completed,
    /// A 2xx came; more may follow.
    Accepted,
    /// Gone.
    Terminated,
}

/// What can happen to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A 1xx arrived.
    Provisional,
    /// A 2xx arrived.
    Success,
    /// A 300 to 699 arrived.
    Failure,
    /// The user wants the request cancelled.
    Cancel,
    /// The transport cannot deliver.
    TransportError,
    /// Timer A fired.
    TimerA,
    /// Timer B fired.
    TimerB,
    /// Timer D fired.
    TimerD,
    /// Timer M fired.
    TimerM,
}

/// The state a new transaction enters, and what is done on the way.
pub const ENTRY: (State, &[ClientAction]) = (State::Calling, &[Send, Start(A), Start(B)]);

/// The table: what `input` does in `state`.
pub fn step(state: State, input: Input) -> (State, &'static [ClientAction]) {
    use Input::*;
    use State::*;
    match (state, input) {
        (Calling, TimerA) => (Calling, &[Send, Start(A)]),
        (Calling, TimerB) => (Terminated, &[Timeout]),
        (Calling, Input::Cancel) => (CallingToCancel, &[]),
        (Calling, Provisional) => (Proceeding, &[Stop(A), Response]),
        (Calling, Success) => (Accepted, &[Stop(A), Start(M), Response]),
        (Calling, Failure) => (Completed, &[Stop(A), Ack, Start(D), Response]),
        (Calling, TransportError) => (Terminated, &[TransportFailed]),

        (CallingToCancel, TimerA) => (CallingToCancel, &[Send, Start(A)]),
        (CallingToCancel, TimerB) => (Terminated, &[Timeout]),
        (CallingToCancel, Provisional) => {
            (Cancelled, &[Stop(A), ClientAction::Cancel, Start(B), Response])
        }
        (CallingToCancel, Success) => (Accepted, &[Stop(A), Start(M), Response]),
        (CallingToCancel, Failure) => (Completed, &[Stop(A), Ack, Start(D), Response]),
        (CallingToCancel, TransportError) => (Terminated, &[TransportFailed]),

        (Proceeding, Provisional) => (Proceeding, &[Response]),
        (Proceeding, Input::Cancel) => (Cancelled, &[ClientAction::Cancel, Start(B)]),
        (Proceeding, Success) => (Accepted, &[Start(M), Response]),
        (Proceeding, Failure) => (Completed, &[Ack, Start(D), Response]),
        (Proceeding, TransportError) => (Terminated, &[TransportFailed]),

        (Cancelled, Provisional) => (Cancelled, &[Response]),
        (Cancelled, TimerB) => (Terminated, &[Timeout]),
        (Cancelled, Success) => (Accepted, &[Start(M), Response]),
        (Cancelled, Failure) => (Completed, &[Ack, Start(D), Response]),
        (Cancelled, TransportError) => (Terminated, &[TransportFailed]),

        (Completed, Failure) => (Completed, &[ResendAck]),
        (Completed, TransportError) => (Terminated, &[TransportFailed]),
        (Completed, TimerD) => (Terminated, &[]),

        (Accepted, Success) => (Accepted, &[Response]),
        (Accepted, TimerM) => (Terminated, &[]),

        (_, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn rfc3261_17_1_1_table_of_the_invite_client() {
        use Input::*;
        use State::*;
        let states =
            [Calling, CallingToCancel, Proceeding, Cancelled, Completed, Accepted, Terminated];
        let inputs = [
            Provisional,
            Success,
            Failure,
            Input::Cancel,
            TransportError,
            TimerA,
            TimerB,
            TimerD,
            TimerM,
        ];
        golden::check("invite_client", ENTRY, &states, &inputs, step);
    }

    #[test]
    fn rfc3261_9_1_cancel_waits_for_a_provisional_response() {
        assert_eq!(step(State::Calling, Input::Cancel), (State::CallingToCancel, &[][..]));
        let (state, actions) = step(State::CallingToCancel, Input::Provisional);
        assert_eq!(state, State::Cancelled);
        assert!(actions.contains(&ClientAction::Cancel));
    }

    #[test]
    fn rfc6026_8_4_a_second_2xx_reaches_the_user() {
        assert_eq!(
            step(State::Accepted, Input::Success),
            (State::Accepted, &[ClientAction::Response][..])
        );
    }
}
