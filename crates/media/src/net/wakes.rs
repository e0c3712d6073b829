//! Waking shards once for all that a thread tells them at its turn.
//!
//! Waking a thread costs as much as most of what it is then told. A thread with many calls says so
//! with [`put_off_wakes`], and calls [`wake_shards`] whenever it has nothing else to do.

use std::{
    cell::RefCell,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::control::ShardLink;

/// The shards that are still to be woken by this thread.
#[derive(Default)]
struct PutOff {
    links: Vec<Arc<ShardLink>>,
    since: Option<Instant>,
}

impl PutOff {
    fn wake(&mut self) {
        self.since = None;
        for link in self.links.drain(..) {
            // A shard that was up meanwhile has taken its commands.
            if link.is_pending.load(Ordering::Acquire) {
                link.waker.wake();
            }
        }
    }
}

/// A thread that ends wakes whom it has not woken yet.
impl Drop for PutOff {
    fn drop(&mut self) {
        self.wake();
    }
}

thread_local! {
    static PUT_OFF: RefCell<Option<PutOff>> = const { RefCell::new(None) };
}

/// From now on commands of the current thread reach their shards at the next [`wake_shards`], or
/// when a shard has something else to do.
pub fn put_off_wakes() {
    PUT_OFF.with_borrow_mut(|put_off| {
        put_off.get_or_insert_default();
    });
}

/// Wakes the shards that the current thread has commanded, if the first of these commands waits for
/// so long. Costs next to nothing when there are none.
pub fn wake_shards(waiting: Duration) {
    PUT_OFF.with_borrow_mut(|put_off| {
        let Some(put_off) = put_off else { return };
        let is_time = |since: Instant| waiting.is_zero() || since.elapsed() >= waiting;
        if put_off.since.is_some_and(is_time) {
            put_off.wake();
        }
    });
}

/// Remembers a shard that is to be woken; `false` when the current thread does not put wakes off.
pub(super) fn put_off(link: &Arc<ShardLink>) -> bool {
    // A thread that is ending has no such place any more.
    let put_off = PUT_OFF.try_with(|put_off| {
        let mut put_off = put_off.borrow_mut();
        let PutOff { links, since } = put_off.as_mut()?;
        since.get_or_insert_with(Instant::now);
        links.push(Arc::clone(link));
        Some(())
    });
    matches!(put_off, Ok(Some(())))
}
