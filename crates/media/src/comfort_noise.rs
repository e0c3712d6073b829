//! Noise for the pauses that a peer does not send (RFC 3389): silence would sound like a dead line.

use std::time::Duration;

use crate::codec::{Codec, Encoder, FRAME_MS};

/// Makes noise as loud as the peer last said that its own is.
#[derive(Debug)]
pub(crate) struct ComfortNoise {
    /// The largest sample; 0: silence.
    peak: i32,
    state: u32,
}

impl ComfortNoise {
    /// Silence, until the peer says more.
    pub(crate) fn new() -> Self {
        Self { peak: 0, state: 1 }
    }

    /// From now on the noise has a level, in -dBov as in the first byte of a payload (RFC 3389 §3.1);
    /// how it is coloured is not looked at.
    pub(crate) fn begin(&mut self, level: u8) {
        let level = f64::from((level & 0x7f).max(LEVEL_MIN));
        // The square mean of evenly spread samples is a third of the square of their peak.
        let peak = f64::from(i16::MAX) * 10_f64.powf(-level / 20.0) * 3_f64.sqrt();
        self.peak = peak as i32;
    }

    /// Whether there is anything but silence.
    pub(crate) fn is_on(&self) -> bool {
        self.peak > 0
    }

    /// From now on there is silence.
    pub(crate) fn end(&mut self) {
        self.peak = 0;
    }

    /// Writes the next samples.
    pub(crate) fn fill(&mut self, pcm: &mut [i16]) {
        if self.peak == 0 {
            return pcm.fill(0);
        }
        let wide = 2 * self.peak + 1;
        for sample in pcm {
            // Marsaglia's xorshift: cheap, and nobody hears its period of hours.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 17;
            self.state ^= self.state << 5;
            let share = (i64::from(self.state >> 16) * i64::from(wide)) >> 16;
            *sample = (share as i32 - self.peak) as i16;
        }
    }
}

/// A pause in the audio of a peer that described it, made audible to who did not agree on such
/// descriptions.
#[derive(Debug)]
pub(crate) struct Pause {
    noise: ComfortNoise,
    frames_left: u32,
}

impl Pause {
    /// A pause without a description yet.
    pub(crate) fn new() -> Self {
        Self { noise: ComfortNoise::new(), frames_left: 0 }
    }

    /// Takes what `payload` says of the pause (RFC 3389 §3); the noise goes on at that level.
    pub(crate) fn describe(&mut self, payload: &[u8]) {
        if let Some(level) = payload.first() {
            self.noise.begin(*level);
        }
        self.frames_left = DESCRIBED_FOR_MAX.as_millis() as u32 / FRAME_MS;
    }

    /// Whether a pause can be made audible in a codec.
    pub(crate) fn fits(codec: Codec) -> bool {
        stateless(codec).is_some()
    }

    /// Whether there is a frame to come.
    pub(crate) fn lasts(&self) -> bool {
        self.frames_left > 0
    }

    /// Lets a frame's time pass without sending it.
    pub(crate) fn pass_over_frame(&mut self) {
        self.frames_left = self.frames_left.saturating_sub(1);
    }

    /// Writes the next frame of G.711 into `payload` and returns its length; `None` for other
    /// codecs.
    pub(crate) fn frame(&mut self, codec: Codec, payload: &mut [u8]) -> Option<usize> {
        self.pass_over_frame();
        let mut pcm = [0; FRAME_SAMPLES];
        self.noise.fill(&mut pcm);
        stateless(codec)?.encode(&pcm, payload).ok()
    }
}

fn stateless(codec: Codec) -> Option<Encoder> {
    match codec {
        Codec::Pcmu => Some(Encoder::Pcmu),
        Codec::Pcma => Some(Encoder::Pcma),
        Codec::Opus | Codec::G722 => None,
    }
}

/// A description holds until the next one, which a peer sends only when its noise changes; but not
/// for ever.
pub(crate) const DESCRIBED_FOR_MAX: Duration = Duration::from_secs(30);
/// Of G.711.
const FRAME_SAMPLES: usize = 8 * FRAME_MS as usize;
/// Louder than this is no background: -30 dBov.
const LEVEL_MIN: u8 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn level_of(pcm: &[i16]) -> f64 {
        let squares: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        20.0 * ((squares / pcm.len() as f64).sqrt() / f64::from(i16::MAX)).log10()
    }

    #[test]
    fn rfc3389_3_1_the_noise_has_the_level_that_is_said() {
        let mut noise = ComfortNoise::new();
        let mut pcm = [1; 8_000];
        for (said, is) in [(40, -40.0), (60, -60.0), (0x80 | 50, -50.0), (0, -30.0)] {
            noise.begin(said);
            noise.fill(&mut pcm);
            assert!((level_of(&pcm) - is).abs() < 0.5, "{said}: {}", level_of(&pcm));
            let mean = pcm.iter().map(|sample| i64::from(*sample)).sum::<i64>() / 8_000;
            assert!(mean.abs() < 20, "{mean}");
        }
        noise.begin(127);
        noise.fill(&mut pcm);
        assert!(pcm.iter().all(|sample| sample.abs() <= 1));
        noise.begin(40);
        noise.end();
        noise.fill(&mut pcm);
        assert_eq!(pcm, [0; 8_000]);
    }
}
