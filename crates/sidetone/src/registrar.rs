//! The registrar: which contacts a user is reached at (RFC 3261 §10.3).
//!
//! ```text
//!   REGISTER ─► Registration::read ─► Registrar::register ─► bindings of the user
//!   a flow that closes, time that passes ────────────────►      │        │
//!   calls ◄───────────── Registrar::contacts ◄──────────────────┘        └─► LocationStore
//! ```
//!
//! Bindings are keyed by instance and reg-id (RFC 5626 §6) where the contact has them, else by
//! its URI, and tied to the flow they came on. The table is shared: the signalling loop writes it,
//! calls read it. What can outlive the process is handed to a [`LocationStore`], which never holds
//! anybody up.

mod binding;
mod index;
mod registration;
mod sqlite;
mod store;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;
use tracing::info;
use transport::{Flow, TransportKind};

use crate::config::Config;
use crate::users::{User, Users};
use binding::{Binding, Way};
use index::Index;

pub use binding::Contact;
pub use registration::{Refused, Registration};
pub use sqlite::{LateStore, SqliteStore};
pub use store::{Change, LocationStore, MemoryStore, StoreError, StoredBinding, Writer};

/// What the registrar grants.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Shortest registration.
    pub expires_min: Duration,
    /// Longest registration.
    pub expires_max: Duration,
    /// Registration of who asks for no time.
    pub expires_default: Duration,
    /// How long a binding outlives its connection.
    pub flow_grace: Duration,
    /// Between keep-alives to UDP contacts behind a NAT; `None`: none.
    pub keep_alive_interval: Option<Duration>,
    /// Bindings of all users.
    pub bindings_max: usize,
}

impl From<&Config> for Policy {
    fn from(config: &Config) -> Self {
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        let registrar = &config.registrar;
        let interval = registrar.keep_alive_interval_s;
        Policy {
            expires_min: seconds(registrar.expires_min_s),
            expires_max: seconds(registrar.expires_max_s),
            expires_default: seconds(registrar.expires_default_s),
            flow_grace: Duration::from_secs(registrar.flow_grace_s),
            keep_alive_interval: (interval > 0).then(|| Duration::from_secs(interval)),
            bindings_max: config.limits.registrations_max,
        }
    }
}

/// All bindings of all users.
#[derive(Debug)]
pub struct Registrar {
    policy: Policy,
    users: DashMap<Arc<str>, Vec<Binding>>,
    index: Mutex<Index>,
    counts: [AtomicUsize; TransportKind::ALL.len()],
    store: Writer,
}

/// What a REGISTER was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    /// Values of Contact: every binding of the user, with the seconds it is still good for; highest
    /// q first, then the newest.
    pub contacts: Vec<String>,
    /// The Path that was stored, to be repeated to who knows what it is (RFC 3327 §5.3).
    pub path: Vec<String>,
    /// Whether a binding was made under the rules of RFC 5626, which the answer must say.
    pub is_outbound: bool,
    /// Whether a contact has come or gone.
    pub has_changed: bool,
    /// The flows that devices registered on before and have left for the one of this REGISTER.
    pub left: Vec<Flow>,
}

impl Registrar {
    /// A registrar without bindings, whose lasting ones go to `store`.
    #[must_use]
    pub fn new(policy: Policy, store: Writer) -> Self {
        Registrar {
            policy,
            users: DashMap::new(),
            index: Mutex::default(),
            counts: Default::default(),
            store,
        }
    }

    /// Takes bindings of an earlier process over. `flow_to` gives the socket that a UDP contact
    /// was registered at, if it is there again.
    pub fn restore(
        &self,
        stored: Vec<StoredBinding>,
        users: &Users,
        flow_to: impl Fn(SocketAddr, SocketAddr) -> Option<Flow>,
        now: Instant,
    ) {
        for stored in stored {
            let may_stay = |binding: &Binding| is_allowed(users, &stored.user, binding);
            let restored = Binding::restore(&stored, &flow_to, now).filter(may_stay);
            let Some(mut binding) = restored else {
                self.store.remove(stored.user, stored.key);
                continue;
            };
            // The clock that its end was written by may have been wrong.
            binding.expire_by(now + self.policy.expires_max);
            if self.len() >= self.policy.bindings_max {
                return;
            }
            let user: Arc<str> = stored.user.as_str().into();
            let mut bindings = self.users.entry(Arc::clone(&user)).or_default();
            self.insert(&user, &mut bindings, binding, now);
        }
    }

