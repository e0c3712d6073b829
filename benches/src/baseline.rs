//! What the kernel asks for a datagram when nothing else is done: the unit of the other figures.
//!
//! A thread sends datagrams of 172 bytes (a PCMU packet) with `sendto` on one unconnected socket
//! to as many loopback receivers as there are calls. They are drained as the load generator
//! drains its calls: by a thread that sleeps a millisecond and then reads what is there.
//! Fewer than 500 receivers would overflow in a tight loop, and what is dropped is cheaper.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Error;
use crate::net::{self, Batch, Poller};
use crate::worker::Worker;

/// Thread CPU per datagram.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Baseline {
    /// Sent one after the other: the cheapest that `sendto` gets, and the unit of the multiples.
    pub tight_ns: f64,
    /// Sent in the rhythm of a media thread, a twentieth of the receivers each millisecond, when
    /// caches are cold; the sleep between is left out.
    pub paced_ns: f64,
    /// The same with the sleep: what a machine asks of a thread that sends in this rhythm and does
    /// nothing else. On a virtual machine a sleep may cost as much as ten datagrams.
    pub rhythm_ns: f64,
    /// Share of the datagrams that arrived.
    pub received: f64,
}

/// Measures with this many receivers; the medians of several repetitions.
///
/// # Errors
/// [`Error::Io`] when a socket fails.
pub fn measure(receivers: usize) -> Result<Baseline, Error> {
    let target = Target::open(receivers)?;
    let sender = target.sender()?;
    let (mut tight, mut paced, mut rhythm) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        tight.push(target.tight(&sender)?);
        let (sending, all) = target.paced(&sender)?;
        paced.push(sending);
        rhythm.push(all);
    }
    let sent = target.sent.load(Ordering::Relaxed);
    let received = target.drain.stop()?;
    Ok(Baseline {
        tight_ns: median(&mut tight),
        paced_ns: median(&mut paced),
        rhythm_ns: median(&mut rhythm),
        received: received as f64 / sent.max(1) as f64,
    })
}

/// Receivers, and the thread that drains them until this is dropped.
pub(crate) struct Target {
    /// Receivers that the paced sender uses; the others keep a tight one from filling buffers.
    calls: usize,
    addresses: Vec<SocketAddr>,
    sent: AtomicU64,
    drain: Worker<u64>,
}

impl Target {
    /// As many receivers as there are calls, and no fewer than a tight loop needs.
    pub fn open(receivers: usize) -> Result<Target, Error> {
        let (calls, receivers) = (receivers.max(20), receivers.max(RECEIVERS_MIN));
        let mut sockets = Vec::with_capacity(receivers);
        let mut addresses = Vec::with_capacity(receivers);
        for _ in 0..receivers {
            let (socket, _) =
                net::open_pair(LOOPBACK.into()).map_err(Error::io("opening a socket"))?;
            addresses.push(socket.local_addr().map_err(Error::io("reading an address"))?);
            sockets.push(socket);
        }
        let drain = Worker::start("baseline", move |stop| drain(&sockets, stop))?;
        Ok(Target { calls, addresses, sent: AtomicU64::new(0), drain })
    }

    /// The one socket that sends, not connected.
    pub fn sender(&self) -> Result<UdpSocket, Error> {
        net::open(LOOPBACK.into(), 1 << 16).map_err(Error::io("opening a socket"))
    }

    /// Sends so many to all receivers in turn, one after the other; the CPU time of it.
    pub fn burst(&self, sender: &UdpSocket, packets: usize) -> Result<Duration, Error> {
        let before = net::thread_cpu();
        for &address in self.addresses.iter().cycle().take(packets) {
            send(sender, address)?;
        }
        let used = net::thread_cpu() - before;
        self.sent.fetch_add(packets as u64, Ordering::Relaxed);
        Ok(used)
    }

    fn tight(&self, sender: &UdpSocket) -> Result<f64, Error> {
        let used = self.burst(sender, TIGHT_PACKETS)?;
        // The receiver catches up, so that the next repetition finds empty buffers.
        thread::sleep(Duration::from_millis(50));
        Ok(used.as_nanos() as f64 / TIGHT_PACKETS as f64)
    }

    /// Per datagram, without and with the sleep.
    fn paced(&self, sender: &UdpSocket) -> Result<(f64, f64), Error> {
        let start = Instant::now();
        let begin = net::thread_cpu();
        let mut sending = Duration::ZERO;
        let mut packets = 0_u64;
        for tick in 0..PACED_TICKS {
            let slot = tick as usize % 20;
            let before = net::thread_cpu();
            for &address in self.addresses.iter().take(self.calls).skip(slot).step_by(20) {
                send(sender, address)?;
                packets += 1;
            }
            sending += net::thread_cpu() - before;
            let next = start + Duration::from_millis(1) * (tick + 1);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let all = net::thread_cpu() - begin;
        self.sent.fetch_add(packets, Ordering::Relaxed);
        let per_packet = |used: Duration| used.as_nanos() as f64 / packets.max(1) as f64;
        Ok((per_packet(sending), per_packet(all)))
    }
}

fn send(sender: &UdpSocket, address: SocketAddr) -> Result<(), Error> {
    sender.send_to(&[0x55; PACKET_BYTES], address).map_err(Error::io("sending a datagram"))?;
    Ok(())
}

fn drain(sockets: &[UdpSocket], stop: &AtomicBool) -> Result<u64, Error> {
    let mut poller = Poller::new(1024).map_err(Error::io("opening epoll"))?;
    for (token, socket) in sockets.iter().enumerate() {
        poller.add(socket, token as u64).map_err(Error::io("watching a socket"))?;
    }
    let mut batch = Batch::new();
    let mut received = 0;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
        for &token in poller.ready().map_err(Error::io("polling"))? {
            let socket = usize::try_from(token).ok().and_then(|index| sockets.get(index));
            received += socket.map_or(Ok(0), |socket| batch.receive(socket)).unwrap_or(0) as u64;
        }
    }
    Ok(received)
}

/// The middle one; NaN without any.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
/// 12 bytes of header and 20 ms of PCMU.
const PACKET_BYTES: usize = 172;
const RECEIVERS_MIN: usize = 500;
const REPETITIONS: usize = 7;
const TIGHT_PACKETS: usize = 100_000;
const PACED_TICKS: u32 = 300;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn the_baseline_arrives_and_costs_something() {
        let target = Target::open(40).unwrap();
        let sender = target.sender().unwrap();
        let (sending, all) = target.paced(&sender).unwrap();
        assert!(all > sending && sending > 100.0);
        assert_eq!(target.sent.load(Ordering::Relaxed), 600);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(target.drain.stop().unwrap(), 600);
    }
}
