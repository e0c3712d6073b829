//! The thread that writes recordings, so that nobody else waits for the disk.
//!
//! A recording is written beside its name, hidden, and gets its name when it is complete: an older
//! one of that name is then replaced, and nobody ever plays half of one.

mod leftovers;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hound::{SampleFormat, WavSpec, WavWriter};
use tokio::sync::oneshot;

use crate::{
    codec::FRAME_MS,
    recording::{Layout, Mixdown, RecordingId, SilenceMeter, Tap, tap},
};

/// What recordings are bounded by, and where they are.
#[derive(Clone, Debug)]
pub struct RecorderConfig {
    /// The folder below which all files are; made when the first one is.
    pub dir: PathBuf,
    /// No recording is longer.
    pub duration_max: Duration,
    /// Recordings at once; more are refused.
    pub recordings_max: usize,
}

/// What is wanted of a recording.
#[derive(Clone, Copy, Debug)]
pub struct RecordingOptions {
    /// What is recorded.
    pub layout: Layout,
    /// Samples per second, 8000 or 16000.
    pub rate_hz: u32,
    /// Whether it begins now rather than with the first packet.
    pub begins_now: bool,
    /// It ends by itself after this time, ...
    pub limit: Option<Duration>,
    /// ... and after so much silence.
    pub silence: Option<Duration>,
}

/// Writes recordings. Cheap to clone; its thread ends with [`Recorder::shutdown`] or the last clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: RecorderConfig,
    jobs: SyncSender<Job>,
    counters: Arc<Counters>,
    serial: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A recording that is made.
#[derive(Debug)]
pub struct Recording {
    id: RecordingId,
    finished: oneshot::Receiver<Finished>,
}

/// A recording that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How long it is.
    pub duration: Duration,
    /// What ended it.
    pub end: RecordingEnd,
}

/// What ended a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingEnd {
    /// Its taps are gone: it was stopped, or the leg was closed.
    Stopped,
    /// It is as long as it may be.
    Limit,
    /// Nobody spoke any more.
    Silence,
    /// The file could not be made or written; what could is kept.
    Failed,
}

/// A recording cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The name is no path below the folder.
    #[error("{0:?} is no name of a file below the folder of recordings")]
    Name(String),
    /// As many recordings are made as may be.
    #[error("{0} recordings are being made, no more are allowed")]
    Full(usize),
    /// The thread is gone.
    #[error("the thread that writes recordings is gone")]
    Gone,
}

/// What the recorder counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecorderCounters {
    /// Recordings that are being made.
    pub active: u64,
    /// Recordings that are complete.
    pub completed: u64,
    /// Recordings whose file could not be made or written.
    pub failed: u64,
    /// Recordings that were refused.
    pub refused: u64,
    /// Packets lost to recordings because their ring was full.
    pub packets_dropped: u64,
}

#[derive(Debug, Default)]
struct Counters {
    active: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    packets_dropped: Arc<AtomicU64>,
}

enum Job {
    Record(Box<Order>),
    Shutdown,
}

/// A recording that is to be made.
struct Order {
    serial: u64,
    name: String,
    options: RecordingOptions,
    mixdown: Mixdown,
    finished: oneshot::Sender<Finished>,
}

impl Recorder {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses one.
    pub fn start(config: RecorderConfig) -> io::Result<Self> {
        let counters = Arc::<Counters>::default();
        let (jobs, queue) = sync_channel(config.recordings_max.max(1));
        let writer = Writer {
            dir: config.dir.clone(),
            duration_max: config.duration_max,
            queue,
            counters: Arc::clone(&counters),
            active: Vec::new(),
        };
        let builder = std::thread::Builder::new().name("recorder".to_owned());
        let thread = Mutex::new(Some(builder.spawn(move || writer.run())?));
        let serial = AtomicU64::new(1);
        Ok(Self { inner: Arc::new(Inner { config, jobs, counters, serial, thread }) })
    }

