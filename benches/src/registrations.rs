//! Many users who register and refresh, each from a port of its own, as fast as the server answers
//! a bounded number of them at once.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use transport::{Flow, FlowId, Framing, Limits, Message, TransportKind};

use crate::digest::Account;
use crate::error::Error;
use crate::net::{self, Batch, Poller};
use crate::plain_calls::quantile_ms;
use crate::registrant::{Event, Output, Registrant};

/// What load to make.
#[derive(Debug, Clone)]
pub struct RegistrationOptions {
    /// The server's UDP listener.
    pub server: SocketAddr,
    /// Who registers.
    pub accounts: Vec<Account>,
    /// Registrations under way at once.
    pub outstanding_max: usize,
}

/// A load that runs in a thread of its own.
pub struct RegistrationLoad {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<RegistrationReport, Error>>,
}

/// What came of a load.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RegistrationReport {
    /// Registrations that began with a challenge.
    pub challenged: Answered,
    /// Registrations that used an earlier challenge again.
    pub refreshed: Answered,
    /// Refusals by status; 0 is no answer at all.
    pub failures: BTreeMap<u16, u64>,
    /// Requests sent again.
    pub retransmissions: u64,
}

/// Registrations of one kind.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Answered {
    /// How many.
    pub count: u64,
    /// Milliseconds from the first REGISTER to 200.
    pub p50_ms: f64,
    /// Milliseconds from the first REGISTER to 200.
    pub p99_ms: f64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    is_refreshing: AtomicBool,
    registered: AtomicU64,
    failed: AtomicU64,
}

impl RegistrationLoad {
    /// Starts registering, each time with a new challenge.
    ///
    /// # Errors
    /// [`Error::Io`] when a socket cannot be opened.
    pub fn start(options: RegistrationOptions) -> Result<RegistrationLoad, Error> {
        let shared = Arc::new(Shared::default());
        let machine = Machine::new(options, Arc::clone(&shared))?;
        let thread = thread::Builder::new()
            .name("registrations".to_owned())
            .spawn(move || machine.run())
            .map_err(Error::io("starting a thread"))?;
        Ok(RegistrationLoad { shared, thread })
    }

    /// From now on challenges are used again.
    pub fn refresh(&self) {
        self.shared.is_refreshing.store(true, Ordering::Relaxed);
    }

    /// Registrations so far.
    #[must_use]
    pub fn registered(&self) -> u64 {
        self.shared.registered.load(Ordering::Relaxed)
    }

    /// Registrations that were refused, or not answered.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Registers no more.
    ///
    /// # Errors
    /// [`Error::Io`] when a socket failed, [`Error::ThreadLost`] when the thread panicked.
    pub fn stop(self) -> Result<RegistrationReport, Error> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Error::ThreadLost)?
    }
}

struct Machine {
    server: SocketAddr,
    outstanding_max: usize,
    shared: Arc<Shared>,
    poller: Poller,
    batch: Batch,
    limits: Limits,
    users: Vec<User>,
    idle: VecDeque<usize>,
    /// Nanoseconds, of registrations with a challenge and without.
    taken_ns: [Vec<u64>; 2],
    report: RegistrationReport,
}

struct User {
    registrant: Registrant,
    socket: UdpSocket,
    placed_ns: u64,
    is_refresh: bool,
}

impl Machine {
    fn new(options: RegistrationOptions, shared: Arc<Shared>) -> Result<Machine, Error> {
        let RegistrationOptions { server, accounts, outstanding_max } = options;
        let poller = Poller::new(READY_MAX).map_err(Error::io("opening epoll"))?;
        let mut users = Vec::with_capacity(accounts.len());
        for (index, account) in accounts.into_iter().enumerate() {
            let socket = net::open(SocketAddr::new(server.ip(), 0), RECEIVE_BYTES)
                .map_err(Error::io("opening a socket"))?;
            let local = socket.local_addr().map_err(Error::io("reading an address"))?;
            poller.add(&socket, index as u64).map_err(Error::io("watching a socket"))?;
            let flow = Flow { id: FlowId(0), kind: TransportKind::Udp, local, remote: server };
            let registrant = Registrant::new(account, flow);
            users.push(User { registrant, socket, placed_ns: 0, is_refresh: false });
        }
        Ok(Machine {
            server,
            outstanding_max,
            shared,
            poller,
            batch: Batch::new(),
            limits: Limits::default(),
            idle: (0..users.len()).collect(),
            users,
            taken_ns: [Vec::new(), Vec::new()],
            report: RegistrationReport::default(),
        })
    }

