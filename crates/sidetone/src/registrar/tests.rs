//! The registrar on virtual time: what each REGISTER is granted, and what is left after a while.
#![allow(clippy::unwrap_used, reason = "test code")]

mod flows;
mod kept;

use std::net::SocketAddr;

use bytes::Bytes;
use transport::{FlowId, Framing, Limits, Message};

use super::*;
use crate::config::Config;

const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5060);

/// A registrar with one user, and a client that counts its CSeq.
struct Scene {
    registrar: Registrar,
    users: Users,
    cseq: u32,
    call_id: &'static str,
    /// What it says of it in its Via.
    rport: &'static str,
    now: Instant,
}

fn policy() -> Policy {
    (&Config::default()).into()
}

fn flow(kind: TransportKind, id: u64) -> Flow {
    let remote = SocketAddr::from(([192, 0, 2, 7], 40_000 + u16::try_from(id).unwrap()));
    Flow { id: FlowId(id), kind, local: SERVER, remote }
}

impl Scene {
    fn new(section: &str) -> Scene {
        Scene::with(section, policy(), Writer::none())
    }

    fn with(section: &str, policy: Policy, writer: Writer) -> Scene {
        let config = format!("[users.199]\npassword = 'x'\n{section}");
        let users = Users::new(&toml::from_str(&config).unwrap()).unwrap();
        let registrar = Registrar::new(policy, writer);
        Scene { registrar, users, cseq: 0, call_id: "one", rport: ";rport", now: Instant::now() }
    }

    /// Registers with these header lines over a flow.
    fn register(&mut self, lines: &str, flow: &Flow) -> Result<Granted, Refused> {
        self.cseq += 1;
        let cseq = self.cseq;
        self.register_as(lines, flow, cseq)
    }

    fn register_as(&mut self, lines: &str, flow: &Flow, cseq: u32) -> Result<Granted, Refused> {
        let message = message(lines, self.call_id, cseq, self.rport);
        let registration = Registration::read(&message, flow)?;
        self.registrar.register(self.users.get("199").unwrap(), &registration, self.now)
    }

    /// The same with a token that lasts so many seconds.
    fn register_by_token(
        &mut self,
        lines: &str,
        flow: &Flow,
        lasts_s: u64,
    ) -> Result<Granted, Refused> {
        self.cseq += 1;
        let message = message(lines, "token", self.cseq, self.rport);
        let registration =
            Registration::read(&message, flow)?.by_token(Duration::from_secs(lasts_s));
        self.registrar.register(self.users.get("199").unwrap(), &registration, self.now)
    }

    /// What is registered, as a fetch shows it.
    fn fetch(&mut self) -> Vec<String> {
        self.register("", &flow(TransportKind::Udp, 99)).unwrap().contacts
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.registrar.handle_timeout(self.now);
    }

    fn uris(&self) -> Vec<String> {
        self.registrar.contacts("199").into_iter().map(|contact| contact.uri).collect()
    }

    fn count(&self) -> usize {
        self.registrar.counts().iter().map(|(_, count)| count).sum()
    }
}

fn message(lines: &str, call_id: &str, cseq: u32, rport: &str) -> Message {
    let text = format!(
        "REGISTER sip:server SIP/2.0\r\nVia: SIP/2.0/UDP h{rport};branch=z9hG4bK{cseq}\r\n\
         From: <sip:199@server>;tag=1\r\nTo: <sip:199@server>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} REGISTER\r\n{lines}\r\n"
    );
    let message = Message::parse(Bytes::from(text), Framing::Datagram, &Limits::default());
    message.unwrap()
}

