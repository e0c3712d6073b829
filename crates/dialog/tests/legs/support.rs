//! A leg under test, and the peer that calls it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dialog::{
    Action, Body, Cause, Error, Event, Headers, Invite, Leg, OfferNumber, Party, Refused, Settings,
};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use transaction::{Config, ServerId, TransactionLayer};
use transport::{Flow, FlowId, Framing, Limits, Message, Name, TransportKind};

/// A leg, its clock, and a source of transactions.
pub struct Rig {
    pub leg: Leg,
    pub start: Instant,
    pub now: Instant,
    pub kind: TransportKind,
    ids: TransactionLayer,
    branches: u32,
    cseq: u32,
    /// The offer of the peer that waits.
    pub offer: OfferNumber,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(&invite(""), TransportKind::Udp)
    }

    pub fn with(text: &str, kind: TransportKind) -> Rig {
        Rig::attempt(text, kind).unwrap_or_else(|refused| panic!("refused: {}", refused.status))
    }

    pub fn attempt(text: &str, kind: TransportKind) -> Result<Rig, Refused> {
        let start = Instant::now();
        let mut ids = TransactionLayer::new(Config::default(), 1);
        let id = id_of(&mut ids, 0, start);
        let settings = Settings { node: "n1.".to_owned(), ..Settings::default() };
        let mut rng = StdRng::seed_from_u64(7);
        let leg = Leg::new(
            id,
            message(text),
            flow(kind),
            "192.0.2.1:5060",
            Arc::new(settings),
            &mut rng,
            start,
        )?;
        Ok(Rig { leg, start, now: start, kind, ids, branches: 0, cseq: 1, offer: OfferNumber(0) })
    }

    /// A leg that calls; its INVITE is the first action.
    pub fn calling(kind: TransportKind, settings: Settings) -> Rig {
        Rig::calling_with(outgoing(), kind, settings)
    }

    pub fn calling_with(invite: dialog::Invite, kind: TransportKind, settings: Settings) -> Rig {
        let start = Instant::now();
        let mut rng = StdRng::seed_from_u64(7);
        let settings = Arc::new(settings);
        let leg =
            Leg::call(invite, flow(kind), "192.0.2.1:5060", settings, &mut rng, start).unwrap();
        let ids = TransactionLayer::new(Config::default(), 1);
        let offer = OfferNumber(0);
        Rig { leg, start, now: start, kind, ids, branches: 0, cseq: 1, offer }
    }

    /// Accepts the call and lets its ACK arrive.
    pub fn confirmed() -> Rig {
        let mut rig = Rig::new();
        rig.accept();
        rig.ack(1);
        rig.events();
        rig.done();
        rig
    }

    pub fn accept(&mut self) {
        self.leg.accept(&answer(), Vec::new(), self.now).unwrap();
    }

    pub fn ack(&mut self, cseq: u32) {
        self.ack_with(cseq, "");
    }

    pub fn ack_with(&mut self, cseq: u32, body: &str) {
        let text = self.in_dialog("ACK", cseq, "", body);
        self.leg.handle_ack(&message(&text), flow(self.kind), self.now);
    }

    /// A request of the dialog with the next CSeq; gives its transaction.
    pub fn receive(&mut self, method: &str, more: &str, body: &str) -> ServerId {
        self.cseq += 1;
        self.receive_numbered(method, self.cseq, more, body)
    }

    pub fn receive_numbered(
        &mut self,
        method: &str,
        cseq: u32,
        more: &str,
        body: &str,
    ) -> ServerId {
        let text = self.in_dialog(method, cseq, more, body);
        self.take_request(&text)
    }

    fn take_request(&mut self, text: &str) -> ServerId {
        self.branches += 1;
        let id = id_of(&mut self.ids, self.branches, self.now);
        self.leg.handle_request(id, message(text), flow(self.kind), self.now);
        id
    }

    pub fn cancel(&mut self, invite: ServerId) {
        let text = self.in_dialog("CANCEL", 1, "Reason: SIP;cause=200\r\n", "");
        self.leg.handle_cancel(invite, &message(&text), self.now);
    }

    /// The transaction of the INVITE.
    pub fn invite_id(&mut self) -> ServerId {
        let mut ids = TransactionLayer::new(Config::default(), 1);
        id_of(&mut ids, 0, self.start)
    }

    fn in_dialog(&self, method: &str, cseq: u32, more: &str, body: &str) -> String {
        let remote_tag = &self.leg.id().remote_tag;
        self.in_dialog_of(remote_tag, method, cseq, more, body)
    }

    /// A request of the fork with this tag; gives its transaction.
    pub fn receive_from(&mut self, tag: &str, method: &str, more: &str, body: &str) -> ServerId {
        self.cseq += 1;
        let text = self.in_dialog_of(tag, method, self.cseq, more, body);
        self.take_request(&text)
    }

    fn in_dialog_of(
        &self,
        remote_tag: &str,
        method: &str,
        cseq: u32,
        more: &str,
        body: &str,
    ) -> String {
        let (tag, call_id) = (&self.leg.id().local_tag, &self.leg.id().call_id);
        let kind = match (body.is_empty(), method) {
            (true, _) => "",
            (false, "INFO") => "Content-Type: application/dtmf-relay\r\n",
            (false, _) => "Content-Type: application/sdp\r\n",
        };
        format!(
            "{method} sip:192.0.2.1:5060 SIP/2.0\r\n\
             Via: SIP/2.0/UDP 192.0.2.2:5062;rport;branch=z9hG4bKin{cseq}{method}\r\n\
             From: <sip:alice@example.com>;tag={remote_tag}\r\n\
             To: <sip:100@example.com>;tag={tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{more}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// What the leg wants done: `(seconds, what)`, where what is a status or a method.
    pub fn done(&mut self) -> Vec<(f64, String)> {
        let at = ((self.now - self.start).as_secs_f64() * 1000.0).round() / 1000.0;
        self.actions().iter().map(|action| (at, what(action))).collect()
    }

    /// The same without the times.
    pub fn words(&mut self) -> Vec<String> {
        self.actions().iter().map(what).collect()
    }

    pub fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.leg.poll_action()).collect()
    }

    /// The message of the one thing that the leg wants done.
    pub fn only_message(&mut self) -> Message {
        let actions = self.actions();
        assert_eq!(actions.len(), 1, "{actions:?}");
        message_of(&actions[0])
    }

    pub fn events(&mut self) -> Vec<Event> {
        let events: Vec<Event> = std::iter::from_fn(|| self.leg.poll_event()).collect();
        for event in &events {
            if let Event::Offer { number, .. } = event {
                self.offer = *number;
            }
        }
        events
    }

    /// Answers the offer of the peer that came last.
    pub fn answer_offer(&mut self) -> Result<(), Error> {
        self.events();
        self.leg.answer_offer(self.offer, &answer(), self.now)
    }

    /// Refuses the offer of the peer that came last.
    pub fn reject_offer(&mut self, status: u16, headers: Headers) -> Result<(), Error> {
        self.events();
        self.leg.reject_offer(self.offer, status, headers, self.now)
    }

    /// A response to a request of ours arrives.
    pub fn respond(&mut self, action: &Action, status: u16, more: &str) {
        self.respond_with(action, status, more, "");
    }

    /// A response of the fork with this tag to our INVITE arrives.
    pub fn respond_tagged(
        &mut self,
        action: &Action,
        status: u16,
        tag: &str,
        more: &str,
        body: &str,
    ) {
        self.respond_on(flow(self.kind), action, status, tag, more, body);
    }

    /// The same on any flow.
    pub fn respond_on(
        &mut self,
        from: Flow,
        action: &Action,
        status: u16,
        tag: &str,
        more: &str,
        body: &str,
    ) {
        let Action::Request { purpose, bytes, .. } = action else {
            panic!("no request: {action:?}")
        };
        let untagged = String::from_utf8(bytes.to_vec()).unwrap();
        let tagged = untagged.replace("\r\nCall-ID", &format!(";tag={tag}\r\nCall-ID"));
        let tagged =
            Action::Request { purpose: *purpose, bytes: tagged.into(), flow: flow(self.kind) };
        let response = response_with(&tagged, status, more, body);
        self.leg.handle_response(*purpose, &response, from, self.now);
    }

    pub fn respond_with(&mut self, action: &Action, status: u16, more: &str, body: &str) {
        let Action::Request { purpose, .. } = action else { panic!("no request: {action:?}") };
        let response = response_with(action, status, more, body);
        self.leg.handle_response(*purpose, &response, flow(self.kind), self.now);
    }

    /// Does what is due; what stays due would keep the one who runs the leg busy for ever.
    pub fn handle_timeout(&mut self) {
        self.leg.handle_timeout(self.now);
        let next = self.leg.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "what was due is due still");
    }

    /// Runs the clock for `seconds`; gives what was wanted, and when.
    pub fn run(&mut self, seconds: f64) -> Vec<(f64, String)> {
        let end = self.now + Duration::from_secs_f64(seconds);
        let mut done = self.done();
        while let Some(deadline) = self.leg.poll_timeout().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.handle_timeout();
            done.extend(self.done());
        }
        self.now = end;
        done
    }
}

