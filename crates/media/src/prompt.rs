//! Sound files decoded once, encoded once per codec, and shared by every call that plays them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::Error;
use crate::codec::{CODECS, Codec, FRAME_MS};
use crate::error::PromptFault;
use crate::source::tone::{self, ToneScript};
use crate::source::{Pcm, encode, read_sound};
use cache::Cache;

mod cache;

/// Sound ready to be sent: one payload for every 20 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The codec of the payloads.
    pub codec: Codec,
    /// The payloads, in the order in which they are sent.
    pub frames: Box<[Bytes]>,
}

impl Track {
    /// How long the track plays.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(u64::from(FRAME_MS) * self.frames.len() as u64)
    }
}

/// One sound file, decoded; its tracks are encoded when they are first asked for.
#[derive(Debug)]
pub struct Prompt {
    /// Tells the bytes of its file from others.
    digest: u64,
    pcm: Pcm,
    opus_complexity: u8,
    tracks: [OnceLock<Arc<Track>>; CODECS.len()],
    /// Held while a track is encoded, so that it is encoded once.
    encoding: Mutex<()>,
}

impl Prompt {
    /// The prompt in a codec. The first call for each codec encodes it, which takes about a
    /// hundredth of its duration; [`PromptStore::preload`] does that ahead of time.
    ///
    /// # Errors
    /// The codec library fails.
    pub fn track(&self, codec: Codec) -> Result<Arc<Track>, Error> {
        let slot = self.slot(codec);
        if let Some(track) = slot.get() {
            return Ok(Arc::clone(track));
        }
        let _encoding = lock(&self.encoding);
        if let Some(track) = slot.get() {
            return Ok(Arc::clone(track));
        }
        let track = Arc::new(encode(&self.pcm, codec, self.opus_complexity)?);
        Ok(Arc::clone(slot.get_or_init(|| track)))
    }

    /// How long the sound lasts.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.pcm.samples.len() as f64 / f64::from(self.pcm.rate_hz))
    }

    fn slot(&self, codec: Codec) -> &OnceLock<Arc<Track>> {
        let [pcmu, pcma, opus, g722] = &self.tracks;
        match codec {
            Codec::Pcmu => pcmu,
            Codec::Pcma => pcma,
            Codec::Opus => opus,
            Codec::G722 => g722,
        }
    }
}

/// Bounds and quality of prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptSettings {
    /// Bytes that a sound file may have.
    pub file_bytes_max: u64,
    /// Seconds that a sound file may last.
    pub duration_max_s: u64,
    /// Prompts, and apart from them tones, that are kept; the one that was not used for longest
    /// makes room for a new one. Calls that play it keep it.
    pub cached_max: usize,
    /// The same of those that come after [`PromptStore::keep_all`].
    pub others_max: usize,
    /// Complexity of the Opus encoder, 0 to 10.
    pub opus_complexity: u8,
}

impl Default for PromptSettings {
    fn default() -> Self {
        PromptSettings {
            file_bytes_max: 32 << 20,
            duration_max_s: 600,
            cached_max: 256,
            others_max: 32,
            opus_complexity: 10,
        }
    }
}

/// Finds a built-in sound by its name.
pub type Embedded = fn(&str) -> Option<Cow<'static, [u8]>>;

/// All prompts and tones, shared by all calls and threads. It reads files and encodes: call it from
/// where that may block, never from a media shard.
#[derive(Debug)]
pub struct PromptStore {
    dir: Option<PathBuf>,
    embedded: Embedded,
    settings: PromptSettings,
    prompts: Mutex<Cache<String, Arc<Prompt>>>,
    tones: Mutex<Cache<ToneKey, Arc<Track>>>,
    /// Prompts that are louder or softer than they are.
    volumes: Mutex<Cache<VolumeKey, Arc<Track>>>,
    silences: [OnceLock<Arc<Track>>; CODECS.len()],
    former: Mutex<Former>,
}

/// What the store before this one had ready.
#[derive(Debug, Default)]
struct Former {
    prompts: HashMap<String, Arc<Prompt>>,
    tones: HashMap<ToneKey, Arc<Track>>,
}

impl PromptStore {
    /// A store that looks for a name below `dir` first, then asks `embedded`.
    pub fn new(dir: Option<PathBuf>, embedded: Embedded, settings: PromptSettings) -> Self {
        PromptStore {
            dir,
            embedded,
            settings,
            prompts: Mutex::new(Cache::new(settings.cached_max)),
            tones: Mutex::new(Cache::new(settings.cached_max)),
            volumes: Mutex::new(Cache::new(settings.cached_max)),
            silences: Default::default(),
            former: Mutex::default(),
        }
    }

