//! Loss concealment for codecs that have none of their own: the last pitch period is said again,
//! more and more quietly.

/// What was heard last, and the wave that stands in for what is missing.
#[derive(Debug)]
pub(crate) struct WaveformConcealment {
    /// The last [`HISTORY_MS`] that were heard, oldest first.
    history: Box<[i16]>,
    /// Samples per millisecond.
    per_ms: usize,
    /// The pitch period in samples, while something is concealed.
    period: usize,
    /// Samples that stood in since the last that was heard.
    concealed: usize,
}

impl WaveformConcealment {
    pub(crate) fn new(pcm_rate_hz: u32) -> Self {
        let per_ms = pcm_rate_hz as usize / 1000;
        Self { history: vec![0; HISTORY_MS * per_ms].into(), per_ms, period: 0, concealed: 0 }
    }

    /// Takes note of what was heard; its beginning is blended with what stood in before it.
    pub(crate) fn heard(&mut self, pcm: &mut [i16]) {
        if self.concealed > 0 {
            let blended = (BLEND_MS * self.per_ms).min(pcm.len());
            for (n, sample) in pcm.iter_mut().take(blended).enumerate() {
                let before = i32::from(self.next_sample());
                let (part, whole) = (n as i32, blended as i32);
                *sample = ((before * (whole - part) + i32::from(*sample) * part) / whole) as i16;
            }
            self.concealed = 0;
        }
        self.remember(pcm);
    }

    /// Fills `pcm` with what stands in.
    pub(crate) fn conceal(&mut self, pcm: &mut [i16]) {
        if self.concealed == 0 {
            self.period = self.pitch_period();
        }
        pcm.fill_with(|| self.next_sample());
    }

    fn next_sample(&mut self) -> i16 {
        let silent = FADED_MS * self.per_ms;
        let steady = STEADY_MS * self.per_ms;
        let cycle = self.history.len() - self.period;
        let at = cycle + self.concealed % self.period.max(1);
        let sample = self.history.get(at).copied().unwrap_or(0);
        let gain = silent.saturating_sub(self.concealed.max(steady)) as i64;
        self.concealed += 1;
        (i64::from(sample) * gain / (silent - steady) as i64) as i16
    }

    fn remember(&mut self, pcm: &[i16]) {
        let kept = self.history.len();
        if pcm.len() >= kept {
            self.history.copy_from_slice(&pcm[pcm.len() - kept..]);
        } else {
            self.history.copy_within(pcm.len().., 0);
            self.history[kept - pcm.len()..].copy_from_slice(pcm);
        }
    }

    /// The shift at which the history is most like itself.
    fn pitch_period(&self) -> usize {
        let len = self.history.len();
        let template = len - TEMPLATE_MS * self.per_ms;
        let (shortest, longest) = (PERIOD_MIN_MS * self.per_ms, PERIOD_MAX_MS * self.per_ms);
        let likeness = |shift: usize| {
            likeness(&self.history[template..], &self.history[template - shift..len - shift])
        };
        let shifts = shortest..=longest.min(template);
        shifts.max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap_or(longest)
    }
}

/// How alike two pieces of sound of one length are; 1 at the most.
pub(crate) fn likeness(a: &[i16], b: &[i16]) -> f32 {
    let (mut product, mut energy_a, mut energy_b) = (0.0_f32, 1.0_f32, 1.0_f32);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f32::from(*a), f32::from(*b));
        product += a * b;
        energy_a += a * a;
        energy_b += b * b;
    }
    product / (energy_a * energy_b).sqrt()
}

const HISTORY_MS: usize = 30;
const TEMPLATE_MS: usize = 10;
/// Voices have from 66 to 400 periods a second.
const PERIOD_MIN_MS: usize = 3;
const PERIOD_MAX_MS: usize = 15;
const BLEND_MS: usize = 4;
/// What stands in is as loud as what was heard until then, ...
const STEADY_MS: usize = 10;
/// ... and silent from then on.
const FADED_MS: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(from: usize, len: usize) -> Vec<i16> {
        let sample = |n: usize| (8000.0 * (n as f64 * 0.55).sin()) as i16;
        (from..from + len).map(sample).collect()
    }

    #[test]
    fn a_lost_frame_of_a_tone_goes_on_as_the_tone() {
        for rate_hz in [8_000, 16_000] {
            let mut concealment = WaveformConcealment::new(rate_hz);
            concealment.heard(&mut tone(0, 640));
            let mut stands_in = vec![0; 80];
            concealment.conceal(&mut stands_in);
            let expected = tone(640, 80);
            let error: f64 = stands_in
                .iter()
                .zip(&expected)
                .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
                .sum();
            let energy: f64 = expected.iter().map(|b| f64::from(*b).powi(2)).sum();
            assert!(error < energy / 10.0, "{rate_hz} Hz: {}", error / energy);
        }
    }

    #[test]
    fn a_long_loss_fades_to_silence_and_what_follows_is_blended_in() {
        let mut concealment = WaveformConcealment::new(8_000);
        concealment.heard(&mut tone(0, 320));
        let mut stands_in = [0; 800];
        concealment.conceal(&mut stands_in);
        let peak = |pcm: &[i16]| pcm.iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!(peak(&stands_in[..160]) > 6_000);
        assert!(peak(&stands_in[400..480]) < 4_000);
        assert_eq!(peak(&stands_in[FADED_MS * 8..]), 0);
        let mut next = [10_000; 160];
        concealment.heard(&mut next);
        assert!(next[0] == 0 && next[16] > 4_000 && next[32..] == [10_000; 128]);
        let mut after = [5; 160];
        concealment.heard(&mut after);
        assert_eq!(after, [5; 160]);
    }
}
