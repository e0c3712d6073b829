//! Sound files decoded once, encoded once per codec, and shared by every call that plays them.

use std::borrow::Cow;
use std::fs::{self, File};
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
    /// Complexity of the Opus encoder, 0 to 10.
    pub opus_complexity: u8,
}

impl Default for PromptSettings {
    fn default() -> Self {
        PromptSettings {
            file_bytes_max: 32 << 20,
            duration_max_s: 600,
            cached_max: 256,
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
    silences: [OnceLock<Arc<Track>>; CODECS.len()],
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
            silences: Default::default(),
        }
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
        let prompt = Arc::new(self.load(name)?);
        Ok(lock(&self.prompts).insert(name.to_owned(), prompt))
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
        let key = (format!("{script:?}"), codec);
        if let Some(track) = lock(&self.tones).find(&key) {
            return Ok(track);
        }
        let track = Arc::new(script.track(codec, self.settings.opus_complexity)?);
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

    fn load(&self, name: &str) -> Result<Prompt, Error> {
        check_name(name)?;
        let (bytes, path) = self.read(name)?;
        let pcm = read_sound(bytes.into_owned(), self.settings.duration_max_s)
            .map_err(|source| Error::PromptFile { name: name.to_owned(), path, source })?;
        let opus_complexity = self.settings.opus_complexity;
        let tracks = Default::default();
        Ok(Prompt { pcm, opus_complexity, tracks, encoding: Mutex::new(()) })
    }

    /// The bytes of a prompt, and where they come from.
    fn read(&self, name: &str) -> Result<(Cow<'static, [u8]>, String), Error> {
        if let Some(dir) = &self.dir {
            let path = dir.join(name);
            let fault = |source| {
                let (name, path) = (name.to_owned(), path.display().to_string());
                Error::PromptFile { name, path, source }
            };
            let bytes = read_below(dir, &path, self.settings.file_bytes_max).map_err(fault)?;
            if let Some(bytes) = bytes {
                return Ok((bytes.into(), path.display().to_string()));
            }
        }
        let bytes = (self.embedded)(name).ok_or_else(|| Error::PromptNotFound {
            name: name.to_owned(),
            dir: self.dir.clone(),
        })?;
        Ok((bytes, "(built in)".to_owned()))
    }
}

/// The script as it is written, and the codec.
type ToneKey = (String, Codec);

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
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// 8 kHz, 16 bits, mono.
    fn wav(samples: &[i16]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        samples.iter().for_each(|sample| writer.write_sample(*sample).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    fn embedded(name: &str) -> Option<Cow<'static, [u8]>> {
        (name == "built/in.wav").then(|| wav(&[100; 160]).into())
    }

    /// A directory that goes away with the test.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("sidetone-prompt-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(path.join("sounds")).unwrap();
            Dir(path)
        }

        fn sounds(&self) -> PathBuf {
            self.0.join("sounds")
        }

