//! DTLS handshakes for SRTP keys (RFC 5764), on the endpoint of `rtc::dtls`.
//!
//! ```text
//!   datagrams of validated addresses ──► Association ──► datagrams to send
//!                                             │  ClientHello ──► which SRTP profile
//!                                             ▼
//!                 certificate compared with the signalled fingerprint, then keys
//! ```
//!
//! Only DTLS 1.2: browsers speak it, and `rtc::dtls` has no other.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start from some instant"))]

mod association;
mod certificate;
mod hello;

pub use association::{Association, AssociationError, AssociationEvent, Configs};
pub use certificate::{Certificate, CertificateError};
pub use hello::is_client_hello;
pub(crate) use hello::is_record;
