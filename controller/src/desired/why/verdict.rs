//! The verdict on a frontend: the first thing that is in the way of new connections. PURE

use std::fmt::Display;

use weir_proto::model::{
    Endpoint, Frontend, Generation, ItemFailure, ItemKey, NodeBackend, Sources, VipBinding,
};

use super::{Behind, Claim, Facts, Obstacle, Seen, Verdict, Visit, Wanted};
use crate::desired::NodeStatus;

/// Says what is in the way wherever the frontend is held; none: nothing that is known of.
pub(crate) fn everywhere(visit: Visit, claim: &Claim) -> Option<Verdict> {
    let frontend = visit.frontend;
    let Some(service) = &claim.service else {
        return unclaimed(frontend, claim);
    };
    if claim.nodes == 0 {
        let text = format!("no node is selected by service/{service}: see its nodeSelector");
        return Verdict::not(Obstacle::NoNode, text);
    }
    if let Some(refused) = refused_source(visit, &claim.sources) {
        return Some(refused);
    }
    if claim.backends.is_empty() {
        let text = format!("service/{service} has no backend, neither of its own nor in a set");
        return Verdict::not(Obstacle::NoBackend, text);
    }
    let takes = |it: &Behind| !it.drained && !it.cordoned && it.weight > 0;
    if claim.backends.iter().any(takes) {
        return None;
    }
    let drained = claim.backends.iter().filter(|it| it.drained).count();
    let cordoned = claim
        .backends
        .iter()
        .filter(|it| !it.drained && it.cordoned);
    let idle = Idle {
        all: claim.backends.len(),
        drained,
        cordoned: cordoned.count(),
    };
    idle.verdict(&format!("service/{service}"))
}

/// Says what is in the way on one node, the first of what there is, and if nothing is, how it works.
pub(crate) fn verdict(facts: &Facts<'_>) -> Verdict {
    let found = before_the_kernel(facts).or_else(|| match facts.seen {
        Err(why) => Verdict::not(
            Obstacle::NotSeen,
            format!(
                "what the kernel of {} holds is not known: {why}",
                facts.status.name
            ),
        ),
        Ok(seen) => in_the_kernel(facts, seen),
    });
    found.unwrap_or_else(|| works(facts))
}

fn unclaimed(frontend: Frontend, claim: &Claim) -> Option<Verdict> {
    let Some(vip) = frontend.vip() else {
        return Verdict::not(Obstacle::VipUnknown, format!("no service has {frontend}"));
    };
    if claim.others.is_empty() {
        let text = format!("no service has the VIP {vip}");
        return Verdict::not(Obstacle::VipUnknown, text);
    }
    let text = format!(
        "no service has {frontend}: {vip} has {}{}",
        few(&claim.others),
        match claim.lockdown {
            true => ", and its lockdown rejects the rest",
            false => "",
        }
    );
    Verdict::not(Obstacle::PortUnknown, text)
}

fn refused_source(visit: Visit, sources: &Sources) -> Option<Verdict> {
    let client = visit.client?;
    if sources.is_empty() || sources.iter().any(|range| range.contains(&client)) {
        return None;
    }
    let ranges: Vec<_> = sources.iter().collect();
    let text = format!(
        "{client} may not connect: allowSources of {} has {} alone",
        visit.frontend,
        few(&ranges)
    );
    Verdict::not(Obstacle::SourceRefused, text)
}

/// How many backends take no new connection, and for what reason. The rest of them have weight 0.
struct Idle {
    all: usize,
    drained: usize,
    /// Without those that are drained as well.
    cordoned: usize,
}

impl Idle {
    fn verdict(&self, of: &str) -> Option<Verdict> {
        let weightless = self.all - self.drained - self.cordoned;
        let reasons = [
            (self.drained, "is drained", "are drained"),
            (
                self.cordoned,
                "runs on a cordoned node",
                "run on cordoned nodes",
            ),
            (weightless, "has weight 0", "have weight 0"),
        ];
        let reasons: Vec<_> = reasons.iter().filter(|(count, ..)| *count > 0).collect();
        let text = match (self.all, reasons.as_slice()) {
            (1, [(_, one, _)]) => format!("the one backend of {of} {one}"),
            (all, [(_, _, many)]) => format!("all {all} backends of {of} {many}"),
            (all, several) => {
                let several = several.iter().map(|(count, one, many)| match count {
                    1 => format!("1 {one}"),
                    count => format!("{count} {many}"),
                });
                let several: Vec<_> = several.collect();
                format!("of the {all} backends of {of} {}", several.join(", "))
            }
        };
        Verdict::not(Obstacle::NoWeight, text)
    }
}

