//! A phone that registers and is called: it answers every call at once (RFC 3261 §13.3), and talks
//! in it if it is to.

mod voices;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::codec::Codec;
use serde::Serialize;
use transport::{Message, Method, Name, ResponseWriter, Uri};

use crate::description;
use crate::digest::Account;
use crate::error::Error;
use crate::net;
use crate::registrant::{self, Event, Registrant};
use crate::sip_socket::{Received, SipSocket};
use crate::stream::StreamTotals;
use crate::ticks::Ticks;
use voices::Voices;

/// A phone that is called, in a thread of its own.
pub struct Called {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<CalledReport, Error>>,
}

/// What a phone is.
#[derive(Debug, Clone)]
pub struct CalledOptions {
    /// The server's UDP listener.
    pub server: SocketAddr,
    /// Who registers.
    pub account: Account,
    /// The one codec that it takes, in which it talks; `None`: it is silent, for signalling alone.
    pub codec: Option<Codec>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CalledReport {
    /// INVITEs, those that came again included.
    pub invites: u64,
    /// ACKs.
    pub acks: u64,
    /// BYEs, those that came again included.
    pub byes: u64,
    /// What was heard in all calls.
    pub streams: StreamTotals,
    /// RTP packets sent.
    pub sent: u64,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    packets: AtomicU64,
}

impl Called {
    /// Registers with the server, and then answers.
    ///
    /// # Errors
    /// [`Error::NotRegistered`], and [`Error::Io`] when a socket fails.
    pub fn start(options: CalledOptions) -> Result<Called, Error> {
        let mut phone = Phone::open(options.server, options.codec)?;
        phone.register(options.account)?;
        let shared = Arc::new(Shared::default());
        let for_phone = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("called".to_owned())
            .spawn(move || phone.run(&for_phone))
            .map_err(Error::io("starting a thread"))?;
        Ok(Called { shared, thread })
    }

    /// RTP packets that it has heard.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.shared.packets.load(Ordering::Relaxed)
    }

    /// Answers no more.
    ///
    /// # Errors
    /// [`Error::Io`] when a socket failed, [`Error::ThreadLost`] when the thread panicked.
    pub fn stop(self) -> Result<CalledReport, Error> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Error::ThreadLost)?
    }
}

struct Phone {
    sip: SipSocket,
    contact: String,
    /// Where silent calls have their audio.
    rtp: UdpSocket,
    voices: Option<Voices>,
    report: CalledReport,
}

impl Phone {
    fn open(server: SocketAddr, codec: Option<Codec>) -> Result<Phone, Error> {
        let sip = SipSocket::open(server)?;
        let local = sip.flow().local;
        let rtp = net::open(SocketAddr::new(local.ip(), 0), RTP_RECEIVE_BYTES)
            .map_err(Error::io("opening a port"))?;
        let contact = format!("<{}>", Uri::at(None, local, sip.flow().kind));
        let voices = codec.map(Voices::new).transpose()?;
        Ok(Phone { sip, contact, rtp, voices, report: CalledReport::default() })
    }

    fn register(&mut self, account: Account) -> Result<(), Error> {
        let mut registrant = Registrant::new(account, *self.sip.flow());
        self.sip.send(registrant.register(Instant::now()));
        loop {
            self.sip.flush()?;
            thread::sleep(TICK);
            let now = Instant::now();
            let mut outputs = vec![registrant.handle_timeout(now)];
            let messages = self.sip.read();
            outputs
                .extend(messages.iter().map(|read| registrant.handle_message(&read.message, now)));
            for registrant::Output { transmit, event } in outputs {
                transmit.into_iter().for_each(|bytes| self.sip.send(bytes));
                match event {
                    Some(Event::Registered) => return Ok(()),
                    Some(Event::Refused(status)) => return Err(Error::NotRegistered { status }),
                    Some(Event::TimedOut) => return Err(Error::NotRegistered { status: 0 }),
                    None => {}
                }
            }
        }
    }

