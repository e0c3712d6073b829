//! What `make bench` does: each scenario starts the real binary anew, loads it, and measures it.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use media::codec::Codec;
use serde::Serialize;

use crate::baseline::{self, Baseline};
use crate::bridged;
use crate::error::Error;
use crate::plain_calls::{PlainLoad, PlainOptions, PlainReport};
use crate::report::{Report, Row, Section};
use crate::server::{Memory, Server, ThreadCpu};
use crate::webrtc_calls::{WebRtcLoad, WebRtcOptions, WebRtcReport};

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
    /// Pairs of legs for bridged media.
    pub bridged_pairs: usize,
    /// Calls a second for the set-up scenario.
    pub setup_rate: f64,
    /// Length of a measured window.
    pub window: Duration,
}

/// Runs everything.
///
/// # Errors
/// When nothing could be measured; calls that fail are in the report.
pub fn run(plan: &Plan) -> Result<Report, Error> {
    let mut report = Report { sections: Vec::new(), failures: Vec::new() };
    listen_plain(plan, &mut report)?;
    listen_webrtc(plan, &mut report)?;
    echo_plain(plan, &mut report)?;
    echo_webrtc(plan, &mut report)?;
    set_up(plan, &mut report)?;
    bridged(plan.bridged_pairs, plan.window, &mut report)?;
    Ok(report)
}

/// Media from leg to leg, of one codec and of two.
///
/// # Errors
/// When nothing could be measured.
pub fn bridged(pairs: usize, window: Duration, report: &mut Report) -> Result<(), Error> {
    let baseline = baseline::measure(2 * pairs)?;
    let libopus_ns = bridged::libopus_ns(8_000)?;
    let bare_us = baseline.tight_ns / 1e3;
    let mut forwarded_ns = f64::NAN;
    for (name, codecs) in [
        ("PCMU to PCMU", [Codec::Pcmu, Codec::Pcmu]),
        ("PCMU to PCMA", [Codec::Pcmu, Codec::Pcma]),
        ("Opus to Opus", [Codec::Opus, Codec::Opus]),
        ("Opus to PCMU and back", [Codec::Opus, Codec::Pcmu]),
        ("G.722 to PCMU and back", [Codec::G722, Codec::Pcmu]),
    ] {
        let measured = bridged::measure(pairs, codecs, window)?;
        let title = format!("{pairs} pairs of legs, {name}, media alone");
        let row = Row::new("media thread's CPU per packet", measured.packet_ns / 1e3, "µs");
        let row = row.times(bare_us);
        let mut rows = Vec::new();
        if codecs[0] == codecs[1] {
            rows.push(row.target(2.0));
            forwarded_ns = forwarded_ns.min(measured.packet_ns);
        } else {
            rows.push(row);
        }
        if codecs == [Codec::Opus, Codec::Pcmu] {
            // A frame both ways is decoded once and encoded once, and makes two packets.
            let own_us = libopus_ns / 2.0 / 1e3;
            let added_us = (measured.packet_ns - forwarded_ns) / 1e3;
            rows.push(Row::new("of it libopus' own time", own_us, "µs"));
            let added =
                Row::new("more than a forwarded packet, by libopus' own time", added_us, "µs");
            rows.push(added.times(own_us).target(1.25));
        }
        rows.push(Row::new("packets heard", measured.heard as f64, ""));
        if measured.heard * 100 < measured.sent * 98 {
            let (heard, sent) = (measured.heard, measured.sent);
            report.failures.push(format!("{title}: {heard} of {sent} packets were heard"));
        }
        let load = json(&measured);
        report.sections.push(Section { title, baseline: Some(baseline), rows, load });
    }
    Ok(())
}

fn listen_plain(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let title = format!("{} PCMU calls to {TONE} over plain RTP", plan.plain_calls);
    let options = PlainScenario { number: TONE, calls: plan.plain_calls, is_talking: false };
    plain(plan, report, title, &options, |rows, measured, baseline| {
        rows.push(per_packet(measured, baseline).target(1.5));
        rows.push(measured.per_call().target(32.0));
    })
}

