//! SIP on a stream, plain or under TLS: messages follow each other, told apart by Content-Length
//! (RFC 3261 §18.3).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::debug;

use super::{
    CloseReason,
    connection::{Connection, KeepAlives, Queue, drain},
};
use crate::framing::{PONG, StreamDecoder, StreamEvent};

/// Carries SIP until the connection ends.
pub(super) async fn run<S>(connection: Arc<Connection>, queue: Queue, stream: S) -> CloseReason
where
    S: AsyncRead + AsyncWrite,
{
    let linger = connection.inner.config.linger;
    let (reader, writer) = split(stream);
    let has_sent = AtomicBool::new(false);
    let mut inbound = Inbound::new(&connection, reader, &has_sent);
    let mut outbound = Outbound {
        connection: &connection,
        writer,
        queue,
        current: Bytes::new(),
        has_sent: &has_sent,
    };
    let reason = tokio::select! {
        biased;
        reason = connection.closed() => reason,
        reason = outbound.run() => reason,
        reason = inbound.run() => reason,
    };
    // Whoever answered an unparsable message and then closed did so because of it.
    let reason = match reason {
        CloseReason::Local if inbound.is_broken => CloseReason::Unparsable,
        reason => reason,
    };
    // A peer that does not read or is gone must not hold the connection open.
    let _ = timeout(linger, outbound.end(reason)).await;
    if reason.leaves_listener() {
        drain(&mut inbound.reader, linger).await;
    }
    reason
}

/// What the peer sends.
struct Inbound<'a, S> {
    connection: &'a Connection,
    reader: ReadHalf<S>,
    decoder: StreamDecoder,
    has_sent: &'a AtomicBool,
    keep_alives: KeepAlives,
    awaited: Awaited,
    /// When what is awaited must be there.
    deadline: Instant,
    /// A message could not be told from the next.
    is_broken: bool,
}

/// What a peer that sends nothing is late with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    FirstMessage,
    RestOfMessage,
    Anything,
}

impl<'a, S: AsyncRead + AsyncWrite> Inbound<'a, S> {
    fn new(connection: &'a Connection, reader: ReadHalf<S>, has_sent: &'a AtomicBool) -> Self {
        let config = &connection.inner.config;
        Self {
            connection,
            reader,
            decoder: StreamDecoder::new(config.limits.clone()),
            has_sent,
            keep_alives: KeepAlives::default(),
            awaited: Awaited::FirstMessage,
            deadline: Instant::now() + config.message_timeout,
            is_broken: false,
        }
    }

    /// Runs until the connection is to end, and says why.
    async fn run(&mut self) -> CloseReason {
        loop {
            if let Err(reason) = self.read().await {
                return reason;
            }
            match self.take_messages().await {
                Ok(has_message) => self.await_next(has_message),
                Err(reason) => return reason,
            }
        }
    }

