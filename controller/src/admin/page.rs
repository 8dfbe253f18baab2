//! One page for people: services with their backends and what passes, nodes and how far each is, and what happened last. It is
//! read only, works with scripts off, and holds nothing from elsewhere.

mod figures;
mod gather;
mod html;
mod query;
mod seen;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, http::HeaderValue};
use tokio::sync::watch;

use super::Asked;
pub(crate) use gather::Gatherer;
use query::Query;

/// What the browser may do with the page: show it, with the style and the script that are served beside it, and ask for it again.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// What is on it is of this moment.
const NEVER: HeaderValue = HeaderValue::from_static("no-store");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// Gives the routes of the page and of what it is made of.
pub(super) fn routes(whom: watch::Receiver<Option<Asked>>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/page.css", get(|| part("text/css; charset=utf-8", STYLE)))
        .route(
            "/page.js",
            get(|| part("text/javascript; charset=utf-8", SCRIPT)),
        )
        .with_state(whom)
}

async fn page(
    State(whom): State<watch::Receiver<Option<Asked>>>,
    RawQuery(text): RawQuery,
) -> Response {
    let asked = Query::read(text.as_deref().unwrap_or_default());
    let whom = whom.borrow().clone();
    let seen = match whom {
        Some(whom) => whom.gatherer.look(&asked).await,
        None => None,
    };
    let (status, html) = match seen {
        Some(seen) => (StatusCode::OK, html::page(&seen)),
        None => (StatusCode::SERVICE_UNAVAILABLE, html::not_now()),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (nosniff(), "nosniff"),
    ];
    (
        status,
        headers,
        [(header::CACHE_CONTROL, NEVER)],
        html.into_string(),
    )
        .into_response()
}

async fn part(kind: &'static str, text: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (nosniff(), "nosniff")];
    (headers, [(header::CACHE_CONTROL, NEVER)], text).into_response()
}

fn nosniff() -> HeaderName {
    header::X_CONTENT_TYPE_OPTIONS
}
