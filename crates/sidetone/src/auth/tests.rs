//! The authenticator against the vectors of the RFCs and against hostile headers.
#![allow(clippy::unwrap_used, reason = "test code")]
