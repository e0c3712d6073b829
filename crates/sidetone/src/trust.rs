//! Whom we trust when we connect to a TLS peer: the authorities that this machine trusts.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tracing::warn;

/// The client side of TLS. Reads files.
pub fn tls_client() -> Arc<ClientConfig> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        warn!(%error, "a certificate authority of this machine cannot be read");
    }
    let mut roots = RootCertStore::empty();
    // One that cannot be used vouches for nobody.
    roots.add_parsable_certificates(found.certs);
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}
