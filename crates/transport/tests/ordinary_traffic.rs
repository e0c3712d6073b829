//! Traffic that phones and servers send every day and that SIP parsers are known to misread: each
//! line of it is read as it was meant.
#![allow(clippy::unwrap_used, reason = "test code")]

use bytes::Bytes;
use transport::{
    Fault, Flow, FlowId, Framing, Limits, Message, Method, Name, Policy, RequestWriter,
    ResponseWriter, Token, TransportKind, Uri, reason, validate,
};

/// An INVITE with these lines in place of the usual ones of the same name.
fn text(lines: &str) -> String {
    let usual = [
        "Via: SIP/2.0/UDP a;branch=z9hG4bK1",
        "From: <sip:c@d>;tag=1",
        "To: <sip:a@b>",
        "Call-ID: x@y",
        "CSeq: 1 INVITE",
    ];
    let mut text = String::from("INVITE sip:a@b SIP/2.0\r\n");
    for line in usual {
        let name = line.split(':').next().unwrap();
        if !lines.lines().any(|given| given.split(':').next().unwrap().trim() == name) {
            text.push_str(line);
            text.push_str("\r\n");
        }
    }
    if !lines.is_empty() {
        text.push_str(lines);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

fn datagram(bytes: impl Into<Bytes>) -> Message {
    Message::parse(bytes.into(), Framing::Datagram, &Limits::default()).unwrap()
}

fn message(lines: &str) -> Message {
    let message = datagram(text(lines));
    assert_eq!(validate(&message, &Policy::default()), Ok(()), "{lines}");
    message
}

fn fault(bytes: impl Into<Bytes>, framing: Framing) -> Fault {
    Message::parse(bytes.into(), framing, &Limits::default()).unwrap_err().fault()
}

fn flow() -> Flow {
    Flow {
        id: FlowId(1),
        kind: TransportKind::Udp,
        local: "[::1]:5060".parse().unwrap(),
        remote: "[2001:db8::7]:5060".parse().unwrap(),
    }
}

#[test]
fn a_dot_does_not_end_the_user_part() {
    let message = message("To: sip:alice.smith@example.com");
    let to = message.to().unwrap();
    assert_eq!((to.uri().user(), to.uri().host()), (Some("alice.smith"), Some("example.com")));
}

#[test]
fn ipv6_is_read_and_written_with_its_brackets() {
    let message = message(
        "Via: SIP/2.0/UDP [2001:db8::1]:5070;branch=z9hG4bK1;received=2001:db8::2;x=1\r\n\
         Contact: <sip:a@[2001:db8::1]:5070>",
    );
    let via = message.via().unwrap();
    assert_eq!((via.host(), via.port()), ("[2001:db8::1]", Some(5070)));
    assert_eq!(via.received(), Some("2001:db8::2".parse().unwrap()));
    assert_eq!(via.param("x").as_deref(), Some("1"));
    assert_eq!(message.contact().unwrap().uri().host_ip(), Some("2001:db8::1".parse().unwrap()));
    let ours = Uri::at(Some("us"), flow().local, TransportKind::Tcp);
    assert_eq!(ours.as_str(), "sip:us@[::1]:5060;transport=tcp");
    let response = datagram(ResponseWriter::to(&message, &flow(), 200).finish());
    assert_eq!(
        response.header(Name::Via).as_deref(),
        Some("SIP/2.0/UDP [2001:db8::1]:5070;branch=z9hG4bK1;x=1;received=2001:db8::7")
    );
}

#[test]
fn compact_names_are_the_mandatory_headers() {
    let message = datagram(
        "INVITE sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1\r\nf: <sip:c@d>;tag=1\r\n\
         t: <sip:a@b>\r\ni: x\r\nCSeq: 1 INVITE\r\nm: <sip:c@e>\r\nc: text/plain\r\ns: hi\r\n\
         l: 2\r\n\r\nok",
    );
    assert_eq!(validate(&message, &Policy::default()), Ok(()));
    assert_eq!(message.contact().unwrap().uri().as_str(), "sip:c@e");
    assert_eq!(message.header(Name::Subject).as_deref(), Some("hi"));
    assert_eq!(message.content_type().as_deref(), Some("text/plain"));
    assert_eq!(message.body(), "ok");
}

#[test]
fn folds_blanks_before_colons_bare_feeds_and_leading_line_ends_lose_nothing() {
    let message = message("Via :\r\n SIP/2.0/UDP a\r\n\t;branch=z9hG4bK9\r\nSubject: one\n  two");
    assert_eq!(message.via().unwrap().branch().as_deref(), Some("z9hG4bK9"));
    assert_eq!(message.header(Name::Subject).as_deref(), Some("one two"));
    let kept = datagram(format!("\r\n\r\n{}", text("")));
    assert_eq!(kept.method(), &Method::Invite);
    assert!(kept.bytes().starts_with(b"INVITE"));
}

#[test]
fn bytes_that_are_not_utf8_do_not_end_a_call() {
    let mut bytes = text("From: Jos? <sip:j@d>;tag=7\r\nSubject: caf?").into_bytes();
    bytes.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xe9);
    let message = datagram(bytes);
    assert_eq!(validate(&message, &Policy::default()), Ok(()));
    assert_eq!(message.from_tag().as_deref(), Some("7"));
    assert_eq!(message.header_bytes(Name::Subject), Some(&b"caf\xe9"[..]));
    let response = ResponseWriter::to(&message, &flow(), 200).finish();
    assert_eq!(datagram(response).header_bytes(Name::From), Some(&b"Jos\xe9 <sip:j@d>;tag=7"[..]));
}

#[test]
fn an_unknown_method_is_known_to_be_unknown() {
    let message =
        datagram(text("CSeq: 1 BREW\r\nAllow: INVITE, BREW, x").replace("INVITE sip", "BREW sip"));
    assert_eq!(validate(&message, &Policy::default()), Ok(()));
    assert_eq!(message.method(), &Method::Other(Token::new("BREW").unwrap()));
    assert_eq!(message.cseq().unwrap().method, *message.method());
    assert_eq!(message.list(Name::Allow).collect::<Vec<_>>(), ["INVITE", "BREW", "x"]);
}

#[test]
fn other_versions_are_answered_with_505() {
    for version in ["SIP/7.0", "SIP/2.1", "SIP/2.00", "SIP/2"] {
        let message = datagram(text("").replacen("SIP/2.0", version, 1));
        assert_eq!(validate(&message, &Policy::default()).unwrap_err().status, 505, "{version}");
    }
}

#[test]
fn a_head_without_its_empty_line_is_not_a_message() {
    let whole = text("");
    for cut in 1..whole.len() {
        let bytes = Bytes::copy_from_slice(whole.get(..cut).unwrap().as_bytes());
        assert_eq!(fault(bytes, Framing::Datagram), Fault::HeadIncomplete, "cut at {cut}");
    }
}

#[test]
fn content_length_is_obeyed() {
    let longer = datagram(text("Content-Length: 5") + "123456789");
    assert_eq!(longer.body(), "12345");
    assert!(longer.bytes().ends_with(b"12345"));
    let shorter = text("Content-Length: 50") + "12345";
    for framing in [Framing::Datagram, Framing::Stream, Framing::WebSocket] {
        assert_eq!(fault(shorter.clone(), framing), Fault::BodyIncomplete);
    }
    assert_eq!(datagram(text("") + "all of it").body(), "all of it");
    assert_eq!(fault(text(""), Framing::Stream), Fault::ContentLengthMissing);
    for bad in ["", "five", "-1", "+5", "5 5", "5, 5", "0x5", "5\r\nContent-Length: 5", "5\r\nl: 6"]
    {
        let bytes = text(&format!("Content-Length: {bad}")) + "12345";
        assert_eq!(fault(bytes, Framing::Datagram), Fault::ContentLength, "{bad}");
    }
    assert_eq!(
        fault(text("Content-Length: 99999999999999999999999"), Framing::Datagram),
        Fault::ContentLength
    );
    assert_eq!(fault(text("Content-Length: 65537"), Framing::Datagram), Fault::BodyTooLarge);
}

#[test]
fn every_via_of_a_line_counts() {
    let message = message(
        "Via: SIP/2.0/UDP a:5060 ;branch=z9hG4bK1, SIP/2.0/UDP b;branch=2\r\nv: SIP/2.0/TCP c",
    );
    let hosts: Vec<_> = message.vias().map(|via| via.unwrap().host().to_owned()).collect();
    assert_eq!(hosts, ["a", "b", "c"]);
    assert_eq!(message.via().unwrap().branch().as_deref(), Some("z9hG4bK1"));
}

#[test]
fn contacts_with_instances_lists_blanks_and_quotes_are_read() {
    let message = message(
        "Contact: <sip:a@b>;+sip.instance=\"<urn:uuid:1>\";reg-id=1, <sip:c> ;q=0.5;x=\"q, v\"",
    );
    let contacts: Vec<_> = message.addresses(Name::Contact).map(Result::unwrap).collect();
    assert_eq!(contacts.len(), 2);
    assert_eq!(contacts[0].param("+sip.instance").as_deref(), Some("<urn:uuid:1>"));
    assert_eq!(contacts[0].param("reg-id").as_deref(), Some("1"));
    assert_eq!(contacts[1].param("q").as_deref(), Some("0.5"));
    assert_eq!(contacts[1].param("x").as_deref(), Some("q, v"));
}

#[test]
fn tags_survive_blanks_and_brackets_in_names() {
    let message = message("From: \"A <b> C\" <sip:a@b> ; tag=1\r\nTo: \"x;tag=no\" <sip:a@b>");
    assert_eq!(message.from().unwrap().display_name().as_deref(), Some("A <b> C"));
    assert_eq!(message.from_tag().as_deref(), Some("1"));
    assert_eq!(message.to_tag(), None);
}

#[test]
fn a_tel_uri_keeps_its_plus() {
    let message = message("To: <tel:+12125550100>\r\nFrom: tel:+1234;tag=1");
    assert_eq!(message.to().unwrap().uri().as_str(), "tel:+12125550100");
    assert_eq!(message.from().unwrap().uri().user(), Some("+1234"));
}

#[test]
fn parameters_are_copied_whole_and_in_their_case() {
    let route = "<sip:p;lr;gr=urn:uuid:1;vsf=AAA==;ovid=YWJj==;transport=ws>";
    let message = message(&format!("Record-Route: {route}"));
    let read = message.addresses(Name::RecordRoute).next().unwrap().unwrap();
    assert_eq!(read.uri().param("gr").as_deref(), Some("urn:uuid:1"));
    assert_eq!(read.uri().param("vsf").as_deref(), Some("AAA=="));
    assert_eq!(read.to_string(), route);
    let response = datagram(ResponseWriter::to(&message, &flow(), 180).finish());
    assert_eq!(response.header(Name::RecordRoute).as_deref(), Some(route));
}

#[test]
fn header_fields_of_a_uri_are_not_its_host() {
    let message = message("Refer-To: <sip:a@b?Replaces=x%40y%3Bto-tag%3D1>");
    let refer = message.address(Name::ReferTo).unwrap();
    assert_eq!(refer.uri().host(), Some("b"));
    assert_eq!(refer.uri().headers().next(), Some(("Replaces".into(), "x@y;to-tag=1".into())));
}

#[test]
fn values_are_trimmed_at_both_ends() {
    let message = message("Expires:   60  \r\nCall-ID: \t id \t");
    assert_eq!(message.number(Name::Expires), Some(60));
    assert_eq!(message.call_id(), "id");
}

#[test]
fn reason_phrases_are_words_and_a_received_one_is_kept() {
    assert_eq!(reason::phrase(480), "Temporarily Unavailable");
    assert_eq!(reason::phrase(487), "Request Terminated");
    let response = datagram("SIP/2.0 480 Gone fishing\r\nCSeq: 1 INVITE\r\n\r\n");
    assert_eq!(response.reason_phrase(), "Gone fishing");
    assert_eq!(response.method(), &Method::Invite);
}

#[test]
fn a_binary_body_stays_as_it_is() {
    let uri = "sip:a@b".parse().unwrap();
    let written = RequestWriter::new(Method::Message, &uri).body("a/b", b"\x00\xff\x80\r").finish();
    assert_eq!(datagram(written).body(), &b"\x00\xff\x80\r"[..]);
}

#[test]
fn methods_are_told_apart_by_case() {
    let message = datagram(text("CSeq: 1 invite").replacen("INVITE", "invite", 1));
    assert_ne!(message.method(), &Method::Invite);
    let mixed = datagram(text("CSeq: 1 invite"));
    assert_eq!(validate(&mixed, &Policy::default()).unwrap_err().label, "cseq_method");
}

#[test]
fn an_error_does_not_carry_its_input() {
    let error = Message::parse(vec![b'x'; 60_000].into(), Framing::Datagram, &Limits::default());
    let error = error.unwrap_err();
    assert!(format!("{error} {error:?}").len() < 200);
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    let rows = [
        ("Subject: a\rContact: <sip:evil>", Fault::HeaderLine),
        ("Subject", Fault::HeaderLine),
        (": value", Fault::HeaderLine),
        ("Sub ject: x", Fault::HeaderLine),
        ("Sub\u{e9}ct: x", Fault::HeaderLine),
    ];
    for (line, expected) in rows {
        let error = Message::parse(text(line).into(), Framing::Datagram, &Limits::default());
        let error = error.unwrap_err();
        assert_eq!(error.fault(), expected, "{line}");
        let request = error.answerable().unwrap_or_else(|| panic!("{line} cannot be answered"));
        let response = datagram(ResponseWriter::to(request, &flow(), error.status()).finish());
        assert_eq!((response.status(), response.call_id()), (Some(400), "x@y"));
    }
}

#[test]
fn limits_have_their_status() {
    let limits = Limits { head_bytes_max: 300, body_bytes_max: 10, headers_max: 8 };
    let status = |bytes: String| {
        let error = Message::parse(bytes.into(), Framing::Datagram, &limits).unwrap_err();
        (error.reason(), error.status(), error.answerable().is_some())
    };
    let long = format!("Subject: {}", "x".repeat(300));
    assert_eq!(status(text(&long)), ("head_too_large", 513, true));
    assert_eq!(status(text("A: 1\r\nB: 2\r\nC: 3\r\nD: 4")), ("too_many_headers", 513, true));
    assert_eq!(status(text("") + "12345678901"), ("body_too_large", 413, true));
}

#[test]
fn only_what_can_be_answered_is_answered() {
    let broken = |text: String| {
        let error = Message::parse(text.into(), Framing::Datagram, &Limits::default());
        error.unwrap_err().answerable().is_some()
    };
    let bad = "Content-Length: x";
    assert!(broken(text(bad)));
    assert!(!broken(text(bad).replace("INVITE", "ACK")));
    assert!(!broken(text(bad).replace("INVITE sip:a@b SIP/2.0", "SIP/2.0 200 OK")));
    assert!(!broken(text(bad).replace("SIP/2.0/UDP", "nothing")));
    assert!(!broken(text(bad).replace("Call-ID", "X-ID")));
}

#[test]
fn a_message_goes_to_any_task() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    is_shared(&message(""));
}

#[test]
fn what_is_too_large_is_answered_even_if_the_needed_fields_come_last() {
    let padded = |padding: &str| {
        format!(
            "OPTIONS sip:a@b SIP/2.0\r\n{padding}Via: SIP/2.0/UDP h:5060;branch=z9hG4bKx\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
        )
    };
    let long = padded(&format!("X: {}\r\n", "x".repeat(20_000)));
    let many = padded(&"X: y\r\n".repeat(300));
    for text in [long, many] {
        let error = Message::parse(text.into(), Framing::Datagram, &Limits::default()).unwrap_err();
        assert_eq!(error.status(), 513);
        let request = error.answerable().expect("an answer can be written");
        assert_eq!(request.cseq().unwrap().number, 1);
    }
}
