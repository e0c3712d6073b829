//! One call that we place: INVITE, ACK, BYE, and their retransmissions over UDP. No socket, no clock.

use std::time::Instant;

use bytes::Bytes;
use transport::{Flow, Message, Method, Name, RequestWriter, ResponseWriter, Uri};

use crate::resend::{Due, Resend};

/// One call as its caller sees it (RFC 3261 §13, §15, §17.1).
pub struct Uac {
    settings: Settings,
    from: String,
    state: State,
    cseq: u32,
    branch: String,
    /// What is sent again until it is answered.
    resend: Option<Resend>,
    ack: Option<Bytes>,
    dialog: Option<Dialog>,
    retransmissions: u32,
}

/// What a call needs to know to be placed.
#[derive(Clone)]
pub struct Settings {
    /// Who is called.
    pub target: Uri,
    /// Our end of the flow, and the transport.
    pub flow: Flow,
    /// What stands in Via: our address, or a name for WebSocket (RFC 7118 §5).
    pub sent_by: String,
    /// Our Contact.
    pub contact: Uri,
    /// Call-ID, also the seed of tag and branches.
    pub call_id: String,
}

/// What an input led to.
#[derive(Default)]
pub struct Output {
    /// Bytes for the peer.
    pub transmit: Option<Bytes>,
    /// What happened to the call.
    pub event: Option<Event>,
}

/// What happened to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A 2xx came; this is its body.
    Answered(Bytes),
    /// A final response above 299.
    Refused(u16),
    /// The peer sent BYE.
    HungUp,
    /// Our BYE was answered.
    Ended,
    /// Nothing came for 64 times T1.
    TimedOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Calling,
    Confirmed,
    Leaving,
    Over,
}

struct Dialog {
    to: String,
    target: Uri,
}

impl Uac {
    /// Places the call: the returned bytes are the INVITE with this offer.
    pub fn invite(settings: Settings, offer: &[u8], now: Instant) -> (Uac, Bytes) {
        let call_id = settings.call_id.clone();
        let mut uac = Uac {
            from: format!("<sip:bench@{}>;tag=f{call_id}", settings.flow.local.ip()),
            branch: format!("z9hG4bK{call_id}.1"),
            settings,
            state: State::Calling,
            cseq: 1,
            resend: None,
            ack: None,
            dialog: None,
            retransmissions: 0,
        };
        let contact = format!("<{}>", uac.settings.contact);
        let bytes = uac
            .request(Method::Invite)
            .header(Name::Contact, contact)
            .body("application/sdp", offer)
            .finish();
        uac.repeat(bytes.clone(), now);
        (uac, bytes)
    }

    /// A message of this call arrived.
    pub fn handle_message(&mut self, message: &Message, now: Instant) -> Output {
        match (message.status(), message.method()) {
            (None, method) => self.handle_request(message, method.clone()),
            (Some(status), Method::Invite) => self.handle_invite_response(message, status),
            (Some(status), Method::Bye) => self.handle_bye_response(status, now),
            (Some(_), _) => Output::default(),
        }
    }

