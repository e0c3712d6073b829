//! One binding: an address of record and where it is reached.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use transport::{Flow, TransportKind, Uri};

use super::store::{StoredBinding, unix_now};

/// Where a user can be reached, as it was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The URI to call.
    pub uri: String,
    /// The flow that a request takes; `None`: where the path or the URI says.
    pub flow: Option<Flow>,
    /// What the contact registered over.
    pub transport: TransportKind,
    /// Values of Route that a request takes, in their order (RFC 3327 §5.3).
    pub path: Vec<String>,
    /// The preference, 0 to 1000.
    pub q_milli: u16,
    /// What the contact calls itself; may be empty.
    pub user_agent: String,
    /// The instance of RFC 5626, if it says one, as it can be compared.
    pub instance: Option<String>,
}

impl Contact {
    /// Whether a call to the contact had better offer WebRTC.
    #[must_use]
    pub fn is_webrtc(&self) -> bool {
        matches!(self.transport, TransportKind::Ws | TransportKind::Wss)
    }
}

/// What a binding is found again by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// The same device, whatever its address is now (RFC 5626 §6).
    Instance { instance: String, reg_id: u32 },
    /// The same URI (RFC 3261 §19.1.4).
    Uri,
}

impl Key {
    /// That of a device which names itself.
    pub(super) fn device(instance: &str, reg_id: Option<u32>) -> Key {
        Key::Instance { instance: comparable(instance), reg_id: reg_id.unwrap_or(0) }
    }
}

/// An instance as it is compared: a UUID says the same in capitals (RFC 4122 §3).
fn comparable(instance: &str) -> String {
    let prefix = "<urn:uuid:";
    let is_uuid =
        instance.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
    if is_uuid { instance.to_ascii_lowercase() } else { instance.to_owned() }
}

/// How requests reach a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// On the flow it registered on.
    Flow(Flow),
    /// Where its path or its URI says.
    Uri,
    /// Not at all: its flow is gone.
    Gone,
}

/// An address of record and where it is reached.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    /// Names it within the process.
    pub id: u64,
    pub key: Key,
    pub uri: Uri,
    pub kind: TransportKind,
    pub way: Way,
    /// What its last REGISTER came on, if that came from the device itself.
    pub came_on: Option<Flow>,
    /// Our end and the sender's end of what its last REGISTER came on.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    pub path: Vec<String>,
    pub q_milli: u16,
    pub instance: Option<String>,
    pub reg_id: Option<u32>,
    pub is_outbound: bool,
    pub is_behind_nat: bool,
    /// Whether it was made with a token, not with the password.
    pub is_by_token: bool,
    pub user_agent: String,
    pub call_id: String,
    pub cseq: u32,
    /// The end of what was granted.
    pub expires_at: Instant,
    /// When it falls: somewhat after its end, or when the grace time of its flow is over. Not in
    /// the future if it is to be removed.
    pub deadline: Instant,
    pub registered_at: Instant,
}

impl Binding {
    /// Whether the two are bindings of one contact. Who does not name its device means whatever is
    /// bound to its URI (RFC 5626 §6, RFC 3261 §10.3).
    pub(super) fn is_same(&self, other: &Binding) -> bool {
        match (&self.key, &other.key) {
            (Key::Uri, _) | (_, Key::Uri) => self.uri.is_equivalent(&other.uri),
            (a, b) => a == b,
        }
    }

    /// Lasts until then at the longest.
    pub(super) fn expire_by(&mut self, end: Instant) {
        self.expires_at = self.expires_at.min(end);
        self.deadline = self.deadline.min(end + SLACK);
    }

    /// The flow that the device has left if it is `newer` now. Whoever only names the same URI may be
    /// another device, behind another address translator.
    pub(super) fn flow_left_for(&self, newer: &Binding) -> Option<Flow> {
        let is_web = |kind| matches!(kind, TransportKind::Ws | TransportKind::Wss);
        let (left, taken) = (self.came_on?, newer.came_on?);
        let is_device = self.key != Key::Uri || self.call_id == newer.call_id;
        let is_alike = left.kind == taken.kind || is_web(left.kind) && is_web(taken.kind);
        (is_device && is_alike && left != taken).then_some(left)
    }

    pub(super) fn is_reachable(&self, now: Instant) -> bool {
        self.way != Way::Gone && self.deadline > now
    }

    /// Whether it means something to the next process: a socket of datagrams opens again, a
    /// connection does not.
    pub(super) fn is_lasting(&self) -> bool {
        match self.way {
            Way::Flow(flow) => flow.kind == TransportKind::Udp || self.can_do_without_flow(),
            Way::Uri => true,
            Way::Gone => false,
        }
    }

    /// Whether the contact itself is at the other end of its flow. A proxy there serves others, too,
    /// also one that puts itself into no Path (RFC 3327).
    pub(super) fn is_direct(&self) -> bool {
        self.path.is_empty() && self.came_on.is_some()
    }

    /// The flow that the contact sends requests on now.
    pub(super) fn open_flow(&self) -> Option<Flow> {
        match self.way {
            Way::Flow(flow) => Some(flow),
            Way::Uri => self.came_on.filter(|flow| flow.kind == TransportKind::Udp),
            Way::Gone => None,
        }
    }

