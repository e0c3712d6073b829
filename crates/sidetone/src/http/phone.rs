//! The web phone: the files bundled from `crates/sidetone/web`, and the numbers it offers.

use std::borrow::Cow;

use axum::Router;
use axum::extract::State;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;

/// A number that can be called, for the banner and the web phone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Number {
    /// What is dialled.
    pub number: String,
    /// Name of the extension that answers.
    pub name: String,
}

/// Routes of a web listener for everything that is not a WebSocket.
pub fn router(numbers: watch::Receiver<Vec<Number>>, has_phone: bool) -> Router {
    if !has_phone {
        return Router::new().fallback(async || {
            (StatusCode::NOT_FOUND, "SIP over WebSocket is served here; the web phone is off.\n")
        });
    }
    Router::new().fallback(get(file)).with_state(numbers)
}

#[derive(rust_embed::RustEmbed)]
#[folder = "web/dist/"]
struct Files;

/// The page and what it loads. It asks for them beside itself, wherever that is: whoever opens the
/// address of the WebSocket in a browser, whatever its path, sees the phone.
async fn file(
    State(numbers): State<watch::Receiver<Vec<Number>>>,
    uri: Uri,
    request: HeaderMap,
) -> Response {
    let asked = uri.path().rsplit('/').next().unwrap_or_default();
    if asked == "numbers.json" {
        let numbers = numbers.borrow().clone();
        return ([(CACHE_CONTROL, "no-store")], axum::Json(numbers)).into_response();
    }
    let accept = request.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let is_page = !asked.contains('.') && accept.contains("text/html");
    let path = if asked.is_empty() || is_page { "index.html" } else { asked };
    let Some(file) = Files::get(path) else {
        return (StatusCode::NOT_FOUND, "There is no such page; the web phone is at /.\n")
            .into_response();
    };
    let hash = file.metadata.sha256_hash();
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in &hash[..16] {
        tag.push_str(&format!("{byte:02x}"));
    }
    tag.push('"');
    if request.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let headers = [
        (CONTENT_TYPE, content_type(path)),
        (CACHE_CONTROL, "no-cache"),
        (ETAG, tag.as_str()),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let body = match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    (headers, body).into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "map" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Nothing from elsewhere; sockets to any listener of this server.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
                      object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
