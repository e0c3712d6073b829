//! SRTP in place (RFC 3711, RFC 7714).
