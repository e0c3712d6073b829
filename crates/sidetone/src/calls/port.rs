//! The bounded queues between calls and the signalling loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dialog::{Body, OfferNumber, Party};
use dialplan::Cause;
use tokio::sync::{mpsc, oneshot};
use transport::net::NetError;
use transport::{Flow, Name, TransportKind};

use crate::loaded::Loaded;
use crate::signaling::{LegKey, Unsent};

/// What a call tells its SIP leg.
#[derive(Debug)]
pub enum SipCommand {
    /// Answer the INVITE with 180.
    Ring,
    /// Answer the INVITE with 183.
    Progress {
        /// An early answer, which [`SipCommand::Accept`] repeats.
        description: Option<String>,
    },
    /// Answer the INVITE with 200 and this description.
    Accept {
        /// The answer, or our offer when the INVITE had none.
        description: String,
    },
    /// Refuse the INVITE.
    Reject {
        /// A final status of 300 or more.
        status: u16,
        /// Further headers, such as Warning.
        headers: Vec<(Name, String)>,
    },
    /// Answer the offer of a re-INVITE or UPDATE.
    AnswerOffer {
        /// Which offer it is, as [`dialog::Event::Offer`] says.
        number: OfferNumber,
        /// The answer.
        description: String,
    },
    /// Refuse the offer of a re-INVITE or UPDATE; the session stays as it was.
    RejectOffer {
        /// Which offer it is, as [`dialog::Event::Offer`] says.
        number: OfferNumber,
        /// A final status of 300 or more.
        status: u16,
        /// Further headers, such as Warning.
        headers: Vec<(Name, String)>,
    },
    /// Send an INFO, such as a digit.
    Info {
        /// What it carries.
        body: Body,
    },
    /// Ask whether the peer is still there; one that is not ends the leg.
    Probe,
    /// End the leg: BYE, or before its answer CANCEL, with a Reason header.
    HangUp {
        /// The cause it names.
        cause: Cause,
        /// The whole value of Reason, in place of the cause's.
        reason: Option<String>,
    },
}

/// A call that a call makes.
#[derive(Debug, Clone)]
pub struct Dial {
    /// The call it belongs to, as the log names it.
    pub call_id: String,
    /// The Request-URI.
    pub uri: String,
    /// Route values, such as the Path of a registration.
    pub routes: Vec<String>,
    /// The flow of a registered contact. Once it is closed, or without one, the first route or the
    /// URI says where the INVITE goes.
    pub flow: Option<Flow>,
    /// The transport that the offer was made for: the INVITE takes it if nothing names another one,
    /// and never leaves in the clear if this one is secure (RFC 4568 §7).
    pub transport: TransportKind,
    /// User part of From, unescaped.
    pub from_user: String,
    /// Display name of From.
    pub from_name: Option<String>,
    /// User part of To at our own address; without it To is the Request-URI.
    pub to_user: Option<String>,
    /// Max-Forwards.
    pub max_forwards: u8,
    /// Our offer.
    pub description: String,
    /// Further header fields.
    pub headers: Vec<(Name, String)>,
}

/// What a SIP leg tells its call.
#[derive(Debug)]
pub enum SipEvent {
    /// Something happened on the dialog. Boxed, since a queue keeps room for many.
    Leg(Box<dialog::Event>),
    /// The connection the peer was heard on last was closed.
    FlowClosed,
    /// The peer is heard on another connection.
    FlowMoved,
}

impl SipEvent {
    /// The end of a leg that never came to send anything.
    pub(crate) fn unreachable(status: u16) -> SipEvent {
        let cause = dialog::Cause::Refused { status, contacts: Vec::new() };
        let end = dialog::Event::Ended { by: Party::Local, cause, reason: None };
        SipEvent::Leg(Box::new(end))
    }

    /// Whether a call that has fallen behind does without it: that it rings, once more.
    pub(crate) fn can_be_lost(&self) -> bool {
        matches!(self, SipEvent::Leg(event) if matches!(**event, dialog::Event::Progress { .. }))
    }

    fn is_end(&self) -> bool {
        matches!(self, SipEvent::Leg(event) if matches!(**event, dialog::Event::Ended { .. }))
    }
}

