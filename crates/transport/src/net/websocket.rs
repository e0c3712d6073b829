//! SIP over WebSocket once the opening handshake is done (RFC 6455, RFC 7118).

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    Sink, SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Utf8Bytes,
        error::{CapacityError, ProtocolError},
        protocol::{CloseFrame, Message as Frame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tracing::debug;

use super::{
    CloseReason, NetConfig,
    connection::{Connection, KeepAlives, Queue, drain},
};
use crate::{
    framing::{PING, PONG},
    websocket::{self, FrameEvent},
};

/// Carries SIP until the connection ends; `read_already` came after the opening handshake.
pub(super) async fn run<S>(
    connection: Arc<Connection>,
    queue: Queue,
    stream: S,
    read_already: Bytes,
) -> CloseReason
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = &connection.inner.config;
    // A copy of its own size, since these bytes keep the whole buffer of HTTP.
    let first = read_already.to_vec();
    drop(read_already);
    let socket =
        WebSocketStream::from_partially_read(stream, first, Role::Server, Some(bounds(config)));
    let (sink, stream) = socket.await.split();
    let heard = AtomicBool::new(true);
    let mut inbound = Inbound { connection: &connection, stream, heard: &heard };
    let mut outbound = Outbound::new(&connection, sink, queue, &heard);
    let reason = tokio::select! {
        biased;
        reason = connection.closed() => reason,
        reason = outbound.run() => reason,
        reason = inbound.run() => reason,
    };
    let stream = inbound.stream;
    // A peer that does not read or is gone must not hold the connection open.
    let _ = timeout(config.linger, outbound.end(reason)).await;
    if let (true, Ok(socket)) = (reason.leaves_listener(), stream.reunite(outbound.sink)) {
        let mut stream = socket.into_inner();
        // RFC 6455 §7.1.1 has the server end the stream first.
        let _ = timeout(config.linger, stream.shutdown()).await;
        drain(&mut stream, config.linger).await;
    }
    reason
}

/// A frame over the limit is refused when its head announces the length, before any of it is
/// stored.
fn bounds(config: &NetConfig) -> WebSocketConfig {
    let message_bytes_max = config.limits.head_bytes_max + config.limits.body_bytes_max;
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max))
}

/// What the peer sends.
struct Inbound<'a, S> {
    connection: &'a Connection,
    stream: SplitStream<WebSocketStream<S>>,
    heard: &'a AtomicBool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inbound<'_, S> {
    async fn run(&mut self) -> CloseReason {
        let mut keep_alives = KeepAlives::default();
        loop {
            let frame = self.stream.next().await;
            self.heard.store(true, Ordering::Relaxed);
            let bytes: Bytes = match frame {
                Some(Ok(Frame::Text(text))) => text.into(),
                Some(Ok(Frame::Binary(bytes))) => bytes,
                // Pings are answered by the stream itself.
                Some(Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_))) => Bytes::new(),
                Some(Ok(Frame::Close(_))) => return self.acknowledge_close().await,
                Some(Err(error)) => return reason_of(&error),
                None => return CloseReason::Peer,
            };
            if let Err(reason) = self.take(bytes, &mut keep_alives).await {
                return reason;
            }
        }
    }

    async fn take(
        &mut self,
        payload: Bytes,
        keep_alives: &mut KeepAlives,
    ) -> Result<(), CloseReason> {
        // A copy of its own size, since a slice would keep the whole read buffer.
        let bytes = Bytes::copy_from_slice(&payload);
        match websocket::read(bytes, &self.connection.inner.config.limits) {
            FrameEvent::Message(message) => self.connection.receive(message).await,
            // The next frame is whole whatever was in this one, and a browser that sent one bad
            // message keeps its connection.
            FrameEvent::Unparsable(error) => self.connection.receive_unparsable(error, false).await,
            FrameEvent::Ping => {
                if !keep_alives.take(self.connection) {
                    return Err(CloseReason::KeepAliveFlood);
                }
                if payload.as_ref() == PING {
                    // A full queue has closed the connection already.
                    let _ = self.connection.send(Bytes::from_static(PONG));
                }
                Ok(())
            }
        }
    }

    /// Polls on, which is what sends the peer's close frame back (RFC 6455 §5.5.1).
    async fn acknowledge_close(&mut self) -> CloseReason {
        let linger = self.connection.inner.config.linger;
        let acknowledged = async { while let Some(Ok(_)) = self.stream.next().await {} };
        // It counts as closed by the peer whether or not it waits for our answer.
        let _ = timeout(linger, acknowledged).await;
        CloseReason::Peer
    }
}

