//! The shard itself: its tables, its clock, and who is visited when.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use rustc_hash::FxHashMap;
use slab::Slab;

use super::{
    command::{LegEvent, LegKind, LegParameters},
    counters::{Discard, LiveCounters, ShardCounters, codec_index},
    leg::{Cold, Leg, Mode, Passage, Plain, Session, Transport, WebRtc},
    listener::SAMPLES_MAX,
    outbound::Outbound,
    pen::Pen,
    schedule::{Deadlines, SLOTS, Slots, TickClock},
    send,
    source::{Earlier, PlainSource},
    transmit::{LegKey, Transmits},
};
use crate::{
    dtls::Configs,
    dtmf::DtmfReceiver,
    ice::{IceCredentials, IceLite},
    rtp::{ReceiveStatistics, Ssrc},
    sdp::OpusParameters,
};

/// What a shard is made with.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// The shard's number, as in [`super::LegId::shard`].
    pub shard: u16,
    /// The prepared DTLS handshakes.
    pub dtls: Configs,
    /// Where the shard's clock begins.
    pub epoch: Instant,
    /// NTP time at `epoch`: seconds since 1900 and a fraction of 32 bits.
    pub ntp_epoch: u64,
    /// ClientHellos that may wait for the ICE check of their address.
    pub early_hellos_max: usize,
    /// Handshake datagrams handled in one tick of 1 ms; the rest waits for the next.
    pub handshakes_per_tick_max: u32,
    /// Handshake datagrams that may wait.
    pub handshakes_waiting_max: usize,
    /// And of one leg, so that nobody takes the place of the others.
    pub handshakes_of_leg_max: usize,
    /// Effort of encoding to Opus what comes from a leg of another codec: 0 (least) to 10 (best).
    pub opus_complexity: u8,
}

impl ShardConfig {
    /// A configuration with the usual bounds.
    pub fn new(shard: u16, dtls: Configs, epoch: Instant, ntp_epoch: u64) -> Self {
        Self {
            shard,
            dtls,
            epoch,
            ntp_epoch,
            early_hellos_max: 64,
            handshakes_per_tick_max: 4,
            handshakes_waiting_max: 512,
            handshakes_of_leg_max: 16,
            opus_complexity: 5,
        }
    }
}

/// A leg to be opened, with what was chosen for it where it was asked for.
#[derive(Clone, Debug)]
pub struct OpenLeg {
    /// The leg's number among all legs of the process.
    pub serial: u64,
    /// What was asked for.
    pub parameters: LegParameters,
    /// The SSRC that it sends with.
    pub ssrc: u32,
    /// Our RTCP canonical name.
    pub cname: String,
    /// The address of ours that a plain peer sends its media to, before any mapping.
    pub local: Option<IpAddr>,
    /// Who spoke to the ports of a plain leg in the calls before.
    pub earlier: Option<Earlier>,
    /// Our ICE credentials; needed by a WebRTC leg.
    pub ice: Option<IceCredentials>,
}

/// The sans-I/O core of one media thread: legs, packets in, packets out, events.
///
/// After every `handle_*`, take the events until there is none and then read
/// [`Shard::poll_timeout`].
pub struct Shard {
    pub(super) config: ShardConfig,
    pub(super) clock: TickClock,
    pub(super) random: StdRng,
    pub(super) legs: Slab<Leg>,
    generation: u32,
    pub(super) by_serial: FxHashMap<u64, LegKey>,
    pub(super) by_address: HashMap<SocketAddr, LegKey>,
    pub(super) by_ufrag: HashMap<String, LegKey>,
    pub(super) slots: Slots,
    pub(super) deadlines: Deadlines,
    pub(super) pen: Pen,
    pub(super) waiting_handshakes: VecDeque<(LegKey, u8, SocketAddr, Box<[u8]>)>,
    /// Handshake datagrams handled in the tick of the first field.
    pub(super) handshakes: (u64, u32),
    pub(super) events: VecDeque<(LegKey, LegEvent)>,
    pub(super) counters: Arc<LiveCounters>,
    next_tick: u64,
    /// Legs that send on what they hear.
    pub(super) relaying: usize,
    /// The audio of a packet in which digits are listened for.
    pub(super) heard: Box<[i16; SAMPLES_MAX]>,
    /// The first tick after the last one whose slot sent something.
    unsent_tick: u64,
}

