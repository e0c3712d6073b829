//! Sound files: WAV, FLAC, MP3 and Ogg (Opus, Vorbis), of any usual rate and number of channels.
//!
//! What a file is follows from its bytes, not from its name.

use std::io::{Cursor, ErrorKind};

use opus::Channels;
use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::common::Limit;
use symphonia::core::errors::Error as ReadError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use super::Pcm;
use crate::error::PromptFault;

/// Reads a whole sound file of at most `seconds_max`; several channels become their mean.
///
/// # Errors
/// Why the file cannot be played.
pub(crate) fn read_sound(bytes: Vec<u8>, seconds_max: u64) -> Result<Pcm, PromptFault> {
    // The readers compute with what a damaged file says, and may overflow.
    std::panic::catch_unwind(|| decode(bytes, seconds_max))
        .unwrap_or_else(|_| Err(PromptFault::Unreadable { reason: "it is damaged".into() }))
}

fn decode(bytes: Vec<u8>, seconds_max: u64) -> Result<Pcm, PromptFault> {
    let options = MediaSourceStreamOptions::default();
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), options);
    let metadata = MetadataOptions::default()
        .limit_tag_bytes(Limit::Maximum(TAG_BYTES_MAX))
        .limit_visual_bytes(Limit::Maximum(TAG_BYTES_MAX));
    let mut file = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), metadata)
        .map_err(unreadable)?;
    let track = file.default_track(TrackType::Audio);
    let (Some(id), Some(parameters)) =
        (track.map(|track| track.id), track.and_then(|track| track.codec_params.as_ref()?.audio()))
    else {
        return Err(PromptFault::Unreadable { reason: "it has no sound that is known".into() });
    };
    let mut decoder = TrackDecoder::new(parameters)?;
    let mut sound = Sound { samples: Vec::new(), rate_hz: 0, seconds_max };
    let mut damage = None;
    while let Some(packet) = next_packet(file.as_mut()).map_err(unreadable)? {
        if packet.track_id != id {
            continue;
        }
        match decoder.decode(&packet, &mut sound) {
            Ok(()) => {}
            Err(PacketFault::Skipped(error)) => damage = Some(error),
            Err(PacketFault::File(fault)) => return Err(fault),
        }
    }
    match (sound.samples.is_empty(), damage) {
        (true, Some(error)) => Err(unreadable(error)),
        (true, None) => Err(PromptFault::Empty),
        // Players pass over a damaged frame, such as the first one of an MP3 that was cut.
        (false, _) => Ok(Pcm { samples: sound.samples, rate_hz: sound.rate_hz }),
    }
}

/// `None` at the end of the file, also where it was cut off.
fn next_packet(file: &mut dyn FormatReader) -> Result<Option<Packet>, ReadError> {
    match file.next_packet() {
        Err(ReadError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        // Another stream is chained to the first one, with tracks of its own.
        Err(ReadError::ResetRequired) => Ok(None),
        other => other,
    }
}

fn unreadable(error: ReadError) -> PromptFault {
    let reason = match error {
        ReadError::DecodeError(_) => "it is damaged; convert it",
        // A probe that finds nothing comes to the end of the file, or says that it has no reader.
        _ => "it is neither WAV, FLAC, MP3 nor Ogg that can be read; convert it",
    };
    PromptFault::Unreadable { reason: format!("{reason}, for example with `{CONVERT}`") }
}

/// What was decoded so far, mono.
struct Sound {
    samples: Vec<i16>,
    rate_hz: u32,
    seconds_max: u64,
}

impl Sound {
    /// Takes more frames of `channels` samples each.
    fn push(&mut self, frames: &[f32], channels: usize, rate_hz: u32) -> Result<(), PromptFault> {
        if !(1..=CHANNELS_MAX).contains(&channels) || !(RATE_MIN..=RATE_MAX).contains(&rate_hz) {
            let channels = u16::try_from(channels).unwrap_or(u16::MAX);
            return Err(PromptFault::Format { rate_hz, channels });
        }
        self.rate_hz = rate_hz;
        let mean = |frame: &[f32]| frame.iter().sum::<f32>() / frame.len() as f32;
        // The cast saturates, and makes silence of what is not a number.
        let mono = frames.chunks_exact(channels).map(mean);
        self.samples.extend(mono.map(|sample| (sample * 32_768.0).round() as i16));
        let seconds = (self.samples.len() as u64).div_ceil(u64::from(rate_hz));
        if seconds > self.seconds_max {
            return Err(PromptFault::TooLong { seconds_max: self.seconds_max });
        }
        Ok(())
    }
}

/// Why a packet gave no sound.
enum PacketFault {
    /// It is damaged; the next one may not be.
    Skipped(ReadError),
    /// The file cannot be played.
    File(PromptFault),
}

enum TrackDecoder {
    /// The container is read, and libopus decodes.
    Opus(OpusFile),
    Other {
        decoder: Box<dyn AudioDecoder>,
        frames: Vec<f32>,
    },
}

impl TrackDecoder {
    fn new(parameters: &AudioCodecParameters) -> Result<Self, PromptFault> {
        if parameters.codec == CODEC_ID_OPUS {
            return OpusFile::new(parameters.extra_data.as_deref()).map(Self::Opus);
        }
        let options = AudioDecoderOptions::default();
        let decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &options);
        Ok(Self::Other { decoder: decoder.map_err(unreadable)?, frames: Vec::new() })
    }

    fn decode(&mut self, packet: &Packet, sound: &mut Sound) -> Result<(), PacketFault> {
        match self {
            Self::Opus(opus) => opus.decode(packet, sound),
            Self::Other { decoder, frames } => {
                let decoded: GenericAudioBufferRef<'_> =
                    decoder.decode(packet).map_err(PacketFault::Skipped)?;
                let (channels, rate_hz) = (decoded.num_planes(), decoded.spec().rate());
                decoded.copy_to_vec_interleaved(frames);
                if frames.is_empty() {
                    return Ok(());
                }
                sound.push(frames, channels, rate_hz).map_err(PacketFault::File)
            }
        }
    }
}

