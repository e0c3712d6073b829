//! What a load costs the server while it runs.

use std::thread;
use std::time::Duration;

use super::SETTLE;
use crate::baseline::Baseline;
use crate::error::Error;
use crate::report::Row;
use crate::server::{Memory, Server, ThreadCpu};
use crate::windows::Windows;
use crate::yardstick::Yardstick;

/// What several windows of a load, one after the other, cost the server.
pub(super) struct Measured {
    pub windows: Windows,
    cpu: Duration,
    count: u64,
    by_thread: ThreadCpu,
    memory: Memory,
    growth_kb: f64,
    calls: usize,
}

impl Measured {
    /// Measures once the load has settled; `count` is how many calls there were.
    pub fn over(
        time: Duration,
        server: &Server,
        count: impl Fn() -> u64,
    ) -> Result<Measured, Error> {
        Self::beside(Vec::new(), time, server, count)
    }

    /// The same beside what each figure is a multiple of.
    pub fn beside(
        yardsticks: Vec<Yardstick>,
        time: Duration,
        server: &Server,
        count: impl Fn() -> u64,
    ) -> Result<Measured, Error> {
        thread::sleep(SETTLE);
        let threads = server.threads();
        let (cpu_before, count_before) = (server.cpu()?, count());
        let windows = Windows::over(time, &yardsticks, || server.cpu(), &count)?;
        yardsticks.into_iter().try_for_each(Yardstick::stop)?;
        let by_thread = server.threads().into_iter().map(|(name, used)| {
            let before = threads.get(&name).copied().unwrap_or_default();
            (name, used.saturating_sub(before))
        });
        Ok(Measured {
            windows,
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

    /// What a packet cost beside [`Yardstick::sendto`]; a target is for the first row.
    pub fn per_packet(&self, baseline: &Baseline, target: Option<f64>) -> [Row; 3] {
        let (cost_us, unit_us) = (self.windows.cost_us(), self.windows.unit_us(0));
        let cost = Row::new("server CPU per outbound packet", cost_us, "µs");
        [
            Row { target, ..cost.multiple(self.windows.multiple()) },
            Row::new("a bare sendto in the same seconds", unit_us, "µs").multiple(1.0),
            Row::new("the packet by the sendto before", cost_us, "µs")
                .times(baseline.tight_ns / 1e3),
        ]
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
