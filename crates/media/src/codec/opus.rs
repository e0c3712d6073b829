//! Opus (RFC 6716) through libopus, mono, in frames of 20 ms.

use std::fmt;

use opus::{Application, Bitrate, Channels};

use super::Descriptor;
use crate::{Error, sdp::OpusParameters};

/// Opus on RTP: always 48000 Hz and two channels in SDP, whatever is coded (RFC 7587 §7).
pub static CODEC: Descriptor = Descriptor {
    encoding_name: "opus",
    static_payload_type: None,
    offered_payload_type: 111,
    clock_rate_hz: 48000,
    channels: 2,
    fmtp: Some("minptime=10;useinbandfec=1"),
    pcm_rate_hz: 48000,
    payload_bytes_max: 1275, // RFC 6716 §3.2.1
};

/// A payload of 20 ms of silence: one mono CELT frame (TOC 0xf8, RFC 6716 §3.1) whose range-coded
/// first symbol says silence (RFC 6716 §4.3).
pub const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// How an encoder works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Effort, 0 (least) to 10 (best).
    pub complexity: u8,
    /// Bits per second.
    pub bitrate: u32,
    /// Whether frames carry a copy of the one before (in-band FEC, RFC 6716 §2.1.7).
    pub inband_fec: bool,
    /// Loss that FEC prepares for, in percent.
    pub expected_loss_percent: u8,
    /// What is encoded.
    pub purpose: Purpose,
    /// Highest sampling rate whose sound is of use to who hears it, in Hz.
    pub playback_rate_hz_max: u32,
    /// Whether nothing is sent while nobody speaks: frames of at most [`DTX_BYTES_MAX`] bytes.
    pub dtx: bool,
    /// Whether all frames have one size.
    pub constant_bitrate: bool,
}

impl Settings {
    /// For a live voice sampled at `pcm_rate_hz`, as the peer that hears it wishes.
    pub fn for_peer(wishes: &OpusParameters, complexity: u8, pcm_rate_hz: u32) -> Self {
        // RFC 7587 §3.1.1: the sweet spots for speech in narrow and in wide band, with some room.
        let bitrate = if pcm_rate_hz <= 8_000 { 20_000 } else { 28_000 };
        Settings {
            complexity,
            bitrate: wishes.bitrate_max.map_or(bitrate, |max| bitrate.min(max)),
            inband_fec: false,
            expected_loss_percent: 0,
            purpose: Purpose::Voice,
            playback_rate_hz_max: wishes.playback_rate_hz_max,
            dtx: wishes.dtx,
            constant_bitrate: wishes.constant_bitrate,
        }
    }
}

/// How long the audio of a payload lasts, in ticks of 48 kHz; `None` if it is not Opus.
pub fn duration_ticks(payload: &[u8]) -> Option<u32> {
    let ticks = opus::packet::get_nb_samples(payload, CODEC.clock_rate_hz).ok()?;
    // RFC 6716 §3.2.5: 120 ms at the most.
    u32::try_from(ticks).ok().filter(|ticks| *ticks <= CODEC.clock_rate_hz * 120 / 1000)
}

/// A payload of so few bytes says that nobody speaks (RFC 6716 §3.4: a frame of no data).
pub const DTX_BYTES_MAX: usize = 2;

/// What an encoder is tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A live voice.
    Voice,
    /// Sound of any kind, true to the original.
    Sound,
    /// Frames that are played in another order than they were encoded in: as little as possible of
    /// a frame depends on the one before.
    Loop,
}

impl Settings {
    /// For sound files, which are encoded once and played often.
    pub const PROMPT: Settings = Settings {
        complexity: 10,
        bitrate: 40_000,
        inband_fec: true,
        expected_loss_percent: 5,
        purpose: Purpose::Sound,
        playback_rate_hz_max: 48_000,
        dtx: false,
        constant_bitrate: false,
    };

    /// For tones, which are encoded once and played in a loop.
    pub const TONE: Settings = Settings {
        complexity: 10,
        bitrate: 64_000,
        inband_fec: false,
        expected_loss_percent: 0,
        purpose: Purpose::Loop,
        playback_rate_hz_max: 48_000,
        dtx: false,
        constant_bitrate: false,
    };
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            complexity: 5,
            bitrate: 32_000,
            inband_fec: true,
            expected_loss_percent: 5,
            purpose: Purpose::Voice,
            playback_rate_hz_max: 48_000,
            dtx: false,
            constant_bitrate: false,
        }
    }
}

