//! Everything that can go wrong in this crate, other than what a peer offered.

use std::path::PathBuf;

/// An error of the media plane.
///
/// A peer's bad packet is not an error: it is dropped and counted. A peer's bad session description
/// is [`crate::sdp::SdpError`] or [`crate::sdp::NegotiationError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The Opus library refused something.
    #[error("opus: {0}")]
    Opus(#[from] opus::Error),
    /// A codec does not take or give PCM at this rate.
    #[error("no such codec at {pcm_rate_hz} samples per second")]
    PcmRate {
        /// The rate asked for.
        pcm_rate_hz: u32,
    },
    /// A buffer given to us has no room for what is to be written.
    #[error("a buffer of {needed} elements is needed")]
    ShortBuffer {
        /// Elements that would have fitted.
        needed: usize,
    },
    /// A packet without a payload cannot be decoded.
    #[error("the payload is empty")]
    EmptyPayload,
    /// A sound's sample rate could not be converted.
    #[error("resampling: {reason}")]
    Resample {
        /// What the resampler said.
        reason: String,
    },
    /// A prompt's name cannot name a file below the sounds directory.
    #[error("prompt name {name:?} {reason}")]
    PromptName {
        /// The name as it was asked for.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No prompt of this name, neither in the sounds directory nor built in.
    #[error("prompt {name:?} was not found{}", searched(.dir))]
    PromptNotFound {
        /// The name as it was asked for.
        name: String,
        /// The directory that was searched first, where there is one.
        dir: Option<PathBuf>,
    },
    /// A prompt's file exists and cannot be used.
    #[error("prompt {name:?}: {path}: {source}")]
    PromptFile {
        /// The name as it was asked for.
        name: String,
        /// The file, or `(built in)`.
        path: String,
        /// Why it cannot be used.
        source: PromptFault,
    },
    /// A tone cannot be made from its description.
    #[error("tone: {0}")]
    Tone(&'static str),
}

/// Why a prompt's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptFault {
    /// The system could not read it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is of no kind that is played, or it is damaged.
    #[error("not a readable sound file: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// It is not a regular file.
    #[error("is not a regular file")]
    NotAFile,
    /// A symbolic link leads out of the sounds directory.
    #[error("leads out of the sounds directory")]
    Outside,
    /// It has more bytes than allowed.
    #[error("has {bytes} bytes, at most {bytes_max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The configured bound.
        bytes_max: u64,
    },
    /// It plays for longer than allowed.
    #[error("plays for longer than {seconds_max} s, the most that is allowed")]
    TooLong {
        /// The configured bound.
        seconds_max: u64,
    },
    /// Its sample rate or number of channels is not one we play.
    #[error(
        "has {channels} channels at {rate_hz} Hz; 1 to 8 channels at 4000 to 192000 Hz are played"
    )]
    Format {
        /// Samples per second.
        rate_hz: u32,
        /// Channels in the file.
        channels: u16,
    },
    /// It contains no sample.
    #[error("contains no audio")]
    Empty,
}

fn searched(dir: &Option<PathBuf>) -> String {
    match dir {
        Some(dir) => format!(" in {} or among the built-in sounds", dir.display()),
        None => " among the built-in sounds".into(),
    }
}
