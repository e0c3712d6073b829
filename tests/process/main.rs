//! The real binary on loopback: a call over UDP and TCP, its audio, and an orderly end.
#![allow(clippy::unwrap_used, reason = "test code")]

mod client;
mod commands;
mod documents;
mod importing;
mod phone;
mod recordings;
mod registering;
mod reloading;
mod server;
mod two_legs;
mod webhooks;

use std::time::{Duration, Instant};

use phone::Phone;
use server::Server;

#[test]
fn a_phone_hears_the_test_tone_at_50_packets_a_second() {
    let server = Server::start("");
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("9197");
    let heard = phone.listen(Duration::from_secs(2));
    phone.hang_up();

    assert!((98..=103).contains(&heard.packets), "{} packets in 2 s", heard.packets);
    assert_eq!(heard.lost, 0);
    assert!((heard.frequency_hz() - 1004.0).abs() < 4.0, "{} Hz", heard.frequency_hz());
}

#[test]
fn the_prompt_is_heard_from_its_first_frame_and_the_server_hangs_up() {
    let server = Server::start("");
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("07010002000");
    let heard = phone.listen_until_bye(Duration::from_secs(15));
    let bye = phone.last_request();

    assert!(bye.contains("Reason: Q.850;cause=16;text=\"NORMAL_CLEARING\""), "{bye}");
    assert_eq!(heard.lost, 0);
    assert!(heard.level_of_first_frame() > 100.0, "the first 20 ms are missing");
    assert!((200..300).contains(&heard.packets), "{} packets", heard.packets);
}

#[test]
fn a_caller_hears_something_as_soon_as_the_call_is_answered() {
    let server = Server::start("");
    for number in ["9197", "07010002000"] {
        let mut phone = Phone::udp(server.address("udp"));
        let began = Instant::now();
        phone.call(number);
        let waited = phone.first_packet(Duration::from_secs(2)) - began;
        phone.hang_up();
        assert!(waited < Duration::from_secs(1), "{waited:?} for {number}");
    }
}

#[test]
fn what_is_said_to_9196_comes_back_unchanged() {
    let server = Server::start("");
    for mut phone in [Phone::udp(server.address("udp")), Phone::tcp(server.address("tcp"))] {
        phone.call("9196");
        assert_echoed(&mut phone);
    }
}

/// Whether what is said comes back for a second; hangs up.
fn assert_echoed(phone: &mut Phone) {
    let sent = phone.say_tone(700.0, Duration::from_secs(1));
    let heard = phone.listen(Duration::from_millis(300));
    phone.hang_up();
    assert_eq!(heard.packets, sent, "every packet comes back");
    assert!((heard.frequency_hz() - 700.0).abs() < 4.0, "{} Hz", heard.frequency_hz());
}

#[test]
fn rfc3261_14_2_who_asks_for_an_offer_is_offered_all_codecs() {
    let server = Server::start("");
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("9196");
    let media = phone.ask_for_offer("0");
    let formats = media.split("RTP/AVP ").nth(1).unwrap();
    assert!(formats.starts_with("0 "), "the one in use first: {media}");
    assert!(formats.split(' ').any(|format| format == "8"), "{media}");
    assert_echoed(&mut phone);
}

#[test]
fn rfc3261_14_2_a_change_that_is_cancelled_leaves_the_call_as_it_was() {
    let server = Server::start("");
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("9196");
    server.signal("STOP");
    phone.change_and_cancel("inactive", || server.signal("CONT"));
    assert_echoed(&mut phone);
}

#[test]
fn what_is_said_to_9195_comes_back_five_seconds_later() {
    let server = Server::start("");
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("9195");
    let began = Instant::now();
    phone.say_tone(500.0, Duration::from_millis(500));
    let first = phone.first_packet(Duration::from_secs(7));
    phone.hang_up();
    let delay = first - began;
    assert!(
        (Duration::from_millis(4_900)..Duration::from_millis(5_200)).contains(&delay),
        "{delay:?}"
    );
}

