//! What we send within the dialog: BYE, INFO, and what refreshes the session.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use transport::{Flow, Message, Method, Name, RequestWriter};

use super::{Leg, SUPPORTED};
use crate::body::Body;
use crate::error::Error;
use crate::event::{Action, Cause, Failure, Headers, Party, Purpose};
use crate::reject::ALLOW;
use crate::session_timer::{Refresher, SECONDS_MAX, SessionInterval, SessionRequest};
use crate::state::{Input, State};

/// A running session timer (RFC 4028).
pub(super) struct Session {
    interval: SessionInterval,
    /// Whether to refresh it is our part.
    is_ours: bool,
    /// When we refresh, if that is our part.
    refresh: Option<Instant>,
    /// When the session counts as dead.
    expiry: Instant,
    /// The peer wanted a longer interval since the last refresh.
    is_raised: bool,
}

impl Session {
    pub(super) fn deadline(&self) -> Instant {
        self.refresh.map_or(self.expiry, |refresh| refresh.min(self.expiry))
    }
}

impl Leg {
    /// A final or provisional response to the request that was started for `purpose`, which came
    /// on `flow`. Also a 2xx to an INVITE of ours whose transaction is gone.
    pub fn handle_response(
        &mut self,
        purpose: Purpose,
        response: &Message,
        flow: Flow,
        now: Instant,
    ) {
        let status = response.status().unwrap_or(0);
        match purpose {
            Purpose::Invite { cseq } => self.handle_invite_response(cseq, response, flow, now),
            Purpose::Bye if status >= 200 => self.run(Input::ByeDone, now),
            Purpose::Refresh if status >= 200 => {
                self.handle_refresh_response(status, response, now);
            }
            // A peer that does not answer INFO may still hear us; one that has no dialog cannot.
            Purpose::Info if status == 481 => self.lose(status, now),
            Purpose::Info if status >= 200 => self.send_next_info(),
            Purpose::Probe if matches!(status, 408 | 481) => self.lose(status, now),
            Purpose::Bye | Purpose::Refresh | Purpose::Info | Purpose::Probe | Purpose::ForkBye => {
            }
        }
    }

    /// The request that was started for `purpose` gets no response.
    pub fn handle_failure(&mut self, purpose: Purpose, failure: Failure, now: Instant) {
        match (purpose, failure) {
            (Purpose::Invite { cseq }, _) => self.handle_invite_failure(cseq, failure, now),
            (Purpose::Bye, Failure::Transport) => self.handle_bye_lost(now),
            (Purpose::Bye, Failure::Timeout) => self.run(Input::ByeDone, now),
            (Purpose::Refresh, Failure::Timeout) => self.lose(408, now),
            (Purpose::Refresh, Failure::Transport) => self.retry_refresh(now),
            (Purpose::Probe, Failure::Timeout) => self.lose(408, now),
            (Purpose::Probe, Failure::Transport) => self.handle_probe_lost(now),
            // What waits for it is as good as lost, and soon too old.
            (Purpose::Info, _) => self.infos = None,
            (Purpose::ForkBye, _) => {}
        }
    }

    /// The transaction of the request that was started for `purpose` is gone, or could not be
    /// started.
    pub fn handle_client_ended(&mut self, purpose: Purpose) {
        let Purpose::Invite { cseq } = purpose else { return };
        self.invites.retain(|number| *number != cseq);
        self.acks.retain(|ack| ack.cseq != cseq);
        self.calling.take_if(|calling| calling.cseq() == cseq);
    }

    /// An INFO, such as a digit, after those before it: on its way, one could overtake another, which
    /// the peer would refuse then (RFC 3261 §12.2.2). Ignored where there is no session.
    ///
    /// # Errors
    ///
    /// [`Error::InfosWait`] when the peer is too slow.
    pub fn info(&mut self, body: &Body) -> Result<(), Error> {
        match &mut self.infos {
            _ if !self.state.has_session() => Ok(()),
            Some(waiting) if waiting.len() >= INFOS_MAX => Err(Error::InfosWait),
            Some(waiting) => {
                waiting.push_back(body.clone());
                Ok(())
            }
            None => {
                self.infos = Some(VecDeque::from([body.clone()]));
                self.send_next_info();
                Ok(())
            }
        }
    }

