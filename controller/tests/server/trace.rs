//! One trace leads from the operator's hand to the node.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use weir_proto::wire;

use crate::rig::{Rig, web};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn an_update_is_in_the_trace_of_the_call_that_made_it() {
    // for the whole process: the other tests run in traces nobody collects
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let all = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(all).expect("nobody else listens");

    let rig = Rig::start().await;
    let mut agent = rig.agent("a", None).await;
    let mut request = tonic::Request::new(wire::ApplyRequest {
        resources: vec![web("web", 1, &[1])],
        ..wire::ApplyRequest::default()
    });
    let caller = format!("00-{TRACE}-b7ad6b7169203331-01");
    let caller = caller.parse().expect("a header");
    request.metadata_mut().insert("traceparent", caller);
    rig.operator().await.apply(request).await.expect("applied");
    let told = agent.update().await.traceparent;
    assert_eq!(told.split('-').nth(1), Some(TRACE), "{told:?}");
}
