//! Calls that are set up and ended at once: what each costs, and what a flood of them leaves.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::measured::Measured;
use super::phone;
use super::{Plan, SETTLE, TONE, end, json, lost_calls};
use crate::baseline;
use crate::called::Called;
use crate::error::Error;
use crate::exchange;
use crate::report::{Report, Row, Section};
use crate::server::Server;
use crate::setups::{Progress, SetUpLoad, SetUpOptions, SetUpReport};

/// Set-ups at a high rate.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Calls a second.
    pub rate: f64,
    /// How long.
    pub time: Duration,
    /// How long the server is watched afterwards.
    pub rest: Duration,
    /// Whether each call is bridged to a phone.
    pub is_bridged: bool,
}

impl Default for Flood {
    /// Thirty seconds, and a little more than what a UDP transaction lasts.
    fn default() -> Self {
        let (time, rest) = (Duration::from_secs(30), Duration::from_secs(40));
        Flood { rate: 2000.0, time, rest, is_bridged: false }
    }
}

/// One second of a flood, and of the rest after it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Second {
    /// Since the start.
    pub second: u64,
    /// Calls placed in it.
    pub placed: u64,
    /// Calls answered and ended in it.
    pub ended: u64,
    /// Calls that failed in it.
    pub failed: u64,
    /// CPU time that the server took in it, in seconds.
    pub cpu_s: f64,
    /// The server's memory at its end.
    pub rss_kb: f64,
}

/// INVITE, 200, ACK and BYE at once, answered by the server.
pub(super) fn answered(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    cost(plan, report, false)
}

/// The same, answered by a phone that the server calls.
pub(super) fn bridged(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    cost(plan, report, true)
}

fn cost(plan: &Plan, report: &mut Report, is_bridged: bool) -> Result<(), Error> {
    let baseline = baseline::measure(0)?;
    let site = Site::start(&plan.binary, plan.shards, is_bridged)?;
    site.warm_up()?;
    let load = site.load(plan.setup_rate, plan.window + 2 * SETTLE)?;
    let measured = Measured::over(plan.window, &site.server, || load.progress().ended)?;
    let load = load.wait()?;
    let title = format!("{} {}, {} a second", load.calls, site.name(), plan.setup_rate);
    let mut rows = vec![
        Row::new("server CPU per call", measured.windows.cost_us(), "µs").target(site.target_us()),
        Row::new("the same", measured.windows.cost_us(), "µs").times(baseline.tight_ns / 1e3),
    ];
    if !is_bridged {
        rows.push(bare(plan.setup_rate)?.times(baseline.tight_ns / 1e3));
    }
    rows.push(Row::new("calls set up and ended", measured.windows.rate(), "1/s"));
    measured.details(&mut rows, "call");
    latency_rows(&mut rows, &load);
    lost_calls(&mut report.failures, &title, load.calls, load.ended, load.bad());
    site.end(&title, &mut report.failures)?;
    report.sections.push(Section { title, baseline: Some(baseline), rows, load: json(&load) });
    Ok(())
}

/// As many set-ups a second as are asked for; `each` is told of every second.
///
/// # Errors
/// When nothing could be measured.
pub fn flood(
    binary: &Path,
    shards: usize,
    flood: &Flood,
    report: &mut Report,
    each: impl Fn(&Second),
) -> Result<(), Error> {
    let Flood { rate, time, rest, is_bridged } = *flood;
    let site = Site::start(binary, shards, is_bridged)?;
    site.warm_up()?;
    let before_kb = site.server.memory().rss_kb;
    let load = site.load(rate, time)?;
    let mut watch = Watch::new(&site.server)?;
    watch.until(|| load.is_over(), || load.progress(), &each)?;
    let progress = load.progress();
    let load = load.wait()?;
    let at_end = watch.seconds.len();
    let end_at = Instant::now() + rest;
    watch.until(|| Instant::now() >= end_at, || progress, &each)?;

    let title = format!("a flood of {} {}, {rate} a second", load.calls, site.name());
    let seconds = watch.seconds;
    let during = seconds.get(..at_end).unwrap_or_default();
    let cpu_s: f64 = during.iter().map(|second| second.cpu_s).sum();
    let reached = load.ended as f64 / time.as_secs_f64();
    let rss = |index: usize| seconds.get(index).map_or(f64::NAN, |second| second.rss_kb);
    let mut rows = vec![
        Row::new("calls set up and ended", reached, "1/s"),
        Row::new("short of what was asked for", (1.0 - reached / rate) * 100.0, "%").target(1.0),
        Row::new("calls that failed", load.bad() as f64, "").target(0.0),
        Row::new("server CPU per call", cpu_s * 1e6 / load.ended as f64, "µs")
            .target(site.target_us()),
    ];
    if !is_bridged {
        rows.push(bare(rate)?);
    }
    latency_rows(&mut rows, &load);
    rows.push(Row::new("server memory before", before_kb, "kB"));
    if at_end >= 10 {
        rows.push(Row::new("after 10 s", rss(9), "kB"));
    }
    rows.push(Row::new("at the end", rss(at_end.saturating_sub(1)), "kB"));
    let rested = format!("{} s after the end", rest.as_secs());
    rows.push(Row::new(rested, rss(seconds.len().saturating_sub(1)), "kB"));
    lost_calls(&mut report.failures, &title, load.calls, load.ended, load.bad());
    site.end(&title, &mut report.failures)?;
    let load = serde_json::json!({ "load": load, "seconds": seconds });
    report.sections.push(Section { title, baseline: None, rows, load });
    Ok(())
}

