//! HTTP connections of the control port, within bounds.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// Serves until it is dropped, and its connections with it. Of more than may be open at once, the
/// oldest is cut: whoever asks briefly is answered, however many stay without reading.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    // From the oldest to the newest.
    let mut handles: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    handles.retain(|handle| !handle.is_finished());
                    if handles.len() >= CONNECTIONS_MAX
                        && let Some(oldest) = handles.pop_front()
                    {
                        oldest.abort();
                    }
                    handles.push_back(connections.spawn(connection(stream, router.clone())));
                }
                Err(error) => {
                    warn!(%error, "the control port cannot take a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, router: Router) {
    let server = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut server = pin!(server);
    let result = tokio::select! {
        result = &mut server => result,
        () = sleep(LIFETIME) => {
            // What is being answered is answered, to who reads it in time.
            server.as_mut().graceful_shutdown();
            timeout(LIFETIME, server).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        debug!(%error, "a connection of the control port failed");
    }
}

/// Connections at once.
const CONNECTIONS_MAX: usize = 128;
/// Bytes of a request's head, and of what is written at a time.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// How long a request's head may take, and an idle connection may stay.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// After this time a connection takes no further request; after twice the time it is cut.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long to wait where the system has no more files, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn who_asks_and_reads_nothing_keeps_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/large", get(async || "x".repeat(1 << 20)));
        let server = tokio::spawn(serve(listener, router));
        let mut silent = Vec::new();
        for n in 0..CONNECTIONS_MAX + 10 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head: &[u8] = match n % 2 {
                0 => b"GET / HTTP/1.1\r\nHost: ",
                _ => {
                    b"GET /large HTTP/1.1\r\nHost: x\r\n\r\nGET /large HTTP/1.1\r\nHost: x\r\n\r\n"
                }
            };
            stream.write_all(head).await.unwrap();
            silent.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        let mut first = String::new();
        let _ = silent[0].read_to_string(&mut first).await;
        assert_eq!(first, "", "it was cut");
        server.abort();
    }
}
