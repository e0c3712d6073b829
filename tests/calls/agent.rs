//! A phone that follows a script: it calls or is called, holds, hangs up, or dies.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dialog::{Action, Body, Event as LegEvent, Failure, Invite, Leg, Purpose, Settings};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use transaction::{ClientId, Event, ServerId, TransactionLayer};
use transport::{
    Flow, FlowId, Framing, Limits, Message, Method, Name, ResponseWriter, TransportKind,
};

use crate::link::Link;
use crate::simulation::{SERVER, Simulation};

/// What a phone does.
#[derive(Debug, Clone)]
pub struct Script {
    pub part: Part,
    /// From the answer to a hold, and from that to the end of it.
    pub hold: Option<(Duration, Duration)>,
    /// From the answer to BYE.
    pub hang_up: Option<Duration>,
    /// From the start until it does not hear and say anything any more.
    pub death: Option<Duration>,
    /// Where it wants its media, if not at a port of its own.
    pub media_at: Option<u16>,
}

#[derive(Debug, Clone)]
pub enum Part {
    /// Calls a number, and gives up after a while.
    Calls { number: String, at: Duration, patience: Option<Duration> },
    /// Answers, after a provisional response with or without sound.
    Answers { after: Duration, has_early_media: bool },
    /// Refuses, or sends to what its Contact says.
    Refuses { after: Duration, status: u16, contact: Option<String> },
    /// Says something, and then that it is busy.
    Announces { after: Duration },
    /// Rings and rings.
    Rings,
}

/// What a phone has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub rtp_port: u16,
    /// The ports that the server wanted media at.
    pub server_ports: Vec<u16>,
    /// INVITEs that the server sent, our leg's and those that we were too busy for.
    pub invites: usize,
    pub rang: bool,
    pub answered: usize,
    pub ended: usize,
    pub end: Option<dialog::Cause>,
    pub end_reason: Option<String>,
    pub invite: Option<Message>,
    pub offers_answered: Vec<u16>,
    pub infos: Vec<Body>,
    pub is_dead: bool,
}

struct Agent {
    script: Script,
    flow: Flow,
    layer: TransactionLayer,
    settings: Arc<Settings>,
    rng: StdRng,
    to_server: Link<Bytes>,
    leg: Option<Leg>,
    clients: HashMap<ClientId, Purpose>,
    invite: Option<ServerId>,
    sdp_version: u32,
    due: Vec<(Instant, Deed)>,
    seen: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Call,
    GiveUp,
    Answer,
    Refuse,
    Hold,
    Resume,
    HangUp,
    Die,
}

impl Script {
    pub fn of(part: Part) -> Self {
        Script { part, hold: None, hang_up: None, death: None, media_at: None }
    }
}

/// Starts a phone at a port of its own; it lives until `end` and tells what it has seen.
pub fn start(
    simulation: &mut Simulation,
    index: u16,
    script: Script,
    end: Instant,
) -> JoinHandle<Seen> {
    let local = address(index);
    let (to_server, arrived) = simulation.line(local);
    let seed = simulation.seed().wrapping_mul(7919).wrapping_add(u64::from(index));
    let settings = Settings { server: "phone".to_owned(), ..Settings::default() };
    let mut agent = Agent {
        flow: Flow { id: FlowId(1), kind: TransportKind::Udp, local, remote: SERVER },
        layer: TransactionLayer::new(transaction::Config::default(), seed),
        settings: Arc::new(settings),
        rng: StdRng::seed_from_u64(seed),
        to_server,
        leg: None,
        clients: HashMap::new(),
        invite: None,
        sdp_version: 1,
        due: Vec::new(),
        seen: Seen { rtp_port: script.media_at.unwrap_or(rtp_port(index)), ..Seen::default() },
        script,
    };
    tokio::spawn(async move {
        agent.run(arrived, end).await;
        agent.seen
    })
}

pub fn address(index: u16) -> SocketAddr {
    ([192, 0, 2, 20], 7_000 + index).into()
}

pub fn rtp_port(index: u16) -> u16 {
    40_000 + 2 * index
}

impl Agent {
    async fn run(&mut self, mut arrived: mpsc::UnboundedReceiver<Bytes>, end: Instant) {
        if let Part::Calls { at, .. } = &self.script.part {
            self.do_after(*at, Deed::Call);
        }
        if let Some(after) = self.script.death {
            self.do_after(after, Deed::Die);
        }
        while !self.seen.is_dead && Instant::now() < end {
            self.settle();
            let timers = [self.layer.poll_timeout(), self.leg.as_ref().and_then(Leg::poll_timeout)];
            let timers = timers.into_iter().flatten().map(Instant::from_std);
            let next = timers.chain(self.due.iter().map(|(at, _)| *at)).min();
            tokio::select! {
                biased;
                bytes = arrived.recv() => {
                    let Some(bytes) = bytes else { return };
                    let message = Message::parse(bytes, Framing::Datagram, &Limits::default());
                    self.layer.handle_message(message.unwrap(), self.flow, now());
                }
                () = sleep_until(next.unwrap_or(end).min(end)) => self.on_time(),
            }
        }
    }

