//! Why nobody answered: one failure for each one who was called, and the best of them.

use dialplan::Cause;

/// Why one who was called did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub cause: Cause,
    /// The final response, if one came.
    pub status: Option<u16>,
    /// The value of its Reason.
    pub reason: Option<String>,
    /// The way to a device failed and not the device, which may be reached on another flow (RFC
    /// 5626 §7).
    pub is_of_flow: bool,
}

impl Failure {
    /// Without a response of the other side.
    pub(super) fn ours(cause: Cause) -> Self {
        Failure { cause, status: None, reason: None, is_of_flow: false }
    }

    /// A final response: of the other side, or of ours in its place (RFC 3261 §8.1.3.1).
    pub(super) fn refused(status: u16, reason: Option<String>, is_by_peer: bool) -> Self {
        let cause = match status {
            // Nobody has said anything.
            408 if !is_by_peer => Cause::NO_USER_RESPONSE,
            status => cause_of(status, reason.as_deref()),
        };
        let is_of_flow = !is_by_peer || matches!(status, 408 | 430);
        let status = match status {
            // It is the other side that cannot be reached, not we.
            503 if !is_by_peer => Some(UNREACHABLE),
            // A redirection that is not followed.
            300..=399 => None,
            status => is_by_peer.then_some(status),
        };
        Failure { cause, status, reason, is_of_flow }
    }

    /// The one that tells the caller most (RFC 3261 §16.7 step 6): a 6xx, which speaks for all, else
    /// the lowest class; within 4xx what the caller can do something about, then what somebody
    /// decided, then that nobody did. What only our own request was refused for tells it nothing.
    fn rank(&self) -> (u16, u8) {
        let status = self.status_for_caller();
        let class = match status / 100 {
            6 => 0,
            class => class,
        };
        let within = match status {
            484 => 0,
            486 => 1,
            403 | 488 => 2,
            _ if self.cause == Cause::NO_ANSWER => 3,
            _ if self.cause == Cause::USER_NOT_REGISTERED => 6,
            404 => 5,
            _ => 4,
        };
        (class, within)
    }

    /// What the caller is answered: a challenge or an overload of the other side says nothing about
    /// us (RFC 3261 §16.7 step 6). What was wrong with our own request is nothing that the caller
    /// could change.
    pub(super) fn status_for_caller(&self) -> u16 {
        match self.status {
            Some(401 | 407) => 403,
            Some(415) => 488,
            // It was not asked to give up, nor is there a session to disagree on.
            Some(487 | 491) => UNREACHABLE,
            Some(400 | 405 | 420..=423 | 469 | 489 | 494 | 501 | 505 | 503) => 500,
            Some(status) => status,
            None => self.cause.sip_status(),
        }
    }
}

/// Temporarily unavailable (RFC 3261 §21.4.18).
const UNREACHABLE: u16 = 480;

/// The best of several failures.
#[derive(Debug, Default)]
pub(super) struct Best(Option<Failure>);

impl Best {
    pub(super) fn add(&mut self, failure: Failure) {
        let is_better = self.0.as_ref().is_none_or(|best| failure.rank() < best.rank());
        if is_better {
            self.0 = Some(failure);
        }
    }

    pub(super) fn take(&mut self) -> Failure {
        self.0.take().unwrap_or_else(|| Failure::ours(Cause::NO_ROUTE_DESTINATION))
    }
}

/// The cause that a final response stands for; what its Reason names tells more (RFC 6432 §4).
pub(super) fn cause_of(status: u16, reason: Option<&str>) -> Cause {
    let named = reason.and_then(q850).filter(|cause| *cause != Cause::NORMAL_CLEARING);
    named.unwrap_or(match status {
        300..=399 => Cause::SUBSCRIBER_ABSENT,
        status => Cause::from_sip_status(status),
    })
}

/// The cause that the value of a Reason header names by its number of Q.850.
pub(in crate::calls) fn q850(reason: &str) -> Option<Cause> {
    let each = reason.split(',').map(|value| value.split(';').map(str::trim));
    each.into_iter().find_map(|mut parameters| {
        let protocol = parameters.next()?;
        if !protocol.eq_ignore_ascii_case("Q.850") {
            return None;
        }
        let number = parameters.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("cause").then(|| value.trim())
        });
        number?.parse().ok().map(Cause::from_q850)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> Failure {
        Failure::refused(status, None, true)
    }

    fn best(failures: &[Failure]) -> Failure {
        let mut best = Best::default();
        failures.iter().cloned().for_each(|failure| best.add(failure));
        best.take()
    }

    #[test]
    fn rfc3261_16_7_the_best_response_of_a_fork_is_chosen() {
        let of = |statuses: &[u16]| {
            let failures: Vec<Failure> = statuses.iter().copied().map(refused).collect();
            best(&failures).status
        };
        assert_eq!(of(&[503, 486, 603, 404]), Some(603));
        assert_eq!(of(&[503, 404, 403]), Some(403));
        assert_eq!(of(&[500, 486, 480]), Some(486));
        assert_eq!(of(&[486, 484]), Some(484));
        assert_eq!(of(&[480, 404, 408]), Some(480));
        for of_ours in [401, 407, 415, 420, 487, 491] {
            assert_eq!(of(&[of_ours, 486]), Some(486), "{of_ours}");
        }
    }

    #[test]
    fn a_phone_that_rang_tells_more_than_one_that_is_not_there() {
        let unregistered = Failure::ours(Cause::USER_NOT_REGISTERED);
        let silent = Failure::ours(Cause::NO_ANSWER);
        assert_eq!(best(&[unregistered.clone(), silent.clone()]), silent);
        assert_eq!(best(&[refused(302), silent.clone()]), silent);
        assert_eq!(best(&[unregistered, silent, refused(486)]), refused(486));
    }

    #[test]
    fn rfc3261_16_7_a_challenge_and_an_overload_are_not_passed_on() {
        assert_eq!(refused(407).status_for_caller(), 403);
        assert_eq!(refused(503).status_for_caller(), 500);
        assert_eq!(refused(415).status_for_caller(), 488);
        assert_eq!(refused(487).status_for_caller(), 480);
        assert_eq!(refused(486).status_for_caller(), 486);
        assert_eq!(Failure::ours(Cause::NO_ANSWER).status_for_caller(), 480);
    }

    #[test]
    fn rfc6432_4_the_number_of_a_reason_counts_more_than_the_status() {
        let reason = "SIP;cause=480, Q.850 ; cause=17 ;text=\"busy\"";
        assert_eq!(cause_of(480, Some(reason)), Cause::USER_BUSY);
        assert_eq!(cause_of(486, Some("Q.850;cause=x")), Cause::USER_BUSY);
        assert_eq!(cause_of(486, Some("garbage")), Cause::USER_BUSY);
        assert_eq!(cause_of(404, None), Cause::UNALLOCATED_NUMBER);
        assert_eq!(cause_of(302, None), Cause::SUBSCRIBER_ABSENT);
    }
}
