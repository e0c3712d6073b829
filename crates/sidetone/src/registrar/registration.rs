//! What a REGISTER asks for (RFC 3261 §10.2), within bounds.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use transport::{Flow, Message, Name, NameAddr, Scheme, TransportKind, Uri};

use super::Policy;
use super::binding::{Binding, Key, SLACK, Way};

/// Why a REGISTER is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// A rule of RFC 3261 §10.3 is broken.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The expiry is below the least that is granted.
    #[error("the expiry is below {min_expires_s} seconds")]
    IntervalTooBrief {
        /// For Min-Expires.
        min_expires_s: u64,
    },
    /// A token is to change what a password has bound.
    #[error("bound by who showed a password")]
    NotByToken,
    /// More contacts than the user may have.
    #[error("more contacts than max_contacts")]
    TooManyContacts,
    /// A binding was changed by a later request of the same Call-ID already.
    #[error("a later request was there before")]
    OutOfOrder,
    /// The proxy in between does not know RFC 5626 (§11.6).
    #[error("the first hop lacks outbound support")]
    FirstHopLacksOutbound,
    /// As many bindings exist as may.
    #[error("no room for another registration")]
    Full,
}

impl Refused {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Refused::BadRequest(_) => 400,
            Refused::NotByToken | Refused::TooManyContacts => 403,
            Refused::IntervalTooBrief { .. } => 423,
            Refused::FirstHopLacksOutbound => 439,
            Refused::OutOfOrder => 500,
            Refused::Full => 503,
        }
    }
}

/// A REGISTER that was read.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Whether all bindings are to be removed.
    pub(super) is_star: bool,
    contacts: Vec<Wanted>,
    expires: Option<Duration>,
    call_id: String,
    cseq: u32,
    flow: Flow,
    /// Whether answers go to where the request came from.
    is_symmetric: bool,
    path: Vec<String>,
    /// Whether the client is told of it.
    pub(super) knows_path: bool,
    user_agent: String,
    knows_outbound: bool,
    is_direct: bool,
    /// How long the token lasts that it was made with.
    token_lasts: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Wanted {
    uri: Uri,
    expires: Option<Duration>,
    q_milli: u16,
    instance: Option<String>,
    reg_id: Option<u32>,
}

impl Registration {
    /// Reads a REGISTER that has passed validation and came on `flow`.
    ///
    /// # Errors
    /// What cannot be granted whatever is registered already.
    pub fn read(message: &Message, flow: &Flow) -> Result<Self, Refused> {
        let is_star = message.header_bytes(Name::Contact) == Some(b"*");
        let mut contacts = Vec::new();
        if !is_star {
            for address in message.addresses(Name::Contact) {
                let address = address.map_err(|_| Refused::BadRequest("Malformed Contact"))?;
                if contacts.len() == CONTACTS_MAX {
                    return Err(Refused::TooManyContacts);
                }
                contacts.push(Wanted::read(&address)?);
            }
        }
        if is_star && message.number(Name::Expires) != Some(0) {
            return Err(Refused::BadRequest("Contact * Needs Expires 0"));
        }
        let cseq = message.cseq().ok_or(Refused::BadRequest("Malformed CSeq"))?.number;
        let via = message.via();
        let mut user_agent = message.header(Name::UserAgent).unwrap_or_default().into_owned();
        truncate(&mut user_agent, USER_AGENT_BYTES_MAX);
        Ok(Registration {
            is_star,
            contacts,
            expires: message.number(Name::Expires).map(seconds),
            call_id: bounded(message.call_id(), CALL_ID_BYTES_MAX, "Call-ID Too Long")?,
            cseq,
            flow: *flow,
            is_symmetric: via.is_none_or(|via| via.wants_rport()),
            path: path(message)?,
            knows_path: knows(message, "path"),
            user_agent,
            knows_outbound: knows(message, "outbound"),
            is_direct: message.vias().nth(1).is_none(),
            token_lasts: None,
        })
    }

    /// The same of who has shown a token that lasts so long: what it binds does not outlast that,
    /// and what a password has bound is out of its reach.
    #[must_use]
    pub fn by_token(self, lasts: Duration) -> Self {
        Registration { token_lasts: Some(lasts), ..self }
    }

    /// Whether it may change or remove a binding.
    pub(super) fn may_touch(&self, held: &Binding, now: Instant) -> bool {
        self.token_lasts.is_none() || held.is_by_token || !held.is_reachable(now)
    }