    /// From now on, sounds whose files are as they were are taken from `former` and not encoded
    /// again, as are tones.
    pub fn take_over(&self, former: &PromptStore) {
        let bounds =
            |settings: &PromptSettings| (settings.duration_max_s, settings.opus_complexity);
        if bounds(&self.settings) == bounds(&former.settings) {
            let (prompts, tones) =
                (lock(&former.prompts).snapshot(), lock(&former.tones).snapshot());
            *lock(&self.former) = Former { prompts, tones };
        }
    }

    /// Lets go of what was not taken over.
    pub fn forget_former(&self) {
        *lock(&self.former) = Former::default();
    }

    /// Never forgets what is there by now.
    pub fn keep_all(&self) {
        lock(&self.prompts).keep_all(self.settings.others_max);
        lock(&self.tones).keep_all(self.settings.others_max);
    }

    /// The track of a prompt if it is there and encoded: the call takes no time.
    pub fn ready(&self, name: &str, codec: Codec) -> Option<Arc<Track>> {
        let prompt = lock(&self.prompts).find(name)?;
        prompt.slot(codec).get().map(Arc::clone)
    }

    /// The same of a tone.
    pub fn ready_tone(&self, script: &ToneScript, codec: Codec) -> Option<Arc<Track>> {
        lock(&self.tones).find(&(script.bits(), codec))
    }

    /// The prompt of a name such as `common/goodbye.wav`: a relative path with `/` between its
    /// parts.
    ///
    /// # Errors
    /// The name is not such a path, there is no such prompt, or its file cannot be used.
    pub fn prompt(&self, name: &str) -> Result<Arc<Prompt>, Error> {
        if let Some(prompt) = lock(&self.prompts).find(name) {
            return Ok(prompt);
        }
        let prompt = self.load(name)?;
        Ok(lock(&self.prompts).insert(name.to_owned(), prompt))
    }

    /// A prompt at another volume, in dB: encoded when it is first asked for, and kept as tones are.
    ///
    /// # Errors
    /// As [`PromptStore::prompt`].
    pub fn track_at(&self, name: &str, codec: Codec, volume_db: i8) -> Result<Arc<Track>, Error> {
        if volume_db == 0 {
            return self.prompt(name)?.track(codec);
        }
        let key = (name.to_owned(), codec, volume_db);
        if let Some(track) = lock(&self.volumes).find(&key) {
            return Ok(track);
        }
        let prompt = self.prompt(name)?;
        let pcm = amplified(&prompt.pcm, volume_db);
        let track = Arc::new(encode(&pcm, codec, self.settings.opus_complexity)?);
        Ok(lock(&self.volumes).insert(key, track))
    }

    /// The track of a sound file below another folder, which may be another the next time: nothing
    /// of it is kept.
    ///
    /// # Errors
    /// As [`PromptStore::prompt`].
    pub fn track_below(
        &self,
        dir: &Path,
        name: &str,
        codec: Codec,
        volume_db: i8,
    ) -> Result<Arc<Track>, Error> {
        check_name(name)?;
        let (bytes, path) = self.read_file(dir, name)?.ok_or_else(|| Error::PromptNotFound {
            name: name.to_owned(),
            dir: Some(dir.to_owned()),
        })?;
        let pcm = self.decode(name, bytes, path)?;
        let pcm = amplified(&pcm, volume_db);
        Ok(Arc::new(encode(&pcm, codec, self.settings.opus_complexity)?))
    }

