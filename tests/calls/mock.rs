//! Media legs that carry nothing and remember what they were told.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use media::net::{CommandError, OpenError};
use media::sdp::{Negotiated, RemoteMedia};
use media::shard::{
    Command, LegEvent, LegFailure, LegId, LegParameters, LegStatistics, LocalMedia,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sidetone::calls::{MediaLeg, MediaLegs};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// All legs of a simulation.
#[derive(Debug)]
pub struct MockMedia {
    ip: IpAddr,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    rng: StdRng,
    next: u64,
    /// By serial number, for as long as they are open.
    open: HashMap<u64, Mode>,
    events: HashMap<u64, mpsc::Sender<LegEvent>>,
    /// Where each leg that ever was sends to: the port of a phone.
    remotes: HashMap<u64, u16>,
    /// Who was told to send what it hears to whom.
    bridges: Vec<(u64, u64)>,
    /// Of a thousand legs, this many fail some time.
    failing_per_mille: u32,
}

/// What a leg does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Idle,
    Plays,
    Bridge(u64),
}

impl MockMedia {
    pub fn new(seed: u64, ip: IpAddr, failing_per_mille: u32) -> Arc<Self> {
        let inner = Inner {
            rng: StdRng::seed_from_u64(seed),
            next: 0,
            open: HashMap::new(),
            events: HashMap::new(),
            remotes: HashMap::new(),
            bridges: Vec::new(),
            failing_per_mille,
        };
        Arc::new(MockMedia { ip, inner: Mutex::new(inner) })
    }

    /// Open legs.
    pub fn legs(&self) -> usize {
        self.inner.lock().unwrap().open.len()
    }

    /// The ports of the phones that were ever joined: who was heard, by whom.
    pub fn bridges(&self) -> Vec<(Option<u16>, Option<u16>)> {
        let inner = self.inner.lock().unwrap();
        let remote = |serial: &u64| inner.remotes.get(serial).copied();
        inner.bridges.iter().map(|(from, to)| (remote(from), remote(to))).collect()
    }

    /// The phone that the leg at one of our ports speaks to.
    pub fn phone_of(&self, local_port: u16) -> Option<u16> {
        self.inner.lock().unwrap().remotes.get(&serial_of(local_port)).copied()
    }

    /// What the leg that speaks to a phone does, and whom it sends to, as a phone's port.
    pub fn mode_of(&self, phone: u16) -> Option<(Mode, Option<u16>)> {
        let inner = self.inner.lock().unwrap();
        let is_it = |serial: &&u64| inner.remotes.get(*serial) == Some(&phone);
        let serial = inner.open.keys().find(is_it)?;
        let mode = *inner.open.get(serial)?;
        let to = match mode {
            Mode::Bridge(peer) => inner.remotes.get(&peer).copied(),
            Mode::Idle | Mode::Plays => None,
        };
        Some((mode, to))
    }

    /// A phone presses a key.
    pub fn press(&self, phone: u16, digit: char) {
        let inner = self.inner.lock().unwrap();
        let (serial, _) = inner.remotes.iter().find(|(_, remote)| **remote == phone).unwrap();
        let duration = Duration::from_millis(100);
        let event = LegEvent::Dtmf { digit, duration, is_passed_on: false };
        inner.events[serial].try_send(event).unwrap();
    }

    fn note(&self, serial: u64, negotiated: &Negotiated) {
        if let RemoteMedia::Plain { rtp, .. } = &negotiated.remote {
            self.inner.lock().unwrap().remotes.insert(serial, rtp.port());
        }
    }
}

/// The port of a leg tells which one it is.
pub fn local_port(serial: u64) -> u16 {
    30_000 + 2 * u16::try_from(serial).unwrap()
}

fn serial_of(port: u16) -> u64 {
    u64::from((port - 30_000) / 2)
}

/// What the calls see of it.
#[derive(Debug)]
pub struct MockPort(pub Arc<MockMedia>);

