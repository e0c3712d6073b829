//! Who a caller is: digest authentication (RFC 7616, RFC 8760) and signed tokens.
//!
//! Nothing is kept of a challenge, so that a flood of strangers costs no memory: a nonce carries
//! its time under a keyed MAC. Only the nonces that a right password came with are remembered, in
//! a bounded window, so that nothing is taken twice. An unknown user is judged by the same work
//! as a known one and gets the same answer.
//!
//! Left out on purpose: `-sess` algorithms, `auth-int` and `userhash`, which no client needs, and
//! credentials of ours: a challenge of a peer is never answered.

mod algorithm;
mod credentials;
mod nonce;
mod token;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;
use transport::{Message, Uri};

use crate::config;
use crate::users::{Secrets, User, Users};
use credentials::{Credentials, DigestCredentials};
use nonce::Nonces;

pub use algorithm::{Algorithm, Hex};
pub use token::{Claims, SecretError, TokenError, TokenKey};

/// Judges the credentials of requests.
#[derive(Debug)]
pub struct Authenticator {
    realm: String,
    /// Strongest first.
    algorithms: Vec<Algorithm>,
    nonces: Nonces,
    token_key: TokenKey,
    token_context: Option<String>,
    /// What an unknown user is judged by.
    decoy: Secrets,
}

/// Who has proved to be whom, and how far that goes.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user's name, or the subject of a token.
    pub name: String,
    /// The user of the configuration; `None` for the subject of a token that is none.
    pub user: Option<Arc<User>>,
    /// The numbers that a token allows; `None`: all.
    destinations: Option<Vec<String>>,
    /// How long a token is still good for; `None`: the password was shown.
    pub lasts: Option<Duration>,
}

/// What credentials are worth.
#[derive(Debug)]
pub enum Verdict {
    /// There are none for us.
    Anonymous,
    /// They are good.
    Granted(Identity),
    /// They are not, whoever it is.
    Refused(Denial),
}

/// Why credentials are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// They break the grammar of RFC 7616 §3.4, or were made for another request.
    Malformed(&'static str),
    /// No such user.
    UnknownUser,
    /// Another password.
    BadPassword,
    /// Right, but the nonce is too old, used, or not ours.
    Stale,
    /// The token is no token of ours, or its time is over.
    BadToken,
    /// The token is good, and not for this.
    Forbidden,
}

impl Identity {
    /// Whether only some numbers may be called.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.destinations.is_some()
    }

    /// Whether calls to this number are allowed.
    #[must_use]
    pub fn permits(&self, number: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => number
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit())),
            None => number == pattern,
        };
        self.destinations.as_ref().is_none_or(|patterns| patterns.iter().any(matches))
    }
}

impl Authenticator {
    /// An authenticator of the configured realm. Nonces of an earlier process are stale.
    #[must_use]
    pub fn new(config: &config::Auth, token_key: TokenKey, now: Instant) -> Self {
        let mut algorithms = config.algorithms.clone();
        algorithms.sort_unstable_by(|a, b| b.cmp(a));
        algorithms.dedup();
        let unguessable = format!("{:032x}", rand::rng().random::<u128>());
        Authenticator {
            nonces: Nonces::new(config.nonce_lifetime_s, &config.realm, now),
            decoy: Secrets::of("", &config.realm, &unguessable),
            realm: config.realm.clone(),
            algorithms,
            token_key,
            token_context: config.token_context.clone(),
        }
    }

    /// Judges by another configuration from now. Nonces stay good unless they were made for another
    /// realm or lifetime; nobody comes twice with what was used.
    pub fn renew(&mut self, config: &config::Auth, token_key: TokenKey, now: Instant) {
        let mut renewed = Authenticator::new(config, token_key, now);
        if renewed.nonces.is_like(&self.nonces) {
            std::mem::swap(&mut renewed.nonces, &mut self.nonces);
        }
        *self = renewed;
    }

    /// The context of calls whose token names no user.
    #[must_use]
    pub fn token_context(&self) -> Option<&str> {
        self.token_context.as_deref()
    }

    /// Whose password a request claims to show.
    #[must_use]
    pub fn claimed(&self, request: &Message) -> Option<String> {
        match credentials::find(request, &self.realm) {
            Ok(Some(Credentials::Digest(digest))) => Some(digest.username.to_string()),
            _ => None,
        }
    }

