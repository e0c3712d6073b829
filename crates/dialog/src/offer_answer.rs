//! Who owes whom an answer: RFC 3264 §4, RFC 3311 §5.2, RFC 6337 §2 and §3.
//!
//! Bodies are opaque here. An exchange is bound to the request that began it; its outcome leaves
//! the agreed session alone unless it ends in an answer.

/// Where the exchange of offers and answers stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferAnswer {
    /// Nobody owes anything.
    Stable,
    /// The INVITE carried an offer: we owe the answer in its 2xx.
    AnswerDueInInvite,
    /// An UPDATE carried an offer: we owe the answer in its 2xx.
    AnswerDueInUpdate,
    /// The INVITE carried nothing: we owe the offer in its 2xx.
    OfferDueInInvite,
    /// Our offer is out in a 2xx: the peer owes the answer in the ACK.
    AnswerDueInAck,
    /// Our offer is out in a request of ours: the peer owes the answer in its 2xx.
    AnswerDueInResponse,
}

/// What can happen to the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// An INVITE with a body arrived.
    InviteWithOffer,
    /// An INVITE without a body arrived.
    InviteWithoutOffer,
    /// An UPDATE with a body arrived.
    UpdateWithOffer,
    /// We accept the request that waits for us.
    Accept,
    /// We refuse the request that waits for us, or it is cancelled.
    Refuse,
    /// The ACK arrived.
    Ack,
    /// We send a request with an offer.
    SendOffer,
    /// Our request with an offer got its final response.
    OfferDone,
}

/// Why an input cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Ours is out: 491 for the peer (RFC 3261 §14.2, RFC 3311 §5.2).
    OurOfferIsOut,
    /// The peer's is waiting: 500 with Retry-After for another (RFC 3261 §14.2, RFC 3311 §5.2).
    PeersOfferWaits,
    /// The user answers what nobody asked.
    NothingWaits,
}

/// The table: what `input` does in `state`.
pub fn step(state: OfferAnswer, input: Input) -> Result<OfferAnswer, Conflict> {
    use OfferAnswer::*;
    match (state, input) {
        (Stable, Input::InviteWithOffer) => Ok(AnswerDueInInvite),
        (Stable, Input::InviteWithoutOffer) => Ok(OfferDueInInvite),
        (Stable, Input::UpdateWithOffer) => Ok(AnswerDueInUpdate),
        (Stable, Input::SendOffer) => Ok(AnswerDueInResponse),
        (Stable, Input::Ack) => Ok(Stable),
        (Stable, Input::Accept | Input::Refuse | Input::OfferDone) => Err(Conflict::NothingWaits),

        (AnswerDueInInvite | AnswerDueInUpdate, Input::Accept | Input::Refuse) => Ok(Stable),
        (OfferDueInInvite, Input::Accept) => Ok(AnswerDueInAck),
        (OfferDueInInvite, Input::Refuse) => Ok(Stable),
        (AnswerDueInAck, Input::Ack) => Ok(Stable),
        (AnswerDueInResponse, Input::OfferDone) => Ok(Stable),

        // An ACK says nothing about an exchange that is not its own.
        (_, Input::Ack) => Ok(state),
        (_, Input::Accept | Input::Refuse | Input::OfferDone) => Err(Conflict::NothingWaits),
        (
            AnswerDueInInvite | AnswerDueInUpdate | OfferDueInInvite,
            Input::InviteWithOffer
            | Input::InviteWithoutOffer
            | Input::UpdateWithOffer
            | Input::SendOffer,
        ) => Err(Conflict::PeersOfferWaits),
        (
            AnswerDueInAck | AnswerDueInResponse,
            Input::InviteWithOffer
            | Input::InviteWithoutOffer
            | Input::UpdateWithOffer
            | Input::SendOffer,
        ) => Err(Conflict::OurOfferIsOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn rfc3264_4_table_of_offer_and_answer() {
        use OfferAnswer::*;
        let states = [
            Stable,
            AnswerDueInInvite,
            AnswerDueInUpdate,
            OfferDueInInvite,
            AnswerDueInAck,
            AnswerDueInResponse,
        ];
        let inputs = [
            Input::InviteWithOffer,
            Input::InviteWithoutOffer,
            Input::UpdateWithOffer,
            Input::Accept,
            Input::Refuse,
            Input::Ack,
            Input::SendOffer,
            Input::OfferDone,
        ];
        golden::check("offer_answer", &states, &inputs, step);
    }

    #[test]
    fn rfc6337_2_an_offerless_invite_is_answered_in_its_ack() {
        let waiting = step(OfferAnswer::Stable, Input::InviteWithoutOffer).unwrap();
        let offered = step(waiting, Input::Accept).unwrap();
        assert_eq!(offered, OfferAnswer::AnswerDueInAck);
        assert_eq!(step(offered, Input::InviteWithOffer), Err(Conflict::OurOfferIsOut));
        assert_eq!(step(offered, Input::Ack), Ok(OfferAnswer::Stable));
    }
}
