//! What a load costs the server while it runs.

use std::thread;
use std::time::{Duration, Instant};

use super::SETTLE;
use crate::baseline::{Baseline, median};
use crate::error::Error;
use crate::report::Row;
use crate::server::{Memory, Server, ThreadCpu};

/// What several windows of a load, one after the other, cost the server.
pub(super) struct Measured {
    /// CPU for each thing that was done, in microseconds, by window.
    costs_us: Vec<f64>,
    /// Things done in a second, by window.
    rates: Vec<f64>,
    cpu: Duration,
    count: u64,
    by_thread: ThreadCpu,
    memory: Memory,
    growth_kb: f64,
    calls: usize,
}

impl Measured {
    /// Measures once the load has settled; `count` is how many packets, or calls, there were.
    pub fn over(
        time: Duration,
        server: &Server,
        count: impl Fn() -> u64,
    ) -> Result<Measured, Error> {
        thread::sleep(SETTLE);
        let threads = server.threads();
        let (cpu_before, count_before) = (server.cpu()?, count());
        let (mut costs_us, mut rates) = (Vec::new(), Vec::new());
        for _ in 0..WINDOWS {
            let (cpu, done, start) = (server.cpu()?, count(), Instant::now());
            thread::sleep(time / WINDOWS);
            let (cpu, done) = (server.cpu()?.saturating_sub(cpu), count() - done);
            costs_us.push(micros(cpu) / done as f64);
            rates.push(done as f64 / start.elapsed().as_secs_f64());
        }
        let by_thread = server.threads().into_iter().map(|(name, used)| {
            let before = threads.get(&name).copied().unwrap_or_default();
            (name, used.saturating_sub(before))
        });
        Ok(Measured {
            costs_us,
            rates,
            cpu: server.cpu()?.saturating_sub(cpu_before),
            count: count() - count_before,
            by_thread: by_thread.collect(),
            memory: server.memory(),
            growth_kb: f64::NAN,
            calls: 0,
        })
    }

    /// Notes what the memory has grown by since there were no calls.
    pub fn growth(&mut self, before: Memory, calls: usize) {
        self.growth_kb = self.memory.rss_kb - before.rss_kb;
        self.calls = calls;
    }

    pub fn per_call(&self) -> Row {
        Row::new("server memory per call", self.growth_kb / self.calls as f64, "kB")
    }

    /// The median of the windows, in microseconds.
    pub fn cost_us(&self) -> f64 {
        median(&mut self.costs_us.clone())
    }

    /// The median of the windows, in a second.
    pub fn rate(&self) -> f64 {
        median(&mut self.rates.clone())
    }

    pub fn per_packet(&self, baseline: &Baseline) -> Row {
        let row = Row::new("server CPU per outbound packet", self.cost_us(), "µs");
        row.times(baseline.tight_ns / 1e3)
    }

    /// Where the CPU went, and over how much.
    pub fn details(&self, rows: &mut Vec<Row>, thing: &str) {
        rows.push(Row::new("server memory", self.memory.rss_kb, "kB"));
        let all_us = micros(self.cpu) / self.count as f64;
        rows.push(Row::new(format!("mean of all windows, per {thing}"), all_us, "µs"));
        for (name, used) in self.by_thread.iter().filter(|(_, used)| !used.is_zero()) {
            let name = format!("of the CPU per {thing}: {name}");
            rows.push(Row::new(name, micros(*used) / self.count as f64, "µs"));
        }
        rows.push(Row::new(format!("{thing}: how many in the windows"), self.count as f64, ""));
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

const WINDOWS: u32 = 5;
