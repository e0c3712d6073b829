//! Files that only their owner may read.

use std::fs::OpenOptions;
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
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => file.write_all(content).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
