//! Where recordings go.

use std::path::PathBuf;
use std::time::Duration;

use media::net::RecorderConfig;
use serde::Deserialize;

use super::Config;
use crate::state_dir::state_dir;

/// Where recordings go, and their bounds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recordings {
    /// Folder below which recordings are written and played from: `$${recordings_dir}`. Unset: `recordings` in
    /// `state_dir`.
    pub dir: Option<PathBuf>,
    /// Longest recording, in seconds.
    pub duration_max_s: u64,
    /// Recordings at once; more are not made, which is logged, and the call goes on.
    pub recordings_max: usize,
}

impl Default for Recordings {
    fn default() -> Self {
        Recordings { dir: None, duration_max_s: 14_400, recordings_max: 500 }
    }
}

impl Recordings {
    /// A WAV file of more than 2 GB is not read everywhere.
    pub(super) const DURATION_MAX_S: u64 = 28_800;
    /// Each has a ring of 170 kB.
    pub(super) const RECORDINGS_MAX: usize = 10_000;
}

impl Config {
    /// The folder of recordings.
    #[must_use]
    pub fn recordings_dir(&self) -> PathBuf {
        let kept = || state_dir(self).unwrap_or_default().join("recordings");
        self.recordings.dir.clone().unwrap_or_else(kept)
    }
}

impl From<&Config> for RecorderConfig {
    fn from(config: &Config) -> Self {
        RecorderConfig {
            dir: config.recordings_dir(),
            duration_max: Duration::from_secs(config.recordings.duration_max_s),
            recordings_max: config.recordings.recordings_max,
        }
    }
}
