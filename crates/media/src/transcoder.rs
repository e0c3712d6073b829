//! One leg's audio made fit for another leg: decoded, and encoded anew.
//!
//! Nothing is resampled: Opus and G.722 are decoded and encoded at the sampling rate of the other
//! side.

use std::time::Instant;

use crate::{
    codec::{Codec, Encoder, FRAME_MS, g711, opus},
    error::Error,
    playout::Playout,
    sdp::OpusParameters,
    shard::{Discard, Media},
};

/// From the packets of one codec to a payload of another every 20 ms.
#[derive(Debug)]
pub(crate) struct Transcoder {
    from: Codec,
    to: Codec,
    playout: Playout,
    encoder: Encoder,
    pcm: Box<[i16]>,
}

impl Transcoder {
    /// A transcoder between two codecs. What is encoded to Opus follows `wishes`, with an effort of
    /// `complexity`, 0 to 10.
    ///
    /// # Errors
    /// The codec library fails.
    pub(crate) fn new(
        from: Codec,
        to: Codec,
        wishes: &OpusParameters,
        complexity: u8,
        now: Instant,
    ) -> Result<Self, Error> {
        let pcm_rate_hz = pcm_rate(from, to);
        Ok(Self {
            from,
            to,
            playout: Playout::new(from, pcm_rate_hz, now)?,
            encoder: encoder(to, pcm_rate_hz, wishes, complexity)?,
            pcm: vec![0; (pcm_rate_hz / 1000 * FRAME_MS) as usize].into(),
        })
    }

    /// Whether it is a transcoder between these codecs.
    pub(crate) fn is_between(&self, from: Codec, to: Codec) -> bool {
        (self.from, self.to) == (from, to)
    }

    /// Takes a packet in; or says why it is of no use.
    pub(crate) fn push(&mut self, media: &Media<'_>, now: Instant) -> Result<(), Discard> {
        self.playout.push(media, now)
    }

    /// Whether there is or soon may be something to send.
    pub(crate) fn is_awake(&self) -> bool {
        self.playout.is_awake()
    }

    /// Lets a frame's time pass without sending it.
    pub(crate) fn pass_over_frame(&mut self, now: Instant) {
        self.playout.frame(&mut self.pcm, now);
    }

    /// Writes the next frame into `payload` and returns its length; `None` where it is not to be
    /// sent.
    pub(crate) fn frame(&mut self, payload: &mut [u8], now: Instant) -> Option<usize> {
        self.playout.frame(&mut self.pcm, now);
        let len = self.encoder.encode(&self.pcm, payload).ok()?;
        let is_rest = self.to == Codec::Opus && len <= opus::DTX_BYTES_MAX;
        (!is_rest).then_some(len)
    }

    /// Prepares for the share of packets that the peer says it loses.
    pub(crate) fn expect_loss(&mut self, percent: u8) {
        if let Encoder::Opus(encoder) = &mut self.encoder {
            // A refusal leaves the encoder as it was, which is good enough.
            let _ = encoder.expect_loss(percent);
        }
    }
}

/// An encoder of a live voice.
///
/// # Errors
/// The codec library fails.
pub(crate) fn encoder(
    codec: Codec,
    pcm_rate_hz: u32,
    wishes: &OpusParameters,
    complexity: u8,
) -> Result<Encoder, Error> {
    if codec == Codec::Opus {
        let settings = opus::Settings::for_peer(wishes, complexity, pcm_rate_hz);
        return opus::Encoder::new(pcm_rate_hz, settings).map(Encoder::Opus);
    }
    Encoder::new(codec, pcm_rate_hz)
}

/// The sampling rate at which both codecs work.
fn pcm_rate(from: Codec, to: Codec) -> u32 {
    let own = |codec: Codec| match codec {
        Codec::Opus => WIDE_HZ,
        codec => codec.descriptor().pcm_rate_hz,
    };
    own(from).min(own(to))
}

/// Two legs of Opus hear each other in wide band, where they are transcoded at all.
const WIDE_HZ: u32 = 16_000;

/// The code of the second codec for each code of the first, where both are G.711: then a payload is
/// translated as it is.
pub(crate) fn translation(from: Codec, to: Codec) -> Option<&'static [u8; 256]> {
    match (from, to) {
        (Codec::Pcmu, Codec::Pcma) => Some(&g711::ULAW_TO_ALAW),
        (Codec::Pcma, Codec::Pcmu) => Some(&g711::ALAW_TO_ULAW),
        _ => None,
    }
}
