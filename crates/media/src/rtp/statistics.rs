//! What a receiver counts: loss, jitter, a source that changes (RFC 3550 §A.1, §A.3, §A.8).

use std::time::{Duration, Instant};

use super::{ExtendedSequenceNumber, RtpTimestamp, SequenceNumber, Ssrc};

/// How an arriving packet fits what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It belongs to the stream.
    InOrder(ExtendedSequenceNumber),
    /// It belongs to the stream and others came before it.
    Late(ExtendedSequenceNumber),
    /// It starts a stream: the first one, another source, or one that started anew.
    Started(ExtendedSequenceNumber),
    /// It is far from the stream and may be a stray; the next one decides (RFC 3550 §A.1).
    OnProbation,
}

/// The counts of one inbound stream and the reports made of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReceiveStatistics {
    ssrc: Option<Ssrc>,
    /// Streams begun so far.
    streams: u32,
    base: u64,
    highest: ExtendedSequenceNumber,
    received: u64,
    bytes: u64,
    /// What would come next if a jump were a restart.
    restart: Option<(Ssrc, SequenceNumber)>,
    transit: Option<i64>,
    /// Interarrival jitter in sixteenths of a tick (RFC 3550 §A.8).
    jitter_16ths: u32,
    expected_prior: u64,
    received_prior: u64,
    /// Packets and losses of streams this leg heard before the present one.
    earlier_received: u64,
    earlier_lost: u64,
}

/// A report block of RTCP about one inbound stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream the block is about.
    pub ssrc: Ssrc,
    /// Loss since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the stream began; negative with duplicates.
    pub cumulative_lost: i32,
    /// The highest sequence number received, with 16 bits of wraps.
    pub highest_sequence: u32,
    /// Interarrival jitter in ticks.
    pub jitter: u32,
    /// The middle 32 bits of the last sender report's NTP time; 0 without one.
    pub last_sender_report: u32,
    /// Delay since then in 65,536ths of a second.
    pub delay_since_last: u32,
}

impl ReceiveStatistics {
    /// Takes note of a packet from `ssrc`.
    ///
    /// A packet of another source or far from the stream is on probation until the next one
    /// follows it directly (RFC 3550 §A.1); `authentic` packets start a stream at once.
    pub fn receive(&mut self, ssrc: Ssrc, number: SequenceNumber, authentic: bool) -> Arrival {
        if self.ssrc == Some(ssrc) {
            let distance = number.distance_from(self.highest.sequence_number());
            if (1..=DROPOUT_MAX).contains(&distance) {
                self.highest = self.highest.nearest(number);
                self.received += 1;
                self.restart = None;
                return Arrival::InOrder(self.highest);
            }
            if (-MISORDER_MAX..=0).contains(&distance) {
                self.received += 1;
                return Arrival::Late(self.highest.nearest(number));
            }
        }
        if self.ssrc.is_some() && !authentic && self.restart != Some((ssrc, number)) {
            self.restart = Some((ssrc, number.plus(1)));
            return Arrival::OnProbation;
        }
        self.start(ssrc, number);
        Arrival::Started(self.highest)
    }

    fn start(&mut self, ssrc: Ssrc, number: SequenceNumber) {
        let (earlier_received, earlier_lost) = (self.received_total(), self.lost_total());
        *self = Self {
            ssrc: Some(ssrc),
            streams: self.streams.wrapping_add(1),
            base: u64::from(number.0) + WRAP,
            highest: ExtendedSequenceNumber(u64::from(number.0) + WRAP),
            received: 1,
            bytes: self.bytes,
            earlier_received,
            earlier_lost,
            ..Self::default()
        };
    }

    /// Takes note of when a packet with `timestamp` arrived: `since_epoch` is the time since any
    /// fixed instant. Updates the jitter (RFC 3550 §A.8).
    pub fn time(&mut self, timestamp: RtpTimestamp, clock_rate_hz: u32, since_epoch: Duration) {
        // Ten years at 48 kHz fit.
        let ticks = since_epoch.as_micros() as u64 * u64::from(clock_rate_hz) / 1_000_000;
        let transit = i64::from(ticks as u32) - i64::from(timestamp.0);
        if let Some(last) = self.transit {
            let difference = ((transit - last) as i32).unsigned_abs();
            // A jump of seconds is a new timeline, not jitter.
            if difference < clock_rate_hz.saturating_mul(5) {
                let jitter = self.jitter_16ths;
                self.jitter_16ths = jitter - ((jitter + 8) >> 4) + difference;
            }
        }
        self.transit = Some(transit);
    }

    /// Counts the payload of a packet that is used.
    pub fn count_payload(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Payload bytes of packets used, over all streams of the leg.
    pub fn bytes_total(&self) -> u64 {
        self.bytes
    }

    /// The stream heard at present.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.ssrc
    }

    /// Which of the streams heard so far is the present one, counted from 1.
    pub fn stream(&self) -> u32 {
        self.streams
    }

    /// Whether a number, widened elsewhere, is ahead of every packet of the stream.
    pub fn is_newest(&self, number: ExtendedSequenceNumber) -> bool {
        let highest = self.highest.sequence_number();
        self.ssrc.is_none() || number.sequence_number().distance_from(highest) > 0
    }

    /// Interarrival jitter in ticks of the clock rate.
    pub fn jitter(&self) -> u32 {
        self.jitter_16ths >> 4
    }

