//! The open-file limit: raised at start, and what it means for the number of calls.

use std::ops::RangeInclusive;

/// Raises the soft limit of open files to the hard one and returns what is in force.
///
/// # Errors
/// When the system refuses; the limit is then as it was.
pub fn raise_open_files() -> std::io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// How many calls may be up at once: what is configured, or what the open-file limit carries
/// when every call needs a port pair of its own and a connection.
#[must_use]
pub fn calls_max(configured: usize, open_files: u64) -> usize {
    let carried = open_files.saturating_sub(RESERVED_FILES) / FILES_PER_CALL;
    configured.min(usize::try_from(carried).unwrap_or(usize::MAX)).max(1)
}

/// How many connections may be open at once: what is configured, or what is left when every call
/// has its ports.
#[must_use]
pub fn connections_max(configured: usize, open_files: u64, calls_max: usize) -> usize {
    let calls = u64::try_from(calls_max).unwrap_or(u64::MAX).saturating_mul(PORTS_PER_CALL);
    let left = open_files.saturating_sub(RESERVED_FILES).saturating_sub(calls);
    configured.min(usize::try_from(left).unwrap_or(usize::MAX)).max(1)
}

/// How many answered calls from one address may wait for their ACK when nobody showed a password: a
/// quarter of those that have room and ports, so that others can still call.
#[must_use]
pub fn unacknowledged_max(calls_max: usize, rtp_ports: &RangeInclusive<u16>) -> usize {
    let pairs = rtp_ports.end().saturating_sub(*rtp_ports.start()).div_ceil(2);
    (calls_max.min(usize::from(pairs)) / 4).max(1)
}

/// Listeners, epoll instances, the state folder, metrics scrapes and the standard streams.
const RESERVED_FILES: u64 = 200;
/// RTP, RTP to where it goes once that is known, and RTCP.
const PORTS_PER_CALL: u64 = 3;
/// The ports, and the connection the call came in on.
const FILES_PER_CALL: u64 = PORTS_PER_CALL + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_open_files_mean_few_calls() {
        assert_eq!(calls_max(5_000, 1_024), 206);
        assert_eq!(calls_max(5_000, 1_048_576), 5_000);
        assert_eq!(calls_max(5_000, 10), 1);
        assert_eq!(unacknowledged_max(5_000, &(10_100..=29_999)), 1_250);
        assert_eq!(unacknowledged_max(5_000, &(40_000..=40_399)), 50);
        assert_eq!(unacknowledged_max(1, &(10_100..=29_999)), 1);
        assert_eq!(connections_max(20_000, 1_024, 206), 206);
        assert_eq!(connections_max(20_000, 1_048_576, 5_000), 20_000);
    }
}
