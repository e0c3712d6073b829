//! A second socket on the port of a leg's RTP, connected to where its media goes.
//!
//! Sending on a connected socket spares the kernel the search for a route and an identifier for
//! each packet. The first socket stays unconnected, so that what other addresses send to the port
//! is still seen: a peer that moved, or a stranger who is counted.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The connected socket of a leg, once media has gone to one address for a while.
#[derive(Debug, Default)]
pub(super) struct Steady {
    to: Option<SocketAddr>,
    sent: u16,
    socket: Option<Socket>,
}

/// What to send a packet on.
pub(super) enum Choice<'a> {
    /// The leg's own socket.
    Own,
    /// The connected one.
    Connected(&'a Socket),
    /// The connected one, which is new: what it receives must be read.
    Fresh(&'a Socket),
}

impl Steady {
    /// Chooses for a packet that goes `to` an address; `own` is the leg's own socket.
    pub(super) fn choose(&mut self, own: &Socket, to: SocketAddr) -> Choice<'_> {
        if self.to != Some(to) {
            *self = Self { to: Some(to), sent: 0, socket: None };
            return Choice::Own;
        }
        let is_fresh = self.socket.is_none();
        if is_fresh {
            self.sent = self.sent.saturating_add(1);
            if self.sent != STEADY_AFTER {
                return Choice::Own;
            }
            // Without a second socket the first one serves.
            self.socket = connect(own, to).ok();
        }
        match &self.socket {
            None => Choice::Own,
            Some(socket) if is_fresh => Choice::Fresh(socket),
            Some(socket) => Choice::Connected(socket),
        }
    }

    pub(super) fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// Gives the connected socket up; it is not tried again for this address.
    pub(super) fn give_up(&mut self) {
        self.socket = None;
    }
}

/// Others may bind the port only in the moment in which both sockets allow it.
fn connect(own: &Socket, to: SocketAddr) -> io::Result<Socket> {
    let local = own.local_addr()?;
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    if to.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    own.set_reuse_address(true)?;
    let bound = socket.bind(&local).and_then(|()| socket.connect(&SockAddr::from(to)));
    own.set_reuse_address(false)?;
    socket.set_reuse_address(false)?;
    bound.map(|()| socket)
}

/// Packets to one address before a socket is connected to it: half a second of media.
const STEADY_AFTER: u16 = 25;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

    use super::*;
    use crate::net::ports::bind;

    fn steady(own: &Socket, to: SocketAddr) -> Steady {
        let mut steady = Steady::default();
        for _ in 0..STEADY_AFTER {
            assert!(matches!(steady.choose(own, to), Choice::Own));
        }
        assert!(matches!(steady.choose(own, to), Choice::Fresh(_)));
        assert!(matches!(steady.choose(own, to), Choice::Connected(_)));
        steady
    }

    #[test]
    fn the_peer_is_heard_on_the_connected_socket_and_others_on_the_own_one() {
        for host in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let own = bind(host, 0).unwrap();
            let port = own.local_addr().unwrap();
            let (peer, other) = (UdpSocket::bind((host, 0)), UdpSocket::bind((host, 0)));
            let (peer, other) = (peer.unwrap(), other.unwrap());
            let steady = steady(&own, peer.local_addr().unwrap());
            let local = port.as_socket().unwrap();
            peer.send_to(b"peer", local).unwrap();
            other.send_to(b"other", local).unwrap();
            let own: UdpSocket = own.into();
            let mut buffer = [0; 16];
            let mut take = |socket: &UdpSocket| {
                socket.set_nonblocking(false).unwrap();
                let length = socket.recv(&mut buffer).unwrap();
                buffer[..length].to_vec()
            };
            assert_eq!(take(&own), b"other");
            let connected: UdpSocket = steady.socket().unwrap().try_clone().unwrap().into();
            assert_eq!(take(&connected), b"peer");
            connected.send(b"reply").unwrap();
            let (length, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&b"reply"[..], local));
        }
    }

    #[test]
    fn nobody_else_gets_the_port() {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let own = bind(host, 0).unwrap();
        let peer = UdpSocket::bind((host, 0)).unwrap();
        let _steady = steady(&own, peer.local_addr().unwrap());
        let thief = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        thief.set_reuse_address(true).unwrap();
        let error = thief.bind(&own.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn another_address_begins_anew() {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let own = bind(host, 0).unwrap();
        let mut steady = steady(&own, SocketAddr::new(host, 9));
        assert!(matches!(steady.choose(&own, SocketAddr::new(host, 10)), Choice::Own));
        assert!(steady.socket().is_none());
    }
}
