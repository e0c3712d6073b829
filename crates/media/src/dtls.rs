//! DTLS handshakes for SRTP keys (RFC 5764).

mod certificate;

pub use certificate::{Certificate, CertificateError};
