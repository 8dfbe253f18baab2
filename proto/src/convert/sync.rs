//! What is said on the stream between controller and agent, beside items.

use super::{
    FieldErrors, Problems, address_from_wire, item_key_from_wire, item_key_to_wire,
    labels_from_wire,
};
use crate::digest::Digest;
use crate::model::{Capability, Generation, ItemFailure, Node, NodeName, Refused};
use crate::wire;

/// Who an agent is and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The node it runs on, as it describes it.
    pub node: Node,
    /// The version of the agent.
    pub agent_version: String,
    /// The generation it holds, with the digest of that state; none: it holds nothing.
    pub held: Option<(Generation, Digest)>,
    /// What its kernel can do.
    pub capabilities: Vec<Capability>,
}

/// Reads the first message of an agent.
pub fn hello_from_wire(hello: wire::Hello) -> Result<Hello, FieldErrors> {
    let mut problems = Problems::default();
    let name = problems.take("hello.node", NodeName::new(&hello.node));
    let labels = labels_from_wire(hello.labels, "hello.labels", &mut problems);
    let mut addresses = Vec::with_capacity(hello.addresses.len());
    for (place, address) in hello.addresses.iter().enumerate() {
        let path = format!("hello.addresses[{place}]");
        addresses.extend(problems.take(path, address_from_wire(address)));
    }
    let held = match (hello.held_generation, hello.held_digest.as_slice()) {
        (0, _) => Some(None),
        (generation, digest) => problems
            .take("hello.held_digest", digest_from_wire(digest))
            .map(|digest| Some((Generation(generation), digest))),
    };
    let read = || {
        Some(Hello {
            node: Node::new(name?, labels?, addresses),
            agent_version: hello.agent_version,
            held: held?,
            capabilities: hello
                .capabilities
                .into_iter()
                .map(capability_from_wire)
                .collect(),
        })
    };
    let hello = read();
    problems.finish(hello)
}

/// Writes the first message of an agent.
pub fn hello_to_wire(hello: &Hello) -> wire::Hello {
    wire::Hello {
        node: hello.node.name.to_string(),
        labels: super::labels_to_wire(&hello.node.labels),
        addresses: hello
            .node
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect(),
        agent_version: hello.agent_version.clone(),
        held_generation: hello.held.map_or(0, |(generation, _)| generation.0),
        held_digest: hello
            .held
            .map_or_else(Vec::new, |(_, digest)| digest.to_bytes().to_vec()),
        capabilities: hello.capabilities.iter().map(capability_to_wire).collect(),
    }
}

/// Reads a digest of 16 bytes.
pub fn digest_from_wire(bytes: &[u8]) -> Result<Digest, Refused> {
    let bytes: [u8; 16] = bytes
        .try_into()
        .map_err(|_| Refused::Other(format!("{} bytes are not a digest (16)", bytes.len())))?;
    Ok(Digest::from_bytes(bytes))
}

/// Reads what a kernel can do.
pub fn capability_from_wire(capability: wire::Capability) -> Capability {
    Capability {
        name: capability.name,
        available: capability.available,
        detail: capability.detail,
        optional: capability.optional,
    }
}

/// Writes what a kernel can do.
pub fn capability_to_wire(capability: &Capability) -> wire::Capability {
    wire::Capability {
        name: capability.name.clone(),
        available: capability.available,
        detail: capability.detail.clone(),
        optional: capability.optional,
    }
}

/// Reads why a node does not hold an item.
pub fn failure_from_wire(
    failure: wire::ItemFailure,
    path: &str,
) -> Result<ItemFailure, FieldErrors> {
    let key = failure.key.unwrap_or_default();
    Ok(ItemFailure {
        key: item_key_from_wire(&key, &format!("{path}.key"))?,
        errno: failure.errno,
        cause: failure.cause,
        field: failure.field,
    })
}

/// Writes why a node does not hold an item.
pub fn failure_to_wire(failure: &ItemFailure) -> wire::ItemFailure {
    wire::ItemFailure {
        key: Some(item_key_to_wire(&failure.key)),
        errno: failure.errno,
        cause: failure.cause.clone(),
        field: failure.field.clone(),
    }
}
