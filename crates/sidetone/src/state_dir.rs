//! The folder that keeps what must outlive the process.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::Config;

/// A configured folder is none, and cannot be made or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot keep anything there ({source}); set {key} to a folder that can be written", path.display())]
pub struct StateDirError {
    /// The folder.
    pub path: PathBuf,
    /// The configuration key.
    pub key: &'static str,
    /// What the system said.
    pub source: io::Error,
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

/// Whether the configured state folder can be written or made, and that of recordings is none but a
/// folder. Nothing is left behind.
///
/// # Errors
/// The first one that cannot be used.
pub fn check(config: &Config) -> Result<(), StateDirError> {
    let failed = |path: &Path, key| {
        let path = path.to_owned();
        move |source| StateDirError { path, key, source }
    };
    if let Some(folder) = &config.state_dir {
        takes_files(existing(folder)).map_err(failed(folder, "state_dir"))?;
    }
    // Calls go on without recordings, for which a disk may be missing for a while.
    if let Some(folder) = &config.recordings.dir
        && !existing(folder).is_dir()
    {
        let source = io::ErrorKind::NotADirectory.into();
        return Err(failed(folder, "recordings.dir")(source));
    }
    Ok(())
}

/// The folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> &Path {
    let mut above = folder.ancestors().filter(|above| !above.as_os_str().is_empty());
    above.find(|above| above.exists()).unwrap_or(Path::new("."))
}

fn takes_files(folder: &Path) -> io::Result<()> {
    // A file without a name, which is gone when it is closed.
    match OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(folder) {
        // Not every file system has such files.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            let named = folder.join(format!(".sidetone-{}", std::process::id()));
            OpenOptions::new().write(true).create_new(true).open(&named)?;
            std::fs::remove_file(named)
        }
        other => other.map(drop),
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
        for unusable in
            [folder.join("file"), "/proc/nope".into(), "/proc/self".into(), folder.join("file/a")]
        {
            let error = check(&config(&unusable)).unwrap_err().to_string();
            let path = unusable.display().to_string();
            assert!(error.contains(&path) && error.contains("state_dir"), "{error}");
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_of_recordings_that_is_a_file_is_named() {
        let name = format!("sidetone-recordings-dir-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("file"), "").unwrap();
        let checked = |dir: &str| {
            let mut config = Config::default();
            config.recordings.dir = Some(folder.join(dir));
            check(&config).map_err(|error| error.to_string())
        };
        assert_eq!((checked(""), checked("a/b")), (Ok(()), Ok(())));
        for unusable in ["file", "file/a"] {
            let error = checked(unusable).unwrap_err();
            assert!(error.contains(unusable) && error.contains("recordings.dir"), "{error}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
