//! The last rollout, as it is kept: all that it takes to go on after a restart, at any point.
//!
//! What nodes said of it is not kept: they say it again. What they counted is not either, which costs accuracy alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message as _;
use weir_proto::convert::{
    Problems, canary_from_wire, canary_to_wire, phase_from_wire, phase_to_wire,
    reference_from_wire, reference_to_wire, resource_from_wire, resource_to_wire,
};
use weir_proto::model::{Generation, NodeName, Revision, ServiceName};
use weir_proto::wire;

use super::Cause;
use crate::desired::{Batch, Count, Member, Rollout};

/// A rollout. Numbers are never reused.
#[derive(Clone, PartialEq, prost::Message)]
struct Record {
    /// As operators see it, but for the nodes.
    #[prost(message, optional, tag = "1")]
    rollout: Option<wire::Rollout>,
    /// The resources of the batch that were there before, as they were.
    #[prost(message, repeated, tag = "2")]
    before: Vec<wire::Resource>,
    #[prost(string, repeated, tag = "3")]
    services: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    members: Vec<MemberRecord>,
    #[prost(bool, tag = "5")]
    allow_mass_delete: bool,
    /// What was counted where the batch is not, and before.
    #[prost(uint64, tag = "6")]
    usual_connections: u64,
    #[prost(uint64, tag = "7")]
    usual_failed: u64,
}

/// One node of it.
#[derive(Clone, PartialEq, prost::Message)]
struct MemberRecord {
    #[prost(string, tag = "1")]
    name: String,
    /// Absent: it was not reached.
    #[prost(message, optional, tag = "2")]
    reached: Option<ReachedRecord>,
    #[prost(bool, tag = "3")]
    excused: bool,
}

/// The step that reached a node, and the generation that carried the batch there.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct ReachedRecord {
    #[prost(uint32, tag = "1")]
    step: u32,
    #[prost(uint64, tag = "2")]
    generation: u64,
}

/// Writes a rollout.
pub(super) fn written_rollout(rollout: &Rollout) -> Vec<u8> {
    let told = wire::Rollout {
        revision: rollout.revision.0,
        canary: Some(canary_to_wire(&rollout.canary)),
        step: number(rollout.step),
        phase: phase_to_wire(rollout.phase).into(),
        reason: rollout.reason.clone(),
        refs: rollout.before.keys().map(reference_to_wire).collect(),
        nodes: Vec::new(),
        who: rollout.who.clone(),
        begun_unix_ms: rollout.begun_unix_ms,
        changed_unix_ms: rollout.changed_unix_ms,
    };
    // of what was before nobody asks at which revision
    let before = rollout.before.values().flatten();
    let before = before.map(|resource| resource_to_wire(resource, Revision(0)));
    let members = rollout.members.iter().map(|(name, member)| MemberRecord {
        name: name.to_string(),
        reached: member.reached.map(|(step, generation)| ReachedRecord {
            step: number(step),
            generation: generation.0,
        }),
        excused: member.excused,
    });
    let record = Record {
        rollout: Some(told),
        before: before.collect(),
        services: rollout.services.iter().map(ToString::to_string).collect(),
        members: members.collect(),
        allow_mass_delete: rollout.allow_mass_delete,
        usual_connections: rollout.usual.connections,
        usual_failed: rollout.usual.failed,
    };
    record.encode_to_vec()
}

/// Reads a rollout.
pub(super) fn read_rollout(bytes: &[u8]) -> Result<Rollout, Cause> {
    let Record {
        rollout,
        before: kept,
        services,
        members,
        allow_mass_delete,
        usual_connections,
        usual_failed,
    } = Record::decode(bytes)?;
    let told = rollout.ok_or("it says nothing of the rollout")?;
    let mut problems = Problems::default();
    let mut before = Batch::new();
    for (place, reference) in told.refs.iter().enumerate() {
        let path = format!("refs[{place}]");
        let reference = reference_from_wire(reference, &path, &mut problems);
        before.extend(reference.map(|reference| (reference, None)));
    }
    problems.finish(Some(()))?;
    for resource in kept {
        let resource = resource_from_wire(resource)?;
        before.insert(resource.reference(), Some(resource));
    }
    let services: Result<BTreeSet<_>, _> =
        services.iter().map(|name| ServiceName::new(name)).collect();
    let members: Result<BTreeMap<_, _>, _> = members
        .into_iter()
        .map(|record| {
            let reached = record.reached.map(|reached| {
                let step = usize::try_from(reached.step).unwrap_or(usize::MAX);
                (step, Generation(reached.generation))
            });
            let member = Member::kept(reached, record.excused);
            NodeName::new(&record.name).map(|name| (name, member))
        })
        .collect();
    Ok(Rollout {
        revision: Revision(told.revision),
        canary: canary_from_wire(&told.canary.unwrap_or_default(), "canary")?,
        step: usize::try_from(told.step)?,
        phase: phase_from_wire(told.phase)?,
        reason: told.reason,
        before: Arc::new(before),
        services: services?,
        members: members?,
        who: told.who,
        begun_unix_ms: told.begun_unix_ms,
        changed_unix_ms: told.changed_unix_ms,
        allow_mass_delete,
        usual: Count {
            connections: usual_connections,
            failed: usual_failed,
        },
    })
}

/// There are 16 steps at most.
fn number(step: usize) -> u32 {
    u32::try_from(step).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use weir_proto::model::{Kind, Resource, RolloutPhase};

    use super::*;
    use crate::desired::reference;
    use crate::desired::samples::{node_name, service, service_name};

    fn rollout(phase: RolloutPhase) -> Rollout {
        let before = service("web", &["10.1.0.1:80"], &["10.0.0.1:80@a"]);
        let before = [
            (
                reference(Kind::Service, "web"),
                Some(Resource::Service(before)),
            ),
            (reference(Kind::BackendSet, "web-b"), None),
        ];
        Rollout {
            revision: Revision(7),
            canary: "1,10%,100%".parse().expect("steps"),
            step: 1,
            phase,
            reason: "node a refuses it".to_owned(),
            before: Arc::new(before.into()),
            services: [service_name("web")].into(),
            members: [
                (node_name("a"), Member::kept(Some((0, Generation(5))), true)),
                (node_name("b"), Member::kept(None, false)),
            ]
            .into(),
            who: "operator/alice".to_owned(),
            begun_unix_ms: 1,
            changed_unix_ms: 2,
            allow_mass_delete: true,
            usual: Count {
                connections: 100,
                failed: 3,
            },
        }
    }

    #[test]
    fn a_rollout_is_read_as_it_was_written() {
        for phase in [
            RolloutPhase::Running,
            RolloutPhase::Paused,
            RolloutPhase::Halted,
            RolloutPhase::Done,
            RolloutPhase::Undone,
        ] {
            let rollout = rollout(phase);
            let read = read_rollout(&written_rollout(&rollout));
            assert_eq!(read.ok(), Some(rollout));
        }
    }

    #[test]
    fn bytes_that_are_no_rollout_are_an_error() {
        for bytes in [&b"\xff"[..], &[], b"\x0a\x00"] {
            assert!(read_rollout(bytes).is_err(), "{bytes:?}");
        }
    }
}
