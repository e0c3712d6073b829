//! Families that are summed from the counters of the shards and the listeners at each scrape.

use media::codec::{CODECS, Codec};
use media::net::{MediaPlane, PlaneCounters, Recorder, RecorderCounters};
use media::shard::{
    Discard, HandshakeResult, LegKind, MEDIA_READY_BOUNDS_MS, MediaStage, ShardCounters,
    StunResult, TICK_LAG_BOUNDS_US, codec_index,
};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use transport::net::Network;

/// Where the counters are.
#[derive(Debug)]
pub struct Collected {
    media: MediaPlane,
    network: Network,
    recorder: Recorder,
}

impl Collected {
    /// Sums the counters of these.
    #[must_use]
    pub fn new(media: MediaPlane, network: Network, recorder: Recorder) -> Self {
        Collected { media, network, recorder }
    }

    /// What they have counted so far.
    #[must_use]
    pub fn families(&self) -> Vec<MetricFamily> {
        let mut families = media_families(&self.media.counters());
        families.extend(recording_families(&self.recorder.counters()));
        families.extend(super::network::families(&self.network));
        families
    }
}

fn media_families(plane: &PlaneCounters) -> Vec<MetricFamily> {
    let sum = |read: &dyn Fn(&ShardCounters) -> u64| plane.shards.iter().map(read).sum::<u64>();
    let ready = MediaStage::ALL
        .map(|stage| sum_arrays(plane, move |shard| &shard.media_ready[stage as usize]));
    vec![
        by_codec(
            "sidetone_rtp_packets_total",
            "RTP packets received and used, and sent.",
            plane,
            |shard| (&shard.packets_in, &shard.packets_out),
        ),
        by_codec(
            "sidetone_rtp_bytes_total",
            "RTP payload bytes received and used, and sent.",
            plane,
            |shard| (&shard.bytes_in, &shard.bytes_out),
        ),
        counters(
            "sidetone_rtcp_packets_total",
            "RTCP packets received and read, and sent.",
            [
                (vec![("direction", "in")], sum(&|shard| shard.rtcp_in)),
                (vec![("direction", "out")], sum(&|shard| shard.rtcp_out)),
            ],
        ),
        counters(
            "sidetone_rtp_packets_discarded_total",
            "Media packets received and not used.",
            Discard::ALL.map(|reason| {
                (vec![("reason", reason.label())], sum(&|shard| shard.discarded(reason)))
            }),
        ),
        counters(
            "sidetone_stun_messages_total",
            "STUN messages received, by what became of them.",
            StunResult::ALL
                .map(|result| (vec![("result", result.label())], sum(&|shard| shard.stun(result)))),
        ),
        counters(
            "sidetone_dtls_handshakes_total",
            "DTLS handshakes, by what became of them.",
            HandshakeResult::ALL.map(|result| {
                (vec![("result", result.label())], sum(&|shard| shard.handshakes(result)))
            }),
        ),
        counters(
            "sidetone_media_send_failures_total",
            "Media datagrams that the system refused to send.",
            [(vec![], sum(&|shard| shard.send_failures))],
        ),
        counters(
            "sidetone_media_ticks_skipped_total",
            "Media ticks skipped because a thread was held up for too long to catch up.",
            [(vec![], sum(&|shard| shard.ticks_skipped))],
        ),
        counters(
            "sidetone_media_events_dropped_total",
            "Reports of media legs dropped because their call fell behind.",
            [(vec![], sum(&|shard| shard.events_dropped))],
        ),
        sessions(plane),
        ports(plane),
        gauges(
            "sidetone_media_shards",
            "Media threads, by whether they run.",
            [
                (vec![("state", "alive")], plane.shards_alive as u64),
                (
                    vec![("state", "dead")],
                    (plane.shards.len() - plane.shards_alive.min(plane.shards.len())) as u64,
                ),
            ],
        ),
        histograms(
            "sidetone_media_tick_lag_seconds",
            "How late a media tick ran.",
            &TICK_LAG_BOUNDS_US.map(|bound| bound as f64 / 1e6),
            [Spread {
                labels: Vec::new(),
                counts: &sum_arrays(plane, |shard| &shard.tick_lag),
                sum: sum(&|shard| shard.tick_lag_us) as f64 / 1e6,
            }],
        ),
        histograms(
            "sidetone_call_media_ready_seconds",
            "How long media took to come up: ICE, first packet in and out from opening the leg, DTLS from its first datagram.",
            &MEDIA_READY_BOUNDS_MS.map(|bound| bound as f64 / 1e3),
            MediaStage::ALL.map(|stage| Spread {
                labels: vec![("stage", stage.label())],
                counts: &ready[stage as usize],
                sum: sum(&|shard| shard.media_ready_us[stage as usize]) as f64 / 1e6,
            }),
        ),
    ]
}

