//! The signalling loop: one task between the sockets, the transactions, the legs and the calls.
//!
//! ```text
//!   NetEvent ─► transactions ─► legs ─SipEvent─► call tasks
//!   Wire     ◄─ transactions ◄─ legs ◄─SipCommand┘
//! ```
//!
//! The loop owns every table and every SIP timer; the machines it drives are sans-I/O, so a test
//! runs it on virtual time over a [`Wire`] of its own. It never waits for a call.

mod admission;
mod beat;
mod dialing;
mod facts;
mod farewells;
mod identity;
mod legs;
mod per_address;
mod registration;
mod renewal;
mod stateless;
mod thread;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dialog::{Failure, Settings, outside};
use media::net::{LocalNetworks, PortMap, wake_shards};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;
use transaction::{Event, Peak, ServerId, TransactionLayer, Transmit};
use transport::net::{NetEvent, SendError};
use transport::{Flow, FlowId, Message, Method, ResponseWriter, TransportKind};

use crate::auth::{Authenticator, TokenKey};
use crate::calls::{Inbox, Order, Shared};
use crate::config;
use crate::limits;
use crate::metrics::{Direction, Refusal};
use dialing::Dialing;
use identity::Admitted;
use legs::Legs;

pub use legs::{LegKey, Unsent};
pub use thread::SignalingThread;
pub use wire::Wire;

/// What the loop needs of the configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Timer T1.
    pub t1: Duration,
    /// The Server header.
    pub server: String,
    /// What the tags of this node begin with, so that a front proxy can tell nodes apart.
    pub node: String,
    /// Session timers.
    pub session: dialog::session_timer::SessionPolicy,
    /// What our own addresses are called in Contact, where the outside knows them by another.
    pub advertised: BTreeMap<IpAddr, IpAddr>,
    /// Ports that have other numbers outside, where addresses are others.
    pub external_ports: PortMap,
    /// Whose peers reach the bound addresses and ports themselves.
    pub local_networks: LocalNetworks,
    /// Where SIP is listened for.
    pub listeners: Vec<(TransportKind, SocketAddr)>,
    /// Transactions in memory at the most.
    pub transactions_max: usize,
    /// Answered calls from one address that may wait for their ACK, of callers without a password.
    pub unacknowledged_max: usize,
    /// How callers show who they are.
    pub auth: config::Auth,
    /// What tokens are signed with.
    pub token_key: TokenKey,
    /// Seeds tags, branches and call identifiers.
    pub seed: u64,
}

impl From<&config::Config> for Config {
    fn from(config: &config::Config) -> Self {
        Config {
            t1: Duration::from_millis(config.sip.t1_ms),
            server: config.sip.server.clone(),
            node: config.sip.node.clone(),
            session: dialog::session_timer::SessionPolicy {
                min_se: config.sip.session_expires_min_s,
                session_expires: Some(config.sip.session_expires_s),
            },
            advertised: BTreeMap::new(),
            external_ports: PortMap::new(config.sip.external_ports.0.clone()),
            local_networks: config.media.local_networks.clone(),
            listeners: Vec::new(),
            transactions_max: config.limits.transactions_max,
            unacknowledged_max: limits::unacknowledged_max(
                config.limits.calls_max,
                &(config.media.rtp_port_min..=config.media.rtp_port_max),
            ),
            auth: config.auth.clone(),
            token_key: config
                .auth
                .token_secret
                .as_deref()
                .map_or_else(TokenKey::unknown, TokenKey::new),
            seed: rand::rng().random(),
        }
    }
}

/// The loop before it runs.
pub struct Signaling<W> {
    wire: W,
    shared: Arc<Shared>,
    transactions: TransactionLayer,
    legs: Legs,
    /// Calls that have no flow yet.
    dialing: FxHashMap<LegKey, Dialing>,
    inbox: mpsc::Receiver<Order>,
    counted: transaction::Counters,
    advertised: BTreeMap<IpAddr, IpAddr>,
    external_ports: PortMap,
    local_networks: LocalNetworks,
    listeners: Vec<(TransportKind, SocketAddr)>,
    /// New calls are refused beyond it.
    transactions_max: usize,
    /// And beyond it, of callers without a password from one address that acknowledge nothing.
    unacknowledged_max: usize,
    authenticator: Authenticator,
    /// What connections held is free once they have left, but not given back.
    connections: Peak,
    /// When it was said that there is no room for new calls.
    overloaded_since: Option<Instant>,
    /// Tokens that WebSockets were opened with.
    connection_tokens: HashMap<FlowId, Box<str>>,
    /// What was decided about the request that is given to the transactions now; the transaction
    /// reports it before the next message is looked at.
    admitted: Option<Admitted>,
    rng: StdRng,
    /// To tag of answers without a transaction: the same for a request that comes again.
    stateless_tag: String,
}

