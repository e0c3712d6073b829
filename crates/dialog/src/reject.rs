//! What is refused, and with which status: for the whole product, in one table.

use transport::{Method, Name};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The sender is not allowed here.
    Forbidden,
    /// Nobody has this number or name.
    NotFound,
    /// The party exists and cannot be reached.
    Unavailable,
    /// The request names a dialog or transaction that we do not have (RFC 3261 §12.2.2).
    UnknownDialog,
    /// A request went round in circles (RFC 3261 §16.3).
    LoopDetected,
    /// The party is busy.
    Busy,
    /// The request was cancelled, or its dialog ended (RFC 3261 §9.2, §15.1.2).
    Terminated,
    /// No common media (RFC 3261 §13.3.1.3). `warning` is a Warning value that says why.
    NotAcceptableHere {
        /// The value of Warning.
        warning: Option<String>,
    },
    /// The request makes a dialog and has no usable Contact (RFC 3261 §8.1.1.8).
    MissingContact,
    /// The body is of a kind that we do not read (RFC 3261 §8.2.3).
    UnsupportedMediaType {
        /// What we read, for Accept.
        accept: &'static str,
    },
    /// CSeq is lower than one before (RFC 3261 §12.2.2).
    OutOfOrder {
        /// Seconds for Retry-After.
        retry_after_s: u8,
    },
    /// An earlier request of the peer waits for our answer (RFC 3261 §14.2, RFC 3311 §5.2).
    RequestPending {
        /// Seconds for Retry-After, 0 to 10.
        retry_after_s: u8,
    },
    /// An offer of ours waits for the peer's answer (RFC 3261 §14.2).
    Glare,
    /// A method that we know and do not serve here (RFC 3261 §8.2.1).
    MethodNotAllowed,
    /// A method that we do not know (RFC 3261 §21.5.2).
    MethodNotImplemented,
    /// An event package that we do not serve (RFC 6665 §4.2.1.1).
    BadEvent,
    /// An INFO package that we did not ask for (RFC 6086 §5.2.2).
    BadInfoPackage,
    /// The session interval is too short (RFC 4028 §9).
    IntervalTooSmall {
        /// Our Min-SE in seconds.
        min_se: u32,
    },
    /// A bound is reached, or the server is about to stop.
    Overloaded {
        /// Seconds for Retry-After.
        retry_after_s: u8,
    },
    /// Something of ours failed.
    Internal,
}

impl Refusal {
    /// For a method that no dialog or user agent of ours serves.
    pub fn of_method(method: &Method) -> Refusal {
        match method {
            Method::Other(_) => Refusal::MethodNotImplemented,
            Method::Subscribe | Method::Publish => Refusal::BadEvent,
            // No subscription exists and nothing was sent reliably.
            Method::Notify | Method::Prack => Refusal::UnknownDialog,
            Method::Invite
            | Method::Ack
            | Method::Bye
            | Method::Cancel
            | Method::Options
            | Method::Register
            | Method::Update
            | Method::Info
            | Method::Refer
            | Method::Message => Refusal::MethodNotAllowed,
        }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::MissingContact => 400,
            Refusal::Forbidden => 403,
            Refusal::NotFound => 404,
            Refusal::MethodNotAllowed => 405,
            Refusal::UnsupportedMediaType { .. } => 415,
            Refusal::IntervalTooSmall { .. } => 422,
            Refusal::BadInfoPackage => 469,
            Refusal::Unavailable => 480,
            Refusal::UnknownDialog => 481,
            Refusal::LoopDetected => 482,
            Refusal::Busy => 486,
            Refusal::Terminated => 487,
            Refusal::NotAcceptableHere { .. } => 488,
            Refusal::BadEvent => 489,
            Refusal::Glare => 491,
            Refusal::OutOfOrder { .. } | Refusal::RequestPending { .. } | Refusal::Internal => 500,
            Refusal::MethodNotImplemented => 501,
            Refusal::Overloaded { .. } => 503,
        }
    }

    /// The header fields that go with the status.
    pub fn headers(&self) -> Vec<(Name, String)> {
        match self {
            Refusal::MethodNotAllowed | Refusal::MethodNotImplemented => {
                vec![(Name::Allow, ALLOW.to_owned())]
            }
            Refusal::UnsupportedMediaType { accept } => {
                vec![(Name::Accept, (*accept).to_owned())]
            }
            Refusal::IntervalTooSmall { min_se } => vec![(Name::MinSe, min_se.to_string())],
            Refusal::NotAcceptableHere { warning: Some(warning) } => {
                vec![(Name::Warning, warning.clone())]
            }
            Refusal::BadInfoPackage => vec![(Name::RecvInfo, String::new())],
            Refusal::OutOfOrder { retry_after_s }
            | Refusal::RequestPending { retry_after_s }
            | Refusal::Overloaded { retry_after_s } => {
                vec![(Name::RetryAfter, retry_after_s.to_string())]
            }
            // Allow-Events would have to name one (RFC 6665 §8.4).
            Refusal::BadEvent
            | Refusal::Forbidden
            | Refusal::NotFound
            | Refusal::Unavailable
            | Refusal::UnknownDialog
            | Refusal::LoopDetected
            | Refusal::Busy
            | Refusal::Terminated
            | Refusal::NotAcceptableHere { warning: None }
            | Refusal::MissingContact
            | Refusal::Glare
            | Refusal::Internal => Vec::new(),
        }
    }
}

/// The methods that a dialog of ours serves (RFC 3261 §20.5).
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_status_and_headers() {
        let refusals = [
            Refusal::Forbidden,
            Refusal::NotFound,
            Refusal::Unavailable,
            Refusal::UnknownDialog,
            Refusal::LoopDetected,
            Refusal::Busy,
            Refusal::Terminated,
            Refusal::NotAcceptableHere { warning: None },
            Refusal::NotAcceptableHere { warning: Some("305 a \"b\"".to_owned()) },
            Refusal::MissingContact,
            Refusal::UnsupportedMediaType { accept: "application/sdp" },
            Refusal::OutOfOrder { retry_after_s: 1 },
            Refusal::RequestPending { retry_after_s: 7 },
            Refusal::Glare,
            Refusal::MethodNotAllowed,
            Refusal::MethodNotImplemented,
            Refusal::BadEvent,
            Refusal::BadInfoPackage,
            Refusal::IntervalTooSmall { min_se: 90 },
            Refusal::Overloaded { retry_after_s: 5 },
            Refusal::Internal,
        ];
        let table: String = refusals
            .iter()
            .map(|refusal| format!("{refusal:?} -> {} {:?}\n", refusal.status(), refusal.headers()))
            .collect();
        crate::golden::compare("refusals", &table);
    }

    #[test]
    fn methods_are_refused_by_what_we_know_of_them() {
        let status = |method: &[u8]| Refusal::of_method(&Method::parse(method).unwrap()).status();
        assert_eq!(status(b"REFER"), 405);
        assert_eq!(status(b"MESSAGE"), 405);
        assert_eq!(status(b"SUBSCRIBE"), 489);
        assert_eq!(status(b"NOTIFY"), 481);
        assert_eq!(status(b"PRACK"), 481);
        assert_eq!(status(b"NONSENSE"), 501);
    }
}
