//! The media plane as calls see it, so that a test can put a simulated one in its place.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};

use media::net::{CommandError, LegHandle, MediaPlane, OpenError};
use media::sdp::Negotiated;
use media::shard::{Command, LegEvent, LegId, LegParameters, LocalMedia};
use tokio::sync::mpsc;

/// Where media legs are opened.
pub trait MediaLegs: Debug + Send + Sync {
    /// Opens a leg, without waiting.
    ///
    /// # Errors
    /// A bound is reached or the system refuses a socket.
    fn open(&self, parameters: LegParameters) -> Result<Box<dyn MediaLeg>, OpenError>;

    /// Whether what is sent to `address` comes to a plain leg of ours, whose signalling reaches us at
    /// `local`.
    fn is_own(&self, address: SocketAddr, local: Option<IpAddr>) -> bool;

    /// Whether plain legs have sockets of the family of `address`.
    fn reaches(&self, address: IpAddr) -> bool;

    /// Whether no plain leg can be opened, since every port or place is taken.
    fn is_full(&self) -> bool;

    /// Whether every thread of the plane runs.
    fn is_alive(&self) -> bool;
}

/// An open leg. Dropping it closes it.
pub trait MediaLeg: Send {
    /// Names the leg to others.
    fn id(&self) -> LegId;

    /// Our side, as the session description must say it.
    fn local(&self) -> &LocalMedia;

    /// What the leg reports.
    fn events(&mut self) -> &mut mpsc::Receiver<LegEvent>;

    /// Tells the leg what to do, without waiting.
    ///
    /// # Errors
    /// The shard is overloaded or gone.
    fn command(&self, command: Command) -> Result<(), CommandError>;

    /// Tells the leg what a later offer and answer changed, and from where the peer signals now.
    ///
    /// # Errors
    /// The shard is overloaded or gone.
    fn update(
        &mut self,
        negotiated: Negotiated,
        signalling_remote: Option<IpAddr>,
    ) -> Result<(), CommandError>;
}

impl MediaLegs for MediaPlane {
    fn open(&self, parameters: LegParameters) -> Result<Box<dyn MediaLeg>, OpenError> {
        MediaPlane::open(self, parameters).map(|leg| Box::new(leg) as Box<dyn MediaLeg>)
    }

    fn is_own(&self, address: SocketAddr, local: Option<IpAddr>) -> bool {
        MediaPlane::is_own(self, address, local)
    }

    fn reaches(&self, address: IpAddr) -> bool {
        MediaPlane::reaches(self, address)
    }

    fn is_full(&self) -> bool {
        MediaPlane::is_full(self)
    }

    fn is_alive(&self) -> bool {
        let counters = self.counters();
        counters.shards_alive == counters.shards.len()
    }
}

impl MediaLeg for LegHandle {
    fn id(&self) -> LegId {
        self.id
    }

    fn local(&self) -> &LocalMedia {
        &self.local
    }

    fn events(&mut self) -> &mut mpsc::Receiver<LegEvent> {
        &mut self.events
    }

    fn command(&self, command: Command) -> Result<(), CommandError> {
        LegHandle::command(self, command)
    }

    fn update(
        &mut self,
        negotiated: Negotiated,
        signalling_remote: Option<IpAddr>,
    ) -> Result<(), CommandError> {
        LegHandle::update(self, negotiated, signalling_remote)
    }
}