/// As many random cases as are asked for, else `usual` ones.
pub fn cases(usual: u32) -> proptest::test_runner::Config {
    let is_asked = std::env::var_os("PROPTEST_CASES").is_some();
    let config = proptest::test_runner::Config::default();
    if is_asked { config } else { proptest::test_runner::Config { cases: usual, ..config } }
}

/// The call that a calling leg makes.
pub fn outgoing() -> Invite {
    Invite {
        uri: "sip:bob@192.0.2.2:5062".to_owned(),
        routes: Vec::new(),
        from_user: "alice smith".to_owned(),
        from_name: Some("Alice \"A\" Smith".to_owned()),
        to_user: None,
        max_forwards: 42,
        offer: Body::sdp("v=0 offer"),
        headers: vec![(Name::Subject, "hello".to_owned())],
    }
}

/// The names of transactions are the layer's to give.
fn id_of(ids: &mut TransactionLayer, number: u32, now: Instant) -> ServerId {
    let text = invite("")
        .replace("branch=z9hG4bK1", &format!("branch=z9hG4bKid{number}"))
        .replace("Call-ID: call-1", &format!("Call-ID: id{number}"));
    ids.handle_message(message(&text), flow(TransportKind::Udp), now);
    match ids.poll_event() {
        Some(transaction::Event::Request { id, .. }) => id,
        other => panic!("expected a request, got {other:?}"),
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

pub fn invite(more: &str) -> String {
    invite_with_body(more, "v=0 offer")
}

pub fn invite_with_body(more: &str, body: &str) -> String {
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "INVITE sip:100@example.com SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.2:5062;rport;branch=z9hG4bK1\r\n\
         From: <sip:alice@example.com>;tag=a1\r\nTo: <sip:100@example.com>\r\n\
         Call-ID: call-1\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.2:5070>\r\n\
         {more}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn message(text: &str) -> Message {
    parse(Bytes::from(text.to_owned()))
}

pub fn parse(bytes: Bytes) -> Message {
    Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap()
}

pub fn message_of(action: &Action) -> Message {
    match action {
        Action::Respond { bytes, .. }
        | Action::Request { bytes, .. }
        | Action::Farewell { bytes }
        | Action::Acknowledge { bytes, .. } => parse(bytes.clone()),
        Action::Cancel { .. } => panic!("a CANCEL is written by the transaction"),
    }
}

/// A response to a request of ours.
pub fn response_to(action: &Action, status: u16, more: &str) -> Message {
    response_with(action, status, more, "")
}

pub fn response_with(action: &Action, status: u16, more: &str, body: &str) -> Message {
    let request = message_of(action);
    let text = |name| request.header(name).unwrap().into_owned();
    message(&format!(
        "SIP/2.0 {status} X\r\nVia: {}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}\r\n{body}",
        text(Name::Via),
        text(Name::From),
        text(Name::To),
        text(Name::CallId),
        text(Name::CSeq)
    ))
}

pub fn answer() -> Body {
    Body::sdp("v=0 answer")
}

pub fn ended(by: Party, cause: Cause) -> Event {
    Event::Ended { by, cause, reason: None }
}

pub fn what(action: &Action) -> String {
    if let Action::Cancel { .. } = action {
        return "CANCEL".to_owned();
    }
    let message = message_of(action);
    match message.status() {
        Some(status) => status.to_string(),
        None => message.method().to_string(),
    }
}
