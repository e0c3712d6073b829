//! The log: text on a terminal, one JSON object a line elsewhere, on standard error.
//!
//! A thread of its own writes it, so that a reader that is stuck holds up no call; what it falls
//! behind with is dropped.

use std::io::IsTerminal;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

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
}

/// Starts the log of the process; what waits is written when the guard is dropped.
///
/// # Errors
/// When `log.level` cannot be read.
pub fn start(log: &Log) -> Result<WorkerGuard, LogError> {
    // Libraries of the packet path would log for each hostile packet; what matters is counted.
    let level = format!("rtc_dtls=off,rtc_ice=off,rtc_srtp=off,rtc_stun=off,{}", log.level);
    let filter = EnvFilter::try_new(level)
        .map_err(|error| LogError::Level { level: log.level.clone(), reason: error.to_string() })?;
    let is_text = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // A second start in one process (tests) keeps the first log.
    let _ = if is_text {
        let is_terminal = std::io::stderr().is_terminal();
        builder.with_target(false).with_ansi(is_terminal).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    };
    Ok(guard)
}
