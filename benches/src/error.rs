//! What can stop a measurement.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a measurement could not be made. A call that fails is a figure of the report, not an error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The server's binary could not be started.
    #[error("cannot start {}: {source}", path.display())]
    Start {
        /// The binary.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server ended, or did not say within the time given that it is ready.
    #[error("the server did not become ready: {log}")]
    NotReady {
        /// The end of what it logged.
        log: String,
    },
    /// The server has no listener of the kind that is needed.
    #[error("the server has no {kind} listener")]
    NoListener {
        /// The kind, as in its configuration.
        kind: &'static str,
    },
    /// A phone of the load generator could not register.
    #[error("a phone could not register: status {status}, 0 for no answer")]
    NotRegistered {
        /// What the server said.
        status: u16,
    },
    /// The WebRTC client refused what it was given.
    #[error("webrtc client: {0}")]
    WebRtc(#[from] webrtc::error::Error),
    /// The media plane or a codec in this process failed.
    #[error("media: {0}")]
    Media(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A thread of the load generator panicked.
    #[error("a thread of the load generator ended early")]
    ThreadLost,
}

impl Error {
    /// Wraps an error of the media crate.
    pub fn media(source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Media(Box::new(source))
    }

    /// Wraps an I/O error with what was being done.
    pub fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, source }
    }
}
