//! How many stream connections there are, and which one goes when there are too many.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use dashmap::{DashMap, Entry};
use tokio::sync::Notify;

use super::{CloseReason, DropReason};

/// The bounds on stream connections and the count against them.
#[derive(Debug)]
pub(super) struct Admission {
    connections_max: usize,
    connections_per_address_max: usize,
    connections: AtomicUsize,
    per_address: DashMap<IpAddr, usize>,
    unproven: Mutex<Unproven>,
}

/// Connections that have carried no SIP yet, oldest first.
#[derive(Debug, Default)]
struct Unproven {
    next: u64,
    closers: BTreeMap<u64, Arc<Closer>>,
}

impl Admission {
    pub(super) fn new(connections_max: usize, connections_per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            connections_max,
            connections_per_address_max,
            connections: AtomicUsize::new(0),
            per_address: DashMap::new(),
            unproven: Mutex::default(),
        })
    }

    /// Connections open now, handshakes and HTTP included.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a new connection in. At the total bound the oldest unproven connection is told to
    /// end; the count is over the bound until it has.
    pub(super) fn admit(self: &Arc<Self>, remote: IpAddr) -> Result<Slot, DropReason> {
        let source = source_of(remote);
        {
            let mut count = self.per_address.entry(source).or_insert(0);
            if *count >= self.connections_per_address_max {
                return Err(DropReason::AddressMax);
            }
            *count += 1;
        }
        let slot = Slot {
            admission: self.clone(),
            source,
            closer: Arc::default(),
            unproven: AtomicU64::new(PROVEN),
        };
        if self.connections.fetch_add(1, Ordering::Relaxed) >= self.connections_max
            && !self.evict_oldest_unproven()
        {
            return Err(DropReason::ConnectionsMax);
        }
        let mut unproven = self.unproven();
        unproven.next += 1;
        let sequence = unproven.next;
        unproven.closers.insert(sequence, slot.closer.clone());
        slot.unproven.store(sequence, Ordering::Relaxed);
        drop(unproven);
        Ok(slot)
    }

    fn evict_oldest_unproven(&self) -> bool {
        let oldest = self.unproven().closers.pop_first();
        oldest.map(|(_, closer)| closer.close(CloseReason::Evicted)).is_some()
    }

    fn unproven(&self) -> MutexGuard<'_, Unproven> {
        // The map is whole after every statement, so a poisoned lock is still a good one.
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One counted connection; dropping it counts it out.
#[derive(Debug)]
pub(super) struct Slot {
    admission: Arc<Admission>,
    source: IpAddr,
    closer: Arc<Closer>,
    unproven: AtomicU64,
}

impl Slot {
    /// The connection has shown that it speaks SIP: it is not evicted from now on.
    pub(super) fn prove(&self) {
        if self.unproven.load(Ordering::Relaxed) == PROVEN {
            return;
        }
        let sequence = self.unproven.swap(PROVEN, Ordering::Relaxed);
        self.admission.unproven().closers.remove(&sequence);
    }

    pub(super) fn closer(&self) -> &Arc<Closer> {
        &self.closer
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.prove();
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
        if let Entry::Occupied(mut count) = self.admission.per_address.entry(self.source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Tells the one task that runs a connection to end it.
#[derive(Debug, Default)]
pub(super) struct Closer {
    reason: OnceLock<CloseReason>,
    notify: Notify,
}

impl Closer {
    /// Asks for the end. Only the first reason counts.
    pub(super) fn close(&self, reason: CloseReason) {
        if self.reason.set(reason).is_ok() {
            self.notify.notify_one();
        }
    }

    /// Waits until the end is asked for, and from then on returns at once.
    pub(super) async fn closed(&self) -> CloseReason {
        loop {
            if let Some(reason) = self.reason.get() {
                return *reason;
            }
            self.notify.notified().await;
        }
    }
}

/// A host of IPv6 has a whole /64 to choose addresses from.
fn source_of(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(_) => remote,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
    }
}

/// No connection has this number: they count from one.
const PROVEN: u64 = 0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn a_slot_counts_out_when_it_is_dropped() {
        let admission = Admission::new(4, 1);
        let slot = admission.admit(address("192.0.2.1")).unwrap();
        assert_eq!(admission.admit(address("192.0.2.1")).unwrap_err(), DropReason::AddressMax);
        assert_eq!(admission.connections(), 1);
        drop(slot);
        assert_eq!(admission.connections(), 0);
        assert!(admission.per_address.is_empty());
        assert!(admission.admit(address("192.0.2.1")).is_ok());
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        let admission = Admission::new(4, 1);
        let _slot = admission.admit(address("2001:db8::1")).unwrap();
        assert!(admission.admit(address("2001:db8::ffff")).is_err());
        assert!(admission.admit(address("2001:db8:0:1::1")).is_ok());
    }

    #[tokio::test]
    async fn the_oldest_unproven_connection_makes_room() {
        let admission = Admission::new(2, 9);
        let proven = admission.admit(address("192.0.2.1")).unwrap();
        proven.prove();
        let idle = admission.admit(address("192.0.2.2")).unwrap();
        let newcomer = admission.admit(address("192.0.2.3")).unwrap();
        assert_eq!(idle.closer().closed().await, CloseReason::Evicted);
        drop(idle);
        newcomer.prove();
        let refused = admission.admit(address("192.0.2.4")).unwrap_err();
        assert_eq!(refused, DropReason::ConnectionsMax);
        assert_eq!(admission.connections(), 2);
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
