//! What a leg tells its call, and what it wants done.

use bytes::Bytes;
use transaction::ServerId;
use transport::{Flow, Message, Name};

/// A body and its type. What it says is not read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The type without parameters, in lower case when it came from a peer.
    pub content_type: String,
    /// The bytes.
    pub bytes: Bytes,
}

impl Body {
    /// A session description.
    pub fn sdp(bytes: impl Into<Bytes>) -> Body {
        Body { content_type: "application/sdp".to_owned(), bytes: bytes.into() }
    }

    /// The body of a message, if it has one.
    pub fn of(message: &Message) -> Option<Body> {
        let bytes = message.body();
        let content_type = message.content_type().unwrap_or_default();
        (!bytes.is_empty()).then_some(Body { content_type, bytes })
    }
}

/// Header fields that the user adds to a response.
pub type Headers = Vec<(Name, String)>;

/// Which request of the peer carries an offer within the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferMethod {
    /// A re-INVITE (RFC 3261 §14).
    Invite,
    /// An UPDATE (RFC 3311).
    Update,
}

/// Who ended a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// We.
    Local,
    /// The peer.
    Remote,
}

/// How a leg ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// BYE.
    HungUp,
    /// CANCEL before the final response.
    Cancelled,
    /// A final response of ours.
    Rejected {
        /// Its status.
        status: u16,
    },
    /// No ACK came for 64 times T1.
    Unacknowledged,
    /// The session interval ran out (RFC 4028 §10).
    SessionExpired,
    /// A request of ours told that the peer has no such dialog, or got no answer (RFC 5057 §5.1).
    DialogLost {
        /// 408 or 481.
        status: u16,
    },
    /// The stream closed and no other came.
    FlowClosed,
    /// The INVITE wanted an answer sooner (RFC 3261 §13.3.1).
    Expired,
    /// The INVITE's transaction ended without a final response.
    Unanswered,
}

/// What the call must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The ACK of our 2xx came.
    Confirmed {
        /// What the ACK carried; the answer if our 2xx carried the offer. If that was so and there
        /// is none, the call cannot go on (RFC 3261 §13.2.1).
        answer: Option<Body>,
    },
    /// The peer wants to change the session: answer with `answer_offer` or `reject_offer`.
    Offer {
        /// The request that carries it.
        method: OfferMethod,
        /// The offer; `None` if the peer wants ours, as in a re-INVITE without a body.
        offer: Option<Body>,
    },
    /// The offer that waited was cancelled; nothing is owed any more.
    OfferCancelled,
    /// The ACK to a re-INVITE that we answered with our offer.
    Answer {
        /// The answer; without one the session stays as it was.
        answer: Option<Body>,
    },
    /// An INFO came and was answered with 200.
    Info {
        /// What it carried.
        body: Option<Body>,
    },
    /// No ACK came for 64 times T1. BYE is on its way; [`Event::Ended`] follows.
    MissingAck,
    /// The leg is over. The last event, and there is exactly one.
    Ended {
        /// Who ended it.
        by: Party,
        /// How.
        cause: Cause,
        /// The Reason header field of the peer's BYE or CANCEL (RFC 3326).
        reason: Option<String>,
    },
}

/// Which request of ours a response or failure belongs to. Hand it back with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The BYE.
    Bye,
    /// The UPDATE that refreshes the session (RFC 4028 §7.4).
    Refresh,
}

/// What the leg wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Give this response to the transaction layer.
    Respond {
        /// The transaction.
        id: ServerId,
        /// The status.
        status: u16,
        /// The whole response.
        bytes: Bytes,
    },
    /// Start a client transaction. Its final response goes to `handle_response`, its failure, or
    /// that it could not be started, to `handle_failure`.
    Request {
        /// What it is for.
        purpose: Purpose,
        /// The whole request.
        bytes: Bytes,
        /// Where it goes.
        flow: Flow,
    },
}

/// Why a request of ours got no final response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody answered.
    Timeout,
    /// The flow is gone, or the transaction could not be started.
    Transport,
}
