//! The log: text on a terminal, one JSON object a line elsewhere, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Why the log cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// `log.level` is not a filter.
    #[error("log.level {level:?} is not a filter such as \"info\" or \"info,transport=debug\" ({reason})")]
    Level {
        /// What was configured.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Starts the log of the process.
///
/// # Errors
/// When `log.level` cannot be read.
pub fn start(log: &Log) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| LogError::Level {
        level: log.level.clone(),
        reason: error.to_string(),
    })?;
    let is_text = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first log.
    let _ = if is_text {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    };
    Ok(())
}