    /// Packets received, over all streams of the leg.
    pub fn received_total(&self) -> u64 {
        self.earlier_received + self.received
    }

    /// Packets that never came, over all streams of the leg.
    pub fn lost_total(&self) -> u64 {
        self.earlier_lost + self.expected().saturating_sub(self.received)
    }

    fn expected(&self) -> u64 {
        if self.ssrc.is_some() { self.highest.0 - self.base.min(self.highest.0) + 1 } else { 0 }
    }

    /// A report block about the stream since the last one (RFC 3550 §A.3); `sender_report` is the
    /// peer's last one: its middle NTP bits and when it came.
    pub fn report(
        &mut self,
        sender_report: Option<(u32, Instant)>,
        now: Instant,
    ) -> Option<ReportBlock> {
        let ssrc = self.ssrc?;
        let expected = self.expected();
        let expected_interval = expected - self.expected_prior.min(expected);
        let received_interval = self.received - self.received_prior.min(self.received);
        self.expected_prior = expected;
        self.received_prior = self.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0);
        let lost = expected as i64 - self.received as i64;
        let (last, delay) = match sender_report {
            Some((middle, at)) => {
                (middle, sixty_five_thousandths(now.saturating_duration_since(at)))
            }
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc,
            fraction_lost: fraction.min(255) as u8,
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: (self.highest.0 - WRAP) as u32,
            jitter: self.jitter(),
            last_sender_report: last,
            delay_since_last: delay,
        })
    }
}

fn sixty_five_thousandths(duration: Duration) -> u32 {
    (duration.as_micros() * 65_536 / 1_000_000).min(u128::from(u32::MAX)) as u32
}

// RFC 3550 §A.1: how far ahead or behind a packet may be and still belong to the stream.
const DROPOUT_MAX: i16 = 3000;
const MISORDER_MAX: i16 = 100;
/// One wrap is added to the numbers of a stream, so that a late first packet does not go below 0.
const WRAP: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ssrc = Ssrc(1);
    const B: Ssrc = Ssrc(2);

    fn number(number: u16) -> SequenceNumber {
        SequenceNumber(number)
    }

    #[test]
    fn rfc3550_a_3_loss_is_expected_minus_received() {
        let mut statistics = ReceiveStatistics::default();
        for n in [65_530, 65_531, 65_535, 0, 2] {
            statistics.receive(A, number(n), false);
        }
        let report = statistics.report(None, Instant::now()).unwrap();
        assert_eq!(report.cumulative_lost, 4);
        assert_eq!(report.fraction_lost, (4 * 256 / 9) as u8);
        assert_eq!(report.highest_sequence, 0x1_0002);
        assert_eq!(statistics.lost_total(), 4);
        statistics.receive(A, number(3), false);
        assert_eq!(statistics.report(None, Instant::now()).unwrap().fraction_lost, 0);
    }

    #[test]
    fn rfc3550_a_1_a_jump_is_on_probation_until_it_goes_on() {
        let mut statistics = ReceiveStatistics::default();
        statistics.receive(A, number(10), false);
        assert_eq!(statistics.receive(A, number(20_000), false), Arrival::OnProbation);
        assert!(matches!(statistics.receive(A, number(11), false), Arrival::InOrder(_)));
        assert_eq!(statistics.receive(B, number(500), false), Arrival::OnProbation);
        assert!(matches!(statistics.receive(B, number(501), false), Arrival::Started(_)));
        assert_eq!(statistics.ssrc(), Some(B));
        assert_eq!(statistics.received_total(), 3);
    }

    #[test]
    fn an_authentic_packet_of_another_source_starts_at_once() {
        let mut statistics = ReceiveStatistics::default();
        statistics.receive(A, number(10), true);
        assert!(matches!(statistics.receive(B, number(900), true), Arrival::Started(_)));
    }

    #[test]
    fn a_late_packet_keeps_its_place() {
        let mut statistics = ReceiveStatistics::default();
        statistics.receive(A, number(2), false);
        let Arrival::Late(late) = statistics.receive(A, number(65_535), false) else {
            panic!("not late");
        };
        assert_eq!(late.0, 0xffff);
    }

    #[test]
    fn rfc3550_a_8_jitter_of_an_even_stream_is_zero() {
        let mut even = ReceiveStatistics::default();
        let mut uneven = ReceiveStatistics::default();
        for n in 0..200_u32 {
            let timestamp = RtpTimestamp(n.wrapping_mul(160).wrapping_add(u32::MAX - 1000));
            let at = Duration::from_millis(u64::from(n) * 20);
            even.time(timestamp, 8000, at);
            uneven.time(timestamp, 8000, at + Duration::from_millis(u64::from(n % 2) * 10));
        }
        assert_eq!(even.jitter(), 0);
        assert!((75..=80).contains(&uneven.jitter()), "{}", uneven.jitter());
    }

    #[test]
    fn delay_since_the_sender_report_is_in_65536ths() {
        let mut statistics = ReceiveStatistics::default();
        statistics.receive(A, number(1), false);
        let at = Instant::now();
        let report = statistics.report(Some((7, at)), at + Duration::from_millis(500)).unwrap();
        assert_eq!((report.last_sender_report, report.delay_since_last), (7, 32_768));
    }
}
