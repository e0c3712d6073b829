//! The loop of a load: places, reads, talks and hangs up, a millisecond at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use transport::{Message, TransportKind, Uri};

use super::leg::{self, Leg};
use super::{PlainOptions, PlainReport, Shared, quantile_ms};
use crate::description;
use crate::error::Error;
use crate::net::{self, Batch, Poller};
use crate::sip_socket::{Received, SipSocket};
use crate::stream::Pacing;
use crate::ticks::{FRAME_TICKS, Ticks};
use crate::uac::{Event, Output, Settings, Uac};

/// All calls of a load and the sockets they use.
pub(super) struct Machine {
    options: PlainOptions,
    shared: Arc<Shared>,
    sip: SipSocket,
    poller: Poller,
    ready: Vec<u64>,
    batch: Batch,
    legs: Vec<Leg>,
    /// Legs below this index are over, which keeps a long test of short calls cheap.
    oldest: usize,
    run_id: u32,
    pacing: Pacing,
    setup_ns: Vec<u64>,
    echo_ns: Vec<u64>,
    report: PlainReport,
}

impl Machine {
    pub fn new(options: PlainOptions, shared: Arc<Shared>) -> Result<Machine, Error> {
        let sip = SipSocket::open(options.server)?;
        let poller = Poller::new(READY_MAX).map_err(Error::io("opening epoll"))?;
        poller.add(sip.socket(), SIP_TOKEN).map_err(Error::io("watching the SIP socket"))?;
        Ok(Machine {
            legs: Vec::with_capacity(options.calls),
            options,
            shared,
            sip,
            poller,
            ready: Vec::with_capacity(READY_MAX),
            batch: Batch::new(),
            oldest: 0,
            run_id: rand::random(),
            pacing: Pacing::new(),
            setup_ns: Vec::new(),
            echo_ns: Vec::new(),
            report: PlainReport::default(),
        })
    }

    pub fn run(&mut self) -> Result<PlainReport, Error> {
        let mut ticks = Ticks::new();
        let mut stopped_at: Option<Instant> = None;
        loop {
            let due = ticks.wait();
            let (now, elapsed) = (Instant::now(), ticks.elapsed());
            if stopped_at.is_none()
                && (self.shared.stop.load(Ordering::Relaxed) || elapsed > self.options.time_max)
            {
                stopped_at = Some(now);
            }
            self.read(now)?;
            self.handle_timeouts(*due.end(), now);
            match stopped_at {
                Some(_) => self.hang_up(now),
                None => self.place(elapsed, now)?,
            }
            self.sip.flush()?;
            let is_late = stopped_at.is_some_and(|at| now - at > ENDING_MAX);
            let is_placed = self.options.hold.is_some() && self.legs.len() == self.options.calls;
            if is_late || (stopped_at.is_some() || is_placed) && self.is_done() {
                return Ok(self.conclude());
            }
            if self.options.is_talking {
                due.for_each(|tick| self.talk(tick));
            }
        }
    }

    fn place(&mut self, elapsed: Duration, now: Instant) -> Result<(), Error> {
        let due = (elapsed.as_secs_f64() * self.options.rate) as usize + 1;
        while self.legs.len() < due.min(self.options.calls) {
            let index = self.legs.len();
            let local = SocketAddr::new(self.sip.flow().local.ip(), 0);
            let (rtp, rtcp) = net::open_pair(local).map_err(Error::io("opening media ports"))?;
            self.poller.add(&rtp, token(index, 1)).map_err(Error::io("watching a socket"))?;
            self.poller.add(&rtcp, token(index, 2)).map_err(Error::io("watching a socket"))?;
            let offer = description::offer(
                rtp.local_addr().map_err(Error::io("reading a socket's address"))?,
            );
            let (uac, invite) = Uac::invite(self.settings(index), offer.as_bytes(), now);
            self.legs.push(Leg::new(uac, rtp, rtcp, net::wall_ns()));
            self.shared.placed.fetch_add(1, Ordering::Relaxed);
            self.sip.send(invite);
        }
        Ok(())
    }

