//! The configuration: one TOML file that overrides the embedded default key by key.
//!
//! Every key is documented on its field; `config/sidetone.toml` shows all of them with their
//! default values, and a test holds the two together.

mod conflicts;
mod external;
mod identity;
mod listen;
mod load;
mod recordings;
mod renewal;
mod webhook;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use media::codec::Codec;
use media::net::LocalNetworks;
use serde::Deserialize;

pub use external::{ExternalAddress, ExternalPorts};
pub use identity::{Auth, DtmfMode, MediaProfile, Registrar, TransportName, UserSection};
pub use listen::{Address, Listen, ListenKind};
pub use load::ConfigError;
pub(crate) use load::{is_realm, shown};
pub use recordings::Recordings;
pub use webhook::Webhook;

/// All that can be configured. `Config::default()` is the embedded default.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder that keeps the self-made certificate, registrations, and the secrets of tokens and of
    /// the control port. Unset: `$STATE_DIRECTORY`, else
    /// `$XDG_STATE_HOME/sidetone`, else `~/.local/state/sidetone`.
    pub state_dir: Option<PathBuf>,
    /// Addresses that SIP and the web phone are served on.
    pub listen: Vec<Listen>,
    /// The certificate of the TLS listeners.
    pub tls: Tls,
    /// Web listeners.
    pub web: Web,
    /// SIP timers and policies.
    pub sip: Sip,
    /// The media plane.
    pub media: Media,
    /// How callers show who they are.
    pub auth: Auth,
    /// What the registrar grants.
    pub registrar: Registrar,
    /// Users by name, each in a section `[users.NAME]`.
    pub users: std::collections::BTreeMap<String, UserSection>,
    /// What ends a call by itself.
    pub calls: Calls,
    /// Where sound files are found.
    pub sounds: Sounds,
    /// Where recordings go.
    pub recordings: Recordings,
    /// Which dialplan is loaded.
    pub dialplan: Dialplan,
    /// Webhooks of the dialplan.
    pub webhook: Webhook,
    /// Metrics and health.
    pub control: Control,
    /// Bounds of everything that grows.
    pub limits: Limits,
    /// Logging.
    pub log: Log,
}

/// The certificate of the TLS and HTTPS listeners; both or neither file.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and its chain. Unset: a certificate made by Sidetone.
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`.
    pub key: Option<PathBuf>,
}

/// Web listeners: SIP over WebSocket on any path, everything else is the web phone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Origins a WebSocket may come from, such as `https://phone.example.com`. Unset: any.
    pub origins: Option<Vec<String>>,
    /// Whether the web phone is served.
    pub phone: bool,
    /// Seconds between WebSocket pings; a peer that misses two is closed.
    pub ping_interval_s: u64,
}

/// SIP timers and policies.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sip {
    /// Timer T1 in milliseconds (RFC 3261 §17.1.1.1).
    pub t1_ms: u64,
    /// Value of the Server header.
    pub server: String,
    /// SIP ports that have other numbers outside: `OURS:OUTSIDE` or `FIRST-LAST:OUTSIDE`; they go
    /// with `media.external_address`.
    pub external_ports: ExternalPorts,
    /// What the tags of this node begin with, so that a proxy in front can tell nodes apart.
    pub node: String,
    /// Smallest session interval accepted, in seconds (RFC 4028 §4).
    pub session_expires_min_s: u32,
    /// Session interval asked for when the caller supports timers but names none, in seconds.
    pub session_expires_s: u32,
}

