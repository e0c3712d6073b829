//! The closed sets of labels.

use crate::webhook::WebhookError;

/// Why an INVITE was refused before a call was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As many calls are up as may be.
    Overload,
    /// The process is ending.
    Draining,
    /// No room for another transaction.
    Transactions,
    /// No extension matches the number.
    NoRoute,
    /// It has come back to where it was.
    Loop,
    /// The offer has nothing we speak.
    NotAcceptable,
    /// The request broke a rule.
    Malformed,
    /// It asks for session refreshes more often than is granted (422, RFC 4028 §6).
    TooBrief,
    /// The caller's credentials are wrong, or not for this call.
    Unauthorized,
}

/// What a REGISTER was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationResult {
    /// Done.
    Ok,
    /// It came without credentials, as a first one does.
    Challenged,
    /// Its credentials are wrong.
    Unauthorized,
    /// It is for another user, or over a transport that is not the user's.
    Forbidden,
    /// It breaks a rule.
    Malformed,
    /// It asks for too short a time.
    TooBrief,
    /// It has more contacts than the user may.
    TooManyContacts,
    /// A later one was there before.
    OutOfOrder,
    /// There is no room for another registration.
    Full,
}

/// What credentials were worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthResult {
    /// They are right.
    Ok,
    /// There were none; a first challenge is no failure.
    Challenged,
    /// Another password.
    BadPassword,
    /// No such user.
    UnknownUser,
    /// Right, with a nonce that is too old or used.
    Stale,
    /// They break the grammar.
    Malformed,
    /// No token of ours, or an expired one.
    BadToken,
    /// A good token that is not for this.
    Forbidden,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// It was answered.
    Answered,
    /// The caller gave up before an answer.
    Cancelled,
    /// It was refused, by the dialplan or by its offer.
    Refused,
}

/// Who or what ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndCause {
    /// The caller sent BYE or CANCEL.
    Caller,
    /// Whoever was called sent BYE or refused.
    Callee,
    /// Somebody else answered first, or spoke for all.
    Elsewhere,
    /// It rang for as long as it may.
    NoAnswer,
    /// The dialplan hung up.
    Dialplan,
    /// Media never came up.
    NoMedia,
    /// The caller's connection closed and its media stopped.
    Gone,
    /// The session timer ran out.
    SessionExpired,
    /// The 200 was never acknowledged.
    NoAck,
    /// The process was stopped.
    Shutdown,
    /// It lasted as long as a call may.
    TooLong,
    /// Something in the server failed.
    Failure,
}

/// What came of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookResult {
    /// A 2xx answer; the dialplan may still find nothing in it that can be run.
    Answered,
    /// Another status, a redirection among them.
    Status,
    /// No answer in time.
    Timeout,
    /// No connection.
    Connection,
    /// An answer that is too long or no text, or a URL that cannot be asked.
    Unusable,
    /// Too many requests were on their way.
    Busy,
    /// The call ended meanwhile.
    Abandoned,
}

/// Which way a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards us.
    In,
    /// From us.
    Out,
}

impl Direction {
    pub(super) fn label(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

impl Refusal {
    pub(super) const ALL: [Refusal; 9] = [
        Refusal::Overload,
        Refusal::Draining,
        Refusal::Transactions,
        Refusal::NoRoute,
        Refusal::Loop,
        Refusal::NotAcceptable,
        Refusal::Malformed,
        Refusal::TooBrief,
        Refusal::Unauthorized,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Refusal::Overload => "overload",
            Refusal::Draining => "draining",
            Refusal::Transactions => "transactions",
            Refusal::NoRoute => "no_route",
            Refusal::Loop => "loop",
            Refusal::NotAcceptable => "not_acceptable",
            Refusal::Malformed => "malformed",
            Refusal::TooBrief => "too_brief",
            Refusal::Unauthorized => "unauthorized",
        }
    }
}

impl RegistrationResult {
    pub(super) const ALL: [RegistrationResult; 9] = [
        RegistrationResult::Ok,
        RegistrationResult::Challenged,
        RegistrationResult::Unauthorized,
        RegistrationResult::Forbidden,
        RegistrationResult::Malformed,
        RegistrationResult::TooBrief,
        RegistrationResult::TooManyContacts,
        RegistrationResult::OutOfOrder,
        RegistrationResult::Full,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            RegistrationResult::Ok => "ok",
            RegistrationResult::Challenged => "challenged",
            RegistrationResult::Unauthorized => "unauthorized",
            RegistrationResult::Forbidden => "forbidden",
            RegistrationResult::Malformed => "malformed",
            RegistrationResult::TooBrief => "too_brief",
            RegistrationResult::TooManyContacts => "too_many_contacts",
            RegistrationResult::OutOfOrder => "out_of_order",
            RegistrationResult::Full => "full",
        }
    }
}

