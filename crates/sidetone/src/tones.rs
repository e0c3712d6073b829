//! From the dialplan's tone scripts to the media plane's.

use std::time::Duration;

use media::prompt::Track;
use media::shard::Repeat;
use media::source::tone::{ToneScript, ToneStep};

/// The same tones for the media plane.
pub fn script(script: &dialplan::ToneScript) -> ToneScript {
    let steps = script
        .tones()
        .iter()
        .map(|tone| ToneStep {
            on_ms: tone.on_ms,
            off_ms: tone.off_ms,
            frequencies_hz: tone.frequencies_hz.clone(),
            level_dbm0: tone.level_db,
        })
        .collect();
    ToneScript { steps }
}

/// What a caller hears while others ring, where it hears us: the ringback tone of North America,
/// two seconds of 440 and 480 Hz in every six.
pub fn ringback() -> ToneScript {
    let frequencies_hz = vec![440.0, 480.0];
    let step = ToneStep { on_ms: 2_000, off_ms: 4_000, frequencies_hz, level_dbm0: -19.0 };
    ToneScript { steps: vec![step] }
}

/// How long the whole script sounds; `None`: until the call ends.
pub fn duration(script: &dialplan::ToneScript) -> Option<Duration> {
    match script.repeat() {
        dialplan::Repeat::Forever => None,
        dialplan::Repeat::Times(times) => {
            let round_ms: u64 = script.tones().iter().map(dialplan::Tone::duration_ms).sum();
            Some(Duration::from_millis(round_ms.saturating_mul(u64::from(times))))
        }
    }
}

/// How often a track is played to last for `duration`: a track of tones holds as many rounds, or
/// periods, as loop without a joint.
pub fn repeats(track: &Track, duration: Option<Duration>) -> Repeat {
    let Some(duration) = duration else { return Repeat::Forever };
    let times = duration.as_millis().div_ceil(track.duration().as_millis().max(1));
    Repeat::Times(u32::try_from(times).unwrap_or(u32::MAX).max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use media::codec::Codec;

    #[test]
    fn a_finite_tone_lasts_as_long_as_it_is_written() {
        let written = dialplan::ToneScript::parse("%(1000,0,1004)|3").unwrap();
        let track = script(&written).track(Codec::Pcmu, 0).unwrap();
        let Repeat::Times(times) = repeats(&track, duration(&written)) else { panic!("endless") };
        assert_eq!(track.duration() * times, Duration::from_secs(3));
    }

    #[test]
    fn an_endless_tone_repeats_for_ever() {
        let written = dialplan::ToneScript::parse("%(1000,0,1004)|-1").unwrap();
        let track = script(&written).track(Codec::Pcma, 0).unwrap();
        assert_eq!(repeats(&track, duration(&written)), Repeat::Forever);
    }
}
