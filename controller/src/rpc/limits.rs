//! How long a call may take until its answer begins. A call whose answer is a stream begins it at once; one
//! whose request is a stream is answered when that ends, and is let be.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::Code;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};
use weir_proto::wire::ErrorReason;

use super::status::status;

/// A write waits for one commit, some milliseconds; a disk that hangs for longer than this is better reported
/// than waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// The calls that are answered when their request ends.
const STREAMED_REQUESTS: [&str; 1] = ["/weir.v1.NodeReports/Report"];

/// Ends calls whose answer does not begin in time, with DEADLINE_EXCEEDED.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnaryTimeout;

/// A service so guarded.
#[derive(Debug, Clone)]
pub(super) struct Guarded<S>(S);

impl<S> Layer<S> for UnaryTimeout {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded(inner)
    }
}

impl<S, I, O> Service<Request<I>> for Guarded<S>
where
    S: Service<Request<I>, Response = Response<O>>,
    S::Future: Send + 'static,
    O: Default,
{
    type Response = Response<O>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<O>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<I>) -> Self::Future {
        let streamed = STREAMED_REQUESTS.contains(&request.uri().path());
        let answer = self.0.call(request);
        Box::pin(async move {
            if streamed {
                return answer.await;
            }
            match tokio::time::timeout(PATIENCE, answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    let seconds = PATIENCE.as_secs();
                    let problem = format!("no answer within {seconds} s; it may still be done");
                    let reason = (Code::DeadlineExceeded, ErrorReason::CallTimedOut);
                    Ok(status(reason, problem, []).into_http())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tonic::Status;

    use super::*;

    async fn never(_: Request<()>) -> Result<Response<()>, Infallible> {
        std::future::pending().await
    }

    fn call(path: &str) -> impl Future<Output = Result<Response<()>, Infallible>> {
        let request = Request::builder().uri(path).body(()).expect("a request");
        UnaryTimeout.layer(tower::service_fn(never)).call(request)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_never_answered_ends() {
        let answer = call("/weir.v1.Operator/Get").await.expect("an answer");
        assert_eq!(
            Status::from_header_map(answer.headers()).map(|status| status.code()),
            Some(tonic::Code::DeadlineExceeded)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_reports_is_let_be() {
        let report = call(STREAMED_REQUESTS[0]);
        let waited = tokio::time::timeout(PATIENCE * 100, report).await;
        assert!(waited.is_err(), "{waited:?}");
    }
}