impl<W: Wire> Signaling<W> {
    /// A loop without any call. `inbox` is the other end of the dialer in `shared`.
    #[must_use]
    pub fn new(config: Config, wire: W, shared: Shared, inbox: Inbox) -> Self {
        let layer = transaction::Config {
            timers: transaction::Timers { t1: config.t1, ..Default::default() },
            transactions_max: config.transactions_max + TRANSACTIONS_OF_CALLS,
        };
        let settings = Settings {
            server: config.server,
            node: config.node,
            timers: layer.timers.clone(),
            session: config.session,
            ..Settings::default()
        };
        let mut rng = StdRng::seed_from_u64(config.seed ^ LEGS_STREAM);
        let stateless_tag = format!("{}{:016x}", settings.node, rng.random::<u64>());
        Signaling {
            wire,
            shared: Arc::new(shared),
            transactions: TransactionLayer::new(layer, config.seed),
            legs: Legs::new(Arc::new(settings)),
            rng,
            stateless_tag,
            dialing: FxHashMap::default(),
            inbox: inbox.0,
            counted: transaction::Counters::default(),
            advertised: config.advertised,
            external_ports: config.external_ports,
            local_networks: config.local_networks,
            listeners: config.listeners,
            transactions_max: config.transactions_max,
            unacknowledged_max: config.unacknowledged_max,
            authenticator: Authenticator::new(&config.auth, config.token_key, now().into()),
            connections: Peak::above(CONNECTIONS_KEPT),
            overloaded_since: None,
            connection_tokens: HashMap::new(),
            admitted: None,
        }
    }

    /// Runs until the network ends, or until the process is stopped and every leg has ended.
    pub async fn run(mut self, mut inbound: mpsc::Receiver<NetEvent>) {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = self.shared.stop.clone();
        let mut stopping_since = None;
        let mut ran_at = now();
        loop {
            let is_stopping = *stop.borrow();
            if is_stopping {
                let since = *stopping_since.get_or_insert_with(now);
                if since + ACK_PATIENCE <= now() {
                    self.legs.stop_waiting(now());
                }
            }
            if is_stopping && self.legs.is_empty() && self.shared.health.calls() == 0 {
                break;
            }
            let deadline = self.deadline(is_stopping).map(|due| due.max(ran_at + TIMER_GRAIN));
            let mut is_full = false;
            // In this order, so that a simulation repeats; none waits for another, since what comes
            // first is taken by the batch, and orders are taken after whatever it was.
            tokio::select! {
                biased;
                _ = beat.tick() => self.beat(),
                changed = stop.changed(), if !is_stopping => {
                    if changed.is_err() {
                        // The server was dropped without being shut down.
                        break;
                    }
                }
                event = inbound.recv() => match event {
                    Some(event) => is_full = self.on_events(event, &mut inbound),
                    None => break,
                },
                Some(order) = self.inbox.recv() => self.on_order(order, now()),
                () = sleep_until(deadline) => {}
            }
            is_full |= self.on_orders();
            let now = now();
            self.transactions.handle_timeout(now);
            self.legs.handle_timeout(now);
            self.tend_registrations(now);
            self.pump(now);
            wake_shards(SHARDS_WAIT);
            ran_at = now;
            if is_full {
                // Whoever sends that much keeps neither the calls waiting nor the UDP sockets, which
                // are read on this thread.
                tokio::task::yield_now().await;
            }
        }
    }

    fn deadline(&self, is_stopping: bool) -> Option<Instant> {
        // The end of the last call's task is nothing the loop is told of.
        let poll = is_stopping.then(|| now() + STOP_POLL);
        let registrations = self.shared.registrar.poll_timeout().map(Into::into);
        let timers =
            [self.transactions.poll_timeout(), self.legs.poll_timeout(), registrations, poll];
        timers.into_iter().flatten().min()
    }

    /// Takes what has arrived, a bounded number of messages at a time so that timers run; whether
    /// there may be more.
    fn on_events(&mut self, first: NetEvent, inbound: &mut mpsc::Receiver<NetEvent>) -> bool {
        let now = now();
        self.on_event(first, now);
        for _ in 1..BATCH {
            let Ok(event) = inbound.try_recv() else { return false };
            self.on_event(event, now);
        }
        true
    }

