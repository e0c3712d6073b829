//! Datagrams in and out with the local address they use, which the standard library cannot say.
#![allow(
    unsafe_code,
    reason = "recvmmsg, sendmsg with IP_PKTINFO and a watch for reading only have no safe interface"
)]

use std::{
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, RawFd},
    ptr,
};

use socket2::{SockAddr, SockAddrStorage, Socket};
use tokio::io::{Interest, unix::AsyncFd};

/// What came with a datagram besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// Bytes written to the buffer.
    pub(super) length: usize,
    /// Who sent it.
    pub(super) remote: SocketAddr,
    /// The local address it was sent to; for broadcast, the one to answer from.
    pub(super) local: Option<IpAddr>,
    /// Datagrams the kernel has dropped on this socket since it was made, wrapping.
    pub(super) dropped: u32,
}

/// Asks the kernel for the local address and the drop count of each datagram.
pub(super) fn prepare(socket: &impl AsRawFd, is_ipv6: bool) -> io::Result<()> {
    let socket = socket.as_raw_fd();
    if is_ipv6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
    set_option(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
}

/// Raises the receive queue past the system's limit where the process may, else up to it.
pub(super) fn raise_receive_buffer(socket: &impl AsRawFd, bytes: usize) -> io::Result<()> {
    let socket = socket.as_raw_fd();
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))
}

/// Has the runtime watch a socket for this only.
pub(super) fn watch(socket: Socket, interest: Interest) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: the socket owns its descriptor, so that it stays open and the same while it is watched.
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    Ok(watched?)
}

/// Buffers that one call fills with as many datagrams as wait.
pub(super) struct Batch {
    slots: Box<[Slot]>,
}

struct Slot {
    bytes: Box<[u8]>,
    remote: SockAddrStorage,
    control: Control,
    received: Option<Received>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let slot = || Slot {
            bytes: vec![0; DATAGRAM_BYTES_MAX].into(),
            remote: SockAddrStorage::zeroed(),
            control: Control::new(),
            received: None,
        };
        Self { slots: std::iter::repeat_with(slot).take(BATCH).collect() }
    }

    /// Receives up to [`BATCH`] datagrams, or `WouldBlock`.
    pub(super) fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
        let mut headers = [libc::mmsghdr { msg_hdr: empty_header(), msg_len: 0 }; BATCH];
        for ((slot, vector), header) in self.slots.iter_mut().zip(&mut vectors).zip(&mut headers) {
            vector.iov_base = slot.bytes.as_mut_ptr().cast();
            vector.iov_len = slot.bytes.len();
            let header = &mut header.msg_hdr;
            header.msg_namelen = slot.remote.size_of();
            header.msg_name = (&raw mut slot.remote).cast();
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut slot.control).cast();
            header.msg_controllen = CONTROL_BYTES as _;
        }
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: every pointer in the headers is to a slot or to one vector of this stack, which
        // outlive the call and to which nothing else refers, with its true size.
        let count = unsafe {
            let (headers, none) = (headers.as_mut_ptr(), ptr::null_mut());
            libc::recvmmsg(socket.as_raw_fd(), headers, BATCH as libc::c_uint, flags as _, none)
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (slot, header) in self.slots.iter_mut().zip(&headers).take(count) {
            let remote = mem::replace(&mut slot.remote, SockAddrStorage::zeroed());
            // SAFETY: the kernel has written an address of `msg_namelen` bytes to `remote`.
            let remote = unsafe { SockAddr::new(remote, header.msg_hdr.msg_namelen) };
            slot.received = remote.as_socket().map(|remote| {
                let length = header.msg_len as usize;
                let mut received = Received { length, remote, local: None, dropped: 0 };
                read_control(&header.msg_hdr, &mut received);
                received
            });
        }
        Ok(count)
    }

    /// The datagram at a place of the last batch.
    pub(super) fn get(&self, at: usize) -> Option<(&[u8], Received)> {
        let slot = self.slots.get(at)?;
        let received = slot.received?;
        Some((slot.bytes.get(..received.length)?, received))
    }
}

fn read_control(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: `header` is as recvmmsg left it, and its control buffer is alive and aligned; each
    // payload is read unaligned, as the type that the kernel documents for its level and kind.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = next.as_ref() {
            let payload = libc::CMSG_DATA(message);
            match (message.cmsg_level, message.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(payload.cast());
                    let address = Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr));
                    received.local = Some(address.into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(payload.cast());
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    // What was sent to a group cannot be answered from it.
                    received.local = (!address.is_multicast()).then_some(address.into());
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    received.dropped = ptr::read_unaligned(payload.cast());
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, message);
        }
    }
}