/// The media plane.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// Media threads. 0: one fewer than the cores, at least one.
    pub shards: usize,
    /// Addresses that media is bound to, at most one of each family. Empty: taken from `listen`.
    #[serde(deserialize_with = "listen::ips")]
    pub addresses: Vec<IpAddr>,
    /// Address that SDP and SIP advertise in place of the bound one of its family, for a server
    /// behind NAT; or `auto`: if the bound IPv4 address is not public, `stun_server` is asked.
    pub external_address: Option<ExternalAddress>,
    /// UDP ports of media that have other numbers outside: `OURS:OUTSIDE` or `FIRST-LAST:OUTSIDE`.
    pub external_ports: ExternalPorts,
    /// Networks of peers that are told the bound addresses and ports all the same, since they are on
    /// our side of the NAT.
    #[serde(deserialize_with = "external::networks")]
    pub local_networks: LocalNetworks,
    /// `HOST:PORT` of a STUN server, asked once at start for `external_address = "auto"`.
    pub stun_server: Option<String>,
    /// UDP port of the first shard for all its WebRTC media; shard n uses this port plus n.
    /// 0: any free port.
    pub webrtc_port: u16,
    /// First port for plain RTP (even: RTP, odd: RTCP).
    pub rtp_port_min: u16,
    /// Last port for plain RTP.
    pub rtp_port_max: u16,
    /// Codecs in the order of preference: `opus`, `g722`, `pcmu`, `pcma`. A caller's own order goes
    /// before ours.
    pub codecs: Vec<CodecName>,
    /// Complexity of the Opus encoder for prompts and tones, 0 to 10.
    pub opus_complexity: u8,
    /// Complexity of the Opus encoder for calls between Opus and another codec, 0 to 10: it works
    /// for every such call all the time.
    pub opus_transcode_complexity: u8,
    /// A call whose media has not come up this many seconds after the answer is ended.
    pub connect_timeout_s: u64,
}

/// A codec as it is named in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodecName {
    /// Opus, RFC 7587.
    Opus,
    /// G.722 at 64 kbit/s.
    G722,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl CodecName {
    /// The codec.
    #[must_use]
    pub fn codec(self) -> Codec {
        match self {
            CodecName::Opus => Codec::Opus,
            CodecName::G722 => Codec::G722,
            CodecName::Pcmu => Codec::Pcmu,
            CodecName::Pcma => Codec::Pcma,
        }
    }
}

/// What ends a call by itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calls {
    /// Seconds without any packet after which a peer whose connection was closed (a page that
    /// went away) counts as gone.
    pub webrtc_silence_s: u64,
    /// Seconds without any packet after which a phone that is not on hold, and does not only
    /// listen, counts as gone.
    pub plain_silence_s: u64,
    /// Seconds between the questions (OPTIONS) to a phone that is on hold or only listens, and that
    /// has no session timer, whether it is still there: one that does not answer counts as gone. 0:
    /// none.
    pub probe_interval_s: u64,
    /// Longest a call may last, in seconds. 0: no limit.
    pub duration_max_s: u64,
    /// Longest a call may wait for its answer, in seconds: ringing, and with early media.
    pub unanswered_max_s: u64,
    /// Seconds that a bridge rings whose dialplan says nothing else.
    pub ring_timeout_s: u64,
    /// How a user who is registered more than once is called: `together` or, the highest q value
    /// first, `in-order`.
    pub ring_contacts: RingContacts,
    /// Seconds that a contact rings before the next one is called, with `in-order`.
    pub ring_step_s: u64,
    /// Most places that one attempt of a bridge calls.
    pub fork_max: usize,
    /// Most redirections (3xx) that one attempt of a bridge follows. 0: none.
    pub redirects_max: usize,
}

/// How the contacts of a user are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RingContacts {
    /// All at once.
    Together,
    /// The highest q value first, those of the same value at once.
    InOrder,
}

/// Where sound files are found.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sounds {
    /// Folder that is searched before the sounds in the binary.
    pub dir: Option<PathBuf>,
    /// The sound that who is on hold hears, over and over.
    pub hold_music: String,
}

/// Which dialplan is loaded.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dialplan {
    /// FreeSWITCH XML file. Unset: the dialplan in the binary.
    pub file: Option<PathBuf>,
    /// Context of callers who are not authenticated.
    pub context: String,
    /// Global variables, `$${name}` in the XML.
    pub globals: std::collections::BTreeMap<String, String>,
}

/// Metrics and health.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Address of `/metrics`, `/livez` and `/readyz`, and of `/v1/reload`, which asks for the token in
    /// `state_dir`.
    #[serde(deserialize_with = "listen::socket")]
    pub address: SocketAddr,
}

