//! SIP messages, and the sockets that carry them.

pub mod net;
