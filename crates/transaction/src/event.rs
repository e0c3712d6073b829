//! What the layer tells its user, and what it hands to the sockets.

use bytes::Bytes;
use transport::{Flow, Message};

/// Names a client transaction. Never reused for another one within a run of 2^32 of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Names a server transaction. Never reused for another one within a run of 2^32 of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Bytes to be sent on a flow, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where they go.
    pub flow: Flow,
    /// One whole message.
    pub bytes: Bytes,
}

/// What the user of the layer must know.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request that is new. The user owes `id` a final response.
    Request {
        /// The transaction to respond in.
        id: ServerId,
        /// The request.
        message: Message,
        /// The flow it came on.
        flow: Flow,
    },
    /// The ACK of a 2xx, or one that belongs to nothing.
    Ack {
        /// The ACK.
        message: Message,
        /// The flow it came on.
        flow: Flow,
    },
    /// An INVITE was cancelled. The CANCEL itself has been answered with 200; the user owes the
    /// INVITE a 487 if it has not given a final response (RFC 3261 §9.2).
    Cancel {
        /// The INVITE's transaction.
        invite: ServerId,
        /// The CANCEL, whose Reason header may say why.
        message: Message,
    },
    /// A response to one of our requests: each provisional, the final one, and every 2xx of an INVITE.
    Response {
        /// The transaction of the request.
        id: ClientId,
        /// The response.
        message: Message,
        /// The flow it came on.
        flow: Flow,
    },
    /// A 2xx to an INVITE of ours whose transaction is gone, to be acknowledged again (RFC 3261
    /// §13.2.2.4).
    StraySuccess {
        /// The response.
        message: Message,
        /// The flow it came on.
        flow: Flow,
    },
    /// No final response came within 64 times T1; it counts as 408 (RFC 3261 §8.1.3.1).
    Timeout {
        /// The transaction of the request.
        id: ClientId,
    },
    /// The flow of one of our requests is gone; it counts as 503 (RFC 3261 §8.1.3.1).
    TransportFailed {
        /// The transaction of the request.
        id: ClientId,
    },
    /// No ACK came for a final response other than 2xx, or the user has not responded in time.
    Unanswered {
        /// The transaction that ends.
        id: ServerId,
    },
    /// A client transaction is gone; its name means nothing any more.
    ClientTerminated {
        /// The transaction.
        id: ClientId,
    },
    /// A server transaction is gone; its name means nothing any more.
    ServerTerminated {
        /// The transaction.
        id: ServerId,
    },
    /// A new request at the bound. Nothing was kept of it; the user answers 503 with Retry-After,
    /// without a transaction.
    Overflow {
        /// The request.
        message: Message,
        /// The flow it came on.
        flow: Flow,
    },
}

/// Counts since the layer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that arrived again.
    pub request_retransmissions_received: u64,
    /// Requests of ours sent again.
    pub request_retransmissions_sent: u64,
    /// Responses sent again, by timer or because the request arrived again.
    pub response_retransmissions_sent: u64,
    /// Requests refused with 482 because they came by two ways (RFC 3261 §8.2.2.2).
    pub merged_requests: u64,
    /// CANCELs that named no INVITE.
    pub cancels_unmatched: u64,
    /// Responses that belonged to no transaction.
    pub responses_unmatched: u64,
    /// Messages without what matching needs (Via, CSeq, Call-ID), dropped.
    pub messages_unmatchable: u64,
    /// Requests refused at the bound.
    pub overflows: u64,
}