#[tokio::test(start_paused = true)]
async fn rfc3261_10_3_a_contact_is_bound_refreshed_fetched_and_removed() {
    let mut scene = Scene::new("");
    let udp = flow(TransportKind::Udp, 1);
    let granted = scene.register("Contact: <sip:199@a>\r\nExpires: 600\r\n", &udp).unwrap();
    assert_eq!(granted.contacts, ["<sip:199@a>;expires=600"]);
    scene.pass(100);
    assert_eq!(scene.fetch(), ["<sip:199@a>;expires=500"]);
    scene.register("Contact: <sip:199@A>;expires=300;q=0.5\r\n", &udp).unwrap();
    assert_eq!(scene.fetch(), ["<sip:199@A>;expires=300;q=0.500"]);
    scene.register("Contact: <sip:199@b>\r\n", &udp).unwrap();
    assert_eq!(scene.uris(), ["sip:199@b", "sip:199@A"], "highest q first");
    scene.register("Contact: <sip:199@a>;expires=0\r\n", &udp).unwrap();
    assert_eq!(scene.uris(), ["sip:199@b"]);
    scene.register("Contact: <sip:never@b>;expires=0\r\n", &udp).unwrap();
    scene.register("Contact: *\r\nExpires: 0\r\n", &udp).unwrap();
    assert_eq!((scene.fetch(), scene.count()), (Vec::new(), 0));
    assert_eq!(scene.registrar.poll_timeout(), None, "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn rfc3261_10_3_of_equal_q_the_newest_contact_comes_first() {
    let mut scene = Scene::new("");
    let udp = flow(TransportKind::Udp, 1);
    for contact in ["<sip:a@a>;q=0.2", "<sip:b@b>;q=0.9", "<sip:c@c>;q=0.9", "<sip:d@d>;q=0"] {
        scene.register(&format!("Contact: {contact}\r\n"), &udp).unwrap();
        scene.pass(1);
    }
    assert_eq!(scene.uris(), ["sip:c@c", "sip:b@b", "sip:a@a", "sip:d@d"]);
    let fetched = scene.fetch();
    let order: Vec<&str> = fetched.iter().map(|contact| &contact[1..8]).collect();
    assert_eq!(order, scene.uris(), "a fetch shows them in this order too");
}

#[tokio::test(start_paused = true)]
async fn rfc3261_10_3_too_short_is_423_and_too_long_is_shortened() {
    let mut scene = Scene::new("");
    let udp = flow(TransportKind::Udp, 1);
    for lines in ["Contact: <sip:a@a>;expires=59\r\n", "Contact: <sip:a@a>\r\nExpires: 1\r\n"] {
        let refused = scene.register(lines, &udp).unwrap_err();
        assert_eq!(refused, Refused::IntervalTooBrief { min_expires_s: 60 });
    }
    let seconds =
        |granted: Granted| granted.contacts[0].split("expires=").nth(1).unwrap().to_owned();
    let long = scene.register("Contact: <sip:a@a>;expires=4294967295\r\n", &udp).unwrap();
    assert_eq!(seconds(long), "7200");
    let unsaid = scene.register("Contact: <sip:a@a>\r\n", &udp).unwrap();
    assert_eq!(seconds(unsaid), "3600");
    let nonsense = scene.register("Contact: <sip:a@a>;expires=soon\r\n", &udp).unwrap();
    assert_eq!(seconds(nonsense), "3600");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_renews_at_the_last_moment_is_never_gone() {
    let mut scene = Scene::new("");
    let udp = flow(TransportKind::Udp, 1);
    scene.register("Contact: <sip:a@a>;expires=60\r\n", &udp).unwrap();
    scene.pass(61);
    assert_eq!(scene.uris(), ["sip:a@a"]);
    assert_eq!(scene.fetch(), [""; 0], "its time is over");
    scene.register("Contact: <sip:a@a>;expires=60\r\n", &udp).unwrap();
    scene.pass(69);
    assert_eq!(scene.uris(), ["sip:a@a"]);
    scene.pass(2);
    assert_eq!((scene.uris(), scene.count()), (Vec::new(), 0));
}

#[tokio::test(start_paused = true)]
async fn rfc3261_10_3_an_older_request_changes_nothing() {
    let mut scene = Scene::new("");
    let udp = flow(TransportKind::Udp, 1);
    scene.register_as("Contact: <sip:a@a>\r\n", &udp, 10).unwrap();
    for lines in [
        "Contact: <sip:b@b>, <sip:a@a>;expires=0\r\n",
        "Contact: <sip:a@a>\r\n",
        "Contact: *\r\nExpires: 0\r\n",
    ] {
        assert_eq!(scene.register_as(lines, &udp, 10).unwrap_err(), Refused::OutOfOrder);
        assert_eq!(scene.register_as(lines, &udp, 9).unwrap_err(), Refused::OutOfOrder);
    }
    assert_eq!(scene.uris(), ["sip:a@a"], "as a whole or not at all");
    scene.call_id = "after a restart";
    scene.register_as("Contact: <sip:a@a>;expires=0\r\n", &udp, 1).unwrap();
    assert_eq!(scene.uris(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn contacts_beyond_the_bound_are_refused_or_replace_the_oldest() {
    let udp = flow(TransportKind::Udp, 1);
    let contact = |name: &str| format!("Contact: <sip:{name}@h>\r\n");
    let mut strict = Scene::new("max_contacts = 2\nremove_existing = false\n");
    let mut loose = Scene::new("max_contacts = 2\n");
    for name in ["a", "b"] {
        strict.register(&contact(name), &udp).unwrap();
        loose.register(&contact(name), &udp).unwrap();
        strict.pass(1);
        loose.pass(1);
    }
    assert_eq!(strict.register(&contact("c"), &udp).unwrap_err(), Refused::TooManyContacts);
    assert_eq!(strict.uris(), ["sip:b@h", "sip:a@h"]);
    strict.register(&contact("a"), &udp).unwrap();
    strict.register("Contact: <sip:a@h>;expires=0, <sip:c@h>\r\n", &udp).unwrap();
    assert_eq!(strict.uris(), ["sip:c@h", "sip:b@h"], "one goes, one comes");

    loose.register(&contact("c"), &udp).unwrap();
    assert_eq!(loose.uris(), ["sip:c@h", "sip:b@h"]);
    let three = "Contact: <sip:x@h>, <sip:y@h>, <sip:z@h>\r\n";
    assert_eq!(loose.register(three, &udp).unwrap_err(), Refused::TooManyContacts);
    assert_eq!(loose.uris(), ["sip:c@h", "sip:b@h"]);
    let many: Vec<String> = (0..17).map(|n| format!("<sip:{n}@h>")).collect();
    let many = format!("Contact: {}\r\n", many.join(", "));
    assert_eq!(loose.register(&many, &udp).unwrap_err(), Refused::TooManyContacts);
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_all_users_refuses_new_bindings_only() {
    let policy = Policy { bindings_max: 1, ..policy() };
    let mut scene = Scene::with("", policy, Writer::none());
    let udp = flow(TransportKind::Udp, 1);
    scene.register("Contact: <sip:a@h>\r\n", &udp).unwrap();
    assert_eq!(scene.register("Contact: <sip:b@h>\r\n", &udp).unwrap_err(), Refused::Full);
    scene.register("Contact: <sip:a@h>\r\n", &udp).unwrap();
    scene.register("Contact: <sip:a@h>;expires=0, <sip:b@h>\r\n", &udp).unwrap();
    assert_eq!(scene.uris(), ["sip:b@h"], "one goes, one comes");
}

#[tokio::test(start_paused = true)]
async fn a_contact_that_is_named_twice_is_one_and_the_later_counts() {
    let mut scene = Scene::new("max_contacts = 2\n");
    let udp = flow(TransportKind::Udp, 1);
    scene.register("Contact: <sip:a@h>\r\n", &udp).unwrap();
    let twice = "Contact: <sip:b@h>;q=0.1, <sip:b@h>;q=0.5\r\n";
    scene.register(twice, &udp).unwrap();
    assert_eq!(scene.uris(), ["sip:a@h", "sip:b@h"]);
    assert!(scene.fetch()[1].contains("q=0.5"), "{:?}", scene.fetch());
    scene.register("Contact: <sip:b@h>, <sip:b@h>;expires=0\r\n", &udp).unwrap();
    assert_eq!(scene.uris(), ["sip:a@h"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_binds_no_longer_than_it_lasts_and_leaves_what_a_password_bound() {
    let mut scene = Scene::new("max_contacts = 2\n");
    let (phone, page) = (flow(TransportKind::Udp, 1), flow(TransportKind::Wss, 2));
    scene.register("Contact: <sip:phone@h>\r\n", &phone).unwrap();
    for taken in [
        "Contact: *\r\nExpires: 0\r\n",
        "Contact: <sip:phone@h>;expires=0\r\n",
        "Contact: <sip:phone@h>\r\n",
    ] {
        let refused = scene.register_by_token(taken, &page, 60).unwrap_err();
        assert_eq!((refused, refused.status()), (Refused::NotByToken, 403), "{taken}");
    }
    scene.pass(1);
    let granted = scene.register_by_token("Contact: <sip:a@b.invalid>\r\n", &page, 40).unwrap();
    assert!(granted.contacts.iter().any(|contact| contact.contains("expires=40")), "{granted:?}");
    assert_eq!(scene.uris(), ["sip:a@b.invalid", "sip:phone@h"]);
    scene.pass(1);
    scene.register_by_token("Contact: <sip:c@d.invalid>\r\n", &page, 39).unwrap();
    assert_eq!(scene.uris(), ["sip:c@d.invalid", "sip:phone@h"], "the oldest that it may replace");
    scene.pass(39);
    assert_eq!(scene.uris(), ["sip:phone@h"]);
    let both = "Contact: <sip:e@f.invalid>, <sip:g@h.invalid>\r\n";
    let refused = scene.register_by_token(both, &page, 60).unwrap_err();
    assert_eq!(refused, Refused::TooManyContacts);
    let tab = flow(TransportKind::Wss, 3);
    scene.register("Contact: <sip:tab@f.invalid>\r\n", &tab).unwrap();
    scene.registrar.handle_flow_closed(&tab, scene.now);
    scene.register_by_token("Contact: <sip:tab@f.invalid>\r\n", &page, 10).unwrap();
    scene.pass(10);
    scene.register_by_token("Contact: <sip:e@f.invalid>\r\n", &page, 60).unwrap();
    scene.register_by_token("Contact: <sip:e@f.invalid>;expires=0\r\n", &page, 60).unwrap();
    scene.register("Contact: *\r\nExpires: 0\r\n", &phone).unwrap();
    assert_eq!(scene.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_breaks_a_rule_is_400() {
    let mut scene = Scene::new("");
    let udp = flow(TransportKind::Udp, 1);
    for lines in [
        "Contact: *\r\n".to_owned(),
        "Contact: *\r\nExpires: 60\r\n".to_owned(),
        "Contact: <tel:+1>\r\n".to_owned(),
        "Contact: <mailto:a@b>\r\n".to_owned(),
        format!("Contact: <sip:{}@h>\r\n", "x".repeat(600)),
        format!("Contact: <sip:x@h>;+sip.instance=\"{}\"\r\n", "x".repeat(200)),
        format!("Contact: <sip:x@h>\r\nPath: {}\r\n", ["<sip:p>"; 9].join(",")),
    ] {
        let refused = scene.register(&lines, &udp).unwrap_err();
        assert_eq!(refused.status(), 400, "{lines}");
    }
    assert_eq!(scene.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn phones_behind_a_nat_are_kept_alive_and_others_are_left_alone() {
    let mut scene = Scene::new("");
    let (nat, direct) = (flow(TransportKind::Udp, 1), flow(TransportKind::Udp, 2));
    scene.register("Contact: <sip:a@10.0.0.7:5060>\r\n", &nat).unwrap();
    scene.register(&format!("Contact: <sip:b@{}>\r\n", direct.remote), &direct).unwrap();
    let tcp = flow(TransportKind::Tcp, 3);
    scene.register("Contact: <sip:c@10.0.0.8:5060>\r\n", &tcp).unwrap();
    for _ in 0..3 {
        assert_eq!(scene.registrar.due_keep_alives(9, scene.now), []);
        scene.pass(25);
        assert_eq!(scene.registrar.due_keep_alives(9, scene.now), [nat]);
        scene.register("Contact: <sip:a@10.0.0.7:5060>\r\n", &nat).unwrap();
    }
    scene.register("Contact: <sip:a@10.0.0.7:5060>;expires=0\r\n", &nat).unwrap();
    scene.pass(25);
    assert_eq!(scene.registrar.due_keep_alives(9, scene.now), []);
}

#[tokio::test(start_paused = true)]
async fn a_user_who_is_removed_is_not_registered_any_more() {
    let mut scene = Scene::new("");
    scene.register("Contact: <sip:a@h>\r\n", &flow(TransportKind::Udp, 1)).unwrap();
    scene.registrar.retain_allowed(&scene.users, &scene.users);
    assert_eq!(scene.count(), 1);
    scene.registrar.retain_allowed(&Users::default(), &scene.users);
    assert_eq!((scene.count(), scene.registrar.poll_timeout()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_user_is_not_registered_over_what_is_not_allowed_any_more() {
    let mut scene = Scene::new("");
    scene.register("Contact: <sip:a@h>\r\n", &flow(TransportKind::Udp, 1)).unwrap();
    scene.register("Contact: <sip:b@h>\r\n", &flow(TransportKind::Tls, 2)).unwrap();
    scene.registrar.retain_allowed(&Scene::new("transports = ['tls']").users, &scene.users);
    assert_eq!(scene.uris(), ["sip:b@h"]);
}
