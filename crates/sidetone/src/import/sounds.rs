//! Sounds that an imported dialplan plays: found and copied, or a built-in one in their place.

use std::collections::BTreeSet;
use std::path::PathBuf;

use dialplan::{Location, SoundName};

use super::folder::Folder;
use super::note::Notes;
use crate::plan;

/// The sounds of one import.
#[derive(Debug, Default)]
pub(super) struct Sounds {
    /// Folders outside of the imported one that are searched.
    pub elsewhere: Vec<PathBuf>,
    /// What is copied: from where, and the name it has here.
    pub copied: Vec<(PathBuf, String)>,
    /// Names, without what follows the last dot, that the dialplan records to.
    pub recorded: BTreeSet<String>,
}

impl Sounds {
    /// The name that a sound has here: its own if it is there, else that of a built-in one.
    pub(super) fn name(
        &mut self,
        wanted: &str,
        folder: &Folder,
        notes: &mut Notes,
        location: &Location,
    ) -> String {
        let wanted = wanted.trim().trim_start_matches('/');
        if self.recorded.contains(wanted) {
            return format!("$${{recordings_dir}}/{wanted}.wav");
        }
        for ending in ENDINGS {
            let name = format!("{wanted}{ending}");
            if SoundName::parse(&name, None).is_err() {
                continue;
            }
            if plan::embedded_sound(&name).is_some() {
                return name;
            }
            if let Some(path) = self.find(&name, folder)
                && self.copied.len() < SOUNDS_MAX
            {
                if !self.copied.iter().any(|(_, known)| *known == name) {
                    self.copied.push((path, name.clone()));
                }
                return name;
            }
        }
        let built_in = if wanted.contains("goodbye") { GOODBYE } else { PROMPT };
        let what = format!("the sound {wanted} is not there; {built_in} of the program is played");
        notes.supplied(Some(location), what);
        built_in.to_owned()
    }

    fn find(&self, name: &str, folder: &Folder) -> Option<PathBuf> {
        let inside = ["sounds", "sounds/en", "."];
        let inside = inside.iter().find_map(|start| folder.path(&format!("{start}/{name}")));
        let elsewhere = self.elsewhere.iter().map(|start| start.join(name));
        inside.or_else(|| elsewhere.into_iter().find(|path| path.is_file()))
    }
}

/// What may follow a name that is written without its ending.
const ENDINGS: [&str; 4] = ["", ".wav", ".flac", ".mp3"];
/// Stands in for a sound that is not there.
pub(super) const PROMPT: &str = "common/logged_in_status.wav";
/// Stands in for one that says goodbye.
const GOODBYE: &str = "common/goodbye.wav";
/// Most sounds that are copied.
const SOUNDS_MAX: usize = 1_000;
