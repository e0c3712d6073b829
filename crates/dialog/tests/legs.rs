//! Legs as their call sees them, on virtual time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "test code")]

mod legs {
    mod answering;
    mod calling;
    mod calling_properties;
    mod ending;
    mod lossy;
    mod offering;
    mod offers;
    mod properties;
    mod requests;
    mod session;
    mod support;
}
