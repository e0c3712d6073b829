//! Where a shard's packets leave: gathered, then one after the other.
//!
//! Packets are made by the batch and sent by the batch, so that the code of each of the two stays in
//! the processor's cache. A shared socket sends its batch with one system call.

use std::{io, net::SocketAddr, os::fd::AsFd, sync::Arc};

use socket2::{SockAddr, Socket};

use super::{
    ports::PortPair,
    ring::RingSender,
    steady::Choice,
    sys::{BATCH, send_batch, send_one},
};
use crate::{
    prefetch::prefetch,
    shard::{LegId, LegKey, LiveCounters, Media, PACKET_BYTES_MAX, Path, Transmits},
};

/// The sockets of a shard and the datagrams queued for them.
pub(super) struct Outbox {
    shared: Vec<Socket>,
    legs: Vec<Option<(LegKey, PortPair)>>,
    rings: Vec<Option<RingSender>>,
    buffers: Box<[[u8; PACKET_BYTES_MAX]]>,
    queued: Vec<Queued>,
    /// Room for the addresses of a batch as the system takes them.
    names: Vec<SockAddr>,
    /// Legs whose connected socket is not read yet.
    fresh: Vec<LegKey>,
    counters: Arc<LiveCounters>,
}

/// A datagram in the buffer of its place.
struct Queued {
    path: Path,
    to: SocketAddr,
    len: usize,
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
            names: Vec::with_capacity(BATCH),
            fresh: Vec::new(),
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

    /// Closes the sockets of a leg, once what is queued for them is sent.
    pub(super) fn remove(&mut self, key: LegKey) {
        self.flush();
        if let Some(entry) = self.legs.get_mut(key.index()) {
            entry.take_if(|(known, _)| *known == key);
        }
    }

    pub(super) fn pair(&self, key: LegKey) -> Option<&PortPair> {
        let (known, pair) = self.legs.get(key.index())?.as_ref()?;
        (*known == key).then_some(pair)
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
        while let Some(queued) = self.queued.get(at) {
            let path = queued.path;
            let sent = match path {
                Path::Shared(socket) => self.send_shared(at, socket),
                Path::Rtp(key) => self.send_rtp(at, key),
                Path::Rtcp(key) => self.send_rtcp(at, key),
            };
            match sent {
                Ok(sent) if sent > 0 => at += sent,
                // Of a shared socket, whose room is gone: the rest of its batch would fail, too.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && matches!(path, Path::Shared(_)) =>
                {
                    let run = self.run(at).count();
                    self.counters.send_failures.add(run as u64);
                    at += run;
                }
                Ok(_) | Err(_) => {
                    self.counters.send_failures.add(1);
                    at += 1;
                }
            }
        }
        self.queued.clear();
    }

    /// What is queued from a place on for one and the same path.
    fn run(&self, at: usize) -> impl Iterator<Item = (&Queued, &[u8])> {
        let path = self.queued.get(at).map(|queued| queued.path);
        let rest = self.queued.iter().zip(&self.buffers).skip(at);
        rest.take_while(move |(queued, _)| Some(queued.path) == path)
            .map(|(queued, buffer)| (queued, buffer.get(..queued.len).unwrap_or_default()))
    }

    fn send_shared(&mut self, at: usize, socket: u8) -> io::Result<usize> {
        let mut names = std::mem::take(&mut self.names);
        names.clear();
        names.extend(self.run(at).map(|(queued, _)| SockAddr::from(queued.to)));
        let sent = match self.shared.get(usize::from(socket)) {
            Some(socket) => {
                let datagrams = names.iter().zip(self.run(at).map(|(_, bytes)| bytes));
                send_batch(socket.as_fd(), datagrams)
            }
            None => Ok(0),
        };
        self.names = names;
        sent
    }

    fn send_rtp(&mut self, at: usize, key: LegKey) -> io::Result<usize> {
        let (Some(Queued { to, len, .. }), Some(buffer)) =
            (self.queued.get(at), self.buffers.get(at))
        else {
            return Ok(0);
        };
        let bytes = buffer.get(..*len).unwrap_or_default();
        let Some(pair) = pair_mut(&mut self.legs, key) else { return Ok(0) };
        let sent = match pair.steady.choose(&pair.rtp, *to) {
            Choice::Own => pair.rtp.send_to(bytes, &SockAddr::from(*to)),
            Choice::Connected(socket) => send_one(socket.as_fd(), bytes),
            Choice::Fresh(socket) => {
                self.fresh.push(key);
                send_one(socket.as_fd(), bytes)
            }
        };
        sent.map(|_| 1)
    }

    fn send_rtcp(&self, at: usize, key: LegKey) -> io::Result<usize> {
        let (Some((queued, bytes)), Some(pair)) = (self.run(at).next(), self.pair(key)) else {
            return Ok(0);
        };
        pair.rtcp.send_to(bytes, &SockAddr::from(queued.to)).map(|_| 1)
    }
}

impl Transmits for Outbox {
    fn send(&mut self, path: Path, to: SocketAddr, head: &[u8], payload: &[u8]) {
        // A copy costs a fraction of what the batch saves.
        let buffer = self.buffer();
        let len = head.len() + payload.len();
        let Some((start, end)) = buffer.get_mut(..len).map(|b| b.split_at_mut(head.len())) else {
            return self.counters.send_failures.add(1);
        };
        start.copy_from_slice(head);
        end.copy_from_slice(payload);
        self.queue(path, to, len);
    }

    fn buffer(&mut self) -> &mut [u8] {
        let at = self.queued.len().min(BATCH - 1);
        &mut self.buffers[at]
    }

    fn queue(&mut self, path: Path, to: SocketAddr, len: usize) {
        self.queued.push(Queued { path, to, len });
        if self.queued.len() == BATCH {
            self.flush();
        }
    }

    fn expect(&self, key: LegKey) {
        self.legs.get(key.index()).into_iter().for_each(prefetch);
    }

    fn forward(&mut self, peer: LegId, media: &Media<'_>) -> bool {
        let ring = self.rings.get(usize::from(peer.shard)).and_then(Option::as_ref);
        ring.is_some_and(|ring| ring.push(peer, media))
    }
}
