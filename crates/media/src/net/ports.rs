//! Ports of plain legs: pairs of an even one for RTP and the next for RTCP (RFC 3550 §11).

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use rand::RngExt;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::steady::Steady;
use crate::shard::Earlier;

/// Hands out pairs of ports of a range, for each address we are bound to.
#[derive(Debug)]
pub(super) struct PortAllocator {
    first: u16,
    pairs: usize,
    used: Mutex<BTreeMap<IpAddr, Used>>,
}

#[derive(Debug)]
struct Used {
    pairs: Vec<Pair>,
    count: usize,
    /// Where the search goes on: a pair that was given back rests as long as possible, so that late
    /// packets of one call do not reach the next.
    next: usize,
}

#[derive(Debug, Default)]
struct Pair {
    is_used: bool,
    /// Legs whose peers are said to have their media there.
    aims: usize,
    /// `None`: no call had it yet.
    earlier: Option<Earlier>,
}

/// A pair of sockets, and the right to its ports; both end when it is dropped.
#[derive(Debug)]
pub(super) struct PortPair {
    pub(super) rtp: Socket,
    pub(super) rtcp: Socket,
    pub(super) port: u16,
    /// Where RTP leaves once it goes to one address.
    pub(super) steady: Steady,
    /// Who spoke to it in the calls before.
    pub(super) earlier: Earlier,
    _lease: Lease,
}

/// A peer is said to have its media at a pair of ours, which nobody gets as long as this lives: what
/// is sent there must not come to another leg.
#[derive(Debug)]
pub(super) struct Aim {
    allocator: Arc<PortAllocator>,
    address: IpAddr,
    pair: usize,
}

#[derive(Debug)]
struct Lease {
    allocator: Arc<PortAllocator>,
    address: IpAddr,
    pair: usize,
}

