//! Matching messages to transactions: RFC 3261 §17.1.3, §17.2.3 and §8.2.2.2.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use transport::{Message, Method, Via};

/// Names a transaction within its table, by value.
pub(crate) type Key = Arc<str>;

/// The key of the server transaction that `request` starts or repeats.
///
/// An ACK has the key of its INVITE. `None` if a header field that matching needs is not readable.
pub(crate) fn of_request(request: &Message) -> Option<Key> {
    let method = match request.method() {
        Method::Ack => &Method::Invite,
        other => other,
    };
    request_key(request, method)
}

/// The key of the INVITE that `cancel` names (RFC 3261 §9.2).
pub(crate) fn of_cancelled(cancel: &Message) -> Option<Key> {
    request_key(cancel, &Method::Invite)
}

fn request_key(request: &Message, method: &Method) -> Option<Key> {
    let via = request.via()?;
    match via.unique_branch() {
        Some(branch) => {
            let (method, host) = (method.as_str(), via.host());
            let mut key = String::with_capacity(method.len() + branch.len() + host.len() + 8);
            for part in [method, " ", &branch, " "] {
                key.push_str(part);
            }
            let host_start = key.len();
            key.push_str(host);
            key[host_start..].make_ascii_lowercase();
            if let Some(port) = via.port() {
                // A string refuses nothing.
                let _ = write!(key, ":{port}");
            }
            Some(key.into())
        }
        None => key_without_cookie(request, method, &via),
    }
}

/// Matching for peers that do not know the cookie (RFC 3261 §17.2.3, the RFC 2543 rules).
///
/// The To tag is not compared: an ACK has the one of our response, which its INVITE has not, and
/// all other fields together are never shared by two transactions.
fn key_without_cookie(request: &Message, method: &Method, via: &Via) -> Option<Key> {
    let uri = String::from_utf8_lossy(request.request_uri_bytes());
    let cseq = request.cseq()?.number;
    let call_id = request.call_id();
    let tag = request.from_tag().unwrap_or_default();
    Some(format!("{method} {cseq}\n{uri}\n{call_id}\n{tag}\n{via}").into())
}

/// The key of the client transaction that `message`, our request or a response to it, belongs to.
pub(crate) fn of_own(message: &Message) -> Option<Key> {
    let via = message.via()?;
    let branch = via.unique_branch()?;
    let method = message.cseq()?.method;
    Some(format!("{method} {branch}").into())
}

/// What two copies of one request share that came by two ways: From tag, Call-ID and CSeq.
///
/// Hashed with a secret, so that nobody can choose values that collide. `None` for a request
/// within a dialog.
pub(crate) fn of_merge(request: &Message, secret: u64) -> Option<u64> {
    if request.to_tag().is_some() {
        return None;
    }
    let cseq = request.cseq()?;
    let mut hasher = DefaultHasher::new();
    secret.hash(&mut hasher);
    request.from_tag()?.hash(&mut hasher);
    request.call_id().hash(&mut hasher);
    cseq.number.hash(&mut hasher);
    cseq.method.as_str().hash(&mut hasher);
    Some(hasher.finish())
}