/// An Opus encoder for mono PCM.
pub struct Encoder {
    inner: opus::Encoder,
}

impl Encoder {
    /// An encoder for mono PCM at `pcm_rate_hz`: 8000, 12000, 16000, 24000 or 48000.
    ///
    /// # Errors
    /// libopus refuses the rate or a setting.
    pub fn new(pcm_rate_hz: u32, settings: Settings) -> Result<Self, Error> {
        let application = match settings.purpose {
            Purpose::Voice => Application::Voip,
            Purpose::Sound => Application::Audio,
            Purpose::Loop => Application::LowDelay,
        };
        let mut inner = opus::Encoder::new(pcm_rate_hz, Channels::Mono, application)?;
        inner.set_complexity(i32::from(settings.complexity))?;
        inner.set_bitrate(Bitrate::Bits(settings.bitrate as i32))?;
        inner.set_inband_fec(settings.inband_fec)?;
        inner.set_packet_loss_perc(i32::from(settings.expected_loss_percent))?;
        inner.set_prediction_disabled(settings.purpose == Purpose::Loop)?;
        inner.set_max_bandwidth(bandwidth(settings.playback_rate_hz_max))?;
        inner.set_dtx(settings.dtx)?;
        inner.set_vbr(!settings.constant_bitrate)?;
        Ok(Encoder { inner })
    }

    /// Prepares for losing a share of the frames: each then carries a copy of the one before.
    ///
    /// # Errors
    /// libopus refuses.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), Error> {
        self.inner.set_inband_fec(percent > 0)?;
        Ok(self.inner.set_packet_loss_perc(i32::from(percent.min(100)))?)
    }

    /// Samples by which what is decoded lags behind what was encoded, at the rate given to
    /// [`Encoder::new`].
    ///
    /// # Errors
    /// libopus does not say.
    pub fn lookahead(&mut self) -> Result<usize, Error> {
        Ok(usize::try_from(self.inner.get_lookahead()?).unwrap_or(0))
    }

    /// Encodes one frame into `payload` and returns the payload's length in bytes.
    ///
    /// # Errors
    /// The frame is not one of 2.5 to 60 ms, or `payload` is too short.
    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Result<usize, Error> {
        Ok(self.inner.encode(pcm, payload)?)
    }
}