fn recording_families(recorder: &RecorderCounters) -> [MetricFamily; 3] {
    [
        gauges(
            "sidetone_recordings",
            "Recordings that are being made.",
            [(vec![], recorder.active)],
        ),
        counters(
            "sidetone_recordings_total",
            "Recordings by what became of them: complete, lost to a file that could not be written, or not begun.",
            [
                (vec![("result", "completed")], recorder.completed),
                (vec![("result", "failed")], recorder.failed),
                (vec![("result", "refused")], recorder.refused),
            ],
        ),
        counters(
            "sidetone_recording_packets_dropped_total",
            "Packets lost to recordings because the disk or its thread fell behind.",
            [(vec![], recorder.packets_dropped)],
        ),
    ]
}

type ByCodec = [u64; CODECS.len()];

fn by_codec(
    name: &str,
    help: &str,
    plane: &PlaneCounters,
    read: impl Fn(&ShardCounters) -> (&ByCodec, &ByCodec),
) -> MetricFamily {
    let mut received = ByCodec::default();
    let mut sent = ByCodec::default();
    for shard in &plane.shards {
        let (shard_in, shard_out) = read(shard);
        add(&mut received, shard_in);
        add(&mut sent, shard_out);
    }
    let rows = CODECS.iter().flat_map(|codec| {
        let (index, label) = (codec_index(*codec), codec_label(*codec));
        [("in", received[index]), ("out", sent[index])]
            .map(|(direction, count)| (vec![("direction", direction), ("codec", label)], count))
    });
    counters(name, help, rows)
}

fn add<const N: usize>(total: &mut [u64; N], counts: &[u64; N]) {
    for (sum, count) in total.iter_mut().zip(counts) {
        *sum += count;
    }
}

fn sessions(plane: &PlaneCounters) -> MetricFamily {
    let mut rows = Vec::new();
    for (kind, profile) in [(LegKind::Plain, "plain"), (LegKind::WebRtc, "webrtc")] {
        let of = |index: usize| plane.shards.iter().map(|s| s.legs[kind as usize][index]).sum();
        for codec in CODECS {
            let labels = vec![("profile", profile), ("codec", codec_label(codec))];
            rows.push((labels, of(codec_index(codec))));
        }
        rows.push((vec![("profile", profile), ("codec", "none")], of(CODECS.len())));
    }
    gauges("sidetone_media_sessions", "Media legs now open.", rows)
}

fn ports(plane: &PlaneCounters) -> MetricFamily {
    let used = plane.port_pairs_used as u64;
    let free = (plane.port_pairs as u64).saturating_sub(used);
    let rows = [(vec![("state", "used")], used), (vec![("state", "free")], free)];
    gauges("sidetone_media_port_pairs", "Pairs of ports for plain RTP and RTCP.", rows)
}

fn sum_arrays<const N: usize>(
    plane: &PlaneCounters,
    read: impl Fn(&ShardCounters) -> &[u64; N],
) -> [u64; N] {
    let mut total = [0; N];
    for shard in &plane.shards {
        add(&mut total, read(shard));
    }
    total
}

type Labels<'a> = Vec<(&'a str, &'a str)>;

pub(super) fn counters<'a>(
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> MetricFamily {
    family(name, help, MetricType::COUNTER, rows, |metric, value| {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    })
}

pub(super) fn gauges<'a>(
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> MetricFamily {
    family(name, help, MetricType::GAUGE, rows, |metric, value| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    })
}

fn family<'a>(
    name: &str,
    help: &str,
    kind: MetricType,
    rows: impl IntoIterator<Item = (Labels<'a>, u64)>,
    set: impl Fn(&mut Metric, f64),
) -> MetricFamily {
    let metrics = rows
        .into_iter()
        .map(|(labels, value)| {
            let mut metric = Metric::from_label(labels.into_iter().map(pair).collect());
            set(&mut metric, value as f64);
            metric
        })
        .collect();
    assemble(name, help, kind, metrics)
}

/// What was counted for one set of labels of a histogram.
struct Spread<'a> {
    labels: Labels<'a>,
    /// Not cumulative, one more than there are bounds.
    counts: &'a [u64],
    sum: f64,
}

fn histograms<'a>(
    name: &str,
    help: &str,
    bounds: &[f64],
    spreads: impl IntoIterator<Item = Spread<'a>>,
) -> MetricFamily {
    let metrics = spreads
        .into_iter()
        .map(|spread| {
            let mut metric = Metric::from_label(spread.labels.iter().copied().map(pair).collect());
            metric.set_histogram(spread.histogram(bounds));
            metric
        })
        .collect();
    assemble(name, help, MetricType::HISTOGRAM, metrics)
}

impl Spread<'_> {
    fn histogram(&self, bounds: &[f64]) -> Histogram {
        let mut cumulative = 0;
        let mut buckets = Vec::with_capacity(bounds.len());
        for (bound, count) in bounds.iter().zip(self.counts) {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            buckets.push(bucket);
        }
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(self.counts.iter().sum());
        histogram.set_sample_sum(self.sum);
        histogram
    }
}

fn assemble(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn pair((name, value): (&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn codec_label(codec: Codec) -> &'static str {
    match codec {
        Codec::Pcmu => "pcmu",
        Codec::Pcma => "pcma",
        Codec::Opus => "opus",
        Codec::G722 => "g722",
    }
}
