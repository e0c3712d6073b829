//! Files that only their owner may read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes an empty file unless there is one; its folder too.
///
/// # Errors
/// When the system refuses.
pub fn create_if_missing(path: &Path) -> io::Result<()> {
    create(path, b"").map(|_| ())
}

/// Makes a file with this content; `false` if there is one already.
///
/// # Errors
/// When the system refuses.
pub fn create(path: &Path, content: &[u8]) -> io::Result<bool> {
    create_by(path, |file| {
        file.write_all(content)?;
        file.sync_all()
    })
}

fn create_by(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<bool> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // Half a file would stand in the way of a whole one at every later start.
        Ok(mut file) => write(&mut file).map(|()| true).inspect_err(|_| {
            let _ = std::fs::remove_file(path);
        }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_whole_is_not_left_behind() {
        let folder = std::env::temp_dir().join(format!("sidetone-private-{}", std::process::id()));
        let path = folder.join("secret");
        let full = |file: &mut File| {
            file.write_all(b"ha")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert_eq!(create_by(&path, full).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(!path.exists());
        assert!(create(&path, b"whole").unwrap());
        assert!(!create(&path, b"other").unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
