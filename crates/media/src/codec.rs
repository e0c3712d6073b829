//! The codecs: what each is called on the wire, and one encoder and one decoder over 16-bit PCM.

use std::fmt;

use crate::Error;

pub mod g711;
pub mod g722;
mod half_rate;
pub mod opus;

/// An audio codec that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// G.711 µ-law (ITU-T G.711; RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 A-law (ITU-T G.711; RFC 3551 §4.5.14).
    Pcma,
    /// Opus (RFC 6716; RFC 7587).
    Opus,
    /// G.722 at 64 kbit/s (ITU-T G.722; RFC 3551 §4.5.2).
    G722,
}

/// Every codec, the best sounding one first.
pub const CODECS: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

/// What SDP and RTP need to know of a codec.
#[derive(Debug)]
pub struct Descriptor {
    /// Encoding name of `a=rtpmap` (compared without regard to case).
    pub encoding_name: &'static str,
    /// Payload type that needs no `a=rtpmap` (RFC 3551 §6), where there is one.
    pub static_payload_type: Option<u8>,
    /// Payload type we use when we offer.
    pub offered_payload_type: u8,
    /// RTP ticks per second.
    pub clock_rate_hz: u32,
    /// Channels as written in `a=rtpmap`; what is coded may be fewer.
    pub channels: u8,
    /// Our `a=fmtp` parameters, where there are any.
    pub fmtp: Option<&'static str>,
    /// PCM samples per second that our prompts are encoded from.
    pub pcm_rate_hz: u32,
    /// Largest payload that an encoder of ours writes for one frame, in bytes.
    pub payload_bytes_max: usize,
}

impl Codec {
    /// The codec's descriptor.
    pub fn descriptor(self) -> &'static Descriptor {
        match self {
            Codec::Pcmu => &g711::PCMU,
            Codec::Pcma => &g711::PCMA,
            Codec::Opus => &opus::CODEC,
            Codec::G722 => &g722::CODEC,
        }
    }

    /// Encoding name of `a=rtpmap`.
    pub fn name(self) -> &'static str {
        self.descriptor().encoding_name
    }

    /// Payload type that needs no `a=rtpmap`, where there is one.
    pub fn static_payload_type(self) -> Option<u8> {
        self.descriptor().static_payload_type
    }

    /// RTP ticks per second.
    pub fn clock_rate_hz(self) -> u32 {
        self.descriptor().clock_rate_hz
    }

    /// Channels as written in `a=rtpmap`.
    pub fn channels(self) -> u8 {
        self.descriptor().channels
    }

    /// RTP ticks that a frame of [`FRAME_MS`] lasts.
    pub fn samples_per_frame(self) -> u32 {
        self.clock_rate_hz() / 1000 * FRAME_MS
    }
}

/// The codec as `a=rtpmap` writes it, such as `opus/48000/2`.
impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptor = self.descriptor();
        write!(f, "{}/{}", descriptor.encoding_name, descriptor.clock_rate_hz)?;
        match descriptor.channels {
            1 => Ok(()),
            channels => write!(f, "/{channels}"),
        }
    }
}

/// Turns PCM into payloads.
#[derive(Debug)]
pub enum Encoder {
    /// µ-law; stateless.
    Pcmu,
    /// A-law; stateless.
    Pcma,
    /// Opus.
    Opus(opus::Encoder),
    /// G.722.
    G722(Box<g722::Encoder>),
}

impl Encoder {
    /// An encoder of `codec` for mono PCM at `pcm_rate_hz` (8000 for G.711; 8000 or 16000 for G.722;
    /// 8000, 12000, 16000, 24000 or 48000 for Opus).
    ///
    /// # Errors
    /// The rate is not one the codec takes.
    pub fn new(codec: Codec, pcm_rate_hz: u32) -> Result<Self, Error> {
        match codec {
            Codec::Pcmu => g711::check_rate(pcm_rate_hz).map(|()| Encoder::Pcmu),
            Codec::Pcma => g711::check_rate(pcm_rate_hz).map(|()| Encoder::Pcma),
            Codec::Opus => {
                opus::Encoder::new(pcm_rate_hz, opus::Settings::default()).map(Encoder::Opus)
            }
            Codec::G722 => {
                g722::Encoder::new(pcm_rate_hz).map(|encoder| Encoder::G722(Box::new(encoder)))
            }
        }
    }

