//! HTTP and SIP over WebSocket on one connection.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Parts},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tracing::debug;

use super::{
    DropReason, HttpHandler, Inner, Peer, Query,
    admission::Slot,
    connection::{Ends, carry_with},
    http::HttpBody,
    listener::Accepted,
    upgrade, websocket,
};

/// Serves an accepted connection without TLS.
pub(super) async fn serve_plain(inner: &Arc<Inner>, accepted: Accepted, handler: HttpHandler) {
    let Accepted { ends, stream, slot } = accepted;
    serve(inner, stream, ends, slot, handler).await;
}

/// Serves HTTP until the connection ends, or becomes a WebSocket and then ends.
pub(super) async fn serve<S>(
    inner: &Arc<Inner>,
    stream: S,
    ends: Ends,
    slot: Slot,
    handler: HttpHandler,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let session = Session {
        inner,
        ends,
        handler,
        switched: Mutex::new(None),
        has_answered: AtomicBool::new(false),
    };
    Box::pin(session.serve(stream, &slot)).await;
    let switched = session.switched.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Some((switched, query)) = switched else { return };
    // The 101 is on the wire once the server above has returned, so this is ready.
    let Ok(Ok(upgraded)) = timeout(inner.config.handshake_timeout, switched).await else {
        inner.counters.of(ends.kind).dropped(DropReason::Handshake, 1);
        return;
    };
    let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<S>>() else {
        inner.counters.of(ends.kind).dropped(DropReason::Handshake, 1);
        return;
    };
    let carried = carry_with(inner, ends, slot, query, |connection, queue| {
        websocket::run(connection, queue, io.into_inner(), read_buf)
    });
    Box::pin(carried).await;
}

/// The HTTP part of one connection.
struct Session<'a> {
    inner: &'a Inner,
    ends: Ends,
    handler: HttpHandler,
    /// The request that became a WebSocket.
    switched: Mutex<Option<(OnUpgrade, Option<Query>)>>,
    has_answered: AtomicBool,
}

impl Session<'_> {
    /// Serves requests until one has switched protocols or the connection ends.
    async fn serve<S>(&self, stream: S, slot: &Slot)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let config = &self.inner.config;
        let server = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(config.handshake_timeout)
            .max_buf_size(config.limits.head_bytes_max.max(HTTP_BUFFER_BYTES_MIN))
            .serve_connection(TokioIo::new(stream), service_fn(|request| self.respond(request)))
            .with_upgrades();
        let mut server = pin!(server);
        let result = tokio::select! {
            result = &mut server => result,
            _ = slot.closer().closed() => {
                // An answer under way is finished, within bounds.
                server.as_mut().graceful_shutdown();
                timeout(config.linger, server).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = result {
            debug!(remote = %self.ends.remote, %error, "HTTP connection failed");
            self.count_failure(&error);
        }
    }

    /// A browser that keeps a connection open after an answer and then lets go has not failed.
    fn count_failure(&self, error: &hyper::Error) {
        if self.has_answered.load(Ordering::Relaxed) {
            return;
        }
        let reason =
            if error.is_timeout() { DropReason::HandshakeTimeout } else { DropReason::Handshake };
        self.inner.counters.of(self.ends.kind).dropped(reason, 1);
    }

    async fn respond(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Response<HttpBody>, Infallible> {
        self.has_answered.store(true, Ordering::Relaxed);
        let Ends { kind, local, remote } = self.ends;
        if !upgrade::is_asked_for(&request) {
            let peer = Peer { remote, local, secure: kind.is_secure() };
            return Ok(self.handler.answer(request, peer).await);
        }
        let response = upgrade::answer(&request, self.inner.config.origins.as_deref());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let on_upgrade = hyper::upgrade::on(&mut request);
            let query = request.uri().query().and_then(Query::new);
            *self.switched.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((on_upgrade, query));
        } else {
            self.inner.counters.of(kind).dropped(DropReason::WebSocketRefused, 1);
            debug!(%remote, status = %response.status(), "WebSocket refused");
        }
        Ok(response)
    }
}

/// Tells a connection over the bound to come back later, if its socket takes that at once.
pub(super) fn refuse_full(stream: &TcpStream) {
    let text = "Too many connections are open. Try again in a few seconds.\n";
    let answer = raw_answer("503 Service Unavailable", "Retry-After: 5\r\n", text);
    if let Err(error) = stream.try_write(answer.as_bytes()) {
        debug!(%error, "connection refused without an answer");
    }
}

/// An HTTP answer for a connection on which no HTTP server runs. `headers` ends each line.
pub(super) fn raw_answer(status: &str, headers: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

/// The least that the HTTP server accepts.
const HTTP_BUFFER_BYTES_MIN: usize = 8192;
