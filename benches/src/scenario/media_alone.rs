//! Bridged media without signalling, in this process.

use std::time::Duration;

use media::codec::Codec;

use super::json;
use crate::baseline;
use crate::bridged;
use crate::error::Error;
use crate::forwarder;
use crate::report::{Report, Row, Section};

/// Media from leg to leg, of one codec and of two.
///
/// # Errors
/// When nothing could be measured.
pub fn bridged(pairs: usize, window: Duration, report: &mut Report) -> Result<(), Error> {
    let baseline = baseline::measure(2 * pairs)?;
    let bare = Row::bare_forwarding(forwarder::measure(pairs)?, &baseline);
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
        let mut rows = vec![bare.clone()];
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
