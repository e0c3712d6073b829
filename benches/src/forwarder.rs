//! What the kernel asks for a datagram that is received and sent on when nothing else is done: what
//! the figures of bridged media cannot get below.
//!
//! Phones send a datagram of 172 bytes (a PCMU packet) every 20 ms, a twentieth of them each
//! millisecond. A thread sleeps for 5 ms, receives from the connected sockets of those that have
//! sent meanwhile, and sends what came by the connected socket of each one's neighbour: two system
//! calls a datagram, and no other work.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::baseline::median;
use crate::error::Error;
use crate::net::{self, Batch, Poller};
use crate::report::Row;
use crate::worker::Worker;
use crate::yardstick::Yardstick;

/// Thread CPU per datagram, its share of the sleep included, as a multiple of a bare `sendto` in the
/// same seconds; the medians of several repetitions.
///
/// # Errors
/// [`Error::Io`] when a socket fails.
pub fn measure(pairs: usize) -> Result<Row, Error> {
    let phones: Vec<_> = (0..2 * pairs.max(TICKS)).map(|_| open()).collect::<Result<_, _>>()?;
    let own: Vec<_> = phones.iter().map(|_| open()).collect::<Result<_, Error>>()?;
    for (own, phone) in own.iter().zip(&phones) {
        own.connect(address(phone)?).map_err(Error::io("connecting a socket"))?;
    }
    let to = own.iter().map(address).collect::<Result<Vec<_>, _>>()?;
    let talk = Worker::start("phones", move |stop| talk(&phones, &to, stop))?;
    let yardstick = Yardstick::sendto()?;
    let (mut costs, mut multiples) = (Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        let mark = yardstick.mark();
        let cost = forward(&own);
        costs.push(cost / 1e3);
        multiples.push(cost / yardstick.since(mark));
    }
    yardstick.stop()?;
    talk.stop()?;
    let row = Row::new("received and sent on, and nothing else", median(&mut costs), "µs");
    Ok(row.multiple(median(&mut multiples)))
}

fn open() -> Result<UdpSocket, Error> {
    net::open((Ipv4Addr::LOCALHOST, 0).into(), 1 << 16).map_err(Error::io("opening a socket"))
}

fn address(socket: &UdpSocket) -> Result<SocketAddr, Error> {
    socket.local_addr().map_err(Error::io("reading an address"))
}

/// Every phone sends once in 20 ms and hears what is there.
fn talk(phones: &[UdpSocket], to: &[SocketAddr], stop: &AtomicBool) -> Result<(), Error> {
    let mut poller = Poller::new(1024).map_err(Error::io("opening epoll"))?;
    for (token, phone) in phones.iter().enumerate() {
        poller.add(phone, token as u64).map_err(Error::io("watching a socket"))?;
    }
    let (mut batch, start) = (Batch::new(), Instant::now());
    for tick in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        for (phone, to) in phones.iter().zip(to).skip(tick as usize % TICKS).step_by(TICKS) {
            phone.send_to(&[0x55; PACKET_BYTES], to).map_err(Error::io("sending a datagram"))?;
        }
        for &token in poller.ready().map_err(Error::io("polling"))? {
            if let Some(phone) = usize::try_from(token).ok().and_then(|at| phones.get(at)) {
                // What is not there is not missed.
                let _ = batch.receive(phone);
            }
        }
        thread::sleep((start + TICK * (tick + 1)).saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Nanoseconds per datagram over half a second.
fn forward(own: &[UdpSocket]) -> f64 {
    let (start, before) = (Instant::now(), net::thread_cpu());
    let mut buffer = [0; 2_048];
    let mut packets = 0_u32;
    for quarter in 0..QUARTERS {
        thread::sleep((start + TICK * 5 * (quarter + 1)).saturating_duration_since(Instant::now()));
        let ticks = (quarter as usize % 4) * 5;
        for first in ticks..ticks + 5 {
            for at in (first..own.len()).step_by(TICKS) {
                let (Some(from), Some(neighbour)) = (own.get(at), own.get(at ^ 1)) else {
                    continue;
                };
                // Phase and stalls: who has nothing now has it the next time.
                let Ok(bytes) = from.recv(&mut buffer) else { continue };
                let Some(datagram) = buffer.get(..bytes) else { continue };
                packets += u32::from(neighbour.send(datagram).is_ok());
            }
        }
    }
    (net::thread_cpu() - before).as_nanos() as f64 / f64::from(packets.max(1))
}

const PACKET_BYTES: usize = 172;
const TICK: Duration = Duration::from_millis(1);
/// Milliseconds between two datagrams of a phone.
const TICKS: usize = 20;
const QUARTERS: u32 = 100;
const REPETITIONS: usize = 5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn to_receive_and_send_costs_something() {
        let row = measure(20).unwrap();
        assert!((0.2..1e3).contains(&row.value) && row.multiple.is_some_and(|m| m > 0.1), "{row}");
    }
}
