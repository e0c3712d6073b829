//! WAV files: 8 to 48 kHz, one or two channels, integer or float samples.

use std::io::{Cursor, Read};

use hound::{SampleFormat, WavReader, WavSpec};

use super::Pcm;
use crate::error::PromptFault;

/// Reads a whole WAV file of at most `seconds_max`; two channels become their mean.
pub(crate) fn read_wav(bytes: &[u8], seconds_max: u64) -> Result<Pcm, PromptFault> {
    let mut reader = WavReader::new(Cursor::new(bytes))?;
    let WavSpec { channels, sample_rate: rate_hz, .. } = reader.spec();
    if !(1..=2).contains(&channels) || !(8000..=48000).contains(&rate_hz) {
        return Err(PromptFault::Format { rate_hz, channels });
    }
    let seconds = u64::from(reader.duration()).div_ceil(u64::from(rate_hz));
    if seconds > seconds_max {
        return Err(PromptFault::TooLong { seconds, seconds_max });
    }
    let interleaved = read_samples(&mut reader)?;
    if interleaved.is_empty() {
        return Err(PromptFault::Empty);
    }
    let mean = |frame: &[f32]| frame.iter().sum::<f32>() / frame.len() as f32;
    let samples = interleaved.chunks_exact(usize::from(channels)).map(mean);
    // The cast saturates, and makes silence of what is not a number.
    let samples = samples.map(|sample| (sample * 32_768.0).round() as i16).collect();
    Ok(Pcm { samples, rate_hz })
}

/// All samples, from -1 to 1.
fn read_samples<R: Read>(reader: &mut WavReader<R>) -> Result<Vec<f32>, PromptFault> {
    let WavSpec { bits_per_sample, sample_format, .. } = reader.spec();
    let samples: Result<Vec<f32>, hound::Error> = match sample_format {
        SampleFormat::Float => reader.samples::<f32>().collect(),
        SampleFormat::Int => {
            let scale = f32::exp2(1.0 - f32::from(bits_per_sample));
            reader.samples::<i32>().map(|sample| Ok(sample? as f32 * scale)).collect()
        }
    };
    Ok(samples?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use hound::WavWriter;
    use proptest::prelude::*;

    use super::*;

    fn spec(bits_per_sample: u16, channels: u16, sample_format: SampleFormat) -> WavSpec {
        WavSpec { channels, sample_rate: 16_000, bits_per_sample, sample_format }
    }

    fn write<S: hound::Sample>(spec: WavSpec, samples: impl IntoIterator<Item = S>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        samples.into_iter().for_each(|sample| writer.write_sample(sample).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_sample_width_is_read_at_the_same_level() {
        for bits in [8, 16, 24, 32] {
            let half = 1i32 << (bits - 2);
            let bytes = write(spec(bits, 1, SampleFormat::Int), [half, -half, 0]);
            assert_eq!(read_wav(&bytes, 1).unwrap().samples, [16_384, -16_384, 0], "{bits} bits");
        }
        let bytes = write(spec(32, 1, SampleFormat::Float), [0.5f32, -0.5, f32::NAN, 9.0]);
        assert_eq!(read_wav(&bytes, 1).unwrap().samples, [16_384, -16_384, 0, 32_767]);
    }

    #[test]
    fn two_channels_become_their_mean() {
        let bytes = write(spec(16, 2, SampleFormat::Int), [1000i16, 3000, -2000, 2000]);
        assert_eq!(read_wav(&bytes, 1).unwrap().samples, [2000, 0]);
    }

    #[test]
    fn bounds_and_formats_are_checked() {
        let long = write(spec(16, 1, SampleFormat::Int), vec![0i16; 16_001]);
        let fault = read_wav(&long, 1).unwrap_err();
        assert!(matches!(fault, PromptFault::TooLong { seconds: 2, seconds_max: 1 }));
        let empty = write(spec(16, 1, SampleFormat::Int), Vec::<i16>::new());
        assert!(matches!(read_wav(&empty, 1).unwrap_err(), PromptFault::Empty));
        let six = write(spec(16, 6, SampleFormat::Int), vec![0i16; 6]);
        let fault = read_wav(&six, 1).unwrap_err();
        assert!(matches!(fault, PromptFault::Format { channels: 6, rate_hz: 16_000 }));
        let mut cut = write(spec(16, 1, SampleFormat::Int), vec![0i16; 100]);
        cut.truncate(100);
        assert!(matches!(read_wav(&cut, 1).unwrap_err(), PromptFault::Wav(_)));
        assert!(matches!(read_wav(b"ID3", 1).unwrap_err(), PromptFault::Wav(_)));
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_read_or_refused(
            damage in proptest::collection::vec((0usize..60, any::<u8>()), 1..8),
        ) {
            let mut bytes = write(spec(16, 1, SampleFormat::Int), vec![1i16; 50]);
            damage.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            let _ = read_wav(&bytes, 10);
        }
    }
}
