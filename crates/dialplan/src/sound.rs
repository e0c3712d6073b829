//! The name of a sound: a path below the folder of sounds, and nothing else.

use std::fmt;

/// A path such as `common/logged_in_status.wav`, relative to the folder of sounds. It has no `..`, no empty or
/// hidden part, no backslash and no scheme, so it cannot name anything outside of that folder by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SoundName(String);

impl SoundName {
    /// Reads a name. A path below `sounds_dir` (the global variable `sounds_dir`) is taken relative to it.
    ///
    /// # Errors
    /// Says in words what is wrong: an absolute path elsewhere, `..`, a scheme, a control character.
    pub fn parse(path: &str, sounds_dir: Option<&str>) -> Result<SoundName, String> {
        let path = path.trim();
        let name = sounds_dir.and_then(|folder| strip_folder(path, folder)).unwrap_or(path);
        if name.is_empty() {
            return Err("the name of a sound is missing".to_owned());
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(format!("the name of a sound has at most {NAME_BYTES_MAX} bytes"));
        }
        if name.contains("://") {
            return Err(
                "only files below the folder of sounds can be played; tones are played by gentones"
                    .to_owned(),
            );
        }
        if name.starts_with('/') {
            return Err(
                "the sound is not below $${sounds_dir}; only files there can be played".to_owned()
            );
        }
        if name.chars().any(|character| character.is_control() || character == '\\') {
            return Err("the name of a sound has a control character or a backslash".to_owned());
        }
        if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            return Err("a part of the name of a sound is empty or starts with \".\"".to_owned());
        }
        Ok(SoundName(name.to_owned()))
    }

    /// The path relative to the folder of sounds, parts separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SoundName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// `path` relative to `folder`, if it is below it.
pub(crate) fn strip_folder<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let folder = folder.trim_end_matches('/');
    let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
    Some(rest.trim_start_matches('/'))
}

/// Longest name.
const NAME_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn a_path_below_the_folder_becomes_relative() {
        for path in [
            "/opt/sounds/common/a.wav",
            "/opt/sounds//common/a.wav",
            "common/a.wav",
            " common/a.wav ",
        ] {
            assert_eq!(
                SoundName::parse(path, Some("/opt/sounds/")).unwrap().as_str(),
                "common/a.wav"
            );
        }
        assert_eq!(SoundName::parse("/a.wav", Some("")).unwrap().as_str(), "a.wav");
    }

    #[test]
    fn nothing_else_can_be_named() {
        for path in [
            "",
            "/etc/passwd",
            "../a.wav",
            "a/../b.wav",
            "/opt/sounds/../a.wav",
            "/opt/sounds2/a.wav",
            "a//b.wav",
            "./a.wav",
            ".hidden",
            "http://192.0.2.1/a.wav",
            "tone_stream://%(1,0,1)",
            "a\\b.wav",
            "a\0.wav",
            "a/",
        ] {
            assert!(SoundName::parse(path, Some("/opt/sounds")).is_err(), "{path:?}");
        }
        assert!(SoundName::parse(&"a".repeat(NAME_BYTES_MAX + 1), None).is_err());
    }
}
