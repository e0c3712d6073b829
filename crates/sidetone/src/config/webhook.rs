//! Webhooks of the dialplan.

use serde::Deserialize;

use crate::webhook::SigningKey;

/// Webhooks of the dialplan.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// Signs each request: the header `webhook-signature` is `v1,` and the Base64 of HMAC-SHA256 over `webhook-id`,
    /// a dot, `webhook-timestamp`, a dot and the body, as Standard Webhooks says. `whsec_` and Base64 of the key, or
    /// any text, of at least 24 bytes. Unset: made once and kept in `webhook.secret` in `state_dir`.
    pub secret: Option<String>,
}

impl Webhook {
    pub(super) fn is_fit(&self) -> bool {
        self.secret.as_deref().is_none_or(|secret| SigningKey::new(secret).is_some())
    }
}
