//! The log: text on a terminal, one JSON object a line elsewhere, on standard error.
//!
//! A thread of its own writes it, so that a reader that is stuck holds up no call; what it falls
//! behind with is dropped.

mod writer;

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{Log, LogFormat};

pub use writer::LogThread;

/// Why the log cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// `log.level` is not a filter.
    #[error(
        "log.level {level:?} is not a filter such as \"info\" or \"info,transport=debug\" ({reason})"
    )]
    Level {
        /// What was configured.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The thread that writes it cannot start.
    #[error("the thread that writes the log cannot start: {0}")]
    Thread(#[source] io::Error),
}

/// Starts the log of the process; what waits is written when the guard is dropped.
///
/// # Errors
/// When `log.level` cannot be read, or the system refuses a thread.
pub fn start(log: &Log) -> Result<LogThread, LogError> {
    let filter = filter(log)?;
    let is_text = match log.format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let (thread, writer) = LogThread::start(io::stderr()).map_err(LogError::Thread)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // A second start in one process (tests) keeps the first log.
    let _ = if is_text {
        let is_terminal = io::stderr().is_terminal();
        builder.with_target(false).with_ansi(is_terminal).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    };
    Ok(thread)
}

/// What is logged.
///
/// # Errors
/// When `log.level` cannot be read.
pub fn filter(log: &Log) -> Result<EnvFilter, LogError> {
    let refused = |reason: String| LogError::Level { level: log.level.clone(), reason };
    for part in log.level.split(',') {
        // Alone, what is no level would be taken for the name of a part that logs everything.
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level).trim();
        let is_level = level.starts_with(|c: char| c.is_ascii_alphabetic());
        if !is_level || level.parse::<LevelFilter>().is_err() {
            return Err(refused(format!(
                "{level:?} is none of off, error, warn, info, debug, trace"
            )));
        }
        let target = part.rsplit_once('=').map_or("", |(target, _)| target).trim();
        let name = target.split(['[', ':']).next().unwrap_or_default();
        let is_library = || LIBRARIES.iter().any(|library| name.starts_with(library));
        if !name.is_empty() && !CRATES.contains(&name) && !is_library() {
            let known = CRATES.join(", ");
            return Err(refused(format!("{name:?} is none of {known}, nor a library that logs")));
        }
    }
    // Libraries of the packet path would log for each hostile packet, and rustls warns of each phone
    // that names an address as its host; what matters is counted. What is wrong with a sound file is
    // said by who reads it. A WebSocket's whole messages have passwords and tokens in them.
    let mut quiet = "rtc_dtls=off,rtc_ice=off,rtc_srtp=off,rtc_stun=off,symphonia=off".to_owned();
    let level = overall(&log.level);
    for (library, most) in CEILINGS {
        quiet += &format!(",{library}={}", level.min(most));
    }
    EnvFilter::try_new(format!("{quiet},{}", log.level)).map_err(|error| refused(error.to_string()))
}

/// The level of all that the filter does not name.
fn overall(level: &str) -> LevelFilter {
    let alone = level.split(',').filter(|part| !part.contains(['=', '[']));
    alone.filter_map(|part| part.trim().parse().ok()).next_back().unwrap_or(LevelFilter::ERROR)
}

/// Libraries that say no more than this, nor more than everything else does.
const CEILINGS: [(&str, LevelFilter); 3] = [
    ("rustls", LevelFilter::ERROR),
    ("tungstenite", LevelFilter::DEBUG),
    ("tokio_tungstenite", LevelFilter::DEBUG),
];

/// Our parts, as they stand in a filter.
const CRATES: [&str; 6] = ["sidetone", "transport", "transaction", "dialog", "media", "dialplan"];
/// How the names of those libraries begin that log.
const LIBRARIES: [&str; 8] = [
    "hyper",
    "jiff",
    "quinn_udp",
    "rtc",
    "rustls",
    "symphonia",
    "tokio_tungstenite",
    "tungstenite",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn libraries_say_no_more_than_everything_else() {
        let level = |level: &str| {
            let log = Log { level: level.to_owned(), ..Log::default() };
            let filter = filter(&log).unwrap().to_string();
            let mut parts = filter.split(',').map(str::to_owned);
            parts.find_map(|part| part.strip_prefix("tungstenite=").map(str::to_owned)).unwrap()
        };
        for (given, expected) in [
            ("error", "error"),
            ("info", "info"),
            ("info,transport=trace", "info"),
            ("transport=trace", "error"),
            ("trace", "debug"),
            ("off", "off"),
            ("info,tungstenite=trace", "trace"),
        ] {
            assert_eq!(level(given), expected, "{given}");
        }
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        let log = |level: &str| Log { level: level.to_owned(), ..Log::default() };
        for good in [
            "info",
            "INFO",
            "off",
            "warn,transport=debug",
            "info,sidetone::calls=trace",
            "info,rtc_ice=debug,[call]=trace,media[leg]=debug",
        ] {
            assert!(filter(&log(good)).is_ok(), "{good}");
        }
        for bad in [
            "",
            "loud",
            "3",
            "info,",
            "info,transport=loud",
            "info,transport=",
            "info,==",
            "info,tranport=debug",
        ] {
            let error = filter(&log(bad)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("log.level {bad:?} is not a filter")), "{error}");
        }
    }
}
