//! How a shard comes to run: its sockets, then its thread.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, mpsc::sync_channel},
    thread::JoinHandle,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use rand::RngExt;
use socket2::Socket;

use super::{
    control::ShardLink,
    outbox::Outbox,
    plane::{MediaConfig, StartError},
    ports::bind,
    ring::{RingReceiver, RingSender, ring},
    sys::Waker,
    thread::ShardThread,
};
use crate::{
    dtls::Configs,
    shard::{Shard, ShardConfig},
};

/// A shard as the plane sees it.
#[derive(Debug)]
pub(super) struct ShardOutside {
    pub link: Arc<ShardLink>,
    /// Where its WebRTC legs are reached, one for each configured address.
    pub shared: Vec<SocketAddr>,
}

/// A shard that has its sockets and no thread yet.
pub(super) struct Starting {
    number: u16,
    sockets: Vec<Socket>,
    pub shared: Vec<SocketAddr>,
    waker: Arc<Waker>,
    pub ring_sender: RingSender,
    ring_receiver: RingReceiver,
}

impl Starting {
    /// Binds the sockets of the shard of this number.
    ///
    /// # Errors
    /// The system refuses a socket, or there is no port of this number.
    pub fn new(number: u16, config: &MediaConfig) -> Result<Self, StartError> {
        let port = match config.webrtc_port {
            0 => 0,
            first => first.checked_add(number).ok_or(StartError::Shards(config.shards))?,
        };
        let mut sockets = Vec::new();
        let mut shared = Vec::new();
        for ip in &config.addresses {
            let address = SocketAddr::new(*ip, port);
            let (socket, bound) = bind_shared(address, config.socket_buffer_bytes)
                .map_err(|source| StartError::Bind { address, source })?;
            sockets.push(socket);
            shared.push(bound);
        }
        let waker = Arc::new(Waker::new().map_err(StartError::Thread)?);
        let packets_max = if config.shards > 1 { config.ring_packets_max } else { 1 };
        let (ring_sender, ring_receiver) = ring(packets_max, Arc::clone(&waker));
        Ok(Self { number, sockets, shared, waker, ring_sender, ring_receiver })
    }

    /// Starts the thread; `senders` are the rings of all shards.
    ///
    /// # Errors
    /// The system refuses a thread or what it waits with.
    pub fn start(
        self,
        config: &MediaConfig,
        configs: &Configs,
        senders: &[RingSender],
    ) -> Result<(ShardOutside, JoinHandle<()>), StartError> {
        let (epoch, ntp_epoch) = (Instant::now(), ntp_now());
        let shard_config = ShardConfig {
            opus_complexity: config.opus_complexity,
            ..ShardConfig::new(self.number, configs.clone(), epoch, ntp_epoch)
        };
        let shard = Shard::new(shard_config, rand::rng().random());
        let (queue_sender, queue) = sync_channel(config.commands_max.max(1));
        let link = Arc::new(ShardLink::new(queue_sender, self.waker, shard.live_counters()));
        let rings = senders.iter().zip(0..);
        let rings = rings.map(|(ring, to)| (to != self.number).then(|| ring.clone())).collect();
        let outbox = Outbox::new(self.sockets, rings, shard.live_counters());
        let outside = ShardOutside { link: Arc::clone(&link), shared: self.shared };
        let thread = ShardThread::new(shard, link, queue, self.ring_receiver, outbox)
            .map_err(StartError::Thread)?;
        let builder = std::thread::Builder::new().name(format!("media-{}", self.number));
        let handle = builder.spawn(move || thread.run()).map_err(StartError::Thread)?;
        Ok((outside, handle))
    }
}

fn bind_shared(address: SocketAddr, buffer_bytes: usize) -> io::Result<(Socket, SocketAddr)> {
    let socket = bind(address.ip(), address.port())?;
    // The system gives as much as it is set up to; that is no reason not to start.
    let _ = socket.set_recv_buffer_size(buffer_bytes);
    let _ = socket.set_send_buffer_size(buffer_bytes);
    let bound = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, bound))
}

/// NTP time: seconds since 1900 and a fraction of 32 bits (RFC 5905 §6).
fn ntp_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + NTP_UNIX_SECONDS) << 32).wrapping_add(fraction)
}

/// From 1900 to 1970.
const NTP_UNIX_SECONDS: u64 = 2_208_988_800;