    /// Whether the request is older than what `held` was made by (RFC 3261 §10.3 step 7).
    pub(super) fn is_out_of_order(&self, held: &Binding) -> bool {
        held.call_id == self.call_id && self.cseq <= held.cseq
    }

    /// The bindings to make; one to remove has its deadline at `now`. Of a contact that is named
    /// twice the later one counts.
    pub(super) fn bindings(&self, policy: &Policy, now: Instant) -> Result<Vec<Binding>, Refused> {
        self.check_flows()?;
        let mut bindings: Vec<Binding> = Vec::with_capacity(self.contacts.len());
        for wanted in &self.contacts {
            let binding = self.binding(wanted, policy, now)?;
            bindings.retain(|earlier| !binding.is_same(earlier));
            bindings.push(binding);
        }
        Ok(bindings)
    }

    /// A flow is what one request comes on: it makes one contact reachable (RFC 5626 §6).
    fn check_flows(&self) -> Result<(), Refused> {
        let stays = |wanted: &&Wanted| !self.asked(wanted).is_some_and(|asked| asked.is_zero());
        let stay = self.contacts.iter().filter(stays).count();
        match stay > 1 && self.contacts.iter().any(Wanted::names_flow) {
            true => Err(Refused::BadRequest("Several Contacts on One Flow")),
            false => Ok(()),
        }
    }

    /// How long a contact is to be bound, if the request says so.
    fn asked(&self, wanted: &Wanted) -> Option<Duration> {
        wanted.expires.or(self.expires)
    }

    fn binding(&self, wanted: &Wanted, policy: &Policy, now: Instant) -> Result<Binding, Refused> {
        let asked = self.asked(wanted).unwrap_or(policy.expires_default);
        if !asked.is_zero() && asked < policy.expires_min {
            let min_expires_s = policy.expires_min.as_secs();
            return Err(Refused::IntervalTooBrief { min_expires_s });
        }
        let granted = asked.min(policy.expires_max);
        let expires_at = now + self.token_lasts.map_or(granted, |lasts| lasts.min(granted));
        let slack = if self.token_lasts.is_some() { Duration::ZERO } else { SLACK };
        let deadline = if asked.is_zero() { now } else { expires_at + slack };
        let is_outbound = self.knows_outbound && wanted.names_flow();
        if is_outbound && !self.is_direct && !has_outbound_path(&self.path) {
            return Err(Refused::FirstHopLacksOutbound);
        }
        Ok(Binding {
            id: 0,
            key: self.key(wanted),
            uri: wanted.uri.clone(),
            kind: self.flow.kind,
            way: self.way(wanted),
            came_on: self.is_direct.then_some(self.flow),
            ends: Some((self.flow.local, self.flow.remote)),
            path: self.path.clone(),
            q_milli: wanted.q_milli,
            instance: wanted.instance.clone(),
            reg_id: wanted.reg_id,
            is_outbound,
            is_behind_nat: self.is_behind_nat(wanted),
            is_by_token: self.token_lasts.is_some(),
            user_agent: self.user_agent.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            expires_at,
            deadline,
            registered_at: now,
        })
    }

    /// A device that names itself is one binding, unless it names itself twice in one request.
    fn key(&self, wanted: &Wanted) -> Key {
        let device = wanted.device();
        let is_same = |other: &&Wanted| other.device() == device;
        let is_alone = self.contacts.iter().filter(is_same).count() == 1;
        device.filter(|_| is_alone).unwrap_or(Key::Uri)
    }

    /// Streams are used again. A phone that asks for no `rport` and says where it is reached on
    /// the host it wrote from does not listen where it sends from. A request that has a path goes to
    /// its first hop (RFC 3327 §5.3), and the flow leads there only if that is who sent the REGISTER.
    fn way(&self, wanted: &Wanted) -> Way {
        let sender = self.flow.remote.ip().to_canonical();
        let is_udp = self.flow.kind == TransportKind::Udp;
        let first_hop = self.path.first().and_then(|hop| hop_uri(hop));
        let is_elsewhere = match first_hop.as_ref().map(|hop| (hop.host_ip(), hop.port())) {
            Some((Some(ip), port)) => {
                let port = port.unwrap_or(self.flow.kind.default_port());
                ip != sender || (is_udp && port != self.flow.remote.port())
            }
            Some((None, _)) => false,
            None => is_udp && !self.is_symmetric && wanted.uri.host_ip() == Some(sender),
        };
        if is_elsewhere { Way::Uri } else { Way::Flow(self.flow) }
    }

