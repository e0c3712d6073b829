//! Reading the configuration file, and what makes a configuration impossible.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Config, Control, Recordings, SHARDS_MAX, Tls};
use crate::users::Users;

/// Why a configuration is refused: one sentence that says where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot read the configuration file ({source}); {}", path.display(), match source.kind() {
        ErrorKind::InvalidData => "write it as text in UTF-8",
        _ => "check the path given to --config",
    })]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An address of each family is enough.
    #[error("--listen is given twice for {family}; give it once for IPv4 and once for IPv6")]
    ListenTwice {
        /// IPv4 or IPv6.
        family: &'static str,
    },
    /// The file is not TOML, or a key or a value is not known.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// Values that cannot work, or not together: a line for each.
    #[error("{}", messages.iter().map(|message| format!("{}: {message}", path.display())).collect::<Vec<_>>().join("\n"))]
    Impossible {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        messages: Vec<String>,
    },
}

impl Config {
    /// Reads a configuration file; relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// When the file cannot be read, has an unknown key, or has values that cannot work.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let mut config = Config::parse(&text, path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let Tls { certificate, key } = &mut config.tls;
        for file in [
            &mut config.state_dir,
            certificate,
            key,
            &mut config.sounds.dir,
            &mut config.recordings.dir,
            &mut config.dialplan.file,
        ] {
            if let Some(relative) = file.take() {
                *file = Some(folder.join(relative));
            }
        }
        Ok(config)
    }

    /// Reads what leads to the control port of a server, even where the server would refuse the
    /// file for something else: it says better why.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or has another mistake in these keys.
    pub fn load_control(path: &Path) -> Result<Self, ConfigError> {
        #[derive(serde::Deserialize)]
        struct Keys {
            state_dir: Option<PathBuf>,
            #[serde(default)]
            control: Control,
        }
        Config::load(path).or_else(|error| {
            let text = std::fs::read_to_string(path).ok();
            let keys: Option<Keys> = text.and_then(|text| toml::from_str(&text).ok());
            let Keys { state_dir, control } = keys.ok_or(error)?;
            let folder = path.parent().unwrap_or(Path::new(""));
            let state_dir = state_dir.map(|relative| folder.join(relative));
            Ok(Config { state_dir, control, ..Config::default() })
        })
    }

    /// Reads a configuration from text; `path` is named in errors.
    ///
    /// # Errors
    /// When there is an unknown key or a value that cannot work.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let syntax = |error: &toml::de::Error, message: String| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
            ConfigError::Syntax {
                path: path.to_owned(),
                line,
                message: shown(&message, SENTENCE_CHARS_MAX),
            }
        };
        let document = toml::Deserializer::parse(text)
            .map_err(|error| syntax(&error, syntax_message(text, &error)))?;
        let config: Config = serde_path_to_error::deserialize(document)
            .map_err(|error| syntax(error.inner(), in_plain_words(&error)))?;
        let mut messages: Vec<_> = config.impossible().map(str::to_owned).collect();
        messages.extend(config.conflicts());
        // Read once more when the server starts; here for the name of the file.
        messages.extend(Users::new(&config).err().map(|error| error.to_string()));
        match messages.is_empty() {
            true => Ok(config),
            false => Err(ConfigError::Impossible { path: path.to_owned(), messages }),
        }
    }

    fn impossible(&self) -> impl Iterator<Item = &'static str> {
        let media = &self.media;
        let limits = &self.limits;
        let families = |v6| media.addresses.iter().filter(|ip| ip.is_ipv6() == v6).count();
        let rules = [
            (self.listen.is_empty(), "listen is empty; give at least one [[listen]] entry"),
            (
                self.tls.certificate.is_some() != self.tls.key.is_some(),
                "tls.certificate and tls.key go together; set both or neither",
            ),
            (
                media.rtp_port_min >= media.rtp_port_max,
                "media.rtp_port_min must be below media.rtp_port_max",
            ),
            (media.rtp_port_min < 1024, "media.rtp_port_min must be 1024 or higher"),
            (media.codecs.is_empty(), "media.codecs is empty; name at least one codec"),
            (media.shards > SHARDS_MAX, "media.shards must be 64 or less"),
            (
                media.rtp_port_min | 1 >= media.rtp_port_max && media.rtp_port_min % 2 == 1,
                "media.rtp_port_min to rtp_port_max must hold an even port and the odd one after it",
            ),
            (
                self.webrtc_ports_collide(),
                "media.webrtc_port and the ports after it, one a shard, must be below 65536 and outside of the RTP ports",
            ),
            (
                !(1..=HOUR_S).contains(&media.connect_timeout_s),
                "media.connect_timeout_s must be from 1 to 3600",
            ),
            (
                !(1..=HOUR_S).contains(&self.calls.webrtc_silence_s),
                "calls.webrtc_silence_s must be from 1 to 3600",
            ),
            (
                !(1..=HOUR_S).contains(&self.calls.plain_silence_s),
                "calls.plain_silence_s must be from 1 to 3600",
            ),
            (
                self.calls.probe_interval_s > DAY_S,
                "calls.probe_interval_s must be 86400 (a day) or less",
            ),
            (
                !(1..=HOUR_S).contains(&self.calls.unanswered_max_s),
                "calls.unanswered_max_s must be from 1 to 3600",
            ),
            (
                !(1..=HOUR_S).contains(&self.calls.ring_timeout_s),
                "calls.ring_timeout_s must be from 1 to 3600",
            ),
            (
                !(1..=HOUR_S).contains(&self.calls.ring_step_s),
                "calls.ring_step_s must be from 1 to 3600",
            ),
            (
                !(1..=FORK_MAX).contains(&self.calls.fork_max),
                "calls.fork_max must be from 1 to 1000",
            ),
            (
                self.calls.duration_max_s > YEAR_S,
                "calls.duration_max_s must be 31536000 (a year) or less",
            ),
            (
                !(1..=HOUR_S).contains(&self.limits.sound_duration_max_s),
                "limits.sound_duration_max_s must be from 1 to 3600",
            ),
            (
                families(true) > 1 || families(false) > 1,
                "media.addresses takes at most one IPv4 and one IPv6 address",
            ),
            (
                media.addresses.iter().any(|ip| ip.is_unspecified()),
                "media.addresses must be addresses of this machine, not 0.0.0.0 or ::",
            ),
            (media.opus_complexity > 10, "media.opus_complexity must be from 0 to 10"),
            (
                media.opus_transcode_complexity > 10,
                "media.opus_transcode_complexity must be from 0 to 10",
            ),
            (limits.calls_max == 0, "limits.calls_max must be at least 1"),
            (limits.transactions_max == 0, "limits.transactions_max must be at least 1"),
            (limits.connections_max == 0, "limits.connections_max must be at least 1"),
            (
                limits.connections_per_address_max == 0,
                "limits.connections_per_address_max must be at least 1",
            ),
            (
                limits.head_bytes_max < 1_024 || limits.headers_max < 16,
                "limits.head_bytes_max must be at least 1024 and limits.headers_max at least 16",
            ),
            (self.sip.t1_ms == 0 || self.sip.t1_ms > 10_000, "sip.t1_ms must be from 1 to 10000"),
            (
                self.sip.session_expires_min_s < 90,
                "sip.session_expires_min_s must be at least 90 (RFC 4028)",
            ),
            (
                self.sip.session_expires_s < self.sip.session_expires_min_s,
                "sip.session_expires_s must not be below sip.session_expires_min_s",
            ),
            (
                self.sip.server.trim().is_empty() || self.sip.server.chars().any(char::is_control),
                "sip.server must be a name without control characters",
            ),
            (
                media.stun_server.as_ref().is_some_and(|server| !is_host_and_port(server)),
                "media.stun_server must be HOST:PORT, such as \"stun.example.com:3478\"",
            ),
            (
                self.web.origins.iter().flatten().any(|origin| !is_origin(origin)),
                "web.origins must be as browsers send them, such as \"https://phone.example.com\": in \
                 lower case, without a path and without the port 80 of http or 443 of https; without \
                 web.origins every page may connect",
            ),
            (
                !self.sip.node.bytes().all(|b| b.is_ascii_alphanumeric())
                    || self.sip.node.len() > 16,
                "sip.node must be at most 16 letters and digits",
            ),
            (
                !is_realm(&self.auth.realm),
                "auth.realm must have 1 to 64 printable characters other than quotes and backslashes",
            ),
            (
                self.auth.algorithms.is_empty(),
                "auth.algorithms is empty; name at least one of MD5, SHA-256 and SHA-512-256",
            ),
            (
                !(10..=DAY_S).contains(&self.auth.nonce_lifetime_s),
                "auth.nonce_lifetime_s must be from 10 to 86400",
            ),
            (
                self.auth.token_secret.as_ref().is_some_and(|secret| secret.len() < 32),
                "auth.token_secret must have at least 32 bytes; `openssl rand -hex 32` makes one",
            ),
            (
                !self.registrar.is_ordered(),
                "registrar.expires_min_s, expires_default_s and expires_max_s must rise from 1 to 604800",
            ),
            (self.registrar.flow_grace_s > HOUR_S, "registrar.flow_grace_s must be 3600 or less"),
            (
                self.registrar.keep_alive_interval_s > HOUR_S,
                "registrar.keep_alive_interval_s must be 3600 or less",
            ),
            (limits.registrations_max == 0, "limits.registrations_max must be at least 1"),
            (
                !(1..=Recordings::DURATION_MAX_S).contains(&self.recordings.duration_max_s),
                "recordings.duration_max_s must be from 1 to 28800",
            ),
            (
                self.recordings.recordings_max > Recordings::RECORDINGS_MAX,
                "recordings.recordings_max must be 10000 or less",
            ),
            (
                !self.webhook.is_fit(),
                "webhook.secret must have at least 24 bytes; `openssl rand -hex 32` makes one",
            ),
            (
                !(1..=HOUR_S).contains(&self.web.ping_interval_s),
                "web.ping_interval_s must be from 1 to 3600",
            ),
        ];
        rules.into_iter().filter(|(broken, _)| *broken).map(|(_, message)| message)
    }

    fn webrtc_ports_collide(&self) -> bool {
        let media = &self.media;
        if media.webrtc_port == 0 {
            return false;
        }
        let first = usize::from(media.webrtc_port);
        let last = first + self.shard_count() - 1;
        let (min, max) = (usize::from(media.rtp_port_min), usize::from(media.rtp_port_max));
        last > usize::from(u16::MAX) || (first <= max && last >= min)
    }
}

