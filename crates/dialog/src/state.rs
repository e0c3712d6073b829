//! The life of an INVITE usage: RFC 3261 §13, §14 and §15 as one table. A leg that called us begins
//! in [`State::Early`], one that we call in [`State::Calling`]; once confirmed they are alike.

use Action::{
    Accept, Acknowledge, AnswerBye, Bye, Cancel, Ended, Ending, RefuseInvite, Repeat,
    StartRepeating, StartSession, StopRepeating, StopSession,
};

/// A state of the usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Our INVITE has no final response.
    Calling,
    /// As Calling, and we want to end: our CANCEL is out, or waits for a provisional response.
    Cancelling,
    /// The peer's INVITE has no final response.
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
    /// The peer's INVITE's transaction ended without a final response.
    InviteGone,
    /// The first 2xx to our INVITE arrived, with its answer.
    Success,
    /// The first 2xx to our INVITE arrived, without an answer.
    UnusableSuccess,
    /// Our INVITE was refused, or nobody answered it.
    Refused,
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
    /// Cancel our INVITE.
    Cancel,
    /// Send the ACK of the 2xx to our INVITE.
    Acknowledge,
    /// Start the session timer that the 2xx to our INVITE agrees, and tell the user of it.
    StartSession,
    /// Tell the user that the ACK came.
    Confirmed,
    /// Tell the user, who does not know, that the leg is about to end.
    Ending,
    /// Tell the user that the leg is over; this is said once.
    Ended,
}

/// The table: what `input` does in `state`.
pub fn step(state: State, input: Input) -> (State, &'static [Action]) {
    use State::*;
    match (state, input) {
        (Calling, Input::Success) => (Confirmed, &[Acknowledge, StartSession]),
        (Calling, Input::UnusableSuccess) => (Terminating, &[Acknowledge, Ending, Bye]),
        (Calling, Input::Refused) => (Terminated, &[Ended]),
        (Calling, Input::HangUp) => (Cancelling, &[Cancel]),
        // RFC 3261 §15 forbids the callee this; whoever does it wants no call.
        (Calling, Input::PeerBye) => (Cancelling, &[AnswerBye, Cancel]),
        (Calling, Input::Abandon) => (Terminated, &[Ended]),

        // RFC 3261 §9.1: a 2xx that crosses our CANCEL makes a session, which we end.
        (Cancelling, Input::Success | Input::UnusableSuccess) => (Terminating, &[Acknowledge, Bye]),
        (Cancelling, Input::Refused) => (Terminated, &[Ended]),
        (Cancelling, Input::PeerBye) => (Cancelling, &[AnswerBye]),
        (Cancelling, Input::Abandon) => (Terminated, &[Ended]),

        (Early, Input::Accept) => (Answered, &[Accept, StartRepeating]),
        (Early, Input::Reject) => (Terminated, &[RefuseInvite, Ended]),
        (Early, Input::Cancel) => (Terminated, &[RefuseInvite, Ended]),
        // RFC 3261 §15.1.2: a BYE ends an early dialog too; the pending INVITE gets 487.
        (Early, Input::PeerBye) => (Terminated, &[AnswerBye, RefuseInvite, Ended]),
        (Early, Input::Abandon) => (Terminated, &[RefuseInvite, Ended]),
        (Early, Input::InviteGone) => (Terminated, &[Ended]),

        (Answered, Input::Ack) => (Confirmed, &[StopRepeating, Action::Confirmed]),
        (Answered, Input::RepeatDue) => (Answered, &[Repeat]),
        (Answered, Input::AckTimeout) => (Terminating, &[StopRepeating, StopSession, Ending, Bye]),
        (Answered, Input::HangUp) => (AnsweredToEnd, &[StopSession]),
        (Answered, Input::Lost) => (AnsweredToEnd, &[StopSession, Ending]),
        (Answered, Input::Abandon) => (Terminated, &[StopRepeating, StopSession, Ended]),
        (Answered, Input::PeerBye) => (Terminated, &[StopRepeating, StopSession, AnswerBye, Ended]),

        (AnsweredToEnd, Input::Ack) => (Terminating, &[StopRepeating, Bye]),
        (AnsweredToEnd, Input::RepeatDue) => (AnsweredToEnd, &[Repeat]),
        (AnsweredToEnd, Input::AckTimeout) => (Terminating, &[StopRepeating, Bye]),
        (AnsweredToEnd, Input::Abandon) => (Terminated, &[StopRepeating, Ended]),
        (AnsweredToEnd, Input::PeerBye) => (Terminated, &[StopRepeating, AnswerBye, Ended]),

        (Confirmed, Input::HangUp) => (Terminating, &[StopRepeating, StopSession, Bye]),
        (Confirmed, Input::Lost) => (Terminating, &[StopRepeating, StopSession, Ending, Bye]),
        (Confirmed, Input::RepeatDue) => (Confirmed, &[Repeat]),
        (Confirmed, Input::Ack) => (Confirmed, &[StopRepeating]),
        // The ACK of a re-INVITE: RFC 3261 §14.2 treats it as that of the first.
        (Confirmed, Input::AckTimeout) => (Terminating, &[StopRepeating, StopSession, Ending, Bye]),
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
    /// Whether the INVITE has its final response.
    pub fn is_answered(self) -> bool {
        match self {
            State::Calling | State::Cancelling | State::Early => false,
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
            State::Calling | State::Early | State::Answered | State::Confirmed => true,
            State::Cancelling | State::AnsweredToEnd | State::Terminating | State::Terminated => {
                false
            }
        }
    }

    /// Whether there is a session that is not about to end.
    pub fn has_session(self) -> bool {
        matches!(self, State::Answered | State::Confirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    const STATES: [State; 8] = [
        State::Calling,
        State::Cancelling,
        State::Early,
        State::Answered,
        State::AnsweredToEnd,
        State::Confirmed,
        State::Terminating,
        State::Terminated,
    ];
    const INPUTS: [Input; 15] = [
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
        Input::Success,
        Input::UnusableSuccess,
        Input::Refused,
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
    fn rfc3261_13_2_2_4_every_first_2xx_is_acknowledged() {
        for state in [State::Calling, State::Cancelling] {
            for input in [Input::Success, Input::UnusableSuccess] {
                let (next, actions) = step(state, input);
                assert!(actions.contains(&Action::Acknowledge), "{state:?} {input:?}");
                let is_kept = state == State::Calling && input == Input::Success;
                assert_eq!(next == State::Confirmed, is_kept);
                assert_eq!(actions.contains(&Action::Bye), !is_kept);
            }
        }
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
