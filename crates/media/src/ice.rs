//! An ICE-lite responder (RFC 8445 §2.5): it answers checks and sends none.
//!
//! Every remote candidate is peer-reflexive to it: an address is good once a check with our password
//! came from it, whatever the session description listed. Two lite agents facing each other are not
//! served: neither would ever send a check.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start from some instant"))]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt};

use crate::{shard::StunResult, stun::Request};

/// A user name fragment and its password (RFC 8445 §5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// User name fragment.
    pub ufrag: String,
    /// Password.
    pub pwd: String,
}

impl IceCredentials {
    /// Fresh ones: 48 random bits of user name fragment, 144 of password (RFC 8445 §5.3 wants at
    /// least 24 and 128). `random` must be of cryptographic quality.
    pub fn random(random: &mut impl Rng) -> Self {
        let mut text = |len| (0..len).map(|_| ice_char(random)).collect();
        Self { ufrag: text(8), pwd: text(24) }
    }
}

fn ice_char(random: &mut impl Rng) -> char {
    let at: usize = random.random_range(0..ICE_CHARS.len());
    char::from(ICE_CHARS[at])
}

impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// The ICE side of one leg.
#[derive(Debug)]
pub struct IceLite {
    current: Generation,
    /// The generation before a restart, until a pair of the new one is nominated.
    previous: Option<Generation>,
    addresses: Vec<Validated>,
    selected: Option<SocketAddr>,
}

/// The credentials between one ICE restart and the next.
#[derive(Clone, Debug)]
struct Generation {
    local: IceCredentials,
    /// `None`: the peer's description is not known yet.
    remote_ufrag: Option<String>,
}

/// An address that a check with our password came from.
#[derive(Clone, Copy, Debug)]
pub struct Validated {
    /// The address.
    pub address: SocketAddr,
    /// The shared socket that the check came to.
    pub socket: u8,
    priority: u32,
    is_nominated: bool,
    /// Checks with USE-CANDIDATE since the last one of the selected address.
    nominations: u32,
    is_current: bool,
    last_check: Instant,
}

/// What became of a check.
#[derive(Debug)]
pub struct Checked {
    /// For the counters.
    pub result: StunResult,
    /// What to send back, to where the check came from.
    pub response: Option<Vec<u8>>,
    /// The address is validated for the first time.
    pub is_new: bool,
    /// An address that had to give way to it.
    pub replaced: Option<SocketAddr>,
    /// Media goes to another address than before.
    pub selection_changed: bool,
    /// Credentials that are no longer valid.
    pub retired: Option<IceCredentials>,
}

impl IceLite {
    /// An agent with our credentials and the peer's user name fragment, where it is known.
    pub fn new(local: IceCredentials, remote_ufrag: Option<String>) -> Self {
        let current = Generation { local, remote_ufrag };
        Self { current, previous: None, addresses: Vec::new(), selected: None }
    }

    /// Handles a check that came `from` an address to the shared `socket`; the request's local user
    /// name fragment is one of ours.
    pub fn handle_check(
        &mut self,
        request: &Request<'_>,
        from: SocketAddr,
        socket: u8,
        now: Instant,
    ) -> Checked {
        let Some((generation, is_current)) = self.generation(request) else {
            return Checked::dropped(StunResult::UnknownUser);
        };
        let password = &generation.local.pwd;
        if !request.is_authentic(password) {
            return Checked::dropped(StunResult::Integrity);
        }
        if request.has_unknown_attributes() {
            let response = request.unknown_attributes(password);
            return Checked { response, ..Checked::dropped(StunResult::UnknownAttribute) };
        }
        // A lite agent is always controlled, so the peer must give in whatever the tie-breakers.
        if request.peer_is_controlled {
            let response = request.role_conflict(password);
            return Checked { response, ..Checked::dropped(StunResult::RoleConflict) };
        }
        let response = request.success(from, password);
        let (is_new, replaced) = self.validate(request, from, socket, is_current, now);
        let before = self.selected;
        self.select(request, from);
        let retired = if request.nominates && is_current { self.retire() } else { None };
        Checked {
            result: StunResult::Success,
            response,
            is_new,
            replaced,
            selection_changed: self.selected != before,
            retired,
        }
    }

    fn generation(&self, request: &Request<'_>) -> Option<(&Generation, bool)> {
        let local = request.local_ufrag()?;
        let remote = request.remote_ufrag()?;
        let matches = |generation: &Generation| {
            generation.local.ufrag == local
                && generation.remote_ufrag.as_deref().is_none_or(|expected| expected == remote)
        };
        if matches(&self.current) {
            return Some((&self.current, true));
        }
        self.previous
            .as_ref()
            .filter(|previous| matches(previous))
            .map(|previous| (previous, false))
    }

    fn validate(
        &mut self,
        request: &Request<'_>,
        from: SocketAddr,
        socket: u8,
        is_current: bool,
        now: Instant,
    ) -> (bool, Option<SocketAddr>) {
        if let Some(known) = self.addresses.iter_mut().find(|known| known.address == from) {
            known.priority = request.priority;
            known.is_current |= is_current;
            known.last_check = now;
            known.socket = socket;
            return (false, None);
        }
        let mut replaced = None;
        if self.addresses.len() >= ADDRESSES_MAX {
            let selected = self.selected;
            let others = self.addresses.iter().filter(|known| Some(known.address) != selected);
            replaced = others.min_by_key(|known| known.last_check).map(|known| known.address);
            self.addresses.retain(|known| Some(known.address) != replaced);
        }
        self.addresses.push(Validated {
            address: from,
            socket,
            priority: request.priority,
            is_nominated: false,
            nominations: 0,
            is_current,
            last_check: now,
        });
        (true, replaced)
    }

