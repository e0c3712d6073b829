//! The certificate that every DTLS handshake of the process presents.

use std::sync::Arc;

use rtc::{
    dtls::crypto::Certificate as DtlsCertificate, peer_connection::certificate::CertificateParams,
};
use webrtc::peer_connection::{
    RTCCertificate,
    crypto::{RTCCryptoProvider, SignatureScheme, providers::RingProvider},
};

use crate::sdp::{Fingerprint, HashFunction};

/// A self-signed P-256 certificate with its key, and the provider of all cryptography of DTLS.
///
/// One is enough for a process: peers know it by the fingerprint in our session descriptions.
#[derive(Clone)]
pub struct Certificate {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: RTCCertificate,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the DTLS certificate could not be made: {0}")]
pub struct CertificateError(#[from] webrtc::error::Error);

impl Certificate {
    /// Makes a key and a certificate for it.
    ///
    /// # Errors
    ///
    /// The system has no randomness.
    pub fn generate() -> Result<Self, CertificateError> {
        let provider = Arc::new(RingProvider::new());
        let parameters = CertificateParams::new(vec!["sidetone".to_owned()])
            .map_err(|error| webrtc::error::Error::Other(error.to_string()))?;
        let certificate = RTCCertificate::generate(
            provider.crypto(),
            SignatureScheme::EcdsaP256Sha256,
            parameters,
        )?;
        Ok(Self { provider, certificate })
    }

    /// The certificate's fingerprint by SHA-256, as our session descriptions say it.
    pub fn fingerprint(&self) -> Fingerprint {
        let der = self.certificate.dtls_certificate.certificate.first();
        Fingerprint::of(HashFunction::Sha256, der.map_or(&[], |der| der.as_ref()))
    }

    pub(super) fn provider(&self) -> Arc<dyn RTCCryptoProvider> {
        Arc::clone(&self.provider)
    }

    pub(super) fn dtls(&self) -> DtlsCertificate {
        self.certificate.dtls_certificate.clone()
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_fingerprint_is_the_one_webrtc_computes() {
        let certificate = Certificate::generate().unwrap();
        let theirs = certificate.certificate.get_fingerprints(certificate.provider.crypto());
        let theirs = theirs.unwrap().remove(0);
        let read = Fingerprint::parse(&format!("{} {}", theirs.algorithm, theirs.value));
        assert_eq!(read, Some(certificate.fingerprint()));
    }
}
