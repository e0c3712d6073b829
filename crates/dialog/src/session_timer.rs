//! Session timers: RFC 4028.

use std::time::Duration;

/// Who repeats the request before the interval ends (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The side that sent the request.
    Uac,
    /// The side that answered it.
    Uas,
}

impl Refresher {
    /// The value of the `refresher` parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        }
    }
}

/// What we want of session timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPolicy {
    /// The shortest interval we accept, in seconds; at least 90 (RFC 4028 §4).
    pub min_se: u32,
    /// The interval to ask of a peer that knows session timers and named none, in seconds.
    pub session_expires: Option<u32>,
}

impl Default for SessionPolicy {
    fn default() -> SessionPolicy {
        SessionPolicy { min_se: MIN_SE, session_expires: None }
    }
}

impl SessionPolicy {
    /// The shortest interval that we accept, in seconds.
    pub(crate) fn least(&self) -> u32 {
        self.min_se.max(MIN_SE)
    }
}

/// What a request says about session timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionRequest {
    /// The interval of Session-Expires, in seconds.
    pub session_expires: Option<u32>,
    /// The `refresher` parameter of Session-Expires.
    pub refresher: Option<Refresher>,
    /// Min-SE, in seconds.
    pub min_se: Option<u32>,
    /// Whether Supported (or Require) lists `timer`.
    pub is_supported: bool,
}

/// What was agreed for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionInterval {
    /// The interval in seconds.
    pub seconds: u32,
    /// Who refreshes, seen from the request that agreed it.
    pub refresher: Refresher,
    /// Whether the response has to say `Require: timer` (RFC 4028 §9).
    pub is_required: bool,
}

/// The interval asked for is below our Min-SE: 422 (RFC 4028 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntervalTooSmall {
    /// Our Min-SE in seconds.
    pub min_se: u32,
}

impl SessionRequest {
    /// Reads the values of Session-Expires and Min-SE; what is malformed counts as absent.
    pub fn read(
        session_expires: Option<&str>,
        min_se: Option<&str>,
        is_supported: bool,
    ) -> SessionRequest {
        let mut parts = session_expires.unwrap_or_default().split(';').map(str::trim);
        let seconds = parts.next().and_then(|text| text.parse().ok());
        let refresher = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("refresher"))
            .and_then(|(_, value)| read_refresher(value.trim()));
        let min_se = min_se
            .and_then(|text| text.split(';').next())
            .and_then(|text| text.trim().parse().ok());
        SessionRequest { session_expires: seconds, refresher, min_se, is_supported }
    }

    /// What we agree to as the UAS (RFC 4028 §9, table 2).
    ///
    /// # Errors
    ///
    /// [`IntervalTooSmall`] if the peer knows session timers and asks for less than our Min-SE.
    pub fn negotiate(
        &self,
        policy: &SessionPolicy,
    ) -> Result<Option<SessionInterval>, IntervalTooSmall> {
        let min_se = policy.least();
        let seconds = match self.session_expires {
            Some(seconds) if seconds < min_se && self.is_supported => {
                return Err(IntervalTooSmall { min_se });
            }
            Some(seconds) => seconds.max(min_se),
            None if !self.is_supported => return Ok(None),
            None => match policy.session_expires {
                Some(seconds) => seconds.max(min_se).max(self.min_se.unwrap_or(0)),
                None => return Ok(None),
            },
        };
        // Who names a refresher knows session timers, whatever it lists.
        let default = if self.is_supported { Refresher::Uac } else { Refresher::Uas };
        let refresher = self.refresher.unwrap_or(default);
        let is_required = refresher == Refresher::Uac;
        Ok(Some(SessionInterval { seconds, refresher, is_required }))
    }
}

impl SessionInterval {
    /// The value of Session-Expires in our 2xx.
    pub fn header(&self) -> String {
        format!("{};refresher={}", self.seconds, self.refresher.as_str())
    }

    /// How long after the last refresh the side that does not refresh sends BYE (RFC 4028 §10).
    pub fn expiry(&self) -> Duration {
        let slack = (self.seconds / 3).min(EXPIRY_SLACK_SECONDS);
        Duration::from_secs((self.seconds - slack).into())
    }

    /// How long after the last refresh the refresher repeats it (RFC 4028 §10).
    pub fn refresh(&self) -> Duration {
        Duration::from_secs(self.seconds.into()) / 2
    }
}

fn read_refresher(value: &str) -> Option<Refresher> {
    [Refresher::Uac, Refresher::Uas]
        .into_iter()
        .find(|side| value.eq_ignore_ascii_case(side.as_str()))
}

/// A day: a peer that wants more wants none.
pub(crate) const SECONDS_MAX: u32 = 86_400;

/// RFC 4028 §4.
const MIN_SE: u32 = 90;

/// RFC 4028 §10.
const EXPIRY_SLACK_SECONDS: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc4028_9_the_90_seconds_of_a_browser_are_accepted() {
        let request = SessionRequest::read(Some("90"), None, true);
        let agreed = request.negotiate(&SessionPolicy::default()).unwrap().unwrap();
        assert_eq!(agreed.header(), "90;refresher=uac");
        assert!(agreed.is_required);
        assert_eq!(agreed.expiry(), Duration::from_secs(60));
        assert_eq!(agreed.refresh(), Duration::from_secs(45));
    }

    #[test]
    fn rfc4028_9_a_shorter_interval_gets_422_only_where_timer_is_supported() {
        let policy = SessionPolicy::default();
        let request = SessionRequest::read(Some("60"), None, true);
        assert_eq!(request.negotiate(&policy), Err(IntervalTooSmall { min_se: 90 }));
        let inserted = SessionRequest::read(Some("60"), None, false);
        let agreed = inserted.negotiate(&policy).unwrap().unwrap();
        assert_eq!((agreed.seconds, agreed.refresher), (90, Refresher::Uas));
        assert!(!agreed.is_required);
    }

    #[test]
    fn rfc4028_9_the_refresher_that_was_named_is_kept() {
        let request = SessionRequest::read(Some("1800 ; Refresher=UAS"), Some("120;x=y"), true);
        assert_eq!(request.min_se, Some(120));
        let agreed = request.negotiate(&SessionPolicy::default()).unwrap().unwrap();
        assert_eq!(agreed.header(), "1800;refresher=uas");
    }

    #[test]
    fn rfc4028_10_expiry_leaves_at_most_32_seconds() {
        let agreed =
            SessionInterval { seconds: 1800, refresher: Refresher::Uac, is_required: true };
        assert_eq!(agreed.expiry(), Duration::from_secs(1768));
    }

    #[test]
    fn a_peer_without_timers_gets_none() {
        let request = SessionRequest::read(None, None, false);
        let policy = SessionPolicy { session_expires: Some(1800), ..SessionPolicy::default() };
        assert_eq!(request.negotiate(&policy), Ok(None));
        let able = SessionRequest::read(None, Some("2000"), true);
        assert_eq!(able.negotiate(&policy).unwrap().unwrap().seconds, 2000);
    }

    #[test]
    fn nonsense_counts_as_absent() {
        for text in ["", "-1", "99999999999999", "abc;refresher=me", ";;;="] {
            let request = SessionRequest::read(Some(text), Some(text), true);
            assert_eq!((request.session_expires, request.min_se), (None, None), "{text}");
        }
    }
}
