//! The registrar on virtual time: what each REGISTER is granted, and what is left after a while.
#![allow(clippy::unwrap_used, reason = "test code")]

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
async fn rfc5626_6_a_device_is_one_binding_wherever_it_moves() {
    let mut scene = Scene::new("max_contacts = 1\nremove_existing = false\n");
    let lines = |host: &str| {
        format!(
            "Supported: path, outbound\r\nContact: <sip:x@{host}.invalid;transport=ws>;reg-id=1;\
             +sip.instance=\"<urn:uuid:1>\";expires=600\r\n"
        )
    };
    let first = flow(TransportKind::Wss, 1);
    let granted = scene.register(&lines("one"), &first).unwrap();
    assert!(granted.is_outbound);
    assert_eq!(
        granted.contacts,
        ["<sip:x@one.invalid;transport=ws>;expires=600;+sip.instance=\"<urn:uuid:1>\";reg-id=1"]
    );
    let second = flow(TransportKind::Wss, 2);
    scene.call_id = "another page";
    scene.register(&lines("two"), &second).unwrap();
    assert_eq!(scene.registrar.contacts("199")[0].flow, Some(second));
    scene.registrar.handle_flow_closed(&first, scene.now);
    scene.pass(300);
    assert_eq!(scene.uris(), ["sip:x@two.invalid;transport=ws"], "it has moved before");
    assert!(!scene.registrar.is_registered_on(&first));
    assert!(scene.registrar.is_registered_on(&second));
}

