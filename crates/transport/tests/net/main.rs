//! The sockets of the network, by real clients on loopback.
#![allow(clippy::unwrap_used, reason = "test code")]

mod bounds;
mod domains;
mod outbound;
mod stream;
mod support;
mod tls;
mod udp;
mod web;
mod websocket;
