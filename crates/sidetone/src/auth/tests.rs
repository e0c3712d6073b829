//! The authenticator against the vectors of the RFCs and against hostile headers.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;
use transport::{Framing, Limits, Message};

use super::credentials::{Credentials, find};
use super::*;
use crate::config::Config;

const UNIX_NOW_S: u64 = 1_800_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A request with these header lines.
fn request(method: &str, uri: &str, lines: &str) -> Message {
    let text = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n{lines}\r\n"
    );
    Message::parse(Bytes::from(text), Framing::Datagram, &Limits::default()).unwrap()
}

struct Desk {
    users: Users,
    authenticator: Authenticator,
    now: Instant,
}

/// What a client computes of a challenge.
struct Client<'a> {
    user: &'a str,
    password: &'a str,
    algorithm: Algorithm,
    uri: &'a str,
    nonce: String,
    nc: u32,
}

impl Desk {
    fn new(config: &str) -> Desk {
        let config: Config = toml::from_str(config).unwrap();
        let now = Instant::now();
        let users = Users::new(&config).unwrap();
        let authenticator = Authenticator::new(&config.auth, TokenKey::new(SECRET), now);
        Desk { users, authenticator, now }
    }

    fn office() -> Desk {
        Desk::new("[users.199]\npassword = '199pass'\n")
    }

    fn nonce(&mut self) -> String {
        let challenge = self.authenticator.challenges(false, usize::MAX, self.now).remove(0);
        challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    fn client(&mut self) -> Client<'static> {
        let nonce = self.nonce();
        Client {
            user: "199",
            password: "199pass",
            algorithm: Algorithm::Md5,
            uri: "sip:9196@server",
            nonce,
            nc: 1,
        }
    }

    fn judge(&mut self, request: &Message) -> Result<Option<Identity>, Denial> {
        let Desk { users, authenticator, now } = self;
        match authenticator.judge(request, None, users, UNIX_NOW_S, *now) {
            Verdict::Anonymous => Ok(None),
            Verdict::Granted(identity) => Ok(Some(identity)),
            Verdict::Refused(denial) => Err(denial),
        }
    }

    fn try_client(&mut self, client: &Client<'_>) -> Result<Option<Identity>, Denial> {
        let line = format!("Authorization: {}\r\n", client.credentials("INVITE"));
        self.judge(&request("INVITE", "sip:9196@server", &line))
    }
}

impl Client<'_> {
    fn credentials(&self, method: &str) -> String {
        let Client { user, password, algorithm, uri, nonce, nc } = self;
        let ha1 = algorithm.ha1(user, "sidetone", password).to_string();
        let ha2 = algorithm.hash(&[method.as_bytes(), uri.as_bytes()]).to_string();
        let nc = format!("{nc:08x}");
        let parts = [&ha1, nonce, &nc, "cn", "auth", &ha2].map(str::as_bytes);
        let response = algorithm.hash(&parts);
        format!(
            "Digest username=\"{user}\", realm=\"sidetone\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={}, cnonce=\"cn\", qop=auth, nc={nc}",
            algorithm.token()
        )
    }
}

#[test]
fn rfc3261_22_4_a_signed_uri_without_a_user_is_for_any_but_one_with_another_is_not() {
    let mut desk = Desk::office();
    for (uri, is_granted) in
        [("sip:server:5060", true), ("sip:9196@elsewhere", true), ("sip:9197@server", false)]
    {
        let credentials = Client { uri, ..desk.client() }.credentials("INVITE");
        let header = format!("Authorization: {credentials}\r\n");
        let judged = desk.judge(&request("INVITE", "sip:9196@server", &header));
        assert_eq!(judged.is_ok(), is_granted, "{uri}: {judged:?}");
    }
}

