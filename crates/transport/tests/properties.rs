//! Properties of the index, the framing and the values, over generated and damaged input.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use rsip::prelude::*;
use transport::framing::{StreamDecoder, StreamEvent};
use transport::{
    Flow, FlowId, Framing, Limits, Message, Method, Name, NameAddr, Policy, Rejection,
    RequestWriter, ResponseWriter, Token, TransportKind, Uri, Via, validate,
};

const INVITE: &str = "INVITE sip:07010002000@192.0.2.1;transport=ws SIP/2.0\r\n\
    Via: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK5386062;rport, SIP/2.0/UDP b\r\n\
    Max-Forwards: 69\r\n\
    To: <sip:07010002000@192.0.2.1>\r\n\
    From: \"A \\\"B\\\"\" <sip:alice.smith@[2001:db8::1]>;tag=kfs2i2k5gv\r\n\
    Call-ID: 6fr4d9q3k1s0\r\nCSeq: 1234 INVITE\r\n\
    Contact: <sip:a@df7jal23ls0d.invalid;transport=ws;ob>;+sip.instance=\"<urn:uuid:1>\"\r\n\
    Allow: INVITE,ACK,CANCEL,BYE,UPDATE\r\n\
    Subject: folded\r\n  twice\r\nSession-Expires: 90\r\nSupported: timer,ice,replaces\r\n\
    Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";

/// Everything that can be asked of a message, so that a panic anywhere shows.
fn touch(message: &Message) {
    let flow = flow();
    let _ = (message.is_request(), message.status(), message.reason_phrase(), message.version());
    let _ =
        message.request_uri().map(|uri| uri.map(|uri| (uri.for_request(), uri.params().count())));
    for &name in Name::KNOWN.iter().chain([&Name::Other]) {
        let _ = (message.header(name), message.number(name), message.address(name));
        let _ = (message.headers(name).count(), message.list(name).count());
        let _ = message.addresses(name).filter_map(Result::ok).map(|address| {
            (
                address.display_name().is_some(),
                address.params().count(),
                address.uri().headers().count(),
            )
        });
    }
    let _ = (message.vias().count(), message.via(), message.contact(), message.content_type());
    let _ =
        (message.from_tag(), message.to_tag(), message.call_id(), message.cseq(), message.body());
    if let Err(rejection) = validate(message, &Policy::default()) {
        assert!(Rejection::LABELS.contains(&rejection.label), "{}", rejection.label);
    }
    let _ = transport::next_max_forwards(message);
    let _ =
        (transport::routing::response_flow(message, &flow), transport::routing::route_set(message));
    let _ = ResponseWriter::to(message, &flow, 400).to_tag("t").finish();
}

fn parse(bytes: &[u8], framing: Framing) -> Option<Message> {
    match Message::parse(Bytes::copy_from_slice(bytes), framing, &Limits::default()) {
        Ok(message) => Some(message),
        Err(error) => {
            let _ = (error.reason(), error.status());
            error.answerable().cloned()
        }
    }
}

fn flow() -> Flow {
    Flow {
        id: FlowId(1),
        kind: TransportKind::Udp,
        local: "192.0.2.9:5060".parse().unwrap(),
        remote: "192.0.2.100:5061".parse().unwrap(),
    }
}

/// Damages a valid message: bytes changed, parts dropped, doubled or replaced by what hurts.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..6usize, any::<u8>()), 1..8);
    edits.prop_map(|edits| {
        let mut bytes = INVITE.as_bytes().to_vec();
        for (index, kind, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let position = index.index(bytes.len());
            match kind {
                0 => bytes[position] = byte,
                1 => bytes.insert(position, byte),
                2 => drop(bytes.remove(position)),
                3 => bytes.truncate(position),
                4 => {
                    let copy: Vec<u8> = bytes[position..].iter().take(40).copied().collect();
                    bytes.splice(position..position, copy);
                }
                _ => {
                    let hurt = b"\r\n,;<>\"\\:@[]?=%\0 ";
                    bytes[position] = hurt[usize::from(byte) % hurt.len()];
                }
            }
        }
        bytes
    })
}

fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.!%*_+`'~-]{1,12}"
}

/// Text of a header value: printable, or not ASCII, without blanks at its ends.
fn value() -> impl Strategy<Value = String> {
    "[!-~\u{e4}\u{4e2d}]([ -~\u{e4}\u{4e2d}]{0,40}[!-~])?"
}

fn uri_text() -> impl Strategy<Value = String> {
    let user = prop::option::of("[a-zA-Z0-9._%&=+$,;?/-]{1,12}");
    let host = prop_oneof![
        "[a-z0-9]{1,8}(\\.[a-z0-9]{1,8}){0,2}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
    ];
    let params =
        prop::collection::vec(("[a-z]{1,6}", prop::option::of("[a-zA-Z0-9:=._%-]{1,8}")), 0..4);
    (prop_oneof![Just("sip"), Just("sips"), Just("SIP")], user, host, any::<Option<u16>>(), params)
        .prop_map(|(scheme, user, host, port, params)| {
            let mut text = format!("{scheme}:");
            text += &user.map_or_else(String::new, |user| user + "@");
            text += &host;
            text += &port.map_or_else(String::new, |port| format!(":{port}"));
            for (name, value) in params {
                text += &format!(";{name}");
                text += &value.map_or_else(String::new, |value| format!("={value}"));
            }
            text
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for framing in [Framing::Datagram, Framing::Stream, Framing::WebSocket] {
            if let Some(message) = parse(&bytes, framing) {
                touch(&message);
            }
        }
    }

    #[test]
    fn damaged_messages_never_panic(bytes in damaged()) {
        for framing in [Framing::Datagram, Framing::Stream] {
            if let Some(message) = parse(&bytes, framing) {
                touch(&message);
            }
        }
    }

    #[test]
    fn values_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in ".{0,60}") {
        for bytes in [Bytes::from(bytes), Bytes::from(text)] {
            let _ = Uri::parse(bytes.clone()).map(|uri| uri.for_request());
            let _ = NameAddr::parse(bytes.clone()).map(|address| address.tag().is_some());
            let _ = Via::parse(bytes.clone()).map(|via| (via.branch().is_some(), via.received()));
            let _ = transport::split::list(&bytes).count();
            let _ = transport::split::params(&bytes).map(|param| param.text().len()).sum::<usize>();
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        method in token(),
        user in "[a-z0-9]{1,10}",
        headers in prop::collection::vec((token(), value()), 0..20),
        number in 0..(1u32 << 31),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let method = Method::parse(method.as_bytes()).unwrap();
        let uri: Uri = format!("sip:{user}@example.com").parse().unwrap();
        let mut writer = RequestWriter::new(method.clone(), &uri)
            .via(TransportKind::Udp, "192.0.2.1:5060", "z9hG4bKx")
            .cseq(number);
        for (name, value) in &headers {
            writer = writer.header_named(&Token::new(&format!("X-{name}")).unwrap(), value);
        }
        let bytes = writer.body("a/b", &body).finish();
        let message = Message::parse(bytes.clone(), Framing::Stream, &Limits::default()).unwrap();
        prop_assert_eq!(message.bytes(), &bytes);
        prop_assert_eq!(message.method(), &method);
        prop_assert_eq!(message.request_uri().unwrap().unwrap(), uri);
        prop_assert_eq!(message.cseq().unwrap().number, number);
        prop_assert_eq!(message.body(), body);
        let read: Vec<_> = message.lines().filter(|line| line.name == Name::Other).collect();
        prop_assert_eq!(read.len(), headers.len());
        for (line, (name, value)) in read.iter().zip(&headers) {
            let name = format!("X-{name}");
            prop_assert_eq!(line.name_text, name.as_bytes());
            prop_assert_eq!(line.value, value.as_bytes());
        }
    }

    #[test]
    fn a_response_is_valid_whatever_is_put_into_it(text in "[\\x00-\\x7f]{0,60}", status in any::<u16>()) {
        let request = parse(INVITE.as_bytes(), Framing::Datagram).unwrap();
        let bytes = ResponseWriter::to(&request, &flow(), status)
            .phrase(&text)
            .to_tag(&text)
            .header(Name::Server, &text)
            .header(Name::Warning, &text)
            .body(&text, text.as_bytes())
            .finish();
        let response = Message::parse(bytes, Framing::Stream, &Limits::default()).unwrap();
        prop_assert_eq!(response.lines().count(), if text.is_empty() { 8 } else { 9 });
        prop_assert_eq!(response.body(), text);
        prop_assert_eq!(response.call_id(), request.call_id());
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_messages(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5),
        cuts in prop::collection::vec(1..80usize, 1..40),
        pings in any::<bool>(),
    ) {
        let uri: Uri = "sip:a@b".parse().unwrap();
        let mut stream = Vec::new();
        for body in &bodies {
            if pings {
                stream.extend_from_slice(transport::framing::PING);
            }
            let writer = RequestWriter::new(Method::Message, &uri).cseq(1);
            stream.extend_from_slice(&writer.body("a/b", body).finish());
        }
        let mut decoder = StreamDecoder::new(Limits::default());
        let (mut read, mut heard) = (Vec::new(), 0);
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            decoder.buffer().extend_from_slice(chunk);
            while let Some(event) = decoder.poll() {
                match event {
                    StreamEvent::Message(message) => read.push(message.body().to_vec()),
                    StreamEvent::Ping => heard += 1,
                    StreamEvent::Unreadable(error) | StreamEvent::Broken(error) => {
                        panic!("{error}")
                    }
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(heard, if pings { bodies.len() } else { 0 });
        prop_assert_eq!(read, bodies);
        prop_assert!(decoder.is_between_messages());
    }

    #[test]
    fn arbitrary_streams_never_panic_and_stay_bounded(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..40),
    ) {
        let limits = Limits { head_bytes_max: 512, body_bytes_max: 512, headers_max: 16 };
        let mut decoder = StreamDecoder::new(limits);
        for chunk in chunks {
            decoder.buffer().extend_from_slice(&chunk);
            while decoder.poll().is_some() {}
            prop_assert!(decoder.buffer().len() <= 4 * 512 + 512 + 200);
        }
    }

    #[test]
    fn uris_come_out_as_they_went_in(text in uri_text()) {
        let uri: Uri = text.parse().unwrap();
        prop_assert_eq!(uri.as_str(), &text);
        let mut rebuilt = format!("{}:", text.split(':').next().unwrap());
        if let Some(user) = uri.user() {
            rebuilt += &format!("{user}@");
        }
        rebuilt += uri.host().unwrap();
        rebuilt += &uri.port().map_or_else(String::new, |port| format!(":{port}"));
        for param in uri.params() {
            rebuilt += &format!(";{}", String::from_utf8_lossy(param.name));
            rebuilt += &param.value.map_or_else(String::new, |value| {
                format!("={}", String::from_utf8_lossy(value))
            });
        }
        prop_assert_eq!(rebuilt, text);
    }

    #[test]
    fn addresses_come_out_as_they_went_in(
        display in prop::option::of("[ -~]{1,20}"),
        uri in uri_text(),
        tag in prop::option::of(token()),
    ) {
        let mut text = String::new();
        if let Some(display) = &display {
            text += &format!("{} ", transport::split::quote(display));
        }
        text += &format!("<{uri}>");
        text += &tag.as_ref().map_or_else(String::new, |tag| format!(";tag={tag}"));
        let address = NameAddr::parse(Bytes::from(text.clone())).unwrap();
        prop_assert_eq!(address.to_string(), text);
        prop_assert_eq!(address.display_name().map(|name| name.into_owned()), display);
        prop_assert_eq!(address.uri().as_str(), uri);
        prop_assert_eq!(address.tag().map(|tag| tag.into_owned()), tag);
    }

    #[test]
    fn vias_come_out_as_they_went_in(
        transport in token(),
        address in any::<std::net::SocketAddr>(),
        branch in token(),
        blank in "[ \t]{0,3}",
    ) {
        // A scope is no part of an address on the wire.
        let address = std::net::SocketAddr::new(address.ip(), address.port());
        let text = format!("SIP{blank}/{blank}2.0/{blank}{transport} {address}{blank};{blank}branch{blank}={blank}{branch}");
        let via = Via::parse(Bytes::from(text.clone())).unwrap();
        prop_assert_eq!(via.to_string(), text);
        prop_assert_eq!(via.transport(), transport);
        prop_assert_eq!(via.port(), Some(address.port()));
        prop_assert_eq!(via.host().trim_matches(['[', ']']).parse().ok(), Some(address.ip()));
        let read = via.branch().map(|branch| branch.into_owned());
        prop_assert_eq!(read, Some(branch));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Where rsip can read at all, it and the index read the same.
    #[test]
    fn rsip_agrees_on_plain_messages(
        user in "[a-z0-9]{1,8}",
        host in "[a-z]{1,8}(\\.[a-z]{2,5}){0,2}",
        tag in "[a-zA-Z0-9]{1,10}",
        method in prop::sample::select(Method::KNOWN.to_vec()),
        number in 1..(1u32 << 31),
        body in "[a-z=\r\n]{0,40}",
    ) {
        let uri: Uri = format!("sip:{user}@{host}").parse().unwrap();
        let bytes = RequestWriter::new(method.clone(), &uri)
            .via(TransportKind::Tcp, format_args!("{host}:5070"), "z9hG4bKx")
            .header(Name::From, format_args!("<sip:{user}@{host}>;tag={tag}"))
            .header(Name::To, format_args!("<{uri}>"))
            .header(Name::CallId, format_args!("{tag}@{host}"))
            .cseq(number)
            .body("text/plain", body.as_bytes())
            .finish();
        let ours = Message::parse(bytes.clone(), Framing::Stream, &Limits::default()).unwrap();
        prop_assert_eq!(validate(&ours, &Policy::default()), Ok(()));
        let theirs = rsip::Request::try_from(bytes).unwrap();
        prop_assert_eq!(Some(theirs.method), transport::vocabulary::method(ours.method()));
        let uri = ours.request_uri().unwrap().unwrap();
        prop_assert_eq!(Some(theirs.uri.clone()), transport::vocabulary::uri(&uri));
        prop_assert_eq!(theirs.headers.iter().count(), ours.lines().count());
        prop_assert_eq!(theirs.call_id_header().unwrap().value(), ours.call_id());
        prop_assert_eq!(theirs.cseq_header().unwrap().seq().unwrap(), number);
        let from = theirs.from_header().unwrap().tag().unwrap().map(|tag| tag.to_string());
        prop_assert_eq!(from, ours.from_tag().map(|tag| tag.into_owned()));
        let via = theirs.via_header().unwrap().typed().unwrap();
        let read = transport::vocabulary::via(&ours.via().unwrap()).unwrap();
        prop_assert_eq!((via.transport, via.uri.host_with_port), (read.transport, read.uri.host_with_port));
        prop_assert_eq!(theirs.body, ours.body());
    }
}

/// The shapes that make readers quadratic: thirty-two times the input may not take a thousand times
/// the time. Between the two is room for a busy machine.
#[test]
fn reading_takes_linear_time() {
    let limits = Limits { head_bytes_max: 1 << 20, body_bytes_max: 1 << 20, headers_max: 1 << 16 };
    let shapes: [(&str, &str); 7] = [
        ("Via: ", "a,"),
        ("Via: SIP/2.0/UDP a", ";b"),
        ("From: <sip:a>", ";b"),
        ("Contact: ", "\"\\\","),
        ("Route: <", "<,"),
        ("Subject: x", "\r\n "),
        ("Subject: x", "\r\nv:"),
    ];
    for (start, unit) in shapes {
        let took = |count: usize| -> Duration {
            let text = format!("INVITE sip:a SIP/2.0\r\n{start}{}\r\n\r\n", unit.repeat(count));
            let bytes = Bytes::from(text);
            let measure = || {
                let started = Instant::now();
                if let Ok(message) = Message::parse(bytes.clone(), Framing::Datagram, &limits) {
                    let _ = validate(&message, &Policy::default());
                    let _ = (message.vias().count(), message.from_tag(), message.contact());
                    let _ = (message.header(Name::Subject), message.list(Name::Route).count());
                }
                started.elapsed()
            };
            (0..5).map(|_| measure()).min().unwrap()
        };
        let (small, large) = (took(2_000), took(64_000));
        let allowed = small.max(Duration::from_micros(100)) * 200;
        assert!(large < allowed, "{start}{unit}: {small:?} for 2,000 and {large:?} for 64,000");
    }
}

#[test]
fn a_slow_stream_is_read_in_linear_time() {
    let took = |count: usize| -> Duration {
        let text = format!(
            "OPTIONS sip:a SIP/2.0\r\nSubject: {}\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n",
            "\r\n x".repeat(count)
        );
        let limits = Limits { head_bytes_max: 1 << 20, body_bytes_max: 0, headers_max: 9 };
        let measure = || {
            let mut decoder = StreamDecoder::new(limits.clone());
            let started = Instant::now();
            for byte in text.as_bytes() {
                decoder.buffer().extend_from_slice(&[*byte]);
                if decoder.poll().is_some() {
                    return started.elapsed();
                }
            }
            panic!("no message came out")
        };
        (0..3).map(|_| measure()).min().unwrap()
    };
    let (small, large) = (took(1_000), took(32_000));
    let allowed = small.max(Duration::from_micros(100)) * 200;
    assert!(large < allowed, "{small:?} for 1,000 and {large:?} for 32,000 lines");
}
