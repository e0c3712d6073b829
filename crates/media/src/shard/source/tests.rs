use super::*;

const SIGNALLED: &str = "192.0.2.1:4000";
const SIGNALLED_HOST: &str = "192.0.2.1";
const SIGNALLING: &str = "198.51.100.1";

struct Fixture {
    source: PlainSource,
    now: Instant,
    number: u16,
}

impl Fixture {
    fn new() -> Self {
        let mut fixture =
            Self { source: PlainSource::new(None, None, None), now: Instant::now(), number: 0 };
        fixture.signal(SIGNALLED, Some(SIGNALLING));
        fixture
    }

    fn signal(&mut self, address: &str, signalling: Option<&str>) {
        let signalling = signalling.map(|host| host.parse().unwrap());
        self.source.signal(Some(address.parse().unwrap()), signalling, self.now);
    }

    fn packet(&mut self, from: &str) -> Verdict {
        self.number += 1;
        self.now += Duration::from_millis(20);
        let from: SocketAddr = from.parse().unwrap();
        // Every address has a stream of its own.
        let ssrc = Ssrc(u32::from(from.port()));
        self.source.judge(from, ssrc, SequenceNumber(self.number), self.now)
    }

    /// The next packet of one stream.
    fn goes_on(&mut self, from: &str, after_ms: u64) -> Verdict {
        self.number += 1;
        self.now += Duration::from_millis(after_ms);
        let number = SequenceNumber(self.number);
        self.source.judge(from.parse().unwrap(), Ssrc(1), number, self.now)
    }

    fn destination(&self) -> String {
        self.source.destination().unwrap().to_string()
    }
}

#[test]
fn the_signalled_address_is_taken_at_once_and_kept() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.packet(SIGNALLED), Verdict::Accept);
    for _ in 0..50 {
        assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Refuse);
        assert_eq!(fixture.packet("192.0.2.1:4002"), Verdict::Refuse);
    }
    fixture.now += Duration::from_secs(60);
    assert_eq!(fixture.packet("192.0.2.1:4002"), Verdict::Refuse);
    assert_eq!(fixture.destination(), SIGNALLED);
}

#[test]
fn a_caller_that_signals_its_own_address_and_is_silent_is_not_taken_over() {
    let mut fixture = Fixture::new();
    fixture.signal(SIGNALLED, Some(SIGNALLED_HOST));
    for _ in 0..50 {
        assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Refuse);
    }
    assert_eq!(fixture.destination(), SIGNALLED);
}

#[test]
fn another_port_of_a_host_that_signals_its_own_address_has_to_go_on_for_a_while() {
    let other = "192.0.2.1:9";
    let start = || {
        let mut fixture = Fixture::new();
        fixture.signal(SIGNALLED, Some(SIGNALLED_HOST));
        fixture
    };
    let mut fixture = start();
    for _ in 0..50 {
        assert_eq!(fixture.goes_on(other, 1), Verdict::Probation);
    }
    assert_eq!(fixture.goes_on(SIGNALLED, 1), Verdict::Accept, "it speaks at last");
    for _ in 0..50 {
        assert_eq!(fixture.packet(other), Verdict::Refuse);
    }
    let mut fixture = start();
    for _ in 0..5 {
        assert_eq!(fixture.goes_on(other, 20), Verdict::Probation);
    }
    assert_eq!(fixture.goes_on(other, 20), Verdict::Move);
    assert_eq!(fixture.goes_on(SIGNALLED, 20), Verdict::Move, "it still comes first");
    assert_eq!(fixture.destination(), SIGNALLED);
}

#[test]
fn a_phone_on_our_machine_is_heard_from_our_own_address_with_its_own_port_only() {
    let mut fixture = Fixture::new();
    let signalled: SocketAddr = SIGNALLED.parse().unwrap();
    fixture.signal(SIGNALLED, Some(SIGNALLED_HOST));
    let (peer, stranger) = (format!("127.0.0.1:{}", signalled.port()), "127.0.0.1:9");
    assert_eq!(fixture.packet(&peer), Verdict::Refuse);
    fixture.source.own = Some("127.0.0.1".parse().unwrap());
    assert_eq!(fixture.packet(stranger), Verdict::Refuse);
    assert_eq!(fixture.packet(&peer), Verdict::Move);
    assert_eq!(fixture.destination(), peer);
    assert_eq!(fixture.packet(stranger), Verdict::Refuse);
    // The signalled address still comes first.
    assert_eq!(fixture.packet(SIGNALLED), Verdict::Move);
    assert_eq!(fixture.destination(), SIGNALLED);
}

