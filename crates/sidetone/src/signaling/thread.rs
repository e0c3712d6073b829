//! The thread that signalling runs on: its loop, the UDP sockets of SIP, and the calls.
//!
//! A message passes from a socket through the loop to its call, and the answer goes back the same
//! way. On one thread none of these steps wakes another thread, which would cost as much as all of
//! them together; and the media shards are woken once for all that their calls have told them when
//! nothing is left to do. Connections are served elsewhere: their ciphers keep no call waiting.

use std::io;
use std::thread;
use std::time::Duration;

use media::net::{put_off_wakes, wake_shards};
use tokio::runtime::{Builder, EnterGuard, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A runtime of one thread. Dropping this ends it with all its tasks.
#[derive(Debug)]
pub struct SignalingThread {
    handle: Handle,
    _lives: oneshot::Sender<()>,
}

impl SignalingThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn start() -> io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        let runtime =
            builder.enable_all().on_thread_park(|| wake_shards(Duration::ZERO)).build()?;
        let handle = runtime.handle().clone();
        let (lives, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("signaling".to_owned()).spawn(move || {
            put_off_wakes();
            // An error is what it waits for: the other end was dropped.
            let _ = runtime.block_on(ended);
        })?;
        Ok(SignalingThread { handle, _lives: lives })
    }

    /// Runs a task there, and what that spawns.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.handle.spawn(task)
    }

    /// While the guard lives, what the current thread spawns runs there.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }
}
