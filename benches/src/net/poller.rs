//! Which of many sockets have something to read.
#![allow(unsafe_code, reason = "epoll has no safe form in std")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// An epoll instance that is asked, never waited on: its owner sleeps by the clock and then looks,
/// so that a datagram that arrives does not pay for waking the reader.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
    tokens: Vec<u64>,
}

impl Poller {
    /// Reports up to `ready_max` sockets at once.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn new(ready_max: usize) -> io::Result<Poller> {
        // SAFETY: takes a flag and returns a new descriptor or -1.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and owned by nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; ready_max.max(1)];
        Ok(Poller { epoll, events, tokens: Vec::with_capacity(ready_max) })
    }

    /// Watches a socket until it is closed.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn add(&self, socket: &UdpSocket, token: u64) -> io::Result<()> {
        let mut event =
            libc::epoll_event { events: u32::try_from(libc::EPOLLIN).unwrap_or(1), u64: token };
        // SAFETY: both descriptors are open, and `event` lives until the call returns.
        let status = unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                socket.as_raw_fd(),
                &raw mut event,
            )
        };
        if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The tokens of sockets that can be read now. Does not wait.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn ready(&mut self) -> io::Result<&[u64]> {
        let room = libc::c_int::try_from(self.events.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: `events` has room for `room` entries and is not moved during the call.
        let count =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), room, 0) };
        let Ok(count) = usize::try_from(count) else {
            return Err(io::Error::last_os_error());
        };
        self.tokens.clear();
        self.tokens.extend(self.events.iter().take(count).map(|event| event.u64));
        Ok(&self.tokens)
    }
}
