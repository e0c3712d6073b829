//! The audio of the calls that a phone has answered: what it says and hears in each of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use media::codec::Codec;

use crate::description::{Format, media_address};
use crate::error::Error;
use crate::net::{self, Batch, Poller};
use crate::speaker::{self, Said, Speaker};
use crate::stream::{Pacing, Stream, StreamTotals};
use crate::ticks::FRAME_TICKS;

/// The audio of all calls of a phone.
pub(super) struct Voices {
    codec: Codec,
    said: Said,
    poller: Poller,
    batch: Batch,
    /// By Call-ID, the place in `voices`.
    places: BTreeMap<String, usize>,
    voices: Vec<Option<Voice>>,
    pacing: Pacing,
    streams: StreamTotals,
    sent: u64,
}

struct Voice {
    rtp: UdpSocket,
    /// Nobody looks at what comes here; an open port spares the server an ICMP message.
    _rtcp: UdpSocket,
    remote: SocketAddr,
    speaker: Speaker,
    stream: Stream,
}

impl Voices {
    pub fn new(codec: Codec) -> Result<Voices, Error> {
        Ok(Voices {
            codec,
            said: speaker::said(codec)?,
            poller: Poller::new(READY_MAX).map_err(Error::io("opening epoll"))?,
            batch: Batch::new(),
            places: BTreeMap::new(),
            voices: Vec::new(),
            pacing: Pacing::new(),
            streams: StreamTotals::default(),
            sent: 0,
        })
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The port of a call, opened when its INVITE comes for the first time; `None` for an offer
    /// without an address.
    pub fn open(
        &mut self,
        call_id: &str,
        offer: &str,
        formats: &[Format],
        ip: IpAddr,
    ) -> Result<Option<SocketAddr>, Error> {
        let local = |voice: &Voice| voice.rtp.local_addr().map_err(Error::io("reading an address"));
        let place = self.places.get(call_id).and_then(|&place| self.voices.get(place));
        if let Some(Some(voice)) = place {
            return local(voice).map(Some);
        }
        let (Some(remote), Some(format)) = (media_address(offer), formats.first()) else {
            return Ok(None);
        };
        let (rtp, rtcp) =
            net::open_pair(SocketAddr::new(ip, 0)).map_err(Error::io("opening media ports"))?;
        let place = self.voices.len();
        self.poller.add(&rtp, place as u64).map_err(Error::io("watching a socket"))?;
        let speaker = Speaker::new(self.codec, format.payload_type, Arc::clone(&self.said));
        let stream = Stream::new(self.codec.samples_per_frame());
        let voice = Voice { rtp, _rtcp: rtcp, remote, speaker, stream };
        let address = local(&voice)?;
        self.voices.push(Some(voice));
        self.places.insert(call_id.to_owned(), place);
        Ok(Some(address))
    }

    /// Closes the port of a call.
    pub fn close(&mut self, call_id: &str) {
        let place = self.places.remove(call_id).and_then(|place| self.voices.get_mut(place));
        if let Some(voice) = place.and_then(Option::take) {
            voice.stream.add_to(&mut self.streams);
        }
    }

    /// Sends the packets of the calls whose turn it is: of every call once in a frame.
    pub fn talk(&mut self, tick: u64) {
        let slot = usize::try_from(tick % FRAME_TICKS).unwrap_or(0);
        let slots = self.voices.iter_mut().skip(slot).step_by(FRAME_TICKS as usize);
        for Voice { rtp, remote, speaker, .. } in slots.flatten() {
            self.sent += u64::from(rtp.send_to(speaker.next(), *remote).is_ok());
        }
    }

    /// Takes in what has come; says how many packets that was.
    pub fn read(&mut self) -> Result<u64, Error> {
        let mut packets = 0;
        for &token in self.poller.ready().map_err(Error::io("polling"))? {
            let place = usize::try_from(token).ok().and_then(|place| self.voices.get_mut(place));
            let Some(Some(voice)) = place else { continue };
            let count = self.batch.receive(&voice.rtp).unwrap_or(0);
            for datagram in self.batch.datagrams(count) {
                let arrived_ns = datagram.arrived_ns;
                let is_new =
                    voice.stream.handle_datagram(datagram.bytes, &mut self.pacing, arrived_ns);
                packets += u64::from(is_new);
            }
        }
        Ok(packets)
    }

    /// What was heard in all calls, and how many packets were sent.
    pub fn conclude(mut self) -> (StreamTotals, u64) {
        for voice in self.voices.iter().flatten() {
            voice.stream.add_to(&mut self.streams);
        }
        (self.streams, self.sent)
    }
}

const READY_MAX: usize = 1024;
