//! A UDP socket for SIP that is read and written many messages at a time.

use std::net::{SocketAddr, UdpSocket};

use bytes::Bytes;
use transport::{Flow, FlowId, Framing, Limits, Message, TransportKind};

use crate::error::Error;
use crate::net::{self, BATCH, Batch, Outbox};

/// A message that has come.
pub(crate) struct Received {
    pub message: Message,
    pub from: SocketAddr,
    /// When, in nanoseconds of the wall clock.
    pub arrived_ns: u64,
}

/// Our end of a flow to a server.
pub(crate) struct SipSocket {
    socket: UdpSocket,
    flow: Flow,
    batch: Batch,
    outbox: Outbox,
    limits: Limits,
}

impl SipSocket {
    /// Opens a socket at the address from which the server is reached.
    pub fn open(server: SocketAddr) -> Result<SipSocket, Error> {
        let any = SocketAddr::new(server.ip(), 0);
        let socket = net::open(local_for(server).unwrap_or(any), RECEIVE_BYTES)
            .map_err(Error::io("opening a SIP socket"))?;
        let local = socket.local_addr().map_err(Error::io("opening a SIP socket"))?;
        Ok(SipSocket {
            socket,
            flow: Flow { id: FlowId(0), kind: TransportKind::Udp, local, remote: server },
            batch: Batch::new(),
            outbox: Outbox::new(),
            limits: Limits::default(),
        })
    }

    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The messages that have come. What is no message, such as a keep-alive, is left out.
    pub fn read(&mut self) -> Vec<Received> {
        let mut messages = Vec::new();
        loop {
            // Connection refused is an ICMP message about an earlier datagram: the timers see to it.
            let count = self.batch.receive(&self.socket).unwrap_or(0);
            for datagram in self.batch.datagrams(count) {
                let bytes = Bytes::copy_from_slice(datagram.bytes);
                let (from, arrived_ns) = (datagram.from, datagram.arrived_ns);
                if let (Ok(message), Some(from)) =
                    (Message::parse(bytes, Framing::Datagram, &self.limits), from)
                {
                    messages.push(Received { message, from, arrived_ns });
                }
            }
            if count < BATCH {
                return messages;
            }
        }
    }

    /// Sends with the next [`SipSocket::flush`].
    pub fn send(&mut self, bytes: Bytes) {
        self.send_to(bytes, self.flow.remote);
    }

    /// As [`SipSocket::send`], to someone else than the server.
    pub fn send_to(&mut self, bytes: Bytes, to: SocketAddr) {
        self.outbox.push(bytes, to);
    }

    pub fn flush(&mut self) -> Result<(), Error> {
        self.outbox.flush(&self.socket).map_err(Error::io("sending SIP"))
    }
}

/// The address the system would send from, which a server on another machine must see in SDP.
fn local_for(server: SocketAddr) -> Option<SocketAddr> {
    let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().ok()?;
    let probe = UdpSocket::bind(any).ok()?;
    probe.connect(server).ok()?;
    Some(SocketAddr::new(probe.local_addr().ok()?.ip(), 0))
}

const RECEIVE_BYTES: usize = 4 << 20;
