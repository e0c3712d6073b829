//! Responses that the dialplan chooses.

use dialplan::{Cause, Ended};
use transport::Name;

use super::LiveCall;

impl LiveCall {
    /// Refuses the INVITE with a status; `reason` is said in the header Reason (RFC 3326).
    pub(super) async fn refuse_with(&mut self, status: u16, reason: Option<&str>) -> Ended {
        let cause = Cause::from_sip_status(status);
        let reason = match reason.filter(|reason| !reason.trim().is_empty()) {
            Some(text) => format!("SIP;cause={status};text={}", quoted(text)),
            None => crate::calls::reason(cause),
        };
        self.caller.reject(status, vec![(Name::Reason, reason)]).await;
        Ended::by_dialplan(cause)
    }

    /// Refuses the INVITE with 302 and where to call instead (RFC 3261 §8.1.3.4).
    pub(super) async fn redirect_to(&mut self, contacts: &[String]) -> Ended {
        let headers = contacts.iter().map(|uri| (Name::Contact, format!("<{uri}>"))).collect();
        self.caller.reject(302, headers).await;
        Ended::by_dialplan(Cause::from_sip_status(302))
    }
}

/// A quoted string (RFC 3261 §25.1): the text may come from the network.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars().filter(|character| !character.is_control()).take(TEXT_MAX) {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// Longest text of a reason, in characters.
const TEXT_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3261_25_1_a_reason_cannot_leave_its_quotes() {
        assert_eq!(quoted("Busy"), "\"Busy\"");
        assert_eq!(quoted("a\" \\ b\r\nVia: x"), "\"a\\\" \\\\ bVia: x\"");
        assert_eq!(quoted(&"x".repeat(500)).len(), TEXT_MAX + 2);
    }
}