/// A text from the file as it can stand in a sentence: of one line, and not too long.
pub(crate) fn shown(text: &str, chars_max: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(chars_max)
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push('…');
    }
    shown
}

/// What serde says of a value, with the name of its key and without names of Rust's types.
fn in_plain_words(error: &serde_path_to_error::Error<toml::de::Error>) -> String {
    let (key, message) = (error.path(), error.inner().message().replace('\n', ", "));
    let is_of_value = ["invalid type: ", "invalid value: "];
    let found = is_of_value.iter().find_map(|start| message.strip_prefix(start));
    if message == "wanted string or table" {
        return format!("{key} must be one of {}", choices(&key.to_string()));
    }
    let Some((found, expected)) = found.and_then(|found| found.split_once(", expected ")) else {
        let names_its_key = message.starts_with("unknown field ") || key.iter().next().is_none();
        return if names_its_key { message } else { format!("{key}: {message}") };
    };
    let expected = match expected {
        "usize" | "u8" | "u16" | "u32" | "u64" => "a whole number, not negative and not too large",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" | "a borrowed string" => "text in quotes",
        "a sequence" if key.to_string() == "listen" && found == "map" => {
            return "[listen] is a single section; write [[listen]] for each listener".to_owned();
        }
        "a sequence" => "a list in brackets",
        table if table == "a map" || table.starts_with("struct ") => "a section with keys",
        other => other,
    };
    format!("{key} is {found}; it must be {expected}")
}