impl AuthResult {
    pub(super) const ALL: [AuthResult; 8] = [
        AuthResult::Ok,
        AuthResult::Challenged,
        AuthResult::BadPassword,
        AuthResult::UnknownUser,
        AuthResult::Stale,
        AuthResult::Malformed,
        AuthResult::BadToken,
        AuthResult::Forbidden,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            AuthResult::Ok => "ok",
            AuthResult::Challenged => "challenged",
            AuthResult::BadPassword => "bad_password",
            AuthResult::UnknownUser => "unknown_user",
            AuthResult::Stale => "stale",
            AuthResult::Malformed => "malformed",
            AuthResult::BadToken => "bad_token",
            AuthResult::Forbidden => "forbidden",
        }
    }
}

impl CallResult {
    pub(super) const ALL: [CallResult; 3] =
        [CallResult::Answered, CallResult::Cancelled, CallResult::Refused];

    /// A word for metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            CallResult::Answered => "answered",
            CallResult::Cancelled => "cancelled",
            CallResult::Refused => "refused",
        }
    }
}

impl EndCause {
    pub(super) const ALL: [EndCause; 12] = [
        EndCause::Caller,
        EndCause::Callee,
        EndCause::Elsewhere,
        EndCause::NoAnswer,
        EndCause::Dialplan,
        EndCause::NoMedia,
        EndCause::Gone,
        EndCause::SessionExpired,
        EndCause::NoAck,
        EndCause::Shutdown,
        EndCause::TooLong,
        EndCause::Failure,
    ];

    /// A word for metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            EndCause::Caller => "caller",
            EndCause::Callee => "callee",
            EndCause::Elsewhere => "elsewhere",
            EndCause::NoAnswer => "no_answer",
            EndCause::Dialplan => "dialplan",
            EndCause::NoMedia => "no_media",
            EndCause::Gone => "gone",
            EndCause::SessionExpired => "session_expired",
            EndCause::NoAck => "no_ack",
            EndCause::Shutdown => "shutdown",
            EndCause::TooLong => "too_long",
            EndCause::Failure => "failure",
        }
    }
}

impl WebhookResult {
    pub(super) const ALL: [WebhookResult; 7] = [
        WebhookResult::Answered,
        WebhookResult::Status,
        WebhookResult::Timeout,
        WebhookResult::Connection,
        WebhookResult::Unusable,
        WebhookResult::Busy,
        WebhookResult::Abandoned,
    ];

    /// Of an answer.
    #[must_use]
    pub fn of(answer: &Result<String, WebhookError>) -> Self {
        match answer {
            Ok(_) => WebhookResult::Answered,
            Err(WebhookError::Status(_)) => WebhookResult::Status,
            Err(WebhookError::Timeout) => WebhookResult::Timeout,
            Err(WebhookError::Connection(_)) => WebhookResult::Connection,
            Err(WebhookError::Busy) => WebhookResult::Busy,
            Err(WebhookError::Url | WebhookError::TooLong | WebhookError::NotText) => {
                WebhookResult::Unusable
            }
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            WebhookResult::Answered => "answered",
            WebhookResult::Status => "status",
            WebhookResult::Timeout => "timeout",
            WebhookResult::Connection => "connection",
            WebhookResult::Unusable => "unusable",
            WebhookResult::Busy => "busy",
            WebhookResult::Abandoned => "abandoned",
        }
    }
}
