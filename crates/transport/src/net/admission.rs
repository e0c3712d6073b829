//! How many stream connections there are, and which one goes when there are too many.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
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
    expendable: Mutex<Expendable>,
}

/// Connections that go when room is needed.
#[derive(Debug, Default)]
struct Expendable {
    next: u64,
    /// Those that have carried no SIP yet, oldest first.
    silent: BTreeMap<u64, Arc<Closer>>,
    /// Those that have, and that nobody vouches for, oldest first, by where they come from.
    strangers: BTreeMap<IpAddr, BTreeMap<u64, Arc<Closer>>>,
    /// How many of them come from where, the fewest first.
    crowds: BTreeSet<(usize, IpAddr)>,
}

impl Expendable {
    fn push_silent(&mut self, closer: &Arc<Closer>) -> u64 {
        self.next += 1;
        self.silent.insert(self.next, Arc::clone(closer));
        self.next
    }

    /// Takes the one that goes for a newcomer: the oldest silent one, or the oldest stranger of
    /// where most of them come from, if these are more than the newcomer's address has connections.
    fn pop_for(&mut self, newcomers: usize) -> Option<Arc<Closer>> {
        if let Some((_, closer)) = self.silent.pop_first() {
            return Some(closer);
        }
        let (_, source) = *self.crowds.last().filter(|(crowd, _)| *crowd > newcomers)?;
        let mut popped = None;
        self.of(source, |strangers| popped = strangers.pop_first());
        popped.map(|(_, closer)| closer)
    }

    /// Changes the strangers of an address, and counts them again.
    fn of(&mut self, source: IpAddr, change: impl FnOnce(&mut BTreeMap<u64, Arc<Closer>>)) {
        let strangers = self.strangers.entry(source).or_default();
        self.crowds.remove(&(strangers.len(), source));
        change(strangers);
        match strangers.len() {
            0 => drop(self.strangers.remove(&source)),
            crowd => drop(self.crowds.insert((crowd, source))),
        }
    }
}

impl Admission {
    pub(super) fn new(connections_max: usize, connections_per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            connections_max,
            connections_per_address_max,
            connections: AtomicUsize::new(0),
            per_address: DashMap::new(),
            expendable: Mutex::default(),
        })
    }

    /// Connections open now, handshakes and HTTP included.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a new connection in. At the total bound an older one is told to end; the count is over
    /// the bound until it has.
    pub(super) fn admit(self: &Arc<Self>, remote: IpAddr) -> Result<Slot, DropReason> {
        let source = source_of(remote);
        let newcomers = {
            let mut count = self.per_address.entry(source).or_insert(0);
            if *count >= self.connections_per_address_max {
                return Err(DropReason::AddressMax);
            }
            *count += 1;
            *count
        };
        let mut slot = Slot {
            admission: self.clone(),
            source,
            closer: Arc::default(),
            sequence: 0,
            standing: AtomicU8::new(VOUCHED),
        };
        if self.connections.fetch_add(1, Ordering::Relaxed) >= self.connections_max
            && !self.evict(newcomers)
        {
            return Err(DropReason::ConnectionsMax);
        }
        slot.sequence = self.expendable().push_silent(&slot.closer);
        slot.standing = AtomicU8::new(SILENT);
        Ok(slot)
    }

    fn evict(&self, newcomers: usize) -> bool {
        let evicted = self.expendable().pop_for(newcomers);
        evicted.map(|closer| closer.close(CloseReason::Evicted)).is_some()
    }

    fn expendable(&self) -> MutexGuard<'_, Expendable> {
        // The maps are whole after every statement, so a poisoned lock is still a good one.
        self.expendable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One counted connection; dropping it counts it out.
#[derive(Debug)]
pub(super) struct Slot {
    admission: Arc<Admission>,
    source: IpAddr,
    closer: Arc<Closer>,
    sequence: u64,
    standing: AtomicU8,
}

impl Slot {
    /// The connection has shown that it speaks SIP: all silent ones are evicted before it.
    pub(super) fn prove(&self) {
        if self.standing.load(Ordering::Relaxed) != SILENT {
            return;
        }
        let mut expendable = self.admission.expendable();
        // One that is not there was evicted or vouched for just now.
        if let Some(closer) = expendable.silent.remove(&self.sequence) {
            expendable.of(self.source, |strangers| drop(strangers.insert(self.sequence, closer)));
            self.standing.store(STRANGER, Ordering::Relaxed);
        }
    }

    /// Who has opened the connection is known: it is not evicted from now on.
    pub(super) fn vouch(&self) {
        if self.standing.load(Ordering::Relaxed) == VOUCHED {
            return;
        }
        let mut expendable = self.admission.expendable();
        expendable.silent.remove(&self.sequence);
        expendable.of(self.source, |strangers| drop(strangers.remove(&self.sequence)));
        self.standing.store(VOUCHED, Ordering::Relaxed);
    }

    pub(super) fn closer(&self) -> &Arc<Closer> {
        &self.closer
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.vouch();
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

/// What is known of who has opened a connection.
const SILENT: u8 = 0;
const STRANGER: u8 = 1;
const VOUCHED: u8 = 2;

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
    async fn the_silent_make_room_then_strangers_of_a_crowd_and_the_known_never() {
        let admission = Admission::new(5, 9);
        let known = admission.admit(address("192.0.2.1")).unwrap();
        known.vouch();
        // Whoever speaks again is no stranger again.
        known.prove();
        let stranger = |last| {
            let slot = admission.admit(address(last)).unwrap();
            slot.prove();
            slot
        };
        let (alone, first, second) =
            (stranger("192.0.2.2"), stranger("192.0.2.3"), stranger("192.0.2.3"));
        let silent = admission.admit(address("192.0.2.4")).unwrap();
        let third = stranger("192.0.2.3");
        assert_eq!(silent.closer().closed().await, CloseReason::Evicted);
        drop(silent);
        // One who comes in no lesser number is not let in for them.
        let refused = admission.admit(address("192.0.2.3")).unwrap_err();
        assert_eq!(refused, DropReason::ConnectionsMax);
        let newcomer = stranger("192.0.2.5");
        assert_eq!(first.closer().closed().await, CloseReason::Evicted);
        // What it still says keeps it no more.
        first.prove();
        drop(first);
        second.vouch();
        let refused = admission.admit(address("192.0.2.6")).unwrap_err();
        assert_eq!(refused, DropReason::ConnectionsMax, "nobody has more than one");
        assert_eq!(admission.connections(), 5);
        drop((known, alone, second, third, newcomer));
        let expendable = admission.expendable();
        assert!(expendable.silent.is_empty() && expendable.strangers.is_empty());
        assert!(expendable.crowds.is_empty());
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