#[test]
fn rfc7616_3_9_the_vectors_hold() {
    struct Vector {
        algorithm: &'static str,
        user: &'static str,
        realm: &'static str,
        password: &'static str,
        rest: &'static str,
    }
    let example = "nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", uri=\"/dir/index.html\", \
        qop=auth, nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\"";
    let vectors = [
        // RFC 7616 §3.9.1.
        (
            Vector {
                algorithm: "MD5",
                user: "Mufasa",
                realm: "http-auth@example.org",
                password: "Circle of Life",
                rest: example,
            },
            "8ca523f5e9506fed4657c9700eebdbec",
        ),
        (
            Vector {
                algorithm: "SHA-256",
                user: "Mufasa",
                realm: "http-auth@example.org",
                password: "Circle of Life",
                rest: example,
            },
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
        ),
        // RFC 7616 §3.9.2 as its erratum 4897 corrects it.
        (
            Vector {
                algorithm: "SHA-512-256",
                user: "J\u{e4}s\u{f8}n Doe",
                realm: "api@example.org",
                password: "Secret, or not?",
                rest: "nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", uri=\"/doe.json\", \
                    qop=auth, nc=00000001, cnonce=\"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v\"",
            },
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
        ),
        // RFC 2617 §3.5.
        (
            Vector {
                algorithm: "MD5",
                user: "Mufasa",
                realm: "testrealm@host.com",
                password: "Circle Of Life",
                rest: "nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", \
                    qop=auth, nc=00000001, cnonce=\"0a4f113b\"",
            },
            "6629fae49393a05397450978507c4ef1",
        ),
    ];
    for (Vector { algorithm, user, realm, password, rest }, response) in vectors {
        let line = format!(
            "Authorization: Digest username=\"{user}\", realm=\"{realm}\", {rest}, \
             algorithm={algorithm}, response=\"{response}\"\r\n"
        );
        let request = request("OPTIONS", "sip:x", &line);
        let Some(Credentials::Digest(digest)) = find(&request, realm).unwrap() else {
            panic!("{line}")
        };
        let ha1 = digest.algorithm.ha1(user, realm, password);
        assert_eq!(digest.expected(&ha1, "GET").to_string(), response);
        assert_eq!(digest.response.to_string(), response);
    }
}