    /// The contacts a user can be reached at now: highest q first, then the newest.
    #[must_use]
    pub fn contacts(&self, user: &str) -> Vec<Contact> {
        let now = Instant::now();
        let Some(bindings) = self.users.get(user) else { return Vec::new() };
        live(&bindings, now).into_iter().map(Binding::contact).collect()
    }

    /// Whether who registered is at the other end of this flow, and no proxy.
    #[must_use]
    pub fn is_registered_on(&self, flow: &Flow) -> bool {
        self.index().has_direct(flow)
    }

    /// How many bindings there are of each transport.
    #[must_use]
    pub fn counts(&self) -> [(TransportKind, usize); TransportKind::ALL.len()] {
        TransportKind::ALL.map(|kind| (kind, self.counts[kind as usize].load(Ordering::Relaxed)))
    }

    /// Changes that the store has not taken: lost since the start, or waiting while it fails.
    #[must_use]
    pub fn store_failures(&self) -> u64 {
        self.store.failures()
    }

    /// Does what a REGISTER of `user` asks for, as a whole or not at all.
    ///
    /// # Errors
    /// Why nothing was done.
    pub fn register(
        &self,
        user: &User,
        registration: &Registration,
        now: Instant,
    ) -> Result<Granted, Refused> {
        let name: Arc<str> = user.name.as_str().into();
        let mut bindings = self.users.entry(Arc::clone(&name)).or_default();
        let result = self.apply(&name, user, &mut bindings, registration, now);
        let is_empty = bindings.is_empty();
        let granted = result.map(|granted| {
            let live = live(&bindings, now).into_iter().filter(|held| held.expires_at > now);
            Granted { contacts: live.map(|binding| binding.header(now)).collect(), ..granted }
        });
        drop(bindings);
        if is_empty {
            self.users.remove_if(&name, |_, bindings| bindings.is_empty());
        }
        granted
    }

    fn apply(
        &self,
        name: &Arc<str>,
        user: &User,
        bindings: &mut Vec<Binding>,
        registration: &Registration,
        now: Instant,
    ) -> Result<Granted, Refused> {
        let mut granted = Granted::default();
        while let Some(over) = bindings.iter().position(|binding| binding.deadline <= now) {
            self.remove(name, bindings, over);
        }
        if registration.is_star {
            if !bindings.iter().all(|held| registration.may_touch(held, now)) {
                return Err(Refused::NotByToken);
            }
            if bindings.iter().any(|binding| registration.is_out_of_order(binding)) {
                return Err(Refused::OutOfOrder);
            }
            granted.has_changed = !bindings.is_empty();
            while !bindings.is_empty() {
                self.remove(name, bindings, 0);
            }
            return Ok(granted);
        }
        let wanted = registration.bindings(&self.policy, now)?;
        let matches = |binding: &Binding| wanted.iter().any(|wanted| wanted.is_same(binding));
        if bindings.iter().any(|held| matches(held) && registration.is_out_of_order(held)) {
            return Err(Refused::OutOfOrder);
        }
        if bindings.iter().any(|held| matches(held) && !registration.may_touch(held, now)) {
            return Err(Refused::NotByToken);
        }
        self.make_room(name, user, bindings, registration, &wanted, now)?;
        for binding in wanted {
            let is_kept = binding.deadline > now;
            let is_same = |held: &Binding| binding.is_same(held);
            let held = bindings.iter().position(is_same).filter(|_| is_kept);
            // Who names its device at the URI that it had without one is bound twice.
            while let Some(other) = bindings.iter().rposition(is_same)
                && held != Some(other)
            {
                let left = bindings[other].flow_left_for(&binding);
                granted.left.extend(left.filter(|_| is_kept));
                self.remove(name, bindings, other);
                granted.has_changed = true;
            }
            if !is_kept {
                continue;
            }
            granted.is_outbound |= binding.is_outbound;
            if registration.knows_path {
                granted.path.clone_from(&binding.path);
            }
            match held {
                Some(held) => {
                    granted.left.extend(bindings[held].flow_left_for(&binding));
                    self.refresh(name, &mut bindings[held], binding, now);
                }
                None => {
                    self.insert(name, bindings, binding, now);
                    granted.has_changed = true;
                }
            }
        }
        Ok(granted)
    }

