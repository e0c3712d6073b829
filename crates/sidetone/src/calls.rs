//! Calls: one task per call runs the dialplan over the call's SIP leg and its media leg.
//!
//! ```text
//!   signaling ──SipEvent──► LiveCall ──Command──► media shard
//!             ◄─SipCommand─          ◄─LegEvent──
//! ```

mod bridge;
mod leg;
mod live;
mod media;
mod offer;
mod ourselves;
mod port;
mod report;
mod terms;
mod trail;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ::media::net::Recorder;
use ::media::prompt::PromptStore;
use ::media::sdp::Capabilities;
use bytes::Bytes;
use dialplan::{Facts, Plan};
use tokio::sync::watch;
use tokio::time::Instant;
use transport::Flow;

use crate::config::{self, RingContacts};
use crate::health::Health;
use crate::metrics::{Metrics, Refusal};
use crate::registrar::Registrar;
use crate::users::Users;
use crate::webhook::Webhooks;

pub(crate) use live::moment;
pub use media::{MediaLeg, MediaLegs};
pub use ourselves::Ourselves;
pub use port::{Dial, Dialer, Inbox, SipCommand, SipEvent, SipPort};
pub(crate) use port::{EVENTS_RESERVED, Order};
pub use trail::Trail;

/// What all calls share. A reload puts another one in its place: a call goes on with the one that
/// it started with.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The dialplan.
    pub plan: Plan,
    /// Context of callers who are not authenticated.
    pub public_context: String,
    /// Users by name.
    pub users: Arc<Users>,
    /// Addresses that this server is reached at, as they are bound and as they are known outside.
    pub hosts: Vec<IpAddr>,
    /// The ports at which it listens for SIP in datagrams.
    pub sip_ports: Vec<u16>,
    /// Where users are reached.
    pub registrar: Arc<Registrar>,
    /// Sounds and tones.
    pub prompts: Arc<PromptStore>,
    /// The sound that who is on hold hears.
    pub hold_music: String,
    /// Where media legs are opened.
    pub media: Arc<dyn MediaLegs>,
    /// Writes recordings.
    pub recorder: Recorder,
    /// Asks webhooks of the dialplan.
    pub webhooks: Arc<Webhooks>,
    /// Where calls are made.
    pub dialer: Dialer,
    /// What may be negotiated.
    pub capabilities: Capabilities,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
    /// Whether new calls are taken, and how many there are.
    pub health: Arc<Health>,
    /// What ends a call by itself, and whom a call may call.
    pub policy: Policy,
    /// Knows our own calls again.
    pub trail: Trail,
    /// Those of them that may come to ourselves.
    pub ourselves: Arc<Ourselves>,
    /// Turns true when the process is stopped.
    pub stop: watch::Receiver<bool>,
}

impl Shared {
    /// Whether what is sent to `address` comes to us, media or not. Whoever names it is reached by us
    /// at `local`.
    fn is_own(&self, address: SocketAddr, local: Option<IpAddr>) -> bool {
        let ip = address.ip().to_canonical();
        let is_here = || self.hosts.contains(&ip) || local == Some(ip);
        self.media.is_own(address, local) || self.sip_ports.contains(&address.port()) && is_here()
    }
}

/// What ends a call by itself, and whom a call may call.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// From the answer to keys, at the most.
    pub connect_timeout: Duration,
    /// From the last packet of a peer whose connection is closed to its end.
    pub webrtc_silence: Duration,
    /// From the last packet of a plain leg to its end, unless it has nothing to send.
    pub plain_silence: Duration,
    /// Between the questions to a plain leg that has nothing to send whether it is still there.
    pub probe_interval: Option<Duration>,
    /// From the answer to the end.
    pub duration_max: Option<Duration>,
    /// From the INVITE to the answer.
    pub unanswered_max: Duration,
    /// How long a bridge rings that says nothing else.
    pub ring_timeout: Duration,
    /// How the contacts of one user are called.
    pub ring_contacts: RingContacts,
    /// How long a contact rings before the next one, where they are called in order.
    pub ring_step: Duration,
    /// Most places that one attempt of a bridge calls.
    pub fork_max: usize,
    /// Most redirections that one attempt of a bridge follows.
    pub redirects_max: usize,
}

impl From<&config::Config> for Policy {
    fn from(config: &config::Config) -> Self {
        let calls = &config.calls;
        let seconds = Duration::from_secs;
        Policy {
            connect_timeout: seconds(config.media.connect_timeout_s),
            webrtc_silence: seconds(calls.webrtc_silence_s),
            plain_silence: seconds(calls.plain_silence_s),
            probe_interval: (calls.probe_interval_s > 0).then(|| seconds(calls.probe_interval_s)),
            duration_max: (calls.duration_max_s > 0).then(|| seconds(calls.duration_max_s)),
            unanswered_max: seconds(calls.unanswered_max_s),
            ring_timeout: seconds(calls.ring_timeout_s),
            ring_contacts: calls.ring_contacts,
            ring_step: seconds(calls.ring_step_s),
            fork_max: calls.fork_max,
            redirects_max: calls.redirects_max,
        }
    }
}

/// An INVITE that was admitted.
#[derive(Debug)]
pub struct Invitation {
    /// What the dialplan may ask about.
    pub facts: Facts,
    /// The offer; empty when the caller wants ours.
    pub offer: Bytes,
    /// Where it came from.
    pub flow: Flow,
    /// When it came.
    pub at: Instant,
    /// How many hops it may still make: its Max-Forwards, or 70.
    pub max_forwards: u8,
    /// The marks of our own INVITEs that it descends from.
    pub trail: Vec<String>,
    /// Whoever is called may not learn who calls.
    pub is_anonymous: bool,
    /// The caller may call some numbers only, which no redirection to elsewhere widens.
    pub is_limited: bool,
    /// How far it is believed to come from where it says.
    pub standing: Standing,
}

/// How far a caller is believed to be where its messages say they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has a connection, or has shown a password.
    Proven,
    /// It says so in a datagram, whose source may be forged.
    Claimed,
    /// The same, and many others from there have acknowledged nothing yet.
    Doubted,
}

/// A place among the calls that may be up; given back when the call's task ends, however it ends.
#[derive(Debug)]
pub struct Place(Arc<Health>);

impl Place {
    /// Takes a place.
    ///
    /// # Errors
    /// Why there is none.
    pub fn take(health: &Arc<Health>) -> Result<Self, Refusal> {
        match health.admit() {
            Ok(()) => Ok(Place(Arc::clone(health))),
            Err("draining") => Err(Refusal::Draining),
            Err(_) => Err(Refusal::Overload),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The place of a leg that a call adds to itself. A call that is up may do so until it ends.
#[derive(Debug)]
pub(crate) struct LegPlace(Arc<Health>);

impl LegPlace {
    fn take(health: &Arc<Health>) -> Result<Self, Refusal> {
        let added = health.add_leg().map_err(|_| Refusal::Overload);
        added.map(|()| LegPlace(Arc::clone(health)))
    }
}

impl Drop for LegPlace {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The Reason header of a BYE or of a refusal (RFC 3326).
#[must_use]
pub fn reason(cause: dialplan::Cause) -> String {
    format!("Q.850;cause={};text=\"{}\"", cause.q850(), cause.name())
}

/// Runs a call to its end.
pub async fn run(shared: Arc<Shared>, invitation: Invitation, sip: SipPort, place: Place) {
    let mut call = live::LiveCall::new(shared, invitation, sip);
    call.run().await;
    drop(place);
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
