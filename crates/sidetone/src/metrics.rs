//! Every metric family, in one place.
//!
//! Signalling counts as it goes, in the families of [`Metrics`]. The packet path counts in plain
//! integers of each shard and each listener; [`Collected`] sums them when Prometheus asks.
//! Labels are closed sets, and each of their series is there from the start.

mod collected;
mod families;
mod labels;
mod network;

use std::time::{Duration, SystemTime};

use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder,
};
use transport::{Fault, Method, Rejection, TransportKind};

use crate::registrar::Registrar;

pub use collected::Collected;
use families::Families;
pub use labels::{
    AuthResult, CallResult, Direction, EndCause, Refusal, RegistrationResult, WebhookResult,
};

/// The families that signalling and calls count in.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sip_requests: IntCounterVec,
    sip_responses: IntCounterVec,
    sip_parse_errors: IntCounterVec,
    sip_retransmissions: IntCounterVec,
    sip_transactions: IntGauge,
    registrations: IntGaugeVec,
    registration_attempts: IntCounterVec,
    auth_attempts: IntCounterVec,
    location_store_lost: IntGauge,
    calls: IntGaugeVec,
    calls_limit: IntGauge,
    calls_started: IntCounterVec,
    calls_ended: IntCounterVec,
    calls_rejected: IntCounterVec,
    call_duration: Histogram,
    call_setup: Histogram,
    media_setup_failures: IntCounterVec,
    media_oneway: IntCounterVec,
    rtp_lost: IntCounterVec,
    rtp_jitter: HistogramVec,
    rtp_round_trip: Histogram,
    dtmf_digits: IntCounterVec,
    dialplan_actions: IntCounterVec,
    webhook_requests: IntCounterVec,
    webhook_duration: Histogram,
    tls_certificate_expiry: Gauge,
    tls_reloads: IntCounterVec,
    config_reload_successful: IntGauge,
    config_reload_success_time: Gauge,
    ready: GaugeVec,
}

