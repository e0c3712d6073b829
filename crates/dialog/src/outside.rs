//! Requests that belong to no dialog of ours.

use bytes::Bytes;
use rand::Rng;
use transport::{Flow, Message, Name, ResponseWriter};

use crate::leg::{SUPPORTED, refuse_writer};
use crate::reject::{ALLOW, Refusal};
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

/// The 200 to OPTIONS that says what we can do (RFC 3261 §11.2).
pub fn capabilities(
    request: &Message,
    flow: &Flow,
    settings: &Settings,
    rng: &mut impl Rng,
) -> (u16, Bytes) {
    let writer = ResponseWriter::to(request, flow, 200)
        .to_tag(&new_tag(settings, rng))
        .header(Name::Server, &settings.server)
        .header(Name::Allow, ALLOW)
        .header(Name::Accept, settings.accept)
        .header(Name::Supported, SUPPORTED);
    (200, writer.finish())
}

fn new_tag(settings: &Settings, rng: &mut impl Rng) -> String {
    format!("{}{:016x}", settings.node, rng.next_u64())
}