impl PortAllocator {
    pub(super) fn new(range: &RangeInclusive<u16>) -> Self {
        let first = range.start().next_multiple_of(2);
        let count = usize::from(*range.end()).saturating_add(1).saturating_sub(usize::from(first));
        Self { first, pairs: count / 2, used: Mutex::default() }
    }

    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }

    pub(super) fn pairs_used(&self) -> usize {
        self.lock().values().map(|used| used.count).sum()
    }

    /// Whether every pair of an address is in use.
    pub(super) fn is_full(&self, address: IpAddr) -> bool {
        self.lock().get(&address).is_some_and(|used| used.count == self.pairs)
    }

    /// Whether a port, of RTP or RTCP, is in use by us.
    pub(super) fn is_used(&self, address: IpAddr, port: u16) -> bool {
        let Some(pair) = self.pair_of(port) else { return false };
        self.lock().get(&address).is_some_and(|used| used.pairs[pair].is_used)
    }

    /// Keeps a port, if it is one of the range, from who does not have it yet.
    pub(super) fn aim(self: &Arc<Self>, address: IpAddr, port: u16) -> Option<Aim> {
        let pair = self.pair_of(port)?;
        self.used(&mut self.lock(), address).pairs[pair].aims += 1;
        Some(Aim { allocator: Arc::clone(self), address, pair })
    }

    fn pair_of(&self, port: u16) -> Option<usize> {
        let pair = usize::from(port.checked_sub(self.first)? / 2);
        (pair < self.pairs).then_some(pair)
    }

    /// Binds the next free pair on `address`, passing over ports that others use. `None`: every pair
    /// is in use.
    pub(super) fn bind(self: &Arc<Self>, address: IpAddr) -> io::Result<Option<PortPair>> {
        for _ in 0..self.pairs {
            let Some((lease, earlier)) = self.lease(address) else { return Ok(None) };
            let port = self.first + 2 * lease.pair as u16;
            match (bind(address, port), bind(address, port + 1)) {
                (Ok(rtp), Ok(rtcp)) => {
                    let steady = Steady::default();
                    return Ok(Some(PortPair { rtp, rtcp, port, steady, earlier, _lease: lease }));
                }
                (Err(error), _) | (_, Err(error)) if error.kind() != io::ErrorKind::AddrInUse => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn lease(self: &Arc<Self>, address: IpAddr) -> Option<(Lease, Earlier)> {
        let pairs = self.pairs;
        let mut table = self.lock();
        let used = self.used(&mut table, address);
        let order = (used.next..pairs).chain(0..used.next);
        let pair = order.into_iter().find(|pair| {
            let Pair { is_used, aims, .. } = used.pairs[*pair];
            !is_used && aims == 0
        })?;
        used.pairs[pair].is_used = true;
        used.count += 1;
        used.next = (pair + 1) % pairs;
        let earlier = used.pairs[pair].earlier.get_or_insert_default().clone();
        Some((Lease { allocator: Arc::clone(self), address, pair }, earlier))
    }

    fn used<'a>(&self, table: &'a mut BTreeMap<IpAddr, Used>, address: IpAddr) -> &'a mut Used {
        table.entry(address).or_insert_with(|| Used {
            pairs: (0..self.pairs).map(|_| Pair::default()).collect(),
            count: 0,
            next: rand::rng().random_range(0..self.pairs.max(1)),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(used) = self.allocator.lock().get_mut(&self.address) {
            used.pairs[self.pair].is_used = false;
            used.count -= 1;
        }
    }
}

impl Drop for Aim {
    fn drop(&mut self) {
        if let Some(used) = self.allocator.lock().get_mut(&self.address) {
            used.pairs[self.pair].aims -= 1;
        }
    }
}

/// A UDP socket that does not block.
pub(super) fn bind(address: IpAddr, port: u16) -> io::Result<Socket> {
    let address = SocketAddr::new(address, port);
    let kind = Type::DGRAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// A range of ports that nobody used a moment ago.
    fn range(pairs: u16) -> RangeInclusive<u16> {
        let socket = bind(LOOPBACK, 0).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let first = port.min(u16::MAX - 2 * pairs).next_multiple_of(2);
        first..=first + 2 * pairs - 1
    }

    #[test]
    fn pairs_are_even_and_odd_until_none_is_left() {
        let allocator = Arc::new(PortAllocator::new(&range(4)));
        let mut pairs = Vec::new();
        while let Some(pair) = allocator.bind(LOOPBACK).unwrap() {
            assert_eq!(pair.port % 2, 0);
            let rtcp = pair.rtcp.local_addr().unwrap().as_socket().unwrap();
            assert_eq!(rtcp.port(), pair.port + 1);
            pairs.push(pair);
        }
        assert_eq!(allocator.pairs_used(), pairs.len());
        assert_eq!(allocator.is_full(LOOPBACK), pairs.len() == 4);
        assert!(pairs.len() >= 3, "{}", pairs.len());
        pairs.remove(0);
        assert!(allocator.bind(LOOPBACK).unwrap().is_some());
        drop(pairs);
        assert_eq!(allocator.pairs_used(), 0);
    }

    #[test]
    fn a_pair_that_a_peer_names_is_kept_from_others() {
        let range = range(3);
        let allocator = Arc::new(PortAllocator::new(&range));
        let aims = [range.start() + 1, range.start() + 2, range.start() + 2]
            .map(|port| allocator.aim(LOOPBACK, port));
        assert!(aims.iter().all(Option::is_some));
        assert!(allocator.aim(LOOPBACK, range.end() + 1).is_none());
        let pair = allocator.bind(LOOPBACK).unwrap().unwrap();
        assert_eq!(pair.port, range.start() + 4);
        assert!(allocator.bind(LOOPBACK).unwrap().is_none());
        drop(aims);
        assert!(allocator.bind(LOOPBACK).unwrap().is_some());
    }

    #[test]
    fn a_port_that_somebody_else_uses_is_passed_over() {
        let range = range(3);
        let taken: Vec<_> =
            range.clone().step_by(2).take(2).map(|port| bind(LOOPBACK, port)).collect();
        let allocator = Arc::new(PortAllocator::new(&range));
        let pair = allocator.bind(LOOPBACK).unwrap().unwrap();
        assert_eq!(pair.port, range.start() + 4);
        assert!(allocator.bind(LOOPBACK).unwrap().is_none());
        drop(taken);
    }

    #[test]
    fn an_odd_or_empty_range_gives_no_odd_pair() {
        assert_eq!(PortAllocator::new(&(10_001..=10_004)).pairs(), 1);
        assert_eq!(PortAllocator::new(&(10_001..=10_002)).pairs(), 0);
        assert_eq!(PortAllocator::new(&(65_534..=65_535)).pairs(), 1);
    }
}
