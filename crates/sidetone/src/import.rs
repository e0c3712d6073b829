//! Configurations of other servers, written anew as ours: one TOML file for the server, one for the dialplan,
//! with comments that say where each part comes from, and a list of what could not be carried over.
//!
//! ```text
//!  files ──► asterisk or freeswitch ──► Settings, Draft, Notes ──► finish ──► Imported ──► a folder
//! ```
//!
//! What is read is data: nothing outside of the folder is read, apart from the sounds and certificates it names;
//! sizes, depths and counts are bounded.

mod asterisk;
mod finish;
mod folder;
mod freeswitch;
mod note;
mod settings;
mod sounds;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests;

use std::path::{Path, PathBuf};

use dialplan::Location;

use crate::config::{Config, ConfigError};
use crate::plan::{self, PlanError};
use crate::private_file;
use crate::users::Users;

pub use note::{Note, NoteKind};

use note::one_line;

/// A configuration that was imported, before it is written.
#[derive(Debug)]
pub struct Imported {
    /// `sidetone.toml`.
    pub config: String,
    /// `dialplan.toml`.
    pub dialplan: String,
    /// What to know about it.
    pub notes: Vec<Note>,
    sounds: Vec<(PathBuf, String)>,
}

/// Why nothing is imported: one sentence, with file and line where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The folder cannot be read.
    #[error("{}: cannot read the folder ({source}); give the one with the configuration files", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder has none of the files.
    #[error("{}: there is none of {wanted}; give the folder with the configuration files", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
        /// What is looked for.
        wanted: &'static str,
    },
    /// A file is named that is not there.
    #[error("{location}: there is no such file in the folder")]
    NoFile {
        /// The file.
        location: Location,
    },
    /// A file cannot be read.
    #[error("{location}: cannot be read: {source}")]
    File {
        /// The file.
        location: Location,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not text.
    #[error("{location}: is not UTF-8 text; convert it, for example with iconv -f latin1 -t utf-8")]
    NotText {
        /// The first line that is not.
        location: Location,
    },
    /// Something is over a bound.
    #[error("{location}: {what} is over the bound of {max}")]
    TooLarge {
        /// Where.
        location: Location,
        /// What is too large, with its unit.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// Files or sections lead back to themselves.
    #[error("{location}: {detail}")]
    Circle {
        /// Where the circle is closed.
        location: Location,
        /// The way.
        detail: String,
    },
    /// A file is not well-formed.
    #[error("{location}: {detail}")]
    Syntax {
        /// Where.
        location: Location,
        /// What is wrong.
        detail: String,
    },
    /// What was made cannot be loaded as a dialplan.
    #[error("the imported dialplan cannot be loaded: {0}")]
    Dialplan(#[from] dialplan::Error),
    /// What was written cannot be loaded.
    #[error("the imported configuration cannot be loaded: {0}")]
    Config(#[from] ConfigError),
    /// What was written cannot be loaded.
    #[error("the imported configuration cannot be loaded: {0}")]
    Plan(#[from] PlanError),
    /// A file is there already, or cannot be written.
    #[error("{}: cannot be written ({source}); give another folder with --output", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Imports a folder such as `/etc/asterisk`.
///
/// # Errors
/// When it cannot be read; what merely has no equivalent is a note.
pub fn asterisk(path: &Path) -> Result<Imported, ImportError> {
    asterisk::import(path)
}

/// Imports a folder such as `/etc/freeswitch`.
///
/// # Errors
/// When it cannot be read; what merely has no equivalent is a note.
pub fn freeswitch(path: &Path) -> Result<Imported, ImportError> {
    freeswitch::import(path)
}

impl Imported {
    /// The list of what to know, in the order of files and lines.
    #[must_use]
    pub fn report(&self) -> String {
        note::report(&self.notes)
    }

    /// Writes the files into a folder, never over one that is there, and loads them as the server would.
    ///
    /// # Errors
    /// When a file cannot be written, or the server would refuse the configuration.
    pub fn write(&self, output: &Path) -> Result<(), ImportError> {
        let failed = |path: &Path, source| ImportError::Output { path: path.to_owned(), source };
        let files = [
            ("sidetone.toml", &self.config),
            ("dialplan.toml", &self.dialplan),
            ("import.txt", &self.report()),
        ];
        for (name, _) in &files {
            let path = output.join(name);
            if path.exists() {
                return Err(failed(&path, std::io::ErrorKind::AlreadyExists.into()));
            }
        }
        // Passwords are in it.
        for (name, text) in files {
            let path = output.join(name);
            match private_file::create(&path, text.as_bytes()) {
                Ok(true) => {}
                Ok(false) => return Err(failed(&path, std::io::ErrorKind::AlreadyExists.into())),
                Err(source) => return Err(failed(&path, source)),
            }
        }
        for (from, name) in &self.sounds {
            let path = output.join("sounds").join(name);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
            }
            std::fs::copy(from, &path).map_err(|source| failed(&path, source))?;
        }
        let config = Config::load(&output.join("sidetone.toml"))?;
        let (plan, _) = plan::load(&config)?;
        if let Ok(users) = Users::new(&config) {
            plan::check_contexts(&plan, &users, &config)?;
            plan::check_exposure(&plan, &users, &config)?;
        }
        Ok(())
    }
}
