//! HTTP connections of the control port, within bounds.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

/// Serves until it is dropped, and its connections with it. More than may be open at once wait for
/// one to end, which takes bounded time.
pub(crate) async fn serve(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
            continue;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone()));
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

    /// The clock runs on by itself whenever nothing else can happen.
    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_keeps_nobody_out_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "here"));
        let server = tokio::spawn(serve(listener, router));
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX + 10 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
            silent.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
        server.abort();
    }
}
