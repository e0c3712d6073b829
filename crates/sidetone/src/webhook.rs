//! Webhooks: HTTP requests of the dialplan, which another program answers with what is run.
//!
//! All calls share one client. It follows no redirection, takes no proxy from the environment, and everything about
//! it is bounded: requests at once, connections that are kept, the time of a request and the size of its answer.

mod signature;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

pub use signature::{KeyError, SigningKey};

/// Asks webhooks.
#[derive(Debug)]
pub struct Webhooks {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    key: SigningKey,
    gate: Semaphore,
}

/// Why a webhook gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// As many requests are on their way as may be.
    #[error("too many requests are waiting for answers")]
    Busy,
    /// The URL cannot be asked.
    #[error("the URL cannot be asked")]
    Url,
    /// There is no answer yet.
    #[error("no answer in time")]
    Timeout,
    /// There is no connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The status is none of 200 to 299.
    #[error("the status is {0}")]
    Status(u16),
    /// The answer has too many bytes.
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// The answer is not UTF-8.
    #[error("the answer is no text")]
    NotText,
}

impl WebhookError {
    /// Whether another try may do better: a server that restarts, a connection that was cut.
    fn may_pass(&self) -> bool {
        match self {
            WebhookError::Connection(_) => true,
            WebhookError::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }
}

impl Webhooks {
    /// A client that trusts whom `tls` trusts and signs with `key`.
    #[must_use]
    pub fn new(tls: &ClientConfig, key: SigningKey) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .http1_max_buf_size(ANSWER_BYTES_MAX)
            .build(connector);
        Webhooks { client, key, gate: Semaphore::new(REQUESTS_MAX) }
    }

    /// Sends `body`, JSON, and returns the body of a 2xx answer. Tries once more if the server cannot be reached
    /// or says 408, 425, 429 or 5xx; all of it takes no longer than `deadline`.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(
        &self,
        url: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<String, WebhookError> {
        let uri: Uri = url.parse().map_err(|_| WebhookError::Url)?;
        let last = Instant::now() + deadline;
        let place = timeout_at(last, self.gate.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(WebhookError::Busy) };
        let id = signature::message_id();
        match self.try_once(&uri, &id, &body, last).await {
            Err(error) if error.may_pass() && Instant::now() + PAUSE < last => {
                sleep(PAUSE).await;
                self.try_once(&uri, &id, &body, last).await
            }
            tried => tried,
        }
    }

    async fn try_once(
        &self,
        uri: &Uri,
        id: &str,
        body: &Bytes,
        last: Instant,
    ) -> Result<String, WebhookError> {
        let mut request = Request::post(uri.clone())
            .body(Full::new(body.clone()))
            .map_err(|_| WebhookError::Url)?;
        self.write_headers(request.headers_mut(), id, body)?;
        let asked = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| WebhookError::Connection(whole(&error)))?;
            read(answer).await
        };
        timeout_at(last, asked).await.unwrap_or(Err(WebhookError::Timeout))
    }

    fn write_headers(
        &self,
        headers: &mut HeaderMap,
        id: &str,
        body: &Bytes,
    ) -> Result<(), WebhookError> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| WebhookError::Url);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let agent = concat!("Sidetone/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let timestamp = signature::unix_now_s().to_string();
        headers.insert("webhook-signature", value(&self.key.sign(id, &timestamp, body))?);
        headers.insert("webhook-id", value(id)?);
        headers.insert("webhook-timestamp", value(&timestamp)?);
        Ok(())
    }
}

/// The body of a 2xx answer.
async fn read(answer: hyper::Response<hyper::body::Incoming>) -> Result<String, WebhookError> {
    let status: StatusCode = answer.status();
    if !status.is_success() {
        return Err(WebhookError::Status(status.as_u16()));
    }
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            WebhookError::TooLong
        } else {
            WebhookError::Connection(whole(error.as_ref()))
        }
    })?;
    String::from_utf8(body.to_bytes().into()).map_err(|_| WebhookError::NotText)
}

/// What went wrong, with its causes: the outermost says little.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let detail = error.to_string();
        if !text.ends_with(&detail) {
            text = format!("{text}: {detail}");
        }
        source = error.source();
    }
    text
}

/// Longest answer, as the dialplan reads it.
const ANSWER_BYTES_MAX: usize = 65_536;
/// Most requests at once, of all calls.
const REQUESTS_MAX: usize = 256;
/// Most idle connections that are kept to one server.
const IDLE_PER_HOST_MAX: usize = 32;
/// How long an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// A server that takes longer to connect to is tried once more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between the two tries.
const PAUSE: Duration = Duration::from_millis(100);
