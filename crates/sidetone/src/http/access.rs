//! Who may change something by way of the control port.
//!
//! A page in a browser of this machine can send requests to a port of it. It cannot read the token,
//! and a name of its own that leads here (DNS rebinding) is no name of ours.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rand::RngExt;
use subtle::ConstantTimeEq;

use crate::private_file;

/// Whom the control port obeys.
#[derive(Debug, Clone)]
pub struct Access {
    address: SocketAddr,
    token: Option<ControlToken>,
}

/// What shows that a request comes from who can read the state folder.
#[derive(Clone)]
pub struct ControlToken(String);

/// Why there is no token: one sentence with what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlTokenError {
    /// The file cannot be made.
    #[error("{}: cannot keep the token of the control port there ({source}); set state_dir to a folder of the server's user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be read.
    #[error("{}: cannot read the token of the control port ({source})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds less than a token.
    #[error("{}: holds no token; remove the file and start Sidetone anew", path.display())]
    Short {
        /// The file.
        path: PathBuf,
    },
}

impl Access {
    /// Access to a control port at `address`; without a token, nobody has it.
    #[must_use]
    pub fn new(address: SocketAddr, token: Option<ControlToken>) -> Self {
        Access { address, token }
    }

    /// # Errors
    /// The status of the refusal.
    fn judge(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
        if hosts.next().is_some() || !self.is_own(host) {
            return Err(StatusCode::FORBIDDEN);
        }
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, shown) = shown.and_then(|value| value.split_once(' ')).unwrap_or_default();
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        match &self.token {
            Some(token) if is_bearer && token.is(shown.trim()) => Ok(()),
            _ => Err(StatusCode::UNAUTHORIZED),
        }
    }

    /// Whether a Host header means this server: a loopback name or address, or that of the port.
    fn is_own(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => host,
        };
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let own = self.address.ip();
        // An address cannot be led elsewhere, so that behind a wildcard each one is ours.
        name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip == own || own.is_unspecified())
    }
}

/// Lets through who has access.
pub(super) async fn guard(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.judge(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(StatusCode::FORBIDDEN) => {
            let text = "The Host header names another server; ask this one by its address.\n";
            (StatusCode::FORBIDDEN, text).into_response()
        }
        Err(status) => {
            let text = "Show the token of state_dir/control.token as a Bearer token.\n";
            (status, [(WWW_AUTHENTICATE, "Bearer")], text).into_response()
        }
    }
}

impl ControlToken {
    /// The token that is kept in `folder`, which is made if it is missing, so that only its owner
    /// can read it.
    ///
    /// # Errors
    /// When the file cannot be read or made.
    pub fn kept_in(folder: &Path) -> Result<Self, ControlTokenError> {
        let path = folder.join(FILE);
        let fresh =
            format!("{:032x}{:032x}", rand::rng().random::<u128>(), rand::rng().random::<u128>());
        private_file::create(&path, fresh.as_bytes())
            .map_err(|source| ControlTokenError::File { path, source })?;
        // Read back: another process may have been faster.
        ControlToken::found_in(folder)
    }

    /// The token that a server keeps in `folder`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn found_in(folder: &Path) -> Result<Self, ControlTokenError> {
        let path = folder.join(FILE);
        let token = std::fs::read_to_string(&path);
        let token = match token {
            Ok(token) => token.trim().to_owned(),
            Err(source) => return Err(ControlTokenError::Unreadable { path, source }),
        };
        let is_token =
            token.len() >= TOKEN_BYTES_MIN && token.bytes().all(|b| b.is_ascii_graphic());
        if is_token { Ok(ControlToken(token)) } else { Err(ControlTokenError::Short { path }) }
    }

    /// The value of the Authorization header that shows it.
    #[must_use]
    pub fn credentials(&self) -> String {
        format!("Bearer {}", self.0)
    }

    fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

impl std::fmt::Debug for ControlToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ControlToken")
    }
}

const FILE: &str = "control.token";
/// Nobody guesses it.
const TOKEN_BYTES_MIN: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    const TOKEN: &str = "00112233445566778899aabbccddeeff";

    fn judge(address: &str, lines: &[(&str, &str)]) -> u16 {
        let token = Some(ControlToken(TOKEN.to_owned()));
        let access = Access::new(address.parse().unwrap(), token);
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: axum::http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        access.judge(&headers).map_or_else(|status| status.as_u16(), |()| 200)
    }

    #[test]
    fn only_names_that_lead_nowhere_else_are_ours() {
        let shown = format!("Bearer {TOKEN}");
        for (address, host, status) in [
            ("127.0.0.1:8090", "127.0.0.1:8090", 200),
            ("127.0.0.1:8090", "localhost:8090", 200),
            ("127.0.0.1:8090", "LOCALHOST", 200),
            ("127.0.0.1:8090", "[::1]:8090", 200),
            ("127.0.0.1:8090", "", 403),
            ("127.0.0.1:8090", "evil.example:8090", 403),
            ("127.0.0.1:8090", "localhost.evil.example", 403),
            ("127.0.0.1:8090", "127.0.0.1.evil.example:8090", 403),
            ("127.0.0.1:8090", "192.0.2.1:8090", 403),
            ("192.0.2.1:8090", "192.0.2.1:8090", 200),
            ("[2001:db8::1]:8090", "[2001:db8::1]:8090", 200),
            ("0.0.0.0:8090", "192.0.2.1:8090", 200),
            ("0.0.0.0:8090", "evil.example", 403),
        ] {
            let judged = judge(address, &[("host", host), ("authorization", &shown)]);
            assert_eq!(judged, status, "{host:?} at {address}");
        }
        let twice = [("host", "localhost"), ("host", "evil.example"), ("authorization", &*shown)];
        assert_eq!(judge("127.0.0.1:8090", &twice), 403);
    }

    #[test]
    fn only_the_whole_token_is_taken() {
        for (shown, status) in [
            (format!("Bearer {TOKEN}"), 200),
            (format!("bearer {TOKEN}"), 200),
            (format!("Basic {TOKEN}"), 401),
            (format!("Bearer {}", &TOKEN[1..]), 401),
            (format!("Bearer {TOKEN}0"), 401),
            (TOKEN.to_owned(), 401),
            ("Bearer".to_owned(), 401),
        ] {
            let judged =
                judge("127.0.0.1:8090", &[("host", "localhost"), ("authorization", &shown)]);
            assert_eq!(judged, status, "{shown}");
        }
        assert_eq!(judge("127.0.0.1:8090", &[("host", "localhost")]), 401);
    }

    #[test]
    fn without_a_token_nobody_has_access() {
        let access = Access::new("127.0.0.1:8090".parse().unwrap(), None);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "localhost".parse().unwrap());
        headers.insert(AUTHORIZATION, "Bearer ".parse().unwrap());
        assert_eq!(access.judge(&headers), Err(StatusCode::UNAUTHORIZED));
    }

    #[test]
    fn a_token_is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("sidetone-control-{}", std::process::id()));
        let made = ControlToken::kept_in(&folder).unwrap();
        assert_eq!(made.0, ControlToken::kept_in(&folder).unwrap().0);
        let mode = std::fs::metadata(folder.join(FILE)).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, made.0.len()), (0o600, 64));
        std::fs::remove_file(folder.join(FILE)).unwrap();
        let error = ControlToken::found_in(&folder).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("cannot read"), "{error}");
        std::fs::write(folder.join(FILE), "").unwrap();
        let error = ControlToken::found_in(&folder).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("remove the file"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