    /// Encodes one frame into `payload` and returns the payload's length in bytes.
    ///
    /// `payload` must have room for [`Descriptor::payload_bytes_max`] or, for G.711, `pcm.len()`.
    ///
    /// # Errors
    /// `payload` is too short, or Opus does not take a frame of this many samples.
    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Result<usize, Error> {
        match self {
            Encoder::Pcmu => g711::encode(g711::encode_ulaw, pcm, payload),
            Encoder::Pcma => g711::encode(g711::encode_alaw, pcm, payload),
            Encoder::Opus(encoder) => encoder.encode(pcm, payload),
            Encoder::G722(encoder) => encoder.encode(pcm, payload),
        }
    }
}

/// Turns payloads into PCM.
#[derive(Debug)]
pub enum Decoder {
    /// µ-law; stateless.
    Pcmu,
    /// A-law; stateless.
    Pcma,
    /// Opus.
    Opus(opus::Decoder),
    /// G.722.
    G722(Box<g722::Decoder>),
}

impl Decoder {
    /// A decoder of `codec` that writes mono PCM at `pcm_rate_hz` (8000 for G.711; 8000 or 16000 for
    /// G.722; 8000, 12000, 16000, 24000 or 48000 for Opus; whatever the sender encoded at).
    ///
    /// # Errors
    /// The rate is not one the codec gives.
    pub fn new(codec: Codec, pcm_rate_hz: u32) -> Result<Self, Error> {
        match codec {
            Codec::Pcmu => g711::check_rate(pcm_rate_hz).map(|()| Decoder::Pcmu),
            Codec::Pcma => g711::check_rate(pcm_rate_hz).map(|()| Decoder::Pcma),
            Codec::Opus => opus::Decoder::new(pcm_rate_hz).map(Decoder::Opus),
            Codec::G722 => {
                g722::Decoder::new(pcm_rate_hz).map(|decoder| Decoder::G722(Box::new(decoder)))
            }
        }
    }

    /// Decodes one payload into `pcm` and returns how many samples it held.
    ///
    /// # Errors
    /// The payload is damaged, or holds more than `pcm` has room for.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        match self {
            Decoder::Pcmu => g711::decode(g711::decode_ulaw, payload, pcm),
            Decoder::Pcma => g711::decode(g711::decode_alaw, payload, pcm),
            Decoder::Opus(decoder) => decoder.decode(payload, pcm),
            Decoder::G722(decoder) => decoder.decode(payload, pcm),
        }
    }
}

/// Duration of the frames we send, in milliseconds.
pub const FRAME_MS: u32 = 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn a_frame_lasts_20_ms_of_the_codecs_clock() {
        assert_eq!(Codec::Pcmu.samples_per_frame(), 160);
        assert_eq!(Codec::Pcma.samples_per_frame(), 160);
        assert_eq!(Codec::Opus.samples_per_frame(), 960);
        // RFC 3551 §4.5.2: a clock of 8000 Hz, although 16000 samples a second are coded.
        assert_eq!(Codec::G722.samples_per_frame(), 160);
    }

    #[test]
    fn codecs_are_written_as_in_rtpmap() {
        let written: Vec<String> = CODECS.iter().map(Codec::to_string).collect();
        assert_eq!(written, ["opus/48000/2", "G722/8000", "PCMU/8000", "PCMA/8000"]);
    }

    #[test]
    fn g711_refuses_any_rate_but_its_own() {
        assert!(Encoder::new(Codec::Pcmu, 16000).is_err());
        assert!(Decoder::new(Codec::Pcma, 48000).is_err());
        assert!(Encoder::new(Codec::Opus, 44100).is_err());
    }

    #[test]
    fn a_short_buffer_is_refused_and_not_overrun() {
        for codec in [Codec::Pcmu, Codec::Pcma] {
            let mut encoder = Encoder::new(codec, 8000).unwrap();
            assert!(encoder.encode(&[0; 160], &mut [0; 159]).is_err());
            let mut decoder = Decoder::new(codec, 8000).unwrap();
            assert!(decoder.decode(&[0; 160], &mut [0; 159]).is_err());
        }
    }
}
