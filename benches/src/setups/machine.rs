//! The loop of a load: places, reads and hangs up, a millisecond at a time.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use transport::{Message, TransportKind, Uri};

use super::{SetUpOptions, SetUpReport, Shared};
use crate::description;
use crate::error::Error;
use crate::net::{self, BATCH, Batch};
use crate::plain_calls::quantile_ms;
use crate::sip_socket::{Received, SipSocket};
use crate::ticks::Ticks;
use crate::uac::{Event, Output, Settings, Uac};

/// All calls of a load and the two sockets they share.
pub(super) struct Machine {
    options: SetUpOptions,
    shared: Arc<Shared>,
    sip: SipSocket,
    settings: Settings,
    rtp: UdpSocket,
    offer: String,
    batch: Batch,
    /// Calls that have not ended; the first one has the number `oldest`.
    calls: VecDeque<Option<Call>>,
    oldest: usize,
    /// Calls that were answered and are to be hung up in the next tick.
    leaving: Vec<usize>,
    run_id: u32,
    setup_ns: Vec<u64>,
    report: SetUpReport,
}

struct Call {
    uac: Uac,
    placed_ns: u64,
    is_answered: bool,
}

impl Machine {
    pub fn new(options: SetUpOptions, shared: Arc<Shared>) -> Result<Machine, Error> {
        let sip = SipSocket::open(options.server)?;
        let (flow, kind) = (*sip.flow(), TransportKind::Udp);
        let address = SocketAddr::new(flow.local.ip(), 0);
        let rtp = net::open(address, RTP_RECEIVE_BYTES).map_err(Error::io("opening a port"))?;
        let offer = description::offer(rtp.local_addr().map_err(Error::io("reading an address"))?);
        let settings = Settings {
            target: Uri::at(Some(&options.number), options.server, kind),
            flow,
            sent_by: flow.local.to_string(),
            contact: Uri::at(Some("bench"), flow.local, kind),
            call_id: String::new(),
        };
        Ok(Machine {
            options,
            shared,
            sip,
            settings,
            rtp,
            offer,
            batch: Batch::new(),
            calls: VecDeque::new(),
            oldest: 0,
            leaving: Vec::new(),
            run_id: rand::random(),
            setup_ns: Vec::new(),
            report: SetUpReport::default(),
        })
    }

    pub fn run(mut self) -> Result<SetUpReport, Error> {
        let mut ticks = Ticks::new();
        loop {
            let mut due = ticks.wait();
            let (now, elapsed) = (Instant::now(), ticks.elapsed());
            self.hang_up(now);
            self.read(now);
            if due.any(|tick| tick.is_multiple_of(TIMEOUT_TICKS)) {
                self.handle_timeouts(now);
            }
            if elapsed < self.options.time {
                self.place(elapsed, now);
            }
            self.sip.flush()?;
            let is_placed = elapsed >= self.options.time;
            if is_placed && (self.calls.is_empty() || elapsed > self.options.time + ENDING_MAX) {
                return Ok(self.conclude());
            }
        }
    }

    /// Who slept too long does not make up for it in one burst, which no buffer would hold.
    fn place(&mut self, elapsed: Duration, now: Instant) {
        let due = (elapsed.as_secs_f64() * self.options.rate) as u64 + 1;
        for _ in 0..due.saturating_sub(self.report.calls).min(BURST_MAX) {
            let index = self.oldest + self.calls.len();
            let call_id = format!("{index}.{:08x}", self.run_id);
            let settings = Settings { call_id, ..self.settings.clone() };
            let (uac, invite) = Uac::invite(settings, self.offer.as_bytes(), now);
            let placed_ns = net::wall_ns();
            self.calls.push_back(Some(Call { uac, placed_ns, is_answered: false }));
            self.report.calls += 1;
            self.shared.placed.fetch_add(1, Ordering::Relaxed);
            self.sip.send(invite);
        }
    }

