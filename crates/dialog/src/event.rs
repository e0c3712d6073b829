//! What a leg tells its call, and what it wants done.

use std::net::IpAddr;

use bytes::Bytes;
use transaction::ServerId;
use transport::{Flow, Method, Name};

use crate::body::Body;

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

/// Tells the offers of one peer apart, so that an answer that comes too late for one is not taken
/// for the answer to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferNumber(pub u32);

/// Who ended a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// We.
    Local,
    /// The peer.
    Remote,
}

/// How a leg ended.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The final response to our INVITE, if the peer ended the leg. If we did, there was none: 408
    /// stands for silence, 503 for a peer that could not be reached (RFC 3261 §8.1.3.1), 478 for
    /// one that has no address.
    Refused {
        /// Its status, 300 to 699.
        status: u16,
        /// Its Contacts, best first, if it is a 3xx.
        contacts: Vec<Redirection>,
    },
    /// The 2xx to our INVITE carried no answer (RFC 3261 §13.2.1).
    AnswerMissing,
    /// No ACK came for 64 times T1.
    Unacknowledged,
    /// The session interval ran out (RFC 4028 §10).
    SessionExpired,
    /// A request of ours told that the peer has no such dialog, or got no answer (RFC 5057 §5.1).
    DialogLost {
        /// 408, 481, or 503 if the peer cannot be reached.
        status: u16,
    },
    /// The stream closed and no other came.
    FlowClosed,
    /// The INVITE wanted an answer sooner (RFC 3261 §13.3.1).
    Expired,
    /// The INVITE's transaction ended without a final response.
    Unanswered,
}

impl Cause {
    /// The Reason (RFC 3326) of a BYE that nobody gave one: the leg said it by itself.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match self {
            Cause::Unacknowledged | Cause::SessionExpired => {
                Some("Q.850;cause=102;text=\"RECOVERY_ON_TIMER_EXPIRE\"")
            }
            Cause::AnswerMissing => Some("Q.850;cause=88;text=\"INCOMPATIBLE_DESTINATION\""),
            Cause::HungUp
            | Cause::Cancelled
            | Cause::Rejected { .. }
            | Cause::Refused { .. }
            | Cause::DialogLost { .. }
            | Cause::FlowClosed
            | Cause::Expired
            | Cause::Unanswered => None,
        }
    }
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
    /// A provisional response to our INVITE other than 100, from any fork.
    Progress {
        /// Its status, 101 to 199.
        status: u16,
        /// The answer that it announces; the first one of its fork counts (RFC 3261 §13.2.1).
        answer: Option<Body>,
    },
    /// The first 2xx to our INVITE. The ACK is on its way.
    Accepted {
        /// The answer to our offer. Always there; 2xx without one end the leg.
        answer: Option<Body>,
    },
    /// What became of our offer in a re-INVITE.
    OfferAnswered {
        /// The status of the final response; 408 if none came, 503 if the offer could not be sent,
        /// 491 if an earlier one still waits.
        status: u16,
        /// The answer; without one the session stays as it was.
        answer: Option<Body>,
    },
    /// The peer wants to change the session: answer with `answer_offer` or `reject_offer`.
    Offer {
        /// Which of the peer's offers this is; the answer names it.
        number: OfferNumber,
        /// The request that carries it.
        method: OfferMethod,
        /// The offer; `None` if the peer wants ours, as in a re-INVITE without a body.
        offer: Option<Body>,
        /// The host that the request came from.
        source: IpAddr,
    },
    /// The offer that waited was cancelled; nothing is owed any more.
    OfferCancelled,
    /// The peer's answer to a description of ours: in the ACK to a re-INVITE that we answered with
    /// our offer, or in the 2xx to a re-INVITE by which we refreshed the session.
    Answer {
        /// The answer; without one the session stays as it was.
        answer: Option<Body>,
    },
    /// An INFO came and was answered with 200.
    Info {
        /// What it carried.
        body: Option<Body>,
    },
    /// The leg ends by itself. BYE is on its way; [`Event::Ended`] follows, in half a minute if the
    /// peer is silent.
    Ending {
        /// Why.
        cause: Cause,
    },
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
    /// The INVITE, or a re-INVITE.
    Invite {
        /// Its CSeq number.
        cseq: u32,
    },
    /// The BYE.
    Bye,
    /// The UPDATE that refreshes the session (RFC 4028 §7.4).
    Refresh,
    /// An INFO of the user.
    Info,
    /// The OPTIONS that asks whether the peer is still there (RFC 3261 §12.2.1.2).
    Probe,
    /// The BYE of a fork that answered after another (RFC 3261 §13.2.2.4). Whatever comes of it
    /// says nothing about the leg.
    ForkBye,
}

impl Purpose {
    /// The method of the request.
    pub fn method(self) -> Method {
        match self {
            Purpose::Invite { .. } => Method::Invite,
            Purpose::Bye | Purpose::ForkBye => Method::Bye,
            Purpose::Refresh => Method::Update,
            Purpose::Info => Method::Info,
            Purpose::Probe => Method::Options,
        }
    }
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
    /// Start a client transaction. Its responses go to `handle_response`, its failure, or that it
    /// could not be started, to `handle_failure`, and its end to `handle_client_ended`.
    Request {
        /// What it is for.
        purpose: Purpose,
        /// The whole request.
        bytes: Bytes,
        /// Where it goes.
        flow: Flow,
    },
    /// Cancel the transaction of the INVITE (RFC 3261 §9.1).
    Cancel {
        /// Which one.
        purpose: Purpose,
        /// The value of the Reason header field (RFC 3326).
        reason: Option<String>,
    },
    /// A BYE that cannot be sent, since the peer's connection is gone: to be sent in a transaction of
    /// its own if the peer comes back soon. The leg ends without it.
    Farewell {
        /// The whole BYE.
        bytes: Bytes,
    },
    /// Send the ACK of a 2xx, without a transaction.
    Acknowledge {
        /// The whole ACK.
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

/// One of the Contacts of a redirection (RFC 3261 §8.1.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// Where to call instead.
    pub uri: String,
    /// How much it is preferred, 0 to 1000; 1000 if it does not say (RFC 3261 §20.10).
    pub q_milli: u16,
}
