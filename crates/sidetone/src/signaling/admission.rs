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
use transport::{Flow, Message, Name, TransportKind};

use super::identity::Admitted;
use super::stateless::OVERLOADED;
use super::{Signaling, Wire};
use crate::calls::{self, Invitation, Order, Place, SipCommand, SipPort, Standing, Trail};
use crate::metrics::Refusal;

impl<W: Wire> Signaling<W> {
    pub(super) fn on_invite(&mut self, id: ServerId, invite: Message, flow: Flow, now: Instant) {
        let Some(Admitted::Call { facts, is_limited }) = self.admitted.take() else {
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
        let standing = self.standing(&flow, facts.user.is_some());
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
                    is_anonymous: is_anonymous(&invite),
                    is_limited,
                    standing,
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

    /// Where the peer reaches us: the address and port it reached, as they are known outside unless
    /// the peer is inside, without the zone
    /// of a link-local address, which means nothing to the peer. A connection that we made has a
    /// port that nobody listens on, and perhaps an address: a listener of its kind is named instead.
    pub(super) fn contact(&self, flow: &Flow) -> String {
        let local = listener_of(&self.listeners, flow).unwrap_or(flow.local);
        let outside = self.advertised.get(&local.ip());
        let outside = outside.filter(|_| !self.local_networks.has(flow.remote.ip()));
        let ip = outside.copied().unwrap_or(local.ip());
        let port = local.port();
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
        // Who lets calls ring, or be answered and never acknowledges them, must not keep everybody
        // else out, nor must many such addresses, which may be forged, keep users out. What rings may
        // be bridged and take two places.
        let from = flow.remote.ip();
        let (ringing_there, ringing) = self.legs.unanswered(from);
        let (from_there, from_all) = self.legs.unacknowledged(from);
        let most = self.unacknowledged_max;
        let is_full = ringing_there + from_there >= most
            || 2 * ringing + from_all >= UNACKNOWLEDGED_ADDRESSES * most;
        if is_full && facts.user.is_none() {
            return Err((Refusal::Overload, OVERLOADED));
        }
        Place::take(&self.shared.health).map_err(|counted| (counted, OVERLOADED))
    }

    fn standing(&self, flow: &Flow, has_password: bool) -> Standing {
        let (unacknowledged, _) = self.legs.unacknowledged(flow.remote.ip());
        match flow.kind.is_reliable() || has_password {
            true => Standing::Proven,
            false if unacknowledged < DOUBTED_FROM => Standing::Claimed,
            false => Standing::Doubted,
        }
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

/// Where a listener of the flow's kind is reached: at the flow's own address and port if one listens
/// there, else at its address, else wherever one of its family listens.
fn listener_of(listeners: &[(TransportKind, SocketAddr)], flow: &Flow) -> Option<SocketAddr> {
    let local = flow.local;
    let reached = || {
        let alike = listeners
            .iter()
            .filter(|(kind, address)| *kind == flow.kind && address.is_ipv4() == local.is_ipv4());
        alike.map(|(_, address)| match address.ip().is_unspecified() {
            true => SocketAddr::new(local.ip(), address.port()),
            false => *address,
        })
    };
    let own = SocketAddr::new(local.ip(), local.port());
    reached()
        .find(|address| *address == own)
        .or_else(|| reached().find(|address| address.ip() == own.ip()))
        .or_else(|| reached().next())
}

/// Whether the caller does not want to be known to whom it calls (RFC 3323 §4, RFC 3325 §7).
fn is_anonymous(invite: &Message) -> bool {
    let hides = |value: &str| {
        let is = |wanted: &str| value.trim().eq_ignore_ascii_case(wanted);
        ["id", "user", "header"].into_iter().any(is)
    };
    let mut values = invite.headers(Name::Privacy);
    let from = invite.from();
    let host = from.as_ref().and_then(|from| from.uri().host());
    values.any(|line| line.split([';', ',']).any(hides))
        || host.is_some_and(|host| host.eq_ignore_ascii_case("anonymous.invalid"))
}

/// What it came with, or what RFC 3261 §8.1.1.6 has a caller write.
fn max_forwards(invite: &Message) -> u8 {
    invite.number(Name::MaxForwards).and_then(|hops| u8::try_from(hops).ok()).unwrap_or(70)
}

/// How many addresses may have as many unacknowledged calls as one may: half of all calls are kept
/// for who acknowledges.
const UNACKNOWLEDGED_ADDRESSES: usize = 2;
/// Unacknowledged calls from one address that make the next one doubtful: a caller that makes 500
/// calls a second from 200 ms away has no more.
const DOUBTED_FROM: usize = 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use bytes::Bytes;
    use transport::{FlowId, Framing, Limits};

    use super::*;

    #[test]
    fn rfc3261_8_1_1_8_a_contact_is_where_somebody_listens() {
        let listeners = [
            (TransportKind::Udp, "192.0.2.1:5060".parse().unwrap()),
            (TransportKind::Tcp, "192.0.2.1:5061".parse().unwrap()),
            (TransportKind::Tcp, "192.0.2.2:5062".parse().unwrap()),
            (TransportKind::Ws, "0.0.0.0:8088".parse().unwrap()),
        ];
        for (kind, local, expected) in [
            (TransportKind::Udp, "192.0.2.1:5060", Some("192.0.2.1:5060")),
            (TransportKind::Tcp, "192.0.2.2:5062", Some("192.0.2.2:5062")),
            (TransportKind::Tcp, "192.0.2.2:40000", Some("192.0.2.2:5062")),
            (TransportKind::Tcp, "198.51.100.1:40000", Some("192.0.2.1:5061")),
            (TransportKind::Tcp, "[2001:db8::1]:40000", None),
            (TransportKind::Ws, "192.0.2.9:8088", Some("192.0.2.9:8088")),
            (TransportKind::Tls, "192.0.2.1:5061", None),
        ] {
            let local = local.parse().unwrap();
            let flow = Flow { id: FlowId(1), kind, local, remote: local };
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(listener_of(&listeners, &flow), expected, "{kind:?} {local}");
        }
    }

    #[test]
    fn rfc3323_4_who_wants_to_be_unknown_says_so() {
        for (headers, expected) in [
            ("From: <sip:198@a>\r\n", false),
            ("From: <sip:198@a>\r\nPrivacy: none\r\n", false),
            ("From: <sip:198@a>\r\nPrivacy: session; ID ;critical\r\n", true),
            ("From: <sip:198@a>\r\nPrivacy: header\r\nPrivacy: none\r\n", true),
            ("From: \"Anonymous\" <sip:anonymous@Anonymous.invalid>;tag=1\r\n", true),
        ] {
            let text = format!("INVITE sip:a@b SIP/2.0\r\n{headers}\r\n");
            let message =
                Message::parse(Bytes::from(text), Framing::Datagram, &Limits::default()).unwrap();
            assert_eq!(is_anonymous(&message), expected, "{headers}");
        }
    }
}