    /// Where to send after a check `from` an address (RFC 8445 §8.1.1 has the highest priority among
    /// nominated pairs). Beyond that, a nomination is followed when the selected address is checked
    /// without one afterwards, or is nominated no more while the other is nominated again: so peers
    /// that nominate anew switch at once, and those that nominate every pair do not flap.
    fn select(&mut self, request: &Request<'_>, from: SocketAddr) {
        let selected_now = self.selected;
        let Some(at) = self.addresses.iter().position(|known| known.address == from) else {
            return;
        };
        if request.nominates {
            let (is_current, nominations) = {
                let known = &mut self.addresses[at];
                known.is_nominated = true;
                known.nominations = known.nominations.saturating_add(1);
                (known.is_current, known.nominations)
            };
            if selected_now == Some(from) {
                self.addresses.iter_mut().for_each(|known| known.nominations = 0);
                return;
            }
            let holder = self.addresses.iter().find(|known| Some(known.address) == selected_now);
            let stays = holder.is_some_and(|holder| {
                holder.is_nominated
                    && holder.is_current >= is_current
                    && holder.priority >= request.priority
                    && nominations < 2
            });
            if !stays {
                self.choose(from);
            }
        } else if selected_now == Some(from) {
            self.addresses[at].is_nominated = false;
            let nominated = self.addresses.iter().filter(|known| known.is_nominated);
            if let Some(best) = nominated.max_by_key(|known| known.priority).map(|k| k.address) {
                self.choose(best);
            }
        } else if selected_now.is_none() {
            self.choose(from);
        }
    }

    fn choose(&mut self, address: SocketAddr) {
        self.selected = Some(address);
        self.addresses.iter_mut().for_each(|known| known.nominations = 0);
    }

    fn retire(&mut self) -> Option<IceCredentials> {
        self.previous.take().map(|previous| previous.local)
    }

    /// Takes new credentials of ours after the peer restarted ICE (RFC 8445 §9). The ones before
    /// stay valid until a pair of the new ones is nominated; returns those that had to give way.
    pub fn restart(
        &mut self,
        local: IceCredentials,
        remote_ufrag: Option<String>,
    ) -> Option<IceCredentials> {
        let before = std::mem::replace(&mut self.current, Generation { local, remote_ufrag });
        for known in &mut self.addresses {
            known.is_current = false;
        }
        self.previous.replace(before).map(|generation| generation.local)
    }

    /// Learns the peer's user name fragment from its answer.
    pub fn set_remote_ufrag(&mut self, ufrag: String) {
        self.current.remote_ufrag = Some(ufrag);
    }

    /// The peer's user name fragment, where it is known.
    pub fn remote_ufrag(&self) -> Option<&str> {
        self.current.remote_ufrag.as_deref()
    }

    /// Authentic media newer than all before came `from` an address: if it is validated, media goes
    /// there too from now on. Returns whether that changed anything.
    pub fn follow_media(&mut self, from: SocketAddr) -> bool {
        let is_known = self.addresses.iter().any(|known| known.address == from);
        let changes = is_known && self.selected != Some(from);
        if changes {
            self.choose(from);
        }
        changes
    }

    /// Where media is sent, once a check came.
    pub fn selected(&self) -> Option<&Validated> {
        let selected = self.selected?;
        self.addresses.iter().find(|known| known.address == selected)
    }

    /// Every address that media is accepted from.
    pub fn addresses(&self) -> &[Validated] {
        &self.addresses
    }

    /// Whether a check came from `address` within the last [`ADDRESS_HELD`].
    pub fn holds(&self, address: SocketAddr, now: Instant) -> bool {
        self.addresses.iter().any(|known| {
            known.address == address
                && now.saturating_duration_since(known.last_check) < ADDRESS_HELD
        })
    }

    /// Forgets an address, which another leg has validated since.
    pub fn forget(&mut self, address: SocketAddr) {
        self.addresses.retain(|known| known.address != address);
        if self.selected == Some(address) {
            self.selected = None;
            let best =
                self.addresses.iter().max_by_key(|known| (known.is_nominated, known.priority));
            if let Some(best) = best.map(|known| known.address) {
                self.choose(best);
            }
        }
    }

    /// Every user name fragment that checks for this leg may carry.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .map(|generation| generation.local.ufrag.as_str())
    }
}

impl Checked {
    /// A check that is not answered.
    pub fn dropped(result: StunResult) -> Self {
        Self {
            result,
            response: None,
            is_new: false,
            replaced: None,
            selection_changed: false,
            retired: None,
        }
    }
}

/// Addresses of one leg that media is accepted from.
pub const ADDRESSES_MAX: usize = 8;
/// How long after its last check an address cannot be taken over by another leg: three of the
/// intervals at which consent is renewed (RFC 7675 §5.1).
pub const ADDRESS_HELD: Duration = Duration::from_secs(15);

// RFC 8839 §5.4: ice-char.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
pub(crate) mod tests;
