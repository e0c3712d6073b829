//! Measures a SIP server from outside: calls, their media, and what they cost it.
//!
//! ```text
//!   uac (one call, sans-I/O)          stream (loss, order, pacing of one RTP stream)
//!      ^            ^                      ^            ^
//!   plain_calls   webrtc_calls  ---------- counts ---- called (a phone that registers and answers)
//!   setups        (webrtc crate, SIP over WebSocket)      |
//!   (one thread)     |                                 registrant (one REGISTER, sans-I/O)
//!      ^             |                                    |
//!      |             |                                 registrations (many users)
//!      ^             ^                                    ^
//!   scenario ---> server (the real binary as a child: CPU, memory)   baseline (bare sendto)
//!      |                                                            yardstick (the same meanwhile)
//!   windows (medians of several)
//! ```
//!
//! Figures that depend on the machine are given as multiples of a bare `sendto`: what a packet costs
//! by the one that a [`yardstick`] measures in the same seconds; that, too, and all else by the
//! [`baseline`] before the scenario, when nothing else runs. This crate is not a client library: it
//! knows the one kind of call that it places, follows no Route, and checks RTP with code of its own
//! so that it does not trust what it measures.
//!
//! Start reading at [`scenario`], then [`plain_calls::PlainLoad`].

pub mod allocator;
pub mod baseline;
pub mod bridged;
pub mod called;
mod description;
pub mod digest;
pub mod error;
pub mod exchange;
pub mod forwarder;
pub mod micro;
pub mod net;
pub mod plain_calls;
pub mod registrant;
pub mod registrations;
pub mod report;
mod resend;
pub mod scenario;
pub mod server;
pub mod setups;
mod sip_socket;
pub mod speaker;
pub mod stream;
mod ticks;
pub mod uac;
pub mod webrtc_calls;
pub mod windows;
mod worker;
pub mod yardstick;

pub use error::Error;