    /// Reads some bytes, in time.
    async fn read(&mut self) -> Result<(), CloseReason> {
        let buffer = self.decoder.buffer();
        if buffer.capacity() - buffer.len() < READ_BYTES_MIN {
            buffer.reserve(READ_BYTES);
        }
        match timeout_at(self.deadline, self.reader.read_buf(buffer)).await {
            Ok(Ok(0)) => {
                // The peer may have ended only its half, and still wait for an answer.
                sleep(HALF_CLOSE_GRACE).await;
                Err(CloseReason::Peer)
            }
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                debug!(flow = %self.connection.flow.id, %error, "read failed");
                Err(CloseReason::Reset)
            }
            Err(_) => self.late(),
        }
    }

    fn late(&mut self) -> Result<(), CloseReason> {
        match self.awaited {
            Awaited::FirstMessage | Awaited::RestOfMessage => Err(CloseReason::MessageTimeout),
            Awaited::Anything if self.has_sent.swap(false, Ordering::Relaxed) => {
                self.deadline = Instant::now() + self.connection.inner.config.idle_timeout;
                Ok(())
            }
            Awaited::Anything => Err(CloseReason::Idle),
        }
    }

    /// Hands on every whole message; says whether there was one.
    async fn take_messages(&mut self) -> Result<bool, CloseReason> {
        let mut has_message = false;
        while let Some(event) = self.decoder.poll() {
            match event {
                StreamEvent::Message(message) => {
                    has_message = true;
                    self.connection.receive(message).await?;
                }
                StreamEvent::Ping => {
                    if !self.keep_alives.take(self.connection) {
                        return Err(CloseReason::KeepAliveFlood);
                    }
                    // A full queue has closed the connection already.
                    let _ = self.connection.send(Bytes::from_static(PONG));
                }
                StreamEvent::Unreadable(error) => {
                    self.connection.receive_unparsable(error, false).await?;
                }
                StreamEvent::Broken(error) => {
                    self.is_broken = true;
                    self.connection.receive_unparsable(error, true).await?;
                    // Time for the answer.
                    sleep(self.connection.inner.config.linger).await;
                    return Err(CloseReason::Unparsable);
                }
            }
        }
        Ok(has_message)
    }

    /// Sets what must come next, and by when. Neither the first message nor the rest of a begun
    /// one gets more time by arriving in small pieces.
    fn await_next(&mut self, has_message: bool) {
        let config = &self.connection.inner.config;
        let awaited = match (self.awaited, self.decoder.is_between_messages()) {
            (Awaited::FirstMessage, _) if !has_message => return,
            (Awaited::RestOfMessage, false) if !has_message => return,
            (_, false) => Awaited::RestOfMessage,
            (_, true) => Awaited::Anything,
        };
        let time = match awaited {
            Awaited::FirstMessage | Awaited::RestOfMessage => config.message_timeout,
            Awaited::Anything => config.idle_timeout,
        };
        self.awaited = awaited;
        self.deadline = Instant::now() + time;
    }
}

/// What is sent to the peer.
struct Outbound<'a, S> {
    connection: &'a Connection,
    writer: WriteHalf<S>,
    queue: Queue,
    /// The rest of the message being written, so that a cancelled write is resumed where it was.
    current: Bytes,
    has_sent: &'a AtomicBool,
}

impl<S: AsyncRead + AsyncWrite> Outbound<'_, S> {
    /// Runs until the connection is to end, and says why.
    async fn run(&mut self) -> CloseReason {
        let write_timeout = self.connection.inner.config.write_timeout;
        // The connection itself holds a sender, so the queue does not end before this does.
        while let Some(bytes) = self.queue.recv().await {
            let length = bytes.len();
            self.current = bytes;
            match timeout(write_timeout, self.write_current()).await {
                Ok(Ok(())) => self.connection.written(length),
                Ok(Err(error)) => {
                    debug!(flow = %self.connection.flow.id, %error, "write failed");
                    return CloseReason::Reset;
                }
                Err(_) => return CloseReason::SlowReader,
            }
            self.has_sent.store(true, Ordering::Relaxed);
        }
        CloseReason::Local
    }

    async fn write_current(&mut self) -> io::Result<()> {
        self.writer.write_all_buf(&mut self.current).await?;
        self.writer.flush().await
    }

    /// Sends what is queued if the end is an orderly one, then ends our half.
    async fn end(&mut self, reason: CloseReason) -> io::Result<()> {
        self.queue.close();
        if reason.is_orderly() {
            self.write_current().await?;
            while let Ok(bytes) = self.queue.try_recv() {
                let length = bytes.len();
                self.current = bytes;
                self.write_current().await?;
                self.connection.written(length);
            }
        }
        self.writer.shutdown().await
    }
}

/// Asked of the kernel at once: most messages fit, and an idle connection holds no more.
const READ_BYTES: usize = 4096;
/// With less room than this left, the buffer is made larger.
const READ_BYTES_MIN: usize = 1024;
/// How long a peer that has ended its half can still be answered.
const HALF_CLOSE_GRACE: Duration = Duration::from_millis(200);