/// Opus in Ogg (RFC 7845): one stream, which libopus decodes to mono at 48000 Hz.
struct OpusFile {
    decoder: opus::Decoder,
    /// The output gain of the header, as a factor (RFC 7845 §5.1).
    gain: f32,
    /// Samples that are still to be dropped from the start (RFC 7845 §4.2).
    pre_skip: usize,
    pcm: Vec<f32>,
}

impl OpusFile {
    /// `head` is the identification header.
    fn new(head: Option<&[u8]>) -> Result<Self, PromptFault> {
        let fault = |reason: &str| PromptFault::Unreadable { reason: reason.to_owned() };
        let head = head.unwrap_or_default();
        let (Some([skip_low, skip_high]), Some([low, high]), Some(family)) =
            (head.get(10..12), head.get(16..18), head.get(18))
        else {
            return Err(fault("its Opus header is cut off"));
        };
        if *family != 0 {
            return Err(fault("Opus with more than two channels is not played"));
        }
        let decibels = f32::from(i16::from_le_bytes([*low, *high])) / 256.0;
        let decoder = opus::Decoder::new(OPUS_RATE_HZ, Channels::Mono)
            .map_err(|error| fault(&error.to_string()))?;
        let gain = 10f32.powf(decibels / 20.0);
        let pre_skip = usize::from(u16::from_le_bytes([*skip_low, *skip_high]));
        Ok(Self { decoder, gain, pre_skip, pcm: vec![0.0; OPUS_PACKET_SAMPLES_MAX] })
    }

    fn decode(&mut self, packet: &Packet, sound: &mut Sound) -> Result<(), PacketFault> {
        let damaged = |_| PacketFault::Skipped(ReadError::DecodeError("damaged Opus packet"));
        let decoded =
            self.decoder.decode_float(&packet.data, &mut self.pcm, false).map_err(damaged)?;
        let start = self.pre_skip.min(decoded);
        self.pre_skip -= start;
        let padding = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
        let Some(kept) = self.pcm.get_mut(start..decoded.saturating_sub(padding)) else {
            return Ok(());
        };
        kept.iter_mut().for_each(|sample| *sample *= self.gain);
        sound.push(kept, 1, OPUS_RATE_HZ).map_err(PacketFault::File)
    }
}

