//! Where a ClientHello waits that came before the ICE check of its address.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Datagrams kept for a moment, a bounded number of them; the oldest gives way.
#[derive(Debug)]
pub(crate) struct Pen {
    waiting: VecDeque<(SocketAddr, Instant, Box<[u8]>)>,
    datagrams_max: usize,
}

impl Pen {
    pub(crate) fn new(datagrams_max: usize) -> Self {
        Self { waiting: VecDeque::with_capacity(datagrams_max), datagrams_max }
    }

    /// Keeps a datagram; returns how many older ones had to go.
    pub(crate) fn push(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> u64 {
        let before = self.waiting.len();
        self.waiting.retain(|(_, at, _)| now.saturating_duration_since(*at) < KEPT);
        while self.waiting.len() >= self.datagrams_max.max(1) {
            self.waiting.pop_front();
        }
        let gone = before - self.waiting.len();
        self.waiting.push_back((from, now, datagram.into()));
        gone as u64
    }

    /// Takes out the oldest datagram that came `from` an address.
    pub(crate) fn take(&mut self, from: SocketAddr, now: Instant) -> Option<Box<[u8]>> {
        let is_it = |(address, at, _): &(SocketAddr, Instant, Box<[u8]>)| {
            *address == from && now.saturating_duration_since(*at) < KEPT
        };
        let at = self.waiting.iter().position(is_it)?;
        self.waiting.remove(at).map(|(.., datagram)| datagram)
    }
}

/// How long a datagram waits: by then the peer has sent another.
const KEPT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_out_by_address_in_order_and_in_time() {
        let now = Instant::now();
        let (a, b) = (SocketAddr::from(([1; 4], 1)), SocketAddr::from(([2; 4], 2)));
        let mut pen = Pen::new(3);
        assert_eq!(pen.push(a, &[1], now), 0);
        assert_eq!(pen.push(b, &[2], now), 0);
        assert_eq!(pen.push(a, &[3], now), 0);
        assert_eq!(pen.take(a, now).as_deref(), Some(&[1][..]));
        assert_eq!(pen.take(a, now).as_deref(), Some(&[3][..]));
        assert_eq!(pen.take(a, now), None);
        assert_eq!(pen.take(b, now + KEPT), None);
    }

    #[test]
    fn the_pen_is_bounded() {
        let now = Instant::now();
        let mut pen = Pen::new(3);
        let gone: u64 = (0..100).map(|n| pen.push(([1; 4], n).into(), &[0], now)).sum();
        assert_eq!((gone, pen.waiting.len()), (97, 3));
    }
}
