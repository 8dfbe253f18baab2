//! What machines ask of the controller over plain HTTP: /livez, /readyz and /metrics.

mod metrics;
mod sample;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
pub(crate) use metrics::Metrics;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
pub use sample::sample_metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the pages show.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    registry: Arc<Registry>,
    ready: watch::Receiver<Ready>,
}

/// Whether the controller is ready, or why it is not.
pub(crate) type Ready = Result<(), String>;

impl Admin {
    /// Shows the metrics of a registry, and whether the controller is ready.
    pub(crate) fn new(registry: Registry, ready: watch::Receiver<Ready>) -> Self {
        Self {
            registry: Arc::new(registry),
            ready,
        }
    }

    /// Serves until `stop` is done.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let pages = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(show_metrics))
            .with_state(self);
        axum::serve(listener, pages)
            .with_graceful_shutdown(stop)
            .await
    }
}

/// The process answers: that is all there is to being alive.
async fn livez() -> &'static str {
    "ok\n"
}

/// Ready from when the store is loaded until the controller stops, or can write nothing any more.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    match &*admin.ready.borrow() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn show_metrics(State(admin): State<Admin>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &admin.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        // writing into a string fails only where a metric is encoded wrongly
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
