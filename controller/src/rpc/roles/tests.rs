use std::collections::BTreeSet;
use std::convert::Infallible;

use prost::Message as _;
use tonic::Code;
use tower::ServiceExt as _;
use weir_proto::model::{NodeName, TrustDomain};
use weir_proto::tls::Certificate;
use weir_proto::wire;

use super::*;

/// A certificate of these tests is valid then, and a millisecond later not.
const NOW: u64 = 1_000;

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
    services: Vec<Named>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Named {
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

fn shown(identity: Identity) -> Proof {
    Proof::Shown(Certificate {
        domain: TrustDomain::new("weir").expect("a domain"),
        identity,
        begins_unix_ms: 0,
        expires_unix_ms: NOW + 1,
    })
}

fn operator(role: Role) -> Identity {
    let name = NodeName::new("alice").expect("a name");
    Identity::Operator { role, name }
}

#[test]
fn every_call_of_the_language_has_a_line_in_the_table_and_no_line_is_of_another() {
    let files = Files::decode(wire::DESCRIPTORS).expect("descriptors");
    let mut calls = BTreeSet::new();
    for file in &files.files {
        // that one is served by agents, on their own sockets
        let here = file.services.iter().filter(|one| one.name != "Agent");
        for service in here {
            for method in &service.methods {
                let (package, service) = (&file.package, &service.name);
                calls.insert(format!("/{package}.{service}/{}", method.name));
            }
        }
    }
    let lines: BTreeSet<String> = CALLS.iter().map(|(call, _)| (*call).to_owned()).collect();
    assert_eq!(calls, lines);
}

#[test]
fn who_may_not_is_told_what_is_needed_and_who_they_are() {
    for (path, need) in CALLS {
        let need = *need;
        for role in Role::ALL {
            let judged = judge(path, &shown(operator(role)), NOW);
            let judged = judged.map_err(|status| (status.code(), status.message().to_owned()));
            let call = path.rsplit('/').next().expect("a call");
            let denied = |needed: &str| {
                let text =
                    format!("{call} needs {needed}; the certificate is that of {role}/alice");
                Err((Code::PermissionDenied, text))
            };
            let expected = match need {
                Need::Role(needed) if role < needed => denied(&format!("role {needed}")),
                Need::Role(_) | Need::Certificate => Ok(operator(role)),
                Need::Node => denied("the certificate of a node"),
            };
            assert_eq!(judged, expected, "{path} {role}");
        }
        let node = Identity::Node(NodeName::new("a").expect("a name"));
        let judged = judge(path, &shown(node), NOW);
        assert_eq!(judged.is_ok(), need == Need::Node, "{path}");
        let judged = judge(path, &shown(Identity::Controller), NOW);
        assert!(judged.is_err(), "{path}");
        let judged = judge(path, &Proof::Missing, NOW).map_err(|status| status.code());
        assert_eq!(judged, Err(Code::Unauthenticated), "{path}");
        let judged = judge(path, &Proof::Unasked, NOW).map_err(|status| status.code());
        assert_eq!(judged, Ok(Identity::Anonymous), "{path}");
    }
}

#[test]
fn health_and_reflection_want_any_certificate_and_what_has_no_line_is_not_there() {
    let node = shown(Identity::Node(NodeName::new("a").expect("a name")));
    for other in OTHERS {
        let path = format!("{other}Check");
        assert!(judge(&path, &node, NOW).is_ok(), "{path}");
        let judged = judge(&path, &Proof::Missing, NOW).map_err(|status| status.code());
        assert_eq!(judged, Err(Code::Unauthenticated), "{path}");
    }
    for path in ["/weir.v1.Operator/Burn", "/", "", "/weir.v1.Operator/get"] {
        for proof in [&node, &Proof::Missing, &Proof::Unasked] {
            let judged = judge(path, proof, NOW).map_err(|status| status.code());
            assert_eq!(judged, Err(Code::Unimplemented), "{path}");
        }
    }
}

#[test]
fn a_certificate_that_expires_while_its_connection_is_open_allows_nothing_more() {
    let calls = CALLS.iter().map(|(call, _)| (*call).to_owned());
    for path in calls.chain(OTHERS.map(|other| format!("{other}Check"))) {
        for who in [
            operator(Role::Admin),
            Identity::Node(NodeName::new("a").expect("a name")),
        ] {
            let judged = judge(&path, &shown(who.clone()), NOW + 1);
            let judged = judged.map_err(|status| (status.code(), status.message().to_owned()));
            let text = format!(
                "the certificate of {who} expired while it was connected; come back with another"
            );
            assert_eq!(judged, Err((Code::Unauthenticated, text)), "{path}");
        }
    }
}

/// Gives by what code a call is refused whose transport says this of who is there; none: it is let through, to nobody that
/// is known.
async fn refused(path: &str, peer: Option<Peer>) -> Option<Code> {
    let inner = tower::service_fn(|request: Request<()>| async move {
        let who = request.extensions().get::<Identity>();
        assert_eq!(who, Some(&Identity::Anonymous));
        Ok::<_, Infallible>(Response::new(()))
    });
    let mut request = Request::builder().uri(path).body(()).expect("a request");
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    let answer = Roles.layer(inner).oneshot(request).await;
    let answer = answer.expect("infallible");
    Status::from_header_map(answer.headers()).map(|status| status.code())
}

#[tokio::test]
async fn only_a_transport_that_says_it_is_plaintext_is_taken_for_it() {
    for (path, _) in CALLS {
        let plaintext = Peer {
            address: ([127, 0, 0, 1], 1).into(),
            proof: Proof::Unasked,
        };
        assert_eq!(refused(path, Some(plaintext)).await, None, "{path}");
        let unknown = refused(path, None).await;
        assert_eq!(unknown, Some(Code::Unauthenticated), "{path}");
    }
}