    fn read(&mut self, now: Instant) {
        for Received { message, arrived_ns, .. } in self.sip.read() {
            let index = message.call_id().split('.').next().and_then(|text| text.parse().ok());
            if let Some(index) = index {
                self.handle_message(index, &message, arrived_ns, now);
            }
        }
        loop {
            let count = self.batch.receive(&self.rtp).unwrap_or(0);
            self.report.packets += count as u64;
            if count < BATCH {
                return;
            }
        }
    }

    fn handle_message(&mut self, index: usize, message: &Message, arrived_ns: u64, now: Instant) {
        let Some(call) = self.call(index) else { return };
        let output = call.uac.handle_message(message, now);
        self.handle_output(index, output, arrived_ns);
    }

    fn handle_output(&mut self, index: usize, output: Output, arrived_ns: u64) {
        if let Some(bytes) = output.transmit {
            self.sip.send(bytes);
        }
        let (Some(event), Some(call)) = (output.event, self.call(index)) else { return };
        let is_answered = call.is_answered;
        match event {
            Event::Answered(_) => {
                call.is_answered = true;
                let placed_ns = call.placed_ns;
                self.setup_ns.push(arrived_ns.saturating_sub(placed_ns));
                self.report.answered += 1;
                return self.leaving.push(index);
            }
            Event::Ended => self.report.ended += 1,
            Event::HungUp => self.report.hung_up += 1,
            Event::TimedOut if is_answered => self.report.bye_lost += 1,
            Event::TimedOut => self.fail(0),
            Event::Refused(status) => self.fail(status),
        }
        let sum = if event == Event::Ended { &self.shared.ended } else { &self.shared.failed };
        sum.fetch_add(1, Ordering::Relaxed);
        self.forget(index);
    }

    fn fail(&mut self, status: u16) {
        self.report.failed += 1;
        *self.report.failures.entry(status).or_default() += 1;
    }

    /// Ends what the last tick saw answered: its ACK is on the way.
    fn hang_up(&mut self, now: Instant) {
        for index in std::mem::take(&mut self.leaving) {
            if let Some(bye) = self.call(index).and_then(|call| call.uac.bye(now)) {
                self.sip.send(bye);
            }
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        for index in self.oldest..self.oldest + self.calls.len() {
            let Some(call) = self.call(index) else { continue };
            if call.uac.poll_timeout().is_some_and(|at| at <= now) {
                let output = call.uac.handle_timeout(now);
                self.handle_output(index, output, 0);
            }
        }
    }

    fn call(&mut self, index: usize) -> Option<&mut Call> {
        self.calls.get_mut(index.checked_sub(self.oldest)?)?.as_mut()
    }

    fn forget(&mut self, index: usize) {
        let Some(place) =
            index.checked_sub(self.oldest).and_then(|place| self.calls.get_mut(place))
        else {
            return;
        };
        if let Some(call) = place.take() {
            self.report.retransmissions += u64::from(call.uac.retransmissions());
        }
        while let Some(None) = self.calls.front() {
            self.calls.pop_front();
            self.oldest += 1;
        }
    }

    fn conclude(mut self) -> SetUpReport {
        for index in self.oldest..self.oldest + self.calls.len() {
            if let Some(call) = self.call(index) {
                if call.is_answered {
                    self.report.bye_lost += 1
                } else {
                    self.fail(0)
                }
                self.forget(index);
            }
        }
        let setup = &mut self.setup_ns;
        SetUpReport {
            setup_p50_ms: quantile_ms(setup, 0.5),
            setup_p99_ms: quantile_ms(setup, 0.99),
            setup_max_ms: quantile_ms(setup, 1.0),
            ..self.report
        }
    }
}

/// Timers of SIP are coarse: calls are looked at a hundred times a second.
const TIMEOUT_TICKS: u64 = 10;
const BURST_MAX: u64 = 16;
/// As long as a request is sent again.
const ENDING_MAX: Duration = Duration::from_secs(33);
const RTP_RECEIVE_BYTES: usize = 1 << 20;
