//! SIP transactions (RFC 3261 §17, RFC 6026).
#[cfg(test)]
mod golden;

pub mod action;
pub mod invite_client;
pub mod invite_server;
pub mod non_invite_client;
pub mod non_invite_server;
pub mod timer;
