//! Someone who speaks: ten seconds of sound, encoded once, in RTP packets over and over.

use std::sync::Arc;

use media::codec::{Codec, Encoder};

use crate::error::Error;

/// The payloads of ten seconds of a voice-like sound, shared by all who say it.
pub type Said = Arc<Vec<Vec<u8>>>;

/// The packets of one who speaks.
pub(crate) struct Speaker {
    said: Said,
    samples: u32,
    number: u32,
    packet: Vec<u8>,
}

impl Speaker {
    pub fn new(codec: Codec, payload_type: u8, said: Said) -> Speaker {
        let mut packet = vec![0x80, payload_type];
        packet.resize(8, 0);
        packet.extend(rand::random::<u32>().to_be_bytes());
        Speaker { said, samples: codec.samples_per_frame(), number: 0, packet }
    }

    /// The next packet, one every 20 ms.
    pub fn next(&mut self) -> &[u8] {
        let number = self.number;
        self.number = number.wrapping_add(1);
        let timestamp = number.wrapping_mul(self.samples);
        self.packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        self.packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        self.packet.truncate(HEADER_BYTES);
        let payload = self.said.get(number as usize % self.said.len().max(1));
        self.packet.extend_from_slice(payload.map(Vec::as_slice).unwrap_or_default());
        &self.packet
    }
}

/// Ten seconds of a voice-like sound, encoded as a phone would.
///
/// # Errors
/// The codec fails.
pub fn said(codec: Codec) -> Result<Said, Error> {
    let pcm_rate_hz = codec.descriptor().pcm_rate_hz;
    let mut encoder = Encoder::new(codec, pcm_rate_hz).map_err(Error::media)?;
    let mut payload = [0; 1500];
    let encode = |frame: &Vec<i16>| {
        let len = encoder.encode(frame, &mut payload).map_err(Error::media)?;
        Ok(payload[..len].to_vec())
    };
    frames(pcm_rate_hz).iter().map(encode).collect::<Result<_, Error>>().map(Arc::new)
}

/// Ten seconds of a chord that swells and fades three times a second, in frames of 20 ms.
pub(crate) fn frames(pcm_rate_hz: u32) -> Vec<Vec<i16>> {
    let sample = |n: u32| {
        let t = f64::from(n) / f64::from(pcm_rate_hz) * std::f64::consts::TAU;
        let chord: f64 = (1..12).map(|k| (t * 137.0 * f64::from(k)).sin() / f64::from(k)).sum();
        (4000.0 * chord * (1.0 + (3.0 * t).sin()) / 2.0) as i16
    };
    let len = pcm_rate_hz / 50;
    (0..500).map(|frame| (frame * len..(frame + 1) * len).map(sample).collect()).collect()
}

const HEADER_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use crate::stream::Header;

    #[test]
    fn packets_follow_each_other_and_what_is_said_begins_again() {
        let said = said(Codec::Pcmu).unwrap();
        let mut speaker = Speaker::new(Codec::Pcmu, 0, Arc::clone(&said));
        let first = speaker.next().to_vec();
        let second = speaker.next().to_vec();
        let [a, b] = [&first, &second].map(|packet| Header::parse(packet).unwrap());
        assert_eq!(b.sequence_number, a.sequence_number.wrapping_add(1));
        assert_eq!(b.rtp_timestamp, a.rtp_timestamp.wrapping_add(160));
        assert_eq!((b.ssrc, second.len()), (a.ssrc, 172));
        let again = (2..=said.len()).map(|_| speaker.next().to_vec()).last().unwrap();
        assert_eq!(again[12..], first[12..]);
    }
}
