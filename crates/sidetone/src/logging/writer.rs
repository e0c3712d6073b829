//! Writes the log on a thread of its own, many lines at a time.
//!
//! Whoever logs appends to a buffer and goes on. The thread is woken for the first line of a buffer
//! only and lets others gather: waking it for each would cost a busy server as much as the calls
//! that the lines are about.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

/// Where lines are put. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There are lines, or nothing more will come.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines for which there was no room.
    lost: u64,
    is_ending: bool,
}

/// The thread that writes. Dropping this writes what waits, and ends it.
#[derive(Debug)]
pub struct LogThread {
    lines: Lines,
    thread: Option<JoinHandle<()>>,
}

impl LogThread {
    /// Starts writing to `output`.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<(Self, Lines)> {
        let lines = Lines::default();
        let writer = lines.clone();
        let thread = thread::Builder::new().name("log".to_owned());
        let thread = Some(thread.spawn(move || writer.write_until_end(output))?);
        Ok((LogThread { lines: lines.clone(), thread }, lines))
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.lines.lock().is_ending = true;
        self.lines.0.changed.notify_all();
        // A thread that has panicked has nothing more to write.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Lines {
    fn write_until_end(&self, mut output: impl Write) {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            bytes.shrink_to(KEPT_BYTES);
            let (lost, is_ending) = self.take(&mut bytes);
            // A reader that is gone is no reason to stop.
            let _ = output.write_all(&bytes).and_then(|()| output.flush());
            if lost > 0 {
                warn!(lines = lost, "the log fell behind; lines are lost");
            }
            if is_ending {
                return;
            }
        }
    }

    /// Waits for lines, lets others gather, and takes them.
    fn take(&self, bytes: &mut Vec<u8>) -> (u64, bool) {
        let is_idle = |waiting: &mut Waiting| waiting.bytes.is_empty() && !waiting.is_ending;
        let changed = &self.0.changed;
        let waiting = changed.wait_while(self.lock(), is_idle);
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let gathered = changed.wait_timeout_while(waiting, GATHER, |waiting| !waiting.is_ending);
        let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut waiting.bytes, bytes);
        (mem::take(&mut waiting.lost), waiting.is_ending)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Lines {
    /// Takes a line, or drops it when there is no room.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.lock();
        let is_first = waiting.bytes.is_empty();
        if waiting.bytes.len() + line.len() > WAITING_BYTES_MAX {
            waiting.lost += 1;
        } else {
            waiting.bytes.extend_from_slice(line);
        }
        drop(waiting);
        if is_first {
            self.0.changed.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

/// How long lines gather.
const GATHER: Duration = Duration::from_millis(20);
/// Lines that may wait while the reader is stuck.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// Room that an empty buffer keeps.
const KEPT_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// An output whose reader decides when a write returns.
    struct Output {
        written: SyncSender<Vec<u8>>,
        may_go_on: Receiver<()>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.send(bytes.to_vec()).unwrap();
            self.may_go_on.recv().unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_out_in_order_and_the_last_at_the_end() {
        let (written, output) = sync_channel(8);
        let (go_on, may_go_on) = sync_channel(8);
        let (thread, mut lines) = LogThread::start(Output { written, may_go_on }).unwrap();
        lines.write_all(b"1\n").unwrap();
        assert!(output.recv().unwrap().starts_with(b"1\n"));
        // The reader is stuck; who logs goes on.
        lines.write_all(b"2\n").unwrap();
        lines.write_all(b"3\n").unwrap();
        go_on.send(()).unwrap();
        go_on.send(()).unwrap();
        drop(thread);
        assert_eq!(output.recv().unwrap(), b"2\n3\n");
    }

    #[test]
    fn what_a_stuck_reader_leaves_no_room_for_is_lost_and_counted() {
        let mut lines = Lines::default();
        let line = vec![b'x'; WAITING_BYTES_MAX / 2];
        for _ in 0..3 {
            lines.write_all(&line).unwrap();
        }
        let mut taken = Vec::new();
        assert_eq!(lines.take(&mut taken), (1, false));
        assert_eq!(taken.len(), 2 * line.len());
    }
}
