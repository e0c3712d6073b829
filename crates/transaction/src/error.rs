//! How the layer can be used wrongly, or be full.

use thiserror::Error;

/// Why a call to the layer did nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// `transactions_max` transactions exist.
    #[error("the bound of {transactions_max} transactions is reached")]
    TransactionsMax {
        /// The bound.
        transactions_max: usize,
    },
    /// The transaction has ended.
    #[error("the transaction has ended")]
    Ended,
    /// The transaction has its final response already.
    #[error("a final response was given before status {status}")]
    AlreadyAnswered {
        /// The status that was not sent.
        status: u16,
    },
    /// The status is not 100 to 699.
    #[error("status {status} is out of range")]
    StatusRange {
        /// The status given.
        status: u16,
    },
    /// The bytes are not a request with a Via that has a branch, or are an ACK.
    #[error("the bytes are not a request that starts a transaction")]
    NotARequest,
    /// Another transaction has the same branch.
    #[error("the branch is in use")]
    BranchInUse,
    /// Only an INVITE can be cancelled.
    #[error("only an INVITE can be cancelled")]
    NotAnInvite,
}
