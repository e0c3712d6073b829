//! What an application may do to a call: the one door between a dialplan and the rest of the server.

use std::time::Duration;

use async_trait::async_trait;

use crate::bridge::{BridgeOutcome, BridgeRequest};
use crate::cause::Cause;
use crate::facts::Facts;
use crate::model::Action;
use crate::moment::Moment;
use crate::sound::SoundName;
use crate::tone::ToneScript;
use crate::variables::Variables;

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

    /// Plays a sound to its end. The call is answered. A sound that turns out to be unplayable is logged and
    /// skipped by the implementation.
    async fn play(&mut self, sound: &SoundName) -> Result<(), Ended>;

    /// Plays tones to the end of the script; returns only when the call ends if the script repeats for ever.
    /// The call is answered.
    async fn tones(&mut self, script: &ToneScript) -> Result<(), Ended>;

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
