//! A thread that works beside a measurement until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::error::Error;

/// The thread. Dropped, it is told to stop and not waited for.
pub struct Worker<T> {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<T, Error>>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts `work`, which looks now and then whether it is to end.
    ///
    /// # Errors
    /// [`Error::Io`] when the system has no thread.
    pub fn start(
        name: &str,
        work: impl FnOnce(&AtomicBool) -> Result<T, Error> + Send + 'static,
    ) -> Result<Worker<T>, Error> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_stopped);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(&told));
        Ok(Worker { is_stopped, thread: Some(thread.map_err(Error::io("starting a thread"))?) })
    }

    /// Stops it; what came of it.
    ///
    /// # Errors
    /// That of the work, or [`Error::ThreadLost`] when it panicked.
    pub fn stop(mut self) -> Result<T, Error> {
        self.is_stopped.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or(Error::ThreadLost)?;
        thread.join().map_err(|_| Error::ThreadLost)?
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}
