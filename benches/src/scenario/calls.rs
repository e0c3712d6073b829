//! Calls of one leg: a tone for those who listen, an echo for those who talk.

use std::thread;
use std::time::Duration;

use super::measured::Measured;
use super::{Plan, RAMP, SETTLE, TONE, WEBRTC_RAMP, end, json, lost_calls, time_for, wait_until};
use crate::baseline::{self, Baseline};
use crate::error::Error;
use crate::plain_calls::{PlainLoad, PlainOptions, PlainReport};
use crate::report::{Report, Row, Section};
use crate::server::Server;
use crate::webrtc_calls::{WebRtcLoad, WebRtcOptions, WebRtcReport};
use crate::yardstick::Yardstick;

/// PCMU callers who hear a tone.
pub(super) fn listen_plain(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let title = format!("{} PCMU calls to {TONE} over plain RTP", plan.plain_calls);
    let options = PlainScenario { number: TONE, calls: plan.plain_calls, is_talking: false };
    plain(plan, report, title, &options, |rows, measured, baseline| {
        rows.extend(measured.per_packet(baseline, Some(1.5)));
        rows.push(measured.per_call().target(32.0));
    })
}

/// PCMU callers who hear themselves.
pub(super) fn echo_plain(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let title = format!("{} PCMU calls to {ECHO} over plain RTP", plan.echo_calls);
    let options = PlainScenario { number: ECHO, calls: plan.echo_calls, is_talking: true };
    plain(plan, report, title, &options, |rows, measured, baseline| {
        rows.extend(measured.per_packet(baseline, None));
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
    let server = Server::start(&plan.binary, plan.shards, "")?;
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
    let mut measured = Measured::beside(vec![Yardstick::sendto()?], plan.window, &server, || {
        load.progress().packets
    })?;
    measured.growth(before, scenario.calls);
    let load = load.finish()?;
    let mut rows = Vec::new();
    figures(&mut rows, &measured, &baseline);
    measured.details(&mut rows, "packet");
    plain_rows(&mut rows, &load, scenario.is_talking);
    lost_calls(&mut report.failures, &title, load.calls, load.answered, load.failed + load.hung_up);
    end(server, &title, &mut report.failures)?;
    report.sections.push(Section { title, baseline: Some(baseline), rows, load: json(&load) });
    Ok(())
}

/// Browsers that hear a tone.
pub(super) fn listen_webrtc(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let title = format!("{} Opus calls to {TONE} over DTLS-SRTP", plan.webrtc_calls);
    webrtc(plan, report, title, TONE, false)
}

/// Browsers that hear themselves.
pub(super) fn echo_webrtc(plan: &Plan, report: &mut Report) -> Result<(), Error> {
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
    let server = Server::start(&plan.binary, plan.shards, "")?;
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
    let mut measured = Measured::beside(vec![Yardstick::sendto()?], plan.window, &server, || {
        load.progress().packets
    })?;
    measured.growth(before, plan.webrtc_calls);
    let load = load.finish()?;
    let mut rows = measured.per_packet(&baseline, (!is_talking).then_some(2.0)).to_vec();
    rows.push(measured.per_call().target(64.0));
    measured.details(&mut rows, "packet");
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

const ECHO: &str = "9196";
const WARM_UP: usize = 4;
