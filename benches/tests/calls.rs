//! The load generator against small servers made for it.
#![allow(clippy::unwrap_used, reason = "test code")]

mod uas;

use std::time::{Duration, Instant};

use benches::plain_calls::{PlainLoad, PlainOptions};
use benches::webrtc_calls::{WebRtcLoad, WebRtcOptions};

fn plain(server: &uas::PlainUas, calls: usize) -> PlainOptions {
    PlainOptions {
        server: server.address,
        number: "9196".to_owned(),
        calls,
        rate: 200.0,
        hold: None,
        is_talking: true,
        time_max: Duration::from_secs(20),
    }
}

#[test]
fn calls_are_answered_echoed_and_ended() {
    let server = uas::PlainUas::start(200, 0);
    let load = PlainLoad::start(plain(&server, 5)).unwrap();
    wait_until(|| load.progress().packets >= 100);
    let report = load.finish().unwrap();
    assert_eq!((report.calls, report.answered, report.ended), (5, 5, 5), "{report:?}");
    assert_eq!((report.failed, report.hung_up, report.bye_lost), (0, 0, 0), "{report:?}");
    assert_eq!(report.streams.heard, 5, "{report:?}");
    assert!(report.streams.received >= 100 && report.streams.received <= report.sent, "{report:?}");
    assert_eq!((report.streams.lost, report.streams.timestamp_errors), (0, 0), "{report:?}");
    assert_eq!(report.other_source, 0, "{report:?}");
    assert!(report.echo_p99_ms > 0.0, "{report:?}");
}

#[test]
fn a_packet_that_is_dropped_is_missed() {
    let server = uas::PlainUas::start(200, 10);
    let load = PlainLoad::start(plain(&server, 1)).unwrap();
    wait_until(|| load.progress().packets >= 30);
    let report = load.finish().unwrap();
    assert!(report.streams.lost >= 2, "{report:?}");
}

#[test]
fn a_refusal_is_a_failed_call() {
    let server = uas::PlainUas::start(486, 0);
    let hold = Some(Duration::ZERO);
    let report =
        PlainLoad::start(PlainOptions { hold, ..plain(&server, 3) }).unwrap().wait().unwrap();
    assert_eq!((report.answered, report.failed), (0, 3));
    assert_eq!(report.failures.get(&486), Some(&3));
}

#[test]
fn webrtc_calls_are_connected_and_heard() {
    let server = uas::WebRtcUas::start();
    let load = WebRtcLoad::start(WebRtcOptions {
        url: format!("ws://{}/", server.address),
        number: "9197".to_owned(),
        calls: 2,
        rate: 20.0,
        is_talking: true,
        time_max: Duration::from_secs(30),
    })
    .unwrap();
    wait_until(|| load.progress().packets >= 60 || load.progress().failed > 0);
    let report = load.finish().unwrap();
    assert_eq!(report.failures, Vec::<String>::new());
    assert_eq!((report.answered, report.connected, report.ended), (2, 2, 2), "{report:?}");
    assert_eq!((report.streams.heard, report.streams.lost), (2, 0), "{report:?}");
    assert!(report.streams.received >= 60 && report.sent > 0, "{report:?}");
}

/// Real sockets have no clock to advance: looks again until it is so, or fails.
fn wait_until(is_reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_reached() {
        assert!(Instant::now() < deadline, "not reached in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}