    fn do_after(&mut self, after: Duration, deed: Deed) {
        self.due.push((Instant::now() + after, deed));
    }

    fn on_time(&mut self) {
        self.layer.handle_timeout(now());
        if let Some(leg) = &mut self.leg {
            leg.handle_timeout(now());
        }
        let (due, later) = self.due.drain(..).partition(|(at, _)| *at <= Instant::now());
        self.due = later;
        for (_, deed) in due as Vec<(Instant, Deed)> {
            self.act(deed);
        }
    }

    fn act(&mut self, deed: Deed) {
        let body = self.description(if deed == Deed::Hold { "sendonly" } else { "sendrecv" });
        match (deed, &self.script.part) {
            (Deed::Die, _) => self.seen.is_dead = true,
            (Deed::Call, Part::Calls { number, patience, .. }) => {
                let invite = Invite {
                    uri: format!("sip:{number}@{SERVER}"),
                    routes: Vec::new(),
                    from_user: "caller".to_owned(),
                    from_name: None,
                    to_user: None,
                    max_forwards: 70,
                    offer: body,
                    headers: Vec::new(),
                };
                let (contact, patience) = (self.flow.local.to_string(), *patience);
                let (settings, flow) = (Arc::clone(&self.settings), self.flow);
                let leg = Leg::call(invite, flow, &contact, settings, &mut self.rng, now());
                self.leg = Some(leg.unwrap());
                if let Some(patience) = patience {
                    self.do_after(patience, Deed::GiveUp);
                }
            }
            (Deed::GiveUp, _) if self.seen.answered == 0 => self.hang_up(),
            (Deed::HangUp, _) => self.hang_up(),
            (Deed::Answer, _) => {
                // It may have been cancelled meanwhile.
                let Some(leg) = &mut self.leg else { return };
                if leg.accept(&body, Vec::new(), now()).is_ok() {
                    self.answered();
                }
            }
            (Deed::Refuse, Part::Refuses { status, contact, .. }) => {
                let headers = contact.iter().map(|value| (Name::Contact, value.clone()));
                let (status, headers) = (*status, headers.collect());
                if let Some(leg) = &mut self.leg {
                    let _ = leg.reject(status, headers, now());
                }
            }
            (Deed::Refuse, Part::Announces { .. }) => {
                if let Some(leg) = &mut self.leg {
                    let _ = leg.reject(486, Vec::new(), now());
                }
            }
            (Deed::Hold | Deed::Resume, _) => {
                self.sdp_version += 1;
                if let Some(leg) = &mut self.leg {
                    leg.offer(body, now());
                }
            }
            _ => {}
        }
    }

    fn hang_up(&mut self) {
        if let Some(leg) = &mut self.leg {
            leg.hang_up(Some("Q.850;cause=16;text=\"bye\""), now());
        }
    }

    fn answered(&mut self) {
        self.seen.answered += 1;
        if let Some((at, duration)) = self.script.hold {
            self.do_after(at, Deed::Hold);
            self.do_after(at + duration, Deed::Resume);
        }
        if let Some(after) = self.script.hang_up {
            self.do_after(after, Deed::HangUp);
        }
    }

    fn description(&self, direction: &str) -> Body {
        let (version, port) = (self.sdp_version, self.seen.rtp_port);
        Body::sdp(format!(
            "v=0\r\no=- 1 {version} IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\na={direction}\r\n"
        ))
    }

    /// Carries what the machines have to say to one another and to the server.
    fn settle(&mut self) {
        loop {
            if let Some(event) = self.layer.poll_event() {
                self.on_transaction(event);
            } else if let Some(action) = self.leg.as_mut().and_then(Leg::poll_action) {
                self.carry_out(action);
            } else if let Some(event) = self.leg.as_mut().and_then(Leg::poll_event) {
                self.on_leg(event);
            } else if let Some(transmit) = self.layer.poll_transmit() {
                self.to_server.send(transmit.bytes);
            } else {
                return;
            }
        }
    }

