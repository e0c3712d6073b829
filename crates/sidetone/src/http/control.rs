//! The control port: `/metrics`, `/livez` and `/readyz` for all, `/v1/reload` for who has access.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::access::{Access, guard};
use crate::health::Health;
use crate::metrics::{Collected, Metrics};
use crate::reload::{Reloaded, Reloader};

/// Routes of the control port.
pub fn router(
    metrics: Arc<Metrics>,
    collected: Collected,
    health: Arc<Health>,
    reloader: Arc<Reloader>,
    access: Access,
) -> Router {
    let scraped = Arc::new(Scraped { metrics, collected, health: Arc::clone(&health) });
    Router::new()
        .route("/metrics", get(scrape).with_state(scraped))
        .route("/livez", get(livez).with_state(Arc::clone(&health)))
        .route("/readyz", get(readyz).with_state(health))
        .nest("/v1", changes(reloader, access))
        .fallback(async || (StatusCode::NOT_FOUND, "There is /metrics, /livez and /readyz here.\n"))
}

/// What changes something.
fn changes(reloader: Arc<Reloader>, access: Access) -> Router {
    Router::new()
        .route("/reload", post(reload).with_state(reloader))
        .layer(from_fn_with_state(access, guard))
}

struct Scraped {
    metrics: Arc<Metrics>,
    collected: Collected,
    health: Arc<Health>,
}

async fn scrape(State(scraped): State<Arc<Scraped>>) -> impl IntoResponse {
    let Scraped { metrics, collected, health } = &*scraped;
    metrics.readiness(health.readiness());
    match metrics.render(collected.families()) {
        Ok(text) => {
            (StatusCode::OK, [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
        }
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, "text/plain; charset=utf-8")],
            format!("metrics cannot be written: {error}\n"),
        ),
    }
}

async fn reload(State(reloader): State<Arc<Reloader>>) -> (StatusCode, axum::Json<Value>) {
    // It goes on if whoever asked goes away.
    let reloaded = tokio::spawn(async move { reloader.reload().await }).await;
    let (status, body) = match reloaded {
        Ok(Ok(Reloaded { restart })) => (StatusCode::OK, json!({ "restart": restart })),
        Ok(Err(error)) => (StatusCode::UNPROCESSABLE_ENTITY, json!({ "error": error.to_string() })),
        Err(_) => {
            let error = "the reload failed; this is a fault of Sidetone";
            (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error }))
        }
    };
    (status, axum::Json(body))
}

async fn livez(State(health): State<Arc<Health>>) -> impl IntoResponse {
    answer(health.liveness())
}

async fn readyz(State(health): State<Arc<Health>>) -> impl IntoResponse {
    answer(health.readiness())
}

fn answer(state: Result<(), &'static str>) -> (StatusCode, String) {
    match state {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}
