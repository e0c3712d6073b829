//! An INVITE outside of any dialog: whether it becomes a call.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use dialog::{Body, Leg};
use dialplan::{Cause, Facts};
use futures_util::FutureExt;
use rand::RngExt;
use tracing::error;
use transaction::ServerId;
use transport::{Flow, Message, Name};

use super::identity::Admitted;
use super::stateless::OVERLOADED;
use super::{Signaling, Wire};
use crate::calls::{self, Invitation, Order, Place, SipCommand, SipPort, Trail};
use crate::metrics::Refusal;

impl<W: Wire> Signaling<W> {
    pub(super) fn on_invite(&mut self, id: ServerId, invite: Message, flow: Flow, now: Instant) {
        let Some(Admitted::Call(facts)) = self.admitted.take() else {
            return self.refuse(id, &invite, &flow, &dialog::Refusal::Internal, now);
        };
        let offer = Body::description(&invite);
        let place = match self.admit(offer.as_ref(), &facts, &flow) {
            Ok(place) => place,
            Err((counted, refusal)) => {
                self.shared.metrics.call_rejected(counted);
                return self.refuse(id, &invite, &flow, &refusal, now);
            }
        };
        let contact = self.contact(&flow);
        let settings = Arc::clone(self.legs.settings());
        match Leg::new(id, invite.clone(), flow, &contact, settings, &mut self.rng, now) {
            Ok(leg) => {
                let uuid = format!("{:032x}", self.rng.random::<u128>());
                let invitation = Invitation {
                    facts: Facts { uuid, ..*facts },
                    offer: offer.map(|body| body.bytes).unwrap_or_default(),
                    flow,
                    at: tokio::time::Instant::from_std(now),
                    max_forwards: max_forwards(&invite),
                    trail: Trail::read(&invite.header(Name::SidetoneTrail).unwrap_or_default()),
                };
                self.start_call(leg, id, invitation, place);
            }
            Err(refused) => {
                let is_brief = refused.status == 422;
                let counted = if is_brief { Refusal::TooBrief } else { Refusal::Malformed };
                self.shared.metrics.call_rejected(counted);
                self.respond(id, &invite, refused.status, refused.bytes, now);
            }
        }
    }

    /// Where the peer reaches us: the address and port it reached, as they are known outside, without the zone
    /// of a link-local address, which means nothing to the peer. A connection that we made has a
    /// port that nobody listens on: the one of a listener of its kind is named instead.
    pub(super) fn contact(&self, flow: &Flow) -> String {
        let local = flow.local;
        let ip = self.advertised.get(&local.ip()).copied().unwrap_or(local.ip());
        let is_listened_on = |address: &SocketAddr| {
            address.is_ipv4() == local.is_ipv4()
                && (address.ip().is_unspecified() || address.ip() == local.ip())
        };
        let mut ports = self
            .listeners
            .iter()
            .filter(|(kind, address)| *kind == flow.kind && is_listened_on(address))
            .map(|(_, address)| address.port());
        let first = ports.clone().next();
        let port = if ports.any(|port| port == local.port()) { None } else { first };
        let port = port.unwrap_or(local.port());
        let port = if ip == local.ip() { port } else { self.external_ports.outside(port) };
        SocketAddr::new(ip, port).to_string()
    }

    fn admit(
        &self,
        body: Option<&Body>,
        facts: &Facts,
        flow: &Flow,
    ) -> Result<Place, (Refusal, dialog::Refusal)> {
        if body.is_some_and(|body| !body.is_sdp()) {
            let refusal = dialog::Refusal::UnsupportedMediaType { accept: "application/sdp" };
            return Err((Refusal::NotAcceptable, refusal));
        }
        // Who lets calls be answered and never acknowledges them must not keep everybody else out.
        let is_known = facts.user.is_some();
        if !is_known && self.legs.unacknowledged(flow.remote.ip()) >= self.unacknowledged_max {
            return Err((Refusal::Overload, OVERLOADED));
        }
        Place::take(&self.shared.health).map_err(|counted| (counted, OVERLOADED))
    }

    fn start_call(&mut self, leg: Leg, id: ServerId, invitation: Invitation, place: Place) {
        let dialer = self.shared.dialer.clone();
        let (port, key, events) = SipPort::new(&dialer);
        let user = invitation.facts.user.as_deref().map(Box::from);
        self.legs.insert(key, leg, user, Some(id), events);
        let call = Box::pin(calls::run(Arc::clone(&self.shared), invitation, port, place));
        tokio::spawn(async move {
            if AssertUnwindSafe(call).catch_unwind().await.is_err() {
                error!("a call failed; this is a fault of Sidetone");
                let cause = Cause::NORMAL_TEMPORARY_FAILURE;
                let command = SipCommand::HangUp { cause, reason: None };
                dialer.order(Order::Command(key, command)).await;
            }
        });
    }
}

/// What it came with, or what RFC 3261 §8.1.1.6 has a caller write.
fn max_forwards(invite: &Message) -> u8 {
    invite.number(Name::MaxForwards).and_then(|hops| u8::try_from(hops).ok()).unwrap_or(70)
}
