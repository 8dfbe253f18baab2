//! What machines ask of the controller over plain HTTP, /livez, /readyz and /metrics, and one page for people.

mod page;
mod passing;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
pub(crate) use page::Gatherer;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::desired::TrafficQuery;
use crate::traffic::Traffic;
use passing::Shown;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the pages show.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    registry: Arc<Registry>,
    ready: watch::Receiver<Ready>,
    asked: watch::Receiver<Option<Asked>>,
    backends: bool,
}

/// Whom the pages ask; nobody while the store is loaded.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) cluster: Cluster,
    pub(crate) traffic: Traffic,
    pub(crate) gatherer: Gatherer,
}

/// Whether the controller is ready, or why it is not.
pub(crate) type Ready = Result<(), String>;

impl Admin {
    /// Shows the metrics of a registry, whether the controller is ready, and what passes; with `backends` through each of them,
    /// too.
    pub(crate) fn new(
        registry: Registry,
        ready: watch::Receiver<Ready>,
        asked: watch::Receiver<Option<Asked>>,
        backends: bool,
    ) -> Self {
        Self {
            registry: Arc::new(registry),
            ready,
            asked,
            backends,
        }
    }

    /// Writes the page of numbers. What cannot be asked, since the controller starts or stops, is not on it.
    async fn numbers(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        if let Some(shown) = self.ask().await {
            let mut registry = Registry::default();
            registry.register_collector(Box::new(shown));
            encode_registry(&mut text, &registry)?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }

    async fn ask(&self) -> Option<Shown> {
        let Asked {
            cluster,
            traffic,
            gatherer: _,
        } = self.asked.borrow().clone()?;
        let query = TrafficQuery {
            backends: self.backends,
            ..TrafficQuery::default()
        };
        Some(Shown {
            passing: traffic.passing(query).await.ok()?,
            behind: cluster.behind().await.ok()?,
            backends: self.backends,
        })
    }

    /// Serves until `stop` is done.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let page = page::routes(self.asked.clone());
        let pages = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(show_metrics))
            .with_state(self)
            .merge(page);
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
    match admin.numbers().await {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        // writing into a string fails only where a metric is encoded wrongly
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
