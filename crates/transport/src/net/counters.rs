//! What was carried, opened and dropped, per transport.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{CloseReason, DropReason};
use crate::TransportKind;

/// The counters of one transport since start; `connections_open` alone goes down.
#[derive(Debug, Clone)]
pub struct NetCounters {
    /// The transport counted.
    pub kind: TransportKind,
    /// SIP messages that could be indexed.
    pub messages_in: u64,
    /// SIP messages handed to the kernel.
    pub messages_out: u64,
    /// Bytes of the messages received, keep-alives and framing left out.
    pub bytes_in: u64,
    /// Bytes of the messages sent, framing left out.
    pub bytes_out: u64,
    /// Messages that could not be indexed.
    pub unparsable: u64,
    /// CRLF keep-alives and WebSocket pings received.
    pub keep_alives_in: u64,
    /// Stream connections opened.
    pub connections_opened: u64,
    /// Stream connections open now.
    pub connections_open: u64,
    /// Stream connections closed, by reason.
    pub connections_closed: [(CloseReason, u64); CloseReason::ALL.len()],
    /// Messages and connections dropped, by reason.
    pub dropped: [(DropReason, u64); DropReason::ALL.len()],
}

/// The live counters behind [`NetCounters`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    kinds: [Kind; TransportKind::ALL.len()],
}

impl Counters {
    pub(super) fn of(&self, kind: TransportKind) -> &Kind {
        &self.kinds[kind as usize]
    }

    pub(super) fn snapshot(&self) -> Vec<NetCounters> {
        TransportKind::ALL.into_iter().map(|kind| self.of(kind).snapshot(kind)).collect()
    }
}

/// The live counters of one transport.
#[derive(Debug, Default)]
pub(super) struct Kind {
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    unparsable: AtomicU64,
    keep_alives_in: AtomicU64,
    opened: AtomicU64,
    closed: [AtomicU64; CloseReason::ALL.len()],
    dropped: [AtomicU64; DropReason::ALL.len()],
}

impl Kind {
    pub(super) fn message_in(&self, length: usize) {
        add(&self.messages_in, 1);
        add(&self.bytes_in, length as u64);
    }

    pub(super) fn message_out(&self, length: usize) {
        add(&self.messages_out, 1);
        add(&self.bytes_out, length as u64);
    }

    pub(super) fn unparsable(&self) {
        add(&self.unparsable, 1);
    }

    pub(super) fn keep_alive_in(&self) {
        add(&self.keep_alives_in, 1);
    }

    pub(super) fn opened(&self) {
        add(&self.opened, 1);
    }

    pub(super) fn closed(&self, reason: CloseReason) {
        add(&self.closed[reason as usize], 1);
    }

    pub(super) fn dropped(&self, reason: DropReason, count: u64) {
        add(&self.dropped[reason as usize], count);
    }

    fn snapshot(&self, kind: TransportKind) -> NetCounters {
        // Closed is read before opened, so that the difference is never negative.
        let connections_closed =
            CloseReason::ALL.map(|reason| (reason, read(&self.closed[reason as usize])));
        let connections_opened = read(&self.opened);
        let closed: u64 = connections_closed.iter().map(|(_, count)| count).sum();
        NetCounters {
            kind,
            messages_in: read(&self.messages_in),
            messages_out: read(&self.messages_out),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            unparsable: read(&self.unparsable),
            keep_alives_in: read(&self.keep_alives_in),
            connections_opened,
            connections_open: connections_opened.saturating_sub(closed),
            connections_closed,
            dropped: DropReason::ALL.map(|reason| (reason, read(&self.dropped[reason as usize]))),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
