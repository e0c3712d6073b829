//! What we send within the dialog: BYE, and UPDATE where we refresh the session.

use std::time::{Duration, Instant};

use transport::{Message, Method, Name, RequestWriter};

use super::{Leg, SUPPORTED};
use crate::event::{Action, Cause, Failure, Party, Purpose};
use crate::reject::ALLOW;
use crate::session_timer::{Refresher, SessionInterval, SessionRequest};
use crate::state::Input;

/// A running session timer (RFC 4028).
pub(super) struct Session {
    interval: SessionInterval,
    /// When we refresh, if that is our part.
    refresh: Option<Instant>,
    /// When the session counts as dead.
    expiry: Instant,
}

impl Session {
    pub(super) fn deadline(&self) -> Instant {
        self.refresh.map_or(self.expiry, |refresh| refresh.min(self.expiry))
    }
}

impl Leg {
    /// A final or provisional response to the request that was started for `purpose`.
    pub fn handle_response(&mut self, purpose: Purpose, response: &Message, now: Instant) {
        let Some(status) = response.status().filter(|status| *status >= 200) else { return };
        match purpose {
            Purpose::Bye => self.run(Input::ByeDone, now),
            Purpose::Refresh => self.handle_refresh_response(status, response, now),
        }
    }

    /// The request that was started for `purpose` gets no response.
    pub fn handle_failure(&mut self, purpose: Purpose, failure: Failure, now: Instant) {
        match (purpose, failure) {
            (Purpose::Bye, _) => self.run(Input::ByeDone, now),
            (Purpose::Refresh, Failure::Timeout) => self.lose(408, now),
            (Purpose::Refresh, Failure::Transport) => self.retry_refresh(now),
        }
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
            let is_lost = self.is_flow_lost;
            return self.run(if is_lost { Input::Abandon } else { Input::Lost }, now);
        }
        if session.refresh.is_some_and(|refresh| refresh <= now) {
            session.refresh = None;
            let seconds = session.interval.seconds;
            self.send_refresh(seconds);
        }
    }

    pub(super) fn send_bye(&mut self, now: Instant) {
        let reason = self.bye_reason.take();
        let sent = self.send(Purpose::Bye, Method::Bye, |writer| match &reason {
            Some(reason) => writer.header(Name::Reason, reason),
            None => writer,
        });
        if sent.is_none() {
            self.run(Input::ByeDone, now);
        }
    }

    /// An UPDATE without a body (RFC 4028 §7.4). A re-INVITE would need an offer of ours.
    fn send_refresh(&mut self, seconds: u32) {
        let contact = self.contact_value();
        let expires = format!("{seconds};refresher={}", Refresher::Uac.as_str());
        // Without a refresh the session runs into its expiry.
        let _ = self.send(Purpose::Refresh, Method::Update, |writer| {
            writer
                .header(Name::Contact, contact)
                .header(Name::Allow, ALLOW)
                .header(Name::Supported, SUPPORTED)
                .header(Name::SessionExpires, expires)
        });
    }

    /// `None` if the remote target cannot be addressed; it was read before it was kept.
    fn send(
        &mut self,
        purpose: Purpose,
        method: Method,
        fill: impl FnOnce(RequestWriter) -> RequestWriter,
    ) -> Option<()> {
        let flow = self.dialog.next_hop(&self.flow);
        let branch = self.new_branch();
        let writer = self
            .dialog
            .request(method)
            .ok()?
            .via(flow.kind, &self.contact, &branch)
            .header(Name::UserAgent, &self.settings.server);
        let bytes = fill(writer).finish();
        self.actions.push_back(Action::Request { purpose, bytes, flow });
        Some(())
    }

    fn handle_refresh_response(&mut self, status: u16, response: &Message, now: Instant) {
        match status {
            200..=299 => {
                self.dialog.refresh_target(response);
                self.take_refreshed(response, now);
            }
            408 | 481 => self.lose(status, now),
            422 => {
                let asked = response.number(Name::MinSe).unwrap_or(u32::MAX);
                self.lengthen_session(asked);
            }
            // Without UPDATE there is nothing to refresh with; silence of the media ends the call.
            405 | 501 => self.session = None,
            _ => self.retry_refresh(now),
        }
    }

    /// The peer's answer decides the interval and the refresher anew (RFC 4028 §7.2).
    fn take_refreshed(&mut self, response: &Message, now: Instant) {
        let Some(session) = &self.session else { return };
        let said = response.header(Name::SessionExpires);
        let request = SessionRequest::read(said.as_deref(), None, true);
        let seconds = request.session_expires.unwrap_or(session.interval.seconds);
        let is_ours = request.refresher != Some(Refresher::Uas);
        let interval = SessionInterval { seconds: seconds.max(MIN_SECONDS), ..session.interval };
        self.session = Some(new_session(interval, is_ours, now));
    }

    /// RFC 4028 §7.4: a 422 names the least that the peer accepts. Asked for once per interval.
    fn lengthen_session(&mut self, min_se: u32) {
        let Some(session) = &mut self.session else { return };
        if (session.interval.seconds..=SECONDS_MAX).contains(&min_se)
            && min_se != session.interval.seconds
        {
            session.interval.seconds = min_se;
            self.send_refresh(min_se);
        }
    }

    fn retry_refresh(&mut self, now: Instant) {
        let Some(session) = &mut self.session else { return };
        let left = session.expiry.saturating_duration_since(now) / 2;
        session.refresh = (left >= RETRY_MIN).then(|| now + left);
    }

    fn lose(&mut self, status: u16, now: Instant) {
        self.ends(Party::Local, Cause::DialogLost { status }, None);
        self.run(Input::Lost, now);
    }
}

fn new_session(interval: SessionInterval, is_ours: bool, now: Instant) -> Session {
    Session {
        refresh: is_ours.then(|| now + interval.refresh()),
        expiry: now + interval.expiry(),
        interval,
    }
}

/// RFC 4028 §4.
const MIN_SECONDS: u32 = 90;

/// A day: a peer that wants more wants none.
const SECONDS_MAX: u32 = 86_400;

const RETRY_MIN: Duration = Duration::from_secs(1);