        fn store(&self) -> PromptStore {
            let settings = PromptSettings {
                file_bytes_max: 1000,
                duration_max_s: 1,
                cached_max: 2,
                opus_complexity: 0,
            };
            PromptStore::new(Some(self.sounds()), embedded, settings)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_file_in_the_directory_comes_before_a_built_in_one() {
        let dir = Dir::new();
        let store = dir.store();
        assert_eq!(store.prompt("built/in.wav").unwrap().pcm.samples, [100; 160]);
        fs::create_dir(dir.sounds().join("built")).unwrap();
        fs::write(dir.sounds().join("built/in.wav"), wav(&[7; 80])).unwrap();
        assert_eq!(dir.store().prompt("built/in.wav").unwrap().pcm.samples, [7; 80]);
    }

    #[test]
    fn a_track_is_encoded_once_and_shared_by_all_threads() {
        let store = PromptStore::new(None, embedded, PromptSettings::default());
        for codec in CODECS {
            let tracks: Vec<Arc<Track>> = std::thread::scope(|scope| {
                let track = || store.prompt("built/in.wav").unwrap().track(codec).unwrap();
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(track)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(tracks.iter().all(|track| Arc::ptr_eq(track, &tracks[0])));
            assert_eq!(tracks[0].codec, codec);
        }
        let tone = || store.tone(&ToneScript::milliwatt(), Codec::Pcmu).unwrap();
        assert!(Arc::ptr_eq(&tone(), &tone()));
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let dir = Dir::new();
        fs::write(dir.0.join("secret.wav"), wav(&[1; 8])).unwrap();
        let absolute = dir.0.join("secret.wav");
        let long = "a/".repeat(600);
        for name in [
            "",
            "/",
            "..",
            "../secret.wav",
            "a/../../secret.wav",
            "./a.wav",
            "a\0.wav",
            &long,
            absolute.to_str().unwrap(),
        ] {
            let error = dir.store().prompt(name).unwrap_err();
            assert!(matches!(error, Error::PromptName { .. }), "{name:?}: {error}");
        }
    }

    #[test]
    fn links_may_not_leave_the_directory() {
        let dir = Dir::new();
        fs::write(dir.0.join("secret.wav"), wav(&[1; 8])).unwrap();
        fs::write(dir.sounds().join("real.wav"), wav(&[2; 8])).unwrap();
        symlink(dir.0.join("secret.wav"), dir.sounds().join("out.wav")).unwrap();
        symlink(&dir.0, dir.sounds().join("up")).unwrap();
        symlink("real.wav", dir.sounds().join("alias.wav")).unwrap();
        for name in ["out.wav", "up/secret.wav"] {
            let error = dir.store().prompt(name).unwrap_err();
            let is_outside =
                matches!(error, Error::PromptFile { source: PromptFault::Outside, .. });
            assert!(is_outside, "{name}: {error}");
        }
        assert_eq!(dir.store().prompt("alias.wav").unwrap().pcm.samples, [2; 8]);
    }

    #[test]
    fn errors_say_which_file_and_why() {
        let dir = Dir::new();
        let file = |name: &str, bytes: &[u8]| fs::write(dir.sounds().join(name), bytes).unwrap();
        file("large.wav", &wav(&[0; 1000]));
        file("text.wav", b"hello");
        fs::create_dir(dir.sounds().join("folder.wav")).unwrap();
        let error = |name: &str| dir.store().prompt(name).unwrap_err().to_string();
        assert!(
            error("large.wav").ends_with("large.wav: has 2044 bytes, at most 1000 are allowed")
        );
        assert!(error("text.wav").contains("text.wav: not a readable sound file"));
        assert!(error("folder.wav").ends_with("folder.wav: is not a regular file"));
        let missing = error("missing.wav");
        assert!(missing.starts_with("prompt \"missing.wav\" was not found in /"), "{missing}");
        assert!(missing.ends_with("sounds or among the built-in sounds"), "{missing}");
    }

    #[test]
    fn the_cache_is_bounded_and_forgets_what_was_not_used_for_longest() {
        let dir = Dir::new();
        for name in ["a.wav", "b.wav", "c.wav"] {
            fs::write(dir.sounds().join(name), wav(&[1; 8])).unwrap();
        }
        let store = dir.store();
        let prompt = |name: &str| store.prompt(name).unwrap();
        let (a, b) = (prompt("a.wav"), prompt("b.wav"));
        assert!(Arc::ptr_eq(&a, &prompt("a.wav")));
        prompt("c.wav");
        assert!(Arc::ptr_eq(&a, &prompt("a.wav")), "used after b.wav");
        assert!(!Arc::ptr_eq(&b, &prompt("b.wav")), "made room for c.wav");
    }

    #[test]
    fn preloading_names_the_prompt_that_fails() {
        let store = PromptStore::new(None, embedded, PromptSettings::default());
        store.preload(["built/in.wav"], &CODECS).unwrap();
        let error = store.preload(["built/in.wav", "no.wav"], &CODECS).unwrap_err();
        assert_eq!(error.to_string(), "prompt \"no.wav\" was not found among the built-in sounds");
    }
}
