//! What the kernel asks for a set-up when nothing else is done: the least that an answered call can
//! cost on this machine, in the rhythm in which calls are placed.
//!
//! A thread takes three datagrams, as long as an INVITE, an ACK and a BYE, and answers the first
//! and the last; with the first it opens the two ports of a leg, with the second it sends one packet
//! of media, and with the last it closes them. It sleeps until each datagram comes.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::net;

/// Thread CPU of whoever is called, for each call, in nanoseconds.
///
/// # Errors
/// [`Error::Io`] when a socket fails.
pub fn measure(rate: f64) -> Result<f64, Error> {
    let called = bind()?;
    let address = called.local_addr().map_err(Error::io("reading an address"))?;
    called.set_read_timeout(Some(PATIENCE)).map_err(Error::io("setting a time to wait"))?;
    let calls = (rate * TIME.as_secs_f64()) as usize;
    thread::scope(|scope| {
        let answering = scope.spawn(move || answer(&called));
        place(address, rate, calls)?;
        let (used, ended) = answering.join().map_err(|_| Error::ThreadLost)??;
        Ok(used.as_nanos() as f64 / ended as f64)
    })
}

/// Places calls, each datagram a millisecond after the one before.
fn place(called: SocketAddr, rate: f64, calls: usize) -> Result<(), Error> {
    let caller = bind()?;
    caller.set_nonblocking(true).map_err(Error::io("setting a socket"))?;
    let mut under_way = VecDeque::new();
    let (start, mut placed, mut ended, mut tick) = (Instant::now(), 0, 0, 0);
    while ended < calls {
        tick += 1;
        thread::sleep((start + TICK * tick).saturating_duration_since(Instant::now()));
        while caller.recv(&mut [0; LONG]).is_ok() {}
        for length in under_way.drain(..).collect::<Vec<_>>() {
            send(&caller, length, called)?;
            match length {
                ACK => under_way.push_back(BYE),
                _ => ended += 1,
            }
        }
        while placed < calls && placed as f64 <= start.elapsed().as_secs_f64() * rate {
            send(&caller, INVITE, called)?;
            under_way.push_back(ACK);
            placed += 1;
        }
    }
    Ok(())
}

/// Answers until nothing has come for a while: CPU time, and how many calls ended.
fn answer(called: &UdpSocket) -> Result<(Duration, usize), Error> {
    let mut legs: VecDeque<(UdpSocket, UdpSocket)> = VecDeque::new();
    let (before, mut ended) = (net::thread_cpu(), 0);
    let mut datagram = [0; LONG];
    while let Ok((length, caller)) = called.recv_from(&mut datagram) {
        match length {
            INVITE => {
                legs.push_back((bind()?, bind()?));
                send(called, ANSWER, caller)?;
            }
            ACK => {
                if let Some((rtp, _)) = legs.back() {
                    send(rtp, PACKET, caller)?;
                }
            }
            _ => {
                legs.pop_front();
                ended += 1;
                send(called, BYE, caller)?;
            }
        }
    }
    Ok((net::thread_cpu() - before, ended))
}

fn bind() -> Result<UdpSocket, Error> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("opening a socket"))
}

fn send(socket: &UdpSocket, length: usize, to: SocketAddr) -> Result<(), Error> {
    let bytes = [b'x'; LONG];
    socket.send_to(&bytes[..length], to).map_err(Error::io("sending a datagram"))?;
    Ok(())
}

/// Bytes of what a set-up sends; the first three tell a datagram apart.
const INVITE: usize = 500;
const ACK: usize = 350;
const BYE: usize = 360;
const ANSWER: usize = 700;
/// 12 bytes of header and 20 ms of PCMU.
const PACKET: usize = 172;
const LONG: usize = 1500;
const TICK: Duration = Duration::from_millis(1);
/// How long calls are placed.
const TIME: Duration = Duration::from_secs(3);
/// After this no datagram is on its way any more.
const PATIENCE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn every_call_ends_and_costs_something() {
        let called = bind().unwrap();
        called.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = called.local_addr().unwrap();
        let (used, ended) = thread::scope(|scope| {
            let answering = scope.spawn(|| answer(&called));
            place(address, 500.0, 100).unwrap();
            answering.join().unwrap().unwrap()
        });
        assert_eq!(ended, 100);
        assert!(used > Duration::from_micros(100), "{used:?}");
    }
}