    fn run(mut self, shared: &Shared) -> Result<CalledReport, Error> {
        let mut ticks = Ticks::new();
        while !shared.stop.load(Ordering::Relaxed) {
            let due = ticks.wait();
            for Received { message, from, .. } in self.sip.read() {
                if let Some(response) = self.respond(&message)? {
                    self.sip.send_to(response, from);
                }
            }
            self.sip.flush()?;
            if let Some(voices) = &mut self.voices {
                shared.packets.fetch_add(voices.read()?, Ordering::Relaxed);
                due.for_each(|tick| voices.talk(tick));
            }
        }
        let (streams, sent) = self.voices.map(Voices::conclude).unwrap_or_default();
        Ok(CalledReport { streams, sent, ..self.report })
    }

    /// The response to a request. A lost 200 needs no timer of ours: what comes again is answered
    /// again.
    fn respond(&mut self, message: &Message) -> Result<Option<Bytes>, Error> {
        if !message.is_request() {
            return Ok(None);
        }
        let flow = *self.sip.flow();
        let respond = |status| ResponseWriter::to(message, &flow, status).to_tag(TAG);
        match message.method() {
            Method::Ack => {
                self.report.acks += 1;
                return Ok(None);
            }
            Method::Invite => {
                self.report.invites += 1;
                let Some(answer) = self.answer(message)? else {
                    return Ok(Some(respond(488).finish()));
                };
                let writer = respond(200).header(Name::Contact, &self.contact);
                return Ok(Some(writer.body("application/sdp", answer.as_bytes()).finish()));
            }
            Method::Bye => {
                self.report.byes += 1;
                if let Some(voices) = &mut self.voices {
                    voices.close(message.call_id());
                }
            }
            _ => {}
        }
        Ok(Some(respond(200).finish()))
    }

    /// The answer to the offer of an INVITE; `None` if it lacks our codec.
    fn answer(&mut self, invite: &Message) -> Result<Option<String>, Error> {
        let body = invite.body();
        let offer = String::from_utf8_lossy(&body);
        let codec = self.voices.as_ref().map_or(Codec::Pcmu, Voices::codec);
        let Some(formats) = description::taken(codec, &offer) else { return Ok(None) };
        let ip = self.sip.flow().local.ip();
        let rtp = match &mut self.voices {
            Some(voices) => voices.open(invite.call_id(), &offer, &formats, ip)?,
            None => Some(self.rtp.local_addr().map_err(Error::io("reading an address"))?),
        };
        Ok(rtp.map(|rtp| description::describe(rtp, &formats)))
    }
}

const TICK: Duration = Duration::from_millis(1);
const TAG: &str = "called";
const RTP_RECEIVE_BYTES: usize = 1 << 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use crate::setups::{SetUpLoad, SetUpOptions};

    #[test]
    fn calls_at_a_high_rate_are_answered_and_ended_without_a_server_between() {
        let phone = Phone::open("127.0.0.1:5060".parse().unwrap(), None).unwrap();
        let server = phone.sip.flow().local;
        let shared = Arc::new(Shared::default());
        let for_phone = Arc::clone(&shared);
        let thread = thread::spawn(move || phone.run(&for_phone));
        let called = Called { shared, thread };
        let time = Duration::from_millis(200);
        let options = SetUpOptions { server, number: "b".into(), rate: 500.0, time };
        let report = SetUpLoad::start(options).unwrap().wait().unwrap();
        assert_eq!((report.answered, report.ended, report.bad()), (report.calls, report.calls, 0));
        assert!((80..=101).contains(&report.calls), "{report:?}");
        assert!(report.setup_p50_ms > 0.0 && report.setup_p50_ms <= report.setup_p99_ms);
        let seen = called.stop().unwrap();
        assert_eq!((seen.acks, seen.byes), (report.calls, report.calls));
    }
}