fn echo_plain(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let title = format!("{} PCMU calls to {ECHO} over plain RTP", plan.echo_calls);
    let options = PlainScenario { number: ECHO, calls: plan.echo_calls, is_talking: true };
    plain(plan, report, title, &options, |rows, measured, baseline| {
        rows.push(per_packet(measured, baseline));
        rows.push(measured.per_call().target(32.0));
    })
}

struct PlainScenario {
    number: &'static str,
    calls: usize,
    is_talking: bool,
}

fn plain(
    plan: &Plan,
    report: &mut Report,
    title: String,
    scenario: &PlainScenario,
    figures: impl FnOnce(&mut Vec<Row>, &Measured, &Baseline),
) -> Result<(), Error> {
    let baseline = baseline::measure(scenario.calls)?;
    let server = Server::start(&plan.binary, plan.shards)?;
    let options = PlainOptions {
        server: server.udp()?,
        number: scenario.number.to_owned(),
        calls: scenario.calls,
        rate: RAMP,
        hold: None,
        is_talking: scenario.is_talking,
        time_max: plan.window + time_for(scenario.calls),
    };
    warm_up_plain(&options)?;
    let before = server.memory();
    let load = PlainLoad::start(options.clone())?;
    wait_until(time_for(scenario.calls), || {
        let progress = load.progress();
        progress.answered + progress.failed >= scenario.calls as u64
    });
    let mut measured = Measured::over(plan.window, &server, || load.progress().packets)?;
    measured.growth(before, scenario.calls);
    let load = load.finish()?;
    let mut rows = Vec::new();
    figures(&mut rows, &measured, &baseline);
    measured.threads(&mut rows);
    plain_rows(&mut rows, &load, scenario.is_talking);
    lost_calls(&mut report.failures, &title, load.calls, load.answered, load.failed + load.hung_up);
    end(server, &title, &mut report.failures)?;
    report.sections.push(Section { title, baseline: Some(baseline), rows, load: json(&load) });
    Ok(())
}

fn listen_webrtc(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let title = format!("{} Opus calls to {TONE} over DTLS-SRTP", plan.webrtc_calls);
    webrtc(plan, report, title, TONE, false)
}

fn echo_webrtc(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let title = format!("{} Opus calls to {ECHO} over DTLS-SRTP", plan.webrtc_calls);
    webrtc(plan, report, title, ECHO, true)
}

fn webrtc(
    plan: &Plan,
    report: &mut Report,
    title: String,
    number: &str,
    is_talking: bool,
) -> Result<(), Error> {
    let baseline = baseline::measure(plan.webrtc_calls)?;
    let server = Server::start(&plan.binary, plan.shards)?;
    let options = WebRtcOptions {
        url: format!("ws://{}/", server.web()?),
        number: number.to_owned(),
        calls: plan.webrtc_calls,
        rate: WEBRTC_RAMP,
        is_talking,
        time_max: plan.window + time_for(plan.webrtc_calls),
    };
    warm_up_webrtc(&options)?;
    let before = server.memory();
    let load = WebRtcLoad::start(options)?;
    wait_until(time_for(plan.webrtc_calls), || {
        let progress = load.progress();
        progress.heard + progress.failed >= plan.webrtc_calls as u64
    });
    let mut measured = Measured::over(plan.window, &server, || load.progress().packets)?;
    measured.growth(before, plan.webrtc_calls);
    let load = load.finish()?;
    let cost = per_packet(&measured, &baseline);
    let cost = if is_talking { cost } else { cost.target(2.0) };
    let mut rows = vec![cost, measured.per_call().target(64.0)];
    measured.threads(&mut rows);
    webrtc_rows(&mut rows, &load);
    lost_calls(
        &mut report.failures,
        &title,
        load.calls,
        load.connected,
        load.failed + load.hung_up,
    );
    report.failures.extend(load.failures.iter().map(|reason| format!("{title}: {reason}")));
    end(server, &title, &mut report.failures)?;
    report.sections.push(Section { title, baseline: Some(baseline), rows, load: json(&load) });
    Ok(())
}

