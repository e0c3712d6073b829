//! Bridged media without signalling: a media plane in this process, phones on loopback sockets.
//!
//! Each pair of phones sends both ways, a packet every 20 ms. What counts is the CPU time of the
//! plane's own thread.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use media::codec::Codec;
use media::net::{LegHandle, MediaConfig, MediaPlane};
use media::sdp::{self, Capabilities, Negotiated};
use media::shard::{Command, LegParameters};
use serde::Serialize;

use crate::error::Error;
use crate::net::{self, Batch, Poller};
use crate::speaker::{self, Said, Speaker};
use crate::windows::Windows;
use crate::worker::Worker;
use crate::yardstick::Yardstick;

/// What bridged media cost.
#[derive(Serialize)]
pub struct Bridged {
    /// Pairs of legs.
    pub pairs: usize,
    /// CPU time of the media thread for each packet that the phones heard, beside
    /// [`Yardstick::sendto`] and, where Opus is transcoded, [`Yardstick::libopus`].
    #[serde(skip)]
    pub windows: Windows,
    /// Packets that the phones sent.
    pub sent: u64,
    /// Packets that they heard.
    pub heard: u64,
}

/// Measures `pairs` of legs of two codecs for so long.
///
/// # Errors
/// A socket fails, or the media plane does not start or open a leg.
pub fn measure(pairs: usize, codecs: [Codec; 2], time: Duration) -> Result<Bridged, Error> {
    let plane = MediaPlane::start(MediaConfig {
        webrtc_port: 0,
        legs_max: 2 * pairs,
        ..MediaConfig::default()
    })
    .map_err(Error::media)?;
    let mut legs = Vec::with_capacity(pairs);
    let mut phones = Vec::with_capacity(2 * pairs);
    let said = [speaker::said(codecs[0])?, speaker::said(codecs[1])?];
    for _ in 0..pairs {
        let [a, b] = [0, 1].map(|side| open(&plane, codecs[side], &said[side]));
        let ((a, a_phone), (b, b_phone)) = (a?, b?);
        a.command(Command::Bridge { peer: b.id }).map_err(Error::media)?;
        b.command(Command::Bridge { peer: a.id }).map_err(Error::media)?;
        legs.extend([a, b]);
        phones.extend([a_phone, b_phone]);
    }
    let farm = Farm::start(phones)?;
    thread::sleep(SETTLE);
    let mut yardsticks = vec![Yardstick::sendto()?];
    if codecs[0] != codecs[1] && codecs.contains(&Codec::Opus) {
        yardsticks.push(Yardstick::libopus(8_000)?);
    }
    let (sent, heard) = (farm.sent(), farm.heard());
    let windows = Windows::over(time, &yardsticks, || Ok(media_cpu()), || farm.heard())?;
    let (sent, heard) = (farm.sent() - sent, farm.heard() - heard);
    yardsticks.into_iter().try_for_each(Yardstick::stop)?;
    farm.stop()?;
    drop(legs);
    plane.shutdown();
    Ok(Bridged { pairs, windows, sent, heard })
}

/// A phone: its socket, where it sends, what it says.
struct Phone {
    socket: UdpSocket,
    server: SocketAddr,
    speaker: Speaker,
}

/// All phones, on one thread.
struct Farm {
    sent: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
    talk: Worker<()>,
}

impl Farm {
    fn start(mut phones: Vec<Phone>) -> Result<Farm, Error> {
        let (sent, heard) = (Arc::default(), Arc::default());
        let (sending, hearing) = (Arc::clone(&sent), Arc::clone(&heard));
        let work = move |stop: &_| talk(&mut phones, &sending, &hearing, stop);
        Ok(Farm { sent, heard, talk: Worker::start("phones", work)? })
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    fn stop(self) -> Result<(), Error> {
        self.talk.stop()
    }
}

/// Each millisecond a twentieth of the phones speaks, and all that came is read.
fn talk(
    phones: &mut [Phone],
    sent: &AtomicU64,
    heard: &AtomicU64,
    stop: &AtomicBool,
) -> Result<(), Error> {
    let mut poller = Poller::new(1024).map_err(Error::io("opening epoll"))?;
    for (token, phone) in phones.iter().enumerate() {
        poller.add(&phone.socket, token as u64).map_err(Error::io("watching a socket"))?;
    }
    let mut batch = Batch::new();
    let start = Instant::now();
    for tick in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        for phone in phones.iter_mut().skip(tick as usize % 20).step_by(20) {
            phone
                .socket
                .send_to(phone.speaker.next(), phone.server)
                .map_err(Error::io("sending"))?;
            sent.fetch_add(1, Ordering::Relaxed);
        }
        for &token in poller.ready().map_err(Error::io("polling"))? {
            let phone = usize::try_from(token).ok().and_then(|at| phones.get(at));
            let read = phone.map_or(Ok(0), |phone| batch.receive(&phone.socket));
            heard.fetch_add(read.unwrap_or(0) as u64, Ordering::Relaxed);
        }
        let next = start + Duration::from_millis(1) * (tick + 1);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn open(plane: &MediaPlane, codec: Codec, said: &Said) -> Result<(LegHandle, Phone), Error> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (socket, _) =
        net::open_pair(SocketAddr::new(loopback, 0)).map_err(Error::io("a socket"))?;
    let address = socket.local_addr().map_err(Error::io("reading an address"))?;
    let mut parameters = LegParameters::answering(negotiated(codec, address)?);
    parameters.signalling_remote = Some(loopback);
    let leg = plane.open(parameters).map_err(Error::media)?;
    let server = SocketAddr::new(loopback, leg.local.rtp_port);
    let payload_type = codec.descriptor().offered_payload_type;
    let speaker = Speaker::new(codec, payload_type, Arc::clone(said));
    Ok((leg, Phone { socket, server, speaker }))
}

/// With events for digits, as phones have them: for want of those the audio is searched for tones.
fn negotiated(codec: Codec, phone: SocketAddr) -> Result<Negotiated, Error> {
    let payload_type = codec.descriptor().offered_payload_type;
    let offer = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {} RTP/AVP {payload_type} 101\r\na=rtpmap:{payload_type} {codec}\r\n\
         a=rtpmap:101 telephone-event/{}\r\n",
        phone.port(),
        codec.clock_rate_hz()
    );
    let offer = sdp::parse(offer.as_bytes()).map_err(Error::media)?;
    sdp::negotiate(&offer, &Capabilities::default()).map_err(Error::media)
}

/// CPU time of the media thread so far.
fn media_cpu() -> Duration {
    let mut used = 0;
    for entry in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.starts_with("media-") {
            let schedule = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
            used += schedule.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0_u64);
        }
    }
    Duration::from_nanos(used)
}

/// Until sockets are connected, delays have settled and caches are warm.
const SETTLE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        for codecs in [[Codec::Pcmu, Codec::Pcmu], [Codec::Opus, Codec::Pcmu]] {
            let bridged = measure(3, codecs, Duration::from_secs(1)).unwrap();
            // A machine that stands still for a moment moves a few packets out of the window.
            let Bridged { sent, heard, windows, .. } = bridged;
            assert!(heard.abs_diff(sent) < sent / 4, "{heard} of {sent}");
            assert!(windows.cost_us() > 0.0 && windows.multiple() > 0.0);
        }
    }
}