#[test]
fn calls_run_over_ipv6() {
    let server = Server::start("");
    let mut phone = Phone::udp(server.address_v6("udp"));
    phone.call("9197");
    let heard = phone.listen(Duration::from_millis(500));
    phone.hang_up();
    assert!(heard.packets > 20, "{} packets", heard.packets);
}

#[test]
fn three_shards_carry_calls_beside_each_other() {
    let server = Server::start("[media]\nshards = 3\n");
    let mut phones: Vec<Phone> = (0..6).map(|_| Phone::udp(server.address("udp"))).collect();
    for phone in &mut phones {
        phone.call("9197");
    }
    for phone in &mut phones {
        let heard = phone.listen(Duration::from_millis(400));
        assert!((heard.frequency_hz() - 1004.0).abs() < 8.0, "{} Hz", heard.frequency_hz());
        phone.hang_up();
    }
}

#[test]
fn an_unknown_number_gets_404_and_a_codec_we_lack_488_with_a_warning() {
    let server = Server::start("");
    let mut phone = Phone::udp(server.address("udp"));
    let refusal = phone.invite_refused("12345", "0 8 101");
    assert!(refusal.starts_with("SIP/2.0 404 "), "{refusal}");
    let refusal = phone.invite_refused("9196", "18");
    assert!(refusal.starts_with("SIP/2.0 488 "), "{refusal}");
    let warning = refusal.lines().find(|line| line.starts_with("Warning:")).unwrap();
    assert!(warning.contains("G729") && warning.contains("PCMU"), "{warning}");
}

#[test]
fn sigterm_ends_live_calls_with_bye_and_exits_with_0() {
    let mut server = Server::start("");
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("9197");
    phone.listen(Duration::from_millis(100));
    server.signal("TERM");
    phone.listen_until_bye(Duration::from_secs(5));
    assert!(phone.last_request().contains("SYSTEM_SHUTDOWN"), "{}", phone.last_request());
    assert_eq!(server.wait(Duration::from_secs(10)), Some(0));
}

#[test]
fn a_second_signal_exits_at_once() {
    let mut server = Server::start("");
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("9197");
    // The phone does not answer the BYE, so the server waits for it.
    server.signal("INT");
    server.wait_for_output("Ending live calls");
    server.signal("INT");
    let began = Instant::now();
    assert!(server.wait(Duration::from_secs(3)).is_some_and(|code| code != 0));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn metrics_and_health_are_served() {
    let server = Server::start("");
    let mut phone = Phone::udp(server.address("udp"));
    phone.call("9197");
    phone.listen(Duration::from_millis(200));
    assert_eq!(server.get("/livez").0, 200);
    assert_eq!(server.get("/readyz").0, 200);
    let (status, metrics) = server.get("/metrics");
    assert_eq!(status, 200);
    let has = |line: &str| assert!(metrics.lines().any(|l| l == line), "{line} is missing");
    has("sidetone_calls{direction=\"in\",state=\"answered\"} 1");
    has("sidetone_calls_started_total{direction=\"in\",transport=\"udp\"} 1");
    has("sidetone_media_sessions{profile=\"plain\",codec=\"pcmu\"} 1");
    phone.hang_up();
}

#[test]
fn a_configuration_mistake_is_one_sentence_that_says_where() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (config, says) in [
        ("[media]\nshard = 1\n".to_owned(), "config.toml:2:"),
        (format!("listen = [{{kind='udp', address='{address}'}}]\n"), "cannot listen on"),
        ("[sounds]\ndir = '/nonexistent'\n[dialplan]\nfile = 'none.xml'\n".to_owned(), "none.xml"),
        ("[control]\naddress = '127.0.0.1:1'\n[log]\nlevel = '=='\n".to_owned(), "log.level"),
    ] {
        let (code, error) = Server::start_refused(&config);
        assert_eq!(code, 1, "{error}");
        assert!(error.starts_with("sidetone: ") && error.contains(says), "{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
}
