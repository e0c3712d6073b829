//! Two layers over a link that loses, repeats and reorders.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use transaction::{Config, Event, TransactionLayer, Transmit};
use transport::{Framing, Limits, Message, Method, TransportKind};

use super::support::{flow, request, response};

#[test]
fn every_request_is_seen_once_and_gets_its_final_response() {
    for seed in 0..60 {
        let mut link = Link::new(seed);
        for number in 0..REQUESTS {
            let method = if number % 2 == 0 { "INVITE" } else { "OPTIONS" };
            link.send(method, &format!("z9hG4bK{seed}x{number}"));
            link.run(Duration::from_millis(50));
        }
        link.run(Duration::from_secs(400));
        assert!(link.seen_twice.is_empty(), "seed {seed}: seen twice {:?}", link.seen_twice);
        assert_eq!(link.seen.len(), REQUESTS, "seed {seed}: not all seen");
        assert_eq!(link.answered.len(), REQUESTS, "seed {seed}: not all answered");
        assert_eq!(link.layers[CLIENT].len(), 0, "seed {seed}: client transactions left");
        assert_eq!(link.layers[SERVER].len(), 0, "seed {seed}: server transactions left");
    }
}

const REQUESTS: usize = 30;
const CLIENT: usize = 0;
const SERVER: usize = 1;

struct Link {
    layers: [TransactionLayer; 2],
    /// What is on its way: when it arrives, and at which layer.
    air: BTreeMap<(Instant, u64), (usize, Bytes)>,
    sent: u64,
    rng: StdRng,
    now: Instant,
    seen: HashSet<String>,
    seen_twice: Vec<String>,
    answered: HashMap<String, u16>,
}

impl Link {
    fn new(seed: u64) -> Link {
        let layer = || TransactionLayer::new(Config::default(), seed);
        Link {
            layers: [layer(), layer()],
            air: BTreeMap::new(),
            sent: 0,
            rng: StdRng::seed_from_u64(seed),
            now: Instant::now(),
            seen: HashSet::new(),
            seen_twice: Vec::new(),
            answered: HashMap::new(),
        }
    }

    fn send(&mut self, method: &str, branch: &str) {
        let bytes = Bytes::from(request(method, branch));
        self.layers[CLIENT].request(bytes, flow(TransportKind::Udp), self.now).unwrap();
        self.drain();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.air.first_key_value().map(|(&(at, _), _)| at);
            let timers = self.layers.iter().filter_map(TransactionLayer::poll_timeout);
            let Some(next) = timers.chain(arrival).min().filter(|at| *at <= end) else { break };
            self.now = next;
            if arrival == Some(next) {
                let (_, (layer, bytes)) = self.air.pop_first().unwrap();
                let message = Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap();
                self.layers[layer].handle_message(message, flow(TransportKind::Udp), next);
            } else {
                for layer in &mut self.layers {
                    layer.handle_timeout(next);
                }
            }
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(event) = self.layers[CLIENT].poll_event() {
            if let Event::Response { message, .. } = event
                && message.status().unwrap() >= 200
            {
                self.answered.insert(message.call_id().to_owned(), message.status().unwrap());
            }
        }
        while let Some(event) = self.layers[SERVER].poll_event() {
            if let Event::Request { id, message, .. } = event {
                self.answer(id, &message);
            }
        }
        for from in [CLIENT, SERVER] {
            while let Some(Transmit { bytes, .. }) = self.layers[from].poll_transmit() {
                self.throw(1 - from, bytes);
            }
        }
    }

    fn answer(&mut self, id: transaction::ServerId, request: &Message) {
        if !self.seen.insert(request.call_id().to_owned()) {
            self.seen_twice.push(request.call_id().to_owned());
        }
        let layer = &mut self.layers[SERVER];
        let is_invite = *request.method() == Method::Invite;
        if is_invite && self.rng.random_bool(0.5) {
            layer.respond(id, 180, response(request, 180), self.now).unwrap();
        }
        let status = if is_invite { 486 } else { 200 };
        layer.respond(id, status, response(request, status), self.now).unwrap();
    }

    /// One in five is lost, one in five comes twice, all are late by up to 700 ms.
    fn throw(&mut self, to: usize, bytes: Bytes) {
        let copies = match self.rng.random_range(0..5) {
            0 => 0,
            1 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            self.sent += 1;
            let delay = Duration::from_millis(self.rng.random_range(1..700));
            self.air.insert((self.now + delay, self.sent), (to, bytes.clone()));
        }
    }
}
