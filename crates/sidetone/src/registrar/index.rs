//! Bindings by flow and by deadline.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;
use transport::{Flow, FlowId};

use super::binding::Binding;

/// Finds bindings without a walk over all of them.
#[derive(Debug, Default)]
pub(super) struct Index {
    owners: HashMap<u64, Arc<str>>,
    kept_alive: HashMap<u64, Instant>,
    by_flow: HashMap<(FlowId, SocketAddr), Vec<Held>>,
    deadlines: BTreeSet<(Instant, u64)>,
    keep_alives: BTreeSet<(Instant, u64)>,
    next: u64,
}

#[derive(Debug)]
struct Held {
    id: u64,
    /// Without a proxy between.
    is_direct: bool,
}

impl Index {
    pub(super) fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn add(&mut self, owner: &Arc<str>, binding: &Binding) {
        self.owners.insert(binding.id, Arc::clone(owner));
        self.deadlines.insert((binding.deadline, binding.id));
        if let Some(flow) = binding.open_flow() {
            let held = Held { id: binding.id, is_direct: binding.is_direct() };
            self.by_flow.entry((flow.id, flow.remote)).or_default().push(held);
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.owners.remove(&binding.id);
        self.deadlines.remove(&(binding.deadline, binding.id));
        if let Some(at) = self.kept_alive.remove(&binding.id) {
            self.keep_alives.remove(&(at, binding.id));
        }
        let Some(flow) = binding.open_flow() else { return };
        let key = (flow.id, flow.remote);
        if let Some(ids) = self.by_flow.get_mut(&key) {
            ids.retain(|held| held.id != binding.id);
            if ids.is_empty() {
                self.by_flow.remove(&key);
            }
        }
    }

    /// Whether there is a binding on the flow whose path is none but the flow: one that leads to a
    /// proxy serves others, too.
    pub(super) fn has_direct(&self, flow: &Flow) -> bool {
        let held = self.by_flow.get(&(flow.id, flow.remote));
        held.is_some_and(|held| held.iter().any(|held| held.is_direct))
    }

    /// The bindings of a flow that is gone, with their owners.
    pub(super) fn take_flow(&mut self, flow: &Flow) -> Vec<(u64, Arc<str>)> {
        let ids = self.by_flow.remove(&(flow.id, flow.remote)).unwrap_or_default();
        let owned = |held: Held| Some((held.id, Arc::clone(self.owners.get(&held.id)?)));
        ids.into_iter().filter_map(owned).collect()
    }

    /// A binding that has run out, with its owner.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(u64, Arc<str>)> {
        while let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.deadlines.pop_first();
            if let Some(owner) = self.owners.get(&id) {
                return Some((id, Arc::clone(owner)));
            }
        }
        None
    }

    pub(super) fn keep_alive(&mut self, id: u64, at: Instant) {
        if let Some(before) = self.kept_alive.insert(id, at) {
            self.keep_alives.remove(&(before, id));
        }
        self.keep_alives.insert((at, id));
    }

    /// Takes what is due.
    pub(super) fn due_keep_alives(&mut self, most: usize, now: Instant) -> Vec<(u64, Arc<str>)> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.keep_alives.first().copied()
            && at <= now
            && due.len() < most
        {
            self.keep_alives.pop_first();
            self.kept_alive.remove(&id);
            if let Some(owner) = self.owners.get(&id) {
                due.push((id, Arc::clone(owner)));
            }
        }
        due
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, u64)>| set.first().map(|(at, _)| *at);
        [first(&self.deadlines), first(&self.keep_alives)].into_iter().flatten().min()
    }
}
