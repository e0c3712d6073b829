//! The recordings of a leg.

use std::time::Instant;

use super::{command::RECORDINGS_MAX, transmit::Media};
use crate::recording::{RecordingId, Side, Tap};

/// Where copies of a leg's packets go.
#[derive(Debug, Default)]
pub(crate) struct Taps([Option<Tap>; RECORDINGS_MAX]);

impl Taps {
    /// Adds a recording; without room the oldest one ends.
    pub(crate) fn add(&mut self, tap: Tap) {
        let free = self.0.iter().position(Option::is_none).unwrap_or_else(|| {
            self.0.rotate_left(1);
            RECORDINGS_MAX - 1
        });
        self.0[free] = Some(tap);
    }

    /// Ends a recording.
    pub(crate) fn remove(&mut self, id: RecordingId) {
        for entry in &mut self.0 {
            entry.take_if(|tap| tap.id() == id);
        }
        // The oldest one stays the first.
        self.0.sort_by_key(Option::is_none);
    }

    /// Copies what the peer sent.
    pub(crate) fn heard(&self, media: &Media<'_>, now: Instant) {
        self.0.iter().flatten().for_each(|tap| tap.push(Side::Heard, media, now));
    }

    /// Copies what is sent to the peer.
    pub(crate) fn sent(&self, media: &Media<'_>, now: Instant) {
        self.0.iter().flatten().for_each(|tap| tap.push(Side::Sent, media, now));
    }
}
