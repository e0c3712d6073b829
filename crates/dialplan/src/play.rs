//! What is played to a caller, and how.

use std::time::Duration;

use crate::model::Globals;
use crate::sound::{SoundName, strip_folder};
use crate::text::{HOLE, Text};
use crate::tone::{Repeat, ToneScript};

/// Things that are played one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct Play {
    /// What is played, in order; at least one.
    pub items: Vec<Playable>,
    /// How often all of it is played.
    pub repeat: Repeat,
    /// Where the first item begins.
    pub offset: Duration,
    /// How much louder it is played than it is, in dB.
    pub volume_db: i8,
    /// Keys that end it.
    pub stop_on: Vec<char>,
}

/// One thing that is played.
#[derive(Clone, Debug, PartialEq)]
pub enum Playable {
    /// A sound.
    Sound(SoundName),
    /// A recording below the folder of recordings; see [`SoundName::of_call`].
    Recording(SoundName),
    /// Tones.
    Tones(ToneScript),
    /// Nothing for a while; until the call ends if there is no duration.
    Silence(Option<Duration>),
}

impl Play {
    /// This, once, from its beginning, to its end.
    pub fn once(items: Vec<Playable>) -> Play {
        Play {
            items,
            repeat: Repeat::Times(1),
            offset: Duration::ZERO,
            volume_db: 0,
            stop_on: Vec::new(),
        }
    }

    /// Reads what `playback` takes: `{loops=2,volume=-6,offset=500}a.wav!b.wav@@8000`.
    ///
    /// # Errors
    /// Says in words what cannot be read.
    pub(crate) fn parse(data: &Text, globals: &Globals) -> Result<Play, String> {
        let path = match data.constant(globals) {
            Some(path) => path,
            None if data.only_fills_in("uuid", globals) => {
                data.with_globals(globals).skeleton().replace(HOLE, UUID)
            }
            None => return Err(FROM_THE_CALL.to_owned()),
        };
        Play::parse_constant(&path, globals)
    }

    pub(crate) fn parse_constant(text: &str, globals: &Globals) -> Result<Play, String> {
        let mut play = Play::once(Vec::new());
        let text = text.trim();
        let list = match text.strip_prefix('{') {
            Some(rest) => {
                let (options, list) = rest.split_once('}').ok_or("a closing brace is missing")?;
                play.read_options(options)?;
                list
            }
            None => text,
        };
        let list = list.strip_prefix("file_string://").unwrap_or(list);
        for item in list.split('!') {
            let item = item.trim();
            let (item, offset) = match item.rsplit_once("@@") {
                Some((item, samples)) => (item, Some(samples)),
                None => (item, None),
            };
            if let Some(samples) = offset {
                let samples: u64 = samples
                    .trim()
                    .parse()
                    .ok()
                    .filter(|samples| *samples <= OFFSET_MS_MAX * 8)
                    .ok_or_else(|| {
                        format!("\"@@{samples}\" is not a number of samples at 8000 a second")
                    })?;
                if !play.items.is_empty() {
                    return Err("only the first sound can begin at an offset".to_owned());
                }
                play.offset = Duration::from_millis(samples / 8);
            }
            play.items.push(Playable::parse(item, globals)?);
        }
        if play.items.len() > ITEMS_MAX {
            return Err(format!("at most {ITEMS_MAX} things are played one after another"));
        }
        Ok(play)
    }

    fn read_options(&mut self, options: &str) -> Result<(), String> {
        for option in options.split(',').filter(|option| !option.trim().is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let (name, value) = (name.trim(), value.trim());
            let refuse = |takes: &str| format!("{name}={value}: it takes {takes}");
            match name {
                "loops" => {
                    let times =
                        value.parse::<i64>().ok().filter(|times| *times <= i64::from(TIMES_MAX));
                    self.repeat =
                        match times.ok_or_else(|| refuse("a number of times, -1 for ever"))? {
                            ..0 => Repeat::Forever,
                            times => Repeat::Times(u32::try_from(times).unwrap_or(1).max(1)),
                        };
                }
                "volume" => {
                    let level = value.parse().ok().filter(|level| (-30..=12).contains(level));
                    self.volume_db = level.ok_or_else(|| refuse("dB from -30 to 12"))?;
                }
                "offset" => {
                    let ms = value.parse().ok().filter(|ms| *ms <= OFFSET_MS_MAX);
                    self.offset = Duration::from_millis(ms.ok_or_else(|| refuse("milliseconds"))?);
                }
                _ => {
                    let known = ["loops", "volume", "offset"];
                    return Err(format!(
                        "there is no option {name}; {}",
                        crate::app::suggest(name, &known)
                    ));
                }
            }
        }
        Ok(())
    }

