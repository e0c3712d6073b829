//! The thread of one shard: waits, receives, lets the shard work, sends.

mod asked;

use std::{
    io,
    os::fd::AsFd,
    sync::{Arc, atomic::Ordering, mpsc::Receiver as Queue},
    time::{Duration, Instant},
};

use socket2::Socket;

use super::{
    control::{Control, Open, ShardLink},
    outbox::Outbox,
    pace::{FRAME, Pace, Reads},
    ports::PortPair,
    readers::{Reader, Readers},
    ring::RingReceiver,
    rounds::Rounds,
    sys::{BATCH, EVENTS_MAX, Epoll, Receiver, Timer},
    token::Token,
};
use crate::shard::{Command, LegEvent, LegKey, Path, Shard};

/// Everything that the thread of a shard owns.
pub(super) struct ShardThread {
    shard: Shard,
    link: Arc<ShardLink>,
    queue: Queue<Control>,
    ring: RingReceiver,
    outbox: Outbox,
    /// The waker, the timer, and `sockets` while a datagram is to wake the thread.
    control: Epoll,
    sockets: Epoll,
    /// Whether `control` watches `sockets`.
    is_watching: bool,
    timer: Timer,
    timer_set: Option<Instant>,
    has_fired: bool,
    receiver: Receiver,
    pace: Pace,
    /// Until then a datagram wakes the thread although legs only play.
    attentive_until: Instant,
    /// Datagrams since the last wait.
    received: usize,
    /// How each leg's own sockets are read.
    reads: Vec<Reads>,
    rounds: Rounds,
    /// Legs whose turn it is to be asked.
    due: Vec<LegKey>,
    /// Legs whose packets are about to be handled.
    expected: Vec<LegKey>,
    /// The paths of the datagrams that were received and are to be handled, by their places.
    arrived: Vec<Path>,
    /// Sockets that may hold more than was read at this turn.
    unread: Vec<u64>,
    /// More sockets may have something than were reported at this turn.
    has_more: bool,
    readers: Readers,
    tokens: Vec<u64>,
    is_ending: bool,
}

/// Marks the shard as dead however its thread ends.
struct Alive(Arc<ShardLink>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.is_alive.store(false, Ordering::Release);
    }
}

impl ShardThread {
    pub(super) fn new(
        shard: Shard,
        link: Arc<ShardLink>,
        queue: Queue<Control>,
        ring: RingReceiver,
        outbox: Outbox,
    ) -> io::Result<Self> {
        let (control, sockets, timer) = (Epoll::new()?, Epoll::new()?, Timer::new()?);
        control.add_arrivals(&*link.waker, Token::Waker.pack())?;
        control.add(&timer, Token::Timer.pack())?;
        control.add(&sockets, Token::Sockets.pack())?;
        for (at, socket) in outbox.shared().iter().enumerate() {
            sockets.add(socket, Token::Shared(at as u8).pack())?;
        }
        Ok(Self {
            shard,
            link,
            queue,
            ring,
            outbox,
            control,
            sockets,
            is_watching: true,
            timer,
            timer_set: None,
            has_fired: false,
            receiver: Receiver::new(),
            pace: Pace::new(Instant::now()),
            attentive_until: Instant::now(),
            received: 0,
            reads: Vec::new(),
            rounds: Rounds::new(Instant::now()),
            due: Vec::new(),
            expected: Vec::with_capacity(BATCH),
            arrived: Vec::with_capacity(BATCH),
            unread: Vec::with_capacity(256),
            has_more: false,
            readers: Readers::default(),
            tokens: Vec::with_capacity(256),
            is_ending: false,
        })
    }

    /// Runs until it is told to end.
    pub(super) fn run(mut self) {
        let _alive = Alive(Arc::clone(&self.link));
        while !self.is_ending {
            // Nothing of ours can be wrong with these calls; without them there is no way to go on.
            if self.wait().is_err() {
                break;
            }
            self.received = 0;
            // Whoever commanded us may have put off waking us.
            if self.link.is_pending.load(Ordering::Acquire) {
                self.take_commands();
            }
            let now = Instant::now();
            self.ask_due(now);
            for at in 0..self.tokens.len() {
                self.ready(Token::unpack(self.tokens[at]), now);
            }
            self.handle_arrived();
            self.work();
        }
    }

    /// Waits for what is to be done next, and finds out which sockets have datagrams.
    fn wait(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let gather = self.gather(now);
        self.watch(gather.is_zero())?;
        let block = self.unread.is_empty() && !self.has_more && self.set_timer(now, gather) && {
            self.link.may_sleep(self.timer_set.is_some_and(|next| next <= now + FRAME))
        };
        self.tokens.clear();
        self.tokens.append(&mut self.unread);
        self.tokens.extend(self.control.wait(block)?);
        let sockets = Token::Sockets.pack();
        self.has_more = false;
        if !self.is_watching || self.tokens.contains(&sockets) {
            self.tokens.retain(|token| *token != sockets);
            let before = self.tokens.len();
            self.tokens.extend(self.sockets.wait(false)?);
            self.has_more = self.tokens.len() - before == EVENTS_MAX;
        }
        Ok(())
    }

