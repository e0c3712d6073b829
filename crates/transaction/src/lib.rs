//! SIP transactions: RFC 3261 §17, as corrected by RFC 6026.
//!
//! ```text
//!    messages, now        +------------------+  transmits      to and from the sockets
//!   ------------------->  | TransactionLayer | -------------->
//!                         |  (table, timers) |
//!   respond, request,     +------------------+  events         to and from the dialogs
//!   cancel ------------->    |            |     -------------->
//!                       server side   client side
//!                   invite_server     invite_client      each one pure table:
//!               non_invite_server     non_invite_client  (state, input) -> (state, actions)
//! ```
//!
//! What reaches the user is each request once and each response that matters; retransmissions,
//! the ACK of a failed INVITE, CANCEL and 100 are dealt with here. The crate opens no body, knows
//! no dialog, and holds no socket, clock or task: time is given to it, and every timer is a
//! deadline that it reports. The retransmission of a 2xx to INVITE is not here but in the dialog
//! (RFC 3261 §13.3.1.4).
//!
//! Start reading at [`TransactionLayer`], then the tables.

pub mod action;
mod error;
mod event;
#[cfg(test)]
mod golden;
pub mod invite_client;
pub mod invite_server;
mod key;
mod layer;
mod machine;
pub mod non_invite_client;
pub mod non_invite_server;
mod schedule;
mod table;
pub mod timer;

pub use error::Error;
pub use event::{ClientId, Counters, Event, ServerId, Transmit};
pub use layer::{Config, TransactionLayer};
pub use table::Peak;
pub use timer::{Timer, Timers};
