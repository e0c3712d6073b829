//! The loop of a load: places, reads, talks and hangs up, a millisecond at a time.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use transport::{Flow, FlowId, Framing, Limits, Message, TransportKind, Uri};

use super::leg::{self, Leg};
use super::{PlainOptions, PlainReport, Shared, quantile_ms};
use crate::error::Error;
use crate::net::{self, Batch, Poller};
use crate::stream::Pacing;
use crate::uac::{Event, Output, Settings, Uac};

/// All calls of a load and the sockets they use.
pub(super) struct Machine {
    options: PlainOptions,
    shared: Arc<Shared>,
    sip: UdpSocket,
    flow: Flow,
    poller: Poller,
    ready: Vec<u64>,
    batch: Batch,
    legs: Vec<Leg>,
    /// Legs below this index are over, which keeps a long test of short calls cheap.
    oldest: usize,
    limits: Limits,
    run_id: u32,
    pacing: Pacing,
    setup_ns: Vec<u64>,
    echo_ns: Vec<u64>,
    report: PlainReport,
}

impl Machine {
    pub fn new(options: PlainOptions, shared: Arc<Shared>) -> Result<Machine, Error> {
        let any = SocketAddr::new(options.server.ip(), 0);
        let sip = net::open(local_for(options.server).unwrap_or(any), SIP_RECEIVE_BYTES)
            .map_err(Error::io("opening the SIP socket"))?;
        let local = sip.local_addr().map_err(Error::io("opening the SIP socket"))?;
        let poller = Poller::new(READY_MAX).map_err(Error::io("opening epoll"))?;
        poller.add(&sip, SIP_TOKEN).map_err(Error::io("watching the SIP socket"))?;
        let flow = Flow { id: FlowId(0), kind: TransportKind::Udp, local, remote: options.server };
        Ok(Machine {
            legs: Vec::with_capacity(options.calls),
            options,
            shared,
            sip,
            flow,
            poller,
            ready: Vec::with_capacity(READY_MAX),
            batch: Batch::new(),
            oldest: 0,
            limits: Limits::default(),
            run_id: rand::random(),
            pacing: Pacing::new(),
            setup_ns: Vec::new(),
            echo_ns: Vec::new(),
            report: PlainReport::default(),
        })
    }

    pub fn run(&mut self) -> Result<PlainReport, Error> {
        let start = Instant::now();
        let mut tick = 0_u64;
        let mut stopped_at: Option<Instant> = None;
        loop {
            tick += 1;
            thread::sleep(
                (start + TICK * saturate(tick)).saturating_duration_since(Instant::now()),
            );
            let now = Instant::now();
            let first = tick;
            tick = tick.max(ticks(now - start));
            if stopped_at.is_none()
                && (self.shared.stop.load(Ordering::Relaxed) || now - start > self.options.time_max)
            {
                stopped_at = Some(now);
            }
            self.read(now)?;
            self.handle_timeouts(tick, now)?;
            if let Some(stopped_at) = stopped_at {
                self.hang_up(now)?;
                if self.is_done() || now - stopped_at > ENDING_MAX {
                    return Ok(self.conclude());
                }
            } else {
                self.place(now - start, now)?;
                if self.options.hold.is_some()
                    && self.legs.len() == self.options.calls
                    && self.is_done()
                {
                    return Ok(self.conclude());
                }
            }
            if self.options.is_talking {
                // Who slept too long sends late what was due, a frame at most.
                (first.max(tick.saturating_sub(19))..=tick).for_each(|tick| self.talk(tick));
            }
        }
    }

    fn place(&mut self, elapsed: Duration, now: Instant) -> Result<(), Error> {
        let due = (elapsed.as_secs_f64() * self.options.rate) as usize + 1;
        while self.legs.len() < due.min(self.options.calls) {
            let index = self.legs.len();
            let local = SocketAddr::new(self.flow.local.ip(), 0);
            let (rtp, rtcp) = net::open_pair(local).map_err(Error::io("opening media ports"))?;
            self.poller.add(&rtp, token(index, 1)).map_err(Error::io("watching a socket"))?;
            self.poller.add(&rtcp, token(index, 2)).map_err(Error::io("watching a socket"))?;
            let offer =
                leg::offer(rtp.local_addr().map_err(Error::io("reading a socket's address"))?);
            let (uac, invite) = Uac::invite(self.settings(index), offer.as_bytes(), now);
            self.legs.push(Leg::new(uac, rtp, rtcp, net::wall_ns()));
            self.shared.placed.fetch_add(1, Ordering::Relaxed);
            self.send(&invite)?;
        }
        Ok(())
    }

    fn settings(&self, index: usize) -> Settings {
        let kind = TransportKind::Udp;
        Settings {
            target: Uri::at(Some(&self.options.number), self.options.server, kind),
            flow: self.flow,
            sent_by: self.flow.local.to_string(),
            contact: Uri::at(Some("bench"), self.flow.local, kind),
            call_id: format!("{index}.{:08x}", self.run_id),
        }
    }

