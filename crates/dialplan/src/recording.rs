//! What is recorded of a call, and where.

use std::time::Duration;

use crate::call::Call;
use crate::model::Globals;
use crate::sound::SoundName;
use crate::text::{Known, Scope, Text};
use crate::variables::Variables;

/// A recording that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRequest {
    /// The file, below the folder of recordings.
    pub name: SoundName,
    /// Longest recording.
    pub limit: Option<Duration>,
    /// Ends after so much silence.
    pub silence: Option<Duration>,
    /// Keys that end it.
    pub stop_on: Vec<char>,
}

/// A recording that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// How long it is.
    pub duration: Duration,
    /// The key that ended it.
    pub key: Option<char>,
}

/// The name of a recording as it is written: nothing of a call but its `${uuid}` is part of it.
#[derive(Debug)]
pub(crate) struct RecordName {
    name: Text,
}

impl RecordName {
    pub(crate) fn parse(name: &Text, globals: &Globals) -> Result<RecordName, String> {
        if !name.only_fills_in("uuid", globals) {
            return Err(
                "of the call, only ${uuid} can be part of the name of a recording".to_owned()
            );
        }
        let name = name.with_globals(globals);
        let read = name.skeleton().replace(crate::text::HOLE, "uuid");
        SoundName::parse(&read, folder(globals)).map_err(|detail| match read.trim() {
            path if path.starts_with('/') => {
                "the recording is not below $${recordings_dir}; only files there can be written"
                    .to_owned()
            }
            _ => detail.replace("sound", "recording"),
        })?;
        if !read.trim().ends_with(".wav") {
            return Err("recordings are WAV files; let the name end in .wav".to_owned());
        }
        Ok(RecordName { name })
    }

    /// The file for this call.
    pub(crate) fn expand(&self, call: &dyn Call, scope: Scope<'_>) -> Result<SoundName, String> {
        // Not a variable of that name, which may have been set from anything.
        let variables = Variables::default();
        let known = Known { facts: call.facts(), variables: &variables };
        let clean = |value: &str, text: &mut String| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            text.extend(value.chars().map(|c| if is_plain(c) { c } else { '_' }));
        };
        let name = self.name.expand_with(known, scope, clean);
        SoundName::parse(&name, folder(scope.globals))
    }
}

fn folder(globals: &Globals) -> Option<&str> {
    globals.get("recordings_dir")
}