    fn run(mut self) -> Result<RegistrationReport, Error> {
        let mut look_at = Instant::now();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            self.begin(now)?;
            let ready = self.poller.ready().map_err(Error::io("polling"))?.to_vec();
            if ready.is_empty() {
                thread::sleep(PAUSE);
            }
            for token in ready {
                self.read(usize::try_from(token).unwrap_or(usize::MAX), now)?;
            }
            if look_at <= now {
                look_at = now + LOOK_EVERY;
                self.handle_timeouts(now)?;
            }
        }
        Ok(self.conclude())
    }

    /// Those who have waited longest register, as long as there is room.
    fn begin(&mut self, now: Instant) -> Result<(), Error> {
        let is_refresh = self.shared.is_refreshing.load(Ordering::Relaxed);
        while self.users.len() - self.idle.len() < self.outstanding_max {
            let Some(index) = self.idle.pop_front() else { break };
            let Some(user) = self.users.get_mut(index) else { break };
            if !is_refresh {
                user.registrant.forget_challenge();
            }
            user.is_refresh = is_refresh;
            let bytes = user.registrant.register(now);
            user.placed_ns = net::wall_ns();
            send(&user.socket, &bytes, self.server)?;
        }
        Ok(())
    }

    fn read(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        let Some(user) = self.users.get_mut(index) else { return Ok(()) };
        // Connection refused is an ICMP message about an earlier datagram: the timers see to it.
        let count = self.batch.receive(&user.socket).unwrap_or(0);
        let mut outputs = Vec::with_capacity(count);
        for datagram in self.batch.datagrams(count) {
            let bytes = Bytes::copy_from_slice(datagram.bytes);
            if let Ok(message) = Message::parse(bytes, Framing::Datagram, &self.limits) {
                let output = user.registrant.handle_message(&message, now);
                outputs.push((output, datagram.arrived_ns));
            }
        }
        outputs.into_iter().try_for_each(|(output, at)| self.handle_output(index, output, at))
    }

    fn handle_timeouts(&mut self, now: Instant) -> Result<(), Error> {
        for index in 0..self.users.len() {
            let Some(user) = self.users.get_mut(index) else { break };
            if user.registrant.poll_timeout().is_some_and(|at| at <= now) {
                let output = user.registrant.handle_timeout(now);
                self.handle_output(index, output, 0)?;
            }
        }
        Ok(())
    }

    fn handle_output(&mut self, index: usize, output: Output, at_ns: u64) -> Result<(), Error> {
        let Some(user) = self.users.get_mut(index) else { return Ok(()) };
        if let Some(bytes) = output.transmit {
            send(&user.socket, &bytes, self.server)?;
        }
        let Some(event) = output.event else { return Ok(()) };
        let (is_refresh, placed_ns) = (user.is_refresh, user.placed_ns);
        self.idle.push_back(index);
        match event {
            Event::Registered => {
                self.shared.registered.fetch_add(1, Ordering::Relaxed);
                let [challenged, refreshed] = &mut self.taken_ns;
                let taken_ns = if is_refresh { refreshed } else { challenged };
                taken_ns.push(at_ns.saturating_sub(placed_ns));
            }
            Event::Refused(status) => self.fail(status),
            Event::TimedOut => self.fail(0),
        }
        Ok(())
    }

    fn fail(&mut self, status: u16) {
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
        *self.report.failures.entry(status).or_default() += 1;
    }

    fn conclude(self) -> RegistrationReport {
        let [challenged, refreshed] = self.taken_ns.map(|mut taken_ns| Answered {
            count: taken_ns.len() as u64,
            p50_ms: quantile_ms(&mut taken_ns, 0.5),
            p99_ms: quantile_ms(&mut taken_ns, 0.99),
        });
        let again = self.users.iter().map(|user| u64::from(user.registrant.retransmissions()));
        RegistrationReport { challenged, refreshed, retransmissions: again.sum(), ..self.report }
    }
}

fn send(socket: &UdpSocket, bytes: &[u8], server: SocketAddr) -> Result<(), Error> {
    match socket.send_to(bytes, server) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => {
            Err(Error::io("sending SIP")(error))
        }
        _ => Ok(()),
    }
}

const READY_MAX: usize = 1024;
const RECEIVE_BYTES: usize = 1 << 16;
/// As short as a sleep gets, so that the server rarely waits for us.
const PAUSE: Duration = Duration::from_micros(50);
const LOOK_EVERY: Duration = Duration::from_millis(50);