/// What is sent to the peer.
struct Outbound<'a, S> {
    connection: &'a Connection,
    sink: SplitSink<WebSocketStream<S>, Frame>,
    queue: Queue,
    /// Taken from the queue, not yet by the socket.
    current: Option<Frame>,
    heard: &'a AtomicBool,
    pinger: Pinger,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Outbound<'a, S> {
    fn new(
        connection: &'a Connection,
        sink: SplitSink<WebSocketStream<S>, Frame>,
        queue: Queue,
        heard: &'a AtomicBool,
    ) -> Self {
        let at = Instant::now() + connection.inner.config.ping_interval;
        Self { connection, sink, queue, current: None, heard, pinger: Pinger::Ping { at } }
    }

    async fn run(&mut self) -> CloseReason {
        let write_timeout = self.connection.inner.config.write_timeout;
        loop {
            tokio::select! {
                Some(bytes) = self.queue.recv() => self.current = Some(self.frame(bytes)),
                () = sleep_until(self.pinger.at()) => match self.ping() {
                    Ok(frame) => self.current = frame,
                    Err(reason) => return reason,
                },
            }
            match timeout(write_timeout, self.write_current()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return reason_of(&error),
                Err(_) => return CloseReason::SlowReader,
            }
        }
    }

    /// Text is what browsers expect; bytes that are none go as they are (RFC 7118 §5).
    fn frame(&self, bytes: Bytes) -> Frame {
        self.connection.written(bytes.len());
        match Utf8Bytes::try_from(bytes.clone()) {
            Ok(text) => Frame::Text(text),
            Err(_) => Frame::Binary(bytes),
        }
    }

    /// The next step of watching the peer: a ping, or the judgement on the last one.
    fn ping(&mut self) -> Result<Option<Frame>, CloseReason> {
        let config = &self.connection.inner.config;
        match self.pinger {
            Pinger::Ping { at } => {
                self.heard.store(false, Ordering::Relaxed);
                self.pinger = Pinger::Pong { at: at + config.pong_timeout };
                Ok(Some(Frame::Ping(Bytes::new())))
            }
            Pinger::Pong { at } => {
                // While the consumer is busy the peer's answer waits unread.
                if !self.heard.load(Ordering::Relaxed) && !self.connection.is_delivering() {
                    return Err(CloseReason::PingTimeout);
                }
                let rest = config.ping_interval.saturating_sub(config.pong_timeout);
                self.pinger = Pinger::Ping { at: at + rest.max(PING_REST_MIN) };
                Ok(None)
            }
        }
    }

    /// Hands the current frame to the socket; where it is cancelled, nothing is lost.
    async fn write_current(&mut self) -> Result<(), Error> {
        if self.current.is_some() {
            poll_fn(|context| Pin::new(&mut self.sink).poll_ready(context)).await?;
            if let Some(frame) = self.current.take() {
                Pin::new(&mut self.sink).start_send(frame)?;
            }
        }
        self.sink.flush().await
    }

    /// Sends what is queued if the end is an orderly one, then the close frame.
    async fn end(&mut self, reason: CloseReason) -> Result<(), Error> {
        self.queue.close();
        if reason.is_orderly() {
            self.write_current().await?;
            while let Ok(bytes) = self.queue.try_recv() {
                self.current = Some(self.frame(bytes));
                self.write_current().await?;
            }
        }
        if let Some(code) = close_code(reason) {
            let reason = Utf8Bytes::from_static(reason.label());
            self.sink.send(Frame::Close(Some(CloseFrame { code, reason }))).await?;
        }
        self.sink.flush().await
    }
}

/// Whether the next deadline is to ping or to judge.
#[derive(Debug, Clone, Copy)]
enum Pinger {
    Ping { at: Instant },
    Pong { at: Instant },
}

impl Pinger {
    fn at(self) -> Instant {
        match self {
            Self::Ping { at } | Self::Pong { at } => at,
        }
    }
}

fn reason_of(error: &Error) -> CloseReason {
    debug!(%error, "WebSocket failed");
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => CloseReason::TooLarge,
        Error::Capacity(_) => CloseReason::Protocol,
        Error::Utf8(_) => CloseReason::Encoding,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseReason::Peer,
        Error::Protocol(_) => CloseReason::Protocol,
        Error::ConnectionClosed | Error::AlreadyClosed => CloseReason::Peer,
        _ => CloseReason::Reset,
    }
}

/// RFC 6455 §7.4.1; nothing is said to a peer that is gone.
fn close_code(reason: CloseReason) -> Option<CloseCode> {
    match reason {
        CloseReason::Local | CloseReason::Idle => Some(CloseCode::Normal),
        CloseReason::Shutdown => Some(CloseCode::Away),
        CloseReason::TooLarge => Some(CloseCode::Size),
        CloseReason::Protocol | CloseReason::MessageTimeout => Some(CloseCode::Protocol),
        CloseReason::Encoding => Some(CloseCode::Invalid),
        CloseReason::Unparsable | CloseReason::KeepAliveFlood => Some(CloseCode::Policy),
        CloseReason::Evicted => Some(CloseCode::Again),
        CloseReason::Fault => Some(CloseCode::Error),
        CloseReason::Peer
        | CloseReason::Reset
        | CloseReason::PingTimeout
        | CloseReason::SlowReader => None,
    }
}

/// Most messages of SIP fit, and an idle connection costs no more.
const READ_BUFFER_BYTES: usize = 4096;
/// Keeps a configuration with no room between pings from spinning.
const PING_REST_MIN: Duration = Duration::from_millis(10);