    fn settings(&self, index: usize) -> Settings {
        let (flow, kind) = (*self.sip.flow(), TransportKind::Udp);
        Settings {
            target: Uri::at(Some(&self.options.number), self.options.server, kind),
            flow,
            sent_by: flow.local.to_string(),
            contact: Uri::at(Some("bench"), flow.local, kind),
            call_id: format!("{index}.{:08x}", self.run_id),
        }
    }

    fn read(&mut self, now: Instant) -> Result<(), Error> {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        ready.extend_from_slice(self.poller.ready().map_err(Error::io("polling"))?);
        for &token in &ready {
            match (token, token % 2) {
                (SIP_TOKEN, _) => self.read_sip(now),
                (_, 1) => self.read_rtp(index(token)),
                (_, _) => self.read_rtcp(index(token)),
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn read_sip(&mut self, now: Instant) {
        for Received { message, arrived_ns, .. } in self.sip.read() {
            self.handle_message(&message, arrived_ns, now);
        }
    }

    fn handle_message(&mut self, message: &Message, arrived_ns: u64, now: Instant) {
        let index = message.call_id().split('.').next().and_then(|text| text.parse().ok());
        let Some((index, leg)) =
            index.and_then(|index: usize| Some((index, self.legs.get_mut(index)?)))
        else {
            return;
        };
        let output = leg.uac.handle_message(message, now);
        self.handle_output(index, output, arrived_ns, now);
    }

    fn handle_output(&mut self, index: usize, output: Output, arrived_ns: u64, now: Instant) {
        if let Some(bytes) = output.transmit {
            self.sip.send(bytes);
        }
        let (Some(event), Some(leg)) = (output.event, self.legs.get_mut(index)) else {
            return;
        };
        match event {
            Event::Answered(answer) => {
                leg.answered(&answer, arrived_ns);
                leg.leave_at = self.options.hold.map(|hold| now + hold);
                self.setup_ns.push(arrived_ns.saturating_sub(leg.placed_ns));
                self.report.answered += 1;
                self.shared.answered.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Event::Refused(status) => self.fail(status),
            Event::TimedOut if leg.answered_ns.is_some() => self.report.bye_lost += 1,
            Event::TimedOut => self.fail(0),
            Event::HungUp => self.report.hung_up += 1,
            Event::Ended => self.report.ended += 1,
        }
        self.close(index);
    }

    fn fail(&mut self, status: u16) {
        *self.report.failures.entry(status).or_default() += 1;
        self.report.failed += 1;
        self.shared.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds up what a leg received and closes its sockets.
    fn close(&mut self, index: usize) {
        let Some(leg) = self.legs.get_mut(index) else { return };
        if leg.answered_ns.is_some() && leg.sockets.take().is_some() {
            self.shared.ended.fetch_add(1, Ordering::Relaxed);
        }
        leg.sockets = None;
        while self.legs.get(self.oldest).is_some_and(|leg| leg.uac.is_over()) {
            self.oldest += 1;
        }
    }

    fn read_rtp(&mut self, index: usize) {
        let Machine { legs, batch, pacing, echo_ns, report, .. } = self;
        let Some(leg) = legs.get_mut(index) else { return };
        let Some((rtp, _)) = &leg.sockets else { return };
        let count = batch.receive(rtp).unwrap_or(0);
        let before = leg.stream.received();
        for datagram in batch.datagrams(count) {
            report.other_source += u64::from(leg.remote.is_some() && datagram.from != leg.remote);
            let is_new = leg.stream.handle_datagram(datagram.bytes, pacing, datagram.arrived_ns);
            if is_new && leg.first_ns.is_none() {
                leg.first_ns = Some(datagram.arrived_ns);
            }
            if self.options.is_talking
                && let Some(sent_ns) = leg::sent_ns(datagram.bytes, datagram.arrived_ns)
                && echo_ns.len() < ECHOES_MAX
            {
                echo_ns.push(datagram.arrived_ns - sent_ns);
            }
        }
        self.shared.packets.fetch_add(leg.stream.received() - before, Ordering::Relaxed);
    }

    fn read_rtcp(&mut self, index: usize) {
        let Some(Some((_, rtcp))) = self.legs.get(index).map(|leg| &leg.sockets) else { return };
        self.report.rtcp += self.batch.receive(rtcp).unwrap_or(0) as u64;
    }

    /// Legs are looked at once in ten milliseconds: SIP timers are coarse.
    fn handle_timeouts(&mut self, tick: u64, now: Instant) {
        if !tick.is_multiple_of(10) && self.options.hold.is_none() {
            return;
        }
        for index in self.oldest..self.legs.len() {
            let Some(leg) = self.legs.get_mut(index) else { break };
            if leg.leave_at.is_some_and(|at| at <= now)
                && let Some(bye) = leg.uac.bye(now)
            {
                self.sip.send(bye);
            } else if leg.uac.poll_timeout().is_some_and(|at| at <= now) {
                let output = leg.uac.handle_timeout(now);
                self.handle_output(index, output, net::wall_ns(), now);
            }
        }
    }

    /// Sends a few BYEs; all at once would overflow the server's socket and measure its luck.
    fn hang_up(&mut self, now: Instant) {
        let mut left = BYES_PER_TICK;
        for index in self.oldest..self.legs.len() {
            let Some(leg) = self.legs.get_mut(index).filter(|leg| leg.uac.is_up()) else {
                continue;
            };
            if let Some(bye) = leg.uac.bye(now) {
                self.sip.send(bye);
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
    }

    /// Sends the packets of the legs whose turn it is: every leg once in twenty ticks.
    fn talk(&mut self, tick: u64) {
        let slot = usize::try_from(tick % FRAME_TICKS).unwrap_or(0);
        for leg in self
            .legs
            .iter_mut()
            .skip(slot)
            .step_by(FRAME_TICKS as usize)
            .filter(|leg| leg.uac.is_up())
        {
            self.report.sent += u64::from(leg.talk(net::wall_ns()));
        }
    }

    fn is_done(&self) -> bool {
        self.legs.iter().skip(self.oldest).all(|leg| leg.uac.is_over())
    }

    fn conclude(&mut self) -> PlainReport {
        let mut media_ns = Vec::new();
        for leg in &self.legs {
            leg.stream.add_to(&mut self.report.streams);
            self.report.retransmissions += u64::from(leg.uac.retransmissions());
            if let (Some(first), Some(answered)) = (leg.first_ns, leg.answered_ns) {
                media_ns.push(first.saturating_sub(answered));
            }
        }
        // Calls that neither succeeded nor failed in time.
        let calls = self.legs.len() as u64;
        for _ in self.report.answered + self.report.failed..calls {
            self.fail(0);
        }
        let (setup, echo, pacing) = (&mut self.setup_ns, &mut self.echo_ns, &self.pacing);
        PlainReport {
            calls,
            setup_p50_ms: quantile_ms(setup, 0.5),
            setup_p99_ms: quantile_ms(setup, 0.99),
            media_p50_ms: quantile_ms(&mut media_ns, 0.5),
            media_p99_ms: quantile_ms(&mut media_ns, 0.99),
            interarrival_p50_ms: pacing.interarrival_ms(0.5),
            interarrival_p99_ms: pacing.interarrival_ms(0.99),
            interarrival_max_ms: pacing.interarrival_ms(1.0),
            lateness_p99_ms: pacing.lateness_ms(0.99),
            echo_p50_ms: quantile_ms(echo, 0.5),
            echo_p99_ms: quantile_ms(echo, 0.99),
            ..self.report.clone()
        }
    }
}

fn token(index: usize, kind: u64) -> u64 {
    2 * index as u64 + kind
}

fn index(token: u64) -> usize {
    usize::try_from((token - 1) / 2).unwrap_or(usize::MAX)
}

const SIP_TOKEN: u64 = 0;
const READY_MAX: usize = 1024;
const BYES_PER_TICK: usize = 2;
const ENDING_MAX: Duration = Duration::from_secs(10);
const ECHOES_MAX: usize = 2_000_000;
