//! Calls that the server makes: a peer with several forks, over links that lose, repeat and delay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use dialog::{Cause, Event, Party};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sidetone::calls::{Dial, SipCommand, SipEvent, SipPort};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use transport::{Flow, FlowId, Message, Method, Name, ResponseWriter, TransportKind};

use crate::link::{Faults, Link, PERFECT};
use crate::simulation::{self, Simulation, read, seeds};

const PEER: &str = "192.0.2.60:5070";

#[test]
fn an_answered_call_is_acknowledged_and_hung_up() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let peer = Callee::start(&mut simulation, Plan { answers: vec![1], ..Plan::default() });
        let mut port = SipPort::dial(&simulation.dialer, dial());
        let told = events_until(&mut port, |event| matches!(event, Event::Accepted { .. })).await;
        assert!(matches!(told[0], Event::Progress { status: 180, .. }), "{told:?}");
        port.command(hang_up()).await;
        let told = events_until(&mut port, is_end).await;
        let cause = Cause::HungUp;
        assert_eq!(told, [Event::Ended { by: Party::Local, cause, reason: None }]);
        assert!(port.event().await.is_none(), "nothing comes after the end");
        let seen = peer.end().await;
        assert_eq!((seen.acked.len(), seen.byes.len()), (1, 1));
    });
}

#[test]
fn a_callee_that_rings_a_hundred_times_at_once_is_answered_all_the_same() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let delay = Duration::from_secs(1);
        let plan = Plan { answers: vec![1], rings_again: 99, delay, ..Plan::default() };
        let peer = Callee::start(&mut simulation, plan);
        let mut port = SipPort::dial(&simulation.dialer, dial());
        // The call has something else to do meanwhile.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let told = events_until(&mut port, |event| matches!(event, Event::Accepted { .. })).await;
        assert!(told.len() < 32, "{} events waited", told.len());
        port.command(hang_up()).await;
        events_until(&mut port, is_end).await;
        let seen = peer.end().await;
        assert_eq!((seen.acked.len(), seen.byes.len()), (1, 1));
    });
}

#[test]
fn rfc3261_9_1_a_call_that_is_given_up_while_it_rings_is_cancelled() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let peer = Callee::start(&mut simulation, Plan::default());
        let mut port = SipPort::dial(&simulation.dialer, dial());
        events_until(&mut port, |event| matches!(event, Event::Progress { .. })).await;
        let reason = Some("SIP;cause=200;text=\"Call completed elsewhere\"".to_owned());
        let cause = dialplan::Cause::NORMAL_CLEARING;
        port.command(SipCommand::HangUp { cause, reason: reason.clone() }).await;
        let told = events_until(&mut port, is_end).await;
        let cause = Cause::Cancelled;
        assert_eq!(told, [Event::Ended { by: Party::Local, cause, reason: None }]);
        assert_eq!(peer.end().await.cancel_reason, reason);
    });
}

#[test]
fn rfc3326_2_a_response_that_crosses_the_end_of_a_call_does_not_take_the_reason_away() {
    simulation::run_all(&seeds(50), |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let peer: SocketAddr = PEER.parse().unwrap();
        let (link, mut arrived) = simulation.line(peer);
        let mut port = SipPort::dial(&simulation.dialer, dial());
        let invite = read(arrived.recv().await.unwrap());
        let ringing = ringing(&invite, peer);
        link.send(ringing.clone());
        events_until(&mut port, |event| matches!(event, Event::Progress { .. })).await;
        let reason = "SIP;cause=200;text=\"Call completed elsewhere\"";
        let cause = dialplan::Cause::LOSE_RACE;
        port.command(SipCommand::HangUp { cause, reason: Some(reason.to_owned()) }).await;
        drop(port);
        simulation.arrive(peer, ringing);
        let cancel = read(arrived.recv().await.unwrap());
        assert_eq!(*cancel.method(), Method::Cancel);
        assert_eq!(cancel.header(Name::Reason).as_deref(), Some(reason));
    });
}

#[test]
fn a_port_that_is_dropped_hangs_up() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let peer = Callee::start(&mut simulation, Plan::default());
        let mut port = SipPort::dial(&simulation.dialer, dial());
        events_until(&mut port, |event| matches!(event, Event::Progress { .. })).await;
        drop(port);
        sleep(Duration::from_secs(1)).await;
        assert!(peer.end().await.cancel_reason.is_some());
    });
}

