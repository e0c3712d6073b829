//! PCM that was decoded and not played yet, with what shortens and smooths it.

use crate::concealment::likeness;

/// Samples in the order in which they are played, of a bounded number.
#[derive(Debug)]
pub(crate) struct SampleQueue {
    samples: Box<[i16]>,
    len: usize,
}

impl SampleQueue {
    pub(crate) fn new(samples_max: usize) -> Self {
        Self { samples: vec![0; samples_max].into(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where all samples go that there is room for; [`Self::grow`] says how many were written.
    pub(crate) fn all_room(&mut self) -> &mut [i16] {
        self.samples.get_mut(self.len..).unwrap_or_default()
    }

    pub(crate) fn room(&mut self, len: usize) -> &mut [i16] {
        let room = self.all_room();
        let len = len.min(room.len());
        &mut room[..len]
    }

    pub(crate) fn grow(&mut self, len: usize) {
        self.len = (self.len + len).min(self.samples.len());
    }

    pub(crate) fn take(&mut self, pcm: &mut [i16]) {
        let len = pcm.len().min(self.len);
        let (pcm, rest) = pcm.split_at_mut(len);
        pcm.copy_from_slice(&self.samples[..len]);
        rest.fill(0);
        self.samples.copy_within(len..self.len, 0);
        self.len -= len;
    }

    /// Lets the last `len` samples end in silence.
    pub(crate) fn fade_out(&mut self, len: usize) {
        let start = self.len.saturating_sub(len);
        let faded = &mut self.samples[start..self.len];
        for (n, sample) in faded.iter_mut().enumerate() {
            *sample = (i64::from(*sample) * (len - n) as i64 / len as i64) as i16;
        }
    }

    /// How many samples are best cut out behind the first ones, from `least` to `most`: all where it
    /// is silent, else as many as after which the sound repeats itself.
    pub(crate) fn best_cut(&self, least: usize, most: usize, blend: usize) -> usize {
        let is_silent = |sample: &i16| sample.unsigned_abs() < SILENT_PEAK;
        if self.samples[..most + blend].iter().all(is_silent) {
            return most;
        }
        let begin = &self.samples[..blend];
        let likeness = |cut: usize| likeness(begin, &self.samples[cut..cut + blend]);
        (least..=most).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap_or(least)
    }

    /// Cuts samples out at the front, blending over the edges.
    pub(crate) fn cut(&mut self, cut: usize, blend: usize) {
        for n in 0..blend {
            let (before, after) = (i32::from(self.samples[n]), i32::from(self.samples[n + cut]));
            let (part, whole) = (n as i32, blend as i32);
            self.samples[n] = ((before * (whole - part) + after * part) / whole) as i16;
        }
        self.samples.copy_within(blend + cut..self.len, blend);
        self.len -= cut;
    }
}

/// What is quieter than this in all samples may be cut anywhere.
const SILENT_PEAK: u16 = 100;
