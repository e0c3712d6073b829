//! Nonces that carry their time, and how often each was used.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::RngExt;
use ring::hmac;
use tokio::time::Instant;

use super::algorithm::Hex;

/// Makes nonces and takes each one with each count once. A nonce is its time under a MAC that also
/// covers the realm: it needs no memory until a right password comes with it. It is short, since a
/// challenge goes to whoever a datagram says that it comes from.
pub(super) struct Nonces {
    key: hmac::Key,
    realm: String,
    lifetime: Duration,
    began: Instant,
    issued: Stamp,
    used: BTreeMap<Stamp, Window>,
    /// Older ones are not taken: what was used of them is forgotten.
    floor: Stamp,
}

/// When a nonce was issued, microseconds after the start; no two are of the same time.
type Stamp = u64;

/// Which counts of a nonce have come: the highest, and those below it.
#[derive(Debug, Default)]
struct Window {
    highest: u32,
    /// Bit n: `highest - n`.
    seen: u64,
}

impl Nonces {
    pub(super) fn new(lifetime_s: u64, realm: &str, now: Instant) -> Self {
        let secret: [u8; 32] = rand::rng().random();
        Nonces {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            realm: realm.to_owned(),
            lifetime: Duration::from_secs(lifetime_s),
            began: now,
            issued: 0,
            used: BTreeMap::new(),
            floor: 0,
        }
    }

    /// Whether nonces of the other are as good here, were they not of another secret.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.realm == other.realm && self.lifetime == other.lifetime
    }

    pub(super) fn issue(&mut self, now: Instant) -> Hex {
        self.issued = self.microseconds(now).max(self.issued + 1);
        self.text(self.issued)
    }

    /// Takes a nonce with a count; `false` if it is not ours, too old, or was there before.
    pub(super) fn take(&mut self, nonce: &str, count: u32, now: Instant) -> bool {
        let Some(stamp) = self.read(nonce) else { return false };
        let now = self.microseconds(now);
        let lifetime = u64::try_from(self.lifetime.as_micros()).unwrap_or(u64::MAX);
        let oldest = now.saturating_sub(lifetime);
        self.forget(oldest);
        if stamp < oldest.max(self.floor) || stamp > now.max(self.issued) {
            return false;
        }
        self.used.entry(stamp).or_default().take(count)
    }

    fn forget(&mut self, oldest: Stamp) {
        while let Some((stamp, _)) = self.used.first_key_value() {
            if *stamp >= oldest && self.used.len() < USED_MAX {
                return;
            }
            // What is forgotten may not come again; nor may what is older.
            self.floor = stamp + 1;
            self.used.pop_first();
        }
    }

    fn microseconds(&self, now: Instant) -> Stamp {
        u64::try_from(now.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    fn text(&self, stamp: Stamp) -> Hex {
        let mut bytes = [0; STAMP_BYTES + MAC_BYTES];
        let (head, mac) = bytes.split_at_mut(STAMP_BYTES);
        for (byte, made) in head.iter_mut().rev().zip(stamp.to_le_bytes()) {
            *byte = made;
        }
        let mut context = hmac::Context::with_key(&self.key);
        context.update(head);
        context.update(self.realm.as_bytes());
        for (byte, made) in mac.iter_mut().zip(context.sign().as_ref()) {
            *byte = *made;
        }
        Hex::of(&bytes)
    }

    /// The stamp of a nonce that is ours.
    fn read(&self, nonce: &str) -> Option<Stamp> {
        let given = Hex::parse(nonce)?;
        let digits = given.as_bytes().get(..2 * STAMP_BYTES)?;
        let stamp = Stamp::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        // Compared in constant time.
        (self.text(stamp) == given).then_some(stamp)
    }
}

impl fmt::Debug for Nonces {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("issued", &self.issued).finish_non_exhaustive()
    }
}

impl Window {
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let step = count - self.highest;
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let bit = 1u64.checked_shl(self.highest - count).unwrap_or(0);
        let is_new = bit != 0 && self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

/// Nonces in use that are remembered; a client whose nonce was forgotten is asked again.
const USED_MAX: usize = 65_536;
/// Enough for nine years.
const STAMP_BYTES: usize = 6;
/// To guess one takes 2^80 requests.
const MAC_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nonces(now: Instant) -> Nonces {
        Nonces::new(300, "sidetone", now)
    }

    #[test]
    fn rfc7616_3_4_a_count_is_taken_once_and_in_any_order_within_the_window() {
        let now = Instant::now();
        let mut nonces = nonces(now);
        let nonce = nonces.issue(now).to_string();
        for (count, is_taken) in
            [(1, true), (1, false), (3, true), (2, true), (2, false), (100, true), (37, true)]
        {
            assert_eq!(nonces.take(&nonce, count, now), is_taken, "{count}");
        }
        assert!(!nonces.take(&nonce, 36, now), "too far below the highest");
        assert!(!nonces.take(&nonce, 100, now));
        assert!(nonces.take(&nonce, u32::MAX, now));
    }

    #[test]
    fn a_nonce_is_good_for_its_lifetime_and_of_one_realm_and_process() {
        let now = Instant::now();
        let mut here = nonces(now);
        let nonce = here.issue(now).to_string();
        assert!(here.take(&nonce, 1, now + Duration::from_secs(300)));
        assert!(!here.take(&nonce, 2, now + Duration::from_millis(300_001)));
        assert!(!nonces(now).take(&here.issue(now).to_string(), 1, now), "another key");
        let mut elsewhere = Nonces { realm: "other".to_owned(), ..nonces(now) };
        elsewhere.key = here.key.clone();
        assert!(!elsewhere.take(&here.issue(now).to_string(), 1, now), "another realm");
    }

    #[test]
    fn what_is_forgotten_at_the_bound_is_not_taken_again() {
        let now = Instant::now();
        let mut nonces = nonces(now);
        let first = nonces.issue(now).to_string();
        assert!(nonces.take(&first, 1, now));
        for _ in 0..USED_MAX {
            let next = nonces.issue(now).to_string();
            assert!(nonces.take(&next, 1, now));
        }
        assert!(nonces.used.len() <= USED_MAX);
        assert!(!nonces.take(&first, 1, now));
        assert!(!nonces.take(&first, 2, now));
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_nonce(text in "[0-9a-f]{0,64}", at in 0usize..32) {
            let now = Instant::now();
            let mut nonces = nonces(now);
            prop_assert!(!nonces.take(&text, 1, now));
            let mut changed = nonces.issue(now).to_string().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            prop_assert!(!nonces.take(&String::from_utf8_lossy(&changed), 1, now));
        }
    }
}
