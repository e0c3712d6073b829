//! Where a shard's packets leave: at once by a leg's own socket, by the batch on a shared one.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsFd,
    sync::Arc,
};

use socket2::{SockAddr, Socket};

use super::{
    ports::PortPair,
    ring::RingSender,
    steady::Choice,
    sys::{BATCH, send_batch},
};
use crate::shard::{LegId, LegKey, LiveCounters, Media, PACKET_BYTES_MAX, Path, Transmits};

/// The sockets of a shard and the datagrams queued for them.
pub(super) struct Outbox {
    shared: Vec<Socket>,
    legs: Vec<Option<(LegKey, PortPair)>>,
    rings: Vec<Option<RingSender>>,
    buffers: Box<[[u8; PACKET_BYTES_MAX]]>,
    /// For each queued datagram its socket, where it goes and its length.
    queued: Vec<(u8, SockAddr, usize)>,
    /// Legs whose connected socket is not read yet.
    fresh: Vec<LegKey>,
    /// Room for a packet in one piece.
    whole: Box<[u8; PACKET_BYTES_MAX]>,
    counters: Arc<LiveCounters>,
}

fn pair_mut(legs: &mut [Option<(LegKey, PortPair)>], key: LegKey) -> Option<&mut PortPair> {
    let (known, pair) = legs.get_mut(key.index())?.as_mut()?;
    (*known == key).then_some(pair)
}

impl Outbox {
    /// `rings` has one entry per shard, none for this one.
    pub(super) fn new(
        shared: Vec<Socket>,
        rings: Vec<Option<RingSender>>,
        counters: Arc<LiveCounters>,
    ) -> Self {
        Self {
            shared,
            legs: Vec::new(),
            rings,
            buffers: vec![[0; PACKET_BYTES_MAX]; BATCH].into(),
            queued: Vec::with_capacity(BATCH),
            fresh: Vec::new(),
            whole: Box::new([0; PACKET_BYTES_MAX]),
            counters,
        }
    }

    pub(super) fn shared(&self) -> &[Socket] {
        &self.shared
    }

    /// Takes over the sockets of a plain leg.
    pub(super) fn add(&mut self, key: LegKey, pair: PortPair) {
        if self.legs.len() <= key.index() {
            self.legs.resize_with(key.index() + 1, || None);
        }
        self.legs[key.index()] = Some((key, pair));
    }

    /// Closes the sockets of a leg.
    pub(super) fn remove(&mut self, key: LegKey) {
        if let Some(entry) = self.legs.get_mut(key.index()) {
            entry.take_if(|(known, _)| *known == key);
        }
    }

    pub(super) fn pair(&self, key: LegKey) -> Option<&PortPair> {
        let (known, pair) = self.legs.get(key.index())?.as_ref()?;
        (*known == key).then_some(pair)
    }

    fn socket(&self, path: Path) -> Option<&Socket> {
        match path {
            Path::Shared(socket) => self.shared.get(usize::from(socket)),
            Path::Rtp(key) => self.pair(key).map(|pair| &pair.rtp),
            Path::Rtcp(key) => self.pair(key).map(|pair| &pair.rtcp),
        }
    }

    /// Sends on a leg's own sockets; `None` if it has none any more.
    fn send_own(
        &mut self,
        path: Path,
        to: SocketAddr,
        head: &[u8],
        payload: &[u8],
    ) -> Option<io::Result<usize>> {
        let Path::Rtp(key) = path else {
            return self.socket(path).map(|socket| socket.send_to(head, &SockAddr::from(to)));
        };
        let pair = pair_mut(&mut self.legs, key)?;
        let socket = match pair.steady.choose(&pair.rtp, to) {
            Choice::Own => {
                let parts = [IoSlice::new(head), IoSlice::new(payload)];
                return Some(pair.rtp.send_to_vectored(&parts, &SockAddr::from(to)));
            }
            Choice::Connected(socket) => socket,
            Choice::Fresh(socket) => {
                self.fresh.push(key);
                socket
            }
        };
        if payload.is_empty() {
            return Some(socket.send(head));
        }
        // One piece: a copy costs less than the headers of a message of two.
        let (start, rest) = self.whole.split_at_mut_checked(head.len())?;
        let end = rest.get_mut(..payload.len())?;
        start.copy_from_slice(head);
        end.copy_from_slice(payload);
        let len = head.len() + payload.len();
        Some(socket.send(&self.whole[..len]))
    }

    /// The legs that have got a connected socket since the last call.
    pub(super) fn take_fresh(&mut self) -> Option<LegKey> {
        self.fresh.pop()
    }

    pub(super) fn give_up_steady(&mut self, key: LegKey) {
        if let Some(pair) = pair_mut(&mut self.legs, key) {
            pair.steady.give_up();
        }
    }

    /// Sends what is queued. What the system refuses is dropped and counted: media that waits is
    /// worth nothing.
    pub(super) fn flush(&mut self) {
        let mut at = 0;
        while let Some((socket, ..)) = self.queued.get(at) {
            let shared = *socket;
            let rest = self.queued.iter().zip(&self.buffers).skip(at);
            let run = rest
                .take_while(|((socket, ..), _)| *socket == shared)
                .map(|((_, to, len), bytes)| (to, bytes.get(..*len).unwrap_or_default()));
            let sent = match self.shared.get(usize::from(shared)) {
                Some(socket) => send_batch(socket.as_fd(), run),
                None => Ok(0),
            };
            match sent {
                Ok(sent) if sent > 0 => at += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.counters.send_failures.add((self.queued.len() - at) as u64);
                    break;
                }
                Ok(_) | Err(_) => {
                    self.counters.send_failures.add(1);
                    at += 1;
                }
            }
        }
        self.queued.clear();
    }
}

impl Transmits for Outbox {
    fn send(&mut self, path: Path, to: SocketAddr, head: &[u8], payload: &[u8]) {
        if let Path::Shared(_) = path {
            // A copy costs a fraction of the system call that the batch saves.
            let buffer = self.buffer();
            let len = head.len() + payload.len();
            let Some((start, end)) = buffer.get_mut(..len).map(|b| b.split_at_mut(head.len()))
            else {
                return;
            };
            start.copy_from_slice(head);
            end.copy_from_slice(payload);
            return self.queue(path, to, len);
        }
        let Some(sent) = self.send_own(path, to, head, payload) else { return };
        if sent.is_err() {
            self.counters.send_failures.add(1);
        }
    }

    fn buffer(&mut self) -> &mut [u8] {
        let at = self.queued.len().min(BATCH - 1);
        &mut self.buffers[at]
    }

    fn queue(&mut self, path: Path, to: SocketAddr, len: usize) {
        let at = self.queued.len();
        match path {
            Path::Shared(socket) => {
                self.queued.push((socket, SockAddr::from(to), len));
                if self.queued.len() == BATCH {
                    self.flush();
                }
            }
            Path::Rtp(_) | Path::Rtcp(_) => {
                let buffers = std::mem::take(&mut self.buffers);
                let bytes = buffers.get(at).and_then(|bytes| bytes.get(..len));
                let sent = bytes.and_then(|bytes| self.send_own(path, to, bytes, &[]));
                self.buffers = buffers;
                if sent.is_none_or(|sent| sent.is_err()) {
                    self.counters.send_failures.add(1);
                }
            }
        }
    }

    fn forward(&mut self, peer: LegId, media: &Media<'_>) -> bool {
        let ring = self.rings.get(usize::from(peer.shard)).and_then(Option::as_ref);
        ring.is_some_and(|ring| ring.push(peer, media))
    }
}
