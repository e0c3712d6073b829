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
    /// An offer of ours waits for its answer.
    #[error("an earlier offer waits for its answer")]
    OfferWaits,
    /// The peer has not answered the INFO before this one, and enough others wait.
    #[error("as many INFO requests wait as may")]
    InfosWait,
    /// The status is not 300 to 699.
    #[error("status {status} does not refuse anything")]
    StatusRange {
        /// The status given.
        status: u16,
    },
    /// A URI or route cannot be sent to.
    #[error("unusable address: {0}")]
    UnusableAddress(#[from] transport::Error),
}
