//! Whole calls, transactions included, over a link that loses, repeats and reorders.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dialog::{Action, Event, Failure, Leg, Purpose, Settings};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use transaction::{ClientId, Config, Event as Transacted, TransactionLayer};
use transport::{Message, Method, Name, RequestWriter, ResponseWriter, TransportKind, Uri};

use super::support::{answer, flow, invite, parse};

#[test]
fn a_call_is_answered_and_ended_whatever_the_link_does() {
    for seed in 0..80 {
        let mut call = Call::new(seed);
        call.run(Duration::from_secs(3));
        call.hang_up();
        call.run(Duration::from_secs(200));
        // Without Confirmed where the ACK came after we had hung up.
        let is_told = matches!(
            call.told[..],
            [Event::Confirmed { .. }, Event::Ended { .. }] | [Event::Ended { .. }]
        );
        assert!(is_told, "seed {seed}: {:?}", call.told);
        assert_eq!(call.invites, 1, "seed {seed}: INVITE seen by the user");
        assert_eq!(call.byes, 1, "seed {seed}: BYE seen by the caller");
        assert!(call.ours.is_empty(), "seed {seed}: transactions left with us");
        assert!(call.theirs.is_empty(), "seed {seed}: transactions left with the caller");
        assert_eq!(call.leg.as_ref().unwrap().poll_timeout(), None, "seed {seed}");
    }
}

/// Our layer and leg, glued as a server glues them, and a caller made of a layer alone.
struct Call {
    ours: TransactionLayer,
    theirs: TransactionLayer,
    leg: Option<Leg>,
    clients: HashMap<ClientId, Purpose>,
    air: BTreeMap<(Instant, u64), (bool, Bytes)>,
    sent: u64,
    rng: StdRng,
    now: Instant,
    told: Vec<Event>,
    invites: usize,
    byes: usize,
}

impl Call {
    fn new(seed: u64) -> Call {
        let now = Instant::now();
        let mut theirs = TransactionLayer::new(Config::default(), seed);
        theirs.request(Bytes::from(invite("")), flow(TransportKind::Udp), now).unwrap();
        let mut call = Call {
            ours: TransactionLayer::new(Config::default(), seed + 1),
            theirs,
            leg: None,
            clients: HashMap::new(),
            air: BTreeMap::new(),
            sent: 0,
            rng: StdRng::seed_from_u64(seed),
            now,
            told: Vec::new(),
            invites: 0,
            byes: 0,
        };
        call.drain();
        call
    }

    fn hang_up(&mut self) {
        self.leg.as_mut().unwrap().hang_up(None, self.now);
        self.drain();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.air.first_key_value().map(|(&(at, _), _)| at);
            let leg = self.leg.as_ref().and_then(Leg::poll_timeout);
            let timers = [arrival, leg, self.ours.poll_timeout(), self.theirs.poll_timeout()];
            let Some(next) = timers.into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = next;
            if arrival == Some(next) {
                let (_, (is_ours, bytes)) = self.air.pop_first().unwrap();
                let layer = if is_ours { &mut self.ours } else { &mut self.theirs };
                layer.handle_message(parse(bytes), flow(TransportKind::Udp), next);
            } else {
                self.ours.handle_timeout(next);
                self.theirs.handle_timeout(next);
                if let Some(leg) = &mut self.leg {
                    leg.handle_timeout(next);
                }
            }
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        loop {
            let mut is_idle = true;
            while let Some(event) = self.ours.poll_event() {
                self.handle_ours(event);
                is_idle = false;
            }
            while let Some(action) = self.leg.as_mut().and_then(Leg::poll_action) {
                self.act(action);
                is_idle = false;
            }
            while let Some(event) = self.theirs.poll_event() {
                self.handle_theirs(event);
                is_idle = false;
            }
            if is_idle {
                break;
            }
        }
        while let Some(event) = self.leg.as_mut().and_then(Leg::poll_event) {
            self.told.push(event);
        }
        while let Some(transmit) = self.ours.poll_transmit() {
            self.throw(false, transmit.bytes);
        }
        while let Some(transmit) = self.theirs.poll_transmit() {
            self.throw(true, transmit.bytes);
        }
    }

    fn handle_ours(&mut self, event: Transacted) {
        let now = self.now;
        match event {
            Transacted::Request { id, message, flow } => match *message.method() {
                Method::Invite => {
                    self.invites += 1;
                    let settings = Arc::new(Settings::default());
                    let rng = &mut self.rng;
                    let mut leg =
                        Leg::new(id, message, flow, "192.0.2.1:5060", settings, rng, now).unwrap();
                    leg.accept(&answer(), Vec::new(), now).unwrap();
                    self.leg = Some(leg);
                }
                _ => self.leg.as_mut().unwrap().handle_request(id, message, flow, now),
            },
            Transacted::Ack { message, flow } => {
                self.leg.as_mut().unwrap().handle_ack(&message, flow, now);
            }
            Transacted::Response { id, message, flow } => {
                let purpose = self.clients[&id];
                self.leg.as_mut().unwrap().handle_response(purpose, &message, flow, now);
            }
            Transacted::Timeout { id } => {
                let purpose = self.clients[&id];
                self.leg.as_mut().unwrap().handle_failure(purpose, Failure::Timeout, now);
            }
            _ => {}
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Respond { id, status, bytes } => {
                // A repeated 2xx may come after the end of its transaction.
                let _ = self.ours.respond(id, status, bytes, self.now);
            }
            Action::Request { purpose, bytes, flow } => {
                let id = self.ours.request(bytes, flow, self.now).unwrap();
                self.clients.insert(id, purpose);
            }
            Action::Cancel { .. } | Action::Farewell { .. } | Action::Acknowledge { .. } => {
                panic!("a leg that was called")
            }
        }
    }

    /// The caller acknowledges every 2xx and answers BYE.
    fn handle_theirs(&mut self, event: Transacted) {
        match event {
            Transacted::Response { message, .. } if message.status() == Some(200) => {
                self.sent += 1;
                let ack = ack_of(&message, self.sent);
                self.throw(true, ack);
            }
            Transacted::Request { id, message, flow } => {
                self.byes += 1;
                let bytes = ResponseWriter::to(&message, &flow, 200).finish();
                self.theirs.respond(id, 200, bytes, self.now).unwrap();
            }
            _ => {}
        }
    }

    /// One in five is lost, one in five comes twice, all are late by up to 400 ms.
    fn throw(&mut self, to_us: bool, bytes: Bytes) {
        let copies = match self.rng.random_range(0..5) {
            0 => 0,
            1 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            self.sent += 1;
            let delay = Duration::from_millis(self.rng.random_range(1..400));
            self.air.insert((self.now + delay, self.sent), (to_us, bytes.clone()));
        }
    }
}

fn ack_of(success: &Message, number: u64) -> Bytes {
    let target: Uri = success.contact().unwrap().uri().clone();
    RequestWriter::new(Method::Ack, &target)
        .via(TransportKind::Udp, "192.0.2.2:5062", &format!("z9hG4bKack{number}"))
        .copy(success, Name::From)
        .copy(success, Name::To)
        .copy(success, Name::CallId)
        .cseq(1)
        .finish()
}
