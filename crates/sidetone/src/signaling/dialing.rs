//! Calls of ours until they have a flow: found at once where a contact has one, else by look-up and
//! connection in a task, so that the loop never waits.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dialog::{Body, Invite, Leg};
use tokio::sync::mpsc;
use tracing::{debug, info};
use transport::net::NetError;
use transport::routing::{NextHop, request_target};
use transport::{Error as AddressError, Flow, NameAddr, TransportKind, Uri};

use super::{LegKey, Signaling, Unsent, Wire};
use crate::calls::{Dial, Order, SipCommand, SipEvent};

/// A call that has no flow yet.
pub(super) struct Dialing {
    dial: Box<Dial>,
    events: mpsc::Sender<SipEvent>,
}

impl<W: Wire> Signaling<W> {
    pub(super) fn on_order(&mut self, order: Order, now: Instant) {
        match order {
            Order::Command(key, command) => match self.dialing.remove(&key) {
                Some(dialing) => self.on_early_command(key, dialing, &command),
                None => self.legs.command(key, command, now),
            },
            Order::Renew(loaded, done) => {
                self.renew(*loaded, now);
                // Who has given up waiting misses nothing.
                let _ = done.send(());
            }
            Order::Reached(unsent, found) => {
                let found = found.inspect_err(|error| debug!(%error, "peer not reached again"));
                let found = found.ok().filter(|flow| self.wire.is_open(flow));
                let metrics = &self.shared.metrics;
                self.legs.handle_routed(unsent, found, &mut self.transactions, metrics, now);
            }
            Order::Dial(key, dial, events) => self.on_dial(key, Dialing { dial, events }, now),
            Order::Routed(key, found) => {
                // A call that was given up meanwhile leaves a connection for the next.
                let Some(dialing) = self.dialing.remove(&key) else { return };
                match found {
                    Ok(flow) => self.start_leg(key, dialing, flow, now),
                    Err(error) => {
                        debug!(%error, uri = dialing.dial.uri, "peer not reached");
                        dialing.fail(status_of(&error));
                    }
                }
            }
        }
    }

    /// All that can be asked of a call that has sent nothing is to give it up.
    fn on_early_command(&mut self, key: LegKey, dialing: Dialing, command: &SipCommand) {
        match command {
            SipCommand::HangUp { .. } => dialing.end(dialog::Cause::Cancelled),
            _ => {
                self.dialing.insert(key, dialing);
            }
        }
    }

    fn on_dial(&mut self, key: LegKey, dialing: Dialing, now: Instant) {
        if dialing.is_left() {
            return;
        }
        if let Some(flow) = dialing.dial.flow.filter(|flow| self.wire.is_open(flow)) {
            return self.start_leg(key, dialing, flow, now);
        }
        let hop = match next_hop(&dialing.dial) {
            Ok(hop) => hop,
            Err(error) => {
                debug!(%error, uri = dialing.dial.uri, "no way to the peer");
                return dialing.fail(UNRESOLVABLE);
            }
        };
        let is_exposed = dialing.dial.transport.is_secure() && !hop.transport.is_secure();
        // RFC 7118 §5: nobody can connect to a browser.
        if is_exposed || matches!(hop.transport, TransportKind::Ws | TransportKind::Wss) {
            return dialing.fail(UNAVAILABLE);
        }
        self.dialing.insert(key, dialing);
        let (route, dialer) = (self.wire.route(hop), self.shared.dialer.clone());
        tokio::spawn(async move { dialer.order(Order::Routed(key, route.await)).await });
    }

    /// Connects to a peer whose connection has closed, for a request that has to reach it.
    pub(super) fn reach(&mut self, unsent: Unsent, hop: NextHop) {
        let (route, dialer) = (self.wire.route(hop), self.shared.dialer.clone());
        tokio::spawn(async move { dialer.order(Order::Reached(unsent, route.await)).await });
    }

    fn start_leg(&mut self, key: LegKey, dialing: Dialing, flow: Flow, now: Instant) {
        let Dialing { dial, events } = dialing;
        let contact = self.contact(&flow);
        let settings = Arc::clone(self.legs.settings());
        let user = dial.to_user.as_deref().map(Box::from);
        let invite = Invite {
            uri: dial.uri,
            routes: dial.routes,
            from_user: dial.from_user,
            from_name: dial.from_name,
            to_user: dial.to_user,
            max_forwards: dial.max_forwards,
            offer: Body::sdp(dial.description),
            headers: dial.headers,
        };
        match Leg::call(invite, flow, &contact, settings, &mut self.rng, now) {
            Ok(leg) => {
                info!(
                    call_id = dial.call_id,
                    sip_call_id = %leg.id().call_id,
                    callee = leg.remote_target(),
                    transport = flow.kind.label(),
                    remote = %flow.remote,
                    "calling"
                );
                self.legs.insert(key, leg, user, None, events);
            }
            Err(error) => {
                debug!(%error, "call not made");
                // A new queue has room for its first event.
                let _ = events.try_send(SipEvent::unreachable(UNRESOLVABLE));
            }
        }
    }
}

impl Dialing {
    /// Whether nobody waits for it any more.
    pub(super) fn is_left(&self) -> bool {
        self.events.is_closed()
    }

    fn fail(self, status: u16) {
        // A new queue has room for its first event.
        let _ = self.events.try_send(SipEvent::unreachable(status));
    }

    fn end(self, cause: dialog::Cause) {
        let event = dialog::Event::Ended { by: dialog::Party::Local, cause, reason: None };
        // A new queue has room for its first event.
        let _ = self.events.try_send(SipEvent::Leg(Box::new(event)));
    }
}

/// Where the first route, or else the URI, points.
fn next_hop(dial: &Dial) -> Result<NextHop, AddressError> {
    let uri: Uri = dial.uri.parse()?;
    let routes = dial.routes.iter();
    let routes: Result<Vec<NameAddr>, AddressError> =
        routes.map(|route| NameAddr::parse(Bytes::copy_from_slice(route.as_bytes()))).collect();
    let hop = request_target(&routes?, &uri)?.next_hop;
    let is_open = dial.routes.is_empty() && hop.is_open;
    Ok(if is_open { NextHop { transport: dial.transport, ..hop } } else { hop })
}

fn status_of(error: &NetError) -> u16 {
    match error {
        NetError::Resolve { .. } => UNRESOLVABLE,
        _ => UNREACHABLE,
    }
}

/// No address can be had from the URI; proxies in use say so with this status.
const UNRESOLVABLE: u16 = 478;
/// RFC 3261 §8.1.3.1: a transport error counts as 503.
const UNREACHABLE: u16 = 503;
/// The peer was there, and is gone.
const UNAVAILABLE: u16 = 480;
