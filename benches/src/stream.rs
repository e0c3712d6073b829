//! What arrived of one RTP stream: loss, order, timestamps and pacing (RFC 3550 §6.4.1, A.1, A.8).

use serde::Serialize;

/// The state of one received stream.
#[derive(Debug, Clone)]
pub struct Stream {
    timestamp_step: u32,
    start: Option<Start>,
    highest: u64,
    window: u64,
    last_ns: u64,
    received: u64,
    duplicates: u64,
    out_of_order: u64,
    timestamp_errors: u64,
    other_ssrc: u64,
    not_rtp: u64,
}

/// The first packet.
#[derive(Debug, Clone, Copy)]
struct Start {
    ssrc: u32,
    sequence_number: u64,
    rtp_timestamp: u32,
    arrived_ns: u64,
}

/// Sums over the streams of a load.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StreamTotals {
    /// Streams of which at least one packet came.
    pub heard: u64,
    /// Packets, duplicates left out.
    pub received: u64,
    /// Sequence numbers between the first and the last that never came.
    pub lost: u64,
    /// Packets that came a second time.
    pub duplicates: u64,
    /// Packets behind one with a higher sequence number.
    pub out_of_order: u64,
    /// Breaks: packets whose RTP timestamp does not follow from the one before.
    pub timestamp_errors: u64,
    /// Packets with another SSRC than the first.
    pub other_ssrc: u64,
    /// Datagrams that are not RTP.
    pub not_rtp: u64,
}

/// How evenly packets came, over all streams of a load.
#[derive(Debug, Clone)]
pub struct Pacing {
    interarrival: Histogram,
    lateness: Histogram,
}

impl Stream {
    /// A stream whose RTP timestamp grows by `timestamp_step` with each packet.
    #[must_use]
    pub fn new(timestamp_step: u32) -> Stream {
        Stream {
            timestamp_step,
            start: None,
            highest: 0,
            window: 0,
            last_ns: 0,
            received: 0,
            duplicates: 0,
            out_of_order: 0,
            timestamp_errors: 0,
            other_ssrc: 0,
            not_rtp: 0,
        }
    }

    /// Takes a datagram in; says whether it is a packet of this stream that was not here before.
    pub fn handle_datagram(&mut self, bytes: &[u8], pacing: &mut Pacing, arrived_ns: u64) -> bool {
        let Some(header) = Header::parse(bytes) else {
            self.not_rtp += 1;
            return false;
        };
        self.handle_packet(&header, pacing, arrived_ns)
    }

    /// As [`Stream::handle_datagram`], for a header that someone else has read.
    pub fn handle_packet(&mut self, header: &Header, pacing: &mut Pacing, arrived_ns: u64) -> bool {
        let Some(start) = self.start else {
            self.begin(header, arrived_ns);
            return true;
        };
        if header.ssrc != start.ssrc {
            self.other_ssrc += 1;
            return false;
        }
        let sequence_number = extend(header.sequence_number, self.highest);
        if !self.note(sequence_number) {
            self.duplicates += 1;
            return false;
        }
        self.received += 1;
        let frames = sequence_number.wrapping_sub(start.sequence_number);
        let expected =
            start.rtp_timestamp.wrapping_add((frames as u32).wrapping_mul(self.timestamp_step));
        if expected != header.rtp_timestamp {
            // One break is one error: what follows is measured from here.
            self.timestamp_errors += 1;
            let shift = header.rtp_timestamp.wrapping_sub(expected);
            self.start =
                Some(Start { rtp_timestamp: start.rtp_timestamp.wrapping_add(shift), ..start });
        }
        pacing.interarrival.add(arrived_ns.saturating_sub(self.last_ns));
        let due_ns = start.arrived_ns.saturating_add(frames.saturating_mul(FRAME_NS));
        pacing.lateness.add(arrived_ns.saturating_sub(due_ns));
        self.last_ns = arrived_ns;
        true
    }

