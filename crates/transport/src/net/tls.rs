//! The TLS handshake under SIP and under HTTP.

use std::{io, sync::Arc};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::debug;

use super::{
    DropReason, HttpHandler, Inner,
    connection::{carry, drain},
    listener::Accepted,
    stream, web,
};

/// Shakes hands, then carries SIP until the connection ends.
pub(super) async fn serve_sip(inner: &Arc<Inner>, accepted: Accepted, config: Arc<ServerConfig>) {
    let Accepted { ends, stream, slot } = accepted;
    let handshake = Box::pin(shake_hands(inner, stream, config));
    let result = tokio::select! {
        result = handshake => result,
        _ = slot.closer().closed() => Err(DropReason::Handshake),
    };
    match result {
        Ok(stream) => {
            carry(inner, ends, slot, |connection, queue| stream::run(connection, queue, stream))
                .await;
        }
        Err(reason) => inner.counters.of(ends.kind).dropped(reason, 1),
    }
}

/// Shakes hands, then serves HTTP and WebSocket until the connection ends.
pub(super) async fn serve_web(
    inner: &Arc<Inner>,
    accepted: Accepted,
    config: Arc<ServerConfig>,
    handler: HttpHandler,
) {
    let Accepted { ends, stream, slot } = accepted;
    let handshake = Box::pin(shake_hands(inner, stream, config));
    let result = tokio::select! {
        result = handshake => result,
        _ = slot.closer().closed() => Err(DropReason::Handshake),
    };
    match result {
        Ok(stream) => Box::pin(web::serve(inner, stream, ends, slot, handler)).await,
        Err(reason) => inner.counters.of(ends.kind).dropped(reason, 1),
    }
}

async fn shake_hands(
    inner: &Inner,
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<TlsStream<TcpStream>, DropReason> {
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first != [TLS_HANDSHAKE] {
            answer_plain(&mut stream, inner).await?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        TlsAcceptor::from(config).accept(stream).await
    };
    match timeout(inner.config.handshake_timeout, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            debug!(%error, "TLS handshake failed");
            Err(DropReason::Handshake)
        }
        Err(_) => Err(DropReason::HandshakeTimeout),
    }
}

/// Tells who speaks plain HTTP to a TLS port what is wrong; anything else is cut without a word.
async fn answer_plain(stream: &mut TcpStream, inner: &Inner) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    stream.read_buf(&mut head).await?;
    if head.windows(7).any(|window| window == b"HTTP/1.") {
        let answer = web::raw_answer("400 Bad Request", "", PLAIN_HTTP_ANSWER);
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        drain(stream, inner.config.linger).await;
    }
    Ok(())
}

/// The content type of a ClientHello's record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;

const PLAIN_HTTP_ANSWER: &str = "This port speaks TLS: use https:// or wss:// in the address.\n";
