//! What somebody sees in a kernel, in the words of a plan.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::pair::Shown;

/// A step as a plan tells it to programs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) verb: String,
    pub(crate) object: String,
    kind: String,
    found: Option<String>,
    wanted: Option<String>,
    active_connections: Option<u64>,
    inactive_connections: Option<u64>,
    #[serde(default)]
    pub(crate) once_drained: bool,
}

/// A plan as programs read it, as far as it is looked at here.
#[derive(Debug, Deserialize)]
pub(crate) struct Plan {
    pub(crate) nodes: Vec<NodePlan>,
}

/// What would be done on a node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NodePlan {
    pub(crate) node: String,
    #[serde(rename = "generation")]
    _generation: u64,
    pub(crate) steps: Vec<Step>,
    #[serde(default)]
    pub(crate) conflicts: Vec<String>,
}

/// What becomes of an object: how it was, and how it is then. None: it is not there.
pub(crate) type Changes = BTreeMap<String, (Option<String>, Option<String>)>;

/// Active and inactive connections, by service and by backend.
pub(crate) type Connections = BTreeMap<String, (u64, u64)>;

impl NodePlan {
    /// Gives what its steps change: all but those that wait for a drain.
    pub(crate) fn changes(&self) -> Result<Changes> {
        let mut changes = Changes::new();
        for step in self.steps.iter().filter(|step| !step.once_drained) {
            let (found, wanted) = (step.found.clone(), step.wanted.clone());
            let verb = match (&found, &wanted) {
                (None, Some(_)) => "add",
                (Some(_), Some(_)) => "edit",
                (Some(_), None) => "remove",
                (None, None) => "nothing",
            };
            ensure!(step.verb == verb, "to {verb} it is meant: {step:?}");
            let twice = changes.insert(step.object.clone(), (found, wanted));
            ensure!(twice.is_none(), "{} comes twice", step.object);
        }
        Ok(changes)
    }

    /// Gives the objects that go once they are drained.
    pub(crate) fn going(&self) -> BTreeSet<&str> {
        let going = self.steps.iter().filter(|step| step.once_drained);
        going.map(|step| step.object.as_str()).collect()
    }

    /// Fails unless it tells of just those connections which what it touches has.
    pub(crate) fn counts(&self, connections: &Connections) -> Result<()> {
        for step in &self.steps {
            let told = step.active_connections.zip(step.inactive_connections);
            let has = connections.get(&step.object).copied();
            ensure!(told == has, "it has {has:?}: {step:?}");
        }
        Ok(())
    }
}

/// Gives what is another in a kernel than it was.
pub(crate) fn changes(before: &Shown, after: &Shown) -> Result<Changes> {
    let (before, after) = (objects(before)?, objects(after)?);
    let mut changes = Changes::new();
    for object in before.keys().chain(after.keys()) {
        let (was, is) = (before.get(object).cloned(), after.get(object).cloned());
        if was != is {
            changes.insert(object.clone(), (was, is));
        }
    }
    // a backend goes with its service, and is no step of its own
    let gone = |object: &str| matches!(changes.get(object), Some((Some(_), None)));
    let goes_along = |object: &String| {
        let service = object.split_once(" of ").map(|(_, service)| service);
        service.is_some_and(|service| gone(object) && gone(&format!("virtual service {service}")))
    };
    let along: Vec<String> = changes
        .keys()
        .filter(|it| goes_along(it))
        .cloned()
        .collect();
    changes.retain(|object, _| !along.contains(object));
    Ok(changes)
}

