//! Offers of the caller, and ours: what is negotiated and how a refusal reads.

use dialog::Body;
use media::codec::Codec;
use media::net::OpenError;
use media::sdp::{self, Capabilities, Negotiated};
use transport::Name;

/// How an offer is refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub status: u16,
    pub headers: Vec<(Name, String)>,
    /// For the log.
    pub reason: String,
}

/// Agrees on an offer; on the codec already in use where the offer still has it.
pub(super) fn agree(
    offer: &sdp::SessionDescription,
    capabilities: &Capabilities,
    current: Option<Codec>,
) -> Result<Negotiated, Refused> {
    if let Some(codec) = current {
        let same = Capabilities { codecs: vec![codec], ..capabilities.clone() };
        if let Ok(negotiated) = sdp::negotiate(offer, &same) {
            return Ok(negotiated);
        }
    }
    sdp::negotiate(offer, capabilities).map_err(Refused::from)
}

/// Agrees on the answer to an offer of ours, made within the session agreed on so far if there is
/// one.
pub(super) fn agree_on_answer(
    answer: &Body,
    capabilities: &Capabilities,
    session: Option<&Negotiated>,
) -> Result<Negotiated, Refused> {
    let answer = read(answer)?;
    let agreed = match session {
        Some(session) => session.negotiate_answer(&answer, capabilities),
        None => sdp::negotiate_answer(&answer, capabilities),
    };
    agreed.map_err(Refused::from)
}

/// Reads a session description.
pub(super) fn read(body: &Body) -> Result<sdp::SessionDescription, Refused> {
    if !body.is_sdp() {
        let refusal = dialog::Refusal::UnsupportedMediaType { accept: "application/sdp" };
        let reason = format!("a body of type {:?} is no session description", body.content_type);
        return Err(Refused { status: refusal.status(), headers: refusal.headers(), reason });
    }
    sdp::parse(&body.bytes).map_err(|error| Refused {
        status: 400,
        headers: vec![(Name::Warning, format!("399 sidetone \"{error}\""))],
        reason: error.to_string(),
    })
}

impl Refused {
    /// It wants media sent to a port of ours.
    pub(super) fn own_media() -> Self {
        let reason = "media at an address of this server".to_owned();
        let headers = vec![(Name::Warning, format!("399 sidetone \"{reason}\""))];
        Refused { status: 488, headers, reason }
    }

    /// [`Capabilities::can_offer`] says no.
    pub(super) fn without_keys() -> Self {
        let reason = "this user takes SRTP only, whose keys are sent over TLS only".to_owned();
        let headers = vec![(Name::Warning, format!("302 sidetone \"{reason}\""))];
        Refused { status: 488, headers, reason }
    }
}

impl From<sdp::NegotiationError> for Refused {
    fn from(error: sdp::NegotiationError) -> Self {
        let warning = error.warning_text();
        Refused { status: 488, reason: warning.clone(), headers: vec![(Name::Warning, warning)] }
    }
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        let reason = error.to_string();
        match error {
            OpenError::NoAddress(_) => Refused {
                status: 488,
                headers: vec![(Name::Warning, format!("301 sidetone \"{reason}\""))],
                reason,
            },
            // The limits of this machine at this moment: another attempt may succeed.
            _ => Refused { status: 503, headers: vec![(Name::RetryAfter, "5".to_owned())], reason },
        }
    }
}