    /// Sees to it that what is wanted fits; unreachable bindings go first, then, if the user's
    /// section says so, the oldest.
    fn make_room(
        &self,
        name: &Arc<str>,
        user: &User,
        bindings: &mut Vec<Binding>,
        registration: &Registration,
        wanted: &[Binding],
        now: Instant,
    ) -> Result<(), Refused> {
        let stays = |held: &Binding| !wanted.iter().any(|wanted| wanted.is_same(held));
        let kept = wanted.iter().filter(|wanted| wanted.deadline > now).count();
        if kept == 0 {
            return Ok(());
        }
        let is_new = |wanted: &&Binding| {
            wanted.deadline > now && !bindings.iter().any(|held| wanted.is_same(held))
        };
        let added = wanted.iter().filter(is_new).count();
        let others = bindings.iter().filter(|held| stays(held)).count();
        let excess = (others + kept).saturating_sub(user.max_contacts);
        let leaves = |held: &&Binding| {
            wanted.iter().any(|wanted| wanted.deadline <= now && wanted.is_same(held))
        };
        let left = bindings.iter().filter(leaves).count() + excess;
        if added > 0 && self.len() + added > self.policy.bindings_max + left {
            return Err(Refused::Full);
        }
        if excess == 0 {
            return Ok(());
        }
        let may_go = |held: &Binding| {
            let is_over = !held.is_reachable(now);
            stays(held) && (is_over || user.remove_existing && registration.may_touch(held, now))
        };
        let removable = bindings.iter().filter(|held| may_go(held)).count();
        // A phone that is refused keeps what it has: nothing is removed in vain.
        if excess > removable || added == 0 {
            return if added == 0 { Ok(()) } else { Err(Refused::TooManyContacts) };
        }
        for _ in 0..excess {
            let oldest = bindings
                .iter()
                .enumerate()
                .filter(|(_, held)| may_go(held))
                .min_by_key(|(_, held)| (held.is_reachable(now), held.registered_at));
            let Some((oldest, _)) = oldest else { break };
            self.remove(name, bindings, oldest);
        }
        Ok(())
    }

    fn insert(
        &self,
        name: &Arc<str>,
        bindings: &mut Vec<Binding>,
        mut binding: Binding,
        now: Instant,
    ) {
        let mut index = self.index();
        binding.id = index.next_id();
        self.list(&mut index, name, &binding, now);
        drop(index);
        self.counts[binding.kind as usize].fetch_add(1, Ordering::Relaxed);
        self.persist(name, &binding, now);
        bindings.push(binding);
    }

    /// Puts a newer binding in the place of an older one of the same key.
    fn refresh(&self, name: &Arc<str>, held: &mut Binding, mut binding: Binding, now: Instant) {
        binding.id = held.id;
        let mut index = self.index();
        index.remove(held);
        self.list(&mut index, name, &binding, now);
        drop(index);
        self.counts[held.kind as usize].fetch_sub(1, Ordering::Relaxed);
        self.counts[binding.kind as usize].fetch_add(1, Ordering::Relaxed);
        let stored = held.is_lasting().then(|| held.key());
        *held = binding;
        let is_lasting = held.is_lasting();
        if is_lasting {
            self.persist(name, held, now);
        }
        // Another way to write a URI is another key.
        if let Some(key) = stored.filter(|key| !is_lasting || *key != held.key()) {
            self.store.remove(name.to_string(), key);
        }
    }

    fn remove(&self, name: &Arc<str>, bindings: &mut Vec<Binding>, at: usize) {
        let binding = bindings.swap_remove(at);
        self.index().remove(&binding);
        self.counts[binding.kind as usize].fetch_sub(1, Ordering::Relaxed);
        if binding.is_lasting() {
            self.store.remove(name.to_string(), binding.key());
        }
    }

