//! SIP on plain TCP, accepted or connected.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpStream, sync::oneshot, time::timeout};

use super::{
    Inner, NetError,
    connection::{Ends, carry},
    listener::{Accepted, set_options, spawn},
    stream,
};
use crate::{Flow, TransportKind};

/// Carries SIP on an accepted connection until it ends.
pub(super) async fn serve(inner: &Arc<Inner>, accepted: Accepted) {
    let Accepted { ends, stream, slot } = accepted;
    carry(inner, ends, slot, |connection, queue| stream::run(connection, queue, stream)).await;
}

/// Connects to a peer and carries SIP in a task of its own.
pub(super) async fn connect(inner: &Arc<Inner>, remote: SocketAddr) -> Result<Flow, NetError> {
    let kind = TransportKind::Tcp;
    let connections_max = inner.config.connections_max;
    let slot = inner
        .admission
        .admit(remote.ip())
        .map_err(|_| NetError::ConnectionsMax { connections_max })?;
    // We chose this peer; it need not prove itself by speaking first.
    slot.prove();
    let (stream, local) =
        open(inner, remote).await.map_err(|source| NetError::Connect { kind, remote, source })?;
    let (opened, flow) = oneshot::channel();
    let accepted = Accepted { ends: Ends { kind, local, remote }, stream, slot };
    spawn(inner, accepted, async move |inner, accepted| {
        let Accepted { ends, stream, slot } = accepted;
        carry(&inner, ends, slot, |connection, queue| {
            // Nobody may wait for the flow any more; then it is closed by the usual timeouts.
            let _ = opened.send(connection.flow);
            stream::run(connection, queue, stream)
        })
        .await;
    });
    flow.await.map_err(|_| NetError::Connect {
        kind,
        remote,
        source: io::ErrorKind::ConnectionAborted.into(),
    })
}

async fn open(inner: &Inner, remote: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = timeout(inner.config.handshake_timeout, TcpStream::connect(remote)).await??;
    set_options(&stream, &inner.config)?;
    let local = stream.local_addr()?;
    Ok((stream, local))
}
