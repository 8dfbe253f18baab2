//! How the controller is reached.

use std::future::Future;

use tonic::transport::{Channel, Endpoint, Error};
use weir_proto::tls::Connector;

/// Connects to the controller.
pub trait Connect: Clone + Send + Sync + 'static {
    /// Connects once. An error is tried again after a while, by whoever called.
    fn connect(&self) -> impl Future<Output = Result<Channel, Error>> + Send;
}

impl Connect for Connector {
    async fn connect(&self) -> Result<Channel, Error> {
        Self::connect(self).await
    }
}

impl Connect for Endpoint {
    async fn connect(&self) -> Result<Channel, Error> {
        Self::connect(self).await
    }
}
