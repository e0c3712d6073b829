//! SIP in datagrams: one socket per listener.
//!
//! The kernel's receive queue is the only queue inbound: while the consumer is busy nothing is
//! read, and what the kernel then drops is counted.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket},
    sync::{Arc, atomic::AtomicU32, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::Instant;
use tokio::{
    io::{Interest, Ready, unix::AsyncFd},
    sync::mpsc,
};
use tracing::debug;

use super::{
    DropReason, Inner, NetEvent, SendError,
    counters::Kind,
    datagram::{self, BATCH, Batch},
    undelivered::{self, Errors},
};
use crate::{
    Flow, FlowId, Framing, Message, TransportKind,
    framing::is_keep_alive,
    stun::{binding_response, is_stun},
};

/// One bound UDP socket.
#[derive(Debug)]
pub(super) struct UdpListener {
    pub(super) id: FlowId,
    pub(super) bound: SocketAddr,
    inner: Arc<Inner>,
    /// Watched for what comes, errors included: whoever asks when there is room to send is told so
    /// after each datagram sent.
    socket: AsyncFd<Socket>,
    queue: mpsc::Sender<(Bytes, Flow)>,
    dropped: AtomicU32,
}

/// Binds a socket and starts the tasks that serve it.
pub(super) fn listen(inner: &Arc<Inner>, address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = bind(address, inner.config.udp_receive_buffer_bytes)?;
    let bound = local_address(&socket)?;
    let (sender, queue) = mpsc::channel(inner.config.queue_messages_max);
    let listener = Arc::new(UdpListener {
        id: inner.next_id(),
        bound,
        inner: inner.clone(),
        socket: datagram::watch(socket, ARRIVALS)?,
        queue: sender,
        dropped: AtomicU32::new(0),
    });
    inner.add_udp(&listener);
    tokio::spawn(receive_until_stopped(listener.clone()));
    tokio::spawn(send_until_stopped(listener, queue));
    Ok(bound)
}

fn bind(address: SocketAddr, receive_buffer_bytes: usize) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    datagram::raise_receive_buffer(&socket, receive_buffer_bytes)?;
    datagram::prepare(&socket, address.is_ipv6())?;
    undelivered::prepare(&socket, address.is_ipv6())?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

impl UdpListener {
    /// Sends at once, or queues if the kernel's queue is full.
    pub(super) fn send(&self, flow: &Flow, bytes: Bytes) -> Result<(), SendError> {
        match datagram::send(&self.socket, &bytes, flow.local.ip(), flow.remote) {
            Ok(()) => {
                self.counters().message_out(bytes.len());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.queue.try_send((bytes, *flow)).map_err(|_| {
                    self.counters().dropped(DropReason::QueueFull, 1);
                    SendError::QueueFull
                })
            }
            Err(error) => Err(self.refused(&error)),
        }
    }

    /// Waits for room in the kernel's queue.
    async fn send_when_possible(&self, bytes: &[u8], flow: &Flow) -> io::Result<()> {
        let socket = self.socket.get_ref().try_clone()?;
        let socket = datagram::watch(socket, Interest::WRITABLE)?;
        let send = |socket: &Socket| datagram::send(socket, bytes, flow.local.ip(), flow.remote);
        socket.async_io(Interest::WRITABLE, send).await
    }

    fn refused(&self, error: &io::Error) -> SendError {
        self.counters().dropped(DropReason::SendFailed, 1);
        debug!(listener = %self.bound, %error, "datagram refused");
        SendError::Refused(error.kind())
    }

    /// The flow to a peer that has not written to us yet.
    pub(super) fn flow_to(&self, remote: SocketAddr) -> io::Result<Flow> {
        let ip =
            if self.bound.ip().is_unspecified() { route_source(remote)? } else { self.bound.ip() };
        Ok(self.flow(Some(ip), remote))
    }

    fn flow(&self, local: Option<IpAddr>, remote: SocketAddr) -> Flow {
        let mut address = self.bound;
        if let (true, Some(local)) = (address.ip().is_unspecified(), local) {
            address.set_ip(local);
        }
        Flow { id: self.id, kind: TransportKind::Udp, local: address, remote }
    }

    /// Waits for datagrams and errors; returns how many datagrams came, maybe none.
    async fn receive(
        &self,
        batch: &mut Batch,
        undeliverable: &mut Undeliverable,
    ) -> io::Result<usize> {
        let mut ready = self.socket.ready(ARRIVALS).await?;
        if ready.ready().is_error() && self.report_errors(undeliverable) {
            ready.clear_ready_matching(Ready::ERROR);
        }
        let received = match batch.receive(&self.socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        };
        // A batch with room left has emptied the socket, which need not be asked to say so.
        if received.as_ref().is_ok_and(|count| *count < BATCH) {
            ready.clear_ready_matching(Ready::READABLE);
        }
        received
    }

    /// Reports the errors that wait, a bounded number at a time; whether they were all.
    fn report_errors(&self, undeliverable: &mut Undeliverable) -> bool {
        for _ in 0..BATCH {
            let undelivered = match undeliverable.errors.next(&self.socket) {
                Ok(Some(undelivered)) => undelivered,
                Ok(None) => continue,
                Err(_) => return true,
            };
            self.counters().dropped(DropReason::Undelivered, 1);
            if undeliverable.reports.is_allowed(Instant::now()) {
                let quote = Bytes::copy_from_slice(undelivered.quote);
                let remote = undelivered.remote;
                // Where nobody has the time for it, the transaction runs into its timeout.
                let _ = self.inner.events.try_send(NetEvent::Undelivered {
                    socket: self.id,
                    remote,
                    quote,
                });
            }
        }
        false
    }

    /// Takes one datagram; false when the consumer is gone.
    async fn take(
        &self,
        datagram: &[u8],
        received: datagram::Received,
        bindings: &mut PerSecond,
    ) -> bool {
        self.count_kernel_drops(received.dropped);
        // Phones keep a binding of a NAT alive with line ends or zeros; an answer is not expected.
        if is_keep_alive(datagram) {
            self.counters().keep_alive_in();
            return true;
        }
        let flow = self.flow(received.local, received.remote);
        if is_stun(datagram)
            && let Some(response) = binding_response(datagram, flow.remote)
        {
            self.counters().keep_alive_in();
            if bindings.is_allowed(Instant::now()) {
                // Whoever gets no answer asks again.
                let _ = datagram::send(&self.socket, &response, flow.local.ip(), flow.remote);
            }
            return true;
        }
        let bytes = Bytes::copy_from_slice(datagram);
        let event = match Message::parse(bytes, Framing::Datagram, &self.inner.config.limits) {
            Ok(message) => {
                self.counters().message_in(datagram.len());
                NetEvent::Message { flow, message }
            }
            Err(error) => {
                self.counters().unparsable();
                NetEvent::Unparsable { flow, error, is_last: false }
            }
        };
        self.inner.events.send(event).await.is_ok()
    }

    fn count_kernel_drops(&self, dropped: u32) {
        let before = self.dropped.swap(dropped, Ordering::Relaxed);
        // The kernel's count is attached only once it is not zero.
        if dropped != 0 {
            let count = u64::from(dropped.wrapping_sub(before));
            self.counters().dropped(DropReason::ReceiveBuffer, count);
        }
    }

    fn counters(&self) -> &Kind {
        self.inner.counters.of(TransportKind::Udp)
    }
}

/// What is needed to report datagrams that were not delivered.
struct Undeliverable {
    errors: Errors,
    reports: PerSecond,
}

/// How often something was done in the current second.
struct PerSecond {
    second: Instant,
    count: u32,
    count_max: u32,
}

impl PerSecond {
    fn at_most(count_max: u32) -> PerSecond {
        PerSecond { second: Instant::now(), count: 0, count_max }
    }

    fn is_allowed(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.count) = (now, 0);
        }
        self.count += 1;
        self.count <= self.count_max
    }
}

