//! One DTLS association: from the first datagram to SRTP keys, and on until the peer closes it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rtc::{
    dtls::{
        config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig},
        endpoint::{Endpoint, EndpointEvent},
    },
    shared::{TransportProtocol, error::Error as RtcError},
};
use webrtc::peer_connection::SrtpProtectionProfile as Profile;

use super::{
    Certificate, CertificateError,
    hello::{Hello, HelloReader, is_client_hello},
};
use crate::{
    sdp::{DtlsRole, Fingerprint},
    srtp::{KeyingMaterial, SrtpProfile},
};

/// The prepared configurations of all handshakes of the process.
///
/// `rtc::dtls` takes the first profile of the client that it knows, and Chromium lists AES-CM before
/// the cheaper GCM; so there is one configuration for each, and the ClientHello decides.
#[derive(Clone)]
pub struct Configs {
    server_gcm: Arc<HandshakeConfig>,
    server_counter_mode: Arc<HandshakeConfig>,
    client: Arc<HandshakeConfig>,
    client_counter_mode: Arc<HandshakeConfig>,
}

impl Configs {
    /// Prepares them around the certificate that we present.
    ///
    /// # Errors
    ///
    /// The certificate's key does not fit any cipher suite.
    pub fn new(certificate: &Certificate) -> Result<Self, CertificateError> {
        let builder = || {
            ConfigBuilder::default()
                .with_crypto_provider(certificate.provider())
                .with_certificates(vec![certificate.dtls()])
                // Peers are known by the signalled fingerprint, not by an authority (RFC 8827 §6.5).
                .with_insecure_skip_verify(true)
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_extended_master_secret(ExtendedMasterSecretType::Request)
                .with_flight_interval(FLIGHT_INTERVAL)
        };
        let config = |is_client, profiles| {
            let builder = builder().with_srtp_protection_profiles(profiles);
            builder.build(is_client, None).map(Arc::new).map_err(CertificateError::from)
        };
        Ok(Self {
            server_gcm: config(false, vec![GCM])?,
            server_counter_mode: config(false, vec![COUNTER_MODE])?,
            client: config(true, vec![GCM, COUNTER_MODE])?,
            client_counter_mode: config(true, vec![COUNTER_MODE])?,
        })
    }

    /// The same without AES-GCM, for peers and tests that must do with AES-CM.
    #[must_use]
    pub fn without_gcm(self) -> Self {
        Self {
            server_gcm: Arc::clone(&self.server_counter_mode),
            client: Arc::clone(&self.client_counter_mode),
            ..self
        }
    }
}

impl std::fmt::Debug for Configs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Configs").finish_non_exhaustive()
    }
}

/// The DTLS side of one leg. Large: boxed, and dropped when it is of no more use.
pub struct Association {
    configs: Configs,
    role: DtlsRole,
    fingerprints: Vec<Fingerprint>,
    endpoint: Endpoint,
    phase: Phase,
    transmits: Vec<BytesMut>,
    /// What was sent last, to be repeated as it is.
    flight: Vec<BytesMut>,
    /// When the flight is repeated: the endpoint forgets its own timer when the peer repeats.
    repeat_at: Option<Instant>,
    repeats: u32,
    datagrams: u32,
    errors: u32,
    attempts: u32,
}

enum Phase {
    /// Nothing came yet, or the ClientHello is not complete; its datagrams wait.
    Hello { reader: HelloReader, datagrams: Vec<BytesMut> },
    /// The endpoint is at work.
    Handshaking,
    /// Keys were given out.
    Established,
    /// Nothing more is read.
    Failed,
}

/// What became of an association.
pub enum AssociationEvent {
    /// The certificate matches the signalled fingerprint; here are the keys.
    Connected {
        /// How media is protected.
        profile: SrtpProfile,
        /// Both directions' master keys.
        keys: Box<KeyingMaterial>,
    },
    /// It failed for good.
    Failed(AssociationError),
    /// An attempt failed and another ClientHello starts over.
    Restarted(AssociationError),
    /// The peer said that it closes.
    PeerClosed,
}

/// Why an association failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssociationError {
    /// The peer's certificate does not match any signalled fingerprint.
    Fingerprint,
    /// The peer offers no SRTP profile of ours.
    NoProfile,
    /// The peer gave up, or the messages made no sense.
    Handshake,
    /// Too many retransmissions.
    Timeout,
}

impl Association {
    /// An association in our `role`, whose peer's certificate must match one of `fingerprints`.
    pub fn new(configs: Configs, role: DtlsRole, fingerprints: Vec<Fingerprint>) -> Self {
        Self {
            configs,
            role,
            fingerprints,
            endpoint: Endpoint::new(PEER, TransportProtocol::UDP, None),
            phase: Phase::Hello { reader: HelloReader::default(), datagrams: Vec::new() },
            transmits: Vec::new(),
            flight: Vec::new(),
            repeat_at: None,
            repeats: 0,
            datagrams: 0,
            errors: 0,
            attempts: 0,
        }
    }