    /// Whether path or URI lead to the contact without the connection it registered on. An address
    /// that it was not heard from is somebody else's outside of its own network.
    fn can_do_without_flow(&self) -> bool {
        if !self.path.is_empty() {
            return true;
        }
        let is_stream = matches!(self.kind, TransportKind::Tcp | TransportKind::Tls);
        let sender = self.ends.map(|(_, remote)| remote.ip().to_canonical());
        let is_there = match self.uri.host_ip() {
            Some(ip) => sender == Some(ip.to_canonical()),
            None => self.uri.host().is_some_and(|host| !host.ends_with(".invalid")),
        };
        is_stream && is_there && !self.is_outbound
    }

    /// The flow is gone: falls at `grace_end` unless there is another way.
    pub(super) fn lose_flow(&mut self, grace_end: Instant) {
        if self.can_do_without_flow() {
            self.way = Way::Uri;
        } else {
            self.way = Way::Gone;
            self.deadline = self.deadline.min(grace_end);
        }
    }

    pub(super) fn contact(&self) -> Contact {
        Contact {
            uri: self.uri.as_str().to_owned(),
            flow: match self.way {
                Way::Flow(flow) => Some(flow),
                Way::Uri | Way::Gone => None,
            },
            transport: self.kind,
            path: self.path.clone(),
            q_milli: self.q_milli,
            user_agent: self.user_agent.clone(),
            instance: self.instance.as_deref().map(comparable),
        }
    }

    /// The value of Contact in the answer to REGISTER.
    pub(super) fn header(&self, now: Instant) -> String {
        let left = self.expires_at.saturating_duration_since(now);
        // Rounded, so that what was just granted is what is said.
        let seconds = (left + Duration::from_millis(500)).as_secs();
        let mut text = format!("<{}>;expires={seconds}", self.uri);
        if self.q_milli < 1_000 {
            // Writing to a string does not fail.
            let _ = write!(text, ";q=0.{:03}", self.q_milli);
        }
        if let Some(instance) = &self.instance {
            let _ = write!(text, ";+sip.instance={}", transport::split::quote(instance));
        }
        if let Some(reg_id) = self.reg_id {
            let _ = write!(text, ";reg-id={reg_id}");
        }
        text
    }

    /// What the binding is called in the store.
    pub(super) fn key(&self) -> String {
        match &self.key {
            Key::Instance { instance, reg_id } => format!("{reg_id} {instance}"),
            Key::Uri => self.uri.as_str().to_owned(),
        }
    }

    pub(super) fn stored(&self, user: &str, now: Instant) -> StoredBinding {
        let left = self.expires_at.saturating_duration_since(now).as_secs();
        StoredBinding {
            user: user.to_owned(),
            key: self.key(),
            expires_unix_s: unix_now().saturating_add(left),
            uri: self.uri.as_str().to_owned(),
            transport: self.kind.label().to_owned(),
            local: self.ends.map(|(local, _)| local),
            remote: self.ends.map(|(_, remote)| remote),
            is_by_uri: self.way == Way::Uri,
            path: self.path.clone(),
            q_milli: self.q_milli,
            instance: self.instance.clone(),
            reg_id: self.reg_id,
            is_by_instance: matches!(self.key, Key::Instance { .. }),
            is_outbound: self.is_outbound,
            is_behind_nat: self.is_behind_nat,
            is_by_token: self.is_by_token,
            user_agent: self.user_agent.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
        }
    }

    /// `None` if it has run out, or if nothing leads to it any more.
    pub(super) fn restore(
        stored: &StoredBinding,
        flow_to: impl Fn(SocketAddr, SocketAddr) -> Option<Flow>,
        now: Instant,
    ) -> Option<Binding> {
        let left = Duration::from_secs(stored.expires_unix_s.checked_sub(unix_now())?);
        let kind = TransportKind::from_token(&stored.transport)?;
        let expires_at = now.checked_add(left).filter(|end| *end > now)?;
        let instance = stored.instance.as_deref().filter(|_| stored.is_by_instance);
        let key = instance.map_or(Key::Uri, |instance| Key::device(instance, stored.reg_id));
        let mut binding = Binding {
            id: 0,
            key,
            uri: stored.uri.parse().ok()?,
            kind,
            way: Way::Uri,
            came_on: None,
            ends: stored.local.zip(stored.remote),
            path: stored.path.clone(),
            q_milli: stored.q_milli,
            instance: stored.instance.clone(),
            reg_id: stored.reg_id,
            is_outbound: stored.is_outbound,
            is_behind_nat: stored.is_behind_nat,
            is_by_token: stored.is_by_token,
            user_agent: stored.user_agent.clone(),
            call_id: stored.call_id.clone(),
            cseq: stored.cseq,
            expires_at,
            deadline: expires_at + if stored.is_by_token { Duration::ZERO } else { SLACK },
            registered_at: now,
        };
        if kind == TransportKind::Udp {
            let flow = binding.ends.and_then(|(local, remote)| flow_to(local, remote));
            match stored.is_by_uri || binding.ends.is_none() {
                true => binding.came_on = flow,
                false => binding.way = Way::Flow(flow?),
            }
        } else if !binding.can_do_without_flow() {
            return None;
        }
        Some(binding)
    }
}

/// How long a binding is kept after the time it was granted for: who renews it at the last moment
/// finds it in place, whatever its datagram went through.
pub(super) const SLACK: Duration = Duration::from_secs(10);
