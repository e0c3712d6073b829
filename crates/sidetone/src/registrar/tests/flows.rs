//! Which device registers, on which flow, and how it is reached from then on.

use super::*;

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
