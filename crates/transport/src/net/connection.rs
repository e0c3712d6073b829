//! One stream connection from Opened to Closed, and the queue of what is to be sent on it.

use std::{
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, timeout},
};
use tracing::debug;

use super::{
    CloseReason, DropReason, Inner, NetEvent, Query, SendError, admission::Slot, counters::Kind,
};
use crate::{Flow, Message, ParseError, TransportKind, framing::PONG};

/// The side of a connection that everybody else holds: it can be sent to and closed.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) flow: Flow,
    pub(super) inner: Arc<Inner>,
    pub(super) slot: Slot,
    queue: mpsc::Sender<Bytes>,
    queued_bytes: AtomicUsize,
    delivering: AtomicBool,
}

impl Connection {
    /// Queues bytes to be sent; a peer that lets too much pile up is cut off.
    pub(super) fn send(&self, bytes: Bytes) -> Result<(), SendError> {
        let length = bytes.len();
        let queued = self.queued_bytes.fetch_add(length, Ordering::Relaxed);
        if queued.saturating_add(length) > self.inner.config.queue_bytes_max && queued > 0 {
            return Err(self.refuse_slow_reader());
        }
        match self.queue.try_send(bytes) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(self.refuse_slow_reader()),
            Err(TrySendError::Closed(_)) => {
                self.counters().dropped(DropReason::NoFlow, 1);
                Err(SendError::NoFlow)
            }
        }
    }

    /// Asks the connection's task to end it.
    pub(super) fn close(&self, reason: CloseReason) {
        self.slot.closer().close(reason);
    }

    fn refuse_slow_reader(&self) -> SendError {
        self.counters().dropped(DropReason::QueueFull, 1);
        self.close(CloseReason::SlowReader);
        SendError::QueueFull
    }

    /// Waits until the end is asked for.
    pub(super) async fn closed(&self) -> CloseReason {
        self.slot.closer().closed().await
    }

    /// Takes written bytes off the account of what is queued.
    pub(super) fn written(&self, length: usize) {
        self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
        // Keep-alive answers are no messages.
        if length > PONG.len() {
            self.counters().message_out(length);
        }
    }

    /// Hands on one message and waits until it is taken.
    pub(super) async fn receive(&self, message: Message) -> Result<(), CloseReason> {
        self.slot.prove();
        self.counters().message_in(message.bytes().len());
        self.deliver(NetEvent::Message { flow: self.flow, message }).await
    }

    /// Reports bytes that are no message; whether the next one cannot be found after them.
    pub(super) async fn receive_unparsable(
        &self,
        error: ParseError,
        is_last: bool,
    ) -> Result<(), CloseReason> {
        self.counters().unparsable();
        debug!(flow = %self.flow.id, reason = error.reason(), "unparsable message");
        self.deliver(NetEvent::Unparsable { flow: self.flow, error, is_last }).await
    }

    /// Waits until the consumer takes the event; meanwhile nothing more is read from this peer.
    async fn deliver(&self, event: NetEvent) -> Result<(), CloseReason> {
        self.delivering.store(true, Ordering::Relaxed);
        let delivered = self.inner.events.send(event).await;
        self.delivering.store(false, Ordering::Relaxed);
        delivered.map_err(|_| CloseReason::Shutdown)
    }

    /// Whether the consumer, not the peer, is why nothing is read.
    pub(super) fn is_delivering(&self) -> bool {
        self.delivering.load(Ordering::Relaxed)
    }

    pub(super) fn counters(&self) -> &Kind {
        self.inner.counters.of(self.flow.kind)
    }
}

/// How many keep-alives a peer has sent in the current window.
#[derive(Debug, Default)]
pub(super) struct KeepAlives {
    window_end: Option<Instant>,
    count: u32,
}

impl KeepAlives {
    /// Counts one; false says that it was one too many.
    pub(super) fn take(&mut self, connection: &Connection) -> bool {
        connection.counters().keep_alive_in();
        let now = Instant::now();
        if self.window_end.is_none_or(|end| end <= now) {
            self.window_end = Some(now + KEEP_ALIVE_WINDOW);
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.count <= connection.inner.config.keep_alives_max
    }
}

/// What waits to be sent, held by the connection's task.
pub(super) type Queue = mpsc::Receiver<Bytes>;

/// Opens a connection, runs `body` with it and closes it: one Opened and one Closed, whatever
/// happens in between.
pub(super) async fn carry<F, Body>(inner: &Arc<Inner>, ends: Ends, slot: Slot, body: F)
where
    F: FnOnce(Arc<Connection>, Queue) -> Body,
    Body: Future<Output = CloseReason>,
{
    carry_with(inner, ends, slot, None, body).await;
}

/// The same for a connection that was opened with a URL.
pub(super) async fn carry_with<F, Body>(
    inner: &Arc<Inner>,
    ends: Ends,
    slot: Slot,
    query: Option<Query>,
    body: F,
) where
    F: FnOnce(Arc<Connection>, Queue) -> Body,
    Body: Future<Output = CloseReason>,
{
    let (sender, queue) = mpsc::channel(inner.config.queue_messages_max);
    let flow =
        Flow { id: inner.next_id(), kind: ends.kind, local: ends.local, remote: ends.remote };
    let connection = Arc::new(Connection {
        flow,
        inner: inner.clone(),
        slot,
        queue: sender,
        queued_bytes: AtomicUsize::new(0),
        delivering: AtomicBool::new(false),
    });
    inner.opened(&connection);
    // Without a consumer the closer already says Shutdown, or the first read will.
    let _ = connection.deliver(NetEvent::Opened { flow, query }).await;
    let body = AssertUnwindSafe(body(connection.clone(), queue)).catch_unwind();
    let reason = body.await.unwrap_or(CloseReason::Fault);
    inner.closed(&flow, reason);
    let _ = connection.deliver(NetEvent::Closed { flow, reason }).await;
}

/// The two ends of a connection and what runs over it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) kind: TransportKind,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// Reads what a peer still sends after our last byte, so that the kernel does not answer it with a
/// reset that overtakes that byte.
pub(super) async fn drain<R: AsyncRead + Unpin>(reader: &mut R, linger: Duration) {
    let drained = async {
        // Not an array, which would make every connection's task larger from the start.
        let mut buffer = BytesMut::with_capacity(4096);
        let mut rest = DRAINED_BYTES_MAX;
        while let Ok(length @ 1..) = reader.read_buf(&mut buffer).await {
            buffer.clear();
            rest = rest.saturating_sub(length);
            if rest == 0 {
                return;
            }
        }
    };
    // A peer that keeps the connection open past the linger time gets the reset.
    let _ = timeout(linger, drained).await;
}

/// The time in which `keep_alives_max` counts.
const KEEP_ALIVE_WINDOW: Duration = Duration::from_secs(10);
/// Enough for what was under way; a peer that sends more is not listening.
const DRAINED_BYTES_MAX: usize = 1_048_576;