    /// What the peer's certificate must match.
    pub fn fingerprints(&self) -> &[Fingerprint] {
        &self.fingerprints
    }

    /// Begins the handshake if that is our role and it has not begun.
    pub fn start(&mut self, now: Instant) {
        if self.role != DtlsRole::Active || !matches!(self.phase, Phase::Hello { .. }) {
            return;
        }
        let config = Arc::clone(&self.configs.client);
        if self.endpoint.connect(now, PEER, config, None).is_ok() {
            self.phase = Phase::Handshaking;
            self.collect();
        }
    }

    /// Reads one datagram of the peer.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Instant) -> Option<AssociationEvent> {
        match self.phase {
            Phase::Failed => None,
            Phase::Handshaking | Phase::Established => self.read(datagram.into(), now),
            Phase::Hello { .. } if self.role == DtlsRole::Active => None,
            Phase::Hello { .. } => self.read_hello(datagram, now),
        }
    }

    fn read_hello(&mut self, datagram: &[u8], now: Instant) -> Option<AssociationEvent> {
        let Phase::Hello { reader, datagrams } = &mut self.phase else { return None };
        let profiles = match reader.read(datagram) {
            Ok(Hello::Complete(profiles)) => profiles,
            Ok(Hello::Incomplete) => {
                datagrams.push(datagram.into());
                return None;
            }
            // What is not a ClientHello is passed over; one that contradicts itself starts anew.
            Err(_) => {
                *reader = HelloReader::default();
                datagrams.clear();
                return None;
            }
        };
        datagrams.push(datagram.into());
        let datagrams = std::mem::take(datagrams);
        let config = if profiles.contains(&(GCM as u16)) {
            &self.configs.server_gcm
        } else if profiles.contains(&(COUNTER_MODE as u16)) {
            &self.configs.server_counter_mode
        } else {
            return Some(self.fail(AssociationError::NoProfile));
        };
        self.endpoint.set_server_config(Some(Arc::clone(config)));
        self.phase = Phase::Handshaking;
        datagrams.into_iter().fold(None, |event, bytes| event.or(self.read(bytes, now)))
    }

    fn read(&mut self, datagram: BytesMut, now: Instant) -> Option<AssociationEvent> {
        // The endpoint keeps what it cannot decrypt yet; a flood of that must not grow.
        self.datagrams += 1;
        if matches!(self.phase, Phase::Handshaking) && self.datagrams > DATAGRAMS_MAX {
            return Some(self.restart(AssociationError::Handshake));
        }
        let is_repeated_hello = is_client_hello(&datagram);
        let endpoint = &mut self.endpoint;
        let events = match contained(|| endpoint.read(now, PEER, None, datagram)) {
            Ok(events) => events,
            Err(error) => {
                self.collect();
                return self.handle_error(&error);
            }
        };
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => return Some(self.complete()),
                EndpointEvent::PeerClosed => {
                    self.collect();
                    let was_established = matches!(self.phase, Phase::Established);
                    self.phase = Phase::Failed;
                    return was_established.then_some(AssociationEvent::PeerClosed);
                }
                _ => {}
            }
        }
        if !self.collect() && matches!(self.phase, Phase::Handshaking) {
            self.see_to_repeat(is_repeated_hello, now);
        }
        None
    }

    /// The peer spoke and we have nothing new to say: either more is to come, or it repeats itself
    /// because our flight was lost (RFC 6347 §4.2.4).
    fn see_to_repeat(&mut self, is_repeated_hello: bool, now: Instant) {
        if is_repeated_hello && self.repeats < REPEATS_MAX {
            self.repeats += 1;
            self.transmits.extend(self.flight.iter().cloned());
        }
        if self.endpoint.poll_timeout(&PEER).is_none() {
            self.repeat_at.get_or_insert(now + FLIGHT_INTERVAL);
        }
    }

    /// After completion nothing unauthenticated ends an association. Before, a fatal alert starts it
    /// over, so that a forged one costs a retransmission and not the call; other errors are passed
    /// over until there are too many.
    fn handle_error(&mut self, error: &RtcError) -> Option<AssociationEvent> {
        if matches!(self.phase, Phase::Established) {
            return None;
        }
        self.errors += 1;
        let is_over = matches!(error, RtcError::ErrAlertFatalOrClose | RtcError::ErrClosedListener);
        if is_over || self.errors >= ERRORS_MAX {
            return Some(self.restart(AssociationError::Handshake));
        }
        None
    }

    fn complete(&mut self) -> AssociationEvent {
        let Some(state) = self.endpoint.get_connection_state(PEER) else {
            return self.fail(AssociationError::Handshake);
        };
        let certificate = state.peer_certificates.first();
        let matches =
            certificate.is_some_and(|der| self.fingerprints.iter().any(|f| f.matches(der)));
        if !matches {
            // The last flight is not sent: to such a peer the handshake never completes.
            return self.fail(AssociationError::Fingerprint);
        }
        let profile = match state.srtp_protection_profile() {
            GCM => SrtpProfile::AeadAes128Gcm,
            COUNTER_MODE => SrtpProfile::Aes128CmHmacSha1_80,
            _ => return self.fail(AssociationError::NoProfile),
        };
        let length = KeyingMaterial::exported_bytes(profile);
        let exported = state.export_keying_material(KeyingMaterial::LABEL, &[], length);
        let keys = exported.ok().and_then(|bytes| {
            KeyingMaterial::from_exported(profile, bytes.as_ref(), self.role == DtlsRole::Active)
        });
        let Some(keys) = keys else { return self.fail(AssociationError::Handshake) };
        self.collect();
        self.flight = Vec::new();
        self.phase = Phase::Established;
        AssociationEvent::Connected { profile, keys: Box::new(keys) }
    }

    fn fail(&mut self, error: AssociationError) -> AssociationEvent {
        self.phase = Phase::Failed;
        self.endpoint = Endpoint::new(PEER, TransportProtocol::UDP, None);
        AssociationEvent::Failed(error)
    }

    fn restart(&mut self, error: AssociationError) -> AssociationEvent {
        self.attempts += 1;
        if self.attempts >= ATTEMPTS_MAX {
            return self.fail(error);
        }
        self.datagrams = 0;
        self.errors = 0;
        self.repeats = 0;
        self.repeat_at = None;
        self.flight.clear();
        self.endpoint = Endpoint::new(PEER, TransportProtocol::UDP, None);
        self.phase = Phase::Hello { reader: HelloReader::default(), datagrams: Vec::new() };
        AssociationEvent::Restarted(error)
    }

    /// Repeats a flight that was not answered in time.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<AssociationEvent> {
        if !matches!(self.phase, Phase::Handshaking) {
            return None;
        }
        if self.poll_timeout().is_none_or(|deadline| deadline > now) {
            return None;
        }
        if self.repeat_at.take_if(|at| *at <= now).is_some() {
            self.repeats += 1;
            if self.repeats > REPEATS_MAX {
                return Some(self.restart(AssociationError::Timeout));
            }
            self.transmits.extend(self.flight.iter().cloned());
            self.repeat_at = Some(now + FLIGHT_INTERVAL);
            return None;
        }
        let endpoint = &mut self.endpoint;
        let result = contained(|| endpoint.handle_timeout(PEER, now));
        self.collect();
        match result {
            Ok(()) => None,
            Err(_) => Some(self.restart(AssociationError::Timeout)),
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Handshaking => {
                let endpoint = self.endpoint.poll_timeout(&PEER);
                endpoint.into_iter().chain(self.repeat_at).min()
            }
            Phase::Hello { .. } | Phase::Established | Phase::Failed => None,
        }
    }

    /// Queues close_notify, if the association is established.
    pub fn close(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Established) {
            drop(self.endpoint.stop(now, PEER));
            self.collect();
        }
        self.phase = Phase::Failed;
    }

    /// Takes what the endpoint sends; returns whether there was anything.
    fn collect(&mut self) -> bool {
        let first = self.endpoint.poll_transmit();
        let rest = std::iter::from_fn(|| self.endpoint.poll_transmit());
        let flight: Vec<_> = first.into_iter().chain(rest).map(|sent| sent.message).collect();
        if flight.is_empty() {
            return false;
        }
        self.transmits.extend(flight.iter().cloned());
        self.flight = flight;
        self.repeat_at = None;
        self.repeats = 0;
        true
    }

    /// Whether keys were given out.
    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established)
    }

    /// The datagrams to be sent to where media goes, in order.
    pub fn take_transmits(&mut self) -> Vec<BytesMut> {
        std::mem::take(&mut self.transmits)
    }
}

