//! Bridged media without signalling, in this process.

use std::time::Duration;

use media::codec::Codec;

use super::json;
use crate::baseline;
use crate::bridged;
use crate::error::Error;
use crate::forwarder;
use crate::report::{Report, Row, Section};
use crate::windows::Windows;

/// Media from leg to leg, of one codec and of two.
///
/// # Errors
/// When nothing could be measured.
pub fn bridged(pairs: usize, time: Duration, report: &mut Report) -> Result<(), Error> {
    let baseline = baseline::measure(2 * pairs)?;
    let bare = forwarder::measure(pairs)?;
    let mut forwarded = f64::NAN;
    for (name, codecs) in [
        ("PCMU to PCMU", [Codec::Pcmu, Codec::Pcmu]),
        ("PCMU to PCMA", [Codec::Pcmu, Codec::Pcma]),
        ("Opus to Opus", [Codec::Opus, Codec::Opus]),
        ("Opus to PCMU and back", [Codec::Opus, Codec::Pcmu]),
        ("G.722 to PCMU and back", [Codec::G722, Codec::Pcmu]),
    ] {
        let measured = bridged::measure(pairs, codecs, time)?;
        let windows = &measured.windows;
        let title = format!("{pairs} pairs of legs, {name}, media alone");
        let cost = Row::new("media thread's CPU per packet", windows.cost_us(), "µs");
        let is_forwarded = codecs[0] == codecs[1];
        let mut rows = vec![
            bare.clone(),
            Row { target: is_forwarded.then_some(2.0), ..cost.multiple(windows.multiple()) },
            Row::new("a bare sendto in the same seconds", windows.unit_us(0), "µs").multiple(1.0),
        ];
        if is_forwarded {
            forwarded = forwarded.min(windows.multiple());
        }
        if codecs == [Codec::Opus, Codec::Pcmu] {
            rows.extend(transcoding_rows(windows, forwarded));
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

/// What a packet between Opus and PCMU costs beside libopus, and beyond a forwarded one, which costs
/// as much as so many a bare `sendto`.
pub(super) fn transcoding_rows(windows: &Windows, forwarded: f64) -> [Row; 2] {
    let (added_us, multiple) = windows.beyond(forwarded, LIBOPUS_SHARE);
    let own_us = LIBOPUS_SHARE * windows.unit_us(1);
    let added = Row::new("more than a forwarded packet, by libopus' own time", added_us, "µs");
    [
        Row::new("libopus' own time in the same seconds", own_us, "µs"),
        added.multiple(multiple).target(1.25),
    ]
}

/// Of what [`Yardstick::libopus`](crate::yardstick::Yardstick::libopus) does, for a packet: a frame
/// both ways is decoded once and encoded once, and makes two packets.
const LIBOPUS_SHARE: f64 = 0.5;