/// Sends one datagram from `local`, or from where the kernel likes if that is unspecified. What
/// has become of an earlier one may be told in place of sending, so that a refusal is tried again.
pub(super) fn send(
    socket: &impl AsRawFd,
    bytes: &[u8],
    local: IpAddr,
    remote: SocketAddr,
) -> io::Result<()> {
    let mut sent = send_once(socket, bytes, local, remote);
    for _ in 1..SEND_ATTEMPTS {
        match &sent {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                sent = send_once(socket, bytes, local, remote);
            }
            Ok(()) | Err(_) => break,
        }
    }
    sent
}

fn send_once(
    socket: &impl AsRawFd,
    bytes: &[u8],
    local: IpAddr,
    remote: SocketAddr,
) -> io::Result<()> {
    let remote = SockAddr::from(remote);
    let mut control = Control::new();
    let mut vector =
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut header = empty_header();
    header.msg_name = remote.as_ptr().cast_mut().cast();
    header.msg_namelen = remote.len();
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    if !local.is_unspecified() {
        header.msg_control = (&raw mut control).cast();
        write_control(&mut header, local);
    }
    // SAFETY: every pointer in `header` is to a value that outlives the call, with its true size;
    // sendmsg writes to none of them.
    let sent = unsafe {
        libc::sendmsg(
            socket.as_raw_fd(),
            &raw const header,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map(|_| ()).map_err(|_| io::Error::last_os_error())
}

fn write_control(header: &mut libc::msghdr, local: IpAddr) {
    match local {
        IpAddr::V4(local) => {
            let spec_dst = libc::in_addr { s_addr: local.to_bits().to_be() };
            let none = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec_dst, ipi_addr: none };
            write_control_message(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        IpAddr::V6(local) => {
            let address = libc::in6_addr { s6_addr: local.octets() };
            let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: 0 };
            write_control_message(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
}

/// Writes the one control message of `header`, whose control buffer is a [`Control`].
fn write_control_message<T>(
    header: &mut libc::msghdr,
    level: libc::c_int,
    kind: libc::c_int,
    payload: T,
) {
    const { assert!(mem::size_of::<T>() + 2 * mem::size_of::<libc::cmsghdr>() <= CONTROL_BYTES) };
    let size = mem::size_of::<T>() as libc::c_uint;
    // SAFETY: the control buffer has CONTROL_BYTES bytes, aligned for a cmsghdr, enough for this
    // one message by the assertion above.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size) as _;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        (*message).cmsg_len = libc::CMSG_LEN(size) as _;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast(), payload);
    }
}

pub(super) fn empty_header() -> libc::msghdr {
    // SAFETY: a msghdr of zeros is one with no name, no buffers and no control.
    unsafe { mem::zeroed() }
}

pub(super) fn set_option(
    socket: RawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads one c_int at the pointer, during the call only.
    let result = unsafe {
        libc::setsockopt(
            socket,
            level,
            name,
            (&raw const value).cast(),
            mem::size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for control messages, aligned as the kernel writes them.
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

impl Control {
    pub(super) fn new() -> Self {
        Self([0; CONTROL_BYTES])
    }
}

/// An address of IPv6 and a drop count need 64, with an error 104.
pub(super) const CONTROL_BYTES: usize = 128;
/// How often a datagram is offered to a kernel that refuses it.
const SEND_ATTEMPTS: u32 = 4;
/// No UDP payload is longer.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Datagrams received by one call.
pub(super) const BATCH: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_wildcard_socket_learns_and_chooses_its_address() {
        for (wildcard, ours) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1")] {
            let socket = UdpSocket::bind(wildcard).unwrap();
            prepare(&socket, wildcard.starts_with('[')).unwrap();
            let ours: IpAddr = ours.parse().unwrap();
            let at = SocketAddr::new(ours, socket.local_addr().unwrap().port());
            let peer = UdpSocket::bind(SocketAddr::new(ours, 0)).unwrap();
            peer.send_to(b"ping", at).unwrap();
            peer.send_to(b"again", at).unwrap();
            // Loopback delivers before send_to returns.
            let mut batch = Batch::new();
            assert_eq!(batch.receive(&socket).unwrap(), 2);
            assert_eq!(batch.get(1).unwrap().0, b"again");
            let (bytes, received) = batch.get(0).unwrap();
            assert_eq!(bytes, b"ping");
            assert_eq!(received.local, Some(ours));
            assert_eq!(received.remote, peer.local_addr().unwrap());
            let mut buffer = [0; 16];
            send(&socket, b"pong", ours, received.remote).unwrap();
            assert_eq!(peer.recv_from(&mut buffer).unwrap(), (4, at));
        }
    }

    #[test]
    fn an_empty_socket_would_block() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = Batch::new().receive(&socket).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
