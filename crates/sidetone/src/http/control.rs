//! The control port: `/metrics`, `/livez` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::health::Health;
use crate::metrics::{Collected, Metrics};

/// Routes of the control port.
pub fn router(metrics: Arc<Metrics>, collected: Collected, health: Arc<Health>) -> Router {
    let scraped = Arc::new(Scraped { metrics, collected, health: Arc::clone(&health) });
    Router::new()
        .route("/metrics", get(scrape).with_state(scraped))
        .route("/livez", get(livez).with_state(Arc::clone(&health)))
        .route("/readyz", get(readyz).with_state(health))
        .fallback(async || (StatusCode::NOT_FOUND, "There is /metrics, /livez and /readyz here.\n"))
}

struct Scraped {
    metrics: Arc<Metrics>,
    collected: Collected,
    health: Arc<Health>,
}

async fn scrape(State(scraped): State<Arc<Scraped>>) -> impl IntoResponse {
    let Scraped { metrics, collected, health } = &*scraped;
    metrics.readiness(health.readiness());
    match metrics.render(collected) {
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
