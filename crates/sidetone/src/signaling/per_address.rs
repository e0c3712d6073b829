//! How many there are from each address.

use std::collections::{HashMap, hash_map};
use std::net::IpAddr;

/// Counts; an address without any takes no room.
#[derive(Debug, Default)]
pub(super) struct PerAddress {
    counts: HashMap<IpAddr, usize>,
    total: usize,
}

impl PerAddress {
    pub(super) fn of(&self, address: IpAddr) -> usize {
        self.counts.get(&address).copied().unwrap_or_default()
    }

    /// From all addresses together.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn add(&mut self, address: IpAddr) {
        *self.counts.entry(address).or_default() += 1;
        self.total += 1;
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        if let hash_map::Entry::Occupied(mut count) = self.counts.entry(address) {
            self.total -= 1;
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_any_takes_no_room() {
        let mut counts = PerAddress::default();
        let [a, b] = [1, 2].map(|n| IpAddr::from([192, 0, 2, n]));
        counts.add(a);
        counts.add(a);
        counts.add(b);
        counts.remove(b);
        counts.remove(b);
        assert_eq!((counts.of(a), counts.of(b), counts.counts.len()), (2, 0, 1));
        counts.remove(a);
        assert_eq!((counts.of(a), counts.total()), (1, 1));
    }
}
