//! Sound files decoded once, encoded once per codec, and shared by every call that plays them.

use std::time::Duration;

use bytes::Bytes;

use crate::codec::{Codec, FRAME_MS};

/// Sound ready to be sent: one payload for every 20 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The codec of the payloads.
    pub codec: Codec,
    /// The payloads, in the order in which they are sent.
    pub frames: Box<[Bytes]>,
}

impl Track {
    /// How long the track plays.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(u64::from(FRAME_MS) * self.frames.len() as u64)
    }
}
