//! Families of the listeners and connections.

use prometheus::proto::MetricFamily;
use transport::net::{NetCounters, Network};

use super::collected::{counters, gauges};

pub(super) fn families(network: &Network) -> Vec<MetricFamily> {
    let all = network.counters();
    vec![
        per_kind(
            &all,
            "sidetone_sip_messages_total",
            "SIP messages read from and handed to the network.",
            |kind| {
                vec![("direction", "in", kind.messages_in), ("direction", "out", kind.messages_out)]
            },
        ),
        per_kind(
            &all,
            "sidetone_sip_bytes_total",
            "Bytes of SIP messages, framing left out.",
            |kind| vec![("direction", "in", kind.bytes_in), ("direction", "out", kind.bytes_out)],
        ),
        total(
            &all,
            "sidetone_sip_unparsable_total",
            "Datagrams and frames that were not a SIP message.",
            |kind| kind.unparsable,
        ),
        total(
            &all,
            "sidetone_sip_keep_alives_total",
            "CRLF keep-alives and WebSocket pings received.",
            |kind| kind.keep_alives_in,
        ),
        total(
            &all,
            "sidetone_sip_connections_opened_total",
            "Stream connections opened.",
            |kind| kind.connections_opened,
        ),
        per_kind(
            &all,
            "sidetone_sip_connections_closed_total",
            "Stream connections closed, by reason.",
            closed,
        ),
        per_kind(
            &all,
            "sidetone_sip_dropped_total",
            "Messages and connections dropped before they counted as one, and datagrams that did not \
             arrive.",
            |kind| kind.dropped.iter().map(|(reason, n)| ("reason", reason.label(), *n)).collect(),
        ),
        gauges(
            "sidetone_sip_connections",
            "Open stream connections.",
            all.iter().map(|kind| (vec![("transport", kind.kind.label())], kind.connections_open)),
        ),
    ]
}

fn closed(kind: &NetCounters) -> Vec<(&'static str, &'static str, u64)> {
    kind.connections_closed.iter().map(|(reason, n)| ("reason", reason.label(), *n)).collect()
}

fn per_kind(
    all: &[NetCounters],
    name: &str,
    help: &str,
    rows: impl Fn(&NetCounters) -> Vec<(&'static str, &'static str, u64)>,
) -> MetricFamily {
    let rows = all.iter().flat_map(|kind| {
        let transport = ("transport", kind.kind.label());
        rows(kind)
            .into_iter()
            .map(move |(label, value, count)| (vec![transport, (label, value)], count))
    });
    counters(name, help, rows)
}

fn total(
    all: &[NetCounters],
    name: &str,
    help: &str,
    count: impl Fn(&NetCounters) -> u64,
) -> MetricFamily {
    let rows = all.iter().map(|kind| (vec![("transport", kind.kind.label())], count(kind)));
    counters(name, help, rows)
}