async fn receive_until_stopped(listener: Arc<UdpListener>) {
    let mut stop = listener.inner.stopped();
    let receive = async {
        // Answers are a little longer than requests: they are bounded, in case senders are forged.
        let (mut batch, mut bindings) = (Batch::new(), PerSecond::at_most(BINDINGS_PER_SECOND_MAX));
        let reports = PerSecond::at_most(UNDELIVERED_PER_SECOND_MAX);
        let mut undeliverable = Undeliverable { errors: Errors::new(), reports };
        let mut failures = 0;
        loop {
            match listener.receive(&mut batch, &mut undeliverable).await {
                Ok(count) => {
                    failures = 0;
                    for (datagram, received) in (0..count).filter_map(|at| batch.get(at)) {
                        if !listener.take(datagram, received, &mut bindings).await {
                            return;
                        }
                    }
                }
                Err(error) => {
                    debug!(listener = %listener.bound, %error, "receive failed");
                    failures += 1;
                    // The first ones tell of what was sent before.
                    if failures > FAILURES_IN_A_ROW_MAX {
                        tokio::time::sleep(ERROR_PAUSE).await;
                    }
                }
            }
        }
    };
    tokio::select! {
        // An error says that the network itself is gone.
        _ = stop.wait_for(|stop| *stop) => {}
        () = receive => {}
    }
}

async fn send_until_stopped(listener: Arc<UdpListener>, mut queue: mpsc::Receiver<(Bytes, Flow)>) {
    let mut stop = listener.inner.stopped();
    let send = async {
        while let Some((bytes, flow)) = queue.recv().await {
            match listener.send_when_possible(&bytes, &flow).await {
                Ok(()) => listener.counters().message_out(bytes.len()),
                Err(error) => {
                    listener.refused(&error);
                }
            }
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = send => {}
    }
}

/// The address from which the kernel would send to a peer.
pub(super) fn route_source(remote: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = StdSocket::bind((any, 0))?;
    // Connecting a datagram socket sends nothing.
    probe.connect(remote)?;
    Ok(probe.local_addr()?.ip())
}

const ARRIVALS: Interest = Interest::READABLE.add(Interest::ERROR);
/// As many phones as keep a flow by a request every half minute, thirty thousand, and a third more.
const BINDINGS_PER_SECOND_MAX: u32 = 1_300;
/// As many calls to phones that are gone as are made while others are served.
const UNDELIVERED_PER_SECOND_MAX: u32 = 500;
/// Refusals to receive after which the kernel is left alone for a while.
const FAILURES_IN_A_ROW_MAX: u32 = 16;
/// Between attempts while the kernel refuses to receive.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_binding_requests_is_answered_in_part() {
        let mut bindings = PerSecond::at_most(BINDINGS_PER_SECOND_MAX);
        let now = bindings.second;
        for second in 0..3 {
            let now = now + Duration::from_secs(second);
            let answered = (0..5_000).filter(|_| bindings.is_allowed(now)).count();
            assert_eq!(answered, BINDINGS_PER_SECOND_MAX as usize);
        }
    }
}