#[test]
fn rfc3261_8_1_3_1_a_connection_that_closed_before_its_first_request_is_503_at_once() {
    simulation::run(1, |seed| async move {
        let simulation = Simulation::new(seed, PERFECT);
        let began = Instant::now();
        let dial = Dial { uri: format!("sip:bob@{PEER};transport=tcp"), ..dial() };
        let mut port = SipPort::dial(&simulation.dialer, dial);
        let cause = Cause::Refused { status: 503, contacts: Vec::new() };
        let end = [Event::Ended { by: Party::Local, cause, reason: None }];
        assert_eq!(events_until(&mut port, is_end).await, end);
        assert!(began.elapsed() < Duration::from_secs(1));
    });
}

#[test]
fn rfc3261_8_1_3_1_nobody_there_is_408_and_nowhere_to_send_is_478() {
    simulation::run(1, |seed| async move {
        let simulation = Simulation::new(seed, PERFECT);
        let refused = |status| {
            let cause = Cause::Refused { status, contacts: Vec::new() };
            [Event::Ended { by: Party::Local, cause, reason: None }]
        };
        let mut port = SipPort::dial(&simulation.dialer, dial());
        assert_eq!(events_until(&mut port, is_end).await, refused(408));
        for uri in ["tel:+4930", "sip:a b@c", "sip:a@192.0.2.60;transport=sctp"] {
            let dial = Dial { uri: uri.to_owned(), ..dial() };
            let mut port = SipPort::dial(&simulation.dialer, dial);
            assert_eq!(events_until(&mut port, is_end).await, refused(478), "{uri}");
        }
        let browser = Dial { uri: "sip:x@y.invalid;transport=ws".to_owned(), ..dial() };
        let page = Dial { transport: TransportKind::Wss, ..dial() };
        for dial in [browser, page] {
            let mut port = SipPort::dial(&simulation.dialer, dial);
            assert_eq!(events_until(&mut port, is_end).await, refused(480));
        }
    });
}

#[test]
fn rfc4568_7_an_offer_that_was_made_for_tls_never_leaves_in_the_clear() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let peer = Callee::start(&mut simulation, Plan { answers: vec![1], ..Plan::default() });
        for transport in ["udp", "tcp"] {
            let uri = format!("sip:bob@{PEER};transport={transport}");
            let dial = Dial { transport: TransportKind::Tls, uri, ..dial() };
            let mut port = SipPort::dial(&simulation.dialer, dial);
            let cause = Cause::Refused { status: 480, contacts: Vec::new() };
            let end = Event::Ended { by: Party::Local, cause, reason: None };
            assert_eq!(events_until(&mut port, is_end).await, [end]);
        }
        assert!(peer.end().await.answered.is_empty());
    });
}

#[test]
fn a_flow_that_is_known_is_used_whatever_the_uri_says() {
    simulation::run(1, |seed| async move {
        let mut simulation = Simulation::new(seed, PERFECT);
        let peer = Callee::start(&mut simulation, Plan { answers: vec![1], ..Plan::default() });
        let flow = Flow {
            id: FlowId(7),
            kind: TransportKind::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: PEER.parse().unwrap(),
        };
        let uri = "sip:bob@unknown.invalid".to_owned();
        let mut port = SipPort::dial(&simulation.dialer, Dial { flow: Some(flow), uri, ..dial() });
        events_until(&mut port, |event| matches!(event, Event::Accepted { .. })).await;
        port.command(hang_up()).await;
        events_until(&mut port, is_end).await;
        assert_eq!(peer.end().await.acked.len(), 1);
    });
}

/// Hundreds of calls over a bad link, each given up or hung up at some moment, answered by up to
/// three forks: whatever meets whatever, each has one end, each 2xx its ACK and its BYE.
#[test]
fn rfc3261_13_2_2_4_no_2xx_of_any_fork_is_left_alone() {
    for seed in seeds(10) {
        simulation::run(seed, |seed| async move {
            let faults = Faults {
                lost_per_mille: 150,
                repeated_per_mille: 150,
                delay_max: Duration::from_millis(300),
            };
            let mut simulation = Simulation::new(seed, faults);
            let mut rng = StdRng::seed_from_u64(seed);
            let mut calls = tokio::task::JoinSet::new();
            for number in 0..60 {
                let address = format!("192.0.2.60:{}", 6_000 + number);
                let forks = rng.random_range(0..=3);
                let plan = Plan {
                    answers: (1..=forks).collect(),
                    delay: Duration::from_millis(rng.random_range(0..3_000)),
                    refusal: (forks == 0).then_some(486),
                    rings_again: 0,
                };
                let callee = Callee::start_at(&address, &mut simulation, plan);
                let dial = Dial { uri: format!("sip:bob@{address}"), ..dial() };
                let port = SipPort::dial(&simulation.dialer, dial);
                let patience = Duration::from_millis(rng.random_range(0..4_000));
                calls.spawn(call_and_give_up(port, patience, callee));
            }
            calls.join_all().await;
        });
    }
}

