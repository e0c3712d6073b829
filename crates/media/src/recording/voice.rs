//! One side of a recording as an even flow of PCM at the recording's rate.

use std::time::Instant;

use crate::{
    codec::{Codec, FRAME_MS},
    playout::Playout,
    shard::{Media, MediaKind},
};

/// A side, whatever codecs it has in its time.
#[derive(Debug)]
pub(super) struct Voice {
    rate_hz: u32,
    playout: Option<(Codec, Playout)>,
    pcm: Box<[i16]>,
    /// The last sample of the frame before, between which and the next one lies.
    last: i16,
}

impl Voice {
    pub(super) fn new(rate_hz: u32) -> Self {
        let pcm = vec![0; (rate_hz / 1000 * FRAME_MS) as usize].into();
        Self { rate_hz, playout: None, pcm, last: 0 }
    }

    pub(super) fn push(&mut self, media: &Media<'_>, at: Instant) {
        if let MediaKind::Audio(codec) = media.kind
            && self.playout.as_ref().is_none_or(|(now, _)| *now != codec)
        {
            let rate_hz = super::rate_hz(codec).min(self.rate_hz);
            // If the codec library fails, the side is silent.
            self.playout = Playout::new(codec, rate_hz, at).ok().map(|playout| (codec, playout));
        }
        if let Some((_, playout)) = &mut self.playout {
            // What is of no use was counted where it came in.
            let _ = playout.push(media, at);
        }
    }

    /// The next 20 ms.
    pub(super) fn frame(&mut self, turn: Instant) -> &[i16] {
        let Some((codec, playout)) = &mut self.playout else {
            self.pcm.fill(0);
            return &self.pcm;
        };
        if super::rate_hz(*codec) < self.rate_hz {
            let half = self.pcm.len() / 2;
            playout.frame(self.pcm.get_mut(..half).unwrap_or_default(), turn);
            self.double();
        } else {
            playout.frame(&mut self.pcm, turn);
        }
        &self.pcm
    }

    /// Makes twice as many samples of the first half of the frame.
    fn double(&mut self) {
        let half = self.pcm.len() / 2;
        let newest = self.pcm.get(half.saturating_sub(1)).copied().unwrap_or(0);
        for at in (0..half).rev() {
            let sample = self.pcm[at];
            let before = if at == 0 { self.last } else { self.pcm[at - 1] };
            self.pcm[2 * at + 1] = sample;
            self.pcm[2 * at] = ((i32::from(before) + i32::from(sample)) / 2) as i16;
        }
        self.last = newest;
    }
}
