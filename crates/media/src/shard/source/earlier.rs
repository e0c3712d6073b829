//! Who spoke to a pair of ports in the calls before.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::rtp::Ssrc;

/// The last speakers of earlier calls at a pair of ports. They may not know yet that their calls are
/// over, and are not heard in the next one: an address and the SSRC that came from it.
#[derive(Clone, Debug, Default)]
pub struct Earlier(Arc<Mutex<Speakers>>);

/// The latest first.
pub(super) type Speakers = [Option<(SocketAddr, Ssrc)>; SPEAKERS_MAX];

impl Earlier {
    pub(super) fn read(&self) -> Speakers {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, speakers: Speakers) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = speakers;
    }
}

pub(super) const SPEAKERS_MAX: usize = 3;
