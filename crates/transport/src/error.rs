//! What can be wrong with bytes and values, as facts.

use thiserror::Error as ThisError;

use crate::Message;

/// A value that is not what its grammar says, or that we cannot use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// Not a URI (RFC 3261 §25.1, RFC 3966).
    #[error("malformed uri")]
    MalformedUri,
    /// Not a `name-addr` or `addr-spec` with parameters (RFC 3261 §20.10).
    #[error("malformed address")]
    MalformedAddress,
    /// Not a Via value (RFC 3261 §20.42).
    #[error("malformed via")]
    MalformedVia,
    /// A next hop that a URI does not name, such as a `tel` URI.
    #[error("the uri names no host")]
    NoHost,
    /// A transport that a URI asks for and that we do not have.
    #[error("unknown transport")]
    UnknownTransport,
}

/// Why bytes could not be indexed as a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ThisError)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing but line ends: a keep-alive (RFC 5626 §4.4.1).
    #[error("no message")]
    Empty,
    /// The first line is neither a request line nor a status line.
    #[error("malformed start line")]
    StartLine,
    /// A line that is not a header field, or a bare CR.
    #[error("malformed header line")]
    HeaderLine,
    /// The bytes end before the empty line that closes the head.
    #[error("incomplete head")]
    HeadIncomplete,
    /// The head exceeds [`crate::Limits::head_bytes_max`].
    #[error("head too large")]
    HeadTooLarge,
    /// More lines than [`crate::Limits::headers_max`].
    #[error("too many header lines")]
    TooManyHeaders,
    /// Content-Length is not one number.
    #[error("malformed content-length")]
    ContentLength,
    /// Content-Length is absent where the transport needs it (RFC 3261 §18.3).
    #[error("no content-length on a stream")]
    ContentLengthMissing,
    /// The bytes end before the body does (RFC 3261 §18.3).
    #[error("body shorter than content-length")]
    BodyIncomplete,
    /// The body exceeds [`crate::Limits::body_bytes_max`].
    #[error("body too large")]
    BodyTooLarge,
    /// A response whose CSeq names no method: it belongs to no transaction.
    #[error("response without a method in its cseq")]
    ResponseCSeq,
}

impl Fault {
    /// Every fault, in the order in which they are reported.
    pub const ALL: [Fault; 11] = [
        Fault::Empty,
        Fault::StartLine,
        Fault::HeaderLine,
        Fault::HeadIncomplete,
        Fault::HeadTooLarge,
        Fault::TooManyHeaders,
        Fault::ContentLength,
        Fault::ContentLengthMissing,
        Fault::BodyIncomplete,
        Fault::BodyTooLarge,
        Fault::ResponseCSeq,
    ];

    /// A short fixed word for a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Fault::Empty => "empty",
            Fault::StartLine => "start_line",
            Fault::HeaderLine => "header_line",
            Fault::HeadIncomplete => "head_incomplete",
            Fault::HeadTooLarge => "head_too_large",
            Fault::TooManyHeaders => "too_many_headers",
            Fault::ContentLength => "content_length",
            Fault::ContentLengthMissing => "content_length_missing",
            Fault::BodyIncomplete => "body_incomplete",
            Fault::BodyTooLarge => "body_too_large",
            Fault::ResponseCSeq => "response_cseq",
        }
    }

    /// The status that a request with this fault deserves: 400, 413 or 513.
    pub fn status(self) -> u16 {
        match self {
            Fault::HeadTooLarge | Fault::TooManyHeaders => 513,
            Fault::BodyTooLarge => 413,
            Fault::Empty
            | Fault::StartLine
            | Fault::HeaderLine
            | Fault::HeadIncomplete
            | Fault::ContentLength
            | Fault::ContentLengthMissing
            | Fault::BodyIncomplete
            | Fault::ResponseCSeq => 400,
        }
    }
}

/// Bytes that are not a message. Carries what could be indexed, so that a request whose fault is
/// elsewhere can still be answered.
#[derive(Clone, Debug, ThisError)]
#[error("{fault}")]
pub struct ParseError {
    fault: Fault,
    partial: Option<Message>,
}

impl ParseError {
    pub(crate) fn new(fault: Fault, partial: Option<Message>) -> ParseError {
        ParseError { fault, partial }
    }

    /// What was wrong.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The metric label of the fault.
    pub fn reason(&self) -> &'static str {
        self.fault.label()
    }

    /// The status to answer with, if [`ParseError::answerable`] gives a request.
    pub fn status(&self) -> u16 {
        self.fault.status()
    }

    /// The request as far as it was indexed, if it can be answered: it is no ACK, and Via, From,
    /// To, Call-ID and CSeq are readable. Give it to [`crate::ResponseWriter::to`].
    pub fn answerable(&self) -> Option<&Message> {
        self.partial.as_ref().filter(|message| message.is_answerable())
    }
}
