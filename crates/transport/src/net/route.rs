//! From the place that a URI names to a flow (RFC 3263 §4: SRV, A and AAAA records).

use std::io;
use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tracing::debug;

use super::servers::{Server, servers};
use super::{NetError, Network};
use crate::routing::NextHop;
use crate::{Flow, Host, TransportKind};

impl Network {
    /// Makes a flow to the place that a URI or route names, or finds the one that is there: the
    /// first of its addresses that can be reached. A name without a port is a domain, whose SRV
    /// records say where its servers are. Takes at the most the handshake timeout for the look-ups
    /// and for each of a few addresses.
    ///
    /// # Errors
    /// [`NetError::Resolve`], or why the last address could not be reached.
    pub async fn route(&self, hop: &NextHop) -> Result<Flow, NetError> {
        let found = timeout(self.inner.config.handshake_timeout, self.places(hop)).await;
        let found = found.map_err(io::Error::from).flatten();
        let mut error = no_address(hop, io::ErrorKind::NotFound.into());
        for (transport, remote) in found.map_err(|source| no_address(hop, source))? {
            let name = name_of(hop, transport, remote)?;
            match self.connect_as(transport, remote, name).await {
                Ok(flow) => return Ok(flow),
                Err(failed) => {
                    debug!(%remote, error = %failed, "not reached");
                    error = failed;
                }
            }
        }
        Err(error)
    }

    /// The addresses to try, best first.
    async fn places(&self, hop: &NextHop) -> io::Result<Vec<(TransportKind, SocketAddr)>> {
        let default = hop.transport.default_port();
        let name = match (&hop.host, hop.port) {
            (Host::Ip(ip), port) => {
                return Ok(vec![(hop.transport, SocketAddr::new(*ip, port.unwrap_or(default)))]);
            }
            (Host::Name(name), Some(port)) => return addresses(hop.transport, name, port).await,
            (Host::Name(name), None) => name,
        };
        let servers = servers(name, hop, &self.inner.config.name_servers).await?;
        if servers.is_empty() {
            return addresses(hop.transport, name, default).await;
        }
        let (mut places, mut error) = (Vec::new(), None);
        for Server { transport, name, port } in servers {
            match addresses(transport, &name, port).await {
                Ok(found) => places.extend(found),
                Err(unknown) => error = Some(unknown),
            }
            if places.len() >= ADDRESSES_MAX {
                break;
            }
        }
        match error {
            Some(error) if places.is_empty() => Err(error),
            _ => Ok(places),
        }
    }
}

async fn addresses(
    transport: TransportKind,
    name: &str,
    port: u16,
) -> io::Result<Vec<(TransportKind, SocketAddr)>> {
    let found = lookup_host((name, port)).await?;
    Ok(found.take(ADDRESSES_MAX).map(|address| (transport, address)).collect())
}

/// What the certificate of a TLS peer must be for: the domain, whoever serves it (RFC 5922 §4).
fn name_of(
    hop: &NextHop,
    transport: TransportKind,
    remote: SocketAddr,
) -> Result<ServerName<'static>, NetError> {
    match (&hop.host, transport) {
        (Host::Name(name), TransportKind::Tls) => ServerName::try_from(name.clone())
            .map_err(|_| no_address(hop, io::ErrorKind::InvalidInput.into())),
        _ => Ok(remote.ip().into()),
    }
}

fn no_address(hop: &NextHop, source: io::Error) -> NetError {
    NetError::Resolve { host: hop.host.to_string(), source }
}

/// Addresses of one name that are tried, and after which no further server is looked up.
const ADDRESSES_MAX: usize = 4;