    /// How long datagrams may gather: waking for each of them costs more than all that is done with
    /// it. Where legs only play, until the next frames are due; where many datagrams come, for a
    /// little; and not at all for a while after a leg was opened, whose set-up is waited for.
    fn gather(&mut self, now: Instant) -> Duration {
        let dense = self.pace.pause(self.received, now);
        if now >= self.attentive_until && self.shard.only_plays() {
            FRAME
        } else if self.pace.is_dense() && self.rounds.has_relays() {
            self.rounds.quarter_ends(now).saturating_duration_since(now)
        } else {
            dense
        }
    }

    /// Whether a datagram wakes the thread.
    fn watch(&mut self, wanted: bool) -> io::Result<()> {
        if wanted != std::mem::replace(&mut self.is_watching, wanted) {
            match wanted {
                true => self.control.add(&self.sockets, Token::Sockets.pack())?,
                false => self.control.remove(&self.sockets)?,
            }
        }
        Ok(())
    }

    /// Arms the timer for the shard's next deadline, or for the end of gathering; `false` when that
    /// has already passed.
    fn set_timer(&mut self, now: Instant, gather: Duration) -> bool {
        let gathered = (!gather.is_zero()).then(|| now + gather);
        let (shard, rounds) = (self.shard.poll_timeout(), self.rounds.poll_timeout());
        let next = [shard, rounds, gathered].into_iter().flatten().min();
        if next.is_some_and(|next| next <= now) {
            return false;
        }
        if self.has_fired || next != self.timer_set {
            let delay = next.map(|next| next.saturating_duration_since(now));
            // Should the system refuse, the thread spins instead of falling silent.
            if self.timer.set(delay).is_err() {
                return false;
            }
            self.timer_set = next;
            self.has_fired = false;
        }
        true
    }

    fn ready(&mut self, token: Token, now: Instant) {
        match token {
            Token::Waker => self.woken(),
            // What it fired for is done by `work`; setting it anew takes back the readiness.
            Token::Timer => self.has_fired = true,
            // What these have is in the tokens after this one.
            Token::Sockets => {}
            Token::Shared(socket) => self.receive_shared(socket),
            Token::Rtp(key) => self.receive_own(token, key, now, |pair| Some(&pair.rtp)),
            Token::Rtcp(key) => self.receive_own(token, key, now, |pair| Some(&pair.rtcp)),
            Token::Steady(key) => self.receive_own(token, key, now, |pair| pair.steady.socket()),
        }
    }

    /// Lets the shard do what is due, sends what came of it and passes events on.
    fn work(&mut self) {
        let now = Instant::now();
        if self.shard.poll_timeout().is_some_and(|due| due <= now) {
            self.shard.handle_timeout(now, &mut self.outbox);
        }
        self.outbox.flush();
        self.read_fresh();
        self.pass_events();
    }

    fn receive_shared(&mut self, socket: u8) {
        self.handle_arrived();
        for _ in 0..BATCHES_PER_TURN {
            let Some(shared) = self.outbox.shared().get(usize::from(socket)) else { return };
            let Ok(count) = self.receiver.receive(shared.as_fd()) else { return };
            let now = Instant::now();
            self.received += count;
            self.expected.clear();
            for at in 0..count {
                let from = self.receiver.datagram(at).map(|(from, _)| from);
                self.expected.extend(from.and_then(|from| self.shard.at_address(from)));
            }
            self.shard.expect_packets(&self.expected, &self.outbox);
            for at in 0..count {
                if let Some((from, buffer)) = self.receiver.datagram(at) {
                    let path = Path::Shared(socket);
                    self.shard.handle_packet(path, from, buffer, now, &mut self.outbox);
                }
            }
            if count < BATCH {
                return;
            }
            self.work();
        }
        self.unread.push(Token::Shared(socket).pack());
    }

    /// Receives what a leg's own socket has.
    fn receive_own(
        &mut self,
        token: Token,
        key: LegKey,
        now: Instant,
        socket: impl Fn(&PortPair) -> Option<&Socket>,
    ) {
        let path = if let Token::Rtcp(_) = token { Path::Rtcp(key) } else { Path::Rtp(key) };
        let Some(reads) = self.reads.get_mut(key.index()) else { return };
        let is_one = path == Path::Rtp(key) && reads.expects_one(now) && self.pace.is_dense();
        let is_regular = reads.is_regular();
        let max = if is_one { 1 } else { DATAGRAMS_PER_TURN };
        let count = self.receive_up_to(max, path, socket).unwrap_or(0);
        if count == DATAGRAMS_PER_TURN {
            self.unread.push(token.pack());
        }
        if is_regular && matches!(token, Token::Steady(_)) {
            self.ask_leg(key, now);
        }
    }

