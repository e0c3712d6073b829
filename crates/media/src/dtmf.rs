//! DTMF events (RFC 4733).
