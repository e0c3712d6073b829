//! What the tables ask the layer to do.

use crate::timer::Timer;

/// An action of a client machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAction {
    /// Transmit the request, for the first time or again.
    Send,
    /// Build and transmit the ACK for the final response that has just arrived (RFC 3261 §17.1.1.3).
    Ack,
    /// Transmit that ACK again.
    ResendAck,
    /// Start a CANCEL in a transaction of its own (RFC 3261 §9.1).
    Cancel,
    /// Start the timer; one started before with the same purpose is replaced.
    Start(Timer),
    /// Stop the timer.
    Stop(Timer),
    /// Repeat the request at intervals of T2 from now on (RFC 3261 §17.1.2.2).
    SlowDown,
    /// Pass the response to the user.
    Response,
    /// Tell the user that no final response came.
    Timeout,
    /// Tell the user that the transport failed.
    TransportFailed,
}

/// An action of a server machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAction {
    /// Pass the request to the user.
    Request,
    /// Transmit the user's response and keep it for retransmissions.
    Send,
    /// Transmit the user's 2xx without keeping it: its retransmission belongs to the dialog.
    Forward,
    /// Transmit the last response again, if there was one: its request came again.
    Resend,
    /// Transmit the last response again unasked, unless that would send far more than has come.
    Repeat,
    /// Make and transmit 100 (Trying).
    Trying,
    /// Pass the ACK of a 2xx to the user.
    Ack,
    /// Start the timer; one started before with the same purpose is replaced.
    Start(Timer),
    /// Stop the timer.
    Stop(Timer),
    /// Tell the user that it (or, after a final response, the ACK) came too late.
    Timeout,
}
