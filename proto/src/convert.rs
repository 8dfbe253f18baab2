//! Between wire and model. What comes in is checked here once; every bad field is found in one go and
//! named by its path. What goes out cannot fail.

mod conntrack;
mod drain;
mod increment;
mod item;
mod operator;
mod rollout;
mod sent;
mod settings;
mod sync;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;

pub use conntrack::{
    conntrack_from_wire, conntrack_to_wire, vip_connections_from_wire, vip_connections_to_wire,
};
pub use drain::{
    asked_from_wire, asked_to_wire, backend_target_to_wire, degraded_from_wire, degraded_to_wire,
    drain_or, drain_target_from_wire, drain_target_to_wire, drain_targets_from_wire,
    drain_terms_from_wire, drain_terms_to_wire, drain_to_wire, hold_from_wire, hold_to_wire,
    progress_from_wire, progress_to_wire, repair_from_wire, repair_to_wire,
};
pub use increment::{increment_from_wire, increment_to_wire};
pub use item::{
    item_from_wire, item_key_from_wire, item_key_to_wire, item_to_wire, key_of_item_from_wire,
};
pub use operator::{
    kind_from_wire, kind_to_wire, reference_from_wire, reference_to_wire, resource_from_wire,
    resource_to_wire, resources_from_wire,
};
pub use rollout::{
    canary_from_wire, canary_to_wire, phase_from_wire, phase_to_wire, steering_from_wire,
};
pub use sent::{RefusedSent, item_from_sent};
pub use settings::{binding_to_wire, forwarding_to_wire, role_to_wire};
pub use sync::{
    Hello, capability_from_wire, capability_to_wire, digest_from_wire, failure_from_wire,
    failure_to_wire, hello_from_wire, hello_to_wire,
};

use crate::model::{Frontend, Labels, Listener, Mark, Port, Protocol, Refused};
use crate::wire;

/// One bad field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where it stands: `services[web].frontends[0].port`.
    pub path: String,
    /// What is wrong with it.
    pub problem: Refused,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// Every bad field of what was read; at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", join(.0))]
pub struct FieldErrors(pub Vec<FieldError>);

fn join(errors: &[FieldError]) -> String {
    let lines: Vec<String> = errors.iter().map(FieldError::to_string).collect();
    lines.join("; ")
}

/// Collects bad fields while the good ones are read.
#[derive(Debug, Default)]
pub struct Problems(Vec<FieldError>);

impl Problems {
    /// Notes a bad field.
    pub fn add(&mut self, path: impl Into<String>, problem: Refused) {
        self.0.push(FieldError {
            path: path.into(),
            problem,
        });
    }

    /// Gives the value; notes the problem if there is none.
    pub fn take<T>(&mut self, path: impl Into<String>, value: Result<T, Refused>) -> Option<T> {
        value.map_err(|problem| self.add(path, problem)).ok()
    }

    /// Gives what was read elsewhere; notes all that was bad with it otherwise.
    pub fn absorb<T>(&mut self, read: Result<T, FieldErrors>) -> Option<T> {
        read.map_err(|FieldErrors(errors)| self.0.extend(errors))
            .ok()
    }

    /// Gives `value` if nothing was noted, and all that was noted otherwise.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, FieldErrors> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(FieldErrors(self.0)),
        }
    }
}

fn protocol_from_wire(number: i32) -> Result<Protocol, Refused> {
    match wire::Protocol::try_from(number) {
        Ok(wire::Protocol::Tcp) => Ok(Protocol::Tcp),
        Ok(wire::Protocol::Udp) => Ok(Protocol::Udp),
        Ok(wire::Protocol::Sctp) => Ok(Protocol::Sctp),
        Ok(wire::Protocol::Unspecified) => Err(Refused::Missing),
        Err(_) => Err(Refused::Enum(number, "protocol")),
    }
}

fn protocol_to_wire(protocol: Protocol) -> wire::Protocol {
    match protocol {
        Protocol::Tcp => wire::Protocol::Tcp,
        Protocol::Udp => wire::Protocol::Udp,
        Protocol::Sctp => wire::Protocol::Sctp,
    }
}

fn address_from_wire(text: &str) -> Result<IpAddr, Refused> {
    if text.is_empty() {
        return Err(Refused::Missing);
    }
    crate::model::unicast(text)
}

/// Reads a frontend that stands at `path` as a key.
pub fn frontend_key_from_wire(
    frontend: &wire::Frontend,
    path: &str,
) -> Result<Frontend, FieldErrors> {
    let mut problems = Problems::default();
    let key = frontend_from_wire(frontend, path, &mut problems);
    problems.finish(key)
}

/// Reads a frontend as a key: who may connect is no part of it.
fn frontend_from_wire(
    frontend: &wire::Frontend,
    path: &str,
    problems: &mut Problems,
) -> Option<Frontend> {
    if !frontend.allow_sources.is_empty() {
        let path = format!("{path}.allow_sources");
        problems.add(path, Refused::OnlyWith("the frontend of a service"));
    }
    if frontend.firewall_mark != 0 {
        return mark_from_wire(frontend, path, problems).map(Frontend::Mark);
    }
    if frontend.address_family != 0 {
        let path = format!("{path}.address_family");
        problems.add(path, Refused::OnlyWith("a firewall mark"));
    }
    let address = problems.take(
        format!("{path}.address"),
        address_from_wire(&frontend.address),
    );
    let port = problems.take(format!("{path}.port"), Port::new(frontend.port));
    let protocol = problems.take(
        format!("{path}.protocol"),
        protocol_from_wire(frontend.protocol),
    );
    Some(Frontend::Address(Listener {
        address: address?,
        port: port?,
        protocol: protocol?,
    }))
}

fn mark_from_wire(frontend: &wire::Frontend, path: &str, problems: &mut Problems) -> Option<Mark> {
    let number = NonZeroU32::new(frontend.firewall_mark)?;
    let beside = [
        ("address", !frontend.address.is_empty()),
        ("port", frontend.port != 0),
        ("protocol", frontend.protocol != 0),
    ];
    for (name, _) in beside.into_iter().filter(|(_, there)| *there) {
        let without = Refused::Other("not with a firewall mark".to_owned());
        problems.add(format!("{path}.{name}"), without);
    }
    let family = problems.take(
        format!("{path}.address_family"),
        settings::family_from_wire(frontend.address_family),
    )?;
    Some(Mark { number, family })
}

/// Writes a frontend.
pub fn frontend_to_wire(frontend: Frontend) -> wire::Frontend {
    match frontend {
        Frontend::Address(listener) => wire::Frontend {
            address: listener.address.to_string(),
            port: listener.port.get().into(),
            protocol: protocol_to_wire(listener.protocol).into(),
            ..wire::Frontend::default()
        },
        Frontend::Mark(mark) => wire::Frontend {
            firewall_mark: mark.number.get(),
            address_family: settings::family_to_wire(mark.family).into(),
            ..wire::Frontend::default()
        },
    }
}

fn labels_from_wire(
    labels: impl IntoIterator<Item = (String, String)>,
    path: &str,
    problems: &mut Problems,
) -> Option<Labels> {
    match Labels::new(labels) {
        Ok(labels) => Some(labels),
        Err(refused) => {
            for (key, problem) in refused {
                problems.add(format!("{path}[{key}]"), problem);
            }
            None
        }
    }
}

fn labels_to_wire(labels: &Labels) -> std::collections::BTreeMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests;
