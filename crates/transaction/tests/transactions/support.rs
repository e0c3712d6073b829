//! Messages, flows and a layer under test.

use std::time::{Duration, Instant};

use bytes::Bytes;
use transaction::{Config, Event, ServerId, TransactionLayer, Transmit};
use transport::{Flow, FlowId, Framing, Limits, Message, Name, ResponseWriter, TransportKind};

/// A layer and its clock.
pub struct Rig {
    pub layer: TransactionLayer,
    pub start: Instant,
    pub now: Instant,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(Config::default())
    }

    pub fn with(config: Config) -> Rig {
        let start = Instant::now();
        Rig { layer: TransactionLayer::new(config, 1), start, now: start }
    }

    pub fn receive(&mut self, text: &str, kind: TransportKind) {
        self.layer.handle_message(message(text), flow(kind), self.now);
    }

    /// Receives a request that must be new, and gives its transaction.
    pub fn receive_new(&mut self, text: &str, kind: TransportKind) -> (ServerId, Message) {
        self.receive(text, kind);
        match self.layer.poll_event() {
            Some(Event::Request { id, message, .. }) => (id, message),
            other => panic!("expected a request, got {other:?}"),
        }
    }

    pub fn respond(&mut self, id: ServerId, request: &Message, status: u16) {
        let bytes = response(request, status);
        self.layer.respond(id, status, bytes, self.now).unwrap();
    }

    /// Runs the clock for `seconds`; gives what was sent, and when.
    pub fn run(&mut self, seconds: f64) -> Vec<(f64, String)> {
        let end = self.now + Duration::from_secs_f64(seconds);
        let mut sent = self.sent();
        while let Some(deadline) = self.layer.poll_timeout().filter(|deadline| *deadline <= end) {
            self.now = deadline;
            self.layer.handle_timeout(deadline);
            sent.extend(self.sent());
        }
        self.now = end;
        sent
    }

    /// What waits to be sent: the time since the start, and the first line.
    pub fn sent(&mut self) -> Vec<(f64, String)> {
        let at = (self.now - self.start).as_secs_f64();
        self.transmits().iter().map(|transmit| (at, first_line(&transmit.bytes))).collect()
    }

    pub fn transmits(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.layer.poll_transmit()).collect()
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.layer.poll_event()).collect()
    }
}

pub fn flow(kind: TransportKind) -> Flow {
    Flow {
        id: FlowId(kind as u64),
        kind,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "192.0.2.2:5062".parse().unwrap(),
    }
}

pub fn message(text: &str) -> Message {
    Message::parse(Bytes::from(text.to_owned()), Framing::Datagram, &Limits::default()).unwrap()
}

/// A request with a Via of its own branch.
pub fn request(method: &str, branch: &str) -> String {
    request_with(method, branch, "")
}

/// The same with more header lines.
pub fn request_with(method: &str, branch: &str, more: &str) -> String {
    format!(
        "{method} sip:bob@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.2:5062;rport;branch={branch}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@example.com>;tag=a1\r\n\
         To: <sip:bob@example.com>\r\n\
         Call-ID: {branch}@192.0.2.2\r\n\
         CSeq: 7 {method}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// A response with a To tag.
pub fn response(request: &Message, status: u16) -> Bytes {
    let writer = ResponseWriter::to(request, &flow(TransportKind::Udp), status);
    if status == 100 { writer.finish() } else { writer.to_tag("b1").finish() }
}

pub fn first_line(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned()
}

pub fn header(bytes: &Bytes, name: Name) -> String {
    message(&String::from_utf8_lossy(bytes)).header(name).unwrap_or_default().into_owned()
}

/// The times of what was sent.
pub fn times(sent: &[(f64, String)]) -> Vec<f64> {
    sent.iter().map(|(at, _)| (at * 1000.0).round() / 1000.0).collect()
}
