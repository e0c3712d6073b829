//! On which terms a leg may carry media: what its user may use, and what its transport allows.

use media::codec::Codec;
use media::sdp::{Capabilities, Security};
use transport::TransportKind;

use super::Shared;
use crate::config::CodecName;
use crate::users::{DtmfMode, MediaProfile, User};

/// What a leg may use.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub capabilities: Capabilities,
    pub dtmf: DtmfMode,
}

impl Terms {
    /// What may come from, or go to, a user over a transport; without a user, what anyone may.
    pub(super) fn new(shared: &Shared, user: Option<&User>, kind: TransportKind) -> Self {
        let profile = user.map_or(MediaProfile::Auto, |user| user.media);
        let dtmf = user.map_or(DtmfMode::Auto, |user| user.dtmf);
        let is_confidential = kind.is_secure();
        let capabilities = Capabilities {
            codecs: codecs(shared, user),
            allow_plain: profile != MediaProfile::WebRtc,
            allow_webrtc: matches!(profile, MediaProfile::Auto | MediaProfile::WebRtc),
            security: match profile {
                MediaProfile::Srtp => Security::Required,
                MediaProfile::Auto => Security::Optional,
                MediaProfile::Rtp | MediaProfile::WebRtc => Security::None,
            },
            telephone_events: dtmf != DtmfMode::Inband,
            is_confidential,
            ..shared.capabilities.clone()
        };
        Terms { capabilities, dtmf }
    }

    /// The same terms for an offer of ours: as WebRTC or as plain RTP, and with the codecs of the
    /// other side first, so that nothing is transcoded where both can do the same.
    pub(super) fn offering(mut self, is_webrtc: bool, others: &[Codec]) -> Self {
        let capabilities = &mut self.capabilities;
        capabilities.allow_webrtc = is_webrtc;
        capabilities.allow_plain = !is_webrtc;
        let rank = |codec: &Codec| others.iter().position(|other| other == codec);
        capabilities.codecs.sort_by_key(|codec| rank(codec).unwrap_or(usize::MAX));
        self
    }
}

/// The user's codecs in the user's order, as far as the server allows them.
fn codecs(shared: &Shared, user: Option<&User>) -> Vec<Codec> {
    let allowed = &shared.capabilities.codecs;
    let Some(own) = user.and_then(|user| user.codecs.as_ref()) else { return allowed.clone() };
    let mut codecs = Vec::new();
    for codec in own.iter().copied().map(CodecName::codec) {
        if allowed.contains(&codec) && !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    codecs
}
