//! Micro-benchmarks without a network: nanoseconds and allocations of one operation.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dialplan::{Facts, LoadOptions, Plan, Source};
use serde::Serialize;
use transport::{Flow, FlowId, Framing, Limits, Message, Policy, ResponseWriter, TransportKind};

use crate::allocator::allocations;
use crate::report::Row;

/// What one operation costs.
#[derive(Debug, Clone, Serialize)]
pub struct Micro {
    /// What was done.
    pub name: &'static str,
    /// Nanoseconds, the median of many batches.
    pub nanoseconds: f64,
    /// Allocations.
    pub allocations: f64,
    /// What the nanoseconds should not exceed.
    pub target_ns: Option<f64>,
}

/// Measures all of them, a fraction of a second each.
#[must_use]
pub fn run() -> Vec<Micro> {
    let limits = Limits::default();
    let (phone, browser) = (Bytes::from_static(PHONE_INVITE), browser_invite());
    let flow = Flow {
        id: FlowId(0),
        kind: TransportKind::Udp,
        local: ([127, 0, 0, 1], 5060).into(),
        remote: ([127, 0, 0, 1], 6000).into(),
    };
    let parse = |bytes: &Bytes, framing| Message::parse(bytes.clone(), framing, &limits).ok();
    let invite = parse(&phone, Framing::Datagram);
    let mut micros = vec![
        measure("index an INVITE of a phone", || parse(black_box(&phone), Framing::Datagram)),
        measure("index an INVITE of a browser", || parse(black_box(&browser), Framing::WebSocket)),
        measure("check an INVITE of a phone", || {
            invite.as_ref().map(|invite| transport::validate(invite, &Policy { supported: &[] }))
        }),
        measure("write a 200", || {
            invite.as_ref().map(|invite| {
                ResponseWriter::to(invite, &flow, 200)
                    .to_tag("a1b2c3")
                    .body("application/sdp", SDP)
                    .finish()
            })
        }),
    ];
    micros.extend(PLANS.iter().filter_map(|shape| shape.measure()).flatten());
    micros
}

/// The rows of a table.
pub fn rows(micros: &[Micro]) -> impl Iterator<Item = Row> {
    micros.iter().flat_map(|micro| {
        [
            Row { target: micro.target_ns, ..Row::new(micro.name, micro.nanoseconds, "ns") },
            Row::new(format!("{}: allocations", micro.name), micro.allocations, ""),
        ]
    })
}

fn measure<T>(name: &'static str, mut operation: impl FnMut() -> T) -> Micro {
    let deadline = Instant::now() + TIME;
    let mut batches = Vec::new();
    let mut allocated = 0.0;
    while Instant::now() < deadline {
        let (start, before) = (Instant::now(), allocations());
        for _ in 0..BATCH {
            black_box(operation());
        }
        let elapsed = start.elapsed();
        allocated = (allocations() - before) as f64 / f64::from(BATCH);
        batches.push(elapsed.as_nanos() as f64 / f64::from(BATCH));
    }
    batches.sort_unstable_by(f64::total_cmp);
    let nanoseconds = batches.get(batches.len() / 2).copied().unwrap_or(f64::NAN);
    Micro { name, nanoseconds, allocations: allocated, target_ns: None }
}

const TIME: Duration = Duration::from_millis(300);
const BATCH: u32 = 500;

const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
m=audio 10100 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n";

const PHONE_INVITE: &[u8] = b"INVITE sip:9197@127.0.0.1:5060 SIP/2.0\r\n\
Via: SIP/2.0/UDP 127.0.0.1:6000;rport;branch=z9hG4bK776asdhds\r\n\
Max-Forwards: 70\r\n\
From: \"Desk 12\" <sip:12@127.0.0.1>;tag=1928301774\r\n\
To: <sip:9197@127.0.0.1>\r\n\
Call-ID: a84b4c76e66710@127.0.0.1\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:12@127.0.0.1:6000>\r\n\
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO\r\n\
Supported: timer, replaces\r\n\
User-Agent: phone\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 133\r\n\r\n\
v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
m=audio 6002 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n";

