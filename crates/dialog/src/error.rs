//! How a leg can be used wrongly.

use thiserror::Error;

use crate::state::State;

/// Why a command to a leg did nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The leg is not in a state that has this command.
    #[error("the command does not fit the state {state:?}")]
    WrongState {
        /// The state.
        state: State,
    },
    /// No offer of the peer waits for an answer.
    #[error("no offer waits")]
    NoOfferWaits,
    /// The response owes the peer a body.
    #[error("the response owes an offer or an answer")]
    BodyMissing,
    /// The status is not 300 to 699.
    #[error("status {status} does not refuse anything")]
    StatusRange {
        /// The status given.
        status: u16,
    },
    /// A value could not be written into a header field.
    #[error("unwritable message")]
    Unwritable(#[from] transport::Error),
}
