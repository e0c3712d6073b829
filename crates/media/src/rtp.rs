//! RTP: packets, sequence numbers, timestamps and what a receiver counts (RFC 3550).

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start from some instant"))]

mod packet;
mod sequence;
mod statistics;
mod timestamp;

pub use packet::{HEADER_BYTES, Header, Malformed, Packet, header_len, is_rtcp};
pub use sequence::{ExtendedSequenceNumber, SequenceNumber, SequenceTracker};
pub use statistics::{Arrival, ReceiveStatistics, ReportBlock};
pub use timestamp::RtpTimestamp;

/// Who sends a stream: the synchronization source identifier (RFC 3550 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ssrc(pub u32);

/// What a payload holds, as agreed on in the session description; 0 to 127 (RFC 3551 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadType(pub u8);