const CONVERT: &str = "sox IN -r 16000 -c 1 -b 16 OUT.wav";
const OPUS_RATE_HZ: u32 = 48_000;
/// 120 ms, the longest that a packet may be (RFC 6716 §3.2.5).
const OPUS_PACKET_SAMPLES_MAX: usize = 5_760;
const RATE_MIN: u32 = 4_000;
const RATE_MAX: u32 = 192_000;
const CHANNELS_MAX: usize = 8;
/// Of titles and pictures, which nobody hears.
const TAG_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::f64::consts::TAU;

    use hound::{SampleFormat, WavSpec, WavWriter};
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
            assert_eq!(read_sound(bytes, 1).unwrap().samples, [16_384, -16_384, 0], "{bits} bits");
        }
        let bytes = write(spec(32, 1, SampleFormat::Float), [0.5f32, -0.5, f32::NAN, 9.0]);
        assert_eq!(read_sound(bytes, 1).unwrap().samples, [16_384, -16_384, 0, 32_767]);
    }

    #[test]
    fn two_channels_become_their_mean() {
        let bytes = write(spec(16, 2, SampleFormat::Int), [1000i16, 3000, -2000, 2000]);
        assert_eq!(read_sound(bytes, 1).unwrap().samples, [2000, 0]);
    }

    #[test]
    fn bounds_and_formats_are_checked() {
        let long = write(spec(16, 1, SampleFormat::Int), vec![0i16; 16_001]);
        let fault = read_sound(long, 1).unwrap_err();
        assert!(matches!(fault, PromptFault::TooLong { seconds_max: 1 }));
        let empty = write(spec(16, 1, SampleFormat::Int), Vec::<i16>::new());
        assert!(matches!(read_sound(empty, 1).unwrap_err(), PromptFault::Empty));
        let many = write(spec(16, 9, SampleFormat::Int), vec![0i16; 9]);
        let fault = read_sound(many, 1).unwrap_err();
        assert!(matches!(fault, PromptFault::Format { .. } | PromptFault::Unreadable { .. }));
        let gsm = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x31\0\x01\0\x40\x1f\0\0\x59\x06\0\0\x41\0\0\0data\0\0\0\0";
        for other in [&b""[..], b"hello\n", &[0xd5; 640], gsm] {
            let says = read_sound(other.to_vec(), 1).unwrap_err().to_string();
            assert!(says.contains("neither WAV, FLAC, MP3 nor Ogg"), "{says}");
            assert!(says.contains("convert it, for example with `sox"), "{says}");
        }
        for nothing in [&b"ID3"[..], b"", b"RIFF\0\0\0\0WAVE", &[0; 64]] {
            let fault = read_sound(nothing.to_vec(), 1).unwrap_err();
            assert!(matches!(fault, PromptFault::Unreadable { .. } | PromptFault::Empty));
        }
    }

    #[test]
    fn a_file_that_was_cut_off_plays_as_far_as_it_goes() {
        let mut cut = write(spec(16, 1, SampleFormat::Int), vec![7i16; 100]);
        cut.truncate(cut.len() - 60);
        let samples = read_sound(cut, 1).unwrap().samples;
        assert!(samples.iter().all(|sample| *sample == 7), "{samples:?}");
        assert!((40..=100).contains(&samples.len()), "{}", samples.len());
    }

    /// Half a second of 1000 Hz at half of full strength.
    const FILES: [(&str, u32, &[u8]); 5] = [
        ("FLAC", 16_000, include_bytes!("../../tests/sounds/tone.flac")),
        ("MP3", 22_050, include_bytes!("../../tests/sounds/tone.mp3")),
        ("Ogg Vorbis", 44_100, include_bytes!("../../tests/sounds/tone.ogg")),
        ("Ogg Opus", 48_000, include_bytes!("../../tests/sounds/tone.opus")),
        ("WAV in µ-law", 8_000, include_bytes!("../../tests/sounds/tone-mulaw.wav")),
    ];

    #[test]
    fn compressed_files_sound_as_long_and_as_loud_as_the_original() {
        for (kind, rate_hz, bytes) in FILES {
            let Pcm { samples, rate_hz: read_hz } = read_sound(bytes.to_vec(), 1).unwrap();
            assert_eq!(read_hz, rate_hz, "{kind}");
            let seconds = samples.len() as f64 / f64::from(rate_hz);
            // MP3 has no way to say how much silence its frames begin and end with.
            let longest = if kind == "MP3" { 0.58 } else { 0.503 };
            assert!((0.499..longest).contains(&seconds), "{kind}: {seconds} s");
            let middle = &samples[samples.len() / 5..samples.len() * 4 / 5];
            let turn = |n: usize| n as f64 * 1000.0 / f64::from(rate_hz) * TAU;
            let along = |wave: fn(f64) -> f64| -> f64 {
                let sum = middle.iter().enumerate().map(|(n, s)| f64::from(*s) * wave(turn(n)));
                sum.sum::<f64>() * 2.0 / middle.len() as f64
            };
            let amplitude = along(f64::sin).hypot(along(f64::cos));
            assert!((15_000.0..17_500.0).contains(&amplitude), "{kind}: {amplitude}");
        }
    }

    #[test]
    fn a_long_compressed_file_is_refused_before_it_is_decoded_whole() {
        for (kind, _, bytes) in FILES {
            let fault = read_sound(bytes.to_vec(), 0).unwrap_err();
            assert!(matches!(fault, PromptFault::TooLong { seconds_max: 0, .. }), "{kind}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_file_is_read_or_refused(
            damage in proptest::collection::vec((0usize..60, any::<u8>()), 1..8),
        ) {
            let mut bytes = write(spec(16, 1, SampleFormat::Int), vec![1i16; 50]);
            damage.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            let _ = read_sound(bytes, 10);
        }

        #[test]
        fn a_damaged_compressed_file_is_read_or_refused(
            file in 0..FILES.len(),
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
            end in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = FILES[file].2.to_vec();
            damage.into_iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = byte);
            bytes.truncate(end.index(bytes.len()) + 1);
            let _ = read_sound(bytes, 10);
        }
    }
}
