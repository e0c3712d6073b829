//! Whether somebody speaks, judged by the level of 20 ms against that of the background.

/// Follows the level of the background.
#[derive(Debug)]
pub(crate) struct SilenceMeter {
    background: f64,
    silent_frames: u32,
}

impl SilenceMeter {
    pub(crate) fn new() -> Self {
        Self { background: LEVEL_MIN / 2.0, silent_frames: 0 }
    }

    /// Takes a frame in; how many frames have been silent without a break.
    pub(crate) fn hear(&mut self, frame: &[i16]) -> u32 {
        let energy: f64 = frame.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        let level = (energy / frame.len().max(1) as f64).sqrt();
        let threshold = (2.0 * self.background).clamp(LEVEL_MIN, LEVEL_MAX);
        self.background = level.min(self.background * RISE).max(LEVEL_MIN / 2.0);
        self.silent_frames = if level < threshold { self.silent_frames + 1 } else { 0 };
        self.silent_frames
    }
}

/// What is quieter is silent in any place, as a root mean square: 44 dB below full scale ...
const LEVEL_MIN: f64 = 200.0;
/// ... and what is louder is none in any place: 30 dB.
const LEVEL_MAX: f64 = 1000.0;
/// How fast the background may become louder, in a frame: by 6 dB in a second.
const RISE: f64 = 1.014;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(level: i16) -> Vec<i16> {
        (0..160).map(|n| if n % 2 == 0 { level } else { -level }).collect()
    }

    fn silent_after(meter: &mut SilenceMeter, level: i16, frames: u32) -> u32 {
        (0..frames).map(|_| meter.hear(&frame(level))).last().unwrap_or(0)
    }

    #[test]
    fn speech_is_no_silence_and_what_follows_it_is() {
        let mut meter = SilenceMeter::new();
        assert_eq!(silent_after(&mut meter, 3000, 500), 0);
        assert_eq!(silent_after(&mut meter, 20, 100), 100);
        assert_eq!(silent_after(&mut meter, 3000, 1), 0);
    }

    #[test]
    fn the_noise_of_a_room_is_silence_before_long() {
        let mut meter = SilenceMeter::new();
        assert!(silent_after(&mut meter, 450, 250) > 100);
        assert_eq!(silent_after(&mut meter, 2000, 1), 0);
        assert_eq!(silent_after(&mut meter, 450, 50), 50);
    }
}