    /// Loads and encodes prompts ahead of the first call that plays them.
    ///
    /// # Errors
    /// The first prompt that cannot be played, by name.
    pub fn preload<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        codecs: &[Codec],
    ) -> Result<(), Error> {
        for name in names {
            let prompt = self.prompt(name)?;
            codecs.iter().try_for_each(|codec| prompt.track(*codec).map(drop))?;
        }
        Ok(())
    }

    /// The track of a tone, to be repeated without end.
    ///
    /// # Errors
    /// The script cannot be played.
    pub fn tone(&self, script: &ToneScript, codec: Codec) -> Result<Arc<Track>, Error> {
        let key = (script.bits(), codec);
        if let Some(track) = lock(&self.tones).find(&key) {
            return Ok(track);
        }
        let former = lock(&self.former).tones.get(&key).cloned();
        let track = match former {
            Some(track) => track,
            None => Arc::new(script.track(codec, self.settings.opus_complexity)?),
        };
        Ok(lock(&self.tones).insert(key, track))
    }

    /// One frame of silence, to be repeated without end.
    pub fn silence(&self, codec: Codec) -> Arc<Track> {
        let [pcmu, pcma, opus, g722] = &self.silences;
        let slot = match codec {
            Codec::Pcmu => pcmu,
            Codec::Pcma => pcma,
            Codec::Opus => opus,
            Codec::G722 => g722,
        };
        Arc::clone(slot.get_or_init(|| Arc::new(tone::silence(codec))))
    }

    fn load(&self, name: &str) -> Result<Arc<Prompt>, Error> {
        check_name(name)?;
        let (bytes, path) = self.read(name)?;
        let digest = digest(&bytes);
        let former = lock(&self.former).prompts.get(name).cloned();
        if let Some(former) = former.filter(|former| former.digest == digest) {
            return Ok(former);
        }
        let pcm = self.decode(name, bytes.into_owned(), path)?;
        let opus_complexity = self.settings.opus_complexity;
        let (tracks, encoding) = Default::default();
        Ok(Arc::new(Prompt { digest, pcm, opus_complexity, tracks, encoding }))
    }

    fn decode(&self, name: &str, bytes: Vec<u8>, path: String) -> Result<Pcm, Error> {
        read_sound(bytes, self.settings.duration_max_s).map_err(|source| Error::PromptFile {
            name: name.to_owned(),
            path,
            source,
        })
    }

    /// The bytes of a prompt, and where they come from.
    fn read(&self, name: &str) -> Result<(Cow<'static, [u8]>, String), Error> {
        if let Some(dir) = &self.dir
            && let Some((bytes, path)) = self.read_file(dir, name)?
        {
            return Ok((bytes.into(), path));
        }
        let bytes = (self.embedded)(name).ok_or_else(|| Error::PromptNotFound {
            name: name.to_owned(),
            dir: self.dir.clone(),
        })?;
        Ok((bytes, "(built in)".to_owned()))
    }

    /// The bytes of a file below a folder, if it is there, and its path.
    fn read_file(&self, dir: &Path, name: &str) -> Result<Option<(Vec<u8>, String)>, Error> {
        let path = dir.join(name);
        let shown = path.display().to_string();
        match read_below(dir, &path, self.settings.file_bytes_max) {
            Ok(bytes) => Ok(bytes.map(|bytes| (bytes, shown))),
            Err(source) => Err(Error::PromptFile { name: name.to_owned(), path: shown, source }),
        }
    }
}

/// The script as [`ToneScript::bits`] has it, and the codec.
type ToneKey = (Vec<u32>, Codec);

/// A prompt, the codec, and dB.
type VolumeKey = (String, Codec, i8);

/// The same sound, louder or softer.
fn amplified(pcm: &Pcm, volume_db: i8) -> Pcm {
    let factor = 10_f64.powf(f64::from(volume_db) / 20.0);
    let louder = |sample: &i16| (f64::from(*sample) * factor) as i16;
    Pcm { samples: pcm.samples.iter().map(louder).collect(), rate_hz: pcm.rate_hz }
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// What is behind such a lock is valid between any two statements, so that a panic elsewhere does
/// not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_name(name: &str) -> Result<(), Error> {
    let refuse = |reason| Err(Error::PromptName { name: name.to_owned(), reason });
    if name.is_empty() {
        return refuse("is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse("is too long");
    }
    if name.contains('\0') {
        return refuse("contains a NUL");
    }
    let mut components = Path::new(name).components();
    if Path::new(name).is_absolute() {
        return refuse("is not relative to the sounds directory");
    }
    if !components.all(|component| matches!(component, Component::Normal(_))) {
        return refuse("leads out of the sounds directory");
    }
    Ok(())
}

/// Reads a regular file at `path` that lies below `dir` after all symbolic links are followed;
/// `None` if there is nothing at `path`.
fn read_below(dir: &Path, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, PromptFault> {
    let real_path = match path.canonicalize() {
        Ok(real_path) => real_path,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !real_path.starts_with(dir.canonicalize()?) {
        return Err(PromptFault::Outside);
    }
    // Looked at before it is opened, as opening a pipe would wait for its writer.
    let metadata = fs::metadata(&real_path)?;
    if !metadata.is_file() {
        return Err(PromptFault::NotAFile);
    }
    let mut bytes = Vec::new();
    File::open(&real_path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let bytes = metadata.len().max(bytes.len() as u64);
        return Err(PromptFault::TooLarge { bytes, bytes_max });
    }
    Ok(Some(bytes))
}

/// A dangling link is an absence too: `NotFound` does not tell them apart.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Longest name of a prompt.
const NAME_BYTES_MAX: usize = 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests;