/// INVITE, 200, ACK and BYE at once, at a steady rate.
fn set_up(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let seconds = plan.window.as_secs_f64();
    let calls = (plan.setup_rate * seconds) as usize;
    let title = format!("{calls} calls set up and ended, {} a second", plan.setup_rate);
    let baseline = baseline::measure(plan.plain_calls)?;
    let server = Server::start(&plan.binary, plan.shards)?;
    let options = PlainOptions {
        server: server.udp()?,
        number: TONE.to_owned(),
        calls,
        rate: plan.setup_rate,
        hold: Some(Duration::ZERO),
        is_talking: false,
        time_max: plan.window + time_for(0),
    };
    warm_up_plain(&options)?;
    let (before, start, cpu) = (server.memory(), Instant::now(), server.cpu()?);
    let load = PlainLoad::start(options)?.wait()?;
    let (cpu, elapsed) = (server.cpu()? - cpu, start.elapsed());
    thread::sleep(SETTLE);
    let growth = server.memory().rss_kb - before.rss_kb;
    let ended = load.ended as f64;
    let mut rows = vec![
        Row::new("server CPU per call", micros(cpu) / ended, "µs").times(baseline.tight_ns / 1e3),
        Row::new("calls set up and ended", ended / elapsed.as_secs_f64(), "1/s"),
        Row::new("memory kept a second later (UDP transactions last 32 s)", growth, "kB"),
    ];
    signalling_rows(&mut rows, &load);
    lost_calls(
        &mut report.failures,
        &title,
        load.calls,
        load.answered,
        load.failed + load.bye_lost,
    );
    end(server, &title, &mut report.failures)?;
    report.sections.push(Section { title, baseline: Some(baseline), rows, load: json(&load) });
    Ok(())
}

/// What a window of a load cost the server.
struct Measured {
    cpu: Duration,
    packets: u64,
    by_thread: ThreadCpu,
    memory: Memory,
    growth_kb: f64,
    calls: usize,
}

impl Measured {
    fn over(
        window: Duration,
        server: &Server,
        packets: impl Fn() -> u64,
    ) -> Result<Measured, Error> {
        thread::sleep(SETTLE);
        let threads = server.threads();
        let (cpu, heard) = (server.cpu()?, packets());
        thread::sleep(window);
        let (cpu, heard) = (server.cpu()?.saturating_sub(cpu), packets() - heard);
        let by_thread = server.threads().into_iter().map(|(name, used)| {
            let before = threads.get(&name).copied().unwrap_or_default();
            (name, used.saturating_sub(before))
        });
        Ok(Measured {
            cpu,
            packets: heard,
            by_thread: by_thread.collect(),
            memory: server.memory(),
            growth_kb: f64::NAN,
            calls: 0,
        })
    }

    fn growth(&mut self, before: Memory, calls: usize) {
        self.growth_kb = self.memory.rss_kb - before.rss_kb;
        self.calls = calls;
    }

    fn per_call(&self) -> Row {
        Row::new("server memory per call", self.growth_kb / self.calls as f64, "kB")
    }

    fn threads(&self, rows: &mut Vec<Row>) {
        rows.push(Row::new("server memory", self.memory.rss_kb, "kB"));
        for (name, used) in self.by_thread.iter().filter(|(_, used)| !used.is_zero()) {
            let name = format!("of the CPU per packet: {name}");
            rows.push(Row::new(name, micros(*used) / self.packets as f64, "µs"));
        }
        rows.push(Row::new("packets in the window", self.packets as f64, ""));
    }
}

