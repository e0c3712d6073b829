//! Who answers the plain HTTP requests of a web listener.

use std::{convert::Infallible, error::Error, fmt, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
};

/// The ends of an HTTP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Who asks.
    pub remote: SocketAddr,
    /// Our address, as the socket sees it.
    pub local: SocketAddr,
    /// Whether the connection is under TLS.
    pub secure: bool,
}

/// A response body of any kind.
pub type HttpBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// Answers what is not SIP over WebSocket. Clones share the function.
#[derive(Clone)]
pub struct HttpHandler(Arc<Function>);

type Function = dyn Fn(Request<Incoming>, Peer) -> Answer + Send + Sync;
type Answer = Pin<Box<dyn Future<Output = Response<HttpBody>> + Send>>;

impl HttpHandler {
    /// Wraps a function. A Tower service that does not fail fits as
    /// `move |request, _| { let service = service.clone(); async move { … service.oneshot(request) … } }`.
    pub fn new<F, A, B>(handler: F) -> Self
    where
        F: Fn(Request<Incoming>, Peer) -> A + Send + Sync + 'static,
        A: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        Self(Arc::new(move |request, peer| {
            let answer = handler(request, peer);
            Box::pin(
                async move { answer.await.map(|body| body.map_err(Into::into).boxed_unsync()) },
            )
        }))
    }

    /// Answers every request with 404 and a sentence.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_, _| async {
            sentence(StatusCode::NOT_FOUND, "Only SIP over WebSocket is served here.\n")
        })
    }

    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> Response<HttpBody> {
        (self.0)(request, peer).await
    }
}

impl fmt::Debug for HttpHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpHandler")
    }
}

/// A response of one plain sentence.
pub(super) fn sentence(status: StatusCode, text: &'static str) -> Response<HttpBody> {
    let body = Full::new(Bytes::from_static(text.as_bytes()));
    let mut response =
        Response::new(body.map_err(|never: Infallible| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
