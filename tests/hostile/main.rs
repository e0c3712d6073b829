//! The real binary among hostile peers: floods, torture, strangers, and a live call beside them.
//!
//! Every attack is bounded in count and time, comes from loopback, and repeats byte for byte: its
//! randomness is seeded. What is held up is always the same: the process lives, other calls keep
//! their 50 packets a second, memory and metrics stay bounded, and nothing is left behind.
#![allow(clippy::unwrap_used, reason = "test code")]

mod agent;
mod bounds;
mod browser;
mod call;
mod connections;
mod dialogs;
mod flood;
mod identity;
mod live;
mod media_ports;
mod metrics;
mod offers;
mod request;
mod sdp;
#[path = "../process/server.rs"]
mod server;
mod torture;
mod web;
mod websocket;

use server::Server;

/// A server that does not log every call: there are many.
fn start(config: &str) -> Server {
    Server::start(&format!("{config}[log]\nlevel = 'warn'\n"))
}
