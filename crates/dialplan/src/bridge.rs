//! Where a call is bridged to: the request that an application makes of a call, and how it ends.

use std::time::Duration;

use crate::cause::Cause;
use crate::tone::ToneScript;

/// Whom to call on behalf of a call, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BridgeRequest {
    /// Tried one after the other until one answers; the destinations of an attempt are called all at once, and the
    /// first one that answers wins. Neither list is empty.
    pub attempts: Vec<Vec<Destination>>,
    /// How long one attempt may ring: `call_timeout`.
    pub timeout: Option<Duration>,
    /// Whether sound from a destination that has not answered is kept from the caller: `ignore_early_media`.
    pub ignore_early_media: bool,
    /// What the caller hears while a destination rings without sound of its own: `ringback`.
    pub ringback: Option<ToneScript>,
    /// Whether `ringback` begins at once, before any destination rings: `instant_ringback`.
    pub instant_ringback: bool,
}

/// One place to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Who is called.
    pub target: Target,
    /// How long it may ring: `leg_timeout`.
    pub timeout: Option<Duration>,
    /// How long after the others it is called: `leg_delay_start`.
    pub delay: Option<Duration>,
    /// The name that the destination is shown: `origination_caller_id_name`, else `effective_caller_id_name`.
    pub caller_id_name: Option<String>,
    /// The number that the destination is shown: `origination_caller_id_number`, else
    /// `effective_caller_id_number`.
    pub caller_id_number: Option<String>,
    /// The variables of this leg, the ones above included. Values: some may come from the network.
    pub variables: Vec<(String, String)>,
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A user of this server, by name; at all addresses the user registered.
    User(String),
    /// A SIP URI: visible ASCII only, beginning with `sip:` or `sips:`.
    Uri(String),
}

/// How a bridge ended while the caller is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeOutcome {
    /// A destination answered, and has hung up.
    Completed {
        /// Why it hung up.
        cause: Cause,
    },
    /// No destination answered.
    Failed {
        /// Why the last one did not.
        cause: Cause,
        /// The final response it sent, if it sent one.
        status: Option<u16>,
    },
}

impl Destination {
    /// A variable of this leg.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::User(user) => write!(formatter, "user/{user}"),
            Target::Uri(uri) => formatter.write_str(uri),
        }
    }
}