    fn on_event(&mut self, event: NetEvent, now: Instant) {
        match event {
            NetEvent::Opened { flow, query } => {
                if let Some(token) = query.and_then(|query| query.value("token").map(Box::from)) {
                    self.connection_tokens.insert(flow.id, token);
                }
            }
            NetEvent::Message { flow, message } => self.on_message(message, flow, now),
            NetEvent::Unparsable { flow, error, is_last } => {
                self.on_unparsable(&flow, &error, is_last);
            }
            NetEvent::Undelivered { socket, remote, quote } => {
                debug!(%remote, "datagram not delivered");
                self.transactions.handle_undelivered(socket, remote, &quote, now);
            }
            NetEvent::Closed { flow, reason } => {
                debug!(flow = flow.id.0, reason = reason.label(), "flow closed");
                self.connection_tokens.remove(&flow.id);
                self.shared.registrar.handle_flow_closed(&flow, now.into());
                self.transactions.handle_flow_closed(flow.id, now);
                self.legs.handle_flow_closed(flow.id, now);
            }
        }
        self.pump(now);
    }

    fn on_message(&mut self, message: Message, flow: Flow, now: Instant) {
        let is_register = *message.method() == Method::Register;
        let supported: &[&str] = if is_register { &REGISTRAR_TAGS } else { &[dialog::SUPPORTED] };
        let policy = transport::Policy { supported };
        let Err(rejection) = transport::validate(&message, &policy) else {
            if !self.answer_at_once(&message, &flow, now) {
                self.transactions.handle_message(message, flow, now);
            }
            return;
        };
        let metrics = &self.shared.metrics;
        metrics.parse_error(flow.kind, rejection.label);
        debug!(reason = rejection.label, remote = %flow.remote, "message refused");
        if message.is_request() && *message.method() != Method::Ack {
            metrics.request(Direction::In, flow.kind, message.method());
            metrics.response(Direction::Out, message.method(), rejection.status);
            if *message.method() == Method::Invite {
                metrics.call_rejected(Refusal::Malformed);
            }
            let response = ResponseWriter::reject(&message, &flow, &rejection);
            self.answer_without_transaction(&message, &flow, response);
        }
    }

    fn send(&self, flow: &Flow, bytes: Bytes) {
        if let Err(error) = self.wire.send(flow, bytes) {
            debug!(%error, remote = %flow.remote, "not sent");
        }
    }

    /// Sends what a transaction has to say; a request whose peer no way leads to fails at once.
    fn transmit(&mut self, transmit: Transmit, now: Instant) {
        let Transmit { flow, bytes } = transmit;
        let Err(error) = self.wire.send(&flow, bytes.clone()) else { return };
        debug!(%error, remote = %flow.remote, "not sent");
        match error {
            // It was closed before anything waited on it, and the word of that is on its way.
            SendError::NoFlow => {
                if flow.kind.is_reliable() {
                    self.legs.handle_flow_closed(flow.id, now);
                }
                self.transactions.handle_flow_closed(flow.id, now);
            }
            error if error.is_unreachable() => {
                self.transactions.handle_undelivered(flow.id, flow.remote, &bytes, now);
            }
            _ => {}
        }
    }

    /// Does what calls have asked for, a bounded number of orders at a time; whether there may be more.
    fn on_orders(&mut self) -> bool {
        let now = now();
        for _ in 0..BATCH {
            let Ok(order) = self.inbox.try_recv() else { return false };
            self.on_order(order, now);
        }
        true
    }

    /// Carries everything the machines have to say to one another and to the network.
    fn pump(&mut self, now: Instant) {
        loop {
            let mut is_idle = true;
            while let Some(event) = self.transactions.poll_event() {
                is_idle = false;
                self.on_transaction_event(event, now);
            }
            is_idle &= !self.legs.run_actions(&mut self.transactions, &self.shared.metrics, now);
            while let Some((unsent, hop)) = self.legs.poll_unrouted() {
                is_idle = false;
                self.reach(unsent, hop);
            }
            while let Some((flow, ack)) = self.legs.poll_ack() {
                is_idle = false;
                self.send(&flow, ack);
            }
            while let Some(transmit) = self.transactions.poll_transmit() {
                is_idle = false;
                self.transmit(transmit, now);
            }
            if is_idle {
                return;
            }
        }
    }