impl Shard {
    /// An empty shard; `seed` makes its random numbers repeatable in tests.
    pub fn new(config: ShardConfig, seed: u64) -> Self {
        Self {
            clock: TickClock::new(config.epoch),
            random: StdRng::seed_from_u64(seed),
            legs: Slab::new(),
            generation: 0,
            by_serial: FxHashMap::default(),
            by_address: HashMap::new(),
            by_ufrag: HashMap::new(),
            slots: Slots::new(),
            deadlines: Deadlines::default(),
            pen: Pen::new(config.early_hellos_max),
            waiting_handshakes: VecDeque::new(),
            handshakes: (0, 0),
            events: VecDeque::new(),
            counters: Arc::default(),
            next_tick: 0,
            relaying: 0,
            heard: Box::new([0; SAMPLES_MAX]),
            unsent_tick: 0,
            config,
        }
    }

    /// Opens a leg.
    pub fn open(&mut self, open: OpenLeg, now: Instant) -> LegKey {
        let key = LegKey { index: self.legs.vacant_key() as u32, generation: self.generation };
        self.generation = self.generation.wrapping_add(1);
        let transport = match open.parameters.kind {
            LegKind::Plain => {
                let signalling = open.parameters.signalling_remote;
                let source = PlainSource::new(signalling, open.local, open.earlier);
                Transport::Plain(Plain::new(source))
            }
            LegKind::WebRtc => {
                let credentials = open.ice.unwrap_or_else(|| self.ice_credentials());
                self.by_ufrag.insert(credentials.ufrag.clone(), key);
                Transport::WebRtc(WebRtc::new(IceLite::new(credentials, None)))
            }
        };
        let number = self.random.random();
        let timestamp = self.random.random();
        let leg = Leg {
            key,
            serial: open.serial,
            format: None,
            sends: false,
            receives: true,
            is_started: false,
            is_quiet: false,
            in_slot: false,
            has_sent: false,
            has_received: false,
            heard_codec: None,
            codec_since: 0,
            slot: self.slots.assign(),
            allowance: open.parameters.allowance,
            trusts_media: open.parameters.trusts_media,
            takes_events: open.parameters.takes_events,
            passages: 0,
            last_heard: now,
            armed: None,
            mode: Mode::Idle,
            dtmf: None,
            listener: None,
            taps: None,
            outbound: Outbound::new(Ssrc(open.ssrc), number, timestamp),
            inbound: ReceiveStatistics::default(),
            transport,
            cold: Box::new(Cold {
                cname: open.cname,
                opened: now,
                quiet_after: open.parameters.quiet_after,
                starts_at: None,
                farewell: None,
                closed_at: None,
                rtcp_at: None,
                dtmf: DtmfReceiver::default(),
                event_passage: Passage::None,
                other_codecs: Default::default(),
                opus: OpusParameters::default(),
                sender_report: None,
                remote_block: None,
                round_trip: None,
                sent_at_reports: [0; 2],
                discarded: 0,
            }),
        };
        self.counters.leg(leg.kind(), None).add(1);
        self.legs.insert(leg);
        self.by_serial.insert(open.serial, key);
        if let Some(negotiated) = open.parameters.negotiated {
            self.negotiated(key, negotiated, None, now);
        }
        self.arm(key);
        key
    }

    fn ice_credentials(&mut self) -> IceCredentials {
        IceCredentials::random(&mut self.random)
    }

    /// The leg with a number, if it is open here.
    pub fn find(&self, serial: u64) -> Option<LegKey> {
        self.by_serial.get(&serial).copied()
    }