#[test]
fn a_port_that_a_nat_chose_is_learned_from_the_first_packet() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.packet("198.51.100.1:555"), Verdict::Move);
    assert_eq!(fixture.packet("198.51.100.1:556"), Verdict::Refuse);
    assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Refuse);
    assert_eq!(fixture.destination(), "198.51.100.1:555");
    // The signalled address still comes first.
    assert_eq!(fixture.packet(SIGNALLED), Verdict::Move);
    assert_eq!(fixture.destination(), SIGNALLED);
}

#[test]
fn a_nat_that_changes_its_port_is_followed_after_silence() {
    let mut fixture = Fixture::new();
    fixture.packet("198.51.100.1:555");
    fixture.now += SILENT_AFTER;
    for _ in 1..PROBATION_PACKETS {
        assert_eq!(fixture.packet("198.51.100.1:777"), Verdict::Probation);
    }
    assert_eq!(fixture.packet("198.51.100.1:777"), Verdict::Move);
}

#[test]
fn a_stranger_is_learned_only_after_packets_in_a_row_and_loses_to_everyone() {
    let mut fixture = Fixture::new();
    for _ in 1..PROBATION_PACKETS {
        assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Probation);
    }
    assert_eq!(fixture.destination(), SIGNALLED);
    assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Move);
    fixture.now += Duration::from_secs(60);
    for _ in 0..20 {
        assert_eq!(fixture.packet("203.0.113.10:2"), Verdict::Refuse);
    }
    assert_eq!(fixture.packet("198.51.100.1:9"), Verdict::Move);
    assert_eq!(fixture.packet("203.0.113.9:1"), Verdict::Refuse);
    assert_eq!(fixture.packet(SIGNALLED), Verdict::Move);
}

#[test]
fn cve_2025_53399_a_spray_between_does_not_learn() {
    let mut fixture = Fixture::new();
    for n in 0..200 {
        let from = format!("203.0.113.{}:{}", n % 7, 1000 + n);
        assert_eq!(fixture.packet(&from), Verdict::Probation);
    }
    assert_eq!(fixture.packet(SIGNALLED), Verdict::Accept);
}

#[test]
fn a_peer_that_moves_is_followed_within_200_ms() {
    let learned = "203.0.113.8:7";
    for (first, moved, packets) in [(SIGNALLED, "192.0.2.1:9999", 3), (learned, "203.0.113.9:1", 5)]
    {
        let mut fixture = Fixture::new();
        for _ in 0..10 {
            fixture.goes_on(first, 20);
        }
        for _ in 1..packets {
            assert_eq!(fixture.goes_on(moved, 20), Verdict::Probation);
        }
        assert_eq!(fixture.goes_on(moved, 20), Verdict::Move, "{moved}");
        assert_eq!(fixture.goes_on(moved, 20), Verdict::Accept);
        assert_eq!(fixture.destination(), moved);
    }
}

#[test]
fn a_stranger_who_goes_on_with_the_stream_of_a_signalled_peer_gets_nothing() {
    for known in [SIGNALLED, "192.0.2.1:4002", "198.51.100.1:9"] {
        let mut fixture = Fixture::new();
        fixture.goes_on(known, 20);
        for _ in 0..100 {
            assert_eq!(fixture.goes_on("203.0.113.9:1", 20), Verdict::Refuse, "{known}");
        }
        assert_eq!(fixture.destination(), known);
    }
}

#[test]
fn a_stream_that_is_copied_while_the_peer_speaks_moves_nothing() {
    let mut fixture = Fixture::new();
    for n in 0..500 {
        assert_ne!(fixture.goes_on(SIGNALLED, 10), Verdict::Refuse);
        let copied = if n % 2 == 0 { "192.0.2.1:9999" } else { "203.0.113.9:1" };
        assert_ne!(fixture.goes_on(copied, 10), Verdict::Move);
    }
    assert_eq!(fixture.destination(), SIGNALLED);
}

