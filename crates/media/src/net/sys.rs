//! The system calls that the standard library does not have: epoll, timerfd, eventfd, and datagrams
//! by the batch.

#![allow(unsafe_code, reason = "system calls without a safe wrapper in our dependencies")]

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

use socket2::SockAddr;

use crate::shard::PacketBuffer;

/// Turns the C convention of a negative result into an error.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn own(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the call that made `fd` succeeded, so it is open, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An epoll instance with room for the events of one wait.
pub(super) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let fd = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX] })
    }

    /// Reports `token` whenever `source` can be read; closing `source` ends it.
    pub(super) fn add(&self, source: &impl AsRawFd, token: u64) -> io::Result<()> {
        self.add_for(libc::EPOLLIN, source, token)
    }

    /// Reports `token` when something comes to `source`, and not again because it is still there:
    /// the system then need not look a second time whether it is.
    pub(super) fn add_arrivals(&self, source: &impl AsRawFd, token: u64) -> io::Result<()> {
        self.add_for(libc::EPOLLIN | libc::EPOLLET, source, token)
    }

    fn add_for(&self, events: libc::c_int, source: &impl AsRawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        let (epoll, source) = (self.fd.as_raw_fd(), source.as_raw_fd());
        // SAFETY: `event` lives through the call, which copies it.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, source, &raw mut event) })?;
        Ok(())
    }

    /// Reports nothing of `source` any more.
    pub(super) fn remove(&self, source: &impl AsRawFd) -> io::Result<()> {
        let (epoll, source) = (self.fd.as_raw_fd(), source.as_raw_fd());
        // SAFETY: removing reads no event, so the pointer may be null.
        let result =
            unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, source, std::ptr::null_mut()) };
        check(result).map(drop)
    }

    /// Waits until something can be read, or not at all; returns the tokens.
    pub(super) fn wait(&mut self, block: bool) -> io::Result<impl Iterator<Item = u64>> {
        let (epoll, room) = (self.fd.as_raw_fd(), self.events.len() as libc::c_int);
        let timeout = if block { -1 } else { 0 };
        let events = self.events.as_mut_ptr();
        // SAFETY: `events` points to `room` events, which `self` keeps alive and nobody else uses.
        let ready = match check(unsafe { libc::epoll_wait(epoll, events, room, timeout) }) {
            Ok(ready) => usize::try_from(ready).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        Ok(self.events.iter().take(ready).map(|event| event.u64))
    }
}

/// An epoll instance can be read when something it watches can.
impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> libc::c_int {
        self.fd.as_raw_fd()
    }
}

/// A timer that epoll can wait for.
pub(super) struct Timer {
    fd: OwnedFd,
}

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: takes no pointer.
        let fd = own(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        Ok(Self { fd })
    }

    /// Fires once after `delay`; `None`: not at all. What it said before is forgotten.
    pub(super) fn set(&self, delay: Option<Duration>) -> io::Result<()> {
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = delay.map_or(zero, |delay| libc::timespec {
            tv_sec: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
            // All zeros would disarm the timer.
            tv_nsec: i64::from(delay.subsec_nanos()).max(1),
        });
        let spec = libc::itimerspec { it_interval: zero, it_value: value };
        let fd = self.fd.as_raw_fd();
        // SAFETY: `spec` lives through the call, and a null pointer asks for no old value.
        check(unsafe { libc::timerfd_settime(fd, 0, &raw const spec, std::ptr::null_mut()) })?;
        Ok(())
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> libc::c_int {
        self.fd.as_raw_fd()
    }
}

/// Wakes a thread that waits in epoll for arrivals here ([`Epoll::add_arrivals`]): each wake is one.
#[derive(Debug)]
pub(super) struct Waker {
    fd: OwnedFd,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::EFD_NONBLOCK | libc::EFD_CLOEXEC;
        // SAFETY: takes no pointer.
        Ok(Self { fd: own(unsafe { libc::eventfd(0, flags) })? })
    }

    /// Makes the waiting thread, or its next wait, return.
    pub(super) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: `one` is eight readable bytes, which is what an eventfd takes. Failure would mean
        // that its counter is full, and nobody wakes anybody 2^64 times.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> libc::c_int {
        self.fd.as_raw_fd()
    }
}

