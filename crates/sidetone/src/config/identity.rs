//! Who may call and register: `[auth]`, `[registrar]` and the `[users.NAME]` sections.

use std::collections::BTreeMap;

use serde::Deserialize;
use transport::TransportKind;

use super::CodecName;
use crate::auth::Algorithm;

/// How callers show who they are.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Realm of the digest challenges; a stored HA1 is only good for the realm it was made for.
    pub realm: String,
    /// Digest algorithms that are challenged: `MD5`, `SHA-256`, `SHA-512-256`. Each one is a
    /// header of its own, strongest first. Many phones and pages know MD5 only and some refuse
    /// to register when they see another.
    pub algorithms: Vec<Algorithm>,
    /// Seconds a nonce of ours is good for; a client that uses it later is told so (`stale`).
    pub nonce_lifetime_s: u64,
    /// Secret that tokens are signed with, at least 32 bytes. Unset: made once and kept in
    /// `state_dir`.
    pub token_secret: Option<String>,
    /// Context that calls start in whose token names no user of the configuration. Such a token
    /// must say which numbers it may call. Unset: such tokens are refused.
    pub token_context: Option<String>,
}

/// What the registrar grants.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registrar {
    /// Shortest registration, in seconds; who asks for less is told so (423).
    pub expires_min_s: u32,
    /// Longest registration, in seconds; who asks for more gets this.
    pub expires_max_s: u32,
    /// Registration of who asks for no time, in seconds.
    pub expires_default_s: u32,
    /// Seconds a registration outlives its WebSocket (or, with RFC 5626, its TCP or TLS
    /// connection), so that a page that comes back finds its place.
    pub flow_grace_s: u64,
    /// Seconds between the keep-alives that are sent to UDP phones behind a NAT. 0: none.
    pub keep_alive_interval_s: u64,
    /// Whether registrations that can outlive the process are kept in `state_dir`.
    pub persist: bool,
}

/// One user: what it shows, and what it may use.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserSection {
    /// The password. Either this or `ha1`.
    pub password: Option<String>,
    /// What `sidetone hash-password` prints, one for each algorithm, in place of the password.
    pub ha1: BTreeMap<Algorithm, String>,
    /// Contexts that the user's calls start in: the first one that has the number.
    pub contexts: Vec<String>,
    /// Transports the user may come over. Unset: all.
    pub transports: Option<Vec<TransportName>>,
    /// Codecs of the user in the order of preference. Unset: `media.codecs`.
    pub codecs: Option<Vec<CodecName>>,
    /// Media of calls to the user: `auto` takes it from how the user registered.
    pub media: MediaProfile,
    /// How digits are sent to the user.
    pub dtmf: DtmfMode,
    /// What others see when the user calls, as `Name <number>`. Unset: the user's name as the
    /// number, beside the display name that its phone sends.
    pub caller_id: Option<String>,
    /// Contacts that may be registered at once.
    pub max_contacts: usize,
    /// Whether the oldest contact makes room for one too many, which is refused otherwise.
    pub remove_existing: bool,
    /// Whether callers who are not authenticated may reach the user.
    pub public: bool,
}

/// A transport as it is named in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    /// SIP over UDP.
    Udp,
    /// SIP over TCP.
    Tcp,
    /// SIP over TLS.
    Tls,
    /// SIP over WebSocket.
    Ws,
    /// SIP over secure WebSocket.
    Wss,
}

/// What carries the media of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaProfile {
    /// As the offer has it; towards the user, WebRTC on WebSocket and plain RTP elsewhere.
    #[default]
    Auto,
    /// ICE, DTLS-SRTP, one port.
    WebRtc,
    /// Plain RTP.
    Rtp,
    /// SRTP with keys in the session description.
    Srtp,
}

/// How digits are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtmfMode {
    /// RFC 4733 where it is negotiated, else tones.
    #[default]
    Auto,
    /// RFC 4733.
    Rtp,
    /// SIP INFO.
    Info,
    /// Tones in the audio.
    Inband,
}

impl From<TransportName> for TransportKind {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Udp => TransportKind::Udp,
            TransportName::Tcp => TransportKind::Tcp,
            TransportName::Tls => TransportKind::Tls,
            TransportName::Ws => TransportKind::Ws,
            TransportName::Wss => TransportKind::Wss,
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            realm: "sidetone".to_owned(),
            algorithms: vec![Algorithm::Md5],
            nonce_lifetime_s: 300,
            token_secret: None,
            token_context: None,
        }
    }
}

impl Default for Registrar {
    fn default() -> Self {
        Registrar {
            expires_min_s: 60,
            expires_max_s: 7_200,
            expires_default_s: 3_600,
            flow_grace_s: 30,
            keep_alive_interval_s: 25,
            persist: true,
        }
    }
}

impl Registrar {
    pub(super) fn is_ordered(&self) -> bool {
        let Registrar { expires_min_s, expires_default_s, expires_max_s, .. } = *self;
        expires_min_s > 0
            && expires_min_s <= expires_default_s
            && expires_default_s <= expires_max_s
            && expires_max_s <= WEEK_S
    }
}

const WEEK_S: u32 = 604_800;

impl Default for UserSection {
    fn default() -> Self {
        UserSection {
            password: None,
            ha1: BTreeMap::new(),
            contexts: vec!["internal".to_owned()],
            transports: None,
            codecs: None,
            media: MediaProfile::Auto,
            dtmf: DtmfMode::Auto,
            caller_id: None,
            max_contacts: 10,
            remove_existing: true,
            public: false,
        }
    }
}

impl std::fmt::Debug for UserSection {
    /// Without what the user must keep secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserSection")
            .field("contexts", &self.contexts)
            .field("transports", &self.transports)
            .field("codecs", &self.codecs)
            .field("media", &self.media)
            .field("dtmf", &self.dtmf)
            .field("max_contacts", &self.max_contacts)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
