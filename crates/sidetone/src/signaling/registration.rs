//! A REGISTER whose user is known: what the registrar says to it (RFC 3261 §10.3).

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tracing::{debug, info};
use transaction::ServerId;
use transport::{Flow, Message, Name, ResponseWriter, TransportKind, framing};

use super::farewells::Returned;
use super::identity::Admitted;
use super::{Signaling, Wire};
use crate::metrics::RegistrationResult;
use crate::registrar::{Granted, Refused, Registration};

impl<W: Wire> Signaling<W> {
    pub(super) fn on_register(
        &mut self,
        id: ServerId,
        request: &Message,
        flow: &Flow,
        now: Instant,
    ) {
        let Some(Admitted::Registration(identity)) = self.admitted.take() else {
            return self.refuse(id, request, flow, &dialog::Refusal::Internal, now);
        };
        let Some(user) = identity.user else {
            return self.refuse(id, request, flow, &dialog::Refusal::Forbidden, now);
        };
        let registrar = &self.shared.registrar;
        let answer = Registration::read(request, flow).and_then(|wanted| {
            let wanted = match identity.lasts {
                Some(lasts) => wanted.by_token(lasts),
                None => wanted,
            };
            registrar.register(&user, &wanted, now.into())
        });
        let (status, writer) = match &answer {
            Ok(granted) => (200, accept(request, flow, granted)),
            Err(refused) => (refused.status(), reject(request, flow, *refused)),
        };
        log(&user.name, request, flow, &answer);
        self.shared.metrics.registration((&answer).into());
        self.shared.metrics.registrations(registrar);
        for left in answer.iter().flat_map(|granted| &granted.left) {
            self.legs.handle_moved(&user.name, left, flow, &mut self.transactions);
        }
        if answer.is_ok() && flow.kind != TransportKind::Udp {
            for contact in request.addresses(Name::Contact).flatten() {
                let peer = Returned { user: &user.name, contact: contact.uri(), flow: *flow };
                let metrics = &self.shared.metrics;
                self.legs.handle_registered(&peer, &mut self.transactions, metrics, now);
            }
        }
        let bytes = writer
            .to_tag(&self.stateless_tag)
            .header(Name::Server, &self.legs.settings().server)
            .finish();
        self.respond(id, request, status, bytes, now);
    }

    /// Keeps the ways to phones behind a NAT open, and lets go of what has run out.
    pub(super) fn tend_registrations(&mut self, now: Instant) {
        let registrar = &self.shared.registrar;
        registrar.handle_timeout(now.into());
        for flow in registrar.due_keep_alives(KEEP_ALIVES_MAX, now.into()) {
            self.send(&flow, Bytes::from_static(framing::PING));
        }
    }
}

/// A refresh is told to who looks closely; a phone that comes, goes or is refused to everybody.
fn log(user: &str, request: &Message, flow: &Flow, answer: &Result<Granted, Refused>) {
    let (transport, remote) = (flow.kind.label(), flow.remote);
    match answer {
        Ok(granted) => {
            let contacts = granted.contacts.len();
            let user_agent = request.header(Name::UserAgent);
            let user_agent = user_agent.as_deref();
            if contacts == 0 && granted.has_changed {
                info!(user, transport, %remote, user_agent, "unregistered");
            } else if granted.has_changed {
                info!(user, transport, %remote, contacts, user_agent, "registered");
            } else {
                debug!(user, transport, %remote, contacts, user_agent, "registration refreshed");
            }
        }
        Err(refused) => {
            info!(user, transport, %remote, reason = %refused, "registration refused");
        }
    }
}

fn accept(request: &Message, flow: &Flow, granted: &Granted) -> ResponseWriter {
    // Phones without a clock of their own show this time (RFC 3261 §10.3).
    let mut writer = ResponseWriter::to(request, flow, 200)
        .header(Name::Supported, SUPPORTED)
        .header(Name::Date, httpdate::HttpDate::from(SystemTime::now()));
    for contact in &granted.contacts {
        writer = writer.header(Name::Contact, contact);
    }
    for hop in &granted.path {
        writer = writer.header(Name::Path, hop);
    }
    if granted.is_outbound {
        writer = writer.header(Name::Require, "outbound");
        // Over UDP, it asks by STUN as often as it likes.
        if flow.kind != TransportKind::Udp {
            writer = writer.header(Name::FlowTimer, FLOW_TIMER_S);
        }
    }
    writer
}

fn reject(request: &Message, flow: &Flow, refused: Refused) -> ResponseWriter {
    let writer = ResponseWriter::to(request, flow, refused.status());
    match refused {
        Refused::BadRequest(phrase) => writer.phrase(phrase),
        Refused::IntervalTooBrief { min_expires_s } => {
            writer.header(Name::MinExpires, min_expires_s)
        }
        Refused::Full => writer.header(Name::RetryAfter, 60),
        Refused::NotByToken
        | Refused::TooManyContacts
        | Refused::OutOfOrder
        | Refused::FirstHopLacksOutbound => writer,
    }
}

impl From<&Result<Granted, Refused>> for RegistrationResult {
    fn from(answer: &Result<Granted, Refused>) -> Self {
        match answer {
            Ok(_) => RegistrationResult::Ok,
            Err(Refused::BadRequest(_) | Refused::FirstHopLacksOutbound) => {
                RegistrationResult::Malformed
            }
            Err(Refused::IntervalTooBrief { .. }) => RegistrationResult::TooBrief,
            Err(Refused::NotByToken) => RegistrationResult::Forbidden,
            Err(Refused::TooManyContacts) => RegistrationResult::TooManyContacts,
            Err(Refused::OutOfOrder) => RegistrationResult::OutOfOrder,
            Err(Refused::Full) => RegistrationResult::Full,
        }
    }
}

/// The option tags of the registrar (RFC 3327, RFC 5626).
pub(super) const SUPPORTED: &str = "outbound, path";
/// Seconds within which a client of RFC 5626 shows that it is there.
const FLOW_TIMER_S: u32 = 120;
/// Keep-alives sent in one turn of the loop.
const KEEP_ALIVES_MAX: usize = 256;
