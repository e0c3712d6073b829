//! Who reads the events of each leg of a shard.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::mpsc;

use super::control::Permit;
use crate::shard::{LegEvent, LegKey};

/// The readers, each in the place of its leg.
#[derive(Default)]
pub(super) struct Readers {
    places: Vec<Option<Reader>>,
}

/// Who reads the events of a leg.
pub(super) struct Reader {
    key: LegKey,
    events: mpsc::Sender<LegEvent>,
    is_dropped: Arc<AtomicBool>,
    _permit: Permit,
}

impl Readers {
    /// Puts a reader in the place of its leg, which is a new one.
    pub(super) fn insert(&mut self, reader: Reader) {
        let at = reader.key.index();
        if self.places.len() <= at {
            self.places.resize_with(at + 1, || None);
        }
        self.places[at] = Some(reader);
    }

    pub(super) fn get(&self, key: LegKey) -> Option<&Reader> {
        self.places.get(key.index())?.as_ref().filter(|reader| reader.key == key)
    }

    pub(super) fn remove(&mut self, key: LegKey) {
        if self.get(key).is_some() {
            self.places[key.index()] = None;
        }
    }

    /// The legs that are read.
    pub(super) fn keys(&self) -> Vec<LegKey> {
        self.places.iter().flatten().map(|reader| reader.key).collect()
    }

    /// The legs whose readers are gone.
    pub(super) fn dropped(&self) -> Vec<LegKey> {
        let dropped = self.places.iter().flatten().filter(|reader| reader.is_gone());
        dropped.map(|reader| reader.key).collect()
    }
}

impl Reader {
    pub(super) fn new(
        key: LegKey,
        events: mpsc::Sender<LegEvent>,
        is_dropped: Arc<AtomicBool>,
        permit: Permit,
    ) -> Self {
        Self { key, events, is_dropped, _permit: permit }
    }

    /// Passes an event on; `false` if it is lost although somebody reads. A reader that falls behind
    /// loses what can be lost first; room is kept for what a call waits for.
    pub(super) fn tell(&self, event: LegEvent) -> bool {
        let can_be_lost =
            matches!(event, LegEvent::Dtmf { .. } | LegEvent::Quiet { .. } | LegEvent::Heard);
        let has_room = !can_be_lost || self.events.capacity() > EVENTS_RESERVED;
        (has_room && self.events.try_send(event).is_ok()) || self.is_gone()
    }

    fn is_gone(&self) -> bool {
        self.is_dropped.load(Ordering::Acquire)
    }
}

/// Places in a leg's event queue that events which can be lost leave free.
const EVENTS_RESERVED: usize = 16;