    /// Begins a recording with a name such as `greetings/199.wav`: what the tap takes is written.
    /// Never blocks; that the file cannot be made shows when the recording has ended.
    ///
    /// # Errors
    /// The name leads elsewhere, or a bound is reached.
    pub fn record(
        &self,
        name: &str,
        options: RecordingOptions,
    ) -> Result<(Tap, Recording), RecordError> {
        let inner = &*self.inner;
        let refuse = |error| {
            inner.counters.refused.fetch_add(1, Relaxed);
            Err(error)
        };
        if !is_name(name) {
            return refuse(RecordError::Name(name.to_owned()));
        }
        let most = inner.config.recordings_max;
        let add = |active: u64| (active < most as u64).then_some(active + 1);
        if inner.counters.active.fetch_update(Relaxed, Relaxed, add).is_err() {
            return refuse(RecordError::Full(most));
        }
        let serial = inner.serial.fetch_add(1, Relaxed);
        let id = RecordingId(serial);
        let begins = options.begins_now.then(Instant::now);
        let dropped = Arc::clone(&inner.counters.packets_dropped);
        let (tap, mixdown) = tap(id, options.layout, options.rate_hz, begins, dropped);
        let (sender, finished) = oneshot::channel();
        let order = Order { serial, name: name.to_owned(), options, mixdown, finished: sender };
        if let Err(error) = inner.jobs.try_send(Job::Record(Box::new(order))) {
            inner.counters.active.fetch_sub(1, Relaxed);
            return refuse(match error {
                TrySendError::Full(_) => RecordError::Full(most),
                TrySendError::Disconnected(_) => RecordError::Gone,
            });
        }
        Ok((tap, Recording { id, finished }))
    }

    /// Where the files are.
    pub fn dir(&self) -> &Path {
        &self.inner.config.dir
    }

    /// What was counted so far.
    pub fn counters(&self) -> RecorderCounters {
        let counters = &self.inner.counters;
        RecorderCounters {
            active: counters.active.load(Relaxed),
            completed: counters.completed.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            packets_dropped: counters.packets_dropped.load(Relaxed),
        }
    }

    /// Completes every recording and ends the thread; returns once it has ended.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }
}

