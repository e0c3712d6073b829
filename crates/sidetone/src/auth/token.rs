//! Signed tokens in place of a password: JSON Web Tokens under HS256 (RFC 7519, RFC 7515).

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::algorithm::Hex;
use crate::config::Config;
use crate::private_file;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// Who calls: the name of a user, or, where `auth.token_context` is set, any name.
    pub sub: String,
    /// The end of its time, seconds since 1970.
    pub exp: f64,
    /// The beginning of its time, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<f64>,
    /// The numbers that may be called; `*` at the end of one stands for any digits. Without it:
    /// whatever the user may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
}

impl Claims {
    /// How long they are still good for at `unix_now_s`.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double")]
    pub fn left(&self, unix_now_s: u64) -> Duration {
        // Beyond what a duration holds is for ever.
        Duration::try_from_secs_f64((self.exp - unix_now_s as f64).max(0.0))
            .unwrap_or(Duration::MAX)
    }
}

/// Signs tokens and checks them.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no token, or more than may be.
    #[error("not a token of three parts")]
    Form,
    /// It is signed in another way than by HS256, or not at all.
    #[error("not signed with HS256")]
    Algorithm,
    /// It was signed with another key, or changed.
    #[error("the signature is wrong")]
    Signature,
    /// It does not say what it must.
    #[error("the claims cannot be read")]
    Claims,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Its time has not come.
    #[error("not yet valid")]
    NotYet,
    /// It names who may take it, and no server of ours has a name (RFC 7519 §4.1.3).
    #[error("made for another audience")]
    Audience,
}

/// Why there is no key: one sentence with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file of the secret cannot be read or made.
    #[error("{}: cannot keep the secret of tokens there ({source}); set state_dir to a folder that can be written, or auth.token_secret", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is there and cannot be read.
    #[error("{}: cannot read the secret of tokens ({source}); run this as the server's user", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No server has made one there.
    #[error("there is no secret of tokens yet in {}, where the server makes one at its start; give --config and STATE_DIRECTORY as the server has them", folder.display())]
    NotYet {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no folder to keep the secret in.
    #[error(
        "no folder to keep the secret of tokens in; set state_dir or auth.token_secret in the configuration"
    )]
    NoFolder,
    /// The file holds less than a secret.
    #[error("{}: holds no secret; remove the file to have one made, or set auth.token_secret", path.display())]
    Short {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that must be understood (RFC 7515 §4.1.11): none is.
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(flatten)]
    claims: Claims,
    #[serde(default)]
    aud: Option<serde_json::Value>,
}

impl TokenKey {
    /// The key of a secret.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        TokenKey(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// The key of the configured secret, else of the one that is kept in the state folder.
    ///
    /// # Errors
    /// When there is neither.
    pub fn of(config: &Config) -> Result<Self, SecretError> {
        if let Some(secret) = &config.auth.token_secret {
            return Ok(TokenKey::new(secret));
        }
        TokenKey::kept_in(&crate::state_dir::state_dir(config).ok_or(SecretError::NoFolder)?)
    }

