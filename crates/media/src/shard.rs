//! The sans-I/O core of one media shard.

mod command;
mod counters;

pub use crate::ice::IceCredentials;
pub use command::{
    Command, ECHO_DELAY_MAX, LegEvent, LegFailure, LegId, LegKind, LegParameters, LegStatistics,
    LocalMedia, PlayEnd, PlayToken, Repeat, Update,
};
pub use counters::{
    CONNECT_BOUNDS_MS, Discard, HandshakeResult, ShardCounters, StunResult, TICK_LAG_BOUNDS_US,
    codec_index,
};
