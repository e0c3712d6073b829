use super::*;
use crate::{
    codec::{Codec, g711},
    recording::Side,
    rtp::{ExtendedSequenceNumber, RtpTimestamp},
    shard::{Media, MediaKind, StreamId},
};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sidetone-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn recorder(&self, recordings_max: usize) -> Recorder {
        let dir = self.0.join("recordings");
        let duration_max = Duration::from_secs(1);
        Recorder::start(RecorderConfig { dir, duration_max, recordings_max }).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const OPTIONS: RecordingOptions = RecordingOptions {
    layout: Layout::Heard,
    rate_hz: 8_000,
    begins_now: false,
    limit: None,
    silence: None,
};

/// Says µ-law of one level for so many frames of 20 ms, as if it came in real time until now.
fn say(tap: &Tap, frames: u32, level: i16) {
    let begin = Instant::now() - Duration::from_millis(20) * frames;
    for n in 0..frames {
        let media = Media {
            kind: MediaKind::Audio(Codec::Pcmu),
            stream: StreamId { leg: 1, ordinal: 1 },
            number: ExtendedSequenceNumber(100 + u64::from(n)),
            timestamp: RtpTimestamp(160 * n),
            marker: false,
            payload: &[g711::encode_ulaw(level); 160],
        };
        tap.push(Side::Heard, &media, begin + Duration::from_millis(20) * n);
    }
}

fn wait(mut recording: Recording) -> Finished {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(recording.finished()).unwrap()
}

#[test]
fn what_a_killed_process_has_not_completed_goes_away_at_the_start() {
    let folder = Folder::new("leftovers");
    let inside = folder.0.join("recordings/in");
    fs::create_dir_all(&inside).unwrap();
    // No process has the largest number.
    let gone = format!(".a.wav.{}-1.part", u32::MAX);
    let own = leftovers::hidden_name("b.wav", 7);
    let kept = ["c.wav", ".part", ".x.part", "d.wav.1-1.part", ".e.wav.1-x.part", own.as_str()];
    for name in kept.iter().copied().chain([gone.as_str()]) {
        fs::write(inside.join(name), "").unwrap();
    }
    assert_eq!(leftovers::sweep(&folder.0.join("recordings")), 1);
    assert!(kept.iter().all(|name| inside.join(name).exists()));
    assert!(!inside.join(gone).exists());
}

#[test]
fn what_is_said_is_in_the_file_once_the_taps_are_gone() {
    let folder = Folder::new("recorder");
    let recorder = folder.recorder(4);
    let path = recorder.dir().join("a/b.wav");
    for level in [1_000, 3_000] {
        let (tap, recording) = recorder.record("a/b.wav", OPTIONS).unwrap();
        say(&tap, 40, level);
        drop(tap);
        let finished = wait(recording);
        assert_eq!(finished.end, RecordingEnd::Stopped);
        // The second one replaced the first.
        let mut reader = hound::WavReader::open(&path).unwrap();
        let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples.len() as u128, finished.duration.as_millis() * 8);
        assert!((38..=44).contains(&(samples.len() / 160)), "{} samples", samples.len());
        assert!((samples[3_000] - level).abs() < level / 16);
    }
    let entries = fs::read_dir(recorder.dir().join("a")).unwrap().count();
    assert_eq!(entries, 1, "nothing else is left");
    let expected = RecorderCounters { completed: 2, ..RecorderCounters::default() };
    assert_eq!(recorder.counters(), expected);
}

#[test]
fn a_recording_ends_by_itself_when_it_is_long_or_silent() {
    let folder = Folder::new("recorder-ends");
    let recorder = folder.recorder(4);
    let half = Some(Duration::from_millis(500));
    for (limit, silence, level, end, ms) in [
        (half, None, 1_000, RecordingEnd::Limit, 500),
        (None, None, 1_000, RecordingEnd::Limit, 1_000),
        (None, half, 0, RecordingEnd::Silence, 500),
    ] {
        let options = RecordingOptions { limit, silence, ..OPTIONS };
        let (tap, recording) = recorder.record("a.wav", options).unwrap();
        say(&tap, 70, level);
        let duration = Duration::from_millis(ms);
        assert_eq!(wait(recording), Finished { duration, end });
        // It takes nothing any more, and loses nothing by that.
        say(&tap, 1, level);
        assert_eq!(recorder.counters().packets_dropped, 0);
    }
}

#[test]
fn one_that_begins_now_lasts_without_any_packet() {
    let folder = Folder::new("recorder-now");
    let recorder = folder.recorder(4);
    let silence = Some(Duration::from_millis(100));
    let options = RecordingOptions { begins_now: true, silence, ..OPTIONS };
    let (_tap, recording) = recorder.record("a.wav", options).unwrap();
    assert_eq!(wait(recording).end, RecordingEnd::Silence);
}

#[test]
fn nothing_is_written_elsewhere() {
    let folder = Folder::new("recorder-links");
    let recorder = folder.recorder(4);
    for name in ["", "/etc/x.wav", "../x.wav", "a/../x.wav", ".x.wav", "a/.b/x.wav", "a/", "x\0"] {
        assert!(matches!(recorder.record(name, OPTIONS), Err(RecordError::Name(_))), "{name:?}");
    }
    let outside = folder.0.join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(recorder.dir()).unwrap();
    std::os::unix::fs::symlink(&outside, recorder.dir().join("link")).unwrap();
    for name in ["link/x.wav", "link/new/x.wav"] {
        let (tap, recording) = recorder.record(name, OPTIONS).unwrap();
        drop(tap);
        assert_eq!(wait(recording).end, RecordingEnd::Failed, "{name}");
    }
    // A link in the place of the file is replaced, and not followed.
    let kept = outside.join("kept");
    fs::write(&kept, "kept").unwrap();
    std::os::unix::fs::symlink(&kept, recorder.dir().join("x.wav")).unwrap();
    let (tap, recording) = recorder.record("x.wav", OPTIONS).unwrap();
    drop(tap);
    assert_eq!(wait(recording).end, RecordingEnd::Stopped);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
    assert!(fs::symlink_metadata(recorder.dir().join("x.wav")).unwrap().is_file());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    let counters = recorder.counters();
    assert_eq!((counters.failed, counters.refused, counters.active), (2, 8, 0));
}

#[test]
fn recordings_are_bounded_and_complete_when_the_recorder_ends() {
    let folder = Folder::new("recorder-bound");
    let recorder = folder.recorder(1);
    let (tap, recording) = recorder.record("a.wav", OPTIONS).unwrap();
    assert!(matches!(recorder.record("b.wav", OPTIONS), Err(RecordError::Full(1))));
    say(&tap, 20, 1_000);
    recorder.shutdown();
    assert_eq!(wait(recording).end, RecordingEnd::Stopped);
    assert!(hound::WavReader::open(recorder.dir().join("a.wav")).unwrap().duration() > 2_000);
    assert!(matches!(recorder.record("a.wav", OPTIONS), Err(RecordError::Gone)));
}
