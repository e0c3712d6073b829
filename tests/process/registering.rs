//! Phones that register with the real binary, and calls that must show who they are.

use std::time::{Duration, Instant};

use crate::client::{Client, header, status};
use crate::server::Server;

const OFFICE: &str = "[users.199]\npassword = '199pass'\n[users.3001]\npassword = '3001pass'\n";

#[test]
fn a_phone_registers_over_udp_and_tcp_and_a_wrong_password_does_not() {
    let server = Server::start(OFFICE);
    for mut phone in [
        Client::udp(server.address("udp"), "3001", "3001pass"),
        Client::tcp(server.address("tcp"), "3001", "3001pass"),
    ] {
        let challenge = phone.register("", None);
        assert_eq!(status(&challenge), 401, "{challenge}");
        let value = header(&challenge, "WWW-Authenticate");
        assert!(value.starts_with("Digest realm=\"sidetone\"") && value.contains("MD5"), "{value}");
        let answer = phone.register("Expires: 600\r\n", Some(&challenge));
        assert_eq!(status(&answer), 200, "{answer}");
        let contact = format!("Contact: <{}>;expires=600\r\n", phone.contact());
        assert!(answer.contains(&contact), "{answer}");
        assert!(header(&answer, "Date").ends_with(" GMT"), "{answer}");
    }
    let mut stranger = Client::udp(server.address("udp"), "3001", "guess");
    let answer = stranger.register_with_password();
    assert_eq!(status(&answer), 401);
    assert!(!header(&answer, "WWW-Authenticate").contains("stale"), "{answer}");
    let mut nobody = Client::udp(server.address("udp"), "nobody", "guess");
    let refused = nobody.register_with_password();
    assert_eq!(status(&refused), 401, "as of a known user");
    let other = Client::udp(server.address("udp"), "199", "199pass").register_as("3001");
    assert_eq!(status(&other), 403, "nobody registers for somebody else");

    let (_, metrics) = server.get("/metrics");
    let has = |line: &str| assert!(metrics.lines().any(|l| l == line), "{line} is missing");
    has("sidetone_registrations{transport=\"udp\"} 1");
    has("sidetone_registrations{transport=\"tcp\"} 1");
    has("sidetone_auth_attempts_total{method=\"REGISTER\",result=\"bad_password\"} 1");
    has("sidetone_auth_attempts_total{method=\"REGISTER\",result=\"unknown_user\"} 1");
    has("sidetone_registration_attempts_total{result=\"ok\"} 2");
    has("sidetone_registration_attempts_total{result=\"forbidden\"} 1");
}

#[test]
fn the_way_to_a_phone_behind_a_nat_is_kept_open_from_both_ends() {
    let server = Server::start(&format!("[registrar]\nkeep_alive_interval_s = 1\n{OFFICE}"));
    let mut inside = Client::udp(server.address("udp"), "3001", "3001pass");
    let behind_nat = "sip:3001@192.168.1.20:5060";
    let challenge = inside.register_contact(behind_nat, "", None);
    assert_eq!(status(&inside.register_contact(behind_nat, "", Some(&challenge))), 200);
    let mut outside = Client::udp(server.address("udp"), "199", "199pass");
    assert_eq!(status(&outside.register_with_password()), 200);
    for _ in 0..2 {
        let kept = inside.receive(Duration::from_secs(3));
        assert_eq!(kept.as_deref(), Some("\r\n\r\n"), "RFC 5626 §3.5.1");
    }
    assert_eq!(outside.receive(Duration::from_millis(1)), None, "it can be reached as it is");

    // And what phones send of the kind gets no answer on UDP and is not taken for a broken message.
    inside.transmit(b"\r\n\r\n");
    inside.transmit(b"\0\0\0\0");
    inside.fetch(None);
    let (_, metrics) = server.get("/metrics");
    let count = |name: &str| -> u32 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(count("sidetone_sip_keep_alives_total{transport=\"udp\"}"), 2);

    // Who unregisters is left in peace.
    let lines = "Expires: 0\r\n";
    let challenge = inside.register_contact(behind_nat, lines, None);
    assert_eq!(status(&inside.register_contact(behind_nat, lines, Some(&challenge))), 200);
    assert_eq!(inside.receive(Duration::from_millis(1_500)), None);
}

#[test]
fn test_numbers_need_no_password_and_everything_else_does() {
    let server = Server::start(OFFICE);
    let mut stranger = Client::udp(server.address("udp"), "199", "guess");
    let answer = stranger.invite("9196", None);
    assert_eq!(status(&answer), 200, "whatever From says: {answer}");
    for number in ["3001", "12345"] {
        let challenge = stranger.invite(number, None);
        assert_eq!(status(&challenge), 401, "{number}");
        assert_eq!(status(&stranger.invite(number, Some(&challenge))), 401, "{number}");
    }
    let mut phone = Client::udp(server.address("udp"), "199", "199pass");
    let challenge = phone.invite("12345", None);
    let answer = phone.invite("12345", Some(&challenge));
    assert_eq!(status(&answer), 404, "{answer}");
    assert_eq!(status(&phone.register_with_password()), 200);
    let challenge = phone.invite("9196", None);
    assert_eq!(status(&challenge), 401, "a registered phone calls as itself");
    assert_eq!(status(&phone.invite("9196", Some(&challenge))), 200);
}