/// Says what is in the way of what the kernel may hold: all of that is known without a look at it.
fn before_the_kernel(facts: &Facts<'_>) -> Option<Verdict> {
    let Facts { visit, status, .. } = facts;
    let (node, frontend) = (&status.name, visit.frontend);
    let Some(wanted) = facts.wanted else {
        let text = format!("{node} is not selected by the service that has {frontend}");
        return Verdict::not(Obstacle::NotSelected, text);
    };
    if let Some(refused) = refused_source(*visit, &wanted.service.sources) {
        return Some(refused);
    }
    let backends = &wanted.backends;
    let of = format!("service/{} on {node}", wanted.service.service);
    if backends.is_empty() {
        return Verdict::not(Obstacle::NoBackend, format!("{of} has no backend"));
    }
    let takes = |backend: &NodeBackend| backend.drain.is_none() && backend.weight.get() > 0;
    if !backends.iter().any(takes) {
        let drained = backends.iter().filter(|backend| backend.drain.is_some());
        let idle = Idle {
            all: backends.len(),
            drained: drained.count(),
            cordoned: 0,
        };
        return idle.verdict(&of);
    }
    if wanted.drained {
        let text = format!("{node} is drained: its VIPs go when no connection is left");
        return Verdict::not(Obstacle::NodeDrained, text);
    }
    if !status.connected {
        let text = format!(
            "the agent of {node} is not connected: the kernel there goes on with what it had, which is not known here"
        );
        return Verdict::not(Obstacle::NodeAway, text);
    }
    if let Some(hold) = &status.hold {
        let text = format!("{node} holds back what it was sent: {}", hold.cause);
        return Verdict::not(Obstacle::HeldBack, text);
    }
    refused_item(facts, wanted).or_else(|| behind(status))
}

fn refused_item(facts: &Facts<'_>, wanted: &Wanted) -> Option<Verdict> {
    let status = facts.status;
    let node = &status.name;
    if let Some(why) = &status.rejection {
        let text = format!("{node} refuses generation {}: {why}", status.wanted);
        return Verdict::not(Obstacle::Refused, text);
    }
    let frontend = facts.visit.frontend;
    let matters = |failure: &&ItemFailure| match failure.key {
        ItemKey::VirtualService(of) => of == frontend,
        ItemKey::Vip(vip) => frontend.vip() == Some(vip),
        _ => false,
    };
    let told = |failure: &ItemFailure| {
        let field = match failure.field.as_str() {
            "" => String::new(),
            field => format!(" ({field})"),
        };
        let text = format!("{node} refuses {}{field}: {}", failure.key, failure.cause);
        Verdict::not(Obstacle::Refused, text)
    };
    if let Some(failure) = status.failures.iter().find(matters) {
        return told(failure);
    }
    let refused = |backend: &NodeBackend| {
        let key = ItemKey::Backend(backend.key);
        let mut failures = status.failures.iter();
        failures.find(|failure| failure.key == key)
    };
    let mut failures = wanted.backends.iter().map(refused);
    match failures.next().flatten() {
        // one that is left takes connections
        Some(first) if failures.all(|failure| failure.is_some()) => told(first),
        _ => None,
    }
}

fn behind(status: &NodeStatus) -> Option<Verdict> {
    let NodeStatus {
        name,
        wanted,
        accepted,
        converged,
        ..
    } = status;
    let short = |what: &str, at: Generation| {
        let text = format!("{name} should hold generation {wanted}, and has {what} {at}");
        Verdict::not(Obstacle::Behind, text)
    };
    if accepted < wanted {
        short("accepted", *accepted)
    } else if converged < wanted {
        short("converged on", *converged)
    } else {
        None
    }
}

