//! An INVITE outside of any dialog: whether it becomes a call.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use dialog::Leg;
use dialplan::Facts;
use futures_util::FutureExt;
use rand::RngExt;
use tracing::error;
use transaction::ServerId;
use transport::{Flow, Message};

use super::{RETRY_AFTER_S, Signaling, Wire};
use crate::calls::{self, Invitation, Place, SipPort};
use crate::metrics::Refusal;

impl<W: Wire> Signaling<W> {
    pub(super) fn on_invite(&mut self, id: ServerId, invite: Message, flow: Flow, now: Instant) {
        let place = match self.admit(&invite) {
            Ok(place) => place,
            Err((counted, refusal)) => {
                self.shared.metrics.call_rejected(counted);
                return self.refuse(id, &invite, &flow, &refusal, now);
            }
        };
        let contact = flow.local.to_string();
        let settings = Arc::clone(self.legs.settings());
        match Leg::new(id, invite.clone(), flow, &contact, settings, &mut self.rng, now) {
            Ok(leg) => self.start_call(leg, id, &invite, flow, place, now),
            Err(refused) => {
                self.shared.metrics.call_rejected(Refusal::Malformed);
                self.respond(id, &invite, refused.status, refused.bytes, now);
            }
        }
    }

    fn admit(&self, invite: &Message) -> Result<Place, (Refusal, dialog::Refusal)> {
        if !invite.body().is_empty() && !is_sdp(invite) {
            let refusal = dialog::Refusal::UnsupportedMediaType { accept: "application/sdp" };
            return Err((Refusal::NotAcceptable, refusal));
        }
        Place::take(&self.shared.health).map_err(|counted| {
            let refusal = dialog::Refusal::Overloaded { retry_after_s: RETRY_AFTER_S };
            (counted, refusal)
        })
    }

    fn start_call(
        &mut self,
        leg: Leg,
        id: ServerId,
        invite: &Message,
        flow: Flow,
        place: Place,
        now: Instant,
    ) {
        let uuid = format!("{:032x}", self.rng.random::<u128>());
        let facts = facts(invite, &flow, &self.shared.public_context, uuid);
        let (port, events) = SipPort::new(self.legs.next_key(), self.commands.clone());
        self.legs.insert(leg, id, events);
        let invitation = Invitation {
            facts,
            offer: invite.body(),
            flow,
            at: tokio::time::Instant::from_std(now),
        };
        let call = calls::run(Arc::clone(&self.shared), invitation, port, place);
        tokio::spawn(async move {
            // A call that panics drops its port, which ends its leg.
            if AssertUnwindSafe(call).catch_unwind().await.is_err() {
                error!("a call failed; this is a fault of Sidetone");
            }
        });
    }
}

fn is_sdp(message: &Message) -> bool {
    message.content_type().is_some_and(|kind| kind.eq_ignore_ascii_case("application/sdp"))
}

fn facts(invite: &Message, flow: &Flow, context: &str, uuid: String) -> Facts {
    let user = |uri: &transport::Uri| uri.user_decoded().unwrap_or_default().into_owned();
    let from = invite.from();
    Facts {
        destination_number: invite
            .request_uri()
            .and_then(Result::ok)
            .map(|uri| user(&uri))
            .unwrap_or_default(),
        caller_id_number: from.as_ref().map(|from| user(from.uri())).unwrap_or_default(),
        caller_id_name: from
            .as_ref()
            .and_then(|from| from.display_name())
            .unwrap_or_default()
            .into_owned(),
        network_addr: Some(flow.remote.ip()),
        transport: flow.kind.label().to_owned(),
        context: context.to_owned(),
        uuid,
        sip_call_id: invite.call_id().to_owned(),
    }
}
