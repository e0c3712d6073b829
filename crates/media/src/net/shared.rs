//! The address that the WebRTC legs of a shard share: one socket receives, another one sends.
//!
//! When a packet has left, the system tells whoever watches its socket that there is room again,
//! asked for or not, and that costs a twentieth of sending it. So the socket that is watched for
//! what comes does not send.

use std::{io, net::SocketAddr, os::fd::AsFd};

use socket2::{SockAddr, Socket};

use super::{
    ports::{bind, bind_beside},
    sys::send_batch,
};

/// The sockets of one address.
#[derive(Debug)]
pub(super) struct Shared {
    receiving: Socket,
    /// Bound before the other, so that nothing comes to it. `None`: the system allows only one.
    sending: Option<Socket>,
}

impl Shared {
    /// Binds an address that nobody else may have; `buffer_bytes` are wanted of the system for each
    /// way.
    pub(super) fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<Self> {
        let first = bind(address.ip(), address.port())?;
        let shared = match bind_beside(&first) {
            Ok(second) => Self { receiving: second, sending: Some(first) },
            Err(_) => Self { receiving: first, sending: None },
        };
        // The system gives as much as it is set up to; that is no reason not to start.
        let _ = shared.receiving.set_recv_buffer_size(buffer_bytes);
        let _ = shared.sending().set_send_buffer_size(buffer_bytes);
        Ok(shared)
    }

    /// What it was bound to.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.receiving.local_addr().ok()?.as_socket()
    }

    /// What is to be watched and read.
    pub(super) fn receiving(&self) -> &Socket {
        &self.receiving
    }

    fn sending(&self) -> &Socket {
        self.sending.as_ref().unwrap_or(&self.receiving)
    }

    /// Sends datagrams; returns how many the system took.
    pub(super) fn send<'a>(
        &self,
        datagrams: impl Iterator<Item = (&'a SockAddr, &'a [u8])>,
    ) -> io::Result<usize> {
        send_batch(self.sending().as_fd(), datagrams)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

    use socket2::{Domain, Protocol, Type};

    use super::*;

    const HOSTS: [(IpAddr, IpAddr); 4] = [
        (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)),
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];

    #[test]
    fn one_socket_sends_and_the_other_receives_from_everybody() {
        for (bound, reached) in HOSTS {
            let shared = Shared::bind(SocketAddr::new(bound, 0), 1 << 16).unwrap();
            let ours = SocketAddr::new(reached, shared.address().unwrap().port());
            let sending = shared.sending.as_ref().unwrap();
            assert_eq!(sending.local_addr().unwrap(), shared.receiving.local_addr().unwrap());
            for sent in 0..100_u8 {
                let peer = UdpSocket::bind((reached, 0)).unwrap();
                let to = SockAddr::from(peer.local_addr().unwrap());
                assert_eq!(shared.send([(&to, &[sent][..])].into_iter()).unwrap(), 1);
                let mut buffer = [0; 4];
                assert_eq!(peer.recv_from(&mut buffer).unwrap(), (1, ours));
                peer.send_to(&buffer[..1], ours).unwrap();
                let mut received = &shared.receiving;
                let length = io::Read::read(&mut received, &mut buffer).unwrap();
                assert_eq!(&buffer[..length], &[sent]);
                let mut sending = sending;
                let error = io::Read::read(&mut sending, &mut buffer).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            }
        }
    }

    #[test]
    fn nobody_else_gets_the_address() {
        for (bound, _) in HOSTS {
            let shared = Shared::bind(SocketAddr::new(bound, 0), 1 << 16).unwrap();
            let address = shared.address().unwrap();
            let error = Shared::bind(address, 1 << 16).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            let thief = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
                .unwrap();
            thief.set_reuse_address(true).unwrap();
            let error = thief.bind(&address.into()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }
}