/// Gives everything that a kernel shows, each thing by the name that a plan would give it; a line that is nothing of weir's
/// stands for itself.
fn objects(shown: &Shown) -> Result<BTreeMap<String, String>> {
    let state = &shown.state;
    let mut objects = BTreeMap::new();
    if shown.has_link() {
        objects.insert("link weir0".to_owned(), "up".to_owned());
    }
    for line in &state.ipvs {
        let (object, words) = ipvs(line).unwrap_or_else(|| there(line));
        objects.insert(object, words);
    }
    for line in &state.sets {
        let (object, words) = member(line).unwrap_or_else(|| there(line));
        objects.insert(object, words);
    }
    for line in &state.addresses {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (object, words) = match words[..] {
            ["weir0", "inet" | "inet6", address, ..] => {
                let address = address.split('/').next().context("no address")?;
                (format!("vip {address}"), "address".to_owned())
            }
            _ => there(line),
        };
        objects.insert(object, words);
    }
    for line in &state.routes {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (object, words) = match words[..] {
            // it comes and goes with the address
            ["local", _, "dev", "weir0", "proto", "kernel", ..] => continue,
            ["local", address, "dev", "weir0", ..] => {
                (format!("vip {address}"), "route".to_owned())
            }
            _ => there(line),
        };
        objects.insert(object, words);
    }
    for line in &state.rules {
        let family = match line.starts_with("ip6tables") {
            true => "IPv6",
            false => "IPv4",
        };
        let object = match line {
            _ if line.contains(" --match-set WEIR-LOOPBACK") => format!("{family} loopback rule"),
            _ if line.contains("weir:") => format!("{family} lockdown"),
            line => line.clone(),
        };
        objects.insert(object, "there".to_owned());
    }
    for (key, value) in &state.sysctls {
        objects.insert(
            format!("sysctl net.{}", key.replace('/', ".")),
            value.clone(),
        );
    }
    Ok(objects)
}

fn there(line: &str) -> (String, String) {
    (line.to_owned(), "there".to_owned())
}

/// Reads a line of `ipvsadm -Sn`.
fn ipvs(line: &str) -> Option<(String, String)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (kind, protocol, at, rest) = match words[..] {
        [kind, "-t", at, ref rest @ ..] => (kind, "TCP", at, rest),
        [kind, "-u", at, ref rest @ ..] => (kind, "UDP", at, rest),
        _ => return None,
    };
    match (kind, rest) {
        ("-A", ["-s", scheduler]) => Some((
            format!("virtual service {at}/{protocol}"),
            (*scheduler).to_owned(),
        )),
        ("-A", ["-s", scheduler, "-p", seconds]) => Some((
            format!("virtual service {at}/{protocol}"),
            format!("{scheduler}, affinity {seconds} s"),
        )),
        ("-a", ["-r", backend, "-m", "-w", weight]) => Some((
            format!("backend {backend} of {at}/{protocol}"),
            format!("weight {weight}, masquerade"),
        )),
        _ => None,
    }
}

/// Reads a line of `ipset save`.
fn member(line: &str) -> Option<(String, String)> {
    let (what, rest) = line.split_once(" WEIR-")?;
    let (set, rest) = rest.split_once(' ')?;
    let (set, family) = match set.strip_suffix("-6") {
        Some(set) => (set, "IPv6"),
        None => (set, "IPv4"),
    };
    let listener = |text: &str| {
        let (address, port) = text.split_once(',')?;
        let (protocol, port) = port.split_once(':')?;
        let protocol = protocol.to_uppercase();
        match family {
            "IPv6" => Some(format!("[{address}]:{port}/{protocol}")),
            _ => Some(format!("{address}:{port}/{protocol}")),
        }
    };
    let object = match (what, set) {
        ("create", "LOOPBACK") => format!("{family} loopback set"),
        ("create", _) => format!("{family} lockdown"),
        ("add", "LOOPBACK") => format!("loopback entry {rest}"),
        ("add", "OPEN") => format!("opening {}", listener(rest)?),
        ("add", "ALLOW") => {
            let (at, range) = rest.rsplit_once(',')?;
            format!("opening {} from {range}", listener(at)?)
        }
        ("add", "GUARDED") => format!("guarded port {}", listener(rest)?),
        ("add", "LOCKED") => format!("locked vip {rest}"),
        _ => return None,
    };
    Some((object, "there".to_owned()))
}

/// Reads what `ipvsadm -Ln` says of connections.
pub(crate) fn connections(listed: &str) -> Result<Connections> {
    let mut connections = Connections::new();
    let mut service = None;
    for line in listed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [protocol @ ("TCP" | "UDP"), at, ..] => {
                let at = format!("{at}/{protocol}");
                connections.insert(format!("virtual service {at}"), (0, 0));
                service = Some(at);
            }
            ["->", backend, _, _, active, inactive] if service.is_some() => {
                let at = service.as_deref().context("no service")?;
                let (active, inactive): (u64, u64) = (active.parse()?, inactive.parse()?);
                connections.insert(format!("backend {backend} of {at}"), (active, inactive));
                let sum = connections.entry(format!("virtual service {at}"));
                sum.and_modify(|(all, idle)| (*all, *idle) = (*all + active, *idle + inactive));
            }
            _ => {}
        }
    }
    Ok(connections)
}
