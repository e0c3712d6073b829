//! The folder that keeps what must outlive the process.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// The configured folder is none, and cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot keep anything there ({source}); set state_dir to a folder that can be written", path.display())]
pub struct StateDirError {
    /// The folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// The folder that keeps what must outlive the process.
#[must_use]
pub fn state_dir(config: &Config) -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(configured) = &config.state_dir {
        return Some(configured.clone());
    }
    if let Some(systemd) = variable("STATE_DIRECTORY") {
        // systemd separates several folders by colons; the first is ours.
        let first = systemd.to_string_lossy().split(':').next().unwrap_or_default().to_owned();
        return Some(PathBuf::from(first));
    }
    if let Some(state) = variable("XDG_STATE_HOME") {
        return Some(PathBuf::from(state).join("sidetone"));
    }
    variable("HOME").map(|home| PathBuf::from(home).join(".local/state/sidetone"))
}

/// Whether the configured state folder is there or can be made. Nothing is made or left behind.
///
/// # Errors
/// When it is no folder, or the nearest one above it takes nothing new.
pub fn check(config: &Config) -> Result<(), StateDirError> {
    let Some(folder) = &config.state_dir else { return Ok(()) };
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    // A file without a name, which is gone when it is closed.
    let nameless =
        std::fs::OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(above);
    match nameless {
        Ok(_) => Ok(()),
        // Not every file system has such files.
        Err(error)
            if error.raw_os_error() == Some(libc::EOPNOTSUPP)
                && above.metadata().is_ok_and(|above| !above.permissions().readonly()) =>
        {
            Ok(())
        }
        Err(source) => Err(StateDirError { path: folder.clone(), source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn a_state_folder_that_cannot_be_made_is_named() {
        let name = format!("sidetone-state-dir-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = |folder: &Path| Config { state_dir: Some(folder.into()), ..Config::default() };
        std::fs::write(folder.join("file"), "").unwrap();
        check(&config(&folder)).unwrap();
        check(&config(&folder.join("a/b"))).unwrap();
        assert!(!folder.join("a").exists());
        for unusable in [folder.join("file"), "/proc/nope".into(), folder.join("file/a")] {
            let error = check(&config(&unusable)).unwrap_err().to_string();
            let path = unusable.display().to_string();
            assert!(error.contains(&path) && error.contains("state_dir"), "{error}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