fn per_packet(measured: &Measured, baseline: &Baseline) -> Row {
    let cost = micros(measured.cpu) / measured.packets as f64;
    Row::new("server CPU per outbound packet", cost, "µs").times(baseline.tight_ns / 1e3)
}

fn signalling_rows(rows: &mut Vec<Row>, load: &PlainReport) {
    rows.extend([
        Row::new("INVITE to 200, median", load.setup_p50_ms, "ms"),
        Row::new("INVITE to 200, 99th percentile", load.setup_p99_ms, "ms"),
        Row::new("requests sent again", load.retransmissions as f64, ""),
    ]);
}

fn plain_rows(rows: &mut Vec<Row>, load: &PlainReport, is_talking: bool) {
    signalling_rows(rows, load);
    rows.extend([
        Row::new("200 to first packet, 99th percentile", load.media_p99_ms, "ms"),
        Row::new("packets received", load.streams.received as f64, ""),
        Row::new("packets lost", load.streams.lost as f64, ""),
        Row::new("packets out of order", load.streams.out_of_order as f64, ""),
        Row::new("breaks of the timestamp", load.streams.timestamp_errors as f64, ""),
        Row::new("between packets, 99th percentile", load.interarrival_p99_ms, "ms"),
        Row::new("between packets, longest", load.interarrival_max_ms, "ms"),
    ]);
    if is_talking {
        rows.push(Row::new("packets sent", load.sent as f64, ""));
        rows.push(Row::new("echo, median", load.echo_p50_ms, "ms"));
        rows.push(Row::new("echo, 99th percentile", load.echo_p99_ms, "ms"));
    }
}

fn webrtc_rows(rows: &mut Vec<Row>, load: &WebRtcReport) {
    rows.extend([
        Row::new("INVITE to 200, median", load.setup_p50_ms, "ms"),
        Row::new("INVITE to 200, 99th percentile", load.setup_p99_ms, "ms"),
        Row::new("200 to connected, median", load.connect_p50_ms, "ms"),
        Row::new("200 to first packet, median", load.media_p50_ms, "ms"),
        Row::new("200 to first packet, 99th percentile", load.media_p99_ms, "ms"),
        Row::new("packets sent", load.sent as f64, ""),
        Row::new("packets received", load.streams.received as f64, ""),
        Row::new("packets lost", load.streams.lost as f64, ""),
        Row::new("packets out of order", load.streams.out_of_order as f64, ""),
        Row::new("breaks of the timestamp", load.streams.timestamp_errors as f64, ""),
        Row::new("between packets (client's delay included), 99th", load.interarrival_p99_ms, "ms"),
    ]);
}

/// A few calls before anything is measured: prompts are encoded, code is paged in, pools filled.
fn warm_up_plain(options: &PlainOptions) -> Result<(), Error> {
    let hold = Some(Duration::from_millis(300));
    let time_max = Duration::from_secs(5);
    let warm = PlainOptions { calls: WARM_UP, rate: RAMP, hold, time_max, ..options.clone() };
    PlainLoad::start(warm)?.wait()?;
    thread::sleep(SETTLE);
    Ok(())
}

fn warm_up_webrtc(options: &WebRtcOptions) -> Result<(), Error> {
    let time_max = Duration::from_secs(10);
    let load = WebRtcLoad::start(WebRtcOptions { calls: WARM_UP, time_max, ..options.clone() })?;
    wait_until(time_max, || {
        let progress = load.progress();
        progress.heard + progress.failed >= WARM_UP as u64
    });
    load.finish()?;
    thread::sleep(SETTLE);
    Ok(())
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

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn json(load: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(load).unwrap_or_default()
}

/// The 1004 Hz tone, which lasts as long as the caller stays.
const TONE: &str = "9197";
const ECHO: &str = "9196";
/// Calls a second while a load comes up.
const RAMP: f64 = 100.0;
const WEBRTC_RAMP: f64 = 20.0;
const WARM_UP: usize = 4;
const SETTLE: Duration = Duration::from_secs(1);