#[test]
fn a_user_comes_over_the_transports_that_are_allowed_and_over_no_other() {
    let server = Server::start("[users.199]\npassword = '199pass'\ntransports = ['tcp']\n");
    let mut over_udp = Client::udp(server.address("udp"), "199", "199pass");
    assert_eq!(status(&over_udp.register_with_password()), 403);
    let challenge = over_udp.invite("12345", None);
    assert_eq!(status(&over_udp.invite("12345", Some(&challenge))), 403);
    let mut over_tcp = Client::tcp(server.address("tcp"), "199", "199pass");
    assert_eq!(status(&over_tcp.register_with_password()), 200);
    let challenge = over_tcp.invite("9196", None);
    assert_eq!(status(&over_tcp.invite("9196", Some(&challenge))), 200);
}

#[test]
fn a_user_is_offered_the_codecs_and_the_digits_that_are_configured() {
    let server = Server::start(
        "[users.199]\npassword = '199pass'\n[users.3001]\npassword = '3001pass'\n\
         codecs = ['pcma', 'g722']\ndtmf = 'inband'\n",
    );
    let mut caller = Client::udp(server.address("udp"), "199", "199pass");
    let mut callee = Client::udp(server.address("udp"), "3001", "3001pass");
    assert_eq!(status(&callee.register_with_password()), 200);
    let offered = std::thread::spawn(move || callee.refuse_call());
    let challenge = caller.invite("3001", None);
    assert_eq!(status(&caller.invite("3001", Some(&challenge))), 486);
    let invite = offered.join().unwrap();
    assert!(invite.contains("RTP/AVP 8 9\r\n"), "no tones as events, no other codec: {invite}");
}

#[test]
fn rfc4568_8_1_who_takes_srtp_only_and_comes_without_tls_is_not_called() {
    let server = Server::start(&format!("{OFFICE}media = 'srtp'\n"));
    let mut caller = Client::udp(server.address("udp"), "199", "199pass");
    let mut callee = Client::udp(server.address("udp"), "3001", "3001pass");
    assert_eq!(status(&callee.register_with_password()), 200);
    let challenge = caller.invite("3001", None);
    let answer = caller.invite("3001", Some(&challenge));
    assert_eq!(status(&answer), 488, "{answer}");
    assert_eq!(callee.receive(Duration::from_millis(200)), None);
}

#[test]
fn guests_behind_a_proxy_reach_the_public_numbers_whoever_registers_through_it() {
    let server = Server::start(OFFICE);
    let mut proxy = Client::udp(server.address("udp"), "3001", "3001pass");
    let path = format!("Path: <sip:{};lr>\r\n", proxy.contact().rsplit('@').next().unwrap());
    let challenge = proxy.register(&path, None);
    assert_eq!(status(&proxy.register(&path, Some(&challenge))), 200);
    assert_eq!(status(&proxy.invite("9196", None)), 200);
    assert_eq!(status(&proxy.invite("199", None)), 401);
}

#[test]
fn a_replayed_password_is_stale_and_a_repeated_request_is_not_replayed() {
    let server = Server::start(OFFICE);
    let mut phone = Client::udp(server.address("udp"), "3001", "3001pass");
    let challenge = phone.register("", None);
    assert_eq!(status(&phone.register("", Some(&challenge))), 200);
    // The network may bring a datagram twice.
    phone.repeat();
    assert_eq!(status(&phone.receive(Duration::from_secs(5)).unwrap()), 200);
    let replayed = phone.register("", Some(&challenge));
    assert_eq!(status(&replayed), 401);
    assert!(header(&replayed, "WWW-Authenticate").ends_with("stale=true"), "{replayed}");
}

#[test]
fn registrations_of_phones_survive_a_restart() {
    let mut server = Server::start(OFFICE);
    let mut phone = Client::udp(server.address("udp"), "3001", "3001pass");
    assert_eq!(status(&phone.register_with_password()), 200);
    server.restart();
    phone.moved_to(server.address("udp"));
    let challenge = phone.fetch(None);
    let answer = phone.fetch(Some(&challenge));
    assert!(header(&answer, "Contact").contains(&phone.contact()), "{answer}");
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("sidetone_registrations{transport=\"udp\"} 1"));
}