async fn call_and_give_up(mut port: SipPort, patience: Duration, callee: Callee) {
    let mut told = Vec::new();
    let given_up = Instant::now() + patience;
    let mut has_given_up = false;
    while !told.last().is_some_and(is_end) {
        tokio::select! {
            biased;
            event = port.event() => match event {
                Some(SipEvent::Leg(event)) => told.push(*event),
                other => panic!("{other:?} after {told:?}"),
            },
            () = sleep_until(given_up), if !has_given_up => {
                port.command(hang_up()).await;
                has_given_up = true;
            }
        }
    }
    assert!(port.event().await.is_none());
    let accepted = told.iter().filter(|event| matches!(event, Event::Accepted { .. }));
    assert!(accepted.count() <= 1, "{told:?}");
    sleep(Duration::from_secs(100)).await;
    let seen = callee.end().await;
    assert_eq!(seen.answered, seen.acked, "each 2xx has its ACK");
    assert_eq!(seen.answered, seen.byes, "each dialog is ended");
}

/// A call to the peer, whose flow is yet to be found.
pub fn dial() -> Dial {
    Dial {
        call_id: "1".to_owned(),
        uri: format!("sip:bob@{PEER}"),
        routes: Vec::new(),
        flow: None,
        transport: TransportKind::Udp,
        from_user: "3001".to_owned(),
        from_name: None,
        to_user: None,
        max_forwards: 69,
        description: "v=0\r\n".to_owned(),
        headers: Vec::new(),
    }
}

fn hang_up() -> SipCommand {
    SipCommand::HangUp { cause: dialplan::Cause::NORMAL_CLEARING, reason: None }
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Ended { .. })
}

async fn events_until(port: &mut SipPort, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut told = Vec::new();
    let waiting = async {
        while !told.last().is_some_and(&wanted) {
            match port.event().await {
                Some(SipEvent::Leg(event)) => told.push(*event),
                Some(SipEvent::FlowClosed) => {}
                other => panic!("{other:?} after {told:?}"),
            }
        }
    };
    timeout(Duration::from_secs(600), waiting).await.expect("it happens in time");
    told
}

/// What a callee does to an INVITE.
#[derive(Default)]
struct Plan {
    /// The forks that answer with 200, each a little later than the one before.
    answers: Vec<u8>,
    /// From the INVITE to the first answer or refusal.
    delay: Duration,
    refusal: Option<u16>,
    /// How often it says that it rings, besides the first time.
    rings_again: u8,
}

/// What a callee saw.
#[derive(Default)]
struct Seen {
    answered: BTreeSet<String>,
    acked: BTreeSet<String>,
    byes: BTreeSet<String>,
    cancel_reason: Option<String>,
}

/// 180 of a peer to our INVITE.
fn ringing(invite: &Message, peer: SocketAddr) -> Bytes {
    let flow = Flow { id: FlowId(0), kind: TransportKind::Udp, local: peer, remote: peer };
    let writer = ResponseWriter::to(invite, &flow, 180).to_tag("ringing");
    writer.header(Name::Contact, format_args!("<sip:bob@{peer}>")).finish()
}

/// A peer that answers as its plan says, repeats its 2xx until their ACK, and answers CANCEL and
/// BYE.
struct Callee {
    stop: mpsc::Sender<()>,
    task: tokio::task::JoinHandle<Seen>,
}

impl Callee {
    fn start(simulation: &mut Simulation, plan: Plan) -> Callee {
        Callee::start_at(PEER, simulation, plan)
    }

