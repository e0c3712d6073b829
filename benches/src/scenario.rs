//! What `make bench` does: each scenario starts the real binary anew, loads it, and measures it.

mod calls;
mod measured;
mod media_alone;
mod phone;
mod registrations;
mod setups;
mod two_legs;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Error;
use crate::report::Report;
use crate::server::Server;
pub use media_alone::bridged;
pub use setups::{Flood, Second, flood};

/// The sizes of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server's binary.
    pub binary: PathBuf,
    /// Its media threads; 0: as it decides.
    pub shards: usize,
    /// PCMU calls that listen to the tone.
    pub plain_calls: usize,
    /// WebRTC calls, listening and echoed.
    pub webrtc_calls: usize,
    /// PCMU calls to the echo.
    pub echo_calls: usize,
    /// Pairs of legs for bridged media, and whole calls of two legs.
    pub bridged_pairs: usize,
    /// Users who register.
    pub users: usize,
    /// Calls a second for the cost of a set-up.
    pub setup_rate: f64,
    /// Set-ups at a high rate.
    pub flood: Flood,
    /// Length of a measured window.
    pub window: Duration,
}

/// Runs the scenarios of these names; all of them if none is named.
///
/// # Errors
/// When nothing could be measured; calls that fail are in the report.
pub fn run(plan: &Plan, only: &[String]) -> Result<Report, Error> {
    let mut report = Report { sections: Vec::new(), failures: Vec::new() };
    for (name, scenario) in SCENARIOS {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            scenario(plan, &mut report)?;
        }
    }
    Ok(report)
}

/// The names of all scenarios.
pub fn names() -> impl Iterator<Item = &'static str> {
    SCENARIOS.into_iter().map(|(name, _)| name)
}

type Scenario = fn(&Plan, &mut Report) -> Result<(), Error>;

const SCENARIOS: [(&str, Scenario); 11] = [
    ("listen-plain", calls::listen_plain),
    ("listen-webrtc", calls::listen_webrtc),
    ("echo-plain", calls::echo_plain),
    ("echo-webrtc", calls::echo_webrtc),
    ("bridged-media", |plan, report| bridged(plan.bridged_pairs, plan.window, report)),
    ("two-legs", two_legs::two_legs),
    ("set-ups", setups::answered),
    ("bridged-set-ups", setups::bridged),
    ("registrations", registrations::registrations),
    ("flood", |plan, report| flooded(plan, report, false)),
    ("bridged-flood", |plan, report| flooded(plan, report, true)),
];

fn flooded(plan: &Plan, report: &mut Report, is_bridged: bool) -> Result<(), Error> {
    let load = Flood { is_bridged, ..plan.flood };
    flood(&plan.binary, plan.shards, &load, report, |_| {})
}

fn lost_calls(failures: &mut Vec<String>, title: &str, calls: u64, good: u64, bad: u64) {
    if good < calls || bad > 0 || calls == 0 {
        failures.push(format!("{title}: {good} of {calls} calls were up, {bad} failed"));
    }
}

fn end(server: Server, title: &str, failures: &mut Vec<String>) -> Result<(), Error> {
    let log = server.log();
    match server.stop()? {
        Some(status) if status.success() => {}
        Some(status) => failures.push(format!("{title}: the server ended with {status}: {log}")),
        None => failures.push(format!("{title}: the server did not stop: {log}")),
    }
    Ok(())
}

fn wait_until(time_max: Duration, is_reached: impl Fn() -> bool) {
    let deadline = Instant::now() + time_max;
    while Instant::now() < deadline && !is_reached() {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Time for that many calls to come up.
fn time_for(calls: usize) -> Duration {
    Duration::from_secs(20) + Duration::from_secs_f64(calls as f64 / WEBRTC_RAMP)
}

fn json(load: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(load).unwrap_or_default()
}

/// The 1004 Hz tone, which lasts as long as the caller stays.
const TONE: &str = "9197";
/// Calls a second while a load comes up.
const RAMP: f64 = 100.0;
const WEBRTC_RAMP: f64 = 20.0;
const SETTLE: Duration = Duration::from_secs(1);