    fn list(&self, index: &mut Index, name: &Arc<str>, binding: &Binding, now: Instant) {
        index.add(name, binding);
        if let Some(interval) = self.policy.keep_alive_interval.filter(|_| binding.is_behind_nat) {
            index.keep_alive(binding.id, now + interval);
        }
    }

    fn persist(&self, name: &Arc<str>, binding: &Binding, now: Instant) {
        if binding.is_lasting() {
            self.store.save(|| binding.stored(name, now));
        }
    }

    /// A connection is gone. What was registered on it falls after the grace time, unless it can
    /// be reached without it.
    pub fn handle_flow_closed(&self, flow: &Flow, now: Instant) {
        let owned = self.index().take_flow(flow);
        for (id, name) in owned {
            let Some(mut bindings) = self.users.get_mut(&name) else { continue };
            let Some(binding) = bindings.iter_mut().find(|binding| binding.id == id) else {
                continue;
            };
            let mut index = self.index();
            index.remove(binding);
            binding.lose_flow(now + self.policy.flow_grace);
            self.list(&mut index, &name, binding, now);
        }
    }

    /// Removes what has run out. Extra calls are harmless.
    pub fn handle_timeout(&self, now: Instant) {
        loop {
            let due = self.index().pop_due(now);
            let Some((id, name)) = due else { return };
            let Some(mut bindings) = self.users.get_mut(&name) else { continue };
            if let Some(at) = bindings.iter().position(|binding| binding.id == id) {
                info!(user = &*name, contact = bindings[at].uri.as_str(), "registration ended");
                self.remove(&name, &mut bindings, at);
            }
            let is_empty = bindings.is_empty();
            drop(bindings);
            if is_empty {
                self.users.remove_if(&name, |_, bindings| bindings.is_empty());
            }
        }
    }

    /// Flows that a keep-alive is due on, at most `most` of them.
    #[must_use]
    pub fn due_keep_alives(&self, most: usize, now: Instant) -> Vec<Flow> {
        let Some(interval) = self.policy.keep_alive_interval else { return Vec::new() };
        let due = self.index().due_keep_alives(most, now);
        let mut flows = Vec::with_capacity(due.len());
        for (id, name) in due {
            let Some(bindings) = self.users.get(&name) else { continue };
            let held = bindings.iter().find(|binding| binding.id == id && binding.is_behind_nat);
            if let Some(Binding { way: Way::Flow(flow), .. }) = held {
                flows.push(*flow);
                self.index().keep_alive(id, now + interval);
            }
        }
        flows
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) or
    /// [`due_keep_alives`](Self::due_keep_alives).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.index().next_deadline()
    }

    /// Forgets the bindings of users who are no more or have another password than among the `former`
    /// ones, and those over transports that their users may not use any more.
    pub fn retain_allowed(&self, users: &Users, former: &Users) {
        let names: Vec<Arc<str>> = self.users.iter().map(|entry| Arc::clone(entry.key())).collect();
        for name in names {
            let Some(mut bindings) = self.users.get_mut(&name) else { continue };
            let secrets = |users: &Users| users.get(&name).map(|user| user.secrets);
            let has_other = match (secrets(former), secrets(users)) {
                (Some(former), Some(secrets)) => !secrets.agrees_with(&former),
                _ => false,
            };
            let is_over =
                |held: &Binding| !is_allowed(users, &name, held) || has_other && !held.is_by_token;
            while let Some(over) = bindings.iter().position(is_over) {
                self.remove(&name, &mut bindings, over);
            }
            drop(bindings);
            self.users.remove_if(&name, |_, bindings| bindings.is_empty());
        }
    }

    fn len(&self) -> usize {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Taken after the lock of a user's bindings, never before.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_allowed(users: &Users, name: &str, binding: &Binding) -> bool {
    users.get(name).is_some_and(|user| user.may_use(binding.kind))
}

/// The bindings that can be reached: highest q first, then the newest.
fn live(bindings: &[Binding], now: Instant) -> Vec<&Binding> {
    let mut live: Vec<&Binding> =
        bindings.iter().filter(|binding| binding.is_reachable(now)).collect();
    live.sort_by_key(|binding| std::cmp::Reverse((binding.q_milli, binding.registered_at)));
    live
}

#[cfg(test)]
mod tests;