    fn send_next_info(&mut self) {
        let next = self.infos.as_mut().and_then(VecDeque::pop_front);
        let next = next.filter(|_| self.state.has_session());
        let is_sent = next.and_then(|body| {
            // A target that cannot be addressed cannot be told.
            self.send(Purpose::Info, Method::Info, |writer| {
                writer.body(&body.content_type, &body.bytes)
            })
        });
        if is_sent.is_none() {
            self.infos = None;
        }
    }

    /// Asks a peer that need not send anything whether it is still there: one that says so in
    /// whatever words is, one that says nothing ends the leg (RFC 3261 §12.2.1.2). Not asked where a
    /// session timer tells.
    pub fn probe(&mut self) {
        if self.state == State::Confirmed && self.session.is_none() {
            self.probed = Some(self.flow.id);
            self.send_probe();
        }
    }

    pub(super) fn send_probe(&mut self) {
        // A target that cannot be addressed cannot be asked.
        let accept = self.settings.accept;
        let _ = self
            .send(Purpose::Probe, Method::Options, |writer| writer.header(Name::Accept, accept));
    }

    /// Starts the session timer that the 2xx to our INVITE agrees (RFC 4028 §7.2).
    pub(super) fn start_session_as_caller(&mut self, success: &Message, now: Instant) {
        let said = success.header(Name::SessionExpires);
        let agreed = SessionRequest::read(said.as_deref(), None, true);
        self.session = agreed.session_expires.map(|seconds| {
            let refresher = agreed.refresher.unwrap_or(Refresher::Uac);
            let seconds = seconds.max(MIN_SECONDS);
            let interval = SessionInterval { seconds, refresher, is_required: false };
            new_session(interval, refresher == Refresher::Uac, now)
        });
    }

    /// What a request of ours that refreshes the session says of it: who refreshes goes on to, and the
    /// peer is shown the least that it named itself (RFC 4028 §7.4).
    pub(super) fn session_headers(&self) -> Headers {
        let Some(session) = &self.session else { return Headers::new() };
        let refresher = if session.is_ours { Refresher::Uac } else { Refresher::Uas };
        let expires = format!("{};refresher={}", session.interval.seconds, refresher.as_str());
        let min_se = self.peer_min_se.map(|seconds| (Name::MinSe, seconds.to_string()));
        [(Name::SessionExpires, expires)].into_iter().chain(min_se).collect()
    }

    /// Starts, restarts or ends the session timer with what a request of the peer agreed.
    pub(super) fn start_session(&mut self, agreed: Option<SessionInterval>, now: Instant) {
        self.session = agreed.map(|interval| {
            let is_ours = interval.refresher == Refresher::Uas;
            new_session(interval, is_ours, now)
        });
    }

    pub(super) fn check_session(&mut self, now: Instant) {
        let Some(session) = &mut self.session else { return };
        if session.expiry <= now {
            self.session = None;
            self.ends(Party::Local, Cause::SessionExpired, None);
            let is_lost = self.is_out_of_reach();
            return self.run(if is_lost { Input::Abandon } else { Input::Lost }, now);
        }
        if session.refresh.is_some_and(|refresh| refresh <= now) {
            session.refresh = None;
            if self.is_out_of_reach() {
                // The peer may come back on another connection before the session expires.
                return self.retry_refresh(now);
            }
            self.refresh(now);
        }
    }

    /// RFC 4028 §7.4: by UPDATE if the peer has it, else by re-INVITE with the last description.
    fn refresh(&mut self, now: Instant) {
        match self.peer_has_update {
            Some(false) => self.refresh_by_invite(now),
            Some(true) | None => self.send_update(),
        }
    }

    pub(super) fn send_bye(&mut self, now: Instant) {
        let reason = self.reason_to_end();
        if self.send(Purpose::Bye, Method::Bye, |writer| with_reason(writer, reason)).is_none() {
            self.run(Input::ByeDone, now);
        }
    }

    pub(super) fn reason_to_end(&self) -> Option<Box<str>> {
        let own = || self.end.as_ref().and_then(|(_, cause, _)| cause.reason());
        self.bye_reason.clone().or_else(|| own().map(Box::from))
    }

    fn send_update(&mut self) {
        let contact = self.contact_value();
        let session = self.session_headers();
        // Without a refresh the session runs into its expiry.
        let _ = self.send(Purpose::Refresh, Method::Update, |writer| {
            let writer = writer
                .header(Name::Contact, contact)
                .header(Name::Allow, ALLOW)
                .header(Name::Supported, SUPPORTED);
            with_headers(writer, session)
        });
    }

