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
            others_max: 1,
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
        let is_outside = matches!(error, Error::PromptFile { source: PromptFault::Outside, .. });
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
    assert!(error("large.wav").ends_with("large.wav: has 2044 bytes, at most 1000 are allowed"));
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
fn what_is_kept_is_ready_whatever_is_played_besides() {
    let dir = Dir::new();
    for name in ["a.wav", "b.wav", "c.wav", "d.wav"] {
        fs::write(dir.sounds().join(name), wav(&[1; 8])).unwrap();
    }
    let store = dir.store();
    assert!(store.ready("a.wav", Codec::Pcmu).is_none());
    store.preload(["a.wav", "b.wav"], &[Codec::Pcmu]).unwrap();
    store.keep_all();
    for name in ["c.wav", "d.wav", "c.wav"] {
        assert!(store.ready(name, Codec::Pcmu).is_none(), "{name}: there is room for one");
        store.preload([name], &[Codec::Pcmu]).unwrap();
    }
    for name in ["a.wav", "b.wav", "c.wav"] {
        assert!(store.ready(name, Codec::Pcmu).is_some(), "{name}");
        assert!(store.ready(name, Codec::Opus).is_none(), "{name}");
    }
}

#[test]
fn preloading_names_the_prompt_that_fails() {
    let store = PromptStore::new(None, embedded, PromptSettings::default());
    store.preload(["built/in.wav"], &CODECS).unwrap();
    let error = store.preload(["built/in.wav", "no.wav"], &CODECS).unwrap_err();
    assert_eq!(error.to_string(), "prompt \"no.wav\" was not found among the built-in sounds");
}

#[test]
fn a_volume_is_a_track_of_its_own_and_is_kept() {
    let store = PromptStore::new(None, embedded, PromptSettings::default());
    let level = |volume_db| {
        let track = store.track_at("built/in.wav", Codec::Pcmu, volume_db).unwrap();
        crate::codec::g711::decode_ulaw(track.frames[0][80])
    };
    assert!((96..=104).contains(&level(0)), "{}", level(0));
    assert!((190..=210).contains(&level(6)), "{}", level(6));
    assert!((46..=54).contains(&level(-6)), "{}", level(-6));
    let again = || store.track_at("built/in.wav", Codec::Pcmu, 6).unwrap();
    assert!(Arc::ptr_eq(&again(), &again()));
    let loud = amplified(&Pcm { samples: vec![30_000, -30_000], rate_hz: 8_000 }, 12);
    assert_eq!(loud.samples, [i16::MAX, i16::MIN]);
}

#[test]
fn a_file_of_another_folder_is_read_anew_each_time() {
    let dir = Dir::new();
    let (store, folder) = (dir.store(), dir.0.join("recordings"));
    fs::create_dir_all(&folder).unwrap();
    let play = |name: &str| store.track_below(&folder, name, Codec::Pcmu, 0);
    assert!(matches!(play("a.wav"), Err(Error::PromptNotFound { .. })));
    for frames in [1, 2] {
        fs::write(folder.join("a.wav"), wav(&vec![100; 160 * frames])).unwrap();
        assert_eq!(play("a.wav").unwrap().frames.len(), frames);
    }
    fs::write(dir.0.join("b.wav"), wav(&[100; 160])).unwrap();
    symlink(dir.0.join("b.wav"), folder.join("link.wav")).unwrap();
    for name in ["link.wav", "../b.wav", "/etc/passwd"] {
        assert!(play(name).is_err(), "{name}");
    }
}

#[test]
fn what_is_unchanged_is_taken_over_from_the_store_before() {
    let dir = Dir::new();
    for name in ["same.wav", "other.wav"] {
        fs::write(dir.sounds().join(name), wav(&[100; 160])).unwrap();
    }
    let store = |settings| PromptStore::new(Some(dir.sounds()), embedded, settings);
    let former = store(PromptSettings::default());
    let names = ["same.wav", "other.wav", "built/in.wav"];
    let before = names.map(|name| former.prompt(name).unwrap());
    fs::write(dir.sounds().join("other.wav"), wav(&[101; 160])).unwrap();
    let is_same = |settings| {
        let store = store(settings);
        store.take_over(&former);
        let now = names.map(|name| store.prompt(name).unwrap());
        store.forget_former();
        [0, 1, 2].map(|at| Arc::ptr_eq(&before[at], &now[at]))
    };
    assert_eq!(is_same(PromptSettings::default()), [true, false, true]);
    assert_eq!(is_same(PromptSettings { opus_complexity: 1, ..Default::default() }), [false; 3]);
}