    fn start_at(address: &str, simulation: &mut Simulation, plan: Plan) -> Callee {
        let local: SocketAddr = address.parse().unwrap();
        let (link, arrived) = simulation.line(local);
        let (stop, stopped) = mpsc::channel(1);
        let (seen, due) = (Seen::default(), BTreeMap::new());
        let worker = Worker { local, link, plan, seen, due, invite: None };
        Callee { stop, task: tokio::spawn(worker.run(arrived, stopped)) }
    }

    async fn end(self) -> Seen {
        self.stop.send(()).await.unwrap();
        self.task.await.unwrap()
    }
}

struct Worker {
    local: SocketAddr,
    link: Link<Bytes>,
    plan: Plan,
    seen: Seen,
    /// What is to be sent, by time and fork, and how often it was.
    due: BTreeMap<(Instant, u8), u32>,
    invite: Option<Message>,
}

impl Worker {
    async fn run(
        mut self,
        mut arrived: mpsc::UnboundedReceiver<Bytes>,
        mut stopped: mpsc::Receiver<()>,
    ) -> Seen {
        loop {
            let next = self.due.first_key_value().map(|(&(at, _), _)| at);
            let wait = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(bytes) = arrived.recv() => self.take(bytes),
                () = wait => self.send_due(),
                _ = stopped.recv() => return self.seen,
            }
        }
    }

    fn take(&mut self, bytes: Bytes) {
        let message = read(bytes);
        let Some(tag) = message.to_tag().map(|tag| tag.into_owned()) else {
            return match message.method() {
                Method::Invite => self.ring(message),
                Method::Cancel => self.cancel(&message),
                other => panic!("{other} without a dialog"),
            };
        };
        match message.method() {
            Method::Ack => {
                if self.seen.answered.contains(&tag) {
                    self.seen.acked.insert(tag);
                }
            }
            Method::Bye => {
                self.respond(&message, 200, None);
                self.seen.byes.insert(tag);
            }
            other => panic!("{other} in a dialog"),
        }
    }

    fn ring(&mut self, invite: Message) {
        if self.invite.is_some() {
            return;
        }
        for _ in 0..=self.plan.rings_again {
            self.respond(&invite, 180, Some(1));
        }
        let first = Instant::now() + self.plan.delay;
        for fork in &self.plan.answers {
            let at = first + Duration::from_millis(u64::from(*fork) * 200);
            self.due.insert((at, *fork), 0);
        }
        if self.plan.refusal.is_some() {
            self.due.insert((first, 0), 0);
        }
        self.invite = Some(invite);
    }

    /// RFC 3261 §9.2: without effect on what has been answered.
    fn cancel(&mut self, cancel: &Message) {
        self.respond(cancel, 200, None);
        self.seen.cancel_reason = cancel.header(Name::Reason).map(|reason| reason.into_owned());
        let Some(invite) = self.invite.clone() else { return };
        if self.seen.answered.is_empty() {
            self.plan.refusal = Some(487);
            self.due.clear();
            self.respond(&invite, 487, Some(0));
            self.due.insert((Instant::now(), 0), 0);
        }
    }

    fn send_due(&mut self) {
        let Some(((at, fork), count)) = self.due.pop_first() else { return };
        let Some(invite) = self.invite.clone() else { return };
        let tag = format!("f{fork}");
        let status = if fork == 0 { self.plan.refusal.unwrap_or(486) } else { 200 };
        self.respond(&invite, status, Some(fork));
        if fork > 0 {
            self.seen.answered.insert(tag.clone());
        }
        if !self.seen.acked.contains(&tag) && count < REPEATS_MAX {
            let interval = Duration::from_millis(500 << count.min(3));
            self.due.insert((at + interval, fork), count + 1);
        }
    }

    fn respond(&self, request: &Message, status: u16, fork: Option<u8>) {
        let local = self.local;
        let flow = Flow { id: FlowId(0), kind: TransportKind::Udp, local, remote: local };
        let mut writer = ResponseWriter::to(request, &flow, status)
            .header(Name::Contact, format_args!("<sip:bob@{local}>"));
        if let Some(fork) = fork {
            writer = writer.to_tag(&format!("f{fork}"));
        }
        if status == 200 && *request.method() == Method::Invite {
            writer = writer.body("application/sdp", b"v=0 answer\r\n");
        }
        self.link.send(writer.finish());
    }
}

/// 64 times T1, in steps of T2 (RFC 3261 §13.3.1.4).
const REPEATS_MAX: u32 = 10;