    pub(super) fn leg(&mut self, key: LegKey) -> Option<&mut Leg> {
        self.legs.get_mut(key.index()).filter(|leg| leg.key == key)
    }

    /// Sends the frames of every slot whose time has come, and handles every deadline.
    pub fn handle_timeout(&mut self, now: Instant, transmits: &mut impl Transmits) {
        self.run_slots(now, transmits);
        self.run_waiting_handshakes(now, transmits);
        // No more than were there: one that came due again must not keep the shard from its sockets.
        for _ in 0..self.deadlines.len() {
            let Some((at, key)) = self.deadlines.pop_due(now) else { break };
            let Some(leg) = self.leg(key).filter(|leg| leg.armed == Some(at)) else { continue };
            leg.armed = None;
            self.handle_deadline(key, now, transmits);
            self.arm(key);
        }
        self.forget_deadlines();
    }

    /// Catches up after the thread was held up, but by no more than [`CATCH_UP_MAX`] frames of each
    /// leg: what is older is skipped, and the timestamps say so.
    fn run_slots(&mut self, now: Instant, transmits: &mut impl Transmits) {
        let current = self.clock.tick(now);
        let earliest = (current + 1).saturating_sub(CATCH_UP_MAX * SLOTS as u64);
        let Some(first) = self.next_due(current) else {
            self.next_tick = self.next_tick.max(self.slots.boundary(current) + 1);
            return;
        };
        let lag = now.saturating_duration_since(self.clock.at(self.slots.served(first)));
        self.counters.lag(lag.as_micros() as u64);
        if self.next_tick < earliest {
            self.counters.ticks_skipped.add(earliest - self.next_tick);
            self.next_tick = earliest;
        }
        // Whatever the thread woke for: slots that are served together wait for their turn, so
        // that each leg keeps its distance from frame to frame.
        while let Some(tick) = self.next_due(current) {
            self.next_tick = tick + 1;
            self.unsent_tick = tick + 1;
            self.run_slot(tick, now, transmits);
        }
        self.next_tick = self.next_tick.max(self.slots.boundary(current) + 1);
    }

    /// The next tick with something to send, if it is served by now.
    fn next_due(&self, current: u64) -> Option<u64> {
        self.slots.next_from(self.next_tick).filter(|tick| self.slots.served(*tick) <= current)
    }

    fn run_slot(&mut self, tick: u64, now: Instant, transmits: &mut impl Transmits) {
        let mut members = self.slots.take(tick);
        self.expect_frames(&members, transmits);
        let (legs, events, counters) = (&mut self.legs, &mut self.events, &*self.counters);
        let mut at = 0;
        while let Some(key) = members.get(at).copied() {
            let mut context = send::Context { events, counters, now, at_ms: tick };
            let leg = legs.get_mut(key.index()).filter(|leg| leg.key == key);
            let goes_on = leg.is_some_and(|leg| {
                if leg.wants_slot() {
                    send::frame(leg, &mut context, transmits);
                }
                leg.in_slot = leg.wants_slot();
                leg.in_slot
            });
            if goes_on {
                at += 1;
            } else {
                members.swap_remove(at);
            }
        }
        self.slots.put_back(tick, members);
    }

    /// Gives a leg its turns if it has something to send and may.
    pub(super) fn schedule(&mut self, key: LegKey, now: Instant) {
        let tick = self.clock.tick(now);
        let was_idle = self.slots.is_idle();
        let Some(leg) = self.legs.get_mut(key.index()).filter(|leg| leg.key == key) else { return };
        if leg.wants_slot() && !leg.in_slot {
            leg.in_slot = true;
            self.slots.join(leg.slot, key);
            if was_idle {
                // The first of the legs does not wait for the turn of its slot.
                self.slots.begin(tick + 1);
                let frame_ago = (tick + 2).saturating_sub(SLOTS as u64);
                self.next_tick = frame_ago.max(self.unsent_tick);
            }
        }
    }

