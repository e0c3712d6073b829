//! Whole calls of two legs with their media: set up over SIP, bridged by the server to a phone.

use media::codec::Codec;

use super::measured::Measured;
use super::media_alone::transcoding_rows;
use super::{Plan, RAMP, WEBRTC_RAMP, end, json, lost_calls, phone, time_for, wait_until};
use crate::baseline::{self, Baseline};
use crate::called::{Called, CalledReport};
use crate::error::Error;
use crate::forwarder;
use crate::plain_calls::{PlainLoad, PlainOptions};
use crate::report::{Report, Row, Section};
use crate::server::Server;
use crate::stream::StreamTotals;
use crate::webrtc_calls::{WebRtcLoad, WebRtcOptions};
use crate::yardstick::Yardstick;

/// Phone to phone, and browser to phone with the same codec and with another.
pub(super) fn two_legs(plan: &Plan, report: &mut Report) -> Result<(), Error> {
    let calls = plan.bridged_pairs;
    let baseline = baseline::measure(2 * calls)?;
    let bare = forwarder::measure(calls)?;
    let title = format!("{calls} calls, PCMU bridged to PCMU");
    let mut outcome = plain(plan, report, &title)?;
    outcome.rows.splice(0..0, outcome.measured.per_packet(&baseline, Some(2.0)));
    outcome.rows.insert(0, bare.clone());
    outcome.finish(title, baseline, report);

    let title = format!("{calls} calls, Opus over DTLS-SRTP bridged to Opus over plain RTP");
    let mut outcome = webrtc(plan, report, &title, Codec::Opus)?;
    let forwarded = outcome.measured.windows.multiple();
    outcome.rows.splice(0..0, outcome.measured.per_packet(&baseline, Some(2.0)));
    outcome.rows.insert(0, bare);
    outcome.finish(title, baseline, report);

    let title = format!("{calls} calls, Opus over DTLS-SRTP bridged to PCMU over plain RTP");
    let mut outcome = webrtc(plan, report, &title, Codec::Pcmu)?;
    outcome.rows.splice(0..0, transcoding_rows(&outcome.measured.windows, forwarded));
    outcome.rows.splice(0..0, outcome.measured.per_packet(&baseline, None));
    outcome.finish(title, baseline, report);
    Ok(())
}

/// What a scenario has measured.
struct Outcome {
    measured: Measured,
    rows: Vec<Row>,
    load: serde_json::Value,
}

impl Outcome {
    fn finish(self, title: String, baseline: Baseline, report: &mut Report) {
        let Outcome { rows, load, .. } = self;
        report.sections.push(Section { title, baseline: Some(baseline), rows, load });
    }
}

fn plain(plan: &Plan, report: &mut Report, title: &str) -> Result<Outcome, Error> {
    let calls = plan.bridged_pairs;
    let server = Server::start(&plan.binary, plan.shards, phone::SECTION)?;
    let called = phone::start(&server, Some(Codec::Pcmu))?;
    let before = server.memory();
    let load = PlainLoad::start(PlainOptions {
        server: server.udp()?,
        number: phone::NAME.to_owned(),
        calls,
        rate: RAMP,
        hold: None,
        is_talking: true,
        time_max: plan.window + time_for(calls),
    })?;
    wait_until(time_for(calls), || {
        let progress = load.progress();
        progress.answered + progress.failed >= calls as u64
    });
    let heard = || load.progress().packets + called.packets();
    let yardsticks = vec![Yardstick::sendto()?];
    let mut measured = Measured::beside(yardsticks, plan.window, &server, heard)?;
    measured.growth(before, calls);
    let load = load.finish()?;
    let bad = load.failed + load.hung_up + load.bye_lost;
    lost_calls(&mut report.failures, title, load.calls, load.answered, bad);
    let mut rows = vec![measured.per_call()];
    measured.details(&mut rows, "packet");
    rows.push(Row::new("INVITE to 200, median", load.setup_p50_ms, "ms"));
    rows.push(Row::new("INVITE to 200, 99th percentile", load.setup_p99_ms, "ms"));
    both_ears(&mut rows, &load.streams, load.sent, called, title, report)?;
    end(server, title, &mut report.failures)?;
    Ok(Outcome { measured, rows, load: json(&load) })
}

fn webrtc(plan: &Plan, report: &mut Report, title: &str, codec: Codec) -> Result<Outcome, Error> {
    let calls = plan.bridged_pairs;
    let server = Server::start(&plan.binary, plan.shards, phone::SECTION)?;
    let called = phone::start(&server, Some(codec))?;
    let before = server.memory();
    let load = WebRtcLoad::start(WebRtcOptions {
        url: format!("ws://{}/", server.web()?),
        number: phone::NAME.to_owned(),
        calls,
        rate: WEBRTC_RAMP,
        is_talking: true,
        time_max: plan.window + time_for(calls),
    })?;
    wait_until(time_for(calls), || {
        let progress = load.progress();
        progress.heard + progress.failed >= calls as u64
    });
    let heard = || load.progress().packets + called.packets();
    let mut yardsticks = vec![Yardstick::sendto()?];
    if codec == Codec::Pcmu {
        yardsticks.push(Yardstick::libopus(8_000)?);
    }
    let mut measured = Measured::beside(yardsticks, plan.window, &server, heard)?;
    measured.growth(before, calls);
    let load = load.finish()?;
    let bad = load.failed + load.hung_up;
    lost_calls(&mut report.failures, title, load.calls, load.connected, bad);
    report.failures.extend(load.failures.iter().map(|reason| format!("{title}: {reason}")));
    let mut rows = vec![measured.per_call()];
    measured.details(&mut rows, "packet");
    rows.push(Row::new("INVITE to 200, median", load.setup_p50_ms, "ms"));
    rows.push(Row::new("200 to first packet, median", load.media_p50_ms, "ms"));
    both_ears(&mut rows, &load.streams, load.sent, called, title, report)?;
    end(server, title, &mut report.failures)?;
    Ok(Outcome { measured, rows, load: json(&load) })
}

/// What each side has heard of the other.
fn both_ears(
    rows: &mut Vec<Row>,
    caller: &StreamTotals,
    caller_sent: u64,
    called: Called,
    title: &str,
    report: &mut Report,
) -> Result<(), Error> {
    let CalledReport { streams, sent, .. } = called.stop()?;
    for (who, heard, said) in
        [("the caller", caller, sent), ("the called phone", &streams, caller_sent)]
    {
        let StreamTotals { received, lost, out_of_order, timestamp_errors, .. } = *heard;
        rows.push(Row::new(format!("packets to {who}"), received as f64, ""));
        rows.push(Row::new("of these lost", lost as f64, ""));
        rows.push(Row::new("out of order", out_of_order as f64, ""));
        rows.push(Row::new("breaks of the timestamp", timestamp_errors as f64, ""));
        // A browser's side comes up half a second after the answer, which the phone talks through.
        if received * 100 < said * 85 {
            let heard = format!("{received} of {said} packets came to {who}");
            report.failures.push(format!("{title}: {heard}"));
        }
    }
    Ok(())
}