impl MediaLegs for MockPort {
    fn open(&self, parameters: LegParameters) -> Result<Box<dyn MediaLeg>, OpenError> {
        let mut inner = self.0.inner.lock().unwrap();
        let serial = inner.next;
        inner.next += 1;
        inner.open.insert(serial, Mode::Idle);
        let fails = inner.rng.random_range(0..1000) < inner.failing_per_mille;
        let fails = fails.then(|| Duration::from_millis(inner.rng.random_range(0..20_000)));
        drop(inner);
        if let Some(negotiated) = &parameters.negotiated {
            self.0.note(serial, negotiated);
        }
        let (sender, events) = mpsc::channel(64);
        tokio::spawn(live(sender.clone(), parameters.quiet_after, fails));
        self.0.inner.lock().unwrap().events.insert(serial, sender.clone());
        let local = LocalMedia {
            rtp_port: local_port(serial),
            rtcp_port: local_port(serial) + 1,
            ..plain(self.0.ip)
        };
        Ok(Box::new(Leg { serial, media: Arc::clone(&self.0), local, sender, events }))
    }

    fn is_own(&self, address: SocketAddr, _: Option<IpAddr>) -> bool {
        let inner = self.0.inner.lock().unwrap();
        inner.open.keys().any(|serial| local_port(*serial) == address.port())
    }

    fn reaches(&self, address: IpAddr) -> bool {
        address.is_ipv4()
    }

    fn is_full(&self) -> bool {
        false
    }

    fn is_alive(&self) -> bool {
        true
    }
}

fn plain(address: IpAddr) -> LocalMedia {
    LocalMedia {
        address,
        rtp_port: 0,
        rtcp_port: 0,
        ice: None,
        fingerprint: None,
        ssrc: 1,
        cname: "server".to_owned(),
        sdes: Vec::new(),
    }
}

/// Nobody ever sends anything, so that every leg falls quiet.
async fn live(events: mpsc::Sender<LegEvent>, quiet_after: Duration, fails: Option<Duration>) {
    tokio::select! {
        () = sleep(quiet_after) => {
            let _ = events.try_send(LegEvent::Quiet { since: quiet_after });
        }
        () = events.closed() => return,
    }
    if let Some(after) = fails {
        tokio::select! {
            () = sleep(after) => {
                let _ = events.try_send(LegEvent::Failed { reason: LegFailure::Handshake });
            }
            () = events.closed() => {}
        }
    }
}

struct Leg {
    serial: u64,
    media: Arc<MockMedia>,
    local: LocalMedia,
    sender: mpsc::Sender<LegEvent>,
    events: mpsc::Receiver<LegEvent>,
}

impl MediaLeg for Leg {
    fn id(&self) -> LegId {
        LegId { shard: 0, serial: self.serial }
    }

    fn local(&self) -> &LocalMedia {
        &self.local
    }

    fn events(&mut self) -> &mut mpsc::Receiver<LegEvent> {
        &mut self.events
    }

    fn command(&self, command: Command) -> Result<(), CommandError> {
        let mut inner = self.media.inner.lock().unwrap();
        let mode = match command {
            Command::Bridge { peer } => {
                inner.bridges.push((self.serial, peer.serial));
                Mode::Bridge(peer.serial)
            }
            Command::Play { .. } => Mode::Plays,
            Command::Stop => Mode::Idle,
            Command::Close => {
                inner.open.remove(&self.serial);
                let _ = self.sender.try_send(LegEvent::Closed(Box::<LegStatistics>::default()));
                return Ok(());
            }
            _ => return Ok(()),
        };
        inner.open.insert(self.serial, mode);
        Ok(())
    }

    fn update(&mut self, negotiated: Negotiated, _: Option<IpAddr>) -> Result<(), CommandError> {
        self.media.note(self.serial, &negotiated);
        Ok(())
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        let mut inner = self.media.inner.lock().unwrap();
        inner.open.remove(&self.serial);
        inner.events.remove(&self.serial);
    }
}
