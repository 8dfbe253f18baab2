//! Every call by everybody: whoever may not make it is told so, and nothing of it is done.

use std::collections::BTreeSet;

use prost::Message as _;
use prost::bytes::Buf as _;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use weir_proto::model::{Identity, Role};
use weir_proto::wire;

use crate::world::{self, World, node, operator};

/// Who may: viewer, operator, admin, a node.
const CALLS: &[(&str, [bool; 4])] = &[
    ("/weir.v1.Operator/Apply", [false, true, true, false]),
    ("/weir.v1.Operator/Delete", [false, true, true, false]),
    ("/weir.v1.Operator/Diff", [true, true, true, false]),
    ("/weir.v1.Operator/Drain", [false, true, true, false]),
    ("/weir.v1.Operator/Events", [true, true, true, false]),
    ("/weir.v1.Operator/Get", [true, true, true, false]),
    ("/weir.v1.Operator/History", [true, true, true, false]),
    ("/weir.v1.Operator/List", [true, true, true, false]),
    ("/weir.v1.Operator/ListDrains", [true, true, true, false]),
    ("/weir.v1.Operator/NodeStatus", [true, true, true, false]),
    ("/weir.v1.Operator/Plan", [true, true, true, false]),
    ("/weir.v1.Operator/ReleaseNode", [false, false, true, false]),
    ("/weir.v1.Operator/Rollback", [false, false, true, false]),
    ("/weir.v1.Operator/RolloutStatus", [true, true, true, false]),
    ("/weir.v1.Operator/SteerRollout", [false, true, true, false]),
    ("/weir.v1.Operator/Traffic", [true, true, true, false]),
    ("/weir.v1.Operator/Undrain", [false, true, true, false]),
    ("/weir.v1.Operator/Watch", [true, true, true, false]),
    ("/weir.v1.Operator/Why", [true, true, true, false]),
    ("/weir.v1.NodeReports/Report", [false, false, false, true]),
    ("/weir.v1.NodeSync/Sync", [false, false, false, true]),
];

/// As much of a `google.protobuf.FileDescriptorSet` as names every call.
#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
}

/// Messages of any kind, with nothing in them.
#[derive(Debug, Clone, Copy, Default)]
struct Empty;

impl Codec for Empty {
    type Encode = ();
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Empty {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Empty {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        bytes.advance(bytes.remaining());
        Ok(Some(()))
    }
}

/// Sends an empty request, and gives the code by which it is refused; some streams that are not say nothing for long.
async fn call(channel: &Channel, path: &'static str) -> Code {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.expect("ready");
    let path = PathAndQuery::from_static(path);
    let answered = client.server_streaming(Request::new(()), path, Empty).await;
    answered.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test]
async fn each_call_is_open_to_its_roles_and_closed_to_all_others() {
    let files = Files::decode(wire::DESCRIPTORS).expect("descriptors");
    let mut there = BTreeSet::new();
    for file in &files.files {
        // that one is served by agents, on their own sockets
        let here = file.services.iter().filter(|one| one.name != "Agent");
        for service in here {
            let (package, service_name) = (&file.package, &service.name);
            let methods = service.methods.iter();
            there
                .extend(methods.map(|method| format!("/{package}.{service_name}/{}", method.name)));
        }
    }
    let listed: BTreeSet<String> = CALLS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(there, listed, "every call has a line");

    let world = World::start().await;
    let everybody: [Identity; 4] = [
        operator(Role::Viewer),
        operator(Role::Operator),
        operator(Role::Admin),
        node("a"),
    ];
    for (place, who) in everybody.iter().enumerate() {
        let channel = world.channel(who).await;
        for (path, may) in CALLS {
            let code = call(&channel, path).await;
            let refused = code == Code::PermissionDenied;
            assert_eq!(refused, !may[place], "{who} {path}: {code:?}");
            assert_ne!(code, Code::Unauthenticated, "{who} {path}");
        }
        // these tell nothing of the cluster
        let code = call(&channel, "/grpc.health.v1.Health/Check").await;
        assert_eq!(code, Code::Ok, "{who}");
    }
    world.stop().await;
}

#[tokio::test]
async fn what_takes_much_away_needs_an_admin() {
    let world = World::start().await;
    let agent = world.agent("a");
    world.until("a", |state| state.connected).await;
    let mut operator = world.operator(Role::Operator).await;
    let mut admin = world.operator(Role::Admin).await;
    let mass = || wire::ApplyRequest {
        allow_mass_delete: true,
        ..world::service("web", "10.100.0.1", &["a"])
    };
    let refused = operator.apply(mass()).await.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::PermissionDenied,
            "allow_mass_delete needs role admin; the certificate is that of operator/alice"
        )
    );
    admin.apply(mass()).await.expect("applied");
    let delete = |kind: wire::Kind, name: &str, allow_mass_delete| wire::DeleteRequest {
        refs: vec![wire::ResourceRef {
            kind: kind.into(),
            name: name.to_owned(),
        }],
        allow_mass_delete,
        ..wire::DeleteRequest::default()
    };
    let refused = operator
        .delete(delete(wire::Kind::Service, "web", true))
        .await;
    assert_eq!(refused.expect_err("refused").code(), Code::PermissionDenied);
    let refused = operator.delete(delete(wire::Kind::Node, "a", false)).await;
    let refused = refused.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::PermissionDenied,
            "the deletion of a node needs role admin; the certificate is that of operator/alice"
        )
    );
    let deleted = operator
        .delete(delete(wire::Kind::Service, "web", false))
        .await;
    deleted.expect("deleted");
    agent.stop().await;
    let deleted = admin.delete(delete(wire::Kind::Node, "a", false)).await;
    deleted.expect("deleted");
    world.stop().await;
}
