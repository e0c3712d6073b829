//! One phone that registers: REGISTER, the challenge, its answer, and the refreshes after it (RFC
//! 3261 §10.2). No socket, no clock.

use std::time::Instant;

use bytes::Bytes;
use transport::{Flow, Message, Method, Name, RequestWriter, Uri};

use crate::digest::{Account, Challenge};
use crate::resend::{Due, Resend};

/// One phone that registers.
pub struct Registrant {
    account: Account,
    flow: Flow,
    registrar: Uri,
    contact: String,
    call_id: String,
    cseq: u32,
    challenge: Option<Challenge>,
    /// Whether the request that is under way answers a challenge that came just before.
    has_answered: bool,
    resend: Option<Resend>,
    retransmissions: u32,
}

/// What an input led to.
#[derive(Default)]
pub struct Output {
    /// Bytes for the registrar.
    pub transmit: Option<Bytes>,
    /// How the registration ended.
    pub event: Option<Event>,
}

/// How a registration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A 2xx came.
    Registered,
    /// A final response above 299, other than a first challenge.
    Refused(u16),
    /// Nothing came for 64 times T1.
    TimedOut,
}

impl Registrant {
    /// A phone at this end of a flow to the registrar.
    #[must_use]
    pub fn new(account: Account, flow: Flow) -> Registrant {
        let contact = Uri::at(Some(&account.name), flow.local, flow.kind);
        Registrant {
            registrar: Uri::at(None, flow.remote, flow.kind),
            contact: format!("<{contact}>"),
            call_id: format!("r{}.{:08x}", account.name, rand::random::<u32>()),
            account,
            flow,
            cseq: 0,
            challenge: None,
            has_answered: false,
            resend: None,
            retransmissions: 0,
        }
    }

    /// Registers, or refreshes: with what is known of an earlier challenge, if there was one.
    pub fn register(&mut self, now: Instant) -> Bytes {
        self.has_answered = false;
        self.request(now)
    }

    /// Forgets the challenge, so that the next registration begins with one.
    pub fn forget_challenge(&mut self) {
        self.challenge = None;
    }

    /// A message on this flow arrived.
    pub fn handle_message(&mut self, message: &Message, now: Instant) -> Output {
        let is_ours = message.cseq().is_some_and(|cseq| cseq.number == self.cseq)
            && message.call_id() == self.call_id;
        let (Some(status @ 200..), true, true) = (message.status(), is_ours, self.resend.is_some())
        else {
            return Output::default();
        };
        self.resend = None;
        if status < 300 {
            return Output { transmit: None, event: Some(Event::Registered) };
        }
        let challenge = message.header(Name::WwwAuthenticate);
        let challenge = challenge.and_then(|value| Challenge::read(&value, &self.account));
        if status != 401 || self.has_answered || challenge.is_none() {
            return Output { transmit: None, event: Some(Event::Refused(status)) };
        }
        self.challenge = challenge;
        self.has_answered = true;
        Output { transmit: Some(self.request(now)), event: None }
    }

    /// The deadline of [`Registrant::poll_timeout`] passed: sends again, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) -> Output {
        match self.resend.as_mut().map(|resend| resend.handle_timeout(now)) {
            None | Some(Due::NotYet) => Output::default(),
            Some(Due::Again(bytes)) => {
                self.retransmissions += 1;
                Output { transmit: Some(bytes), event: None }
            }
            Some(Due::GivenUp) => {
                self.resend = None;
                Output { transmit: None, event: Some(Event::TimedOut) }
            }
        }
    }

    /// When to call [`Registrant::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.resend.as_ref().map(Resend::at)
    }

    /// Requests sent more than once.
    #[must_use]
    pub fn retransmissions(&self) -> u32 {
        self.retransmissions
    }

    fn request(&mut self, now: Instant) -> Bytes {
        self.cseq += 1;
        let Registrant { account, flow, registrar, contact, call_id, cseq, .. } = &*self;
        let address = format!("<sip:{}@{}>", account.name, flow.remote.ip());
        let mut writer = RequestWriter::new(Method::Register, registrar)
            .via(flow.kind, flow.local, &format!("z9hG4bK{call_id}.{cseq}"))
            .max_forwards(70)
            .header(Name::From, format_args!("{address};tag=f{call_id}"))
            .header(Name::To, &address)
            .header(Name::CallId, call_id)
            .cseq(*cseq)
            .header(Name::Contact, contact)
            .header(Name::Expires, EXPIRES_S);
        if let Some(challenge) = &mut self.challenge {
            let uri = self.registrar.as_str();
            writer = writer
                .header(Name::Authorization, challenge.answer(&self.account, "REGISTER", uri));
        }
        let bytes = writer.finish();
        self.resend = Some(Resend::new(bytes.clone(), now));
        bytes
    }
}

const EXPIRES_S: u32 = 600;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use transport::{FlowId, Framing, Limits, ResponseWriter, TransportKind};

    fn phone() -> (Registrant, Instant) {
        let (local, remote) = ("127.0.0.1:6000".parse(), "127.0.0.1:5060".parse());
        let kind = TransportKind::Udp;
        let flow = Flow { id: FlowId(0), kind, local: local.unwrap(), remote: remote.unwrap() };
        let account = Account { name: "u1".into(), password: "p1".into() };
        (Registrant::new(account, flow), Instant::now())
    }

    fn read(bytes: Bytes) -> Message {
        Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap()
    }

    fn respond(phone: &Registrant, request: &Message, status: u16) -> Message {
        let writer = ResponseWriter::to(request, &phone.flow, status).to_tag("remote");
        let challenge = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=MD5";
        let is_challenged = status == 401;
        read(if is_challenged {
            writer.header(Name::WwwAuthenticate, challenge).finish()
        } else {
            writer.finish()
        })
    }

    #[test]
    fn rfc3261_22_2_a_challenge_is_answered_once_and_used_again_by_the_refresh() {
        let (mut phone, now) = phone();
        let first = read(phone.register(now));
        transport::validate(&first, &transport::Policy { supported: &[] }).unwrap();
        assert!(!first.has(Name::Authorization));
        let output = phone.handle_message(&respond(&phone, &first, 401), now);
        let second = read(output.transmit.unwrap());
        assert_eq!(second.cseq().unwrap().number, 2);
        assert!(second.header(Name::Authorization).unwrap().contains("nc=00000001"));
        assert_eq!(phone.handle_message(&respond(&phone, &first, 401), now).event, None);
        let output = phone.handle_message(&respond(&phone, &second, 200), now);
        assert_eq!(output.event, Some(Event::Registered));

        let refresh = read(phone.register(now));
        assert!(refresh.header(Name::Authorization).unwrap().contains("nc=00000002"));
        phone.forget_challenge();
        assert!(!read(phone.register(now)).has(Name::Authorization));
    }

    #[test]
    fn a_wrong_password_is_not_tried_again() {
        let (mut phone, now) = phone();
        let first = read(phone.register(now));
        let second = phone.handle_message(&respond(&phone, &first, 401), now).transmit.unwrap();
        let output = phone.handle_message(&respond(&phone, &read(second), 401), now);
        assert!(output.transmit.is_none());
        assert_eq!(output.event, Some(Event::Refused(401)));
    }
}
