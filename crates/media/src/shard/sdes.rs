//! SRTP of a plain leg whose keys travel in its session description.

use std::fmt;

use crate::{
    rtp::ExtendedSequenceNumber,
    sdp::Crypto,
    srtp::{InboundSrtcp, InboundSrtp, OutboundSrtcp, OutboundSrtp, SdesKey},
};

/// The keys of both directions and what was derived of them.
pub(crate) struct Sdes {
    remote: SdesKey,
    local: Option<SdesKey>,
    pub(crate) inbound: InboundSrtp,
    pub(crate) inbound_srtcp: InboundSrtcp,
    /// RTP and RTCP; `None` without a key of ours: nothing is sent then.
    pub(crate) outbound: Option<(OutboundSrtp, OutboundSrtcp)>,
    /// Our key before this one and its contexts, which go on when the change is taken back.
    before: Option<(SdesKey, (OutboundSrtp, OutboundSrtcp))>,
}

impl Sdes {
    /// Takes over what was agreed on. A direction whose key stays goes on with its contexts
    /// (RFC 4568 §7.1.4), and with a new key the counters go on (RFC 3711 §3.3.1), unless the peer
    /// `has_moved`: then the leg's next packet, `next`, is to it the first of a new stream.
    pub(crate) fn update(
        before: Option<Box<Self>>,
        crypto: Crypto,
        has_moved: bool,
        next: ExtendedSequenceNumber,
    ) -> Box<Self> {
        let Crypto { key: remote, local_key: local, .. } = crypto;
        let master = remote.master();
        let anew = |key: &SdesKey| {
            let master = key.master();
            (OutboundSrtp::new(&master).since(next), OutboundSrtcp::new(&master))
        };
        let Some(before) = before.map(|before| *before) else {
            let outbound = local.as_ref().map(anew);
            let (inbound, inbound_srtcp) = (InboundSrtp::new(&master), InboundSrtcp::new(&master));
            return Box::new(Self {
                remote,
                local,
                inbound,
                inbound_srtcp,
                outbound,
                before: None,
            });
        };
        let (inbound, inbound_srtcp) = if before.remote == remote {
            (before.inbound, before.inbound_srtcp)
        } else {
            (before.inbound.rekeyed(&master), InboundSrtcp::new(&master))
        };
        if before.local == local {
            let before = Self { remote, inbound, inbound_srtcp, ..before };
            return Box::new(before);
        }
        let left = before.local.zip(before.outbound);
        let outbound = match (before.before, &left, &local) {
            (_, _, None) => None,
            (Some((key, contexts)), _, Some(local)) if key == *local => Some(contexts),
            (_, Some((_, (srtp, srtcp))), Some(local)) if !has_moved => {
                let master = local.master();
                Some((srtp.rekeyed(&master), srtcp.rekeyed(&master)))
            }
            (_, _, Some(local)) => Some(anew(local)),
        };
        Box::new(Self { remote, local, inbound, inbound_srtcp, outbound, before: left })
    }
}

impl fmt::Debug for Sdes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sdes").field("remote", &self.remote).finish_non_exhaustive()
    }
}
