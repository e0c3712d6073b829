//! Connections that we make: SIP on TCP, plain or under TLS.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    Entry, Inner, NetError,
    connection::{Ends, carry},
    listener::{Accepted, set_options, spawn},
    stream,
};
use crate::{Flow, TransportKind};

/// Whom a connection of ours reaches. Under TLS it is another connection for each name, since
/// that is what the certificate was checked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Destination {
    Tcp(SocketAddr),
    Tls(SocketAddr, ServerName<'static>),
}

impl Destination {
    fn kind(&self) -> TransportKind {
        match self {
            Self::Tcp(_) => TransportKind::Tcp,
            Self::Tls(_, _) => TransportKind::Tls,
        }
    }

    fn remote(&self) -> SocketAddr {
        match self {
            Self::Tcp(remote) | Self::Tls(remote, _) => *remote,
        }
    }

    fn failed(&self, source: io::Error) -> NetError {
        NetError::Connect { kind: self.kind(), remote: self.remote(), source }
    }
}

/// The connection to a peer: the one that is there, or a new one that carries SIP in a task of its
/// own.
pub(super) async fn connect(
    inner: &Arc<Inner>,
    destination: Destination,
) -> Result<Flow, NetError> {
    if let Some(flow) = existing(inner, &destination) {
        return Ok(flow);
    }
    let connections_max = inner.config.connections_max;
    let slot = inner
        .admission
        .admit(destination.remote().ip())
        .map_err(|_| NetError::ConnectionsMax { connections_max })?;
    // We chose this peer.
    slot.vouch();
    let stream = open(inner, destination.remote()).await;
    let (stream, local) = stream.map_err(|source| destination.failed(source))?;
    let ends = Ends { kind: destination.kind(), local, remote: destination.remote() };
    let (opened, flow) = oneshot::channel();
    let of = destination.clone();
    spawn(inner, Accepted { ends, stream, slot }, async move |inner, accepted| {
        run(&inner, accepted, of, opened).await;
    });
    // The sender is dropped where the network stops meanwhile.
    let aborted = |_| Err(io::ErrorKind::ConnectionAborted.into());
    flow.await.unwrap_or_else(aborted).map_err(|source| destination.failed(source))
}

fn existing(inner: &Inner, destination: &Destination) -> Option<Flow> {
    let id = *inner.outbound.get(destination)?;
    match inner.flows.get(&id)?.value() {
        Entry::Stream(connection) => Some(connection.flow),
        Entry::Udp(_) => None,
    }
}

async fn open(inner: &Inner, remote: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = timeout(inner.config.handshake_timeout, TcpStream::connect(remote)).await??;
    set_options(&stream, &inner.config)?;
    let local = stream.local_addr()?;
    Ok((stream, local))
}

type Opened = oneshot::Sender<io::Result<Flow>>;

async fn run(inner: &Arc<Inner>, accepted: Accepted, destination: Destination, opened: Opened) {
    let Accepted { ends, stream, slot } = accepted;
    let (config, name) = match (&destination, &inner.config.tls_client) {
        (Destination::Tcp(_), _) => {
            let accepted = Carried { ends, stream, slot };
            return carry_until_closed(inner, accepted, destination, opened).await;
        }
        (Destination::Tls(_, name), Some(config)) => (config.clone(), name.clone()),
        (Destination::Tls(_, _), None) => {
            // Nobody may wait for the flow any more.
            let _ = opened.send(Err(io::ErrorKind::Unsupported.into()));
            return;
        }
    };
    let shaken = tokio::select! {
        shaken = shake_hands(inner, stream, config, name) => shaken,
        _ = slot.closer().closed() => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    match shaken {
        Ok(stream) => {
            let accepted = Carried { ends, stream, slot };
            carry_until_closed(inner, accepted, destination, opened).await;
        }
        Err(error) => {
            // Nobody may wait for the flow any more.
            let _ = opened.send(Err(error));
        }
    }
}

async fn shake_hands(
    inner: &Inner,
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let handshake = TlsConnector::from(config).connect(name, stream);
    timeout(inner.config.handshake_timeout, handshake).await?
}

/// A connection that is ready to carry SIP.
struct Carried<S> {
    ends: Ends,
    stream: S,
    slot: super::admission::Slot,
}

async fn carry_until_closed<S>(
    inner: &Arc<Inner>,
    ready: Carried<S>,
    destination: Destination,
    opened: Opened,
) where
    S: AsyncRead + AsyncWrite,
{
    let Carried { ends, stream, slot } = ready;
    let mut id = None;
    carry(inner, ends, slot, |connection, queue| {
        id = Some(connection.flow.id);
        inner.outbound.insert(destination.clone(), connection.flow.id);
        // Nobody may wait for the flow any more; then it is closed by the usual timeouts.
        let _ = opened.send(Ok(connection.flow));
        stream::run(connection, queue, stream)
    })
    .await;
    inner.outbound.remove_if(&destination, |_, listed| Some(*listed) == id);
}
