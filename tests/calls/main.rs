//! Whole calls on virtual time, over links that lose, repeat and delay.
//!
//! The signalling loop, the call tasks and a media shard are the real ones; the network and the
//! clock are simulated. A failure prints the seed that repeats it: `SIDETONE_SEED=… cargo test`.
#![allow(clippy::unwrap_used, reason = "test code")]

mod agent;
mod bridged;
mod chance;
mod crossing;
mod dialing;
mod link;
mod lossy;
mod media;
mod mock;
mod office;
mod orderly;
mod phone;
mod redirected;
mod simulation;