/// A pool of buffers that one call fills with as many datagrams as wait.
pub(super) struct Receiver {
    buffers: Box<[PacketBuffer]>,
    names: Box<[libc::sockaddr_storage]>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        // SAFETY: an address of all zeros is a valid value of this plain C structure.
        let name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        Self { buffers: vec![PacketBuffer::new(); BATCH].into(), names: vec![name; BATCH].into() }
    }

    /// Receives up to [`BATCH`] datagrams without waiting; returns how many came.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut parts = [EMPTY_PART; BATCH];
        let mut messages = [EMPTY_MESSAGE; BATCH];
        let pool = self.buffers.iter_mut().zip(&mut self.names);
        for (((buffer, name), part), message) in pool.zip(&mut parts).zip(&mut messages) {
            let space = buffer.space();
            part.iov_base = space.as_mut_ptr().cast();
            part.iov_len = space.len();
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
        }
        // SAFETY: every header points to one part, one name and their true sizes; all of them live
        // in `self` or on this stack until the call returns, and nothing else refers to them.
        let received = check(unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        })?;
        let received = usize::try_from(received).unwrap_or(0);
        for (buffer, message) in self.buffers.iter_mut().zip(&messages).take(received) {
            buffer.set_len(message.msg_len as usize);
        }
        Ok(received)
    }

    /// Receives one datagram into a place below [`BATCH`] without waiting, and returns its length:
    /// cheaper than a batch where no second one is to be expected.
    pub(super) fn receive_one(&mut self, at: usize, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let (Some(buffer), Some(name)) = (self.buffers.get_mut(at), self.names.get_mut(at)) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let space = buffer.space();
        let mut name_len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // Not libc's wrapper, which makes the call one at which a thread can be cancelled: ours never
        // is, and that costs two atomic operations.
        // SAFETY: the buffer and the name belong to `self` and are as long as is said; the length of
        // the name is a variable of this function.
        let received = unsafe {
            libc::syscall(
                libc::SYS_recvfrom,
                socket.as_raw_fd(),
                space.as_mut_ptr(),
                space.len(),
                libc::MSG_DONTWAIT,
                std::ptr::from_mut(name),
                &raw mut name_len,
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        buffer.set_len(received);
        Ok(received)
    }

    /// The datagram received into a place last, and where it came from.
    pub(super) fn datagram(&mut self, at: usize) -> Option<(SocketAddr, &mut PacketBuffer)> {
        let from = socket_address(self.names.get(at)?)?;
        Some((from, self.buffers.get_mut(at)?))
    }
}

/// Reads an address that the system wrote.
fn socket_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let name = std::ptr::from_ref(name);
    // SAFETY: the storage is large enough and aligned for every kind of address, and its family
    // says which one the system wrote.
    unsafe {
        match i32::from((*name).ss_family) {
            libc::AF_INET => {
                let v4 = &*name.cast::<libc::sockaddr_in>();
                let ip = v4.sin_addr.s_addr.to_ne_bytes();
                Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
            }
            libc::AF_INET6 => {
                let v6 = &*name.cast::<libc::sockaddr_in6>();
                let (ip, port) = (v6.sin6_addr.s6_addr, u16::from_be(v6.sin6_port));
                let scope = v6.sin6_scope_id;
                Some(std::net::SocketAddrV6::new(ip.into(), port, 0, scope).into())
            }
            _ => None,
        }
    }
}

/// Sends datagrams by the batch; returns how many were sent, which is fewer than given when the
/// system refuses the next one.
pub(super) fn send_batch<'a>(
    socket: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = (&'a SockAddr, &'a [u8])>,
) -> io::Result<usize> {
    let mut parts = [EMPTY_PART; BATCH];
    let mut messages = [EMPTY_MESSAGE; BATCH];
    let mut count = 0;
    for (((to, bytes), part), message) in datagrams.zip(&mut parts).zip(&mut messages) {
        part.iov_base = bytes.as_ptr().cast_mut().cast();
        part.iov_len = bytes.len();
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
        message.msg_hdr.msg_name = to.as_ptr().cast_mut().cast();
        message.msg_hdr.msg_namelen = to.len();
        count += 1;
    }
    let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
    // SAFETY: the first `count` headers point to one part and one address each, which live on this
    // stack or are borrowed from the caller until the call returns; sending only reads them.
    let sent = check(unsafe { libc::sendmmsg(fd, messages.as_mut_ptr(), count, flags) })?;
    Ok(usize::try_from(sent).unwrap_or(0))
}

