//! The sans-I/O core of one media shard: legs, packets in, packets out, events.
//!
//! ```text
//!              handle_packet ─► receive ─► stun, dtls, srtp ─► echo, bridge ─► send ─► Transmits
//!   handle_command ─► control ─► play ─► slots of 1 ms ─────────────────────────┘
//!              handle_timeout ─► slots, deadlines            poll_event, poll_timeout
//! ```
//!
//! A shard owns its legs and shares nothing: what another thread must know it counts
//! ([`ShardCounters`]) or reports ([`LegEvent`]). No packet path allocates, locks or logs.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start from some instant"))]

mod ahead;
mod bridge;
mod command;
mod control;
mod core;
mod counters;
mod delay;
mod digits;
mod forwarded;
mod handshake;
mod leg;
mod listener;
mod meaning;
mod outbound;
mod pen;
mod receive;
mod schedule;
mod sdes;
mod send;
mod source;
mod taps;
mod transmit;

pub use self::core::{OpenLeg, Shard, ShardConfig};
pub use crate::ice::IceCredentials;
pub use command::{
    Command, ECHO_DELAY_MAX, LegEvent, LegFailure, LegId, LegKind, LegParameters, LegStatistics,
    LocalMedia, PlayEnd, PlayToken, RECORDINGS_MAX, Repeat, Update,
};
pub(crate) use counters::LiveCounters;
pub use counters::{
    Discard, HandshakeResult, MEDIA_READY_BOUNDS_MS, MediaStage, ShardCounters, StunResult,
    TICK_LAG_BOUNDS_US, codec_index,
};
pub use source::Earlier;
pub use transmit::{
    LegKey, Media, MediaKind, PACKET_BYTES_MAX, PacketBuffer, Path, RECEIVE_BYTES_MAX, StreamId,
    Transmits,
};
