//! The session keys of one direction, by profile, and the streams they have seen.

use super::{
    SrtpProfile,
    counter_mode::CounterMode,
    gcm::Gcm,
    keys::{Labels, MasterKey},
};
use crate::rtp::{ExtendedSequenceNumber, SequenceTracker};

/// Boxed, so that a leg's own state stays small: a leg that only sends never touches the other
/// direction's keys.
pub(super) enum Cipher {
    CounterMode(Box<CounterMode>),
    Gcm(Box<Gcm>),
}

impl Cipher {
    pub(super) fn new(master: &MasterKey, labels: &Labels) -> Self {
        match master.profile {
            SrtpProfile::AeadAes128Gcm => Self::Gcm(Box::new(Gcm::new(master, labels))),
            SrtpProfile::Aes128CmHmacSha1_80 | SrtpProfile::Aes128CmHmacSha1_32 => {
                Self::CounterMode(Box::new(CounterMode::new(master, labels)))
            }
        }
    }
}

/// The sources of one direction with the packets seen of each.
///
/// A source is entered only by an authentic packet, so no stranger can fill the table; past its
/// bound the one that was heard longest ago gives way.
#[derive(Default)]
pub(super) struct Streams {
    /// A place is free while its tracker has seen nothing.
    streams: [(u32, SequenceTracker); STREAMS_MAX],
}

impl Streams {
    pub(super) fn seen(&self, ssrc: u32) -> SequenceTracker {
        let known = self.streams.iter().find(|(known, _)| *known == ssrc);
        known.map_or_else(SequenceTracker::default, |(_, tracker)| *tracker)
    }

    pub(super) fn mark(&mut self, ssrc: u32, index: ExtendedSequenceNumber) {
        let is_it = |(known, tracker): &&mut (u32, SequenceTracker)| {
            *known == ssrc && tracker.highest().is_some()
        };
        if let Some((_, tracker)) = self.streams.iter_mut().find(is_it) {
            tracker.mark(index);
            return;
        }
        let mut tracker = SequenceTracker::default();
        tracker.mark(index);
        self.streams.rotate_right(1);
        self.streams[0] = (ssrc, tracker);
    }
}

/// Sources remembered of one peer.
const STREAMS_MAX: usize = 4;