    fn is_behind_nat(&self, wanted: &Wanted) -> bool {
        let remote = self.flow.remote;
        let is_here = wanted.uri.host_ip() == Some(remote.ip().to_canonical())
            && wanted.uri.port().unwrap_or(TransportKind::Udp.default_port()) == remote.port();
        self.flow.kind == TransportKind::Udp
            && matches!(self.way(wanted), Way::Flow(_))
            && self.path.is_empty()
            && !is_here
    }
}

impl Wanted {
    /// The device that it names, if it does.
    fn device(&self) -> Option<Key> {
        self.instance.as_deref().map(|instance| Key::device(instance, self.reg_id))
    }

    /// Whether it is one of several flows of a device (RFC 5626 §4.2).
    fn names_flow(&self) -> bool {
        self.instance.is_some() && self.reg_id.is_some()
    }

    fn read(address: &NameAddr) -> Result<Wanted, Refused> {
        let uri = address.uri();
        if !matches!(uri.scheme(), Scheme::Sip | Scheme::Sips) {
            return Err(Refused::BadRequest("Contact Is No SIP URI"));
        }
        if uri.as_str().len() > URI_BYTES_MAX {
            return Err(Refused::BadRequest("Contact Too Long"));
        }
        let instance = address.param("+sip.instance").filter(|instance| !instance.is_empty());
        let instance = instance
            .map(|instance| bounded(&instance, INSTANCE_BYTES_MAX, "Instance Too Long"))
            .transpose()?;
        let reg_id = address.param("reg-id").and_then(|text| text.parse().ok());
        Ok(Wanted {
            // Copied: what is kept for hours must not keep the whole message.
            uri: Uri::parse(Bytes::copy_from_slice(uri.bytes()))
                .map_err(|_| Refused::BadRequest("Malformed Contact"))?,
            expires: address.param("expires").and_then(|text| text.parse().ok()).map(seconds),
            q_milli: address.param("q").and_then(|text| q_milli(&text)).unwrap_or(1_000),
            instance,
            reg_id: reg_id.filter(|id| *id > 0),
        })
    }
}

fn knows(message: &Message, option: &str) -> bool {
    message.lists(Name::Supported, option) || message.lists(Name::Require, option)
}

/// The Path to store. Many phones do not announce it that are reached through a proxy which adds it,
/// so that it counts all the same (RFC 3327 §5.3 leaves that to the registrar).
fn path(message: &Message) -> Result<Vec<String>, Refused> {
    let mut path = Vec::new();
    for hop in message.addresses(Name::Path) {
        let hop = hop.map_err(|_| Refused::BadRequest("Malformed Path"))?;
        if path.len() == PATH_MAX {
            return Err(Refused::BadRequest("Path Too Long"));
        }
        path.push(bounded(&hop.to_string(), URI_BYTES_MAX, "Path Too Long")?);
    }
    Ok(path)
}

/// Whether the hop next to the client said that it keeps the flow (RFC 5626 §6).
fn has_outbound_path(path: &[String]) -> bool {
    path.last().and_then(|hop| hop_uri(hop)).is_some_and(|edge| edge.has_param("ob"))
}

fn hop_uri(hop: &str) -> Option<Uri> {
    let hop = NameAddr::parse(Bytes::copy_from_slice(hop.as_bytes())).ok()?;
    Some(hop.uri().clone())
}

/// Reads 0 to 1 with up to three digits after the point (RFC 3261 §25.1 `qvalue`).
fn q_milli(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    Some((whole * 1_000 + part).min(1_000))
}

fn bounded(text: &str, bytes_max: usize, phrase: &'static str) -> Result<String, Refused> {
    match text.len() <= bytes_max && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(Refused::BadRequest(phrase)),
    }
}

fn truncate(text: &mut String, bytes_max: usize) {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

/// Contacts of one request.
const CONTACTS_MAX: usize = 16;
const URI_BYTES_MAX: usize = 512;
const INSTANCE_BYTES_MAX: usize = 128;
const USER_AGENT_BYTES_MAX: usize = 128;
const CALL_ID_BYTES_MAX: usize = 256;
/// Proxies in a Path.
const PATH_MAX: usize = 8;