/// Runs what reads a stranger's handshake. Should it panic all the same, this association begins anew
/// and every other call of the thread lives.
fn contained<T>(work: impl FnOnce() -> Result<T, RtcError>) -> Result<T, RtcError> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    result.unwrap_or(Err(RtcError::ErrClosedListener))
}

impl std::fmt::Debug for Association {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = match self.phase {
            Phase::Hello { .. } => "hello",
            Phase::Handshaking => "handshaking",
            Phase::Established => "established",
            Phase::Failed => "failed",
        };
        f.debug_struct("Association").field("role", &self.role).field("phase", &phase).finish()
    }
}

const GCM: Profile = Profile::Srtp_Aead_Aes_128_Gcm;
const COUNTER_MODE: Profile = Profile::Srtp_Aes128_Cm_Hmac_Sha1_80;
/// What the endpoint calls the peer, wherever its datagrams come from: an association outlives a
/// change of ICE pair.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// Browsers repeat after 50 ms to 1 s; this is for what they do not repeat.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(500);
const REPEATS_MAX: u32 = 8;
/// Datagrams read in one handshake, which takes about ten.
const DATAGRAMS_MAX: u32 = 256;
const ERRORS_MAX: u32 = 16;
const ATTEMPTS_MAX: u32 = 3;

#[cfg(test)]
mod tests;
