//! Guessed passwords, replayed ones, headers that are none, and more contacts than anybody has.

use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sidetone::auth::{Algorithm, Claims, TokenKey};

use crate::agent::Agent;
use crate::live::Live;
use crate::metrics::{wait_for, wait_for_calls};
use crate::request::{Request, header, status, to_tag};
use crate::sdp;
use crate::server::Server;
use crate::start;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OFFICE: &str = "[users.199]\npassword = '199pass'\nmax_contacts = 2\nremove_existing = false\n\
    [users.3001]\npassword = '3001pass'\n";

#[test]
fn a_flood_of_wrong_passwords_harms_no_call_and_keeps_nobody_out() {
    let server = start(OFFICE);
    let udp = server.address("udp");
    let live = Live::start(&server);
    let before = wait_for_calls(&server, 1);
    std::thread::scope(|scope| {
        for n in 0..4u32 {
            scope.spawn(move || guess(&mut Agent::udp(udp), n));
        }
        let mut phone = Agent::udp(udp);
        for _ in 0..5 {
            let began = Instant::now();
            let answer = register(&mut phone, "199", "199pass", Request::new("REGISTER", "199"));
            assert_eq!(status(&answer), 200, "{answer}");
            assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    live.finish();
    let after = wait_for_calls(&server, 0);
    let judged = |result: &str| {
        let labels = ["method=\"REGISTER\"", &format!("result=\"{result}\"")];
        after.sum("sidetone_auth_attempts_total", &labels)
    };
    assert!(judged("bad_password") > 1_000.0 && judged("unknown_user") > 1_000.0);
    assert_eq!(judged("ok"), 5.0);
    assert!(after.rss_bytes() - before.rss_bytes() < 30e6, "memory grows with the guesses");
    assert_eq!(before.series(), after.series(), "series came or went");
}

#[test]
fn nobody_learns_whom_there_is() {
    let server = start(OFFICE);
    let mut agent = Agent::udp(server.address("udp"));
    let mut answers = Vec::new();
    for (user, method) in
        [("199", "REGISTER"), ("4711", "REGISTER"), ("199", "INVITE"), ("4711", "INVITE")]
    {
        for password in [None, Some("guess")] {
            let request = Request::new(method, user);
            let answer = match password {
                None => agent.ask(&request),
                Some(password) => register(&mut agent, user, password, request),
            };
            // What is left is what the server says of itself.
            let lines: Vec<&str> = answer
                .lines()
                .filter(|line| {
                    let own = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
                    !own.iter().any(|name| line.starts_with(name))
                })
                .map(|line| line.split(" nonce=").next().unwrap())
                .collect();
            answers.push(lines.join("\n"));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(answers[0].starts_with("SIP/2.0 401 "), "{}", answers[0]);
}

#[test]
fn an_authorization_that_is_none_is_answered_and_opens_nothing() {
    let server = start(OFFICE);
    let live = Live::start(&server);
    let right = "username=\"199\", realm=\"sidetone\", nonce=\"00\", uri=\"sip:199@server\", \
        response=\"00112233445566778899aabbccddeeff\"";
    let mut lines: Vec<String> = [
        "",
        "Digest",
        "Digest ,,,,",
        "Digest =",
        "Digest \"",
        "Digest realm=\"sidetone",
        "Digest realm=sidetone",
        "Digest realm=\"sidetone\", username=\"\"",
        "Bearer",
        "Bearer ..",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxOTkiLCJleHAiOjk5OTk5OTk5OTl9.",
        "\u{0}",
    ]
    .map(|value| format!("Authorization: {value}"))
    .to_vec();
    lines.push(format!("Authorization: Digest {right}, qop=auth, nc=99999999, cnonce=\"\""));
    lines.push(format!("Authorization: Digest {right}{}", ",a=b".repeat(2_000)));
    lines.push(format!("Authorization: Digest {right}, opaque=\"{}\"", "x".repeat(8_000)));
    lines.push(format!("Authorization: Bearer {}", "x".repeat(12_000)));
    lines.push(vec![format!("Authorization: Digest {right}"); 40].join("\r\n"));
    let mut rng = StdRng::seed_from_u64(64);
    for _ in 0..300 {
        let mut bytes =
            format!("Authorization: Digest {right}, qop=auth, nc=00000001").into_bytes();
        for _ in 0..4 {
            let at = rng.random_range(15..bytes.len());
            bytes[at] = rng.random_range(b' '..=b'~');
        }
        lines.push(String::from_utf8(bytes).unwrap());
    }
    for (index, line) in lines.iter().enumerate() {
        let method = if index % 2 == 0 { "REGISTER" } else { "INVITE" };
        // The large ones do not fit into a datagram.
        let mut agent = Agent::tcp(server.address("tcp"));
        let answer = agent.ask(&Request::new(method, "199").header(line.as_str()));
        assert!([400, 401].contains(&status(&answer)), "{method} {line}: {answer}");
    }
    live.finish();
}

#[test]
fn strangers_who_acknowledge_nothing_leave_half_of_all_calls_to_users() {
    let server = start(&format!("[limits]\ncalls_max = 40\n{OFFICE}"));
    let udp = server.address("udp");
    let from = |last: u8| Agent::udp_from([127, 0, 0, last].into(), udp);
    let invite =
        |number| Request::new("INVITE", number).body(sdp::plain(([127, 0, 0, 1], 9).into()));
    for (last, expected) in [(2, 200), (3, 200), (4, 503), (5, 503)] {
        let mut silent = from(last);
        for _ in 0..10 {
            assert_eq!(status(&silent.ask(&invite("9197"))), expected, "from 127.0.0.{last}");
        }
    }
    let mut phone = from(6);
    let challenge = phone.ask(&Request::new("REGISTER", "199"));
    let line = authorization(&challenge, "199", "199pass", "INVITE");
    let answer = phone.ask(&invite("199").header(line));
    assert_eq!(status(&answer), 480, "its own number, where nobody is registered: {answer}");
}

#[test]
fn what_was_overheard_opens_nothing_again() {
    let server = start(OFFICE);
    let mut phone = Agent::udp(server.address("udp"));
    let challenge = phone.ask(&Request::new("REGISTER", "199"));
    let right = authorization(&challenge, "199", "199pass", "REGISTER");
    let first = Request::new("REGISTER", "199").header(right.as_str());
    assert_eq!(status(&phone.ask(&first)), 200);
    let mut mallory = Agent::udp_from([127, 0, 0, 2].into(), server.address("udp"));
    for method in ["REGISTER", "INVITE"] {
        let answer = mallory.ask(&Request::new(method, "199").header(right.as_str()));
        assert_eq!(status(&answer), 401, "{answer}");
    }
    // A nonce of another server, and one that was made up.
    let other = start(OFFICE);
    let foreign = Agent::udp(other.address("udp")).ask(&Request::new("REGISTER", "199"));
    for challenge in [foreign, challenge.replace("nonce=\"0", "nonce=\"1")] {
        let line = authorization(&challenge, "199", "199pass", "REGISTER");
        let answer = mallory.ask(&Request::new("REGISTER", "199").header(line));
        assert_eq!(status(&answer), 401);
        assert!(answer.contains("stale=true"), "the password is right: {answer}");
    }
}

#[test]
fn contacts_beyond_the_limit_are_refused_and_the_others_stay() {
    let server = start(OFFICE);
    let mut agent = Agent::udp(server.address("udp"));
    let mut try_contacts = |contacts: &str| {
        let request = Request::new("REGISTER", "199").header(contacts);
        register(&mut agent, "199", "199pass", request)
    };
    let many: Vec<String> = (0..100).map(|n| format!("<sip:{n}@192.0.2.1>")).collect();
    assert_eq!(status(&try_contacts(&format!("Contact: {}", many.join(", ")))), 403);
    let long = format!("Contact: <sip:{}@192.0.2.1>", "x".repeat(2_000));
    assert_eq!(status(&try_contacts(&long)), 400);
    assert_eq!(status(&try_contacts("Expires: 5")), 423);
    // Its own contact and one more are as many as it may have.
    assert_eq!(status(&try_contacts("Contact: <sip:b@192.0.2.1>")), 200);
    assert_eq!(status(&try_contacts("Contact: <sip:c@192.0.2.1>")), 403);
    let answer = try_contacts("Contact: <sip:b@192.0.2.1>");
    assert_eq!(answer.lines().filter(|line| line.starts_with("Contact: ")).count(), 2);
}

#[test]
fn a_token_in_the_url_of_a_websocket_is_one_and_nothing_else_there_is() {
    let secret = "0123456789abcdef0123456789abcdef";
    let server = start(&format!("{OFFICE}[auth]\ntoken_secret = '{secret}'\n"));
    let token = |secret: &str, exp: f64| {
        let claims = Claims { sub: "199".to_owned(), exp, nbf: None, to: None };
        TokenKey::new(secret).sign(&claims).unwrap()
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let (good, old) = (token(secret, now + 60.0), token(secret, now - 60.0));
    let foreign = token("another secret that is long enough", now + 60.0);
    for (path, expected) in [
        (format!("/ws?token={good}"), 200),
        (format!("/?a=b&token={good}"), 200),
        (format!("/ws?token={old}"), 401),
        (format!("/ws?token={foreign}"), 401),
        (format!("/ws?token={}", "x".repeat(5_000)), 401),
        (format!("/ws?token={}", "x".repeat(7_000)), 401),
        ("/ws?token".to_owned(), 401),
        ("/ws?&&=&token=%00".to_owned(), 401),
    ] {
        let mut page = Agent::ws_at(server.address("http"), &path);
        let answer = page.ask(&Request::new("REGISTER", "199"));
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        assert_eq!(
            status(&page.ask(&Request::new("INVITE", "no-one"))),
            if expected == 200 { 404 } else { 401 }
        );
    }
}

#[test]
fn a_registration_takes_over_no_call_of_another_user() {
    let server = start(&with_tokens());
    let mut page = open(&server, "199");
    call_from_page(&mut page, "9197");
    wait_for_calls(&server, 1);
    drop(page);
    wait_for_no_page(&server);
    let (mut intruder, mut owner) = (open(&server, "3001"), open(&server, "199"));
    ask_as_page(&mut intruder, &Request::new("REGISTER", "3001"));
    ask_as_page(&mut owner, &Request::new("REGISTER", "199"));
    server.signal("TERM");
    let bye = owner.next_request(Duration::from_secs(3)).unwrap();
    owner.answer(&bye, "200 OK", "");
    assert_eq!(intruder.next_request(Duration::from_millis(300)), None);
}

#[test]
fn rfc5626_4_4_a_phone_whose_port_changed_is_found_at_the_next_one_and_no_other_user_is() {
    let server = start(&with_tokens());
    let [mut phone, mut intruder, mut moved] = [(); 3].map(|()| Agent::udp(server.address("udp")));
    let as_device = |agent: &mut Agent, request: Request, user: &str| {
        let request = request.header(format!("Authorization: Bearer {}", token(user)));
        let text = String::from_utf8(request.bytes(agent)).unwrap();
        let own = format!("<sip:mallory@{}>", agent.local());
        let named = "<sip:phone@192.168.1.9:5060>;+sip.instance=\"<urn:uuid:1>\"";
        agent.send(text.replace(&own, named).as_bytes());
        let answer = agent.final_response(&request, Duration::from_secs(5)).unwrap();
        assert_eq!(status(&answer), 200, "{answer}");
        (request, to_tag(&answer))
    };
    as_device(&mut phone, Request::new("REGISTER", "3001"), "3001");
    let description = crate::sdp::plain(([127, 0, 0, 1], 9).into());
    let invite = Request::new("INVITE", "9197").body(description);
    let (invite, to_tag) = as_device(&mut phone, invite, "3001");
    let branch = crate::request::fresh("z9hG4bK");
    phone.send(&Request { branch, to_tag, ..invite.same_transaction("ACK") }.bytes(&phone));
    wait_for_calls(&server, 1);
    as_device(&mut intruder, Request::new("REGISTER", "199"), "199");
    as_device(&mut moved, Request::new("REGISTER", "3001"), "3001");
    server.signal("TERM");
    let bye = moved.next_request(Duration::from_secs(3)).unwrap();
    assert!(bye.starts_with("BYE "), "{bye}");
    moved.answer(&bye, "200 OK", "");
    for other in [&mut phone, &mut intruder] {
        assert_eq!(other.next_request(Duration::from_millis(300)), None);
    }
}

#[test]
fn a_page_that_was_away_when_its_call_ended_is_told_when_it_is_back() {
    let server = start(&format!("{}[calls]\nduration_max_s = 2\n", with_tokens()));
    let mut page = open(&server, "199");
    call_from_page(&mut page, "9197");
    drop(page);
    wait_for_no_page(&server);
    wait_for_calls(&server, 0);
    let (mut intruder, mut owner) = (open(&server, "3001"), open(&server, "199"));
    ask_as_page(&mut intruder, &Request::new("REGISTER", "3001"));
    assert_eq!(intruder.next_request(Duration::from_millis(300)), None);
    let register = Request::new("REGISTER", "199");
    send_as_page(&mut owner, &register);
    let bye = owner.next_request(Duration::from_secs(3)).unwrap();
    assert!(bye.starts_with("BYE sip:page@page.invalid"), "{bye}");
    owner.answer(&bye, "200 OK", "");
    assert!(owner.final_response(&register, Duration::from_secs(3)).is_some());
    assert_eq!(owner.next_request(Duration::from_secs(1)), None, "once");
}

fn with_tokens() -> String {
    format!("{OFFICE}[auth]\ntoken_secret = '{SECRET}'\n")
}

/// A WebSocket with a token of the user.
fn open(server: &Server, user: &str) -> Agent {
    Agent::ws_at(server.address("http"), &format!("/?token={}", token(user)))
}

/// A token of the user that is good for a minute.
fn token(user: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let claims = Claims { sub: user.to_owned(), exp: now + 60.0, nbf: None, to: None };
    TokenKey::new(SECRET).sign(&claims).unwrap()
}

fn send_as_page(agent: &mut Agent, request: &Request) {
    let text = String::from_utf8(request.bytes(agent)).unwrap();
    let own = format!("sip:mallory@{}", agent.local());
    agent.send(text.replace(&own, "sip:page@page.invalid;transport=ws").as_bytes());
}

fn ask_as_page(agent: &mut Agent, request: &Request) -> String {
    send_as_page(agent, request);
    let answer = agent.final_response(request, Duration::from_secs(5)).unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    answer
}

fn call_from_page(page: &mut Agent, number: &str) {
    let description = crate::sdp::plain(([127, 0, 0, 1], 9).into());
    let invite = Request::new("INVITE", number).body(description);
    let to_tag = to_tag(&ask_as_page(page, &invite));
    let branch = crate::request::fresh("z9hG4bK");
    send_as_page(page, &Request { branch, to_tag, ..invite.same_transaction("ACK") });
}

fn wait_for_no_page(server: &Server) {
    wait_for(server, "the page is gone", |metrics| {
        metrics.sum("sidetone_sip_connections", &["transport=\"ws\""]) == 0.0
    });
}

/// Tries many passwords of users who are and of users who are not.
fn guess(agent: &mut Agent, seed: u32) {
    let challenge = agent.ask(&Request::new("REGISTER", "199"));
    for n in 0..1_000 {
        let user = ["199", "3001", "4711", "admin"][n as usize % 4];
        let line = authorization(&challenge, user, &format!("{seed}x{n}"), "REGISTER");
        let request = Request::new("REGISTER", user).header(line);
        let answer = agent.ask(&request);
        assert_eq!(status(&answer), 401, "{answer}");
    }
}

/// Sends a request, and once more with the answer to its challenge.
pub fn register(agent: &mut Agent, user: &str, password: &str, request: Request) -> String {
    let challenge = agent.ask(&request);
    assert_eq!(status(&challenge), 401, "{challenge}");
    let line = authorization(&challenge, user, password, &request.method);
    let again = Request { branch: crate::request::fresh("z9hG4bK"), cseq: 2, ..request };
    agent.ask(&again.header(line))
}

/// RFC 7616 §3.4, by MD5.
fn authorization(challenge: &str, user: &str, password: &str, method: &str) -> String {
    let value = header(challenge, "WWW-Authenticate").unwrap();
    let nonce = value.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    let uri = format!("sip:{user}@server");
    let ha1 = Algorithm::Md5.ha1(user, "sidetone", password).to_string();
    let ha2 = Algorithm::Md5.hash(&[method.as_bytes(), uri.as_bytes()]).to_string();
    let parts = [&ha1, nonce, "00000001", "c", "auth", &ha2].map(str::as_bytes);
    let response = Algorithm::Md5.hash(&parts);
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"sidetone\", nonce=\"{nonce}\", \
         uri=\"{uri}\", response=\"{response}\", qop=auth, nc=00000001, cnonce=\"c\""
    )
}
