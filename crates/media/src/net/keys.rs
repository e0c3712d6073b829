//! Which SRTP key of ours a plain leg is described with (RFC 4568).

use std::net::SocketAddr;

use crate::{
    sdp::{Negotiated, RemoteMedia},
    srtp::SdesKey,
};

/// The keys of both sides, and where the peer listens.
#[derive(Clone, Debug)]
pub(super) struct Agreed {
    rtp: SocketAddr,
    remote: SdesKey,
    local: SdesKey,
}

impl Agreed {
    fn is_with(&self, rtp: SocketAddr, remote: &SdesKey) -> bool {
        self.rtp == rtp && self.remote == *remote
    }
}

/// The keys that are in use.
#[derive(Debug, Default)]
pub(super) struct Keys {
    agreed: Option<Agreed>,
    /// Those before our key changed last, in case that is taken back.
    before: Option<Agreed>,
}

impl Keys {
    /// Those of a leg that is opened with what was agreed on, if that is known.
    pub(super) fn new(negotiated: Option<&mut Negotiated>, local: &[SdesKey]) -> Self {
        let mut keys = Self::default();
        keys.agreed = negotiated.and_then(|negotiated| keys.agree(negotiated, local));
        keys
    }

    /// Gives `negotiated` our key: that of its profile among `local`, as it was described. A peer
    /// that moves with a new key is told a new one of ours, since the rollover counter of the old
    /// one, which did not begin with it, cannot be told (RFC 4568 §7.1.4).
    pub(super) fn agree(&self, negotiated: &mut Negotiated, local: &[SdesKey]) -> Option<Agreed> {
        let RemoteMedia::Plain { rtp, .. } = negotiated.remote else { return None };
        let crypto = negotiated.crypto.as_mut()?;
        let remote = crypto.key.clone();
        let profile = remote.profile();
        let described = local.iter().find(|key| key.profile() == profile)?;
        let (agreed, before) = (self.agreed.as_ref(), self.before.as_ref());
        let local = if negotiated.is_answer || agreed.is_some_and(|now| now.is_with(rtp, &remote)) {
            described.clone()
        } else if let Some(before) = before.filter(|before| before.is_with(rtp, &remote)) {
            before.local.clone()
        } else if agreed
            .is_some_and(|now| now.local == *described && now.rtp != rtp && now.remote != remote)
        {
            SdesKey::random(profile, &mut rand::rng())
        } else {
            described.clone()
        };
        crypto.local_key = Some(local.clone());
        Some(Agreed { rtp, remote, local })
    }

    /// What was agreed on is in use from now on, and `local` is what describes the leg. A key that
    /// was used and is not any more is replaced, so that it never protects two streams; not for an
    /// answer, since another fork may choose the key of that offer again.
    pub(super) fn take_over(
        &mut self,
        agreed: Option<Agreed>,
        is_answer: bool,
        local: &mut [SdesKey],
    ) {
        let mut describe = |key: &SdesKey| {
            if let Some(place) = local.iter_mut().find(|place| place.profile() == key.profile()) {
                place.clone_from(key);
            }
        };
        if let Some(agreed) = &agreed {
            describe(&agreed.local);
        }
        let before = std::mem::replace(&mut self.agreed, agreed);
        let (Some(before), now) = (before, self.agreed.as_ref().map(|now| &now.local)) else {
            return;
        };
        if now == Some(&before.local) {
            return;
        }
        let profile = before.local.profile();
        if !is_answer && now.map(SdesKey::profile) != Some(profile) {
            describe(&SdesKey::random(profile, &mut rand::rng()));
        }
        self.before = now.is_some().then_some(before);
    }
}