    /// The key of the configured secret, else of the one that the server has made in the state
    /// folder. None is made here: the server might keep another one elsewhere.
    ///
    /// # Errors
    /// When there is neither.
    pub fn found(config: &Config) -> Result<Self, SecretError> {
        if let Some(secret) = &config.auth.token_secret {
            return Ok(TokenKey::new(secret));
        }
        let folder = crate::state_dir::state_dir(config).ok_or(SecretError::NoFolder)?;
        let path = folder.join(FILE);
        TokenKey::read(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => SecretError::NotYet { folder },
            _ => SecretError::Unreadable { path, source },
        })?
    }

    /// A key that nobody has: no token is good.
    #[must_use]
    pub fn unknown() -> Self {
        TokenKey::new(&fresh_secret())
    }

    /// The key of the secret that is kept in `folder`, which is made if it is missing, so that
    /// only its owner can read it.
    ///
    /// # Errors
    /// When the file cannot be read or made.
    pub fn kept_in(folder: &Path) -> Result<Self, SecretError> {
        let path = folder.join(FILE);
        let failed = |source| SecretError::File { path: path.clone(), source };
        private_file::create(&path, fresh_secret().as_bytes()).map_err(failed)?;
        // Read back: another process may have been faster.
        TokenKey::read(&path).map_err(failed)?
    }

    fn read(path: &Path) -> std::io::Result<Result<Self, SecretError>> {
        let secret = std::fs::read_to_string(path)?;
        Ok(match secret.trim() {
            secret if secret.len() >= SECRET_BYTES_MIN => Ok(TokenKey::new(secret)),
            _ => Err(SecretError::Short { path: path.to_owned() }),
        })
    }

    /// Makes a token.
    ///
    /// # Errors
    /// When the claims cannot be written as JSON, since a time is no number.
    pub fn sign(&self, claims: &Claims) -> Result<String, serde_json::Error> {
        let head = URL_SAFE_NO_PAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#);
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let signed = format!("{head}.{body}");
        let signature = hmac::sign(&self.0, signed.as_bytes());
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Reads a token that is ours and good at `unix_now_s`.
    ///
    /// # Errors
    /// The first thing that is wrong with it; nothing of it is read before its signature.
    pub fn verify(&self, token: &str, unix_now_s: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Form);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let (head, body) = signed.split_once('.').ok_or(TokenError::Form)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Form);
        let header: Header =
            serde_json::from_slice(&decode(head)?).map_err(|_| TokenError::Form)?;
        if header.alg != "HS256" || header.crit.is_some() {
            return Err(TokenError::Algorithm);
        }
        hmac::verify(&self.0, signed.as_bytes(), &decode(signature)?)
            .map_err(|_| TokenError::Signature)?;
        let Body { claims, aud } =
            serde_json::from_slice(&decode(body)?).map_err(|_| TokenError::Claims)?;
        if aud.is_some() {
            return Err(TokenError::Audience);
        }
        if claims.sub.is_empty() || claims.sub.len() > SUBJECT_BYTES_MAX {
            return Err(TokenError::Claims);
        }
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double")]
        let now = unix_now_s as f64;
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        match claims.nbf {
            Some(begin) if begin > now => Err(TokenError::NotYet),
            _ => Ok(claims),
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

fn fresh_secret() -> String {
    Hex::of(&rand::rng().random::<[u8; 32]>()).to_string()
}

const FILE: &str = "token.secret";
const TOKEN_BYTES_MAX: usize = 4_096;
const SUBJECT_BYTES_MAX: usize = 64;
const SECRET_BYTES_MIN: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn claims() -> Claims {
        Claims {
            sub: "199".to_owned(),
            exp: NOW as f64 + 60.0,
            nbf: None,
            to: Some(vec!["9196".to_owned()]),
        }
    }

    fn key() -> TokenKey {
        TokenKey::new("0123456789abcdef0123456789abcdef")
    }

    fn token_of(head: &str, body: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(body));
        let signature = hmac::sign(&key().0, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn rfc7519_a_token_says_what_was_signed() {
        let token = key().sign(&claims()).unwrap();
        assert_eq!(key().verify(&token, NOW), Ok(claims()));
        assert_eq!(claims().left(NOW), Duration::from_secs(60));
        assert_eq!(claims().left(NOW + 61), Duration::ZERO);
        assert_eq!(Claims { exp: f64::MAX, ..claims() }.left(NOW), Duration::MAX);
    }

    #[test]
    fn rfc7515_the_example_of_hs256_is_verified() {
        // RFC 7515 §A.1: it verifies under its key, and lacks the claim that says who calls.
        let secret = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let key = TokenKey(hmac::Key::new(hmac::HMAC_SHA256, &secret));
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
             eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
             dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(key.verify(token, 0), Err(TokenError::Claims));
    }

    #[test]
    fn a_token_of_another_key_kind_or_time_is_refused() {
        let good = r#"{"sub":"199","exp":1800000060}"#;
        let hs256 = r#"{"alg":"HS256"}"#;
        for (token, error) in [
            (token_of(r#"{"alg":"none"}"#, good), TokenError::Algorithm),
            (token_of(r#"{"alg":"HS512"}"#, good), TokenError::Algorithm),
            (token_of(r#"{"alg":"RS256"}"#, good), TokenError::Algorithm),
            (token_of(r#"{"alg":"HS256","crit":["x"]}"#, good), TokenError::Algorithm),
            (token_of(hs256, r#"{"sub":"199","exp":1800000000}"#), TokenError::Expired),
            (
                token_of(hs256, r#"{"sub":"199","exp":1800000060,"nbf":1800000001}"#),
                TokenError::NotYet,
            ),
            (
                token_of(hs256, r#"{"sub":"199","exp":1800000060,"aud":"another server"}"#),
                TokenError::Audience,
            ),
            (token_of(hs256, r#"{"sub":"199"}"#), TokenError::Claims),
            (token_of(hs256, r#"{"sub":"199","exp":"never"}"#), TokenError::Claims),
            (token_of(hs256, r#"{"exp":1800000060}"#), TokenError::Claims),
            (token_of(hs256, r#"{"sub":"","exp":1800000060}"#), TokenError::Claims),
            (token_of(hs256, r#"{"sub":"199","exp":1800000060,"to":"*"}"#), TokenError::Claims),
            ("a.b".to_owned(), TokenError::Form),
            (format!("{}.", "x".repeat(5_000)), TokenError::Form),
        ] {
            assert_eq!(key().verify(&token, NOW), Err(error), "{token}");
        }
        let (unsigned, _) =
            token_of(hs256, good).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.len())).unwrap();
        assert_eq!(key().verify(&format!("{unsigned}."), NOW), Err(TokenError::Signature));
        let elsewhere = TokenKey::new("another secret of at least 32 bytes");
        assert_eq!(elsewhere.verify(&token_of(hs256, good), NOW), Err(TokenError::Signature));
    }

    #[test]
    fn the_kept_secret_is_the_owners_alone_and_stays() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("sidetone-token-{}", std::process::id()));
        let first = TokenKey::kept_in(&folder).unwrap();
        let token = first.sign(&claims()).unwrap();
        assert!(TokenKey::kept_in(&folder).unwrap().verify(&token, NOW).is_ok());
        let path = folder.join("token.secret");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        let error = TokenKey::kept_in(&folder).unwrap_err().to_string();
        assert!(error.contains("token.secret") && error.contains("remove"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_secret_is_found_and_never_made_by_who_only_looks_for_it() {
        let folder = std::env::temp_dir().join(format!("sidetone-found-{}", std::process::id()));
        let mut config = Config { state_dir: Some(folder.clone()), ..Config::default() };
        let error = TokenKey::found(&config).unwrap_err().to_string();
        assert!(error.contains(&folder.display().to_string()), "{error}");
        assert!(error.contains("STATE_DIRECTORY") && !folder.exists(), "{error}");
        let token = TokenKey::of(&config).unwrap().sign(&claims()).unwrap();
        assert!(TokenKey::found(&config).unwrap().verify(&token, NOW).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
        config.auth.token_secret = Some("0123456789abcdef0123456789abcdef".to_owned());
        let token = TokenKey::found(&config).unwrap().sign(&claims()).unwrap();
        assert!(key().verify(&token, NOW).is_ok() && !folder.exists());
    }

    proptest! {
        #[test]
        fn nothing_else_is_a_token(text in ".{0,200}", at in any::<prop::sample::Index>()) {
            prop_assert!(key().verify(&text, NOW).is_err());
            let mut changed = key().sign(&claims()).unwrap().into_bytes();
            let at = at.index(changed.len());
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            prop_assert!(key().verify(&String::from_utf8(changed).unwrap(), NOW).is_err());
        }
    }
}