/// Sends a datagram on a connected socket, by the system call alone as in [`Receiver::receive_one`].
pub(super) fn send_one(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let (fd, nobody) = (socket.as_raw_fd(), std::ptr::null::<libc::sockaddr>());
    // SAFETY: the call only reads `bytes`, which outlive it, and is given no address.
    let sent = unsafe {
        let (start, len) = (bytes.as_ptr(), bytes.len());
        libc::syscall(libc::SYS_sendto, fd, start, len, libc::MSG_DONTWAIT, nobody, 0_usize)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Datagrams received or sent by one call.
pub(super) const BATCH: usize = 64;
/// Events reported by one wait.
pub(super) const EVENTS_MAX: usize = 256;
const EMPTY_PART: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
const EMPTY_MESSAGE: libc::mmsghdr = libc::mmsghdr {
    msg_hdr: libc::msghdr {
        msg_name: std::ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: std::ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: std::ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    },
    msg_len: 0,
};

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    #[test]
    fn datagrams_go_and_come_by_the_batch() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let a = UdpSocket::bind(host).unwrap();
            let b = UdpSocket::bind(host).unwrap();
            let to = SockAddr::from(b.local_addr().unwrap());
            let payloads: Vec<Vec<u8>> = (0..10_u8).map(|n| vec![n; usize::from(n) + 1]).collect();
            let datagrams = payloads.iter().map(|payload| (&to, payload.as_slice()));
            assert_eq!(send_batch(a.as_fd(), datagrams).unwrap(), 10);
            let mut receiver = Receiver::new();
            let mut received = Vec::new();
            while received.len() < 10 {
                let count = receiver.receive(b.as_fd()).unwrap();
                for at in 0..count {
                    let (from, buffer) = receiver.datagram(at).unwrap();
                    assert_eq!(from, a.local_addr().unwrap());
                    received.push(buffer.datagram().to_vec());
                }
            }
            assert_eq!(received, payloads);
            let error = receiver.receive(b.as_fd()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            let error = receiver.receive_one(7, b.as_fd()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            a.send_to(b"one", b.local_addr().unwrap()).unwrap();
            assert_eq!(receiver.receive_one(7, b.as_fd()).unwrap(), 3);
            let (from, buffer) = receiver.datagram(7).unwrap();
            assert_eq!((from, buffer.datagram()), (a.local_addr().unwrap(), &b"one"[..]));
        }
    }

    #[test]
    fn epoll_reports_wakers_and_timers() {
        let mut epoll = Epoll::new().unwrap();
        let (waker, timer) = (Waker::new().unwrap(), Timer::new().unwrap());
        epoll.add_arrivals(&waker, 1).unwrap();
        epoll.add(&timer, 2).unwrap();
        assert_eq!(epoll.wait(false).unwrap().count(), 0);
        waker.wake();
        waker.wake();
        assert_eq!(epoll.wait(true).unwrap().collect::<Vec<_>>(), [1]);
        timer.set(Some(Duration::ZERO)).unwrap();
        assert_eq!(epoll.wait(true).unwrap().collect::<Vec<_>>(), [2]);
        timer.set(None).unwrap();
        assert_eq!(epoll.wait(false).unwrap().count(), 0);
    }

    #[test]
    fn an_arrival_is_reported_once() {
        let mut epoll = Epoll::new().unwrap();
        let (waker, other) = (Waker::new().unwrap(), Waker::new().unwrap());
        epoll.add_arrivals(&waker, 1).unwrap();
        waker.wake();
        assert_eq!(epoll.wait(true).unwrap().collect::<Vec<_>>(), [1]);
        assert_eq!(epoll.wait(false).unwrap().count(), 0, "it is still there");
        waker.wake();
        assert_eq!(epoll.wait(true).unwrap().collect::<Vec<_>>(), [1]);
        other.wake();
        epoll.add_arrivals(&other, 2).unwrap();
        assert_eq!(epoll.wait(true).unwrap().collect::<Vec<_>>(), [2], "it came before");
    }
}
