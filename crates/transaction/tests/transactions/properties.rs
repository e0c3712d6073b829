//! Whatever happens in whatever order: no panic, no growth, an end.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use transaction::{ClientId, Config, Event, ServerId};
use transport::{FlowId, Message, TransportKind};

use super::support::{Rig, flow, message, request, response};

#[derive(Clone, Debug)]
enum Step {
    Receive { method: &'static str, branch: u8, kind: TransportKind },
    Respond { which: usize, status: u16 },
    Request { method: &'static str, branch: u8, kind: TransportKind },
    Answer { method: &'static str, branch: u8, status: u16 },
    Cancel { which: usize },
    Close { kind: TransportKind },
    Advance { ms: u64 },
}

proptest! {
    #[test]
    fn the_bound_holds_and_every_transaction_ends(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            prop_assert!(world.rig.layer.len() <= TRANSACTIONS_MAX);
            if world.rig.layer.is_empty() {
                prop_assert_eq!(world.rig.layer.poll_timeout(), None, "a timer of nobody");
            }
        }
        world.cancel_all();
        world.rig.run(LIFE_MAX_S);
        world.drain();
        prop_assert_eq!(world.rig.layer.len(), 0);
        prop_assert_eq!(world.rig.layer.poll_timeout(), None);
        prop_assert_eq!(world.started, world.ended, "each start has its end");
    }
}

const TRANSACTIONS_MAX: usize = 6;

/// Timer C, then 64 times T1, then Timer D.
const LIFE_MAX_S: f64 = 300.0 + 32.0 + 32.0 + 1.0;

struct World {
    rig: Rig,
    clients: Vec<ClientId>,
    servers: Vec<(ServerId, Message)>,
    started: usize,
    ended: usize,
}

impl World {
    fn new() -> World {
        let config = Config { transactions_max: TRANSACTIONS_MAX, ..Config::default() };
        let rig = Rig::with(config);
        World { rig, clients: Vec::new(), servers: Vec::new(), started: 0, ended: 0 }
    }

    fn take(&mut self, step: Step) {
        let now = self.rig.now;
        match step {
            Step::Receive { method, branch, kind } => {
                self.rig.receive(&request(method, &theirs(branch)), kind);
            }
            Step::Respond { which, status } => {
                if let Some((id, request)) = pick(&self.servers, which) {
                    // The layer refuses what does not fit; that is what is tested.
                    let _ = self.rig.layer.respond(*id, status, response(request, status), now);
                }
            }
            Step::Request { method, branch, kind } => {
                let bytes = Bytes::from(request(method, &ours(branch)));
                if let Ok(id) = self.rig.layer.request(bytes, flow(kind), now) {
                    self.clients.push(id);
                    self.started += 1;
                }
            }
            Step::Answer { method, branch, status } => {
                let bytes = response(&message(&request(method, &ours(branch))), status);
                self.rig.receive(&String::from_utf8_lossy(&bytes), TransportKind::Udp);
            }
            Step::Cancel { which } => {
                if let Some(id) = pick(&self.clients, which) {
                    let _ = self.rig.layer.cancel(*id, None, now);
                }
            }
            Step::Close { kind } => self.rig.layer.handle_flow_closed(FlowId(kind as u64), now),
            Step::Advance { ms } => {
                self.rig.now += Duration::from_millis(ms);
                self.rig.layer.handle_timeout(self.rig.now);
            }
        }
        self.drain();
    }

    /// What rings does so for as long as its user wants.
    fn cancel_all(&mut self) {
        for id in &self.clients {
            let _ = self.rig.layer.cancel(*id, None, self.rig.now);
        }
    }

    fn drain(&mut self) {
        self.rig.transmits();
        for event in self.rig.events() {
            match event {
                Event::Request { id, message, .. } => {
                    self.started += 1;
                    self.servers.push((id, message));
                }
                Event::ClientTerminated { .. } | Event::ServerTerminated { .. } => self.ended += 1,
                _ => {}
            }
        }
    }
}

fn pick<T>(items: &[T], which: usize) -> Option<&T> {
    items.get(which % items.len().max(1))
}

fn theirs(branch: u8) -> String {
    // One in four is a branch of RFC 2543.
    if branch == 0 { "1".to_owned() } else { format!("z9hG4bKtheirs{branch}") }
}

fn ours(branch: u8) -> String {
    format!("z9hG4bKours{branch}")
}

fn step() -> impl Strategy<Value = Step> {
    let method = || prop::sample::select(vec!["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"]);
    let kind = || prop::sample::select(vec![TransportKind::Udp, TransportKind::Tcp]);
    let status = || prop::sample::select(vec![100u16, 180, 200, 202, 302, 404, 487, 503, 603]);
    prop_oneof![
        (method(), 0u8..4, kind()).prop_map(|(method, branch, kind)| Step::Receive {
            method,
            branch,
            kind
        }),
        (0usize..8, status()).prop_map(|(which, status)| Step::Respond { which, status }),
        (method(), 0u8..4, kind()).prop_map(|(method, branch, kind)| Step::Request {
            method,
            branch,
            kind
        }),
        (method(), 0u8..4, status()).prop_map(|(method, branch, status)| Step::Answer {
            method,
            branch,
            status
        }),
        (0usize..8).prop_map(|which| Step::Cancel { which }),
        kind().prop_map(|kind| Step::Close { kind }),
        (0u64..40_000).prop_map(|ms| Step::Advance { ms }),
    ]
}