/// As a browser sends it: a long body of attributes, few of which matter.
fn browser_invite() -> Bytes {
    let attribute =
        "a=candidate:1467250027 1 udp 2122260223 192.0.2.17 46243 typ host generation 0\r\n";
    let body = format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0 8\r\n\
         c=IN IP4 0.0.0.0\r\n{}",
        attribute.repeat(20)
    );
    let head = format!(
        "INVITE sip:07010002000@127.0.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/WS 8q3c1sbvq6fk.invalid;branch=z9hG4bK7408382\r\n\
         Max-Forwards: 69\r\nTo: <sip:07010002000@127.0.0.1>\r\n\
         From: <sip:web@127.0.0.1>;tag=0v6iqf6kqe\r\nCall-ID: 8t0jbn5hqj6ko2q5mdm1\r\n\
         CSeq: 8861 INVITE\r\nContact: <sip:3t6e1bq7@8q3c1sbvq6fk.invalid;transport=ws;ob>\r\n\
         Content-Type: application/sdp\r\nSession-Expires: 90\r\n\
         Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\n\
         Supported: timer,ice,replaces,outbound\r\nUser-Agent: browser\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Bytes::from(head)
}

/// A dialplan with one extension for each number.
struct Shape {
    /// Names of the rows: loading, a number that only the last extension takes, one that none takes.
    rows: [&'static str; 3],
    /// An expression, in which `N` stands for the number.
    expression: &'static str,
    last: &'static str,
    none: &'static str,
}

const PLANS: [Shape; 3] = [
    Shape {
        rows: [
            "load 10000 numbers",
            "match the last of 10000 numbers",
            "match none of 10000 numbers",
        ],
        expression: "^(N)$",
        last: "19999",
        none: "99999",
    },
    Shape {
        rows: [
            "load 10000 expressions that are not anchored",
            "match the last of 10000 expressions that are not anchored",
            "match none of 10000 expressions that are not anchored",
        ],
        expression: "N",
        last: "07019999",
        none: "07099999",
    },
    Shape {
        rows: [
            "load 10000 endings of numbers",
            "match the last of 10000 endings of numbers",
            "match none of 10000 endings of numbers",
        ],
        expression: "^(\\d*)N\\d$",
        last: "0701199990",
        none: "0701999990",
    },
];

impl Shape {
    /// Loads the plan once, and matches often.
    fn measure(&self) -> Option<[Micro; 3]> {
        let text = self.text();
        let (start, before) = (Instant::now(), allocations());
        let plan = load(text)?;
        let loading = Micro {
            name: self.rows[0],
            nanoseconds: start.elapsed().as_nanos() as f64,
            allocations: (allocations() - before) as f64,
            target_ns: Some(LOADING_NS_MAX),
        };
        let matching = |name, number: &str| {
            let facts = Facts { destination_number: number.to_owned(), ..Facts::default() };
            let matched = measure(name, || plan.route("public", black_box(&facts)).is_ok());
            Micro { target_ns: Some(MATCHING_NS_MAX), ..matched }
        };
        Some([loading, matching(self.rows[1], self.last), matching(self.rows[2], self.none)])
    }

    fn text(&self) -> String {
        let extensions: String = (FIRST..FIRST + NUMBERS)
            .map(|number| {
                let expression = self.expression.replace('N', &number.to_string());
                format!(
                    "<extension name='n{number}'><condition field='destination_number' \
                     expression='{expression}'><action application='answer'/></condition></extension>"
                )
            })
            .collect();
        format!("<include><context name='public'>{extensions}</context></include>")
    }
}

fn load(text: String) -> Option<Plan> {
    let source = Source { file: "bench.xml".to_owned(), text };
    Plan::load(&[source], &LoadOptions::default()).ok()
}

/// All numbers have as many digits.
const FIRST: u32 = 10_000;
const NUMBERS: u32 = 10_000;
const MATCHING_NS_MAX: f64 = 50_000.0;
const LOADING_NS_MAX: f64 = 1e9;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn what_is_measured_is_a_whole_and_valid_message() {
        for (bytes, framing) in [
            (Bytes::from_static(PHONE_INVITE), Framing::Stream),
            (browser_invite(), Framing::WebSocket),
        ] {
            let message = Message::parse(bytes, framing, &Limits::default()).unwrap();
            transport::validate(&message, &Policy { supported: &[] }).unwrap();
            assert!(message.body().ends_with(b"\r\n"));
        }
    }

    #[test]
    fn the_dialplans_that_are_measured_match_their_last_number_only_by_their_last_extension() {
        for shape in &PLANS {
            let plan = load(shape.text()).unwrap();
            let name = |number: &str| {
                let facts = Facts { destination_number: number.to_owned(), ..Facts::default() };
                let route = plan.route("public", &facts).ok()?;
                Some(route.extension()?.name.clone())
            };
            assert_eq!(plan.context("public").unwrap().extensions.len(), 10_000);
            assert_eq!(name(shape.last).as_deref(), Some("n19999"), "{}", shape.expression);
            assert_eq!(name(shape.none), None, "{}", shape.expression);
        }
    }
}
