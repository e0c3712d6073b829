//! What can be played: sound files and tones, as PCM, and how PCM becomes a [`Track`].

use bytes::Bytes;

use crate::Error;
use crate::codec::{Codec, Encoder, FRAME_MS, g722, opus};
use crate::prompt::Track;

mod file;
mod resample;
pub mod tone;

pub(crate) use file::read_sound;
pub(crate) use resample::resample;

/// Mono sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pcm {
    pub(crate) samples: Vec<i16>,
    pub(crate) rate_hz: u32,
}

/// Encodes all of `pcm`, from its first sample to its last, filled up with silence to whole frames.
///
/// What is decoded of Opus lags behind by the encoder's look-ahead (RFC 7845 §4.2 calls it
/// pre-skip), which RTP has no way to announce: the track is longer by that, so that the end is not
/// cut off.
pub(crate) fn encode(pcm: &Pcm, codec: Codec, complexity: u8) -> Result<Track, Error> {
    let pcm_rate_hz = encoder_rate_hz(codec, pcm.rate_hz);
    let mut samples = resample(pcm, pcm_rate_hz)?;
    let mut encoder = match codec {
        Codec::Pcmu => Encoder::Pcmu,
        Codec::Pcma => Encoder::Pcma,
        Codec::Opus => {
            let settings = opus::Settings { complexity, ..opus::Settings::PROMPT };
            let mut encoder = opus::Encoder::new(pcm_rate_hz, settings)?;
            samples.resize(samples.len() + encoder.lookahead()?, 0);
            Encoder::Opus(encoder)
        }
        Codec::G722 => {
            samples.resize(samples.len() + g722::LAG_SAMPLES, 0);
            Encoder::new(codec, pcm_rate_hz)?
        }
    };
    let frame_len = frame_len(pcm_rate_hz);
    samples.resize(samples.len().next_multiple_of(frame_len), 0);
    let frames = encode_frames(&mut encoder, &samples, frame_len)?;
    Ok(Track { codec, frames: frames.into() })
}

/// Encodes whole frames of `frame_len` samples, each into a payload of its own size.
pub(crate) fn encode_frames(
    encoder: &mut Encoder,
    samples: &[i16],
    frame_len: usize,
) -> Result<Vec<Bytes>, Error> {
    let mut payload = [0; opus::CODEC.payload_bytes_max];
    let mut encode = |frame: &[i16]| {
        let len = encoder.encode(frame, &mut payload)?;
        Ok(Bytes::copy_from_slice(payload.get(..len).unwrap_or_default()))
    };
    samples.chunks_exact(frame_len).map(&mut encode).collect()
}

/// Samples in a frame.
pub(crate) fn frame_len(rate_hz: u32) -> usize {
    (rate_hz / 1000 * FRAME_MS) as usize
}

/// The rate to encode from: Opus takes some rates as they are.
fn encoder_rate_hz(codec: Codec, rate_hz: u32) -> u32 {
    match (codec, rate_hz) {
        (Codec::Opus, 8000 | 12000 | 16000 | 24000 | 48000) => rate_hz,
        _ => codec.descriptor().pcm_rate_hz,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;
    use crate::codec::{CODECS, Decoder};

    /// A 440 Hz tone that begins and ends at once, at full strength.
    fn burst(rate_hz: u32, milliseconds: u32) -> Pcm {
        let sample = |n: u32| {
            let phase = f64::from(n) / f64::from(rate_hz) * 440.0 * std::f64::consts::TAU;
            (phase.cos() * 12_000.0) as i16
        };
        Pcm { samples: (0..rate_hz * milliseconds / 1000).map(sample).collect(), rate_hz }
    }

    fn decode(track: &Track, rate_hz: u32) -> Vec<i16> {
        let mut decoder = Decoder::new(track.codec, rate_hz).unwrap();
        let mut pcm = vec![0; frame_len(rate_hz)];
        let mut decode = |payload: &Bytes| {
            let len = decoder.decode(payload, &mut pcm).unwrap();
            pcm[..len].to_vec()
        };
        track.frames.iter().flat_map(&mut decode).collect()
    }

    fn rms(samples: &[i16]) -> f64 {
        let squares: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        (squares / samples.len() as f64).sqrt()
    }

    #[test]
    fn the_first_and_the_last_20_ms_are_neither_lost_nor_attenuated() {
        for source_rate_hz in [8000, 11025, 16000, 22050, 32000, 44100, 48000] {
            let pcm = burst(source_rate_hz, 500);
            for codec in CODECS {
                let track = encode(&pcm, codec, 10).unwrap();
                let rate_hz = codec.descriptor().pcm_rate_hz;
                let played = decode(&track, rate_hz);
                let lag = match codec {
                    // 6.5 ms behind (RFC 6716 §2: 2.5 to 6.5 ms).
                    Codec::Opus => 312,
                    Codec::G722 => g722::LAG_SAMPLES,
                    Codec::Pcmu | Codec::Pcma => 0,
                };
                let (len, end) = (frame_len(rate_hz), lag + rate_hz as usize / 2);
                let full = 12_000.0 / std::f64::consts::SQRT_2;
                let case = format!("{codec} from {source_rate_hz} Hz");
                for edge in [&played[lag..lag + len], &played[end - len..end]] {
                    let ratio = rms(edge) / full;
                    assert!((0.85..1.15).contains(&ratio), "{case}: {ratio}");
                }
            }
        }
    }

    #[test]
    fn a_track_is_as_long_as_the_sound_and_less_than_two_frames_more() {
        for codec in CODECS {
            let frames = encode(&burst(16000, 990), codec, 5).unwrap().frames.len();
            assert!((50..=51).contains(&frames), "{codec}: {frames} frames");
        }
    }
}
