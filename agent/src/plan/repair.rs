//! What somebody else had changed and a step puts right, in words for people.

use std::collections::{BTreeMap, VecDeque};

use weir_proto::model::{
    Checksum, Family, Forwarding, ItemKey, Repair, Scheduler, SchedulerFlags, Tunnel, VipBinding,
};

use super::wanted::{FALLBACK, ONE_PACKET, PORT};
use super::{BackendSpec, Key, Object, ServiceSpec, Step, SyncDaemonSpec, VipSpec};

/// Gives the repair that a step is which no change had asked for. `found` is how its object was just before; none: it was
/// not there.
pub fn repair(step: &Step, found: Option<&Object>, at_unix_ms: u64) -> Repair {
    let key = step.key();
    let expected = match step {
        Step::Add { object, .. } | Step::Edit { object, .. } => Some(object),
        Step::Remove { .. } => None,
    };
    let text = |object: Option<&Object>| object.map_or_else(String::new, |it| in_words(key, it));
    Repair {
        object: key.to_string(),
        kind: key.kind().to_owned(),
        found: text(found),
        expected: text(expected),
        at_unix_ms,
    }
}

/// The repairs that were not told yet, and how many there were of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repairs {
    recent: VecDeque<Repair>,
    /// The last ones, told or not.
    last: VecDeque<Repair>,
    untold: BTreeMap<&'static str, u64>,
    counts: BTreeMap<&'static str, u64>,
}

impl Repairs {
    /// How many wait to be told. Who empties a whole table makes thousands; the first of them would say no more than
    /// the last, and each is counted and in the log.
    const MOST: usize = 100;

    /// Takes one repair of `key` in. When too many wait, the oldest is told no more.
    pub fn note(&mut self, key: Key, repair: Repair) {
        *self.counts.entry(key.kind()).or_default() += 1;
        *self.untold.entry(key.kind()).or_default() += 1;
        if self.recent.len() == Self::MOST {
            self.recent.pop_front();
        }
        if self.last.len() == Self::MOST {
            self.last.pop_front();
        }
        self.last.push_back(repair.clone());
        self.recent.push_back(repair);
    }

    /// Gives how many there were.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Gives those behind the first so many, told or not, the oldest first, as far as they are still known.
    pub fn since(&self, count: u64) -> Vec<Repair> {
        let later = self.total().saturating_sub(count);
        let later = usize::try_from(later).unwrap_or(usize::MAX);
        let skipped = self.last.len().saturating_sub(later);
        self.last.iter().skip(skipped).cloned().collect()
    }

    /// Gives those that wait to be told, the oldest first, and how many there were of each kind since the last call; they
    /// wait no longer.
    pub fn take(&mut self) -> (Vec<Repair>, BTreeMap<&'static str, u64>) {
        let recent = self.recent.drain(..).collect();
        (recent, std::mem::take(&mut self.untold))
    }

    /// Gives how many there were of each kind that there was any of.
    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }
}

/// Says how an object is.
pub(crate) fn in_words(key: Key, object: &Object) -> String {
    match object {
        Object::Present if key == Key::Link => "up".to_owned(),
        Object::Present => "there".to_owned(),
        Object::Unreadable(why) => format!("not to be read: {why}"),
        Object::Value(value) => value.clone(),
        Object::Service(spec) => of_service(key, spec),
        Object::Backend(spec) => of_backend(spec),
        Object::Vip(spec) => of_vip(spec),
        Object::SyncDaemon(spec) => of_sync_daemon(spec),
    }
}

fn of_service(key: Key, spec: &ServiceSpec) -> String {
    let ServiceSpec {
        scheduler,
        affinity_seconds,
        affinity_prefix,
        engine,
        flags,
    } = spec;
    let mut words = vec![scheduler.clone()];
    if *affinity_seconds > 0 {
        let family = match key {
            Key::Item(ItemKey::VirtualService(frontend)) => Some(frontend.family()),
            _ => None,
        };
        let whole = match family {
            Some(Family::V4) => 32,
            Some(Family::V6) | None => 128,
        };
        let mut affinity = format!("affinity {affinity_seconds} s");
        if *affinity_prefix != whole {
            affinity.push_str(&format!(" by /{affinity_prefix}"));
        }
        words.push(affinity);
    }
    if !engine.is_empty() {
        words.push(format!("by {engine}"));
    }
    // to other schedulers these bits say something else, or nothing
    let hashes = scheduler.parse::<Scheduler>();
    let named = hashes.is_ok_and(|scheduler| SchedulerFlags::default_of(scheduler).is_some());
    let known = [
        (ONE_PACKET, "one packet", true),
        (FALLBACK, "fallback", named),
        (PORT, "by port", named),
    ];
    let mut rest = *flags;
    for (flag, name, named) in known {
        if named && rest & flag != 0 {
            rest &= !flag;
            words.push(name.to_owned());
        }
    }
    if rest != 0 {
        words.push(format!("flags {rest:#x}"));
    }
    words.join(", ")
}

fn of_backend(spec: &BackendSpec) -> String {
    let BackendSpec {
        weight,
        forwarding,
        upper_threshold,
        lower_threshold,
    } = spec;
    let mut words = vec![format!("weight {weight}"), of_forwarding(*forwarding)];
    if *upper_threshold > 0 {
        words.push(format!("at most {upper_threshold} connections"));
    }
    if *lower_threshold > 0 {
        words.push(format!("again below {lower_threshold}"));
    }
    words.join(", ")
}

fn of_forwarding(forwarding: Option<Forwarding>) -> String {
    let sum = |checksum| match checksum {
        Checksum::None => "",
        Checksum::Full => " with checksum",
        Checksum::Remote => " with remote checksum",
    };
    match forwarding {
        Some(Forwarding::Masquerade) => "masquerade".to_owned(),
        Some(Forwarding::DirectRoute) => "direct route".to_owned(),
        Some(Forwarding::Tunnel(Tunnel::Ipip)) => "tunnel IPIP".to_owned(),
        Some(Forwarding::Tunnel(Tunnel::Gue { port, checksum })) => {
            format!("tunnel GUE to port {port}{}", sum(checksum))
        }
        Some(Forwarding::Tunnel(Tunnel::Gre { checksum })) => {
            format!("tunnel GRE{}", sum(checksum))
        }
        None => "a forwarding that weir never asks for".to_owned(),
    }
}

fn of_vip(spec: &VipSpec) -> String {
    let VipSpec { binding, silent } = spec;
    let binding = match binding {
        VipBinding::Address => "address",
        VipBinding::Route => "route",
    };
    match silent {
        true => format!("silent {binding}"),
        false => binding.to_owned(),
    }
}

fn of_sync_daemon(spec: &SyncDaemonSpec) -> String {
    let SyncDaemonSpec {
        interface,
        sync_id,
        group,
        port,
        ttl,
        max_length,
    } = spec;
    let to = std::net::SocketAddr::new(*group, *port);
    let mut text = format!("on {interface}, id {sync_id}, to {to}, ttl {ttl}");
    if *max_length > 0 {
        text.push_str(&format!(", at most {max_length} bytes"));
    }
    text
}

#[cfg(test)]
mod tests;
