//! The session keys of one direction, by profile, and the streams they have seen.

use super::{
    SrtpProfile,
    counter_mode::CounterMode,
    gcm::Gcm,
    keys::{Labels, MasterKey},
};
use crate::{
    prefetch::prefetch,
    rtp::{ExtendedSequenceNumber, SequenceTracker},
};

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

    /// Asks for the keys before they are needed.
    pub(super) fn prefetch(&self) {
        match self {
            Self::CounterMode(cipher) => prefetch(&**cipher),
            Self::Gcm(cipher) => prefetch(&**cipher),
        }
    }
}

/// The sources of one direction with the packets seen of each.
///
/// A source is entered only by an authentic packet, so no stranger can fill the table; past its
/// bound the one that was heard longest ago gives way.
#[derive(Default)]
pub(super) struct Streams {
    ssrcs: [u32; STREAMS_MAX],
    /// A place is free while its tracker has seen nothing.
    trackers: [SequenceTracker; STREAMS_MAX],
}

impl Streams {
    pub(super) fn seen(&self, ssrc: u32) -> SequenceTracker {
        self.place(ssrc).map_or_else(SequenceTracker::default, |at| self.trackers[at])
    }

    pub(super) fn mark(&mut self, ssrc: u32, index: ExtendedSequenceNumber) {
        let mut tracker = self.seen(ssrc);
        tracker.mark(index);
        self.enter(ssrc, tracker);
    }

    /// Knows of each source in `newer` only what is there.
    pub(super) fn take_over(&mut self, newer: &Self) {
        for (ssrc, tracker) in newer.ssrcs.iter().zip(&newer.trackers).rev() {
            if tracker.highest().is_some() {
                self.enter(*ssrc, *tracker);
            }
        }
    }

    fn enter(&mut self, ssrc: u32, tracker: SequenceTracker) {
        let at = self.place(ssrc).unwrap_or_else(|| {
            self.ssrcs.rotate_right(1);
            self.trackers.rotate_right(1);
            0
        });
        (self.ssrcs[at], self.trackers[at]) = (ssrc, tracker);
    }

    fn place(&self, ssrc: u32) -> Option<usize> {
        let is_it = |at: &usize| self.ssrcs[*at] == ssrc && self.trackers[*at].highest().is_some();
        (0..STREAMS_MAX).find(is_it)
    }
}

/// Sources remembered of one peer.
const STREAMS_MAX: usize = 4;
