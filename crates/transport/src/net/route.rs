//! From the place that a URI names to a flow (RFC 3263 §4.2, A and AAAA records only).

use std::io;
use std::net::SocketAddr;

use rustls::pki_types::ServerName;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tracing::debug;

use super::{NetError, Network};
use crate::routing::NextHop;
use crate::{Flow, Host, TransportKind};

impl Network {
    /// Makes a flow to the place that a URI or route names, or finds the one that is there: the
    /// first of its addresses that can be reached. Takes at the most the handshake timeout for
    /// the look-up and for each of a few addresses.
    ///
    /// # Errors
    /// [`NetError::Resolve`], or why the last address could not be reached.
    pub async fn route(&self, hop: &NextHop) -> Result<Flow, NetError> {
        let mut error = no_address(hop, io::ErrorKind::NotFound.into());
        for remote in self.addresses(hop).await? {
            match self.connect_as(hop.transport, remote, name_of(hop, remote)?).await {
                Ok(flow) => return Ok(flow),
                Err(failed) => {
                    debug!(%remote, error = %failed, "not reached");
                    error = failed;
                }
            }
        }
        Err(error)
    }

    async fn addresses(&self, hop: &NextHop) -> Result<Vec<SocketAddr>, NetError> {
        let port = hop.port.unwrap_or(hop.transport.default_port());
        let name = match &hop.host {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
            Host::Name(name) => name,
        };
        let found =
            timeout(self.inner.config.handshake_timeout, lookup_host((&**name, port))).await;
        let found = found.map_err(io::Error::from).flatten();
        let addresses = found.map_err(|source| no_address(hop, source))?;
        Ok(addresses.take(ADDRESSES_MAX).collect())
    }
}

/// What the certificate of a TLS peer must be for.
fn name_of(hop: &NextHop, remote: SocketAddr) -> Result<ServerName<'static>, NetError> {
    match (&hop.host, hop.transport) {
        (Host::Name(name), TransportKind::Tls) => ServerName::try_from(name.clone())
            .map_err(|_| no_address(hop, io::ErrorKind::InvalidInput.into())),
        _ => Ok(remote.ip().into()),
    }
}

fn no_address(hop: &NextHop, source: io::Error) -> NetError {
    NetError::Resolve { host: hop.host.to_string(), source }
}

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