/// What the parser says, with the name of a key that is there twice.
fn syntax_message(text: &str, error: &toml::de::Error) -> String {
    let key = error.span().and_then(|span| text.get(span)).unwrap_or_default();
    match error.message() {
        "duplicate key" => format!("{key} is there twice; keep one"),
        message => message.replace('\n', ", "),
    }
}

/// What can stand where a name was expected.
fn choices(key: &str) -> &'static str {
    match key.rsplit('.').next() {
        Some("kind") => {
            "\"udp\", \"tcp\", \"tls\", \"http\" and \"https\"; write a [[listen]] for each"
        }
        _ => "the names in config/sidetone.toml, in quotes",
    }
}

fn is_host_and_port(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// Whether a browser may send this as its Origin (RFC 6454 §6.2): pages without one say `null`.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return text == "null" };
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    let has_default_port = matches!(scheme, "http" | "ws") && host.ends_with(":80")
        || matches!(scheme, "https" | "wss") && host.ends_with(":443");
    !scheme.is_empty()
        && !host.is_empty()
        && text.bytes().all(is_plain)
        && !host.contains(['/', '?', '#', '*'])
        && !has_default_port
}

/// What can stand in quotes without an escape, in every client's eyes.
pub(crate) fn is_realm(realm: &str) -> bool {
    let is_fit = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte);
    (1..=64).contains(&realm.len()) && realm.bytes().all(is_fit)
}

/// Longer than any sentence of ours.
const SENTENCE_CHARS_MAX: usize = 500;
const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 86_400;
/// Beyond it the messages of one call would be a flood.
const FORK_MAX: usize = 1_000;
const YEAR_S: u64 = 31_536_000;