impl Inner {
    fn shutdown(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        // An error says that the thread is gone already.
        let _ = self.jobs.send(Job::Shutdown);
        if thread.join().is_err() {
            tracing::warn!("the thread that writes recordings had died");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Recording {
    /// Names the recording, for [`crate::shard::Command::StopRecord`].
    pub fn id(&self) -> RecordingId {
        self.id
    }

    /// Returns when the file is complete; `None` if the thread is gone, or was asked before. May be
    /// dropped at any time without losing anything.
    pub async fn finished(&mut self) -> Option<Finished> {
        (&mut self.finished).await.ok()
    }
}

/// What the thread owns.
struct Writer {
    dir: PathBuf,
    duration_max: Duration,
    queue: Receiver<Job>,
    counters: Arc<Counters>,
    active: Vec<Active>,
}

/// A recording that is being written.
struct Active {
    name: String,
    mixdown: Mixdown,
    file: Result<WavFile, io::Error>,
    limit_ms: u64,
    silence_ms: Option<u64>,
    silence: SilenceMeter,
    written_ms: u64,
    finished: Option<oneshot::Sender<Finished>>,
}

struct WavFile {
    writer: WavWriter<BufWriter<File>>,
    part: PathBuf,
    path: PathBuf,
}

impl Writer {
    fn run(mut self) {
        let removed = leftovers::sweep(&self.dir);
        if removed > 0 {
            tracing::warn!(removed, "recordings that were never completed are removed");
        }
        let mut due = Instant::now();
        loop {
            let job = if self.active.is_empty() {
                self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.queue.recv_timeout(due.saturating_duration_since(Instant::now()))
            };
            match job {
                Ok(Job::Record(order)) => self.begin(*order),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Job::Shutdown) | Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            if now >= due {
                due = now + PERIOD;
                self.write(now);
            }
        }
        self.write(Instant::now());
        for active in std::mem::take(&mut self.active) {
            self.finish(active, RecordingEnd::Stopped);
        }
    }

    fn begin(&mut self, order: Order) {
        let Order { serial, name, options, mixdown, finished } = order;
        let spec = WavSpec {
            channels: options.layout.channels(),
            sample_rate: options.rate_hz,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let limit = options.limit.unwrap_or(self.duration_max).min(self.duration_max);
        self.active.push(Active {
            file: WavFile::create(&self.dir, &name, serial, spec),
            name,
            mixdown,
            limit_ms: ms(limit),
            silence_ms: options.silence.map(ms),
            silence: SilenceMeter::new(),
            written_ms: 0,
            finished: Some(finished),
        });
    }

    fn write(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(active) = self.active.get_mut(at) {
            match active.write(now) {
                None => at += 1,
                Some(end) => {
                    let active = self.active.swap_remove(at);
                    self.finish(active, end);
                }
            }
        }
    }

    fn finish(&self, active: Active, end: RecordingEnd) {
        let Active { name, file, written_ms, finished, .. } = active;
        let closed = file.and_then(WavFile::close);
        let is_failed = closed.is_err() || end == RecordingEnd::Failed;
        if let Err(error) = closed {
            tracing::warn!(name, %error, "a recording is lost");
        }
        let counter = if is_failed { &self.counters.failed } else { &self.counters.completed };
        counter.fetch_add(1, Relaxed);
        self.counters.active.fetch_sub(1, Relaxed);
        let end = if is_failed { RecordingEnd::Failed } else { end };
        if let Some(finished) = finished {
            // Whoever asked may not wait for it.
            let _ = finished.send(Finished { duration: Duration::from_millis(written_ms), end });
        }
    }
}

impl Active {
    /// Writes what is due; what ends the recording, if something does.
    fn write(&mut self, now: Instant) -> Option<RecordingEnd> {
        let Ok(file) = &mut self.file else { return Some(RecordingEnd::Failed) };
        // What a shard has copied lately may still be on its way, unless the taps are gone.
        let mut until = now.checked_sub(GRACE).unwrap_or(now);
        loop {
            let is_open = self.mixdown.is_open();
            let Some(frame) = self.mixdown.frame(until) else {
                match self.mixdown.is_open() {
                    true => return None,
                    false if is_open => until = now,
                    false => return Some(RecordingEnd::Stopped),
                }
                continue;
            };
            if let Err(error) = file.write(frame) {
                tracing::warn!(name = self.name, %error, "a recording is cut off");
                return Some(RecordingEnd::Failed);
            }
            self.written_ms += u64::from(FRAME_MS);
            let silent_ms = u64::from(self.silence.hear(frame)) * u64::from(FRAME_MS);
            if self.silence_ms.is_some_and(|most| silent_ms >= most) {
                return Some(RecordingEnd::Silence);
            }
            if self.written_ms >= self.limit_ms {
                return Some(RecordingEnd::Limit);
            }
            if self.written_ms.is_multiple_of(FLUSH_MS)
                && let Err(error) = file.writer.flush()
            {
                tracing::warn!(name = self.name, %error, "a recording is cut off");
                return Some(RecordingEnd::Failed);
            }
        }
    }
}

impl WavFile {
    fn create(dir: &Path, name: &str, serial: u64, spec: WavSpec) -> io::Result<Self> {
        let path = dir.join(name);
        make_folders(dir, Path::new(name).parent().unwrap_or(Path::new("")))?;
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = path.with_file_name(leftovers::hidden_name(&file_name, serial));
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&part)?;
        let writer = WavWriter::new(BufWriter::new(file), spec).map_err(into_io)?;
        Ok(Self { writer, part, path })
    }

    fn write(&mut self, frame: &[i16]) -> Result<(), hound::Error> {
        let samples = u32::try_from(frame.len()).unwrap_or(0);
        let mut writer = self.writer.get_i16_writer(samples);
        frame.iter().for_each(|sample| writer.write_sample(*sample));
        writer.flush()
    }

    /// Completes the file and gives it its name, which replaces another file or a link.
    fn close(self) -> io::Result<()> {
        let completed = self.writer.finalize().map_err(into_io);
        fs::rename(&self.part, &self.path)?;
        completed
    }
}

/// Makes the folders of `path` below `dir`. A link would lead elsewhere: it is no folder.
fn make_folders(dir: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut folder = dir.to_owned();
    for part in path.components() {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let text = format!("{} is no folder", folder.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(FOLDER_MODE).create(&folder)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a name is a relative path of ordinary parts, none of them hidden.
fn is_name(name: &str) -> bool {
    let is_plain = |part: Component<'_>| match part {
        Component::Normal(part) => !part.as_encoded_bytes().starts_with(b"."),
        _ => false,
    };
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.contains('\0')
        && !name.ends_with('/')
        && Path::new(name).components().all(is_plain)
}

fn into_io(error: hound::Error) -> io::Error {
    match error {
        hound::Error::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// How often what was tapped is written.
const PERIOD: Duration = Duration::from_millis(20);
/// How late a packet may be tapped.
const GRACE: Duration = Duration::from_millis(40);
/// How much of a recording may be lost when the process is killed.
const FLUSH_MS: u64 = 5_000;
/// Longest name.
const NAME_BYTES_MAX: usize = 512;
/// Recordings are for their owner and its group.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test code")]
mod tests;
