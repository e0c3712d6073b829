//! The folder that is imported: its files are read within bounds, and nothing outside of it is.

use std::io::Read;
use std::path::{Path, PathBuf};

use dialplan::Location;

use super::ImportError;

/// A folder, with what may still be read from it.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
    files_left: usize,
    bytes_left: u64,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Its path from the folder, which messages name.
    pub name: String,
    pub text: String,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let unreadable = |source| ImportError::Folder { path: path.to_owned(), source };
        let root = path.canonicalize().map_err(unreadable)?;
        std::fs::read_dir(&root).map_err(unreadable)?;
        Ok(Folder { root, files_left: FILES_MAX, bytes_left: BYTES_MAX })
    }

    /// Whether there is such a file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).is_some()
    }

    /// The path of a file below the folder; `None` if it is not there, is no file, or lies
    /// elsewhere.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let path = self.root.join(name).canonicalize().ok()?;
        (path.starts_with(&self.root) && path.is_file()).then_some(path)
    }

    /// Reads a file.
    pub(super) fn read(&mut self, name: &str) -> Result<File, ImportError> {
        let place = |line| Location::new(name, line);
        let path = self.path(name).ok_or_else(|| ImportError::NoFile { location: place(1) })?;
        let unreadable = |source| ImportError::File { location: place(1), source };
        if self.files_left == 0 {
            return Err(too_large(place(1), "the number of files", FILES_MAX as u64));
        }
        self.files_left -= 1;
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(too_large(place(1), "the file, in bytes,", FILE_BYTES_MAX));
        }
        let Some(left) = self.bytes_left.checked_sub(bytes.len() as u64) else {
            return Err(too_large(place(1), "all files, in bytes,", BYTES_MAX));
        };
        self.bytes_left = left;
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            ImportError::NotText { location: place(line_at(good)) }
        })?;
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Ok(File { name: name.to_owned(), text })
    }

    /// The files that `wanted` names, seen from the file `from`: relative to it or to the folder, with
    /// `*` in the last part. An absolute path is looked for by its end, since the folder may be a copy.
    pub(super) fn find(&self, from: &str, wanted: &str) -> Vec<String> {
        let beside = from.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut starts = vec![join(beside, wanted.trim_start_matches('/'))];
        let parts: Vec<&str> = wanted.split('/').filter(|part| !part.is_empty()).collect();
        for from in 0..parts.len().min(PARTS_MAX) {
            starts.push(parts.get(from..).unwrap_or_default().join("/"));
        }
        for start in starts {
            let found = self.glob(&start);
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        let (folder, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let Some((before, after)) = last.split_once('*') else {
            return self.has(pattern).then(|| pattern.to_owned()).into_iter().collect();
        };
        let fits = |name: &str| {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        };
        let mut found: Vec<String> =
            self.names(folder).into_iter().filter(|name| fits(name)).collect();
        found = found.into_iter().map(|name| join(folder, &name)).collect();
        found.retain(|name| self.has(name));
        found
    }

    /// Names of what is in a folder below this one, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(path) = self.root.join(folder).canonicalize() else { return Vec::new() };
        if !path.starts_with(&self.root) {
            return Vec::new();
        }
        let entries = std::fs::read_dir(path).into_iter().flatten().take(FILES_MAX).flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Every file below the folder whose name ends so, in order.
    pub(super) fn all(&self, suffix: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.walk("", suffix, 0, &mut found);
        found
    }

    fn walk(&self, folder: &str, suffix: &str, depth: usize, found: &mut Vec<String>) {
        for name in self.names(folder) {
            let path = join(folder, &name);
            if found.len() > FILES_MAX {
                return;
            }
            if self.root.join(&path).is_dir() {
                if depth < DEPTH_MAX {
                    self.walk(&path, suffix, depth + 1, found);
                }
            } else if name.ends_with(suffix) && self.has(&path) {
                found.push(path);
            }
        }
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The line, from 1, that follows these bytes.
fn line_at(before: &[u8]) -> u32 {
    let newlines = before.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(newlines).unwrap_or(u32::MAX - 1) + 1
}

pub(super) fn too_large(location: Location, what: &'static str, max: u64) -> ImportError {
    ImportError::TooLarge { location, what, max }
}

/// Most files that are read.
const FILES_MAX: usize = 2_000;
/// Longest file.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// All files together.
const BYTES_MAX: u64 = 64 << 20;
/// Deepest nesting of folders.
const DEPTH_MAX: usize = 8;
/// Parts of a path from its end that it is looked for by.
const PARTS_MAX: usize = 16;
