//! A shard against scripted peers on virtual time: nothing here opens a socket or sleeps.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "test code")]

#[path = "../common/mod.rs"]
mod common;

mod bridge;
mod dtmf;
mod echo;
mod held;
mod hostile;
mod pauses;
mod plain;
mod random;
mod recording;
mod sdes;
mod tones;
mod transcode;
mod webrtc;