    /// `None` if the remote target cannot be addressed; it was read before it was kept.
    pub(super) fn send(
        &mut self,
        purpose: Purpose,
        method: Method,
        fill: impl FnOnce(RequestWriter) -> RequestWriter,
    ) -> Option<()> {
        let (bytes, flow) = self.write(method, fill)?;
        self.actions.push_back(Action::Request { purpose, bytes, flow });
        Some(())
    }

    pub(super) fn write(
        &mut self,
        method: Method,
        fill: impl FnOnce(RequestWriter) -> RequestWriter,
    ) -> Option<(Bytes, Flow)> {
        let flow = self.dialog.next_hop(&self.flow);
        let kind = self.way_back().map_or(flow.kind, |hop| hop.transport);
        let branch = self.new_branch();
        let writer = self
            .dialog
            .request(method)
            .ok()?
            .via(kind, &self.contact, &branch)
            .header(Name::UserAgent, &self.settings.server);
        Some((fill(writer).finish(), flow))
    }

    fn handle_refresh_response(&mut self, status: u16, response: &Message, now: Instant) {
        match status {
            200..=299 => {
                self.dialog.refresh_target(response);
                self.take_refreshed(response, now);
            }
            408 | 481 => self.lose(status, now),
            // One that asks for more each time is asked again later, like any other that refuses.
            422 if self.session.as_ref().is_some_and(|session| !session.is_raised)
                && self.raise_interval(response) =>
            {
                self.send_update();
            }
            405 | 501 => {
                self.peer_has_update = Some(false);
                self.refresh_by_invite(now);
            }
            _ => self.retry_refresh(now),
        }
    }

    /// The peer's answer decides the interval and the refresher anew (RFC 4028 §7.2).
    pub(super) fn take_refreshed(&mut self, response: &Message, now: Instant) {
        let Some(session) = &self.session else { return };
        let said = response.header(Name::SessionExpires);
        let request = SessionRequest::read(said.as_deref(), None, true);
        let seconds = request.session_expires.unwrap_or(session.interval.seconds);
        let is_ours = match request.refresher {
            Some(refresher) => refresher == Refresher::Uac,
            None => session.is_ours,
        };
        let interval = SessionInterval { seconds: seconds.max(MIN_SECONDS), ..session.interval };
        self.session = Some(new_session(interval, is_ours, now));
    }

    /// RFC 4028 §7.4: a 422 names the least that the peer accepts; whether it is more than we asked
    /// for.
    pub(super) fn raise_interval(&mut self, response: &Message) -> bool {
        let asked = response.number(Name::MinSe).unwrap_or(0);
        let Some(session) = &mut self.session else { return false };
        let is_longer = asked > session.interval.seconds && asked <= SECONDS_MAX;
        if is_longer {
            session.interval.seconds = asked;
            session.is_raised = true;
            self.peer_min_se = Some(asked);
        }
        is_longer
    }

    pub(super) fn retry_refresh(&mut self, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let left = session.expiry.saturating_duration_since(now) / 2;
        session.refresh = (left >= RETRY_MIN).then(|| now + left);
    }

    /// Refreshes later if it is our part and was tried, or left to something else that failed.
    pub(super) fn retry_missed_refresh(&mut self, now: Instant) {
        if self.session.as_ref().is_some_and(|session| session.is_ours && session.refresh.is_none())
        {
            self.retry_refresh(now);
        }
    }

    pub(super) fn lose(&mut self, status: u16, now: Instant) {
        self.ends(Party::Local, Cause::DialogLost { status }, None);
        self.run(Input::Lost, now);
    }
}

pub(super) fn with_headers(writer: RequestWriter, headers: Headers) -> RequestWriter {
    headers.into_iter().fold(writer, |writer, (name, value)| writer.header(name, value))
}

pub(super) fn with_reason(writer: RequestWriter, reason: Option<Box<str>>) -> RequestWriter {
    match reason {
        Some(reason) => writer.header(Name::Reason, &*reason),
        None => writer,
    }
}

fn new_session(interval: SessionInterval, is_ours: bool, now: Instant) -> Session {
    Session {
        is_ours,
        refresh: is_ours.then(|| now + interval.refresh()),
        expiry: now + interval.expiry(),
        is_raised: false,
        interval,
    }
}

/// RFC 4028 §4.
const MIN_SECONDS: u32 = 90;

const RETRY_MIN: Duration = Duration::from_secs(1);

/// As many digits as anybody types ahead.
const INFOS_MAX: usize = 32;