    fn on_transaction(&mut self, event: Event) {
        match event {
            Event::Request { id, message, flow } => self.on_request(id, message, flow),
            Event::Ack { message, flow } => {
                if let Some(leg) = &mut self.leg {
                    leg.handle_ack(&message, flow, now());
                }
            }
            Event::Cancel { invite, message } => {
                if let Some(leg) = self.leg.as_mut().filter(|_| self.invite == Some(invite)) {
                    leg.handle_cancel(invite, &message, now());
                }
            }
            Event::Response { id, message, flow } => {
                let purpose = self.clients.get(&id).copied();
                if let Some((leg, purpose)) = self.leg.as_mut().zip(purpose) {
                    leg.handle_response(purpose, &message, flow, now());
                }
            }
            Event::StraySuccess { message, flow } => {
                let cseq = message.cseq().unwrap().number;
                if let Some(leg) = &mut self.leg {
                    leg.handle_response(Purpose::Invite { cseq }, &message, flow, now());
                }
            }
            Event::Timeout { id } => self.failed(id, Failure::Timeout),
            Event::TransportFailed { id } => self.failed(id, Failure::Transport),
            Event::Unanswered { id } => {
                if let Some(leg) = &mut self.leg {
                    leg.handle_unanswered(id, now());
                }
            }
            Event::ClientTerminated { id } => {
                let purpose = self.clients.remove(&id);
                if let Some((leg, purpose)) = self.leg.as_mut().zip(purpose) {
                    leg.handle_client_ended(purpose);
                }
            }
            Event::ServerTerminated { .. } | Event::Overflow { .. } => {}
        }
    }

    fn failed(&mut self, id: ClientId, failure: Failure) {
        let purpose = self.clients.get(&id).copied();
        if let Some((leg, purpose)) = self.leg.as_mut().zip(purpose) {
            leg.handle_failure(purpose, failure, now());
        }
    }

    fn on_request(&mut self, id: ServerId, message: Message, flow: Flow) {
        if let Some(leg) = self.leg.as_mut().filter(|leg| leg.owns(&message)) {
            return leg.handle_request(id, message, flow, now());
        }
        let is_invite = *message.method() == Method::Invite && message.to_tag().is_none();
        self.seen.invites += usize::from(is_invite);
        let is_free = self.leg.is_none() && !matches!(self.script.part, Part::Calls { .. });
        if is_invite && is_free {
            return self.on_invite(id, message, flow);
        }
        let status = if is_invite { 486 } else { 481 };
        let bytes = ResponseWriter::to(&message, &flow, status).to_tag("busy").finish();
        self.layer.respond(id, status, bytes, now()).unwrap();
    }

    fn on_invite(&mut self, id: ServerId, message: Message, flow: Flow) {
        self.note_port(&message.body());
        self.seen.invite = Some(message.clone());
        let contact = self.flow.local.to_string();
        let settings = Arc::clone(&self.settings);
        let leg = Leg::new(id, message, flow, &contact, settings, &mut self.rng, now());
        let mut leg = leg.expect("the server's INVITE can be answered");
        self.invite = Some(id);
        self.seen.rang = true;
        match self.script.part.clone() {
            Part::Answers { after, has_early_media } => {
                let answer = self.description("sendrecv");
                let told = match has_early_media {
                    true => leg.progress(Some(&answer), now()),
                    false => leg.ring(now()),
                };
                told.unwrap();
                self.do_after(after, Deed::Answer);
            }
            Part::Announces { after } => {
                leg.progress(Some(&self.description("sendrecv")), now()).unwrap();
                self.do_after(after, Deed::Refuse);
            }
            Part::Refuses { after, .. } => self.do_after(after, Deed::Refuse),
            Part::Rings | Part::Calls { .. } => leg.ring(now()).unwrap(),
        }
        self.leg = Some(leg);
    }

    fn on_leg(&mut self, event: LegEvent) {
        match event {
            LegEvent::Accepted { answer } => {
                self.note_port(&answer.unwrap().bytes);
                self.answered();
            }
            LegEvent::Progress { .. } => self.seen.rang = true,
            LegEvent::Offer { number, .. } => {
                let body = self.description("sendrecv");
                let leg = self.leg.as_mut().unwrap();
                let _ = leg.answer_offer(number, &body, now());
            }
            LegEvent::OfferAnswered { status, .. } => self.seen.offers_answered.push(status),
            LegEvent::Info { body: Some(body) } => self.seen.infos.push(body),
            LegEvent::Ended { cause, reason, .. } => {
                self.seen.ended += 1;
                self.seen.end = Some(cause);
                self.seen.end_reason = reason;
            }
            _ => {}
        }
    }

    fn note_port(&mut self, sdp: &[u8]) {
        let text = String::from_utf8_lossy(sdp);
        let port = text.split("m=audio ").nth(1).and_then(|rest| rest.split(' ').next());
        self.seen.server_ports.extend(port.and_then(|port| port.parse::<u16>().ok()));
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Respond { id, status, bytes } => {
                let _ = self.layer.respond(id, status, bytes, now());
            }
            Action::Request { purpose, bytes, flow } => {
                let id = self.layer.request(bytes, flow, now()).unwrap();
                self.clients.insert(id, purpose);
            }
            Action::Cancel { purpose, reason } => {
                let found = self.clients.iter().find(|(_, known)| **known == purpose);
                if let Some((id, _)) = found {
                    let _ = self.layer.cancel(*id, reason.as_deref(), now());
                }
            }
            Action::Farewell { .. } => {}
            Action::Acknowledge { bytes, .. } => self.to_server.send(bytes),
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