/// What reaches the signalling loop from tasks.
#[derive(Debug)]
pub(crate) enum Order {
    Command(LegKey, SipCommand),
    Dial(LegKey, Box<Dial>, mpsc::Sender<SipEvent>),
    /// The flow to a peer that is to be called was found, or not.
    Routed(LegKey, Result<Flow, NetError>),
    /// The flow to a peer whose connection had closed was made, or not.
    Reached(Unsent, Result<Flow, NetError>),
    /// New calls run on this; answered once they do.
    Renew(Box<Loaded>, oneshot::Sender<()>),
}

/// Where calls are made: the way into the signalling loop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer {
    orders: mpsc::Sender<Order>,
    keys: Arc<AtomicU64>,
    /// A call has left a leg of its behind, and could not say so.
    has_left: Arc<AtomicBool>,
}

/// The signalling loop's end of a [`Dialer`].
#[derive(Debug)]
pub struct Inbox(pub(crate) mpsc::Receiver<Order>);

impl Dialer {
    /// A dialer and the end that its signalling loop takes.
    #[must_use]
    pub fn new() -> (Self, Inbox) {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        (Dialer { orders, keys: Arc::default(), has_left: Arc::default() }, Inbox(inbox))
    }

    /// Lets every new call run on what was loaded; returns once that is so.
    pub async fn renew(&self, loaded: Loaded) {
        let (done, renewed) = oneshot::channel();
        self.order(Order::Renew(Box::new(loaded), done)).await;
        // An error means that the loop has ended with the process.
        let _ = renewed.await;
    }

    /// Whether a leg may have been left behind since this was asked last.
    pub(crate) fn take_left(&self) -> bool {
        self.has_left.swap(false, Ordering::Relaxed)
    }

    /// A key no other leg has.
    pub(crate) fn next_key(&self) -> LegKey {
        LegKey::new(self.keys.fetch_add(1, Ordering::Relaxed))
    }

    /// Hands an order over, waiting for a place.
    pub(crate) async fn order(&self, order: Order) {
        // An error means that the loop has ended with the process.
        let _ = self.orders.send(order).await;
    }
}

/// A call's end of the queues of one leg. Dropping it hangs the leg up.
#[derive(Debug)]
pub struct SipPort {
    key: LegKey,
    dialer: Dialer,
    events: mpsc::Receiver<SipEvent>,
    /// The leg has ended, or has been told to.
    is_over: bool,
}

impl SipPort {
    /// A port of a new leg, and the sender of its events.
    pub(crate) fn new(dialer: &Dialer) -> (Self, LegKey, mpsc::Sender<SipEvent>) {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let key = dialer.next_key();
        (SipPort { key, dialer: dialer.clone(), events, is_over: false }, key, sender)
    }

    /// Calls a peer. Never waits: what cannot be called ends with an event.
    #[must_use]
    pub fn dial(dialer: &Dialer, dial: Dial) -> Self {
        let (port, key, events) = SipPort::new(dialer);
        if let Err(error) = dialer.orders.try_send(Order::Dial(key, Box::new(dial), events))
            && let Order::Dial(_, _, events) = error.into_inner()
        {
            // A new queue has room for its first event.
            let _ = events.try_send(SipEvent::unreachable(503));
        }
        port
    }

    /// Tells the leg what to do. The loop that reads it outlives all calls; a command to a leg
    /// that has ended is ignored there.
    pub async fn command(&mut self, command: SipCommand) {
        let ends = matches!(command, SipCommand::HangUp { .. } | SipCommand::Reject { .. });
        self.dialer.order(Order::Command(self.key, command)).await;
        // Not before: who is dropped while the order waits for room has not given it.
        self.is_over |= ends;
    }

    /// The next event; `None` once the leg has ended and said so. Safe to cancel.
    pub async fn event(&mut self) -> Option<SipEvent> {
        let event = self.events.recv().await;
        self.is_over |= event.as_ref().is_none_or(SipEvent::is_end);
        event
    }
}

impl Drop for SipPort {
    fn drop(&mut self) {
        if !self.is_over {
            let command = SipCommand::HangUp { cause: Cause::NORMAL_CLEARING, reason: None };
            if self.dialer.orders.try_send(Order::Command(self.key, command)).is_err() {
                self.dialer.has_left.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Events of one leg that may wait for its call; a leg that sends more is ended.
const EVENTS_MAX: usize = 32;
/// Places among them that events which can be lost leave free.
pub(crate) const EVENTS_RESERVED: usize = 16;
/// Orders of all calls that may wait for the loop; a call waits beyond it.
const ORDERS_MAX: usize = 1_024;
