//! How many there are from each address.

use std::collections::{HashMap, hash_map};
use std::net::IpAddr;

/// Counts; an address without any takes no room.
#[derive(Debug, Default)]
pub(super) struct PerAddress(HashMap<IpAddr, usize>);

impl PerAddress {
    pub(super) fn of(&self, address: IpAddr) -> usize {
        self.0.get(&address).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, address: IpAddr) {
        *self.0.entry(address).or_default() += 1;
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
        if let hash_map::Entry::Occupied(mut count) = self.0.entry(address) {
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
        assert_eq!((counts.of(a), counts.of(b), counts.0.len()), (2, 0, 1));
        counts.remove(a);
        assert_eq!(counts.of(a), 1);
    }
}
