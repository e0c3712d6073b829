//! A link that loses, repeats and delays, on virtual time.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// What a link does to what is sent over it.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Of a thousand datagrams, this many are lost.
    pub lost_per_mille: u32,
    /// Of a thousand datagrams, this many come twice.
    pub repeated_per_mille: u32,
    /// The longest a datagram is under way.
    pub delay_max: Duration,
}

/// Nothing is lost, and everything takes a millisecond.
pub const PERFECT: Faults =
    Faults { lost_per_mille: 0, repeated_per_mille: 0, delay_max: Duration::from_millis(1) };

/// One direction of a link.
#[derive(Debug, Clone)]
pub struct Link<T> {
    sender: mpsc::UnboundedSender<(Instant, T)>,
}

impl<T: Clone + Send + 'static> Link<T> {
    /// A link and the end at which what survives arrives, in the order of its arrival.
    pub fn new(faults: Faults, seed: u64) -> (Self, mpsc::UnboundedReceiver<T>) {
        let (sender, sent) = mpsc::unbounded_channel();
        let (arrived, receiver) = mpsc::unbounded_channel();
        tokio::spawn(carry(sent, arrived, faults, StdRng::seed_from_u64(seed)));
        (Link { sender }, receiver)
    }

    pub fn send(&self, item: T) {
        // The other end may have gone home.
        let _ = self.sender.send((Instant::now(), item));
    }
}

async fn carry<T: Clone>(
    mut sent: mpsc::UnboundedReceiver<(Instant, T)>,
    arrived: mpsc::UnboundedSender<T>,
    faults: Faults,
    mut rng: StdRng,
) {
    let mut under_way: Vec<(Instant, u64, T)> = Vec::new();
    let mut number = 0;
    loop {
        under_way.sort_by_key(|(due, number, _)| (*due, *number));
        let next = under_way.first().map(|(due, ..)| *due);
        tokio::select! {
            biased;
            item = sent.recv() => {
                let Some((at, item)) = item else { return };
                if rng.random_range(0..1000) < faults.lost_per_mille {
                    continue;
                }
                let copies = 1 + u32::from(rng.random_range(0..1000) < faults.repeated_per_mille);
                for _ in 0..copies {
                    let delay_us = rng.random_range(0..=faults.delay_max.as_micros() as u64);
                    under_way.push((at + Duration::from_micros(delay_us), number, item.clone()));
                    number += 1;
                }
            }
            () = until(next) => {
                let (_, _, item) = under_way.remove(0);
                if arrived.send(item).is_err() {
                    return;
                }
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
