//! SIP dialogs and the INVITE usage: RFC 3261 §12 to §15, with RFC 3264, 3311, 4028 and 6337.
//!
//! ```text
//!    requests, ACK, CANCEL   +-----------------------------+  actions   respond, request
//!   ---------------------->  |             Leg             | ---------> to the transaction layer
//!    responses, failures     |  state        one table     |
//!                            |  offer_answer one table     |
//!    commands of the call    |  Dialog       tags, routes  |  events
//!   ---------------------->  |  session timer, repeated 2xx| ---------> to the call
//!                            +-----------------------------+
//! ```
//!
//! A [`Leg`] is one side of a call as seen from us; it knows *when* an offer or an answer is due and
//! never what it says. Sans-I/O: time is given, deadlines are reported, messages come indexed and
//! leave as bytes. The table of all legs, by [`DialogId`], belongs to whoever runs the loop. Not
//! here: transactions, sockets, SDP.
//!
//! Start reading at [`Leg`], then [`state`].

mod body;
mod dialog;
mod error;
mod event;
#[cfg(test)]
mod golden;
mod leg;
pub mod offer_answer;
pub mod outside;
mod reject;
pub mod session_timer;
mod settings;
pub mod state;

pub use body::Body;
pub use dialog::{Dialog, DialogId};
pub use error::Error;
pub use event::{
    Action, Cause, Event, Failure, Headers, OfferMethod, OfferNumber, Party, Purpose, Redirection,
};
pub use leg::{COMPLETED_ELSEWHERE, Invite, Leg, Refused, SUPPORTED};
pub use reject::{ALLOW, Refusal};
pub use settings::Settings;