fn in_the_kernel(facts: &Facts<'_>, seen: &[Seen]) -> Option<Verdict> {
    let node = &facts.status.name;
    let of = |kind: &'static str| seen.iter().filter(move |it| it.kind == kind);
    let missing = |it: &&Seen| it.desired.is_some() && it.kernel.is_none();
    for setting in of("setting") {
        if let Some(desired) = &setting.desired
            && setting.kernel.as_ref() != Some(desired)
        {
            let found = setting.kernel.as_deref().unwrap_or("not there");
            let text = format!(
                "{} is {found} on {node}, and must be {desired}",
                setting.object
            );
            return Verdict::not(Obstacle::Setting, text);
        }
    }
    if let Some(foreign) = seen.iter().find(|it| it.foreign) {
        let text = format!(
            "the {} in the kernel of {node} is somebody else's",
            foreign.object
        );
        return Verdict::not(Obstacle::Foreign, text);
    }
    if let Some(service) = of("virtual_service").find(missing) {
        let text = format!("the {} is not in the kernel of {node}", service.object);
        return Verdict::not(Obstacle::NoService, text);
    }
    if of("link").any(|link| link.kernel.is_none()) {
        let text = format!("the link weir0, which holds the VIPs, is not there on {node}");
        return Verdict::not(Obstacle::NoAddress, text);
    }
    if let Some(vip) = of("vip").find(missing) {
        let wanted = facts.wanted.and_then(|wanted| wanted.vip);
        return match wanted.map(|vip| vip.binding) {
            Some(VipBinding::Route) => Verdict::not(
                Obstacle::NoRoute,
                format!("the local route of {} is missing on {node}", vip.object),
            ),
            Some(VipBinding::Address) | None => Verdict::not(
                Obstacle::NoAddress,
                format!("{} is not on weir0 of {node}", vip.object),
            ),
        };
    }
    let shut = of("guard").any(|guard| guard.kernel.is_some() && shuts(&guard.object));
    let lets_in = |it: &&Seen| lets_in(&it.object, facts.visit);
    if let Some(opening) = of("guard").filter(lets_in).find(missing)
        && shut
    {
        let text = format!("the lockdown of {node} lacks the {}", opening.object);
        return Verdict::not(Obstacle::Locked, text);
    }
    takers(facts, seen)
}

/// Says whether a guard, by its name, turns somebody away.
fn shuts(object: &str) -> bool {
    !object.starts_with("opening ")
}

/// Says whether a guard, by its name, lets the client in.
fn lets_in(object: &str, visit: Visit) -> bool {
    let opening = format!("opening {}", visit.frontend);
    match (object.strip_prefix(&opening), visit.client) {
        (None, _) => false,
        (Some(""), _) | (Some(_), None) => true,
        (Some(range), Some(client)) => {
            let range = range.trim_start_matches(" from ");
            let range: Result<ipnet::IpNet, _> = range.parse();
            range.is_ok_and(|range| range.contains(&client))
        }
    }
}

fn takers(facts: &Facts<'_>, seen: &[Seen]) -> Option<Verdict> {
    let node = &facts.status.name;
    let there: Vec<(Endpoint, u32)> = seen.iter().filter_map(|it| it.backend).collect();
    let takers: Vec<Endpoint> = there
        .iter()
        .filter(|(_, weight)| *weight > 0)
        .map(|(endpoint, _)| *endpoint)
        .collect();
    if takers.is_empty() {
        let text = match there.len() {
            0 => format!(
                "{} has no backend in the kernel of {node}",
                facts.visit.frontend
            ),
            1 => format!("the one backend in the kernel of {node} has weight 0"),
            all => format!("all {all} backends in the kernel of {node} have weight 0"),
        };
        return Verdict::not(Obstacle::KernelWeight, text);
    }
    if !takers.iter().all(|taker| facts.silent.contains(taker)) {
        return None;
    }
    let text = match takers.as_slice() {
        [one] => format!("the one backend that takes connections answers none: {one}"),
        all => format!(
            "all {} backends that take connections answer none: {}",
            all.len(),
            few(all)
        ),
    };
    Verdict::not(Obstacle::Silent, text)
}

fn works(facts: &Facts<'_>) -> Verdict {
    let seen = facts.seen.unwrap_or_default();
    let takers = seen
        .iter()
        .filter(|it| it.backend.is_some_and(|(_, weight)| weight > 0));
    let takers = takers.count();
    let scheduler = facts.wanted.map_or_else(String::new, |wanted| {
        format!(", by {}", wanted.service.scheduler)
    });
    let who = match facts.visit.client {
        Some(client) => format!("new connections of {client}"),
        None => "new connections".to_owned(),
    };
    let to = match takers {
        1 => "its one backend".to_owned(),
        all => format!("one of {all} backends{scheduler}"),
    };
    Verdict {
        obstacle: None,
        sentence: format!("{who} go to {to}, as far as is known"),
    }
}

/// Names the first three, and says how many more there are.
pub(super) fn few<T: Display>(all: &[T]) -> String {
    const NAMED: usize = 3;
    let named: Vec<String> = all.iter().take(NAMED).map(T::to_string).collect();
    match all.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