    /// The deadline of [`Uac::poll_timeout`] passed: sends again, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) -> Output {
        match self.resend.as_mut().map(|resend| resend.handle_timeout(now)) {
            None | Some(Due::NotYet) => Output::default(),
            Some(Due::Again(bytes)) => {
                let is_sent = !self.settings.flow.kind.is_reliable();
                self.retransmissions += u32::from(is_sent);
                Output { transmit: is_sent.then_some(bytes), event: None }
            }
            Some(Due::GivenUp) => {
                self.resend = None;
                self.state = State::Over;
                Output { transmit: None, event: Some(Event::TimedOut) }
            }
        }
    }

    /// When to call [`Uac::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.resend.as_ref().map(Resend::at)
    }

    /// Hangs up; `None` unless the call was answered.
    pub fn bye(&mut self, now: Instant) -> Option<Bytes> {
        if self.state != State::Confirmed {
            return None;
        }
        self.state = State::Leaving;
        self.cseq += 1;
        self.branch = format!("z9hG4bK{}.{}", self.settings.call_id, self.cseq);
        let bytes = self.request(Method::Bye).finish();
        self.repeat(bytes.clone(), now);
        Some(bytes)
    }

    /// Whether the call was answered and has not ended.
    pub fn is_up(&self) -> bool {
        self.state == State::Confirmed
    }

    /// Whether nothing more will come of this call.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Requests sent more than once.
    pub fn retransmissions(&self) -> u32 {
        self.retransmissions
    }

    fn handle_invite_response(&mut self, message: &Message, status: u16) -> Output {
        if status < 200 {
            if let Some(resend) = self.resend.as_mut().filter(|_| self.state == State::Calling) {
                resend.only_wait();
            }
            return Output::default();
        }
        if self.state != State::Calling {
            // The 2xx came again, so our ACK was lost.
            let is_repeated = status < 300 && message.cseq().is_some_and(|cseq| cseq.number == 1);
            return Output { transmit: self.ack.clone().filter(|_| is_repeated), event: None };
        }
        self.resend = None;
        let to = message.header(Name::To).unwrap_or_default().into_owned();
        if status >= 300 {
            self.state = State::Over;
            self.dialog = Some(Dialog { to, target: self.settings.target.clone() });
            let ack = self.request(Method::Ack).finish();
            return Output { transmit: Some(ack), event: Some(Event::Refused(status)) };
        }
        let contact = message.contact().map(|contact| contact.uri().clone());
        let target = contact.unwrap_or_else(|| self.settings.target.clone());
        self.state = State::Confirmed;
        self.dialog = Some(Dialog { to, target });
        self.branch = format!("z9hG4bK{}.ack", self.settings.call_id);
        let ack = self.request(Method::Ack).finish();
        self.ack = Some(ack.clone());
        Output { transmit: Some(ack), event: Some(Event::Answered(message.body())) }
    }

    fn handle_bye_response(&mut self, status: u16, now: Instant) -> Output {
        if self.state != State::Leaving {
            return Output::default();
        }
        if status < 200 {
            if let Some(resend) = &mut self.resend {
                resend.slow_down(now);
            }
            return Output::default();
        }
        self.resend = None;
        self.state = State::Over;
        Output { transmit: None, event: Some(Event::Ended) }
    }

    /// BYE ends the call; everything else but ACK is answered so that the peer does not repeat it.
    fn handle_request(&mut self, message: &Message, method: Method) -> Output {
        let status = match method {
            Method::Ack => return Output::default(),
            Method::Bye | Method::Options | Method::Info | Method::Notify => 200,
            _ => 501,
        };
        let response = ResponseWriter::to(message, &self.settings.flow, status).finish();
        let is_end = method == Method::Bye && self.state != State::Over;
        if is_end {
            self.state = State::Over;
            self.resend = None;
        }
        Output { transmit: Some(response), event: is_end.then_some(Event::HungUp) }
    }

    fn request(&self, method: Method) -> RequestWriter {
        let Settings { target, flow, sent_by, call_id, .. } = &self.settings;
        let uri = self.dialog.as_ref().map_or(target, |dialog| &dialog.target);
        let to = match &self.dialog {
            Some(dialog) => dialog.to.clone(),
            None => format!("<{target}>"),
        };
        RequestWriter::new(method, uri)
            .via(flow.kind, sent_by, &self.branch)
            .max_forwards(70)
            .header(Name::From, &self.from)
            .header(Name::To, to)
            .header(Name::CallId, call_id)
            .cseq(self.cseq)
    }

    fn repeat(&mut self, bytes: Bytes, now: Instant) {
        self.resend = Some(Resend::new(bytes, now));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use crate::resend::T1;
    use transport::{FlowId, Framing, Limits, TransportKind};

    fn call() -> (Uac, Message, Instant) {
        let local = "127.0.0.1:6000".parse().unwrap();
        let remote = "127.0.0.1:5060".parse().unwrap();
        let settings = Settings {
            target: Uri::at(Some("9197"), remote, TransportKind::Udp),
            flow: Flow { id: FlowId(0), kind: TransportKind::Udp, local, remote },
            sent_by: local.to_string(),
            contact: Uri::at(Some("bench"), local, TransportKind::Udp),
            call_id: "3.abc".to_owned(),
        };
        let now = Instant::now();
        let (uac, invite) = Uac::invite(settings, b"v=0\r\n", now);
        (uac, read(invite), now)
    }

    fn read(bytes: Bytes) -> Message {
        Message::parse(bytes, Framing::Datagram, &Limits::default()).unwrap()
    }

    fn respond(request: &Message, uac: &Uac, status: u16) -> Message {
        let contact = Uri::at(None, "127.0.0.1:5062".parse().unwrap(), TransportKind::Udp);
        let writer = ResponseWriter::to(request, &uac.settings.flow, status).to_tag("remote");
        let writer = writer.header(Name::Contact, format!("<{contact}>"));
        read(writer.body("application/sdp", b"answer").finish())
    }

    #[test]
    fn a_call_is_answered_acknowledged_and_ended() {
        let (mut uac, invite, now) = call();
        transport::validate(&invite, &transport::Policy { supported: &[] }).unwrap();
        let ok = respond(&invite, &uac, 200);
        let output = uac.handle_message(&ok, now);
        assert_eq!(output.event, Some(Event::Answered(Bytes::from_static(b"answer"))));
        let ack = read(output.transmit.unwrap());
        assert_eq!(ack.method(), &Method::Ack);
        assert_eq!(ack.request_uri_bytes(), b"sip:127.0.0.1:5062");
        assert_eq!(ack.to_tag().as_deref(), Some("remote"));

        let again = uac.handle_message(&ok, now);
        assert_eq!(again.transmit.as_ref(), Some(ack.bytes()));
        assert_eq!(again.event, None);

        let bye = read(uac.bye(now).unwrap());
        assert_eq!(bye.cseq().unwrap().number, 2);
        assert_eq!(uac.handle_message(&respond(&bye, &uac, 200), now).event, Some(Event::Ended));
        assert!(uac.is_over() && uac.poll_timeout().is_none());
    }

    #[test]
    fn rfc3261_17_1_1_2_an_invite_is_repeated_until_a_response_comes() {
        let (mut uac, invite, now) = call();
        assert_eq!(uac.poll_timeout(), Some(now + T1));
        let output = uac.handle_timeout(now + T1);
        assert_eq!(output.transmit.as_ref(), Some(invite.bytes()));
        assert_eq!(uac.poll_timeout(), Some(now + T1 * 3));
        uac.handle_message(&respond(&invite, &uac, 100), now + T1 * 2);
        assert_eq!(uac.handle_timeout(now + T1 * 3).transmit, None);
        assert_eq!(uac.handle_timeout(now + T1 * 64).event, Some(Event::TimedOut));
    }

    #[test]
    fn rfc3261_17_1_1_3_a_refusal_is_acknowledged_in_its_transaction() {
        let (mut uac, invite, now) = call();
        let output = uac.handle_message(&respond(&invite, &uac, 404), now);
        assert_eq!(output.event, Some(Event::Refused(404)));
        let ack = read(output.transmit.unwrap());
        assert_eq!(ack.header(Name::Via), invite.header(Name::Via));
        assert_eq!(ack.request_uri_bytes(), invite.request_uri_bytes());
        assert!(uac.bye(now).is_none());
    }

    #[test]
    fn a_bye_of_the_peer_ends_the_call() {
        let (mut uac, invite, now) = call();
        uac.handle_message(&respond(&invite, &uac, 200), now);
        let text = "BYE sip:bench@127.0.0.1:6000 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1\r\n\
             From: <sip:9197@x>;tag=remote\r\nTo: <sip:bench@x>;tag=f3.abc\r\nCall-ID: 3.abc\r\nCSeq: 1 BYE\r\n\r\n";
        let bye = read(Bytes::from_static(text.as_bytes()));
        let output = uac.handle_message(&bye, now);
        assert_eq!(output.event, Some(Event::HungUp));
        assert_eq!(read(output.transmit.unwrap()).status(), Some(200));
        assert_eq!(uac.handle_message(&bye, now).event, None);
    }
}
