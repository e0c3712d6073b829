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
}

impl Sdes {
    /// Takes over what was agreed on. A direction whose key stays goes on with its contexts
    /// (RFC 4568 §7.1.4); a new key of ours begins at `next`, the leg's next packet.
    pub(crate) fn update(
        before: Option<Box<Self>>,
        crypto: Crypto,
        next: ExtendedSequenceNumber,
    ) -> Box<Self> {
        let Crypto { key: remote, local_key: local, .. } = crypto;
        let (inbound, outbound) = match before.map(|before| *before) {
            None => (None, None),
            Some(before) => {
                let inbound = (before.inbound, before.inbound_srtcp);
                (
                    (before.remote == remote).then_some(inbound),
                    (before.local == local).then_some(before.outbound),
                )
            }
        };
        let (inbound, inbound_srtcp) = inbound.unwrap_or_else(|| {
            let master = remote.master();
            (InboundSrtp::new(&master), InboundSrtcp::new(&master))
        });
        let outbound = outbound.unwrap_or_else(|| {
            let master = local.as_ref()?.master();
            Some((OutboundSrtp::new(&master).since(next), OutboundSrtcp::new(&master)))
        });
        Box::new(Self { remote, local, inbound, inbound_srtcp, outbound })
    }
}

impl fmt::Debug for Sdes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sdes").field("remote", &self.remote).finish_non_exhaustive()
    }
}