#[test]
fn rfc8760_2_3_each_algorithm_is_a_challenge_of_its_own_strongest_first() {
    let mut desk = Desk::new("[auth]\nalgorithms = ['MD5', 'SHA-512-256', 'SHA-256']\n");
    let tokens: Vec<String> = desk
        .authenticator
        .challenges(false, usize::MAX, desk.now)
        .iter()
        .map(|challenge| {
            assert!(challenge.starts_with("Digest realm=\"sidetone\", nonce=\""), "{challenge}");
            assert!(challenge.contains("qop=\"auth\"") && !challenge.contains("stale"));
            challenge.split("algorithm=").nth(1).unwrap().split(',').next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(tokens, ["SHA-512-256", "SHA-256", "MD5"]);
    for (bytes_max, expected) in [(0, 1), (250, 2), (350, 3)] {
        let challenges = desk.authenticator.challenges(false, bytes_max, desk.now);
        assert_eq!(challenges.len(), expected, "{bytes_max}");
        assert!(challenges.last().unwrap().contains("=MD5"), "everybody knows that");
    }
    let mut desk = Desk::office();
    assert_eq!(desk.authenticator.challenges(true, usize::MAX, desk.now).len(), 1);
    assert!(desk.authenticator.challenges(true, usize::MAX, desk.now)[0].ends_with(", stale=true"));
}

#[test]
fn a_right_password_is_good_in_every_offered_algorithm_and_in_no_other() {
    let mut desk = Desk::new(
        "[auth]\nalgorithms = ['SHA-256', 'SHA-512-256']\n[users.199]\npassword = '199pass'\n",
    );
    for (algorithm, is_good) in
        [(Algorithm::Md5, false), (Algorithm::Sha256, true), (Algorithm::Sha512_256, true)]
    {
        let client = Client { algorithm, ..desk.client() };
        match desk.try_client(&client) {
            Ok(Some(identity)) => assert!(is_good && identity.name == "199", "{algorithm:?}"),
            other => assert!(!is_good, "{algorithm:?}: {other:?}"),
        }
    }
}

#[test]
fn rfc2617_3_2_2_1_a_client_without_qop_may_use_a_nonce_once() {
    let mut desk = Desk::office();
    let nonce = desk.nonce();
    let ha1 = Algorithm::Md5.ha1("199", "sidetone", "199pass");
    let ha2 = Algorithm::Md5.hash(&[b"INVITE", b"sip:9196@server"]);
    let response = Algorithm::Md5.hash(&[ha1.as_bytes(), nonce.as_bytes(), ha2.as_bytes()]);
    let line = format!(
        "Proxy-Authorization: digest  username=\"199\" , realm=\"sidetone\",nonce=\"{nonce}\",\
         uri=\"sip:9196@server\",response=\"{response}\"\r\n"
    );
    let invite = request("INVITE", "sip:9196@server", &line);
    assert_eq!(desk.judge(&invite).unwrap().unwrap().name, "199");
    assert_eq!(desk.judge(&invite).unwrap_err(), Denial::Stale);
}

#[test]
fn what_was_seen_on_the_wire_opens_nothing_again() {
    let mut desk = Desk::office();
    let client = desk.client();
    assert!(desk.try_client(&client).unwrap().is_some());
    assert_eq!(desk.try_client(&client).unwrap_err(), Denial::Stale, "replayed");
    let line =
        format!("Authorization: {}\r\n", Client { nc: 2, ..desk.client() }.credentials("INVITE"));
    let other_method = request("REGISTER", "sip:9196@server", &line);
    assert_eq!(desk.judge(&other_method).unwrap_err(), Denial::BadPassword);
    let other_number = request("INVITE", "sip:0900@server", &line);
    assert!(matches!(desk.judge(&other_number).unwrap_err(), Denial::Malformed(_)));
    let other_host = request("INVITE", "sip:9196@192.0.2.1", &line);
    assert!(desk.judge(&other_host).unwrap().is_some(), "a proxy may have written the host");
}

#[test]
fn a_nonce_that_is_old_or_of_another_server_is_stale_only_with_the_password() {
    let mut desk = Desk::office();
    let foreign = Desk::office().nonce();
    for (password, denial) in [("199pass", Denial::Stale), ("guess", Denial::BadPassword)] {
        let client = Client { password, nonce: foreign.clone(), ..desk.client() };
        assert_eq!(desk.try_client(&client).unwrap_err(), denial);
        let client = Client { password, nonce: String::new(), ..desk.client() };
        assert_eq!(desk.try_client(&client).unwrap_err(), denial);
        let client = Client { password, ..desk.client() };
        desk.now += Duration::from_secs(301);
        assert_eq!(desk.try_client(&client).unwrap_err(), denial);
    }
}

#[test]
fn an_unknown_user_is_refused_as_a_wrong_password_is() {
    let mut desk = Desk::office();
    let client = Client { user: "nobody", ..desk.client() };
    assert_eq!(desk.try_client(&client).unwrap_err(), Denial::UnknownUser);
    let client = Client { password: "guess", ..desk.client() };
    assert_eq!(desk.try_client(&client).unwrap_err(), Denial::BadPassword);
    let client = Client { user: "nobody", password: "", ..desk.client() };
    assert_eq!(desk.try_client(&client).unwrap_err(), Denial::UnknownUser);
}

#[test]
fn credentials_for_others_are_none_and_broken_ones_are_named() {
    let mut desk = Desk::office();
    let good = "username=\"199\", realm=\"sidetone\", nonce=\"n\", uri=\"sip:x\"";
    let response = "response=\"00112233445566778899aabbccddeeff\"";
    for line in [
        String::new(),
        "Authorization: Basic MTk5OjE5OXBhc3M=\r\n".to_owned(),
        "Authorization: Digest realm=\"elsewhere\", nonce=\"n\"\r\n".to_owned(),
        "Authorization: Digest realm=\"Sidetone\"\r\n".to_owned(),
    ] {
        let request = request("INVITE", "sip:9196@server", &line);
        assert!(desk.judge(&request).unwrap().is_none(), "{line}");
    }
    for credentials in [
        "".to_owned(),
        good.to_owned(),
        response.to_owned(),
        format!("{good}, {response}, algorithm=MD5-sess"),
        format!("{good}, {response}, qop=auth-int, nc=00000001, cnonce=\"c\""),
        format!("{good}, {response}, qop=auth, cnonce=\"c\""),
        format!("{good}, {response}, qop=auth, nc=00000000, cnonce=\"c\""),
        format!("{good}, {response}, qop=auth, nc=1, cnonce=\"c\""),
        format!("{good}, {response}, qop=auth, nc=00000001"),
        format!("{good}, response=\"0011\""),
        format!("{good}, response=\"g0112233445566778899aabbccddeeff\""),
        format!("{good}, {response}, username=\"198\""),
        format!("{good}, {response}, opaque=\"unclosed"),
        format!("{good}, {response}, =x"),
        format!("{good}, {response}, alone"),
        format!("{good}{}", ", x=y".repeat(64)),
    ] {
        let line = format!("Authorization: Digest {credentials}\r\n");
        let request = request("INVITE", "sip:9196@server", &line);
        let judged = desk.judge(&request);
        assert!(matches!(judged, Err(Denial::Malformed(_))), "{credentials}: {judged:?}");
    }
}

#[test]
fn a_token_stands_in_for_the_password_of_its_user() {
    let mut desk = Desk::office();
    let token = |sub: &str, to: Option<&[&str]>| {
        let to = to.map(|to| to.iter().map(|number| (*number).to_owned()).collect());
        let exp = UNIX_NOW_S as f64 + 60.0;
        TokenKey::new(SECRET).sign(&Claims { sub: sub.to_owned(), exp, nbf: None, to }).unwrap()
    };
    let bearer = |token: &str| {
        request("INVITE", "sip:9196@server", &format!("Authorization: Bearer {token}\r\n"))
    };
    let whole = desk.judge(&bearer(&token("199", None))).unwrap().unwrap();
    assert!(whole.user.is_some() && whole.permits("anything"));
    let some = desk.judge(&bearer(&token("199", Some(&["9196", "0701*"])))).unwrap().unwrap();
    assert!(some.permits("9196") && some.permits("07010002000") && some.permits("0701"));
    assert!(!some.permits("91961") && !some.permits("070") && !some.permits(""));
    assert_eq!(desk.judge(&bearer("a.b.c")).unwrap_err(), Denial::BadToken);
    assert_eq!(desk.judge(&bearer("")).unwrap_err(), Denial::BadToken);
    let visitor = token("visitor", Some(&["9196"]));
    assert_eq!(desk.judge(&bearer(&visitor)).unwrap_err(), Denial::Forbidden);

    let mut desk = Desk::new("[auth]\ntoken_context = 'clicks'\n");
    let identity = desk.judge(&bearer(&visitor)).unwrap().unwrap();
    assert!(identity.user.is_none() && identity.permits("9196") && !identity.permits("0900"));
    assert_eq!(desk.judge(&bearer(&token("visitor", None))).unwrap_err(), Denial::Forbidden);

    let Desk { users, authenticator, now } = &mut desk;
    let plain = request("INVITE", "sip:9196@server", "");
    let verdict = authenticator.judge(&plain, Some(&visitor), users, UNIX_NOW_S, *now);
    assert!(matches!(verdict, Verdict::Granted(_)), "the token of the connection");
    let verdict = authenticator.judge(&plain, Some(&visitor), users, UNIX_NOW_S + 61, *now);
    assert!(matches!(verdict, Verdict::Refused(Denial::BadToken)), "it has run out");
}

proptest! {
    #[test]
    fn no_authorization_panics_or_passes(
        value in "(Digest|Bearer|digest|X)? ?[a-z=\",\\\\ 0-9]{0,80}",
        pairs in proptest::collection::vec(("(username|realm|nonce|uri|response|nc|qop|cnonce|algorithm)", "[\"0-9a-zA-Z:,\\\\ -]{0,40}"), 0..12),
    ) {
        let mut desk = Desk::office();
        let parameters: Vec<String> =
            pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for line in [value, format!("Digest realm=\"sidetone\",{}", parameters.join(","))] {
            let lines = format!("Authorization: {line}\r\nProxy-Authorization: {line}\r\n");
            let judged = desk.judge(&request("REGISTER", "sip:server", &lines));
            prop_assert!(!matches!(judged, Ok(Some(_))));
        }
    }

    #[test]
    fn a_change_of_one_byte_opens_nothing(at in any::<prop::sample::Index>(), byte in b'!'..=b'~') {
        let mut desk = Desk::office();
        let right = desk.client().credentials("INVITE");
        // What follows is the default algorithm, and blanks where any may be.
        let end = right.find(", algorithm").unwrap();
        let mut changed = right.clone().into_bytes();
        let at = at.index(end);
        prop_assume!(changed[at] != b' ');
        prop_assume!(!changed[at].eq_ignore_ascii_case(&byte));
        changed[at] = byte;
        let line = format!("Authorization: {}\r\n", String::from_utf8(changed).unwrap());
        let judged = desk.judge(&request("INVITE", "sip:9196@server", &line));
        prop_assert!(!matches!(judged, Ok(Some(_))), "{}", line);
    }
}
