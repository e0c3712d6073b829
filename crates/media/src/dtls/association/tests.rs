//! Two associations of ours against each other, over a link that the test is.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    rtp::ExtendedSequenceNumber,
    sdp::HashFunction,
    srtp::{InboundSrtp, OutboundSrtp},
};

struct Pair {
    client: Association,
    server: Association,
    now: Instant,
}

impl Pair {
    fn new(client_fingerprint: Option<Fingerprint>) -> Self {
        let certificate = || Certificate::generate().unwrap();
        let (ours, theirs) = (certificate(), certificate());
        let client = Association::new(
            Configs::new(&theirs).unwrap(),
            DtlsRole::Active,
            vec![ours.fingerprint()],
        );
        let expected = client_fingerprint.unwrap_or(theirs.fingerprint());
        let server =
            Association::new(Configs::new(&ours).unwrap(), DtlsRole::Passive, vec![expected]);
        Self { client, server, now: Instant::now() }
    }

    /// Carries datagrams until nobody has any; `lose` says which of the server's to drop.
    fn run(&mut self, mut lose: impl FnMut(usize) -> bool) -> Vec<(bool, AssociationEvent)> {
        let mut events = Vec::new();
        let mut sent = 0;
        self.client.start(self.now);
        for _ in 0..400 {
            for datagram in self.client.take_transmits() {
                let event = self.server.handle_datagram(&datagram, self.now);
                events.extend(event.map(|event| (false, event)));
            }
            for datagram in self.server.take_transmits() {
                sent += 1;
                if !lose(sent) {
                    let event = self.client.handle_datagram(&datagram, self.now);
                    events.extend(event.map(|event| (true, event)));
                }
            }
            self.now += Duration::from_millis(50);
            events.extend(self.client.handle_timeout(self.now).map(|event| (true, event)));
            events.extend(self.server.handle_timeout(self.now).map(|event| (false, event)));
        }
        events
    }
}

fn keys(events: Vec<(bool, AssociationEvent)>) -> Vec<(bool, SrtpProfile, KeyingMaterial)> {
    let keys = events.into_iter().filter_map(|(is_client, event)| match event {
        AssociationEvent::Connected { profile, keys } => Some((is_client, profile, *keys)),
        _ => None,
    });
    let mut keys: Vec<_> = keys.collect();
    keys.sort_by_key(|(is_client, ..)| *is_client);
    keys
}

fn assert_agree(keys: &[(bool, SrtpProfile, KeyingMaterial)]) {
    let [(false, profile, server), (true, _, client)] = keys else { panic!("not two sides") };
    assert_eq!(*profile, SrtpProfile::AeadAes128Gcm);
    let mut packet = [[0x80; 40], [0; 40]].concat();
    let outbound = OutboundSrtp::new(&server.local);
    let len = outbound.protect(&mut packet, 40, ExtendedSequenceNumber(0x8080)).unwrap();
    let mut inbound = InboundSrtp::new(&client.remote);
    assert!(inbound.unprotect(&mut packet[..len]).is_ok());
}

#[test]
fn both_sides_agree_on_keys_and_prefer_gcm() {
    let events = Pair::new(None).run(|_| false);
    assert_agree(&keys(events));
}

#[test]
fn lost_flights_are_repeated() {
    for lost in 1..=4 {
        let events = Pair::new(None).run(|sent| sent == lost);
        assert_agree(&keys(events));
    }
}

#[test]
fn a_link_that_loses_every_other_datagram_is_enough() {
    let events = Pair::new(None).run(|sent| sent % 2 == 1);
    assert_agree(&keys(events));
}

#[test]
fn a_certificate_that_was_not_signalled_gets_no_keys() {
    let other = Fingerprint::of(HashFunction::Sha256, b"another certificate");
    let events = Pair::new(Some(other)).run(|_| false);
    let failed = events.iter().any(|(is_client, event)| {
        !is_client && matches!(event, AssociationEvent::Failed(AssociationError::Fingerprint))
    });
    assert!(failed);
    assert!(keys(events).is_empty());
}

#[test]
fn every_signalled_hash_is_understood() {
    for hash in [HashFunction::Sha1, HashFunction::Sha384, HashFunction::Sha512] {
        let mut pair = Pair::new(None);
        let theirs = Certificate::generate().unwrap();
        let der = theirs.dtls().certificate.remove(0);
        pair.client.configs = Configs::new(&theirs).unwrap();
        pair.server.fingerprints = vec![Fingerprint::of(hash, &der)];
        assert_eq!(keys(pair.run(|_| false)).len(), 2, "{hash:?}");
    }
}

