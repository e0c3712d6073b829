//! The life of an INVITE usage in which we are the UAS: RFC 3261 §13.3, §14 and §15 as one table.

use Action::{
    Accept, AnswerBye, Bye, Ended, MissingAck, RefuseInvite, Repeat, StartRepeating, StopRepeating,
    StopSession,
};

/// A state of the usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The INVITE has no final response.
    Early,
    /// The 2xx is out and repeated until its ACK.
    Answered,
    /// As Answered, and we want to end: BYE has to wait for the ACK (RFC 3261 §15).
    AnsweredToEnd,
    /// The ACK came.
    Confirmed,
    /// Our BYE is out.
    Terminating,
    /// Gone.
    Terminated,
}

/// What can happen to the usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The user answers with 2xx.
    Accept,
    /// The user answers with 300 to 699.
    Reject,
    /// The user wants to end an answered call.
    HangUp,
    /// The user wants to end, and there is no flow that could carry a BYE.
    Abandon,
    /// The ACK of the 2xx arrived, or a later request that proves the 2xx did.
    Ack,
    /// It is time to repeat the 2xx.
    RepeatDue,
    /// 64 times T1 went by without the ACK.
    AckTimeout,
    /// A CANCEL of the INVITE arrived.
    Cancel,
    /// A BYE arrived.
    PeerBye,
    /// Our BYE was answered, or will not be.
    ByeDone,
    /// The session interval ran out (RFC 4028 §10), or the peer does not know the dialog any more.
    Lost,
    /// The INVITE's transaction ended without a final response.
    InviteGone,
}

/// What the leg has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the 2xx.
    Accept,
    /// Send the final response that is not a 2xx: the user's, or 487.
    RefuseInvite,
    /// Repeat the 2xx at doubling intervals, up to 64 times T1.
    StartRepeating,
    /// Send the 2xx again.
    Repeat,
    /// No more repetitions.
    StopRepeating,
    /// No more session timer.
    StopSession,
    /// Send our BYE.
    Bye,
    /// Answer the peer's BYE with 200.
    AnswerBye,
    /// Tell the user that the ACK came.
    Confirmed,
    /// Tell the user that it did not.
    MissingAck,
    /// Tell the user that the leg is over; this is said once.
    Ended,
}

/// The table: what `input` does in `state`.
pub fn step(state: State, input: Input) -> (State, &'static [Action]) {
    use State::*;
    match (state, input) {
        (Early, Input::Accept) => (Answered, &[Accept, StartRepeating]),
        (Early, Input::Reject) => (Terminated, &[RefuseInvite, Ended]),
        (Early, Input::Cancel) => (Terminated, &[RefuseInvite, Ended]),
        // RFC 3261 §15.1.2: a BYE ends an early dialog too; the pending INVITE gets 487.
        (Early, Input::PeerBye) => (Terminated, &[AnswerBye, RefuseInvite, Ended]),
        (Early, Input::Abandon) => (Terminated, &[RefuseInvite, Ended]),
        (Early, Input::InviteGone) => (Terminated, &[Ended]),

        (Answered, Input::Ack) => (Confirmed, &[StopRepeating, Action::Confirmed]),
        (Answered, Input::RepeatDue) => (Answered, &[Repeat]),
        (Answered, Input::AckTimeout) => {
            (Terminating, &[StopRepeating, StopSession, MissingAck, Bye])
        }
        (Answered, Input::HangUp | Input::Lost) => (AnsweredToEnd, &[StopSession]),
        (Answered, Input::Abandon) => (Terminated, &[StopRepeating, StopSession, Ended]),
        (Answered, Input::PeerBye) => (Terminated, &[StopRepeating, StopSession, AnswerBye, Ended]),

        (AnsweredToEnd, Input::Ack) => (Terminating, &[StopRepeating, Bye]),
        (AnsweredToEnd, Input::RepeatDue) => (AnsweredToEnd, &[Repeat]),
        (AnsweredToEnd, Input::AckTimeout) => (Terminating, &[StopRepeating, MissingAck, Bye]),
        (AnsweredToEnd, Input::Abandon) => (Terminated, &[StopRepeating, Ended]),
        (AnsweredToEnd, Input::PeerBye) => (Terminated, &[StopRepeating, AnswerBye, Ended]),

        (Confirmed, Input::HangUp | Input::Lost) => {
            (Terminating, &[StopRepeating, StopSession, Bye])
        }
        (Confirmed, Input::RepeatDue) => (Confirmed, &[Repeat]),
        (Confirmed, Input::Ack) => (Confirmed, &[StopRepeating]),
        // The ACK of a re-INVITE: RFC 3261 §14.2 treats it as that of the first.
        (Confirmed, Input::AckTimeout) => {
            (Terminating, &[StopRepeating, StopSession, MissingAck, Bye])
        }
        (Confirmed, Input::Abandon) => (Terminated, &[StopRepeating, StopSession, Ended]),
        (Confirmed, Input::PeerBye) => {
            (Terminated, &[StopRepeating, StopSession, AnswerBye, Ended])
        }

        (Terminating, Input::ByeDone | Input::Abandon) => (Terminated, &[Ended]),
        (Terminating, Input::PeerBye) => (Terminated, &[AnswerBye, Ended]),

        (_, _) => (state, &[]),
    }
}

impl State {
    /// Whether a final response to the INVITE has been sent.
    pub fn is_answered(self) -> bool {
        match self {
            State::Early => false,
            State::Answered
            | State::AnsweredToEnd
            | State::Confirmed
            | State::Terminating
            | State::Terminated => true,
        }
    }

    /// Whether the dialog takes new requests of the peer other than BYE.
    pub fn is_open(self) -> bool {
        match self {
            State::Early | State::Answered | State::Confirmed => true,
            State::AnsweredToEnd | State::Terminating | State::Terminated => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    const STATES: [State; 6] = [
        State::Early,
        State::Answered,
        State::AnsweredToEnd,
        State::Confirmed,
        State::Terminating,
        State::Terminated,
    ];
    const INPUTS: [Input; 12] = [
        Input::Accept,
        Input::Reject,
        Input::HangUp,
        Input::Abandon,
        Input::Ack,
        Input::RepeatDue,
        Input::AckTimeout,
        Input::Cancel,
        Input::PeerBye,
        Input::ByeDone,
        Input::Lost,
        Input::InviteGone,
    ];

    #[test]
    fn rfc3261_13_14_15_table_of_the_leg() {
        golden::check("leg", &STATES, &INPUTS, step);
    }

    #[test]
    fn rfc3261_9_2_cancel_after_a_final_response_has_no_effect() {
        for state in STATES.into_iter().filter(|state| state.is_answered()) {
            assert_eq!(step(state, Input::Cancel), (state, &[][..]));
        }
    }

    #[test]
    fn rfc3261_15_bye_waits_for_the_ack() {
        assert_eq!(step(State::Answered, Input::HangUp).0, State::AnsweredToEnd);
        let (state, actions) = step(State::AnsweredToEnd, Input::Ack);
        assert_eq!((state, actions.contains(&Action::Bye)), (State::Terminating, true));
    }

    #[test]
    fn the_end_is_told_exactly_when_terminated_is_entered() {
        for state in STATES {
            for input in INPUTS {
                let (next, actions) = step(state, input);
                let enters = state != State::Terminated && next == State::Terminated;
                assert_eq!(actions.contains(&Action::Ended), enters, "{state:?} {input:?}");
            }
        }
    }
}
