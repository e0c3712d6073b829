//! The log: text on a terminal, one JSON object a line elsewhere, on standard error.
//!
//! A thread of its own writes it, so that a reader that is stuck holds up no call; what it falls
//! behind with is dropped.

mod writer;

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

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
    // Libraries of the packet path would log for each hostile packet; what matters is counted.
    let level = format!("rtc_dtls=off,rtc_ice=off,rtc_srtp=off,rtc_stun=off,{}", log.level);
    let filter = EnvFilter::try_new(level)
        .map_err(|error| LogError::Level { level: log.level.clone(), reason: error.to_string() })?;
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