#[test]
fn a_stranger_with_a_stream_of_its_own_moves_nothing_however_long_the_peer_is_silent() {
    let mut fixture = Fixture::new();
    for _ in 0..10 {
        fixture.goes_on(SIGNALLED, 20);
    }
    for _ in 0..500 {
        assert_eq!(fixture.packet("203.0.113.9:7"), Verdict::Refuse);
    }
    assert_eq!(fixture.destination(), SIGNALLED);
}

#[test]
fn an_update_of_the_signalled_address_starts_over() {
    let mut fixture = Fixture::new();
    fixture.packet(SIGNALLED);
    fixture.signal("192.0.2.7:4000", None);
    assert_eq!(fixture.destination(), "192.0.2.7:4000");
    assert_eq!(fixture.packet("192.0.2.7:4000"), Verdict::Accept);
}

#[test]
fn a_forged_packet_from_a_better_address_takes_a_peer_that_goes_on_nothing_for_long() {
    // Behind a NAT, whose private address somebody forges; behind a proxy, with another port of it.
    for (peer, forged) in [("198.51.100.1:555", SIGNALLED), ("203.0.113.9:1", "198.51.100.1:9")] {
        let mut fixture = Fixture::new();
        for _ in 0..PROBATION_PACKETS {
            fixture.goes_on(peer, 20);
        }
        assert_eq!(fixture.destination(), peer);
        assert_eq!(fixture.packet(forged), Verdict::Move);
        let refused = (0..10).take_while(|_| fixture.goes_on(peer, 20) != Verdict::Move).count();
        assert!(refused < 6, "{peer} is heard again after {refused} packets");
        assert_eq!(fixture.destination(), peer);
        assert_eq!(fixture.goes_on(peer, 20), Verdict::Accept);
    }
}

#[test]
fn a_known_host_is_heard_again_after_many_forged_packets_and_a_stranger_is_not() {
    for (peer, better, is_heard) in [
        ("198.51.100.1:555", SIGNALLED, true),
        ("203.0.113.9:1", SIGNALLED, false),
        ("203.0.113.9:1", "198.51.100.1:9", false),
    ] {
        let mut fixture = Fixture::new();
        for _ in 0..PROBATION_PACKETS {
            fixture.goes_on(peer, 20);
        }
        for _ in 0..50 {
            fixture.packet(better);
            assert_eq!(fixture.goes_on(peer, 0), Verdict::Refuse);
        }
        for _ in 0..200 {
            fixture.goes_on(peer, 20);
        }
        assert_eq!(fixture.destination() == peer, is_heard, "{peer} after {better}");
    }
}

#[test]
fn what_comes_from_where_the_peer_was_is_heard_and_moves_nothing() {
    let moved = "192.0.2.7:4000";
    for signalling in [SIGNALLING, "192.0.2.7", SIGNALLED_HOST] {
        let mut fixture = Fixture::new();
        fixture.signal(SIGNALLED, Some(signalling));
        fixture.packet(SIGNALLED);
        fixture.signal(moved, None);
        for _ in 0..50 {
            assert_eq!(fixture.packet(SIGNALLED), Verdict::Accept, "{signalling}");
            assert_eq!(fixture.destination(), moved, "{signalling}");
        }
        assert_eq!(fixture.packet(moved), Verdict::Accept);
        assert_eq!(fixture.packet(SIGNALLED), Verdict::Refuse);
        assert_eq!(fixture.destination(), moved);
    }
}

#[test]
fn a_nat_gives_a_new_session_another_port_while_the_old_one_still_speaks() {
    let mut fixture = Fixture::new();
    fixture.packet("198.51.100.1:555");
    fixture.signal("192.0.2.1:4002", Some(SIGNALLING));
    assert_eq!(fixture.packet("198.51.100.1:555"), Verdict::Accept);
    assert_eq!(fixture.packet("198.51.100.1:777"), Verdict::Move);
    assert_eq!(fixture.packet("198.51.100.1:555"), Verdict::Refuse);
    assert_eq!(fixture.destination(), "198.51.100.1:777");
}