    /// The values of WWW-Authenticate, one for each algorithm, strongest first (RFC 8760 §2.3): all
    /// that `bytes_max` have room for, but always the last one, which everybody knows.
    pub fn challenges(&mut self, is_stale: bool, bytes_max: usize, now: Instant) -> Vec<String> {
        let nonce = self.nonces.issue(now);
        let stale = if is_stale { ", stale=true" } else { "" };
        let challenge = |algorithm: &Algorithm| {
            format!(
                "Digest realm=\"{}\", nonce=\"{nonce}\", algorithm={}, qop=\"auth\"{stale}",
                self.realm,
                algorithm.token()
            )
        };
        let mut challenges: Vec<String> = self.algorithms.iter().map(challenge).collect();
        let bytes = |challenges: &[String]| challenges.iter().map(String::len).sum::<usize>();
        while challenges.len() > 1 && bytes(&challenges) > bytes_max {
            challenges.remove(0);
        }
        challenges
    }

    /// Judges what `request` shows: the credentials of its Authorization or Proxy-Authorization,
    /// else the token that its connection was opened with.
    pub fn judge(
        &mut self,
        request: &Message,
        connection_token: Option<&str>,
        users: &Users,
        unix_now_s: u64,
        now: Instant,
    ) -> Verdict {
        let judged = match credentials::find(request, &self.realm) {
            Err(problem) => Err(Denial::Malformed(problem)),
            Ok(Some(Credentials::Digest(digest))) => {
                self.judge_digest(request, &digest, users, now)
            }
            Ok(Some(Credentials::Bearer(token))) => self.judge_token(&token, users, unix_now_s),
            Ok(None) => match connection_token {
                Some(token) => self.judge_token(token, users, unix_now_s),
                None => return Verdict::Anonymous,
            },
        };
        match judged {
            Ok(identity) => Verdict::Granted(identity),
            Err(denial) => Verdict::Refused(denial),
        }
    }

    fn judge_digest(
        &mut self,
        request: &Message,
        digest: &DigestCredentials<'_>,
        users: &Users,
        now: Instant,
    ) -> Result<Identity, Denial> {
        let user = users.share(&digest.username);
        let known = user.as_ref().and_then(|user| user.secrets.get(digest.algorithm).copied());
        let Some(secret) = known.or(self.decoy.get(digest.algorithm).copied()) else {
            return Err(Denial::UnknownUser);
        };
        // Whoever it is, the hashes are made and compared.
        let is_right = digest.expected(&secret, request.method().as_str()) == digest.response;
        let is_right = std::hint::black_box(is_right);
        let is_offered = self.algorithms.contains(&digest.algorithm);
        let Some(user) = user else { return Err(Denial::UnknownUser) };
        if !is_right || !is_offered || known.is_none() {
            return Err(Denial::BadPassword);
        }
        if !is_for(request, &digest.uri) {
            return Err(Denial::Malformed("Digest for Another URI"));
        }
        match self.nonces.take(&digest.nonce, digest.count(), now) {
            true => Ok(Identity {
                name: user.name.clone(),
                user: Some(user),
                destinations: None,
                lasts: None,
            }),
            false => Err(Denial::Stale),
        }
    }

    fn judge_token(&self, token: &str, users: &Users, unix_now_s: u64) -> Result<Identity, Denial> {
        let claims = self.token_key.verify(token, unix_now_s).map_err(|_| Denial::BadToken)?;
        let user = users.share(&claims.sub);
        if user.is_none() && (self.token_context.is_none() || claims.to.is_none()) {
            return Err(Denial::Forbidden);
        }
        let lasts = Some(claims.left(unix_now_s));
        Ok(Identity { name: claims.sub, user, destinations: claims.to, lasts })
    }
}

/// Whether credentials made for `uri` are for this request: a proxy in between may write another
/// host, but never another user. Some clients, SIPp among them, sign the server's address alone.
fn is_for(request: &Message, uri: &str) -> bool {
    if request.request_uri_bytes() == uri.as_bytes() {
        return true;
    }
    let asked = request.request_uri().and_then(Result::ok);
    match (asked, uri.parse::<Uri>()) {
        (Some(asked), Ok(signed)) => {
            signed.user_decoded().is_none() || asked.user_decoded() == signed.user_decoded()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
