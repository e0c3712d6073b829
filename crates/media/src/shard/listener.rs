//! Hears digits in the audio of a leg whose peer sends no events.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    codec::{Codec, Decoder},
    dtmf::{DtmfDetector, DtmfEvent},
    rtp::ExtendedSequenceNumber,
};

/// A decoder of the leg's codec, and the detector that listens to it.
pub(crate) struct Listener {
    codec: Codec,
    decoder: Decoder,
    detector: DtmfDetector,
    /// The newest packet that was heard; what is late is of no use.
    newest: Option<ExtendedSequenceNumber>,
    /// When a digit has ended for want of audio.
    ends_at: Option<Instant>,
}

impl Listener {
    /// `None` if the codec library fails.
    pub(crate) fn new(codec: Codec) -> Option<Box<Self>> {
        let decoder = Decoder::new(codec, RATE_HZ).ok()?;
        let detector = DtmfDetector::new(RATE_HZ);
        Some(Box::new(Self { codec, decoder, detector, newest: None, ends_at: None }))
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// Listens to a packet, whose audio goes by way of `pcm`; a digit is returned when it has ended.
    /// Packets hold less than two digits.
    pub(crate) fn hear(
        &mut self,
        pcm: &mut [i16; SAMPLES_MAX],
        number: ExtendedSequenceNumber,
        payload: &[u8],
        now: Instant,
    ) -> Option<DtmfEvent> {
        if self.newest.is_some_and(|newest| number <= newest) {
            return None;
        }
        self.newest = Some(number);
        let len = self.decoder.decode(payload, pcm).ok()?;
        let mut ended = None;
        self.detector.listen(pcm.get(..len)?, |event| ended = Some(event));
        self.ends_at = self.detector.is_hearing().then(|| now + AUDIO_LOST_AFTER);
        ended
    }

    /// Another stream begins, with numbers of its own; a digit may go on in it.
    pub(crate) fn restart(&mut self) {
        self.newest = None;
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<DtmfEvent> {
        self.ends_at.take_if(|at| *at <= now)?;
        self.detector.finish()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.ends_at
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("codec", &self.codec).finish_non_exhaustive()
    }
}

/// All tones are below half of it.
const RATE_HZ: u32 = 8000;
/// What a packet of any codec may hold: 200 ms of G.711 are more than 120 ms of Opus.
pub(super) const SAMPLES_MAX: usize = 1600;
/// Silence on the wire that ends a digit.
const AUDIO_LOST_AFTER: Duration = Duration::from_millis(200);
