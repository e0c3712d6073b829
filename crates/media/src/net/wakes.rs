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
            // A shard that was up since it was called has taken its commands. Not so one that took
            // them right before: it has to be woken, or would be taken for called from then on.
            if link.is_called.load(Ordering::Acquire) {
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
    let remembered = PUT_OFF.try_with(|put_off| {
        let mut put_off = put_off.borrow_mut();
        let put_off = put_off.as_mut()?;
        put_off.since.get_or_insert_with(Instant::now);
        put_off.links.push(Arc::clone(link));
        Some(())
    });
    matches!(remembered, Ok(Some(())))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;
    use crate::{
        net::{
            control::Control,
            sys::{Epoll, Waker},
        },
        shard::{Command, LiveCounters},
    };

    /// A shard's outside, and what its thread would wait for.
    fn shard() -> (Arc<ShardLink>, Epoll) {
        let (link, epoll, _) = shard_with_queue();
        (link, epoll)
    }

    fn shard_with_queue() -> (Arc<ShardLink>, Epoll, Receiver<Control>) {
        let (queue, receiver) = sync_channel(8);
        let (waker, epoll) = (Arc::new(Waker::new().unwrap()), Epoll::new().unwrap());
        epoll.add_arrivals(&*waker, 1).unwrap();
        let link = ShardLink::new(queue, waker, Arc::new(LiveCounters::default()));
        (Arc::new(link), epoll, receiver)
    }

    fn is_woken(epoll: &mut Epoll) -> bool {
        epoll.wait(false).unwrap().count() > 0
    }

    #[test]
    fn a_thread_that_does_not_put_off_wakes_at_once() {
        let (link, mut epoll) = shard();
        link.wake();
        assert!(is_woken(&mut epoll));
        link.wake();
        assert!(!is_woken(&mut epoll), "it has not looked since");
    }

    #[test]
    fn wakes_that_are_put_off_come_once_for_each_shard() {
        std::thread::spawn(|| {
            put_off_wakes();
            let mut shards = [shard(), shard()];
            for (link, epoll) in &mut shards {
                link.wake();
                link.wake();
                assert!(!is_woken(epoll));
            }
            wake_shards(Duration::from_secs(3_600));
            assert!(!shards.iter_mut().any(|(_, epoll)| is_woken(epoll)), "it is too early");
            wake_shards(Duration::ZERO);
            assert!(shards.iter_mut().all(|(_, epoll)| is_woken(epoll)));
            let [(link, epoll), _] = &mut shards;
            link.looks();
            wake_shards(Duration::ZERO);
            assert!(!is_woken(epoll), "there is nothing new");
            link.wake();
            link.looks();
            wake_shards(Duration::ZERO);
            assert!(!is_woken(epoll), "it has taken its commands already");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_end_of_a_leg_wakes_only_a_shard_that_sleeps_long() {
        std::thread::spawn(|| {
            let close = |link: &Arc<ShardLink>| {
                let _ = link.send(Control::Command(1, Command::Close));
            };
            let (link, mut epoll, _queue) = shard_with_queue();
            assert!(link.may_sleep(false));
            close(&link);
            assert!(is_woken(&mut epoll), "this thread puts nothing off");
            put_off_wakes();
            link.looks();
            assert!(link.may_sleep(false));
            close(&link);
            assert!(!is_woken(&mut epoll));
            wake_shards(Duration::ZERO);
            assert!(is_woken(&mut epoll));

            link.looks();
            assert!(link.may_sleep(true));
            close(&link);
            wake_shards(Duration::ZERO);
            assert!(!is_woken(&mut epoll), "it is up soon");
            assert!(!link.may_sleep(false), "it was told something that nobody wakes it for");
            link.wake();
            wake_shards(Duration::ZERO);
            assert!(is_woken(&mut epoll), "something else was urgent");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_shard_that_took_its_command_before_it_was_called_is_woken_all_the_same() {
        std::thread::spawn(|| {
            put_off_wakes();
            let (link, mut epoll) = shard();
            // What `wake` does, with the shard at work in the middle of it.
            link.is_pending.store(true, Ordering::Release);
            link.looks();
            link.is_called.swap(true, Ordering::AcqRel);
            put_off(&link);
            wake_shards(Duration::ZERO);
            assert!(is_woken(&mut epoll), "it would be taken for called from then on");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_that_ends_wakes_whom_it_has_put_off() {
        let (link, mut epoll) = shard();
        let left = Arc::clone(&link);
        std::thread::spawn(move || {
            put_off_wakes();
            left.wake();
        })
        .join()
        .unwrap();
        assert!(is_woken(&mut epoll));
    }
}
