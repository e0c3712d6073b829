//! Files that a process which was killed had not completed.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// What a recording is called until it is complete.
pub(super) fn hidden_name(file_name: &str, serial: u64) -> String {
    format!(".{file_name}.{}-{serial}.part", std::process::id())
}

/// Removes what processes that are gone have left behind, and says how many files that were.
pub(super) fn sweep(dir: &Path) -> usize {
    let (mut folders, mut seen, mut removed) = (vec![(dir.to_owned(), 0)], 0, 0);
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > ENTRIES_MAX {
                return removed;
            }
            // The kind of the entry itself: links are not followed.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth < DEPTH_MAX {
                folders.push((entry.path(), depth + 1));
            }
            let writer = entry.file_name().to_str().and_then(writer_of);
            let is_left = kind.is_file() && writer.is_some_and(|writer| is_gone(writer, &entry));
            removed += usize::from(is_left && fs::remove_file(entry.path()).is_ok());
        }
    }
    removed
}

/// The process that writes a file of such a name.
fn writer_of(name: &str) -> Option<u32> {
    let (_, end) = name.strip_prefix('.')?.strip_suffix(".part")?.rsplit_once('.')?;
    let (process, serial) = end.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number(serial).then(|| process.parse().ok()).flatten()
}

/// Its number may be that of another process by now, also our own; what is written is flushed every second.
fn is_gone(writer: u32, entry: &fs::DirEntry) -> bool {
    let is_running = Path::new(&format!("/proc/{writer}")).exists();
    let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
    !is_running || age().is_some_and(|age| age > QUIET)
}

/// Files and folders that are looked at, and how deep folders lie.
const ENTRIES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 16;
/// A file that nothing was written to for so long has no writer.
const QUIET: Duration = Duration::from_secs(60);