    fn read(&mut self, now: Instant) -> Result<(), Error> {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        ready.extend_from_slice(self.poller.ready().map_err(Error::io("polling"))?);
        for &token in &ready {
            match (token, token % 2) {
                (SIP_TOKEN, _) => self.read_sip(now)?,
                (_, 1) => self.read_rtp(index(token)),
                (_, _) => self.read_rtcp(index(token)),
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn read_sip(&mut self, now: Instant) -> Result<(), Error> {
        loop {
            // Connection refused is an ICMP message about an earlier datagram: the timers see to it.
            let count = self.batch.receive(&self.sip).unwrap_or(0);
            let read: Vec<(Bytes, u64)> = self
                .batch
                .datagrams(count)
                .map(|datagram| (Bytes::copy_from_slice(datagram.bytes), datagram.arrived_ns))
                .collect();
            for (bytes, arrived_ns) in read {
                if let Ok(message) = Message::parse(bytes, Framing::Datagram, &self.limits) {
                    self.handle_message(&message, arrived_ns, now)?;
                }
            }
            if count < net::BATCH {
                return Ok(());
            }
        }
    }

    fn handle_message(
        &mut self,
        message: &Message,
        arrived_ns: u64,
        now: Instant,
    ) -> Result<(), Error> {
        let index = message.call_id().split('.').next().and_then(|text| text.parse().ok());
        let Some((index, leg)) =
            index.and_then(|index: usize| Some((index, self.legs.get_mut(index)?)))
        else {
            return Ok(());
        };
        let output = leg.uac.handle_message(message, now);
        self.handle_output(index, output, arrived_ns, now)
    }

    fn handle_output(
        &mut self,
        index: usize,
        output: Output,
        arrived_ns: u64,
        now: Instant,
    ) -> Result<(), Error> {
        if let Some(bytes) = output.transmit {
            self.send(&bytes)?;
        }
        let (Some(event), Some(leg)) = (output.event, self.legs.get_mut(index)) else {
            return Ok(());
        };
        match event {
            Event::Answered(answer) => {
                leg.answered(&answer, arrived_ns);
                leg.leave_at = self.options.hold.map(|hold| now + hold);
                self.setup_ns.push(arrived_ns.saturating_sub(leg.placed_ns));
                self.report.answered += 1;
                self.shared.answered.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Event::Refused(status) => self.fail(status),
            Event::TimedOut if leg.answered_ns.is_some() => self.report.bye_lost += 1,
            Event::TimedOut => self.fail(0),
            Event::HungUp => self.report.hung_up += 1,
            Event::Ended => self.report.ended += 1,
        }
        self.close(index);
        Ok(())
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
    fn handle_timeouts(&mut self, tick: u64, now: Instant) -> Result<(), Error> {
        if !tick.is_multiple_of(10) && self.options.hold.is_none() {
            return Ok(());
        }
        for index in self.oldest..self.legs.len() {
            let Some(leg) = self.legs.get_mut(index) else { break };
            if leg.leave_at.is_some_and(|at| at <= now)
                && let Some(bye) = leg.uac.bye(now)
            {
                self.send(&bye)?;
            } else if leg.uac.poll_timeout().is_some_and(|at| at <= now) {
                let output = leg.uac.handle_timeout(now);
                self.handle_output(index, output, net::wall_ns(), now)?;
            }
        }
        Ok(())
    }

    /// Sends a few BYEs; all at once would overflow the server's socket and measure its luck.
    fn hang_up(&mut self, now: Instant) -> Result<(), Error> {
        let mut left = BYES_PER_TICK;
        for index in self.oldest..self.legs.len() {
            let Some(leg) = self.legs.get_mut(index).filter(|leg| leg.uac.is_up()) else {
                continue;
            };
            if let Some(bye) = leg.uac.bye(now) {
                self.send(&bye)?;
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Sends the packets of the legs whose turn it is: every leg once in twenty ticks.
    fn talk(&mut self, tick: u64) {
        let slot = usize::try_from(tick % 20).unwrap_or(0);
        for leg in self.legs.iter_mut().skip(slot).step_by(20).filter(|leg| leg.uac.is_up()) {
            self.report.sent += u64::from(leg.talk(net::wall_ns()));
        }
    }

    fn is_done(&self) -> bool {
        self.legs.iter().skip(self.oldest).all(|leg| leg.uac.is_over())
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        match self.sip.send_to(bytes, self.options.server) {
            Err(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => {
                Err(Error::io("sending SIP")(error))
            }
            _ => Ok(()),
        }
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

/// The address that the system would send from.
fn local_for(server: SocketAddr) -> Option<SocketAddr> {
    let any: SocketAddr =
        if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 16], 0).into() };
    let probe = UdpSocket::bind(any).ok()?;
    probe.connect(server).ok()?;
    Some(SocketAddr::new(probe.local_addr().ok()?.ip(), 0))
}

fn token(index: usize, kind: u64) -> u64 {
    2 * index as u64 + kind
}

fn index(token: u64) -> usize {
    usize::try_from((token - 1) / 2).unwrap_or(usize::MAX)
}

fn ticks(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX)
}

fn saturate(tick: u64) -> u32 {
    u32::try_from(tick).unwrap_or(u32::MAX)
}

const TICK: Duration = Duration::from_millis(1);
const SIP_TOKEN: u64 = 0;
const READY_MAX: usize = 1024;
const SIP_RECEIVE_BYTES: usize = 4 << 20;
const BYES_PER_TICK: usize = 2;
const ENDING_MAX: Duration = Duration::from_secs(10);
const ECHOES_MAX: usize = 2_000_000;