    /// Packets so far, duplicates left out.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Adds what is known of this stream to the sums.
    pub fn add_to(&self, totals: &mut StreamTotals) {
        let expected = self.start.map_or(0, |start| self.highest - start.sequence_number + 1);
        totals.heard += u64::from(self.received > 0);
        totals.received += self.received;
        totals.lost += expected.saturating_sub(self.received);
        totals.duplicates += self.duplicates;
        totals.out_of_order += self.out_of_order;
        totals.timestamp_errors += self.timestamp_errors;
        totals.other_ssrc += self.other_ssrc;
        totals.not_rtp += self.not_rtp;
    }

    fn begin(&mut self, header: &Header, arrived_ns: u64) {
        // One cycle up, so that a packet before the first has a number too.
        let sequence_number = CYCLE + u64::from(header.sequence_number);
        let Header { ssrc, rtp_timestamp, .. } = *header;
        self.start = Some(Start { ssrc, sequence_number, rtp_timestamp, arrived_ns });
        self.highest = sequence_number;
        self.window = 1;
        self.last_ns = arrived_ns;
        self.received = 1;
    }

    /// Notes a sequence number; `false` if it was here before or is too old to tell.
    fn note(&mut self, sequence_number: u64) -> bool {
        if sequence_number > self.highest {
            let step = sequence_number - self.highest;
            self.window = if step < 64 { self.window << step | 1 } else { 1 };
            self.highest = sequence_number;
            return true;
        }
        let age = self.highest - sequence_number;
        let is_new = age < 64 && self.window & (1 << age) == 0;
        if is_new {
            self.window |= 1 << age;
            self.out_of_order += 1;
            // A packet from before the first one moves the start, or it would hide a loss.
            if let Some(start) = &mut self.start
                && sequence_number < start.sequence_number
            {
                let frames = (start.sequence_number - sequence_number) as u32;
                start.rtp_timestamp =
                    start.rtp_timestamp.wrapping_sub(frames.wrapping_mul(self.timestamp_step));
                start.arrived_ns =
                    start.arrived_ns.saturating_sub(u64::from(frames).saturating_mul(FRAME_NS));
                start.sequence_number = sequence_number;
            }
        }
        is_new
    }
}

/// The fields of an RTP header that are checked (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// 16 bits that wrap around.
    pub sequence_number: u16,
    /// In units of the codec's clock rate.
    pub rtp_timestamp: u32,
    /// Names the source.
    pub ssrc: u32,
}

impl Header {
    /// Reads a header; `None` if the datagram is not RTP version 2 or is too short.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let (head, _) = bytes.split_first_chunk::<12>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *head;
        // RFC 5761 §4: 192 to 223 in the second byte is RTCP.
        if first >> 6 != 2 || (192..=223).contains(&second) {
            return None;
        }
        Some(Header {
            sequence_number: u16::from_be_bytes([s0, s1]),
            rtp_timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
        })
    }
}

impl Pacing {
    /// Nothing measured yet.
    #[must_use]
    pub fn new() -> Pacing {
        Pacing { interarrival: Histogram::new(), lateness: Histogram::new() }
    }

    /// Milliseconds between two packets of a stream, below which `share` of all lie.
    #[must_use]
    pub fn interarrival_ms(&self, share: f64) -> f64 {
        self.interarrival.quantile_ms(share)
    }

    /// Milliseconds after the time that the first packet of the stream implies.
    #[must_use]
    pub fn lateness_ms(&self, share: f64) -> f64 {
        self.lateness.quantile_ms(share)
    }

    /// Adds another thread's figures.
    pub fn merge(&mut self, other: &Pacing) {
        self.interarrival.merge(&other.interarrival);
        self.lateness.merge(&other.lateness);
    }
}

impl Default for Pacing {
    fn default() -> Self {
        Pacing::new()
    }
}

/// Counts of durations in steps of 0.1 ms.
#[derive(Debug, Clone)]
struct Histogram {
    counts: Vec<u64>,
}

