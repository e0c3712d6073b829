//! How a webhook knows that a request is ours: an HMAC over its identifier, its time and its body, in the headers
//! that Standard Webhooks names, so that its libraries can check it.
//!
//! ```text
//!   webhook-id:        msg_…              the same for both tries
//!   webhook-timestamp: 1700000000         seconds since 1970
//!   webhook-signature: v1,BASE64          HMAC-SHA256(key, "ID.TIMESTAMP.BODY")
//! ```

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngExt;
use ring::hmac;

use crate::config::Config;
use crate::private_file;

/// The key that requests are signed with.
#[derive(Debug, Clone)]
pub struct SigningKey(hmac::Key);

/// Why there is no key: one sentence with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file of the secret cannot be read or made.
    #[error("{}: cannot keep the secret of webhooks there ({source}); set state_dir to a folder that can be written, or webhook.secret", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no folder to keep the secret in.
    #[error("no folder to keep the secret of webhooks in; set state_dir or webhook.secret")]
    NoFolder,
    /// The file holds no secret.
    #[error("{}: holds no secret; remove the file to have one made, or set webhook.secret", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
}

impl SigningKey {
    /// The key of a secret: `whsec_` and Base64 of the key, or the bytes of any other text. `None` if it has fewer
    /// than 24 bytes.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        let key = match secret.strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).ok()?,
            None => secret.as_bytes().to_vec(),
        };
        (key.len() >= KEY_BYTES_MIN).then(|| SigningKey(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// The key of the configured secret, else of the one that is kept in the state folder.
    ///
    /// # Errors
    /// When there is neither.
    pub fn of(config: &Config) -> Result<Self, KeyError> {
        match config.webhook.secret.as_deref().and_then(SigningKey::new) {
            Some(key) => Ok(key),
            None => {
                SigningKey::kept_in(&crate::state_dir::state_dir(config).ok_or(KeyError::NoFolder)?)
            }
        }
    }

    /// A key that nobody has: no signature of it can be checked.
    #[must_use]
    pub fn unknown() -> Self {
        SigningKey(hmac::Key::new(hmac::HMAC_SHA256, &rand::rng().random::<[u8; 32]>()))
    }

    /// The key of the secret in `webhook.secret` in `folder`, which is made if it is missing, so that only its owner
    /// can read it.
    fn kept_in(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join("webhook.secret");
        let failed = |source| KeyError::File { path: path.clone(), source };
        let fresh = format!("{PREFIX}{}\n", STANDARD.encode(rand::rng().random::<[u8; 32]>()));
        private_file::create(&path, fresh.as_bytes()).map_err(failed)?;
        // Read back: another process may have been faster.
        let secret = std::fs::read_to_string(&path).map_err(failed)?;
        SigningKey::new(secret.trim()).ok_or(KeyError::Unreadable { path })
    }

    /// The value of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            context.update(part);
        }
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// What tells a request apart from all others.
pub(super) fn message_id() -> String {
    format!("msg_{:032x}", rand::rng().random::<u128>())
}

pub(super) fn unix_now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What a secret begins with that is Base64.
const PREFIX: &str = "whsec_";
const KEY_BYTES_MIN: usize = 24;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn a_signature_is_the_one_that_others_compute() {
        let key = SigningKey::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature =
            key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_base64_or_any_text_that_is_long_enough() {
        let body = b"x";
        let text = "a secret that is only a text";
        let encoded = format!("whsec_{}", STANDARD.encode(text));
        let sign = |secret: &str| SigningKey::new(secret).map(|key| key.sign("i", "1", body));
        assert_eq!(sign(text), sign(&encoded));
        assert!(sign(text).is_some());
        assert!(sign("short").is_none() && sign("whsec_!").is_none());
        assert!(sign("whsec_c2hvcnQ=").is_none());
    }

    #[test]
    fn a_secret_is_made_once_and_kept() {
        let folder = std::env::temp_dir().join(format!("sidetone-webhook-{}", std::process::id()));
        let sign = |key: SigningKey| key.sign("i", "1", b"x");
        let made = SigningKey::kept_in(&folder).unwrap();
        assert_eq!(sign(made), sign(SigningKey::kept_in(&folder).unwrap()));
        std::fs::write(folder.join("webhook.secret"), "short").unwrap();
        assert!(SigningKey::kept_in(&folder).unwrap_err().to_string().contains("webhook.secret"));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
