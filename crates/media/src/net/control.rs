//! How a leg is told something, and how its end is sure to be noticed.

use std::net::IpAddr;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc::{SyncSender, TrySendError},
};

use tokio::sync::mpsc;

use super::{keys::Keys, own::Aiming, ports::PortPair, sys::Waker, wakes};
use crate::{
    ice::IceCredentials,
    sdp::{LocalIce, Negotiated, RemoteMedia},
    shard::{Command, LegEvent, LegId, LiveCounters, LocalMedia, OpenLeg, Update},
};

/// A command did not reach the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// As many commands wait as may.
    #[error("the media shard has too many commands waiting")]
    Full,
    /// The shard's thread is gone.
    #[error("the media shard is gone")]
    Gone,
}

/// What a shard's thread is told.
pub(super) enum Control {
    Open(Box<Open>),
    Command(u64, Command),
    Shutdown,
}

/// A leg to be opened, with everything that was made for it on the caller's thread.
pub(super) struct Open {
    pub(super) leg: OpenLeg,
    pub(super) pair: Option<PortPair>,
    pub(super) events: mpsc::Sender<LegEvent>,
    pub(super) is_dropped: Arc<AtomicBool>,
    pub(super) permit: Permit,
}

/// The outside of a shard.
pub(super) struct ShardLink {
    pub(super) queue: SyncSender<Control>,
    pub(super) waker: Arc<Waker>,
    /// Something is in the queue that the shard has not looked at yet.
    pub(super) is_pending: AtomicBool,
    /// The shard was woken for it, or is to be as soon as the commanding thread has nothing else to do.
    pub(super) is_called: AtomicBool,
    /// The shard sleeps for a frame at most, and looks at its queue then.
    pub(super) is_up_soon: AtomicBool,
    /// A leg was dropped while the queue was full.
    pub(super) must_sweep: AtomicBool,
    pub(super) is_alive: AtomicBool,
    pub(super) legs: AtomicUsize,
    pub(super) counters: Arc<LiveCounters>,
}

impl ShardLink {
    /// The outside of a shard that is about to run.
    pub(super) fn new(
        queue: SyncSender<Control>,
        waker: Arc<Waker>,
        counters: Arc<LiveCounters>,
    ) -> Self {
        Self {
            queue,
            waker,
            is_pending: AtomicBool::new(false),
            is_called: AtomicBool::new(false),
            is_up_soon: AtomicBool::new(false),
            must_sweep: AtomicBool::new(false),
            is_alive: AtomicBool::new(true),
            legs: AtomicUsize::new(0),
            counters,
        }
    }

    pub(super) fn send(self: &Arc<Self>, control: Control) -> Result<(), CommandError> {
        let is_urgent = !matches!(control, Control::Command(_, Command::Close | Command::Trust));
        let result = self.queue.try_send(control).map_err(|error| match error {
            TrySendError::Full(_) => CommandError::Full,
            TrySendError::Disconnected(_) => CommandError::Gone,
        });
        match &result {
            Err(_) => self.waker.wake(),
            Ok(()) if is_urgent => self.wake(),
            Ok(()) => self.wake_unless_up_soon(),
        }
        result
    }

    /// Wakes the shard, once for any number of commands.
    pub(super) fn wake(self: &Arc<Self>) {
        self.is_pending.store(true, Ordering::Release);
        if !self.is_called.swap(true, Ordering::AcqRel) && !wakes::put_off(self) {
            self.waker.wake();
        }
    }

