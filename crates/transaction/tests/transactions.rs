//! The transaction layer as its user sees it, on virtual time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "test code")]

mod transactions {
    mod client;
    mod lossy;
    mod properties;
    mod server;
    mod support;
}
