//! Many datagrams to send from one socket in one system call.
#![allow(unsafe_code, reason = "sendmmsg has no safe form in std")]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use bytes::Bytes;
use socket2::SockAddr;

/// Datagrams that go out together.
#[derive(Default)]
pub struct Outbox {
    waiting: Vec<(Bytes, SockAddr)>,
}

impl Outbox {
    /// Nothing to send.
    #[must_use]
    pub fn new() -> Outbox {
        Outbox::default()
    }

    /// Adds a datagram.
    pub fn push(&mut self, bytes: Bytes, to: SocketAddr) {
        self.waiting.push((bytes, to.into()));
    }

    /// Sends everything, in order. What the socket does not take is gone, as on any network.
    ///
    /// # Errors
    /// What the operating system says; a full buffer and a peer that has closed its port are no
    /// errors.
    pub fn flush(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let mut rest = self.waiting.as_slice();
        while !rest.is_empty() {
            match send(socket, rest) {
                Ok(sent) => rest = rest.get(sent.max(1)..).unwrap_or_default(),
                Err(error) if is_loss(&error) => rest = rest.get(1..).unwrap_or_default(),
                Err(error) => return Err(error),
            }
        }
        self.waiting.clear();
        Ok(())
    }
}

fn is_loss(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused)
}

/// Sends the first few; says how many.
fn send(socket: &UdpSocket, datagrams: &[(Bytes, SockAddr)]) -> io::Result<usize> {
    // SAFETY: vectors and headers of zeroes are valid ones without buffers.
    let mut vectors: [libc::iovec; SENT_AT_ONCE] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; SENT_AT_ONCE] = unsafe { std::mem::zeroed() };
    for (((bytes, to), vector), header) in datagrams.iter().zip(&mut vectors).zip(&mut headers) {
        vector.iov_base = bytes.as_ptr().cast_mut().cast();
        vector.iov_len = bytes.len();
        header.msg_hdr.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = to.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
    }
    let count = datagrams.len().min(SENT_AT_ONCE);
    // SAFETY: the first `count` headers point at addresses and bytes of `datagrams`, which the call
    // only reads, and at `vectors`; all of them live until it returns.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, 0)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

const SENT_AT_ONCE: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use crate::net::{self, Batch};

    #[test]
    fn more_datagrams_than_one_call_takes_go_out_in_order() {
        let receiver = net::open("127.0.0.1:0".parse().unwrap(), 1 << 18).unwrap();
        let sender = net::open("127.0.0.1:0".parse().unwrap(), 1 << 16).unwrap();
        let mut outbox = Outbox::new();
        for number in 0..40_u8 {
            outbox.push(Bytes::from(vec![number; 3]), receiver.local_addr().unwrap());
        }
        outbox.flush(&sender).unwrap();
        outbox.flush(&sender).unwrap();
        let (mut batch, mut read) = (Batch::new(), Vec::new());
        while let count @ 1.. = batch.receive(&receiver).unwrap() {
            read.extend(batch.datagrams(count).map(|datagram| datagram.bytes.to_vec()));
        }
        let expected: Vec<Vec<u8>> = (0..40).map(|number| vec![number; 3]).collect();
        assert_eq!(read, expected);
    }
}