    /// The sounds of it.
    pub(crate) fn sounds(&self) -> impl Iterator<Item = &SoundName> {
        self.items.iter().filter_map(|item| match item {
            Playable::Sound(sound) => Some(sound),
            Playable::Recording(_) | Playable::Tones(_) | Playable::Silence(_) => None,
        })
    }

    /// The tones of it.
    pub(crate) fn tones(&self) -> impl Iterator<Item = &ToneScript> {
        self.items.iter().filter_map(|item| match item {
            Playable::Tones(tones) => Some(tones),
            Playable::Sound(_) | Playable::Recording(_) | Playable::Silence(_) => None,
        })
    }
}

impl Playable {
    /// Reads a path below the folder of sounds, one that begins with the folder of recordings, `tone_stream://…` or
    /// `silence_stream://ms`.
    ///
    /// # Errors
    /// Says in words what cannot be read.
    pub(crate) fn parse(text: &str, globals: &Globals) -> Result<Playable, String> {
        if let Some(script) = text.strip_prefix("tone_stream://") {
            return ToneScript::parse(script).map(Playable::Tones);
        }
        if let Some(silence) = text.strip_prefix("silence_stream://") {
            // What follows a comma is the level of a comfort noise, which is left out.
            let (ms, _) = silence.split_once(',').unwrap_or((silence, ""));
            return match ms.trim().parse::<i64>() {
                Ok(..=-1) => Ok(Playable::Silence(None)),
                Ok(ms) if ms.unsigned_abs() <= SILENCE_MS_MAX => {
                    Ok(Playable::Silence(Some(Duration::from_millis(ms.unsigned_abs()))))
                }
                _ => Err(format!(
                    "silence_stream:// takes milliseconds up to {SILENCE_MS_MAX}, -1 for ever"
                )),
            };
        }
        let recordings = globals.get("recordings_dir");
        if let Some(name) = recordings.and_then(|folder| strip_folder(text.trim(), folder)) {
            return SoundName::parse(name, None).map(Playable::Recording);
        }
        if text.contains(UUID) {
            return Err(FROM_THE_CALL.to_owned());
        }
        SoundName::parse(text, globals.get("sounds_dir")).map(Playable::Sound)
    }
}

impl SoundName {
    /// The name of a recording of the call with this identifier.
    pub fn of_call(&self, uuid: &str) -> String {
        self.as_str().replace(UUID, uuid)
    }
}

impl std::fmt::Display for Playable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Playable::Sound(sound) => sound.fmt(formatter),
            Playable::Recording(name) => write!(formatter, "recording {name}"),
            Playable::Tones(tones) => tones.fmt(formatter),
            Playable::Silence(Some(duration)) => {
                write!(formatter, "silence {}", duration.as_millis())
            }
            Playable::Silence(None) => formatter.write_str("silence"),
        }
    }
}

/// Reads keys such as `#*`; `any` is all of them, `none` none.
pub(crate) fn keys(text: &str) -> Vec<char> {
    match text.trim() {
        "any" => KEYS.chars().collect(),
        "none" | "" | "=" => Vec::new(),
        keys => keys
            .chars()
            .map(|key| key.to_ascii_uppercase())
            .filter(|key| KEYS.contains(*key))
            .collect(),
    }
}

/// What stands for the identifier of the call in the name of a recording.
const UUID: &str = "${uuid}";
const FROM_THE_CALL: &str = "the name of a sound may not come from the call; write it out";
const KEYS: &str = "0123456789*#ABCD";
/// Most things that one action plays.
const ITEMS_MAX: usize = 64;
/// Most times that one action plays them.
const TIMES_MAX: u32 = 1_000_000;
/// Latest beginning of a sound.
const OFFSET_MS_MAX: u64 = 86_400_000;
/// Longest silence.
const SILENCE_MS_MAX: u64 = 86_400_000;
