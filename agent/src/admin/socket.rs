//! The agent's own unix socket: `weir.v1.Agent` over gRPC, with reflection, for grpcurl and `weirctl --agent`.
//!
//! It tells what the agent and its kernel hold, and does nothing. Who may open the socket may ask.

mod place;
mod recent;
mod service;
mod status;
mod told;

use std::convert::Infallible;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic_reflection::server::Builder;
use tracing::{error, info};
use weir_proto::model::DrainProgress;
use weir_proto::wire;
use weir_proto::wire::agent_server::{AgentServer, SERVICE_NAME};

use self::place::Place;
pub use self::place::PlaceError;
use self::recent::{Recent, Sights, keep};
use self::service::AgentService;
use super::Sources;
use crate::plan::Repairs;
use crate::reconciler::Ask;
use crate::session::Identity;

/// The calls there are: of any other it is said that there is none.
const CALLS: [&str; 4] = ["State", "Kernel", "Ledger", "Events"];

/// Who is asked over the socket, and where what is told comes from.
#[derive(Debug, Clone)]
pub struct Told {
    /// The node, and what its kernel can do.
    pub identity: Identity,
    /// How the controller is called.
    pub controller: String,
    /// How the agent is.
    pub sources: Sources,
    /// How far drains are.
    pub drains: watch::Receiver<Vec<DrainProgress>>,
    /// What was repaired.
    pub repairs: watch::Receiver<Repairs>,
    /// Who knows what is held; none: nobody does, since the journal could not be opened.
    pub asks: Option<mpsc::Sender<Ask>>,
}

/// Takes the socket's place, and serves there until the task is aborted, which frees the place.
pub async fn serve(path: &Path, told: Told) -> Result<JoinHandle<()>, PlaceError> {
    let (listener, place) = Place::take(path).await?;
    info!(socket = %path.display(), "tells what there is");
    let ring = watch::Sender::new(Recent::default());
    let sights = Sights {
        status: told.sources.status.clone(),
        link: told.sources.link.clone(),
        degraded: told.sources.degraded.clone(),
        repairs: told.repairs.clone(),
    };
    let service = AgentService::new(told, ring.subscribe());
    Ok(tokio::spawn(async move {
        let _place = place;
        let router = match router(service) {
            Ok(router) => router,
            Err(cause) => {
                error!(
                    error = &cause as &dyn std::error::Error,
                    "the socket tells nothing"
                );
                return;
            }
        };
        tokio::select! {
            served = axum::serve(listener, router) => {
                if let Err(cause) = served {
                    error!(error = &cause as &dyn std::error::Error, "the socket is gone");
                }
            }
            () = keep(sights, ring) => {}
        }
    }))
}

fn router(service: AgentService) -> Result<Router, tonic_reflection::server::Error> {
    let server = AgentServer::new(service);
    let mut router = Router::new();
    for call in CALLS {
        router = router.route_service(&format!("/{SERVICE_NAME}/{call}"), server.clone());
    }
    Ok(router
        .route_service(
            "/grpc.reflection.v1.ServerReflection/{method}",
            reflection().build_v1()?,
        )
        .route_service(
            "/grpc.reflection.v1alpha.ServerReflection/{method}",
            reflection().build_v1alpha()?,
        )
        .fallback(unknown))
}

fn reflection() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        // what is in the details of an error
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        // the other services of the language are not here
        .with_service_name(SERVICE_NAME)
}

async fn unknown(request: Request) -> Result<Response<Body>, Infallible> {
    Ok(status::unknown_call(request.uri().path()).into_http())
}

#[cfg(test)]
mod tests;
