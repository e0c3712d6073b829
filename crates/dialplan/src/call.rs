//! What an application may do to a call: the one door between a dialplan and the rest of the server.

use std::time::Duration;

use async_trait::async_trait;

use crate::bridge::{BridgeOutcome, BridgeRequest};
use crate::cause::Cause;
use crate::facts::Facts;
use crate::model::Action;
use crate::moment::Moment;
use crate::play::Play;
use crate::recording::{RecordRequest, Recorded};
use crate::variables::Variables;
use crate::webhook::WebhookRequest;

/// A call as its dialplan sees it. The server implements it over dialogs and media; tests script it.
///
/// Every `async` method may return [`Ended`]: the call is over (the peer hung up, the media failed, the server
/// stops). An application passes it on with `?`, which stops the run. All futures may be dropped at any await.
#[async_trait]
pub trait Call: Send {
    /// What is known about the call since its INVITE, and which number and context it is at.
    fn facts(&self) -> &Facts;

    /// The call goes to another number and context: sets [`Facts::destination_number`], [`Facts::context`] and
    /// [`Facts::destination_user`].
    fn reroute(&mut self, number: &str, context: &str);

    /// Now, in local time.
    fn now(&self) -> Moment;

    /// The variables of the call.
    fn variables(&self) -> &Variables;

    /// The variables of the call, to change them.
    fn variables_mut(&mut self) -> &mut Variables;

    /// An action is about to run: for counters and traces. Does nothing if it is not overridden.
    fn action_begins(&mut self, _action: &Action) {}

    /// Writes one line to the log of the server. `text` may hold what the caller sent: log it as a value.
    fn log(&mut self, level: Level, text: &str);

    /// Whether a final 2xx was sent.
    fn is_answered(&self) -> bool;

    /// Answers with 200 and returns when media may flow in both directions. Does nothing if already answered.
    async fn answer(&mut self) -> Result<(), Ended>;

    /// Lets time pass: silence is sent once the call is answered.
    async fn sleep(&mut self, duration: Duration) -> Result<(), Ended>;

    /// Tells the caller that it rings: 180. Does nothing once the call is answered.
    async fn ring(&mut self) -> Result<(), Ended>;

    /// Opens early media with 183 and returns when it may flow. Does nothing once the call is answered.
    async fn pre_answer(&mut self) -> Result<(), Ended>;

    /// Whether sound can be played: the call is answered, or early media is open.
    fn has_early_media(&self) -> bool;

    /// Refuses a call that is not answered with this status, from 300 to 699. `reason` may hold anything: it is
    /// written as a value, such as a quoted string.
    async fn respond(&mut self, status: u16, reason: Option<&str>) -> Ended;

    /// Refuses a call that is not answered with 302 and these SIP URIs, at least one.
    async fn redirect(&mut self, contacts: &[String]) -> Ended;

    /// Plays to the end, or until a key of [`Play::stop_on`] is pressed, which is then returned and is not a digit
    /// for [`Call::digit`] any more. Other keys that are pressed meanwhile are kept for it. Never returns if it
    /// repeats for ever and no key is pressed. There is early media or an answer. A sound that turns out to be
    /// unplayable is logged and skipped by the implementation.
    async fn play(&mut self, play: &Play) -> Result<Option<char>, Ended>;

    /// The next key that the caller pressed: one that was kept, or one that comes within `timeout`.
    async fn digit(&mut self, timeout: Duration) -> Result<Option<char>, Ended>;

    /// Records what the caller says, until what `request` says ends it. The call is answered. A recording that
    /// cannot be made is logged by the implementation, and of no duration.
    async fn record(&mut self, request: &RecordRequest) -> Result<Recorded, Ended>;

    /// Records both sides of the call from now on; one that was begun before ends.
    async fn start_recording(&mut self, request: &RecordRequest) -> Result<(), Ended>;

    /// Ends what [`Call::start_recording`] began. Does nothing if there is none.
    async fn stop_recording(&mut self) -> Result<(), Ended>;

    /// Sends the facts and variables of the call to a URL, and returns the body of a 2xx answer, or in words why
    /// there is none. Takes no longer than the deadline; the caller is served meanwhile.
    async fn webhook(&mut self, request: &WebhookRequest) -> Result<Result<String, String>, Ended>;

    /// Sends what the caller says back to the caller, `delay` later (zero: at once), until the call ends.
    /// The call is answered.
    async fn echo(&mut self, delay: Duration) -> Ended;

    /// Calls someone else and joins the two: returns when the other side has hung up or could not be reached and
    /// the caller is still there. What the caller hears until the answer is the implementation's, as `request`
    /// says; the call is answered when a destination answers.
    async fn bridge(&mut self, request: &BridgeRequest) -> Result<BridgeOutcome, Ended>;

    /// Ends the call: BYE with a Reason header if it was answered, else the final response that
    /// [`Cause::sip_status`] names.
    async fn hang_up(&mut self, cause: Cause) -> Ended;
}

/// The call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("call ended by the {by} with {}", .cause.name())]
pub struct Ended {
    /// Who ended it.
    pub by: EndedBy,
    /// Why.
    pub cause: Cause,
}

impl Ended {
    /// The other side sent BYE or CANCEL.
    pub fn by_peer(cause: Cause) -> Self {
        Ended { by: EndedBy::Peer, cause }
    }

    /// An application hung up, or the actions ran out.
    pub fn by_dialplan(cause: Cause) -> Self {
        Ended { by: EndedBy::Dialplan, cause }
    }

    /// The server gave up: no media, no ACK, a shutdown.
    pub fn by_system(cause: Cause) -> Self {
        Ended { by: EndedBy::System, cause }
    }
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The other side.
    Peer,
    /// The dialplan.
    Dialplan,
    /// The server itself.
    System,
}

impl std::fmt::Display for EndedBy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            EndedBy::Peer => "peer",
            EndedBy::Dialplan => "dialplan",
            EndedBy::System => "system",
        })
    }
}

/// How loud a line of the application `log` is; names and order are FreeSWITCH's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Always shown.
    Console,
    /// Act at once.
    Alert,
    /// Critical.
    Crit,
    /// An error.
    Err,
    /// A warning.
    Warning,
    /// Normal, but worth seeing.
    Notice,
    /// Information.
    Info,
    /// For whoever looks for a fault.
    Debug,
}

impl Level {
    /// Reads a level by name (any case, as in `WARNING`) or by FreeSWITCH's number, 0 to 7.
    pub fn parse(word: &str) -> Option<Level> {
        let position = LEVELS.iter().position(|(name, _)| name.eq_ignore_ascii_case(word));
        let position = position.or_else(|| word.parse().ok());
        LEVELS.get(position?).map(|(_, level)| *level)
    }
}

/// Quietest last; the position is FreeSWITCH's number.
const LEVELS: [(&str, Level); 8] = [
    ("CONSOLE", Level::Console),
    ("ALERT", Level::Alert),
    ("CRIT", Level::Crit),
    ("ERR", Level::Err),
    ("WARNING", Level::Warning),
    ("NOTICE", Level::Notice),
    ("INFO", Level::Info),
    ("DEBUG", Level::Debug),
];