impl Metrics {
    /// All families, with every series of a closed label set at 0.
    ///
    /// # Errors
    /// When two families have one name; a fault of this module that its test finds.
    pub fn new(calls_max: usize) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let f = Families { registry: &registry };
        let metrics = Metrics {
            sip_requests: f.counters(
                "sidetone_sip_requests_total",
                "SIP requests received or sent, without retransmissions and the ACKs of refusals.",
                &["direction", "transport", "method"],
            )?,
            sip_responses: f.counters(
                "sidetone_sip_responses_total",
                "SIP responses received or sent, without retransmissions and those to our CANCELs.",
                &["direction", "method", "code"],
            )?,
            sip_parse_errors: f.counters(
                "sidetone_sip_parse_errors_total",
                "Datagrams, frames and messages that broke a rule, by the first one broken.",
                &["transport", "reason"],
            )?,
            sip_retransmissions: f.counters(
                "sidetone_sip_retransmissions_total",
                "SIP messages sent again by us or received again.",
                &["direction"],
            )?,
            sip_transactions: f
                .gauge("sidetone_sip_transactions", "SIP transactions now in memory.")?,
            registrations: f.gauges(
                "sidetone_registrations",
                "Contacts now bound.",
                &["transport"],
            )?,
            registration_attempts: f.counters(
                "sidetone_registration_attempts_total",
                "REGISTER requests by what they were answered; a first challenge is no failure.",
                &["result"],
            )?,
            auth_attempts: f.counters(
                "sidetone_auth_attempts_total",
                "Credentials by what they were worth; a first challenge is no failure.",
                &["method", "result"],
            )?,
            location_store_lost: f.gauge(
                "sidetone_location_store_lost_changes",
                "Changes of registrations that are not kept for the next process: lost since start, or waiting while the store fails.",
            )?,
            calls: f.gauges(
                "sidetone_calls",
                "Calls now in progress: those that came in, and those made for them.",
                &["direction", "state"],
            )?,
            calls_limit: f
                .gauge("sidetone_calls_limit", "Ceiling for calls in progress, each one called by a call counting as another.")?,
            calls_started: f.counters(
                "sidetone_calls_started_total",
                "Calls started.",
                &["direction", "transport"],
            )?,
            calls_ended: f.counters(
                "sidetone_calls_ended_total",
                "Calls ended, by how far they came and what ended them.",
                &["direction", "result", "cause"],
            )?,
            calls_rejected: f.counters(
                "sidetone_calls_rejected_total",
                "INVITE requests refused, by reason.",
                &["reason"],
            )?,
            call_duration: f.histogram(
                "sidetone_call_duration_seconds",
                "Answer to end.",
                &[1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0],
            )?,
            call_setup: f.histogram(
                "sidetone_call_setup_seconds",
                "INVITE received to 200 sent.",
                &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0],
            )?,
            media_setup_failures: f.counters(
                "sidetone_media_setup_failures_total",
                "Calls whose media never came up.",
                &["reason"],
            )?,
            media_oneway: f.counters(
                "sidetone_media_oneway_calls_total",
                "Ended answered calls with no packets one way.",
                &["missing"],
            )?,
            rtp_lost: f.counters(
                "sidetone_rtp_packets_lost_total",
                "RTP packets never received, as counted by us and as reported by peers when a leg ends.",
                &["direction"],
            )?,
            rtp_jitter: f.histograms(
                "sidetone_rtp_jitter_seconds",
                "Interarrival jitter of a leg at its end.",
                &["direction"],
                &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16],
            )?,
            rtp_round_trip: f.histogram(
                "sidetone_rtp_round_trip_seconds",
                "RTCP round trip of a leg at its end.",
                &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8],
            )?,
            dtmf_digits: f.counters(
                "sidetone_dtmf_digits_total",
                "DTMF digits received.",
                &["method"],
            )?,
            dialplan_actions: f.counters(
                "sidetone_dialplan_actions_total",
                "Dialplan applications run.",
                &["application"],
            )?,
            webhook_requests: f.counters(
                "sidetone_webhook_requests_total",
                "Webhooks asked, by what came of it after one retry.",
                &["result"],
            )?,
            webhook_duration: f.histogram(
                "sidetone_webhook_duration_seconds",
                "How long a webhook took, one retry included.",
                &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0],
            )?,
            tls_certificate_expiry: f.float_gauge(
                "sidetone_tls_certificate_expiry_timestamp_seconds",
                "End of the validity of the certificate now served; 0 when none is.",
            )?,
            tls_reloads: f.counters(
                "sidetone_tls_reloads_total",
                "Certificates read again, by whether they could be served.",
                &["result"],
            )?,
            config_reload_successful: f.gauge(
                "sidetone_config_last_reload_successful",
                "Whether the last configuration, of the start or a reload, was applied (1) or refused (0).",
            )?,
            config_reload_success_time: f.float_gauge(
                "sidetone_config_last_reload_success_timestamp_seconds",
                "Unix time of the last configuration that was applied.",
            )?,
            ready: f.float_gauges(
                "sidetone_ready",
                "1 for the state the node is in; it takes new calls when that is ok.",
                &["reason"],
            )?,
            registry: registry.clone(),
        };
        f.constants()?;
        metrics.calls_limit.set(i64::try_from(calls_max).unwrap_or(i64::MAX));
        metrics.config_reload(true);
        metrics.start_at_zero();
        Ok(metrics)
    }

    fn start_at_zero(&self) {
        for result in ["ok", "failed"] {
            self.tls_reloads.with_label_values(&[result]);
        }
        for direction in ["in", "out"] {
            for method in Method::KNOWN.iter().map(Method::label).chain(["other"]) {
                for kind in TransportKind::ALL {
                    self.sip_requests.with_label_values(&[direction, kind.label(), method]);
                }
                for code in CODES.iter().map(|(_, label)| *label).chain(["other"]) {
                    self.sip_responses.with_label_values(&[direction, method, code]);
                }
            }
            self.sip_retransmissions.with_label_values(&[direction]);
            self.rtp_lost.with_label_values(&[direction]);
            self.rtp_jitter.with_label_values(&[direction]);
            self.media_oneway.with_label_values(&[direction]);
        }
        let faults = Fault::ALL.iter().map(|fault| fault.label());
        for reason in faults.chain(Rejection::LABELS) {
            for kind in TransportKind::ALL {
                self.sip_parse_errors.with_label_values(&[kind.label(), reason]);
            }
        }
        for kind in TransportKind::ALL {
            self.registrations.with_label_values(&[kind.label()]);
        }
        for result in RegistrationResult::ALL {
            self.registration_attempts.with_label_values(&[result.label()]);
        }
        for result in AuthResult::ALL {
            for method in [Method::Register, Method::Invite] {
                self.auth_attempts.with_label_values(&[method.label(), result.label()]);
            }
        }
        for direction in ["in", "out"] {
            for state in ["ringing", "answered"] {
                self.calls.with_label_values(&[direction, state]);
            }
            for kind in TransportKind::ALL {
                self.calls_started.with_label_values(&[direction, kind.label()]);
            }
            for result in CallResult::ALL {
                for cause in EndCause::ALL {
                    let labels = [direction, result.label(), cause.label()];
                    self.calls_ended.with_label_values(&labels);
                }
            }
        }
        for refusal in Refusal::ALL {
            self.calls_rejected.with_label_values(&[refusal.label()]);
        }
        for reason in SETUP_FAILURES {
            self.media_setup_failures.with_label_values(&[reason]);
        }
        for method in DTMF_METHODS {
            self.dtmf_digits.with_label_values(&[method]);
        }
        for application in dialplan::app::APPLICATIONS.iter().map(|entry| entry.name) {
            self.dialplan_actions.with_label_values(&[application]);
        }
        for result in WebhookResult::ALL {
            self.webhook_requests.with_label_values(&[result.label()]);
        }
        for reason in READY_REASONS {
            self.ready.with_label_values(&[reason]);
        }
    }

    /// A request that was not seen before came in or went out.
    pub fn request(&self, direction: Direction, kind: TransportKind, method: &Method) {
        let labels = [direction.label(), kind.label(), method.label()];
        self.sip_requests.with_label_values(&labels).inc();
    }

    /// A response that was not seen before came in or went out.
    pub fn response(&self, direction: Direction, method: &Method, status: u16) {
        let labels = [direction.label(), method.label(), code_label(status)];
        self.sip_responses.with_label_values(&labels).inc();
    }

    /// What came broke a rule of SIP; `reason` is a label of the transport crate.
    pub fn parse_error(&self, kind: TransportKind, reason: &str) {
        self.sip_parse_errors.with_label_values(&[kind.label(), reason]).inc();
    }

    /// Messages that were sent or received again.
    pub fn retransmissions(&self, direction: Direction, count: u64) {
        self.sip_retransmissions.with_label_values(&[direction.label()]).inc_by(count);
    }

    /// What the registrar holds, and what its store has lost.
    pub fn registrations(&self, registrar: &Registrar) {
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (kind, count) in registrar.counts() {
            self.registrations.with_label_values(&[kind.label()]).set(whole(count));
        }
        self.location_store_lost.set(i64::try_from(registrar.store_failures()).unwrap_or(i64::MAX));
    }

    /// A REGISTER was answered.
    pub fn registration(&self, result: RegistrationResult) {
        self.registration_attempts.with_label_values(&[result.label()]).inc();
    }

    /// Credentials were judged, or asked for.
    pub fn authentication(&self, method: &Method, result: AuthResult) {
        self.auth_attempts.with_label_values(&[method.label(), result.label()]).inc();
    }

    /// Transactions now in memory.
    pub fn transactions(&self, count: usize) {
        self.sip_transactions.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A call began, the caller's or one made for it.
    pub fn call_started(&self, direction: Direction, kind: TransportKind) {
        self.calls_started.with_label_values(&[direction.label(), kind.label()]).inc();
        self.calls.with_label_values(&[direction.label(), "ringing"]).inc();
    }

    /// A call was answered, `setup` after its INVITE.
    pub fn call_answered(&self, direction: Direction, setup: Duration) {
        if direction == Direction::In {
            self.call_setup.observe(setup.as_secs_f64());
        }
        self.calls.with_label_values(&[direction.label(), "ringing"]).dec();
        self.calls.with_label_values(&[direction.label(), "answered"]).inc();
    }

    /// A call ended; `answered` is how long ago we answered it, if we did: where the caller cancelled it
    /// meanwhile, the result says otherwise.
    pub fn call_ended(
        &self,
        direction: Direction,
        result: CallResult,
        cause: EndCause,
        answered: Option<Duration>,
    ) {
        let labels = [direction.label(), result.label(), cause.label()];
        self.calls_ended.with_label_values(&labels).inc();
        let state = if answered.is_some() { "answered" } else { "ringing" };
        self.calls.with_label_values(&[direction.label(), state]).dec();
        let is_counted = direction == Direction::In && result == CallResult::Answered;
        if let Some(duration) = answered.filter(|_| is_counted) {
            self.call_duration.observe(duration.as_secs_f64());
        }
    }

    /// An INVITE was refused.
    pub fn call_rejected(&self, refusal: Refusal) {
        self.calls_rejected.with_label_values(&[refusal.label()]).inc();
    }

    /// Media of a call never came up; `reason` is one of the labels of this module.
    pub fn media_setup_failed(&self, reason: &'static str) {
        self.media_setup_failures.with_label_values(&[reason]).inc();
    }

    /// What an answered leg carried, at its end.
    pub fn leg_closed(&self, statistics: &media::shard::LegStatistics) {
        let lost = |direction, count| self.rtp_lost.with_label_values(&[direction]).inc_by(count);
        lost("in", statistics.lost_in);
        lost("out", statistics.lost_out);
        if statistics.packets_in > 0 {
            let jitter = statistics.jitter_in.as_secs_f64();
            self.rtp_jitter.with_label_values(&["in"]).observe(jitter);
        } else if statistics.packets_out > 0 {
            self.media_oneway.with_label_values(&["in"]).inc();
        }
        if statistics.packets_out == 0 && statistics.packets_in > 0 {
            self.media_oneway.with_label_values(&["out"]).inc();
        }
        if let Some(round_trip) = statistics.round_trip {
            self.rtp_jitter
                .with_label_values(&["out"])
                .observe(statistics.jitter_out.as_secs_f64());
            self.rtp_round_trip.observe(round_trip.as_secs_f64());
        }
    }

    /// A DTMF digit came; `method` is `rfc4733`, `info` or `inband`.
    pub fn dtmf(&self, method: &'static str) {
        self.dtmf_digits.with_label_values(&[method]).inc();
    }

    /// A dialplan application began.
    pub fn application(&self, name: &str) {
        self.dialplan_actions.with_label_values(&[name]).inc();
    }

    /// A webhook was asked.
    pub fn webhook(&self, result: WebhookResult, took: Duration) {
        self.webhook_requests.with_label_values(&[result.label()]).inc();
        self.webhook_duration.observe(took.as_secs_f64());
    }

    /// The certificate that is served ends then, seconds since 1970.
    pub fn certificate_expiry(&self, unix_s: i64) {
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double")]
        self.tls_certificate_expiry.set(unix_s as f64);
    }

    /// A certificate was read again, and is served or not.
    pub fn certificate_reload(&self, is_served: bool) {
        let result = if is_served { "ok" } else { "failed" };
        self.tls_reloads.with_label_values(&[result]).inc();
    }

    /// A configuration was applied or refused.
    pub fn config_reload(&self, is_applied: bool) {
        self.config_reload_successful.set(i64::from(is_applied));
        if is_applied {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.config_reload_success_time.set(now.as_secs_f64());
        }
    }

    /// The state that `/readyz` reports.
    pub fn readiness(&self, state: Result<(), &'static str>) {
        let now = match state {
            Ok(()) => "ok",
            Err(reason) if READY_REASONS.contains(&reason) => reason,
            Err(_) => "failed",
        };
        for reason in READY_REASONS {
            let value = f64::from(u8::from(reason == now));
            self.ready.with_label_values(&[reason]).set(value);
        }
    }

    /// Everything in the text format of Prometheus, with families that were counted elsewhere.
    ///
    /// # Errors
    /// When the encoder finds an inconsistent family.
    pub fn render(&self, others: Vec<MetricFamily>) -> prometheus::Result<String> {
        let mut families = self.registry.gather();
        families.extend(others);
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::with_capacity(64 << 10);
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn code_label(status: u16) -> &'static str {
    CODES.binary_search_by_key(&status, |(code, _)| *code).map_or("other", |index| CODES[index].1)
}

/// The status codes that are counted one by one.
const CODES: [(u16, &str); 37] = [
    (100, "100"),
    (180, "180"),
    (183, "183"),
    (200, "200"),
    (202, "202"),
    (301, "301"),
    (302, "302"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (413, "413"),
    (415, "415"),
    (416, "416"),
    (420, "420"),
    (422, "422"),
    (423, "423"),
    (439, "439"),
    (480, "480"),
    (481, "481"),
    (482, "482"),
    (483, "483"),
    (484, "484"),
    (486, "486"),
    (487, "487"),
    (488, "488"),
    (489, "489"),
    (491, "491"),
    (500, "500"),
    (501, "501"),
    (503, "503"),
    (504, "504"),
    (505, "505"),
    (513, "513"),
    (603, "603"),
];

const DTMF_METHODS: [&str; 3] = ["rfc4733", "info", "inband"];
const READY_REASONS: [&str; 4] = ["ok", "draining", "overload", "failed"];
const SETUP_FAILURES: [&str; 5] = ["timeout", "fingerprint", "handshake", "peer_closed", "no_leg"];