/// Bounds of everything that grows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls at once, each one called by a call counting as another; more are answered 503. Lowered
    /// at start to what the open-file limit allows.
    pub calls_max: usize,
    /// SIP transactions in memory; more requests are answered 503.
    pub transactions_max: usize,
    /// Registered contacts at once, of all users; more are answered 503.
    pub registrations_max: usize,
    /// Stream connections at once, over all listeners.
    pub connections_max: usize,
    /// Stream connections at once from one address.
    pub connections_per_address_max: usize,
    /// Bytes of a SIP start line and headers; more is answered 400 or 513.
    pub head_bytes_max: usize,
    /// Bytes of a SIP body; more is answered 413.
    pub body_bytes_max: usize,
    /// Header lines of a SIP message.
    pub headers_max: usize,
    /// Seconds a prompt may last.
    pub sound_duration_max_s: u64,
    /// Bytes a sound file may have.
    pub sound_bytes_max: u64,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A filter such as `info` or `info,transport=debug`.
    pub level: String,
    /// `auto`: text on a terminal, JSON lines elsewhere.
    pub format: LogFormat,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}

impl Config {
    /// Media threads to start.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        if self.media.shards > 0 {
            return self.media.shards;
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        cores.saturating_sub(1).clamp(1, SHARDS_MAX)
    }
}

impl Default for Config {
    fn default() -> Self {
        let at = |kind, port| Listen { kind, address: Address::localhost(port) };
        Config {
            state_dir: None,
            listen: vec![
                at(ListenKind::Udp, 5060),
                at(ListenKind::Tcp, 5060),
                at(ListenKind::Tls, 5061),
                at(ListenKind::Http, 8088),
                at(ListenKind::Https, 8089),
            ],
            tls: Tls::default(),
            web: Web::default(),
            sip: Sip::default(),
            media: Media::default(),
            auth: Auth::default(),
            registrar: Registrar::default(),
            users: Default::default(),
            calls: Calls::default(),
            sounds: Sounds::default(),
            recordings: Recordings::default(),
            dialplan: Dialplan::default(),
            webhook: Webhook::default(),
            control: Control::default(),
            limits: Limits::default(),
            log: Log::default(),
        }
    }
}

impl Default for Web {
    fn default() -> Self {
        Web { origins: None, phone: true, ping_interval_s: 20 }
    }
}

impl Default for Sip {
    fn default() -> Self {
        Sip {
            t1_ms: 500,
            server: concat!("Sidetone/", env!("CARGO_PKG_VERSION")).to_owned(),
            external_ports: ExternalPorts::default(),
            node: String::new(),
            session_expires_min_s: 90,
            session_expires_s: 1800,
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Media {
            shards: 0,
            addresses: Vec::new(),
            external_address: None,
            external_ports: ExternalPorts::default(),
            local_networks: LocalNetworks::default(),
            stun_server: None,
            webrtc_port: 10_000,
            rtp_port_min: 10_100,
            rtp_port_max: 29_999,
            codecs: vec![CodecName::Opus, CodecName::G722, CodecName::Pcmu, CodecName::Pcma],
            opus_complexity: 9,
            opus_transcode_complexity: 5,
            connect_timeout_s: 10,
        }
    }
}

impl Default for Sounds {
    fn default() -> Self {
        Sounds { dir: None, hold_music: "common/hold_music.wav".to_owned() }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Calls {
            webrtc_silence_s: 7,
            plain_silence_s: 60,
            probe_interval_s: 300,
            duration_max_s: 0,
            unanswered_max_s: 600,
            ring_timeout_s: 60,
            ring_contacts: RingContacts::Together,
            ring_step_s: 20,
            fork_max: 20,
            redirects_max: 5,
        }
    }
}

impl Default for Dialplan {
    fn default() -> Self {
        Dialplan { file: None, context: "public".to_owned(), globals: Default::default() }
    }
}

impl Default for Control {
    fn default() -> Self {
        Control { address: SocketAddr::from(([127, 0, 0, 1], 8090)) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            calls_max: 5_000,
            transactions_max: 400_000,
            registrations_max: 100_000,
            connections_max: 20_000,
            connections_per_address_max: 2_000,
            head_bytes_max: 16_384,
            body_bytes_max: 65_536,
            headers_max: 128,
            sound_duration_max_s: 3_600,
            sound_bytes_max: 512 << 20,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Log { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

/// Media threads at the most.
const SHARDS_MAX: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests;
