//! What all legs of a server share.

use transaction::Timers;

use crate::session_timer::SessionPolicy;

/// What all legs of a server share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The value of Server and User-Agent.
    pub server: String,
    /// What our tags begin with, so that a front proxy can tell nodes apart; token characters only.
    pub node: String,
    /// T1 and what follows from it.
    pub timers: Timers,
    /// What we want of session timers.
    pub session: SessionPolicy,
    /// The body types that we read, for Accept.
    pub accept: &'static str,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            server: "Sidetone".to_owned(),
            node: String::new(),
            timers: Timers::default(),
            session: SessionPolicy::default(),
            accept: "application/sdp",
        }
    }
}
