//! The certificate that new TLS connections are shown, and how a change of its files is noticed.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Certificate, self_made};
use crate::config::Config;
use crate::state_dir::state_dir;

/// What new connections are shown. Replacing it leaves open connections alone.
#[derive(Debug)]
pub struct Served(RwLock<Arc<CertifiedKey>>);

/// A certificate's files as they were at some moment. Links are followed, so that one that is set
/// to another file counts as a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files([Option<Version>; 2]);

/// What tells two contents of a file apart without reading them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
}

impl Served {
    /// Shows this certificate.
    #[must_use]
    pub fn new(certificate: &Certificate) -> Arc<Self> {
        Arc::new(Served(RwLock::new(Arc::clone(&certificate.key))))
    }

    /// Shows another one from now.
    pub fn replace(&self, certificate: &Certificate) {
        let mut key = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *key = Arc::clone(&certificate.key);
    }

    /// The configuration of a listener, TLS 1.2 and 1.3.
    #[must_use]
    pub fn tls(self: &Arc<Self>) -> ServerConfig {
        ServerConfig::builder().with_no_client_auth().with_cert_resolver(Arc::clone(self) as _)
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Files {
    /// The files of the configuration's certificate as they are now.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        if let (Some(certificate), Some(key)) = (&config.tls.certificate, &config.tls.key) {
            return Some(Files::now(certificate, key));
        }
        let (certificate, key) = self_made(&state_dir(config)?);
        Some(Files::now(&certificate, &key))
    }

    pub(super) fn now(certificate: &Path, key: &Path) -> Self {
        Files([certificate, key].map(Version::of))
    }
}

impl Version {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Version {
            file: (found.dev(), found.ino()),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    }
}
