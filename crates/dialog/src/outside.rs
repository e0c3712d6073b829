//! Requests that belong to no dialog of ours.

use bytes::Bytes;
use rand::Rng;
use transport::{Flow, Message};

use crate::leg::refuse_writer;
use crate::reject::Refusal;
use crate::settings::Settings;

/// The response that refuses `request`, in a transaction or, at the bound, without one.
pub fn refuse(
    request: &Message,
    flow: &Flow,
    refusal: &Refusal,
    settings: &Settings,
    rng: &mut impl Rng,
) -> (u16, Bytes) {
    let writer = refuse_writer(request, flow, refusal, settings);
    (refusal.status(), writer.to_tag(&new_tag(settings, rng)).finish())
}

fn new_tag(settings: &Settings, rng: &mut impl Rng) -> String {
    format!("{}{:016x}", settings.node, rng.next_u64())
}