#[tokio::test(start_paused = true)]
async fn rfc4122_3_a_device_is_the_same_in_capitals() {
    let mut scene = Scene::new("");
    let lines = |instance: &str| format!("Contact: <sip:a@h>;+sip.instance=\"{instance}\"\r\n");
    let here = flow(TransportKind::Tcp, 1);
    let small = "<urn:uuid:0a1b2c3d-0000-4000-8000-00805f9b34fb>";
    scene.register(&lines(small), &here).unwrap();
    let capitals = small.to_uppercase();
    let granted = scene.register(&lines(&capitals), &flow(TransportKind::Tcp, 2)).unwrap();
    assert_eq!(scene.count(), 1);
    assert!(granted.contacts[0].contains(&capitals), "it is told what it said");
    // What else may stand there is compared as it is.
    for instance in ["<urn:imei:a>", "<urn:imei:A>"] {
        scene.register(&lines(instance), &here).unwrap();
    }
    assert_eq!(scene.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn rfc5626_6_one_request_makes_one_contact_reachable_on_its_flow() {
    let mut scene = Scene::new("");
    let here = flow(TransportKind::Tcp, 1);
    let contact = |reg_id: u8, expires: u16| {
        format!(
            "Contact: <sip:a@h{reg_id}>;+sip.instance=\"<urn:uuid:1>\";reg-id={reg_id}\
             ;expires={expires}\r\n"
        )
    };
    let both = contact(1, 600) + &contact(2, 600);
    assert!(matches!(scene.register(&both, &here), Err(Refused::BadRequest(_))));
    assert_eq!(scene.count(), 0);
    scene.register(&contact(2, 600), &here).unwrap();
    let other_one = contact(1, 600) + &contact(2, 0);
    scene.register(&other_one, &here).unwrap();
    assert_eq!(scene.uris(), ["sip:a@h1"]);
    // Without a flow of its own each contact is what it always was.
    scene.register("Contact: <sip:b@h>, <sip:c@h>\r\n", &here).unwrap();
    assert_eq!(scene.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn rfc5626_6_who_does_not_name_its_device_means_what_is_bound_to_its_uri() {
    let mut scene = Scene::new("max_contacts = 2\n");
    let here = flow(TransportKind::Udp, 1);
    let [plain, removed] = ["", ";expires=0"].map(|more| format!("Contact: <sip:a@h>{more}\r\n"));
    let named =
        |device: &str| format!("Contact: <sip:a@h>;+sip.instance=\"<urn:uuid:{device}>\"\r\n");
    scene.register(&named("1"), &here).unwrap();
    scene.register(&plain, &here).unwrap();
    assert_eq!(scene.count(), 1, "it is refreshed");
    scene.register(&named("1"), &here).unwrap();
    assert_eq!(scene.count(), 1, "it names itself again");
    // Two devices of two homes have the same private address.
    scene.call_id = "another device";
    scene.register(&named("2"), &flow(TransportKind::Udp, 2)).unwrap();
    assert_eq!(scene.count(), 2);
    scene.register(&removed, &here).unwrap();
    assert_eq!(scene.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn rfc5626_4_4_a_device_that_comes_on_another_flow_has_left_the_one_before() {
    let mut scene = Scene::new("");
    let [one, two, three] = [1, 2, 3].map(|id| flow(TransportKind::Udp, id));
    let left =
        |scene: &mut Scene, lines: &str, flow: &Flow| scene.register(lines, flow).unwrap().left;
    let contact = "Contact: <sip:a@192.168.1.9>\r\n";
    assert_eq!(left(&mut scene, contact, &one), []);
    assert_eq!(left(&mut scene, contact, &one), []);
    assert_eq!(left(&mut scene, contact, &two), [one]);
    scene.call_id = "another device";
    assert_eq!(left(&mut scene, contact, &three), [], "which names the same private address");

    let named = |host: &str| format!("Contact: <sip:a@{host}>;+sip.instance=\"<urn:x>\"\r\n");
    let [page, later] = [5, 6].map(|id| flow(TransportKind::Wss, id));
    assert_eq!(left(&mut scene, &named("b.invalid"), &page), []);
    scene.registrar.handle_flow_closed(&page, scene.now);
    scene.call_id = "reloaded";
    assert_eq!(left(&mut scene, &named("c.invalid"), &later), [page]);
    let phone = flow(TransportKind::Tcp, 7);
    assert_eq!(left(&mut scene, &named("192.0.2.7"), &phone), [], "over another transport");
}

#[tokio::test(start_paused = true)]
async fn rfc5626_a_browser_falls_with_its_socket_after_the_grace_time() {
    let mut scene = Scene::new("max_contacts = 1\nremove_existing = false\n");
    let lines = "Contact: <sip:x@one.invalid;transport=ws>;expires=600\r\n";
    let first = flow(TransportKind::Ws, 1);
    scene.register(lines, &first).unwrap();
    scene.registrar.handle_flow_closed(&first, scene.now);
    assert_eq!((scene.uris(), scene.count()), (Vec::new(), 1), "not reachable, and not gone");
    scene.pass(29);
    let second = flow(TransportKind::Ws, 2);
    scene.call_id = "the page again";
    scene.register("Contact: <sip:y@two.invalid;transport=ws>\r\n", &second).unwrap();
    assert_eq!(scene.uris(), ["sip:y@two.invalid;transport=ws"], "the dead one made room");
    scene.registrar.handle_flow_closed(&second, scene.now);
    scene.pass(31);
    assert_eq!(scene.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_desk_phone_over_tcp_is_reached_by_its_uri_once_its_connection_is_gone() {
    let mut scene = Scene::new("");
    let tcp = flow(TransportKind::Tcp, 1);
    scene.register("Contact: <sip:x@192.0.2.7:5060;transport=tcp>\r\n", &tcp).unwrap();
    assert_eq!(scene.registrar.contacts("199")[0].flow, Some(tcp));
    scene.registrar.handle_flow_closed(&tcp, scene.now);
    scene.pass(600);
    assert_eq!(scene.registrar.contacts("199")[0].flow, None);
}

#[tokio::test(start_paused = true)]
async fn a_phone_whose_contact_names_another_host_falls_with_its_connection_after_the_grace_time() {
    let mut scene = Scene::new("");
    let tcp = flow(TransportKind::Tcp, 1);
    scene.register("Contact: <sip:x@192.168.1.20:5060;transport=tcp>\r\n", &tcp).unwrap();
    scene.registrar.handle_flow_closed(&tcp, scene.now);
    assert_eq!((scene.uris(), scene.count()), (Vec::new(), 1), "not reachable, and not gone");
    scene.pass(31);
    assert_eq!(scene.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_asks_for_no_rport_is_known_by_where_it_sends_from() {
    let mut scene = Scene::new("");
    scene.rport = "";
    let [phone, other] = [1, 2].map(|id| flow(TransportKind::Udp, id));
    scene.register("Contact: <sip:x@192.0.2.7:5060>\r\n", &phone).unwrap();
    assert_eq!(scene.registrar.contacts("199")[0].flow, None, "it is called where its URI says");
    assert!(scene.registrar.is_registered_on(&phone));
    assert!(!scene.registrar.is_registered_on(&other));
    scene.register("Contact: *\r\nExpires: 0\r\n", &phone).unwrap();
    assert!(!scene.registrar.is_registered_on(&phone));
}

#[tokio::test(start_paused = true)]
async fn rfc3327_5_3_the_path_is_kept_and_repeated_to_who_announces_it() {
    let mut scene = Scene::new("");
    let udp = flow(TransportKind::Udp, 1);
    let path = "Path: <sip:edge2.example;lr>, <sip:edge1.example;lr>\r\nContact: <sip:x@h>\r\n";
    assert_eq!(scene.register(path, &udp).unwrap().path, Vec::<String>::new());
    let hops = ["<sip:edge2.example;lr>", "<sip:edge1.example;lr>"];
    assert_eq!(scene.registrar.contacts("199")[0].path, hops);
    let granted = scene.register(&format!("Supported: path\r\n{path}"), &udp).unwrap();
    assert_eq!(granted.path, hops);
    assert_eq!(scene.registrar.contacts("199")[0].path, hops);
}

#[tokio::test(start_paused = true)]
async fn rfc3327_5_3_a_request_goes_to_the_first_hop_of_the_path() {
    for (kind, hop, is_sender) in [
        (TransportKind::Udp, "sip:192.0.2.7:40001;lr", true),
        (TransportKind::Udp, "sip:192.0.2.7:5070;lr", false),
        (TransportKind::Udp, "sip:192.0.2.8:40001;lr", false),
        (TransportKind::Tcp, "sip:192.0.2.7;transport=tcp;lr", true),
        (TransportKind::Tcp, "sip:192.0.2.8;transport=tcp;lr", false),
    ] {
        let mut scene = Scene::new("");
        let from = flow(kind, 1);
        let lines = format!("Supported: path\r\nPath: <{hop}>\r\nContact: <sip:x@192.0.2.9>\r\n");
        scene.register(&lines, &from).unwrap();
        let way = scene.registrar.contacts("199")[0].flow;
        assert_eq!(way, is_sender.then_some(from), "{hop}");
    }
}

#[tokio::test(start_paused = true)]
async fn rfc5626_11_6_a_proxy_that_keeps_no_flow_is_439() {
    let mut scene = Scene::new("");
    let udp = flow(TransportKind::Udp, 1);
    let contact = "Via: SIP/2.0/UDP phone;branch=z9hG4bKx\r\nSupported: outbound, path\r\n\
        Contact: <sip:x@h>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\n";
    assert_eq!(scene.register(contact, &udp).unwrap_err(), Refused::FirstHopLacksOutbound);
    let edge = format!("Path: <sip:edge.example;lr;ob>\r\n{contact}");
    assert!(scene.register(&edge, &udp).unwrap().is_outbound);
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
