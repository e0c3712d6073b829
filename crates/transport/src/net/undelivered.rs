//! What the network says of datagrams of ours that it could not deliver (RFC 3261 §18.4).
#![allow(unsafe_code, reason = "recvmsg with MSG_ERRQUEUE has no safe interface")]

use std::{io, mem, net::SocketAddr, os::fd::AsRawFd, ptr};

use socket2::{SockAddr, SockAddrStorage};

use super::datagram::{CONTROL_BYTES, Control, empty_header, set_option};

/// A datagram of ours that did not arrive, as its ICMP error tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undelivered<'a> {
    /// Where it was sent.
    pub(super) remote: SocketAddr,
    /// Its beginning, or as much of that as was quoted: maybe nothing.
    pub(super) quote: &'a [u8],
}

/// Asks the kernel for the ICMP errors of a socket, which an unconnected one does not hear of
/// otherwise. Each of them then also fails one call that sends or receives, in place of what that
/// was for.
pub(super) fn prepare(socket: &impl AsRawFd, is_ipv6: bool) -> io::Result<()> {
    let (level, option) = match is_ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        false => (libc::IPPROTO_IP, libc::IP_RECVERR),
    };
    set_option(socket.as_raw_fd(), level, option, 1)
}

/// The buffer that the errors of a socket are read into, one after the other.
pub(super) struct Errors {
    quote: Box<[u8]>,
    control: Control,
}

impl Errors {
    pub(super) fn new() -> Self {
        Self { quote: vec![0; QUOTE_BYTES_MAX].into(), control: Control::new() }
    }

    /// The next error, or `WouldBlock`; `None` is one that does not say that nobody is there.
    pub(super) fn next(&mut self, socket: &impl AsRawFd) -> io::Result<Option<Undelivered<'_>>> {
        let mut remote = SockAddrStorage::zeroed();
        let mut vector =
            libc::iovec { iov_base: self.quote.as_mut_ptr().cast(), iov_len: self.quote.len() };
        let mut header = empty_header();
        header.msg_namelen = remote.size_of();
        header.msg_name = (&raw mut remote).cast();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut self.control).cast();
        header.msg_controllen = CONTROL_BYTES as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: every pointer in `header` is to a value of this stack or of `self`, which outlive
        // the call and to which nothing else refers, with its true size.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        if header.msg_namelen == 0 || !says_nobody_is_there(&header) {
            return Ok(None);
        }
        // SAFETY: the kernel has written an address of `msg_namelen` bytes to `remote`.
        let remote = unsafe { SockAddr::new(remote, header.msg_namelen) };
        let quote = self.quote.get(..length).unwrap_or_default();
        Ok(remote.as_socket().map(|remote| Undelivered { remote, quote }))
    }
}

fn says_nobody_is_there(header: &libc::msghdr) -> bool {
    // SAFETY: `header` is as recvmsg left it, and its control buffer is alive and aligned; the
    // payload is read unaligned, as the type that the kernel documents for its level and kind.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = next.as_ref() {
            let kind = (message.cmsg_level, message.cmsg_type);
            if matches!(
                kind,
                (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
            ) {
                let error: libc::sock_extended_err =
                    ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                return is_final(error.ee_origin, error.ee_type, error.ee_code);
            }
            next = libc::CMSG_NXTHDR(header, message);
        }
    }
    false
}

/// RFC 3261 §18.4: unreachable hosts, networks, ports and protocols count, and parameter problems;
/// what was too long or went too far does not, since the next one may arrive.
fn is_final(origin: u8, kind: u8, code: u8) -> bool {
    match (origin, kind, code) {
        // RFC 1191 §4: the kernel sends shorter fragments from then on.
        (libc::SO_EE_ORIGIN_ICMP, UNREACHABLE, FRAGMENTATION_NEEDED) => false,
        (libc::SO_EE_ORIGIN_ICMP, UNREACHABLE | PARAMETER_PROBLEM, _) => true,
        (libc::SO_EE_ORIGIN_ICMP6, UNREACHABLE_6 | PARAMETER_PROBLEM_6, _) => true,
        _ => false,
    }
}

/// What an ICMP error quotes is shorter as a rule (RFC 1812 §4.3.2.3, RFC 4443 §2.4).
const QUOTE_BYTES_MAX: usize = 1_280;
// RFC 792.
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PARAMETER_PROBLEM: u8 = 12;
// RFC 4443 §3.1 and §3.4.
const UNREACHABLE_6: u8 = 1;
const PARAMETER_PROBLEM_6: u8 = 4;

const _: () = assert!(
    mem::size_of::<libc::sock_extended_err>() + mem::size_of::<libc::sockaddr_in6>() + 64
        <= CONTROL_BYTES,
    "the error, who sent it, and the address of ours that it concerns fit"
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::net::UdpSocket;

    use super::super::datagram::{self, Batch};
    use super::*;

    /// A socket that hears of errors, and the address of one that is gone.
    fn lonely(host: &str) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        prepare(&socket, host.contains(':')).unwrap();
        let gone = UdpSocket::bind((host, 0)).unwrap().local_addr().unwrap();
        (socket, gone)
    }

    #[test]
    fn rfc3261_18_4_a_closed_port_is_told_with_what_was_sent_there() {
        for host in ["127.0.0.1", "::1"] {
            let (socket, gone) = lonely(host);
            let mut errors = Errors::new();
            let nothing = errors.next(&socket).unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
            socket.send_to(b"anybody there?", gone).unwrap();
            // Loopback answers before send_to returns.
            let told = errors.next(&socket).unwrap();
            assert_eq!(told, Some(Undelivered { remote: gone, quote: b"anybody there?" }));
            assert!(errors.next(&socket).is_err());
        }
    }

    #[test]
    fn an_error_of_an_earlier_datagram_costs_no_later_one() {
        for host in ["127.0.0.1", "::1"] {
            let (socket, gone) = lonely(host);
            let peer = UdpSocket::bind((host, 0)).unwrap();
            let remote = peer.local_addr().unwrap();
            let mut buffer = [0; 16];
            for _ in 0..20 {
                datagram::send(&socket, b"lost", gone.ip(), gone).unwrap();
                datagram::send(&socket, b"found", remote.ip(), remote).unwrap();
                assert_eq!(peer.recv(&mut buffer).unwrap(), 5);
            }
            socket.send_to(b"lost", gone).unwrap();
            peer.send_to(b"back", socket.local_addr().unwrap()).unwrap();
            let mut batch = Batch::new();
            assert!(batch.receive(&socket).is_err(), "the error is told in place of the datagram");
            assert_eq!(batch.receive(&socket).unwrap(), 1);
        }
    }

    #[test]
    fn rfc3261_18_4_what_was_too_long_or_went_too_far_may_arrive_the_next_time() {
        let [icmp, icmp6] = [libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6];
        let rows = [
            (icmp, 3, 0, true),
            (icmp, 3, 1, true),
            (icmp, 3, 2, true),
            (icmp, 3, 3, true),
            (icmp, 3, 4, false),
            (icmp, 4, 0, false),
            (icmp, 11, 0, false),
            (icmp, 12, 0, true),
            (icmp6, 1, 4, true),
            (icmp6, 2, 0, false),
            (icmp6, 3, 0, false),
            (icmp6, 4, 1, true),
            (libc::SO_EE_ORIGIN_LOCAL, 0, 0, false),
        ];
        for (origin, kind, code, expected) in rows {
            assert_eq!(is_final(origin, kind, code), expected, "{origin} {kind} {code}");
        }
    }
}
