//! RFC 4475 and RFC 5118, byte for byte: every message has a row in the table, every row a file.
#![allow(clippy::unwrap_used, reason = "test code")]

mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use table::{Expected, ROWS, Row};
use transport::framing::{StreamDecoder, StreamEvent};
use transport::{
    Flow, FlowId, Framing, Limits, Message, Method, Name, Policy, ResponseWriter, TransportKind,
    validate,
};

#[test]
fn every_message_has_a_row_and_every_row_a_message() {
    let listed: BTreeSet<_> = ROWS.iter().map(|row| (row.rfc, row.file.to_owned())).collect();
    assert_eq!(listed.len(), ROWS.len(), "a message is listed twice");
    let mut found = BTreeSet::new();
    for rfc in ["rfc4475", "rfc5118"] {
        for entry in std::fs::read_dir(folder().join(rfc)).unwrap() {
            let path = entry.unwrap().path();
            found.insert((rfc, path.file_stem().unwrap().to_str().unwrap().to_owned()));
        }
    }
    assert_eq!(listed, found);
    assert_eq!(found.iter().filter(|(rfc, _)| *rfc == "rfc4475").count(), 49);
    assert_eq!(found.iter().filter(|(rfc, _)| *rfc == "rfc5118").count(), 12);
}

#[test]
fn every_message_meets_its_row() {
    let mut wrong = Vec::new();
    for row in ROWS {
        let outcome = Outcome::of(&wire(row));
        if let Err(difference) = outcome.compare(&row.expected) {
            wrong.push(format!("{} {} ({}): {difference}", row.rfc, row.file, row.section));
        }
        assert!(!row.reason.is_empty(), "{} has no reason", row.file);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn rfc4475_3_1_1_all_valid_messages_are_accepted() {
    let valid: Vec<_> = ROWS.iter().filter(|row| row.section.starts_with("3.1.1.")).collect();
    assert_eq!(valid.len(), 13);
    for row in valid {
        assert!(matches!(row.expected, Expected::Accepted(_)), "{}", row.file);
    }
}

#[test]
fn whatever_is_refused_can_be_told_so() {
    let flow = flow();
    for row in ROWS {
        let Outcome::Refused { message, status, .. } = Outcome::of(&wire(row)) else { continue };
        let bytes = ResponseWriter::to(&message, &flow, status).to_tag("ours").finish();
        let response = Message::parse(bytes, Framing::Stream, &Limits::default()).unwrap();
        assert_eq!(response.status(), Some(status), "{}", row.file);
        assert_eq!(response.headers(Name::Via).count(), message.headers(Name::Via).count());
    }
}

#[test]
fn a_stream_carries_what_is_accepted_unchanged() {
    let mut carried = 0;
    for row in ROWS {
        let bytes = wire(row);
        let Outcome::Accepted(datagram) = Outcome::of(&bytes) else { continue };
        if !datagram.has(Name::ContentLength) {
            continue;
        }
        let mut decoder = StreamDecoder::new(Limits::default());
        for byte in datagram.bytes().iter() {
            decoder.buffer().extend_from_slice(&[*byte]);
        }
        let Some(StreamEvent::Message(streamed)) = decoder.poll() else {
            panic!("{} does not come out of a stream", row.file)
        };
        assert_eq!(streamed.bytes(), datagram.bytes(), "{}", row.file);
        carried += 1;
    }
    assert!(carried > 30, "only {carried} messages were carried");
}

#[test]
fn rfc5118_the_archive_differs_from_the_wire_in_three_ways() {
    for row in ROWS.iter().filter(|row| row.rfc == "rfc5118") {
        let archived = read(row);
        assert!(!archived.contains(&b'\r'), "{}: lines end in a bare LF", row.file);
        match (Outcome::of(&archived), row.file) {
            // Content-Length says 268 and 181, the bodies have 242 and 180 bytes: a cut datagram.
            (Outcome::Refused { status, label, .. }, "ipv6-in-sdp" | "mult-ip-in-sdp") => {
                assert_eq!((status, label), (400, "body_incomplete"));
            }
            // The empty line that ends the head is missing: again cut, as far as one can tell.
            (
                Outcome::Refused { status, label, .. },
                "ipv6-bug-abnf-3-colons" | "ipv6-correct-abnf-2-colons",
            ) => assert_eq!((status, label), (400, "head_incomplete")),
            (outcome, _) => outcome.compare(&row.expected).unwrap_or_else(|difference| {
                panic!("{} as archived: {difference}", row.file);
            }),
        }
    }
}

#[test]
fn rfc4475_3_1_2_15_the_display_name_is_refused_also_when_the_head_is_complete() {
    let row = ROWS.iter().find(|row| row.file == "baddn").unwrap();
    let complete = [&read(row)[..], b"\r\n"].concat();
    Outcome::of(&complete).compare(&Expected::Refused(400, "from")).unwrap();
}

/// What the parser and the validation made of the bytes of one datagram.
enum Outcome {
    Accepted(Message),
    Refused { message: Message, status: u16, label: &'static str },
    Dropped(&'static str),
}

impl Outcome {
    fn of(bytes: &[u8]) -> Outcome {
        let bytes = Bytes::copy_from_slice(bytes);
        let message = match Message::parse(bytes, Framing::Datagram, &Limits::default()) {
            Ok(message) => message,
            Err(error) => {
                return match error.answerable().cloned() {
                    Some(message) => {
                        Outcome::Refused { message, status: error.status(), label: error.reason() }
                    }
                    None => Outcome::Dropped(error.reason()),
                };
            }
        };
        match validate(&message, &Policy::default()) {
            Ok(()) => Outcome::Accepted(message),
            Err(rejection) if message.is_request() && *message.method() != Method::Ack => {
                Outcome::Refused { message, status: rejection.status, label: rejection.label }
            }
            Err(rejection) => Outcome::Dropped(rejection.label),
        }
    }

    fn compare(&self, expected: &Expected) -> Result<(), String> {
        match (self, expected) {
            (Outcome::Accepted(message), Expected::Accepted(fields)) => {
                for (name, value) in *fields {
                    let read = field(message, name);
                    if read != *value {
                        return Err(format!("{name} is {read:?}, not {value:?}"));
                    }
                }
                Ok(())
            }
            (Outcome::Refused { status, label, .. }, Expected::Refused(code, word))
                if (status, label) == (code, word) =>
            {
                Ok(())
            }
            (Outcome::Dropped(label), Expected::Dropped(word)) if label == word => Ok(()),
            (Outcome::Accepted(_), _) => Err(format!("accepted, not {expected:?}")),
            (Outcome::Refused { status, label, .. }, _) => {
                Err(format!("{status} {label}, not {expected:?}"))
            }
            (Outcome::Dropped(label), _) => Err(format!("dropped {label}, not {expected:?}")),
        }
    }
}

/// One value of an accepted message, as text. A header field name gives that field.
fn field(message: &Message, name: &str) -> String {
    let none = || "none".to_owned();
    let uri = || message.request_uri().unwrap().unwrap();
    match name {
        "method" => message.method().to_string(),
        "status" => message.status().map_or_else(none, |status| status.to_string()),
        "phrase" => message.reason_phrase().into_owned(),
        "uri user" => uri().user_decoded().map_or_else(none, |user| user.into_owned()),
        "uri host" => uri().host().map_or_else(none, str::to_owned),
        "uri ip" => uri().host_ip().map_or_else(none, |ip| ip.to_string()),
        "uri port" => uri().port().map_or_else(none, |port| port.to_string()),
        "from name" => {
            message.from().unwrap().display_name().map_or_else(none, |name| name.into_owned())
        }
        "from uri" => message.from().unwrap().uri().to_string(),
        "from tag" => message.from_tag().map_or_else(none, |tag| tag.into_owned()),
        "to uri" => message.to().unwrap().uri().to_string(),
        "to name" => {
            message.to().unwrap().display_name().map_or_else(none, |name| name.into_owned())
        }
        "to tag" => message.to_tag().map_or_else(none, |tag| tag.into_owned()),
        "call-id" => message.call_id().to_owned(),
        "cseq" => message.cseq().unwrap().number.to_string(),
        "vias" => message.vias().map(Result::unwrap).count().to_string(),
        "via hosts" => {
            message.vias().map(|via| via.unwrap().host().to_owned()).collect::<Vec<_>>().join(" ")
        }
        "via transports" => {
            let kinds = message.vias().map(|via| via.unwrap().transport().to_owned());
            kinds.collect::<Vec<_>>().join(" ")
        }
        "via port" => message.via().unwrap().port().map_or_else(none, |port| port.to_string()),
        "branch" => message.via().unwrap().branch().map_or_else(none, |branch| branch.into_owned()),
        "unique branch" => message.via().unwrap().unique_branch().is_some().to_string(),
        "received" => message.vias().find_map(|via| via.unwrap().received()).unwrap().to_string(),
        "contacts" => message.addresses(Name::Contact).map(Result::unwrap).count().to_string(),
        "contact uri" => message.contact().unwrap().uri().to_string(),
        "contact params" => message.contact().unwrap().params().count().to_string(),
        "contact ip" => message.contact().unwrap().uri().host_ip().unwrap().to_string(),
        "accept" => message.list(Name::Accept).count().to_string(),
        "body bytes" => message.body().len().to_string(),
        "next hops" => match transport::next_max_forwards(message) {
            Ok(hops) => hops.to_string(),
            Err(rejection) => rejection.status.to_string(),
        },
        header => message.header_named(header).map_or_else(none, |value| value.into_owned()),
    }
}

/// A message as it travels. The archive of RFC 5118 holds text files: lines end in LF, two heads
/// are not closed, and the Content-Length of the bodies fits no line ending. RFC 4475 needs nothing.
fn wire(row: &Row) -> Vec<u8> {
    let archived = read(row);
    if row.rfc == "rfc4475" {
        return archived;
    }
    let text = String::from_utf8(archived).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let body = body.replace('\n', "\r\n");
    let mut wire = String::new();
    for line in head.lines() {
        match line.strip_prefix("Content-Length: ") {
            Some(_) => wire.push_str(&format!("Content-Length: {}", body.len())),
            None => wire.push_str(line),
        }
        wire.push_str("\r\n");
    }
    (wire + "\r\n" + &body).into_bytes()
}

fn read(row: &Row) -> Vec<u8> {
    std::fs::read(folder().join(row.rfc).join(row.file).with_extension("dat")).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture")
}

fn flow() -> Flow {
    Flow {
        id: FlowId(1),
        kind: TransportKind::Udp,
        local: "192.0.2.99:5060".parse().unwrap(),
        remote: "192.0.2.100:5061".parse().unwrap(),
    }
}