/// The server, and the phone that it calls.
struct Site {
    server: Server,
    called: Option<Called>,
}

impl Site {
    fn start(binary: &Path, shards: usize, is_bridged: bool) -> Result<Site, Error> {
        let further = if is_bridged { phone::SECTION } else { "" };
        let server = Server::start(binary, shards, further)?;
        let called = is_bridged.then(|| phone::start(&server, None)).transpose()?;
        Ok(Site { server, called })
    }

    fn name(&self) -> &'static str {
        match self.called {
            Some(_) => "calls bridged to a phone and ended",
            None => "calls set up and ended",
        }
    }

    /// What a set-up should not exceed.
    fn target_us(&self) -> f64 {
        if self.called.is_some() { 400.0 } else { 150.0 }
    }

    fn load(&self, rate: f64, time: Duration) -> Result<SetUpLoad, Error> {
        let number = if self.called.is_some() { phone::NAME } else { TONE };
        let server = self.server.udp()?;
        SetUpLoad::start(SetUpOptions { server, number: number.to_owned(), rate, time })
    }

    /// A few calls before anything is measured.
    fn warm_up(&self) -> Result<(), Error> {
        self.load(100.0, Duration::from_millis(500))?.wait()?;
        thread::sleep(SETTLE);
        Ok(())
    }

    fn end(self, title: &str, failures: &mut Vec<String>) -> Result<(), Error> {
        self.called.map(Called::stop).transpose()?;
        end(self.server, title, failures)
    }
}

/// What happens from second to second.
struct Watch<'a> {
    server: &'a Server,
    start: Instant,
    last: Progress,
    last_cpu: Duration,
    seconds: Vec<Second>,
}

impl Watch<'_> {
    fn new(server: &Server) -> Result<Watch<'_>, Error> {
        let (start, last) = (Instant::now(), Progress::default());
        Ok(Watch { server, start, last, last_cpu: server.cpu()?, seconds: Vec::new() })
    }

    fn until(
        &mut self,
        is_over: impl Fn() -> bool,
        progress: impl Fn() -> Progress,
        each: impl Fn(&Second),
    ) -> Result<(), Error> {
        while !is_over() {
            let next = self.start + Duration::from_secs(self.seconds.len() as u64 + 1);
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let (now, cpu) = (progress(), self.server.cpu()?);
            let second = Second {
                second: self.seconds.len() as u64 + 1,
                placed: now.placed - self.last.placed,
                ended: now.ended - self.last.ended,
                failed: now.failed - self.last.failed,
                cpu_s: cpu.saturating_sub(self.last_cpu).as_secs_f64(),
                rss_kb: self.server.memory().rss_kb,
            };
            (self.last, self.last_cpu) = (now, cpu);
            each(&second);
            self.seconds.push(second);
        }
        Ok(())
    }
}

/// What the system calls of a set-up cost here, in this rhythm.
fn bare(rate: f64) -> Result<Row, Error> {
    let name = "its datagrams and ports, and nothing else";
    Ok(Row::new(name, exchange::measure(rate)? / 1e3, "µs"))
}

fn latency_rows(rows: &mut Vec<Row>, load: &SetUpReport) {
    rows.extend([
        Row::new("INVITE to 200, median", load.setup_p50_ms, "ms"),
        Row::new("INVITE to 200, 99th percentile", load.setup_p99_ms, "ms"),
        Row::new("INVITE to 200, longest", load.setup_max_ms, "ms"),
        Row::new("requests sent again", load.retransmissions as f64, ""),
    ]);
}