impl Histogram {
    fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS] }
    }

    fn add(&mut self, duration_ns: u64) {
        let bucket = usize::try_from(duration_ns / BUCKET_NS).unwrap_or(BUCKETS).min(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
    }

    fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// The upper edge of the bucket; the last one holds everything above.
    fn quantile_ms(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return (bucket + 1) as f64 * (BUCKET_NS as f64 / 1e6);
            }
        }
        0.0
    }
}

/// The widened form of a sequence number that is nearest to `reference`.
fn extend(sequence_number: u16, reference: u64) -> u64 {
    let distance = sequence_number.wrapping_sub(reference as u16) as i16;
    reference.saturating_add_signed(i64::from(distance))
}

const CYCLE: u64 = 1 << 16;
const FRAME_NS: u64 = 20_000_000;
const BUCKET_NS: u64 = 100_000;
const BUCKETS: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(order: &[u16]) -> StreamTotals {
        let (mut stream, mut pacing) = (Stream::new(160), Pacing::new());
        for &sequence_number in order {
            let rtp_timestamp =
                u32::from(sequence_number.wrapping_add(10)).wrapping_mul(160).wrapping_add(5);
            let header = Header { sequence_number, rtp_timestamp, ssrc: 9 };
            stream.handle_packet(&header, &mut pacing, 0);
        }
        let mut totals = StreamTotals::default();
        stream.add_to(&mut totals);
        totals
    }

    #[test]
    fn a_gap_is_a_loss_and_a_late_packet_fills_it() {
        let seen = totals(&[1, 2, 4, 5]);
        assert_eq!((seen.received, seen.lost, seen.out_of_order), (4, 1, 0));
        let seen = totals(&[1, 2, 4, 3, 5]);
        assert_eq!((seen.received, seen.lost, seen.out_of_order), (5, 0, 1));
    }

    #[test]
    fn the_sequence_number_wraps_without_a_loss() {
        let order: Vec<u16> = (65_520..=65_525).collect();
        assert_eq!(totals(&order).timestamp_errors, 0);
        let seen = totals(&[65_534, 65_535, 0, 1]);
        assert_eq!((seen.received, seen.lost, seen.out_of_order), (4, 0, 0));
    }

    #[test]
    fn a_packet_twice_is_one_packet_and_one_before_the_first_counts() {
        let seen = totals(&[5, 6, 6, 4, 4]);
        assert_eq!((seen.received, seen.lost, seen.duplicates), (3, 0, 2));
        assert_eq!(seen.timestamp_errors, 0);
    }

    #[test]
    fn a_timestamp_that_does_not_follow_is_counted_once() {
        let (mut stream, mut pacing) = (Stream::new(160), Pacing::new());
        for (sequence_number, rtp_timestamp) in [(1, 0), (2, 160), (3, 480), (4, 640)] {
            let header = Header { sequence_number, rtp_timestamp, ssrc: 1 };
            stream.handle_packet(&header, &mut pacing, 0);
        }
        let mut totals = StreamTotals::default();
        stream.add_to(&mut totals);
        assert_eq!(totals.timestamp_errors, 1);
    }

    #[test]
    fn rtcp_and_short_datagrams_are_not_rtp() {
        let mut packet = [0_u8; 12];
        packet[0] = 0x80;
        assert!(Header::parse(&packet).is_some());
        assert!(Header::parse(&packet[..11]).is_none());
        packet[1] = 200;
        assert!(Header::parse(&packet).is_none());
    }

    #[test]
    fn pacing_tells_a_burst_from_an_even_stream() {
        let (mut stream, mut pacing) = (Stream::new(160), Pacing::new());
        for (index, arrived_ms) in [0_u64, 20, 40, 90, 90, 100].into_iter().enumerate() {
            let header = Header {
                sequence_number: index as u16,
                rtp_timestamp: index as u32 * 160,
                ssrc: 1,
            };
            stream.handle_packet(&header, &mut pacing, arrived_ms * 1_000_000);
        }
        assert!((pacing.interarrival_ms(1.0) - 50.1).abs() < 0.01);
        assert!((pacing.lateness_ms(1.0) - 30.1).abs() < 0.01);
    }
}