#[test]
fn who_signals_another_address_and_stays_is_heard_and_sent_to_again() {
    let mut fixture = Fixture::new();
    fixture.packet("198.51.100.1:555");
    fixture.signal("192.0.2.1:4002", Some(SIGNALLING));
    fixture.now += LEFT_FOR;
    assert_eq!(fixture.packet("198.51.100.1:555"), Verdict::Move);
}

#[test]
fn an_offer_that_is_taken_back_brings_back_what_was_learned() {
    let mut fixture = Fixture::new();
    fixture.packet("198.51.100.1:555");
    fixture.signal("192.0.2.1:4002", Some(SIGNALLING));
    fixture.signal(SIGNALLED, Some(SIGNALLING));
    assert_eq!(fixture.destination(), "198.51.100.1:555");
    assert_eq!(fixture.packet("198.51.100.1:555"), Verdict::Accept);
}

#[test]
fn a_peer_that_signals_from_another_host_brings_its_media_along() {
    let mut fixture = Fixture::new();
    fixture.packet("198.51.100.1:555");
    fixture.signal(SIGNALLED, Some("198.51.100.7"));
    assert_eq!(fixture.packet("198.51.100.1:555"), Verdict::Accept, "it may be there still");
    assert_eq!(fixture.packet("198.51.100.7:556"), Verdict::Move);
    assert_eq!(fixture.packet("198.51.100.1:555"), Verdict::Refuse);
}

#[test]
fn a_stranger_may_follow_a_silent_stranger_after_an_offer_and_only_then() {
    for is_offered in [false, true] {
        let mut fixture = Fixture::new();
        for _ in 0..PROBATION_PACKETS {
            fixture.packet("203.0.113.9:1");
        }
        if is_offered {
            fixture.signal(SIGNALLED, None);
        }
        for _ in 0..90 {
            assert_eq!(fixture.packet("203.0.113.9:2"), Verdict::Refuse);
        }
        let at = fixture.destination();
        fixture.now += SILENT_AFTER;
        for _ in 0..PROBATION_PACKETS {
            fixture.packet("203.0.113.9:2");
        }
        assert_eq!(fixture.destination() == at, !is_offered);
    }
}

#[test]
fn a_stranger_who_interrupts_keeps_nobody_from_being_learned() {
    let mut fixture = Fixture::new();
    let mut number = 0;
    while fixture.goes_on("203.0.113.9:1", 20) != Verdict::Move {
        number += 1;
        assert!(number < u16::from(PROBATION_PACKETS));
        let now = fixture.now + Duration::from_millis(1);
        for port in 2..20 {
            let from = format!("203.0.113.66:{port}").parse().unwrap();
            fixture.source.judge(from, Ssrc(7), SequenceNumber(number), now);
        }
    }
    assert_eq!(fixture.destination(), "203.0.113.9:1");
}

#[test]
fn who_spoke_in_an_earlier_call_is_not_heard_in_the_next_ones() {
    let earlier = Earlier::default();
    let open = || {
        let host = Some(SIGNALLED_HOST.parse().unwrap());
        let source = PlainSource::new(host, None, Some(earlier.clone()));
        let mut fixture = Fixture { source, now: Instant::now(), number: 0 };
        fixture.signal(SIGNALLED, None);
        fixture
    };
    let old = "192.0.2.1:5000";
    let mut first = open();
    first.signal(old, None);
    assert_eq!(first.packet(old), Verdict::Accept);
    first.source.close();
    for _ in 0..3 {
        let mut next = open();
        for _ in 0..100 {
            assert_eq!(next.packet(old), Verdict::Refuse);
        }
        assert_eq!(next.packet(SIGNALLED), Verdict::Accept);
        next.source.close();
    }
    let mut signalled = open();
    signalled.signal(old, None);
    assert_eq!(signalled.packet(old), Verdict::Accept, "its own next call");
    // Another stream from there is a call that nobody spoke in yet.
    let mut other = open();
    for _ in 0..PROBATION_PACKETS {
        other.goes_on(old, 20);
    }
    assert_eq!(other.goes_on(old, 20), Verdict::Move);
}