    /// When [`Shard::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let slot = self.slots.next_from(self.next_tick);
        let slot = slot.map(|tick| self.clock.at(self.slots.served(tick)));
        let handshakes =
            (!self.waiting_handshakes.is_empty()).then(|| self.clock.at(self.handshakes.0 + 1));
        [slot, handshakes, self.deadlines.next()].into_iter().flatten().min()
    }

    /// Whether frames are sent and nobody waits for what comes in: it can then be read when the
    /// next frames are due.
    pub fn only_plays(&self) -> bool {
        !self.slots.is_idle() && self.relaying == 0
    }

    /// Whether what a leg hears is sent on at once, so that somebody waits for it.
    pub fn relays(&self, key: LegKey) -> bool {
        let leg = self.legs.get(key.index()).filter(|leg| leg.key == key);
        leg.is_some_and(|leg| leg.mode.relays())
    }

    /// The next thing that a leg reports.
    pub fn poll_event(&mut self) -> Option<(LegKey, LegEvent)> {
        self.events.pop_front()
    }

    /// The counters at this moment.
    pub fn counters(&self) -> ShardCounters {
        self.counters.snapshot()
    }

    pub(crate) fn live_counters(&self) -> Arc<LiveCounters> {
        Arc::clone(&self.counters)
    }

    /// Open legs.
    pub fn legs(&self) -> usize {
        self.legs.len()
    }

    /// Every open leg.
    pub fn keys(&self) -> Vec<LegKey> {
        self.legs.iter().map(|(_, leg)| leg.key).collect()
    }

    /// Enters the leg's next deadline if it is earlier than the one entered.
    pub(super) fn arm(&mut self, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key.index()).filter(|leg| leg.key == key) else { return };
        let Some(next) = leg.next_deadline() else { return };
        if leg.armed.is_none_or(|armed| next < armed) {
            leg.armed = Some(next);
            self.deadlines.push(next, key);
        }
    }

    /// Lets the deadlines go that legs have left behind.
    pub(super) fn forget_deadlines(&mut self) {
        let legs = &self.legs;
        let is_open = |key: LegKey| legs.get(key.index()).is_some_and(|leg| leg.key == key);
        self.deadlines.drop_gone(is_open);
    }

    pub(super) fn discard(&mut self, key: LegKey, reason: Discard) {
        self.counters.discard(reason);
        if let Some(leg) = self.leg(key) {
            leg.cold.discarded += 1;
        }
    }

    pub(super) fn event(&mut self, key: LegKey, event: LegEvent) {
        self.events.push_back((key, event));
    }

    /// When a leg that reports about every `mean` does so next: after 0.5 to 1.5 times that (RFC 3550
    /// §6.2), at a moment that others share, so that the thread wakes once for all of them.
    pub(super) fn next_report(&mut self, now: Instant, mean: Duration) -> Instant {
        let factor = 0.5 + f64::from(self.random.next_u32()) / f64::from(u32::MAX);
        let tick = self.clock.tick(now + mean.mul_f64(factor));
        self.clock.at(tick.next_multiple_of(REPORT_TICKS))
    }

    pub(super) fn count_codec(counters: &LiveCounters, codec: crate::codec::Codec, bytes: usize) {
        counters.packets_in[codec_index(codec)].add(1);
        counters.bytes_in[codec_index(codec)].add(bytes as u64);
    }
}

impl WebRtc {
    fn new(ice: IceLite) -> Self {
        let session = Session {
            ice,
            fingerprints: Vec::new(),
            association: None,
            dtls_to: None,
            srtcp: None,
            first_check: None,
            dtls_began: None,
            association_ends: None,
        };
        Self { send_to: None, outbound: None, inbound: None, session: Box::new(session) }
    }
}

/// Frames that a leg may send in a row after the thread was held up.
const CATCH_UP_MAX: u64 = 5;
/// Reports are sent at every hundredth tick at the most.
const REPORT_TICKS: u64 = 100;