#[test]
fn garbage_between_the_flights_ends_nothing() {
    let mut pair = Pair::new(None);
    pair.client.start(pair.now);
    for byte in 0..=255_u8 {
        for len in [1, 13, 14, 60] {
            assert!(pair.server.handle_datagram(&vec![byte; len], pair.now).is_none());
        }
    }
    // A forged fatal alert before the handshake began.
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];
    assert!(pair.server.handle_datagram(&alert, pair.now).is_none());
    assert_agree(&keys(pair.run(|_| false)));
}

#[test]
fn a_forged_alert_after_completion_ends_nothing() {
    let mut pair = Pair::new(None);
    assert_agree(&keys(pair.run(|_| false)));
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40];
    assert!(pair.server.handle_datagram(&alert, pair.now).is_none());
    pair.client.close(pair.now);
    let closed = pair.run(|_| false);
    assert!(matches!(closed[..], [(false, AssociationEvent::PeerClosed)]));
}

#[test]
fn a_peer_that_stays_silent_times_out() {
    let mut pair = Pair::new(None);
    let mut failed = 0;
    pair.client.start(pair.now);
    for _ in 0..ATTEMPTS_MAX {
        for _ in 0..200 {
            pair.now += FLIGHT_INTERVAL;
            let event = pair.client.handle_timeout(pair.now);
            failed += u32::from(matches!(
                event,
                Some(
                    AssociationEvent::Restarted(AssociationError::Timeout)
                        | AssociationEvent::Failed(AssociationError::Timeout)
                )
            ));
        }
        pair.client.start(pair.now);
    }
    assert_eq!(failed, ATTEMPTS_MAX);
}

#[test]
fn a_panic_of_the_endpoint_stays_in_its_association() {
    let result = contained(|| -> Result<(), RtcError> { panic!("as a dependency might") });
    assert!(matches!(result, Err(RtcError::ErrClosedListener)));
    let mut pair = Pair::new(None);
    let event = pair.server.handle_error(&RtcError::ErrClosedListener);
    assert!(matches!(event, Some(AssociationEvent::Restarted(AssociationError::Handshake))));
    assert_agree(&keys(pair.run(|_| false)));
}

#[test]
fn a_flood_of_records_that_cannot_be_read_yet_is_bounded() {
    let mut pair = Pair::new(None);
    pair.client.start(pair.now);
    for hello in pair.client.take_transmits() {
        pair.server.handle_datagram(&hello, pair.now);
    }
    let mut future = vec![23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0];
    future.resize(13 + 1024, 0);
    let mut restarts = 0;
    for _ in 0..=DATAGRAMS_MAX {
        let event = pair.server.handle_datagram(&future, pair.now);
        restarts += u32::from(matches!(event, Some(AssociationEvent::Restarted(_))));
    }
    assert_eq!(restarts, 1);
    // The peer's repeated hello begins anew, and the call comes to be.
    pair.server.take_transmits();
    for _ in 0..3 {
        assert!(pair.server.handle_datagram(&future, pair.now).is_none());
    }
    assert_agree(&keys(pair.run(|_| false)));
}

proptest::proptest! {
    /// Each flight is damaged on its way to either side: bytes changed, cut, repeated, put behind.
    #[test]
    fn damaged_flights_are_refused_without_a_panic(seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut pair = Pair::new(None);
        pair.client.start(pair.now);
        for _ in 0..12 {
            for datagram in pair.client.take_transmits() {
                for damaged in damage(&datagram, &mut random) {
                    pair.server.handle_datagram(&damaged, pair.now);
                }
            }
            for datagram in pair.server.take_transmits() {
                for damaged in damage(&datagram, &mut random) {
                    pair.client.handle_datagram(&damaged, pair.now);
                }
            }
            pair.now += FLIGHT_INTERVAL;
            pair.client.handle_timeout(pair.now);
            pair.server.handle_timeout(pair.now);
            pair.client.start(pair.now);
        }
    }
}

fn damage(datagram: &[u8], random: &mut StdRng) -> Vec<Vec<u8>> {
    let mut datagrams = vec![datagram.to_vec()];
    for _ in 0..random.random_range(0..3) {
        let mut damaged = datagram.to_vec();
        match random.random_range(0..4) {
            0 => damaged.truncate(random.random_range(0..=datagram.len())),
            1 => damaged.extend_from_slice(datagram),
            _ => {}
        }
        for _ in 0..random.random_range(0..4) {
            // Headers and lengths are where a change hurts most.
            let end = if random.random() { damaged.len().min(80) } else { damaged.len() };
            if end > 0 {
                damaged[random.random_range(0..end)] = random.random();
            }
        }
        datagrams.push(damaged);
    }
    if random.random_range(0..3) == 0 {
        datagrams.rotate_left(1);
    }
    datagrams
}
