//! Listening stream sockets: accept, count in, hand over.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::{debug, warn};

use super::{
    CloseReason, DropReason, HttpHandler, Inner, NetConfig, admission::Slot, connection::Ends, tcp,
    tls, web,
};
use crate::TransportKind;

/// What a listener serves.
#[derive(Debug, Clone)]
pub enum Listen {
    /// SIP in datagrams.
    Udp,
    /// SIP on plain streams.
    Tcp,
    /// SIP on streams under TLS.
    Tls(Arc<ServerConfig>),
    /// HTTP, and SIP over WebSocket on any path.
    Http(HttpHandler),
    /// The same under TLS. A configuration with ALPN offers `http/1.1`.
    Https(Arc<ServerConfig>, HttpHandler),
}

impl Listen {
    /// The transport of the SIP that arrives here.
    #[must_use]
    pub fn kind(&self) -> TransportKind {
        match self {
            Self::Udp => TransportKind::Udp,
            Self::Tcp => TransportKind::Tcp,
            Self::Tls(_) => TransportKind::Tls,
            Self::Http(_) => TransportKind::Ws,
            Self::Https(_, _) => TransportKind::Wss,
        }
    }
}

/// Binds a socket and starts the task that accepts from it.
pub(super) fn listen(
    inner: &Arc<Inner>,
    listen: Listen,
    address: SocketAddr,
) -> io::Result<SocketAddr> {
    let socket = bind(address)?;
    let bound = socket.local_addr()?;
    tokio::spawn(accept_until_stopped(inner.clone(), socket, listen));
    Ok(bound)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a former process that linger in TIME_WAIT do not hold the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept_until_stopped(inner: Arc<Inner>, socket: TcpListener, listen: Listen) {
    let mut stop = inner.stopped();
    let accept = async {
        loop {
            match socket.accept().await {
                Ok((stream, remote)) => accepted(&inner, &listen, stream, remote),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: the connection waits in the kernel.
                    warn!(%error, "cannot accept connections");
                    sleep(ERROR_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = accept => {}
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

fn accepted(inner: &Arc<Inner>, listen: &Listen, stream: TcpStream, remote: SocketAddr) {
    let kind = listen.kind();
    let Ok(local) = stream.local_addr().and_then(|local| {
        set_options(&stream, &inner.config)?;
        Ok(local)
    }) else {
        // The peer was gone before we looked.
        inner.counters.of(kind).dropped(DropReason::Handshake, 1);
        return;
    };
    match inner.admission.admit(remote.ip()) {
        Ok(slot) => {
            run(inner, Accepted { ends: Ends { kind, local, remote }, stream, slot }, listen)
        }
        Err(reason) => {
            inner.counters.of(kind).dropped(reason, 1);
            debug!(%remote, reason = reason.label(), "connection refused");
            if let Listen::Http(_) = listen {
                web::refuse_full(&stream);
            }
        }
    }
}

/// A connection that is counted in and speaks nothing yet.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) ends: Ends,
    pub(super) stream: TcpStream,
    pub(super) slot: Slot,
}

/// Runs a connection in a task of its own until it ends or the network stops.
///
/// Here and in what it calls each stage of a connection has its state on the heap, so that an open
/// connection takes what its stage needs and not what the largest one does.
fn run(inner: &Arc<Inner>, accepted: Accepted, listen: &Listen) {
    let listen = listen.clone();
    spawn(inner, accepted, async move |inner, accepted| match listen {
        // A datagram socket accepts nothing.
        Listen::Udp => {}
        Listen::Tcp => Box::pin(tcp::serve(&inner, accepted)).await,
        Listen::Tls(config) => Box::pin(tls::serve_sip(&inner, accepted, config)).await,
        Listen::Http(handler) => Box::pin(web::serve_plain(&inner, accepted, handler)).await,
        Listen::Https(config, handler) => {
            Box::pin(tls::serve_web(&inner, accepted, config, handler)).await;
        }
    });
}

/// Spawns the task of one connection and tells it when the network stops.
pub(super) fn spawn<F, Body>(inner: &Arc<Inner>, accepted: Accepted, body: F)
where
    F: FnOnce(Arc<Inner>, Accepted) -> Body + Send + 'static,
    Body: Future<Output = ()> + Send,
{
    let inner = inner.clone();
    tokio::spawn(async move {
        let mut stop = inner.stopped();
        let closer = accepted.slot.closer().clone();
        let mut body = std::pin::pin!(body(inner, accepted));
        tokio::select! {
            () = &mut body => return,
            _ = stop.wait_for(|stop| *stop) => closer.close(CloseReason::Shutdown),
        }
        body.await;
    });
}

/// Small messages leave at once, and a peer that is gone is noticed.
pub(super) fn set_options(stream: &TcpStream, config: &NetConfig) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let silence = config.keep_alive_interval;
    // The kernel counts in seconds.
    let interval = (silence / KEEP_ALIVE_RETRIES).max(Duration::from_secs(1));
    let keep_alive = TcpKeepalive::new()
        .with_time(silence.max(Duration::from_secs(1)))
        .with_interval(interval)
        .with_retries(KEEP_ALIVE_RETRIES);
    socket.set_tcp_keepalive(&keep_alive)?;
    // It overrides the number of retries, so it leaves room for all of them.
    socket.set_tcp_user_timeout(Some(silence + interval * KEEP_ALIVE_RETRIES))
}

const BACKLOG: i32 = 1024;
/// Between attempts to accept while the system refuses.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
const KEEP_ALIVE_RETRIES: u32 = 3;