    fn on_transaction_event(&mut self, event: Event, now: Instant) {
        let metrics = &self.shared.metrics;
        match event {
            Event::Request { id, message, flow } => {
                metrics.request(Direction::In, flow.kind, message.method());
                self.on_request(id, message, flow, now);
            }
            Event::Ack { message, flow } => {
                metrics.request(Direction::In, flow.kind, &Method::Ack);
                if self.legs.handle_ack(&message, &flow, now) {
                    self.wire.vouch(&flow);
                }
            }
            Event::Cancel { invite, message } => {
                let kind = message.via().and_then(|via| via.kind());
                let kind = kind.unwrap_or(TransportKind::Udp);
                metrics.request(Direction::In, kind, &Method::Cancel);
                metrics.response(Direction::Out, &Method::Cancel, 200);
                self.legs.handle_cancel(invite, &message, now);
            }
            Event::Response { id, message, flow } => {
                if let Some(status) = message.status() {
                    metrics.response(Direction::In, message.method(), status);
                }
                self.legs.handle_response(id, &message, flow, now);
            }
            Event::StraySuccess { message, flow } => {
                self.legs.handle_stray_success(&message, flow, now);
            }
            Event::Timeout { id } => self.legs.handle_failure(id, Failure::Timeout, now),
            Event::TransportFailed { id } => {
                self.legs.handle_failure(id, Failure::Transport, now);
            }
            Event::Unanswered { id } => self.legs.handle_unanswered(id, now),
            Event::ClientTerminated { id } => self.legs.forget_client(id),
            Event::ServerTerminated { id } => self.legs.forget_server(id),
            Event::Overflow { message, flow } => self.on_overflow(&message, &flow),
        }
    }

    fn on_request(&mut self, id: ServerId, message: Message, flow: Flow, now: Instant) {
        if message.to_tag().is_some() {
            if !self.legs.handle_request(id, &message, &flow, now) {
                self.refuse(id, &message, &flow, &dialog::Refusal::UnknownDialog, now);
            }
            return;
        }
        // Everything else was answered at once.
        if *message.method() == Method::Register {
            return self.on_register(id, &message, &flow, now);
        }
        self.on_invite(id, message, flow, now);
    }

    fn refuse(
        &mut self,
        id: ServerId,
        request: &Message,
        flow: &Flow,
        refusal: &dialog::Refusal,
        now: Instant,
    ) {
        let settings = Arc::clone(self.legs.settings());
        let (status, bytes) = outside::refuse(request, flow, refusal, &settings, &mut self.rng);
        self.respond(id, request, status, bytes, now);
    }

    /// Gives the final response of a transaction that no leg answers.
    fn respond(
        &mut self,
        id: ServerId,
        request: &Message,
        status: u16,
        bytes: Bytes,
        now: Instant,
    ) {
        self.shared.metrics.response(Direction::Out, request.method(), status);
        if let Err(error) = self.transactions.respond(id, status, bytes, now) {
            debug!(%error, "response not sent");
        }
    }
}

/// The time, virtual in tests.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// The option tags that a REGISTER may require.
const REGISTRAR_TAGS: [&str; 2] = ["outbound", "path"];
/// Tells the random numbers of legs from those of the transaction layer.
const LEGS_STREAM: u64 = 0x6c65_6773;
/// How long calls that end with the process may wait for the ACK of their 2xx (RFC 3261 §15 wants
/// it before the BYE).
const ACK_PATIENCE: Duration = Duration::from_secs(2);
/// How often the loop looks whether the last call has ended when the process stops.
const STOP_POLL: Duration = Duration::from_millis(10);
/// Timers that are due one soon after the other run together: a busy server has one for each
/// message that it has answered, and waking for each costs more than what it does.
const TIMER_GRAIN: Duration = Duration::from_millis(10);
/// How long commands to media shards may wait for the loop to have nothing else to do.
const SHARDS_WAIT: Duration = Duration::from_millis(2);
/// How often the loop shows that it is alive. Less than the shortest timer of a call: the runtime
/// makes a system call for each timer that is due before whatever it waits for.
const BEAT: Duration = Duration::from_millis(250);
/// Connections whose heap is not worth giving back.
const CONNECTIONS_KEPT: usize = 100;
/// Messages handled before timers get their turn.
const BATCH: usize = 64;
/// Transactions kept free for the requests of calls that are up, above all BYE.
const TRANSACTIONS_OF_CALLS: usize = 20_000;
