//! What the load generator asks of the kernel: readiness, datagrams with times, CPU clocks.

mod batch;
mod outbox;
mod poller;
mod system;

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

pub use batch::{BATCH, Batch, Datagram};
pub use outbox::Outbox;
pub use poller::Poller;
pub use system::{process_cpu, terminate, thread_cpu, wall_ns};

/// Opens a non-blocking socket whose datagrams carry the time at which the kernel saw them.
///
/// # Errors
/// What the operating system says, such as an address in use.
pub fn open(address: SocketAddr, receive_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(receive_bytes)?;
    socket.bind(&address.into())?;
    system::stamp_arrivals(&socket)?;
    Ok(socket.into())
}

/// Opens an even port for RTP and the odd one above it for RTCP (RFC 3550 §11).
///
/// # Errors
/// What the operating system says; `AddrInUse` when no pair was found in a bounded search.
pub fn open_pair(address: SocketAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    for _ in 0..ATTEMPTS {
        let first = open(SocketAddr::new(address.ip(), 0), MEDIA_RECEIVE_BYTES)?;
        let port = first.local_addr()?.port();
        let Some(other) = (if port % 2 == 0 { port.checked_add(1) } else { port.checked_sub(1) })
        else {
            continue;
        };
        let Ok(second) = open(SocketAddr::new(address.ip(), other), MEDIA_RECEIVE_BYTES) else {
            continue;
        };
        return Ok(if port % 2 == 0 { (first, second) } else { (second, first) });
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Tries to find a free pair of ports.
const ATTEMPTS: usize = 64;

/// Holds two seconds of a call; more would only hide a receiver that stands still.
const MEDIA_RECEIVE_BYTES: usize = 128 << 10;
