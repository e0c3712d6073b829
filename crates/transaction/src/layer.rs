//! The table of transactions, and what runs them.

mod client;
mod server;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustc_hash::FxHashMap;
use slab::Slab;
use transport::{Flow, FlowId, Message};

use crate::event::{Counters, Event, Transmit};
use crate::key::Key;
use crate::schedule::{Owner, Schedule};
use crate::table::Peak;
use crate::timer::Timers;

use client::Client;
use server::Server;

/// What a layer is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The durations.
    pub timers: Timers,
    /// How many transactions of both sides may exist. A request beyond is an [`Event::Overflow`].
    pub transactions_max: usize,
}

impl Default for Config {
    /// 2,000 calls a second over UDP keep about 130,000 transactions for their 32 seconds.
    fn default() -> Config {
        Config { timers: Timers::default(), transactions_max: 262_144 }
    }
}

/// All transactions of both sides (RFC 3261 §17).
///
/// Sans-I/O: after any `handle_*`, [`respond`](Self::respond), [`request`](Self::request) or
/// [`cancel`](Self::cancel), poll [`poll_transmit`](Self::poll_transmit) and
/// [`poll_event`](Self::poll_event) until `None`, then read [`poll_timeout`](Self::poll_timeout).
pub struct TransactionLayer {
    config: Config,
    // Boxed, since a slab keeps the room of all that lay before one that stays.
    clients: Slab<Box<Client>>,
    servers: Slab<Box<Server>>,
    client_keys: HashMap<Key, u32>,
    server_keys: HashMap<Key, u32>,
    /// Requests outside dialogs, by what the copies of a forked one share.
    merges: FxHashMap<u64, u32>,
    /// The client transactions of each stream, for when it closes.
    streams: HashMap<FlowId, BTreeSet<u32>>,
    /// Requests in datagrams that nothing has come back to, by socket and peer, for when the network
    /// says that it cannot deliver them.
    unanswered: BTreeSet<(FlowId, SocketAddr, u32)>,
    schedule: Schedule,
    peak: Peak,
    events: VecDeque<Event>,
    transmits: VecDeque<Transmit>,
    counters: Counters,
    /// Server transactions that have sent far more than has come.
    overspent: usize,
    generation: u32,
    merge_secret: u64,
    rng: StdRng,
}

impl TransactionLayer {
    /// An empty layer. `seed` decides the tags of the responses that the layer itself makes.
    pub fn new(config: Config, seed: u64) -> TransactionLayer {
        let mut rng = StdRng::seed_from_u64(seed);
        TransactionLayer {
            config,
            clients: Slab::new(),
            servers: Slab::new(),
            client_keys: HashMap::new(),
            server_keys: HashMap::new(),
            merges: FxHashMap::default(),
            streams: HashMap::new(),
            unanswered: BTreeSet::new(),
            schedule: Schedule::default(),
            peak: Peak::default(),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            counters: Counters::default(),
            overspent: 0,
            generation: 0,
            merge_secret: rng.next_u64(),
            rng,
        }
    }

    /// A message that has passed validation arrived on `flow`.
    pub fn handle_message(&mut self, message: Message, flow: Flow, now: Instant) {
        if message.is_request() {
            self.handle_request(message, flow, now);
        } else {
            self.handle_response(message, flow, now);
        }
    }

    /// Runs every timer that is due. Extra calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((owner, purpose)) = self.schedule.pop_due(now) {
            match owner {
                Owner::Client(slot) => self.client_timeout(slot, purpose, now),
                Owner::Server(slot) => self.server_timeout(slot, purpose, now),
            }
        }
        self.shrink_if_empty();
    }

    /// A connection is gone: its client transactions fail (RFC 3261 §17.1.4). Server transactions
    /// stay, since the peer may still repeat its requests elsewhere (RFC 6026 §8.9).
    pub fn handle_flow_closed(&mut self, flow: FlowId, now: Instant) {
        for slot in self.streams.remove(&flow).unwrap_or_default() {
            self.client_transport_failed(slot, now);
        }
    }

    /// The network could not deliver a datagram that was sent to `remote` (RFC 3261 §18.4), of which
    /// `quote` is the beginning, as far as that is known.
    ///
    /// Anybody may have forged this, and who is not there now may be in a moment. It ends a request of
    /// ours that has been repeated and to which nothing has come back, and where `quote` shows a
    /// branch, only the request of that branch. A request within a dialog goes on to be repeated: its
    /// peer was there, and may be back before the call is lost.
    pub fn handle_undelivered(
        &mut self,
        socket: FlowId,
        remote: SocketAddr,
        quote: &[u8],
        now: Instant,
    ) {
        let slots = (socket, remote, 0)..=(socket, remote, u32::MAX);
        let slots = self.unanswered.range(slots).map(|(_, _, slot)| *slot);
        let failed: Vec<u32> = slots.filter(|slot| self.is_undelivered(*slot, quote)).collect();
        for slot in failed {
            self.client_transport_failed(slot, now);
        }
    }

    /// The next bytes to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// The counts so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Shrinks tables that a flood of messages has left almost empty; whether there were such.
    pub fn shrink(&mut self) -> bool {
        let has_passed = self.peak.has_passed(self.len());
        if has_passed {
            self.give_back();
        }
        has_passed
    }

    /// How many transactions exist.
    pub fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// Whether no transaction exists.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The timers in use, for dialogs that follow the same T1.
    pub fn timers(&self) -> &Timers {
        &self.config.timers
    }

    fn is_full(&self) -> bool {
        self.len() >= self.config.transactions_max.min(SLOTS_MAX)
    }

    /// Gives back what a flood has left, once nothing is going on.
    fn shrink_if_empty(&mut self) {
        if self.is_empty() && self.servers.capacity() + self.clients.capacity() > SLOTS_KEPT {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        self.clients.shrink_to_fit();
        self.servers.shrink_to_fit();
        self.client_keys.shrink_to_fit();
        self.server_keys.shrink_to_fit();
        self.merges.shrink_to_fit();
    }

    fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        self.transmits.push_back(Transmit { flow, bytes });
    }
}

/// A slot is named by 32 bits.
const SLOTS_MAX: usize = u32::MAX as usize;

/// The room that an empty table keeps.
const SLOTS_KEPT: usize = 1024;

/// The name of a slot. The bound keeps the cast exact.
fn slot_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