    /// Wakes the shard for what can wait for a frame, which one that plays something need not be
    /// woken for.
    fn wake_unless_up_soon(self: &Arc<Self>) {
        // In this order, as in `may_sleep` in the other one: either sees what the other does.
        self.is_pending.store(true, Ordering::SeqCst);
        if !self.is_up_soon.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Whether the shard, which is going to sleep, may: not beyond a frame with something in its
    /// queue that nobody wakes it for.
    pub(super) fn may_sleep(&self, is_up_soon: bool) -> bool {
        self.is_up_soon.store(is_up_soon, Ordering::SeqCst);
        is_up_soon || !self.is_pending.load(Ordering::SeqCst)
    }

    /// The shard looks at its queue next.
    pub(super) fn looks(&self) {
        self.is_pending.swap(false, Ordering::AcqRel);
        self.is_called.swap(false, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for ShardLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardLink").field("legs", &self.legs).finish_non_exhaustive()
    }
}

/// Counts a leg on its shard and on the plane for as long as it exists.
pub(super) struct Permit {
    link: Arc<ShardLink>,
    total: Arc<AtomicUsize>,
}

impl Permit {
    /// `None` when as many legs are open as may be.
    pub(super) fn new(link: &Arc<ShardLink>, total: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let add = |open: usize| (open < max).then_some(open + 1);
        total.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).ok()?;
        link.legs.fetch_add(1, Ordering::AcqRel);
        Some(Self { link: Arc::clone(link), total: Arc::clone(total) })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.link.legs.fetch_sub(1, Ordering::AcqRel);
        self.total.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An open leg. Dropping it closes the leg.
#[derive(Debug)]
pub struct LegHandle {
    /// Names the leg, for [`Command::Bridge`].
    pub id: LegId,
    /// Our side, as the session description must say it.
    pub local: LocalMedia,
    /// What the leg reports; ends after [`LegEvent::Closed`], or without it when the shard dies.
    pub events: mpsc::Receiver<LegEvent>,
    pub(super) link: Arc<ShardLink>,
    pub(super) is_dropped: Arc<AtomicBool>,
    /// The peer's ICE user name fragment and password, where they are known.
    pub(super) remote_ice: Option<RemoteIce>,
    /// The peer's and ours before the last restart, in case it is taken back.
    pub(super) before_restart: Option<(RemoteIce, IceCredentials)>,
    /// The SRTP keys that are in use.
    pub(super) keys: Keys,
    /// Ports of ours that the peer names.
    pub(super) aiming: Aiming,
}

impl LegHandle {
    /// Tells the leg what to do. Never blocks.
    ///
    /// # Errors
    ///
    /// The shard is overloaded or gone.
    pub fn command(&self, command: Command) -> Result<(), CommandError> {
        self.link.send(Control::Command(self.id.serial, command))
    }

    /// Tells the leg what a later offer and answer changed. When the peer restarted ICE (an offer
    /// with another user name fragment or password, RFC 8445 §9), [`LegHandle::local`] has new ICE
    /// parameters afterwards, and so it has new SRTP keys when another profile was agreed on or the
    /// peer moved with a new key: describe the leg only then. An offer with those from before the
    /// last change takes that one back. Another fragment in an answer is that of another fork.
    ///
    /// # Errors
    ///
    /// The shard is overloaded or gone; nothing has changed then.
    pub fn update(
        &mut self,
        mut negotiated: Negotiated,
        signalling_remote: Option<IpAddr>,
    ) -> Result<(), CommandError> {
        let keys = self.keys.agree(&mut negotiated, &self.local.sdes);
        let remote_ice = remote_ice(&negotiated);
        let is_other = self.remote_ice.is_some() && remote_ice != self.remote_ice;
        let restarts = is_other && !negotiated.is_answer;
        let ice = self.local.ice.as_ref().filter(|_| restarts).map(|_| {
            let before = self.before_restart.as_ref();
            let back = before.filter(|(remote, _)| Some(remote) == remote_ice.as_ref());
            back.map_or_else(|| IceCredentials::random(&mut rand::rng()), |(_, ours)| ours.clone())
        });
        let is_answer = negotiated.is_answer;
        let remote = negotiated.remote.clone();
        let update = Update { negotiated, ice: ice.clone(), signalling_remote };
        self.command(Command::Update(Box::new(update)))?;
        self.aiming.at(&remote);
        let remote_before = std::mem::replace(&mut self.remote_ice, remote_ice);
        self.keys.take_over(keys, is_answer, &mut self.local.sdes);
        if let (Some(local), Some(IceCredentials { ufrag, pwd })) = (&mut self.local.ice, ice) {
            let candidates = std::mem::take(&mut local.candidates);
            let before = std::mem::replace(local, LocalIce { ufrag, pwd, candidates });
            let ours = IceCredentials { ufrag: before.ufrag, pwd: before.pwd };
            self.before_restart = remote_before.map(|remote| (remote, ours));
        }
        Ok(())
    }
}

/// A peer's ICE user name fragment and password.
type RemoteIce = (String, String);

pub(super) fn remote_ice(negotiated: &Negotiated) -> Option<RemoteIce> {
    match &negotiated.remote {
        RemoteMedia::WebRtc(remote) => Some((remote.ufrag.clone(), remote.pwd.clone())),
        RemoteMedia::Plain { .. } => None,
    }
}

impl Drop for LegHandle {
    fn drop(&mut self) {
        // A leg that has closed needs no telling.
        if self.events.is_closed() {
            return;
        }
        self.is_dropped.store(true, Ordering::Release);
        if self.command(Command::Close) == Err(CommandError::Full) {
            self.link.must_sweep.store(true, Ordering::Release);
            self.link.wake();
        }
    }
}