#[test]
fn who_does_not_answer_is_counted_as_that_on_both_sides() {
    let server = Server::start(&format!("[calls]\nring_timeout_s = 1\n{OFFICE}"));
    let mut callee = Client::udp(server.address("udp"), "3001", "3001pass");
    assert_eq!(status(&callee.register_with_password()), 200);
    let mut caller = Client::udp(server.address("udp"), "199", "199pass");
    let challenge = caller.invite("3001", None);
    assert_eq!(status(&caller.invite("3001", Some(&challenge))), 408);
    let is_counted = |direction: &str| {
        let (_, metrics) = server.get("/metrics");
        let has = |line: &str, label: &str| line.contains(label);
        let ended = metrics.lines().filter(|line| line.starts_with("sidetone_calls_ended_total"));
        let mut ended = ended.filter(|line| {
            has(line, &format!("direction=\"{direction}\"")) && has(line, "cause=\"no_answer\"")
        });
        ended.any(|line| line.ends_with(" 1"))
    };
    let deadline = Instant::now() + Duration::from_secs(5);
    while !(is_counted("in") && is_counted("out")) {
        assert!(Instant::now() < deadline, "{}", server.get("/metrics").1);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn rfc3261_18_4_a_call_to_a_phone_that_is_gone_ends_soon() {
    let server = Server::start(OFFICE);
    let mut phone = Client::udp(server.address("udp"), "3001", "3001pass");
    assert_eq!(status(&phone.register_with_password()), 200);
    drop(phone);
    let mut caller = Client::udp(server.address("udp"), "199", "199pass");
    let challenge = caller.invite("3001", None);
    let start = Instant::now();
    let answer = caller.invite("3001", Some(&challenge));
    assert_eq!(status(&answer), 480, "{answer}");
    assert!(start.elapsed() < Duration::from_secs(2), "after {:?}", start.elapsed());
    let (_, metrics) = server.get("/metrics");
    let told = "sidetone_sip_dropped_total{transport=\"udp\",reason=\"undelivered\"} 2";
    assert!(metrics.lines().any(|line| line == told), "{told} is missing");
}

#[test]
fn a_token_calls_the_numbers_it_names_and_no_others() {
    let config = format!("[auth]\ntoken_context = 'internal'\n{OFFICE}");
    let server = Server::start(&config);
    let token = |arguments: &[&str]| server.run(&[&["token"], arguments].concat());
    let mut page = Client::udp(server.address("udp"), "visitor", "");
    let visitor = token(&["--user", "visitor", "--to", "9197", "--to", "90*"]);
    let bearer = format!("Authorization: Bearer {visitor}\r\n");
    assert_eq!(status(&page.invite_with("9197", &bearer)), 200);
    assert_eq!(status(&page.invite_with("9001", &bearer)), 404, "allowed, and nobody has it");
    assert_eq!(status(&page.invite_with("3001", &bearer)), 403);
    let own = format!("Authorization: Bearer {}\r\n", token(&["--user", "199", "--ttl", "1m"]));
    let mut phone = Client::udp(server.address("udp"), "199", "199pass");
    assert_eq!(status(&phone.register_with_password()), 200);
    let mut tab = Client::udp(server.address("udp"), "199", "");
    let bound = tab.register_with(&format!("Expires: 7200\r\n{own}"));
    assert_eq!(status(&bound), 200, "{bound}");
    let binding = bound.lines().find(|line| line.contains(&tab.contact())).unwrap();
    let (_, expires) = binding.split_once("expires=").unwrap();
    assert!((50..=60).contains(&expires.parse::<u32>().unwrap()), "as the token: {bound}");
    let gone = format!("Contact: <{}>;expires=0\r\n{own}", phone.contact());
    assert_eq!(status(&tab.register_with(&gone)), 403, "what a password bound");
    let (signed, _) = visitor.rsplit_once('.').unwrap();
    let forged = format!("Authorization: Bearer {signed}.AAAA\r\n");
    assert_eq!(status(&page.invite_with("9197", &forged)), 401);
    assert_eq!(status(&page.register_with(&bearer)), 403, "a visitor is no user");
}

#[test]
fn what_hash_password_prints_works_in_place_of_the_password() {
    let server = Server::start("");
    let section = server.run_with_input(&["hash-password", "3001"], "3001pass\n");
    drop(server);
    let server = Server::start(&format!("{section}\n"));
    let mut phone = Client::udp(server.address("udp"), "3001", "3001pass");
    assert_eq!(status(&phone.register_with_password()), 200, "{section}");
}

#[test]
fn a_bad_user_section_stops_the_start_with_a_sentence() {
    for (config, says) in [
        ("[users.199]\n", "users.199: no password"),
        ("[users.199]\npasswd = 'x'\n", "config.toml:2:"),
        ("[users.199]\npassword = 'x'\ncontexts = ['nowhere']\n", "users.199.contexts"),
        ("[auth]\nalgorithms = ['MD4']\n", "config.toml:2:"),
    ] {
        let (code, error) = Server::start_refused(config);
        assert_eq!(code, 1, "{error}");
        assert!(error.starts_with("sidetone: ") && error.contains(says), "{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
}