    /// Receives some of what a socket of a leg has, to be handled when there is a batch of such;
    /// `None`: there is no such socket.
    fn receive_up_to(
        &mut self,
        max: usize,
        path: Path,
        socket: impl Fn(&PortPair) -> Option<&Socket>,
    ) -> Option<usize> {
        let (Path::Rtp(key) | Path::Rtcp(key)) = path else { return None };
        let (mut count, mut max) = (0, max);
        while count < max {
            if self.arrived.len() == BATCH {
                self.handle_arrived();
                self.work();
            }
            let socket = self.outbox.pair(key).and_then(&socket)?;
            match self.receiver.receive_one(self.arrived.len(), socket.as_fd()) {
                Ok(bytes) => {
                    self.arrived.push(path);
                    // An event's packets come close together, or beside those of the voice.
                    if bytes <= SHORT_BYTES {
                        max = DATAGRAMS_PER_TURN;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // That something of ours did not arrive is told in the place of a datagram.
                Err(_) => {}
            }
            count += 1;
        }
        Some(count)
    }

    /// Hands the datagrams of legs' own sockets to the shard.
    fn handle_arrived(&mut self) {
        let now = Instant::now();
        self.received += self.arrived.len();
        self.expected.clear();
        self.expected.extend(self.arrived.iter().filter_map(|path| path.leg()));
        self.shard.expect_packets(&self.expected, &self.outbox);
        for (at, path) in self.arrived.drain(..).enumerate() {
            if let Some((from, buffer)) = self.receiver.datagram(at) {
                self.shard.handle_packet(path, from, buffer, now, &mut self.outbox);
            }
        }
    }

    /// Commands come before packets of other shards: what a caller did first has then happened first,
    /// on whatever shards.
    fn woken(&mut self) {
        self.ring.begin();
        self.take_commands();
        let now = Instant::now();
        while let Some(packet) = self.ring.pop() {
            let (serial, media) = (packet.serial, packet.media());
            self.shard.handle_forwarded(serial, &media, now, &mut self.outbox);
        }
    }

    fn take_commands(&mut self) {
        // What is commanded from now on wakes again.
        self.link.looks();
        while let Ok(control) = self.queue.try_recv() {
            match control {
                Control::Open(open) => self.open(*open),
                Control::Command(serial, command) => {
                    if let Some(key) = self.shard.find(serial) {
                        let now = Instant::now();
                        self.shard.handle_command(key, command, now, &mut self.outbox);
                        // What it now relays is waited for, and what it does not is not.
                        if self.rounds.relays(key).is_some_and(|was| was != self.shard.relays(key))
                        {
                            self.watch_leg(key);
                        }
                    }
                }
                Control::Shutdown => self.end(),
            }
        }
        if self.link.must_sweep.swap(false, Ordering::AcqRel) {
            self.close_all(self.readers.dropped());
        }
    }

    fn open(&mut self, open: Open) {
        // The new leg may get the place of one whose last events still wait.
        self.pass_events();
        let now = Instant::now();
        self.attentive_until = now + ATTENTIVE;
        let key = self.shard.open(open.leg, now);
        if let Some(pair) = open.pair {
            let added = self
                .sockets
                .add_arrivals(&pair.rtp, Token::Rtp(key).pack())
                .and_then(|()| self.sockets.add_arrivals(&pair.rtcp, Token::Rtcp(key).pack()));
            self.outbox.add(key, pair);
            if added.is_err() {
                self.shard.handle_command(key, Command::Close, Instant::now(), &mut self.outbox);
            }
        }
        if self.reads.len() <= key.index() {
            self.reads.resize_with(key.index() + 1, Reads::default);
        }
        self.reads[key.index()] = Reads::default();
        let Open { events, is_dropped, permit, .. } = open;
        self.readers.insert(Reader::new(key, events, is_dropped, permit));
    }

    fn end(&mut self) {
        self.is_ending = true;
        self.close_all(self.readers.keys());
        self.outbox.flush();
    }

    fn close_all(&mut self, keys: Vec<LegKey>) {
        for key in keys {
            self.shard.handle_command(key, Command::Close, Instant::now(), &mut self.outbox);
        }
        self.pass_events();
    }

    /// Hands events to their readers; what a leg had is given back after its last one.
    fn pass_events(&mut self) {
        while let Some((key, event)) = self.shard.poll_event() {
            let Some(reader) = self.readers.get(key) else { continue };
            let is_last = matches!(event, LegEvent::Closed(_));
            if !reader.tell(event) {
                self.link.counters.events_dropped.add(1);
            }
            if is_last {
                self.readers.remove(key);
                self.outbox.remove(key);
            }
        }
    }
}

/// Batches taken from one shared socket before others have their turn.
const BATCHES_PER_TURN: usize = 4;
/// Datagrams taken from one leg's socket before others have their turn.
const DATAGRAMS_PER_TURN: usize = 16;
/// Datagrams no longer than this hold an event (RFC 4733), comfort noise or next to nothing.
const SHORT_BYTES: usize = 48;
/// How long after a leg was opened, or changed, its set-up is waited for.
const ATTENTIVE: Duration = Duration::from_secs(2);
