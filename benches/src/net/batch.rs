//! Many datagrams of one socket in one system call.
#![allow(unsafe_code, reason = "recvmmsg has no safe form in std")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

/// Buffers for [`BATCH`] datagrams, their senders and their arrival times.
pub struct Batch {
    slots: Box<[Slot; BATCH]>,
    lengths: [usize; BATCH],
}

/// One datagram of a [`Batch`].
pub struct Datagram<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Who sent it, if the family is IPv4 or IPv6.
    pub from: Option<SocketAddr>,
    /// When the kernel saw it, in nanoseconds of the wall clock; 0 if it did not say.
    pub arrived_ns: u64,
}

impl Batch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Batch {
        Batch { slots: Box::new([const { Slot::EMPTY }; BATCH]), lengths: [0; BATCH] }
    }

    /// Reads what is there, up to [`BATCH`] datagrams, and returns how many. Does not wait.
    ///
    /// # Errors
    /// What the operating system says; nothing to read is 0, not an error.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        // SAFETY: a header of zeroes is a valid one without buffers.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        for ((slot, vector), header) in self.slots.iter_mut().zip(&mut vectors).zip(&mut headers) {
            slot.control = [0; CONTROL_WORDS];
            *vector =
                libc::iovec { iov_base: slot.bytes.as_mut_ptr().cast(), iov_len: DATAGRAM_MAX };
            header.msg_hdr.msg_name = slot.name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = NAME_BYTES as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = slot.control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<[u64; CONTROL_WORDS]>();
        }
        // SAFETY: every header points at buffers of the lengths it names, which live in `slots`
        // and `vectors` until the call returns.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            let is_empty = error.kind() == io::ErrorKind::WouldBlock;
            return if is_empty { Ok(0) } else { Err(error) };
        };
        for (length, header) in self.lengths.iter_mut().zip(&headers).take(count) {
            *length = header.msg_len as usize;
        }
        Ok(count)
    }

    /// The first `count` datagrams of the last [`Batch::receive`].
    pub fn datagrams(&self, count: usize) -> impl Iterator<Item = Datagram<'_>> {
        self.slots.iter().zip(self.lengths).take(count).map(|(slot, length)| Datagram {
            bytes: slot.bytes.get(..length).unwrap_or(&slot.bytes),
            from: slot.sender(),
            arrived_ns: slot.arrived_ns(),
        })
    }
}

impl Default for Batch {
    fn default() -> Self {
        Batch::new()
    }
}

/// Datagrams read by one system call.
pub const BATCH: usize = 16;

const DATAGRAM_MAX: usize = 4096;
const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();
const CONTROL_WORDS: usize = 8;

struct Slot {
    control: [u64; CONTROL_WORDS],
    name: [u8; NAME_BYTES],
    bytes: [u8; DATAGRAM_MAX],
}

impl Slot {
    const EMPTY: Slot =
        Slot { control: [0; CONTROL_WORDS], name: [0; NAME_BYTES], bytes: [0; DATAGRAM_MAX] };

    fn sender(&self) -> Option<SocketAddr> {
        let family = u16::from_ne_bytes([self.name[0], self.name[1]]);
        let port = u16::from_be_bytes([self.name[2], self.name[3]]);
        let ip = match libc::c_int::from(family) {
            libc::AF_INET => {
                IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(self.name.get(4..8)?).ok()?))
            }
            libc::AF_INET6 => {
                IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(self.name.get(8..24)?).ok()?))
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// The only ancillary message asked for: a header of two words (length; level and type), then
    /// a timespec.
    fn arrived_ns(&self) -> u64 {
        let [length, _, seconds, nanoseconds, ..] = self.control;
        if length == 0 { 0 } else { seconds * 1_000_000_000 + nanoseconds }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use crate::net::{self, Poller};

    #[test]
    fn a_datagram_is_read_with_its_sender_and_its_time() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = net::open(ip.parse().unwrap(), 1 << 16).unwrap();
            let sender = net::open(ip.parse().unwrap(), 1 << 16).unwrap();
            let mut poller = Poller::new(4).unwrap();
            poller.add(&receiver, 7).unwrap();
            let before = net::wall_ns();
            sender.send_to(b"one", receiver.local_addr().unwrap()).unwrap();
            sender.send_to(b"three", receiver.local_addr().unwrap()).unwrap();
            assert_eq!(poller.ready().unwrap(), [7]);

            let mut batch = Batch::new();
            assert_eq!(batch.receive(&receiver).unwrap(), 2);
            let read: Vec<Datagram<'_>> = batch.datagrams(2).collect();
            assert_eq!(read[0].bytes, b"one");
            assert_eq!(read[1].bytes, b"three");
            assert_eq!(read[1].from, Some(sender.local_addr().unwrap()));
            assert!((before..=net::wall_ns()).contains(&read[0].arrived_ns));
            assert_eq!(batch.receive(&receiver).unwrap(), 0);
        }
    }

    #[test]
    fn a_pair_is_an_even_port_and_the_next() {
        let (rtp, rtcp) = net::open_pair("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = rtp.local_addr().unwrap().port();
        assert_eq!(port % 2, 0);
        assert_eq!(rtcp.local_addr().unwrap().port(), port + 1);
    }
}