/// The bandwidth whose sound a sampling rate can carry (RFC 7587 §6.1).
fn bandwidth(playback_rate_hz: u32) -> opus::Bandwidth {
    match playback_rate_hz {
        ..=8_000 => opus::Bandwidth::Narrowband,
        8_001..=12_000 => opus::Bandwidth::Mediumband,
        12_001..=16_000 => opus::Bandwidth::Wideband,
        16_001..=24_000 => opus::Bandwidth::Superwideband,
        _ => opus::Bandwidth::Fullband,
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// An Opus decoder to mono PCM.
pub struct Decoder {
    inner: opus::Decoder,
}

impl Decoder {
    /// A decoder to mono PCM at `pcm_rate_hz`: 8000, 12000, 16000, 24000 or 48000.
    ///
    /// # Errors
    /// libopus refuses the rate.
    pub fn new(pcm_rate_hz: u32) -> Result<Self, Error> {
        Ok(Decoder { inner: opus::Decoder::new(pcm_rate_hz, Channels::Mono)? })
    }

    /// Decodes one payload into `pcm` and returns how many samples it held.
    ///
    /// # Errors
    /// The payload is empty or damaged, or holds more than `pcm` has room for.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        // libopus takes an empty payload as a lost one.
        if payload.is_empty() {
            return Err(Error::EmptyPayload);
        }
        Ok(self.inner.decode(payload, pcm, false)?)
    }

    /// Conceals a lost payload: fills `pcm`, from the copy that the next payload carries where it
    /// has arrived already, and returns how many samples were written.
    ///
    /// # Errors
    /// `pcm` is not a multiple of 2.5 ms.
    pub fn conceal(&mut self, next: Option<&[u8]>, pcm: &mut [i16]) -> Result<usize, Error> {
        match next {
            Some(next) if !next.is_empty() => Ok(self.inner.decode(next, pcm, true)?),
            _ => Ok(self.inner.decode(&[], pcm, false)?),
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use proptest::prelude::*;

    use super::*;

    /// 20 ms frames of a tone that grows louder, at 16 kHz.
    fn frames() -> Vec<Vec<i16>> {
        let sample = |n: i32| ((f64::from(n) * 0.12).sin() * f64::from(n.min(8000))) as i16;
        (0..50).map(|frame| (frame * 320..(frame + 1) * 320).map(sample).collect()).collect()
    }

    #[test]
    fn what_is_encoded_at_one_rate_is_decoded_at_any() {
        let mut payload = [0; 1275];
        for rate_hz in [8000, 16000, 48000] {
            let mut encoder = Encoder::new(16000, Settings::default()).unwrap();
            let mut decoder = Decoder::new(rate_hz).unwrap();
            let mut pcm = vec![0; rate_hz as usize / 50];
            for frame in frames() {
                let len = encoder.encode(&frame, &mut payload).unwrap();
                assert_eq!(decoder.decode(&payload[..len], &mut pcm).unwrap(), pcm.len());
            }
            assert!(pcm.iter().any(|sample| *sample > 6000), "{rate_hz} Hz");
        }
    }

    #[test]
    fn a_lost_frame_is_concealed_with_and_without_the_next_one() {
        let settings = Settings { expected_loss_percent: 20, ..Settings::default() };
        for has_next in [true, false] {
            let mut encoder = Encoder::new(16000, settings).unwrap();
            let mut decoder = Decoder::new(16000).unwrap();
            let mut pcm = [0; 320];
            let mut payload = [0; 1275];
            let payloads: Vec<Vec<u8>> = frames()
                .iter()
                .map(|frame| {
                    let len = encoder.encode(frame, &mut payload).unwrap();
                    payload[..len].to_vec()
                })
                .collect();
            for payload in &payloads[..40] {
                decoder.decode(payload, &mut pcm).unwrap();
            }
            let next = has_next.then_some(payloads[41].as_slice());
            assert_eq!(decoder.conceal(next, &mut pcm).unwrap(), 320);
            assert!(pcm.iter().any(|sample| *sample > 3000), "next frame at hand: {has_next}");
        }
    }

    #[test]
    fn rfc7587_6_1_what_the_peer_cannot_play_is_not_sent() {
        for (rate_hz, expected) in
            [(8_000, opus::Bandwidth::Narrowband), (16_000, opus::Bandwidth::Wideband)]
        {
            let wishes = OpusParameters::parse(&format!(
                "maxplaybackrate={rate_hz};maxaveragebitrate=24000"
            ));
            let settings = Settings::for_peer(&wishes, 5, 16_000);
            assert_eq!(settings.bitrate, 24_000);
            let mut encoder = Encoder::new(16_000, settings).unwrap();
            let mut payload = [0; 1275];
            for frame in frames() {
                encoder.encode(&frame, &mut payload).unwrap();
            }
            assert_eq!(opus::packet::get_bandwidth(&payload).unwrap(), expected);
        }
    }

    #[test]
    fn a_payload_tells_how_long_it_lasts() {
        let mut encoder = Encoder::new(8_000, Settings::default()).unwrap();
        let mut payload = [0; 1275];
        for (samples, ticks) in [(20, 120), (80, 480), (160, 960), (480, 2_880)] {
            let len = encoder.encode(&vec![0; samples], &mut payload).unwrap();
            assert_eq!(duration_ticks(&payload[..len]), Some(ticks));
        }
        assert_eq!(duration_ticks(&[]), None);
        assert_eq!(duration_ticks(&[0xff]), None);
    }

    #[test]
    fn an_empty_payload_is_refused() {
        let mut decoder = Decoder::new(48000).unwrap();
        assert!(matches!(decoder.decode(&[], &mut [0; 960]), Err(Error::EmptyPayload)));
    }

    proptest! {
        #[test]
        fn any_payload_is_decoded_or_refused(payload in proptest::collection::vec(any::<u8>(), 1..200)) {
            let mut decoder = Decoder::new(8000).unwrap();
            let mut pcm = [0; 160];
            if let Ok(len) = decoder.decode(&payload, &mut pcm) {
                prop_assert!(len <= pcm.len());
            }
        }
    }
}
