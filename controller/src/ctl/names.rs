//! Kinds and names as people type them: `services web`, `svc/web`. PURE.

use std::net::SocketAddr;

use weir_proto::wire;

/// What `get` and `describe` can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Services,
    Frontends,
    Backends,
    BackendSets,
    Nodes,
    Vips,
    Drains,
    Repairs,
    Events,
}

/// Every word for each view; the first is the one weirctl uses itself.
const WORDS: [(View, &[&str]); 9] = [
    (View::Services, &["services", "service", "svc"]),
    (View::Frontends, &["frontends", "frontend", "fe"]),
    (View::Backends, &["backends", "backend", "be"]),
    (View::BackendSets, &["backendsets", "backendset", "bs"]),
    (View::Nodes, &["nodes", "node", "no"]),
    (View::Vips, &["vips", "vip"]),
    (View::Drains, &["drains", "drain"]),
    (View::Repairs, &["repairs", "repair"]),
    (View::Events, &["events", "event", "ev"]),
];

impl View {
    /// Gives the kind of resource that is shown; frontends, backends and VIPs are part of services, and drains, repairs and
    /// events are none.
    pub(crate) fn kind(self) -> Option<wire::Kind> {
        match self {
            Self::Services => Some(wire::Kind::Service),
            Self::BackendSets => Some(wire::Kind::BackendSet),
            Self::Nodes => Some(wire::Kind::Node),
            Self::Frontends
            | Self::Backends
            | Self::Vips
            | Self::Drains
            | Self::Repairs
            | Self::Events => None,
        }
    }

    /// Gives the plural that weirctl uses.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Frontends => "frontends",
            Self::Backends => "backends",
            Self::BackendSets => "backendsets",
            Self::Nodes => "nodes",
            Self::Vips => "vips",
            Self::Drains => "drains",
            Self::Repairs => "repairs",
            Self::Events => "events",
        }
    }

    /// Gives the word of `KIND/NAME`.
    pub(crate) fn singular(self) -> &'static str {
        match self {
            Self::Services => "service",
            Self::Frontends => "frontend",
            Self::Backends => "backend",
            Self::BackendSets => "backendset",
            Self::Nodes => "node",
            Self::Vips => "vip",
            Self::Drains => "drain",
            Self::Repairs => "repair",
            Self::Events => "event",
        }
    }

    /// Says whether a name of it may hold a slash: `10.0.0.1:80/TCP`, `web/10.0.0.11:8080`.
    fn has_slashes(self) -> bool {
        match self {
            Self::Frontends | Self::Backends | Self::Drains => true,
            Self::Services
            | Self::BackendSets
            | Self::Nodes
            | Self::Vips
            | Self::Repairs
            | Self::Events => false,
        }
    }
}

/// Gives everything that can be shown.
pub(crate) fn views() -> impl Iterator<Item = View> {
    WORDS.iter().map(|(view, _)| *view)
}

/// Reads what to show: one kind, and names of it. `doing` is the word of the command.
pub(crate) fn view(words: &[String], doing: &str) -> Result<(View, Vec<String>), String> {
    let pairs = pairs(words)?;
    let mut pairs = pairs.into_iter();
    let (view, name) = pairs.next().ok_or("name a kind")?;
    let mut names: Vec<String> = name.into_iter().collect();
    for (other, name) in pairs {
        if other != view {
            return Err(format!(
                "{doing} shows one kind at a time, not {} and {}",
                view.plural(),
                other.plural()
            ));
        }
        names.extend(name);
    }
    Ok((view, names))
}

/// Reads which resources are meant, all of them by name.
pub(crate) fn references(words: &[String]) -> Result<Vec<wire::ResourceRef>, String> {
    pairs(words)?
        .into_iter()
        .map(|(view, name)| {
            let kind = view.kind().ok_or(match view {
                View::Frontends => "a frontend is part of its service: change that and apply it",
                View::Vips => {
                    "a vip goes with the last frontend on it: change its services and apply them"
                }
                View::Drains => "a drain is ended by weirctl undrain",
                View::Repairs => "repairs are told by nodes, and go by themselves",
                View::Events => "events go by themselves",
                _ => "a backend is part of its service or backend set: change that and apply it",
            })?;
            let name = name.ok_or_else(|| format!("name the {} to delete", view.plural()))?;
            Ok(wire::ResourceRef {
                kind: kind.into(),
                name,
            })
        })
        .collect()
}

/// Reads what events are of: KIND/NAME.
pub(crate) fn event_object(text: &str) -> Result<wire::event::Object, String> {
    let of = "events are of services, backendsets, backends, nodes, vips and rollouts";
    let pair = text.split_once('/').filter(|(_, name)| !name.is_empty());
    let (word, name) = pair.ok_or_else(|| format!("{text:?} is not KIND/NAME"))?;
    let kind = match word.to_lowercase().as_str() {
        "rollout" | "rollouts" => "rollout",
        _ => match kind_named(word)? {
            view @ (View::Services
            | View::BackendSets
            | View::Backends
            | View::Nodes
            | View::Vips) => view.singular(),
            view @ (View::Frontends | View::Drains | View::Repairs | View::Events) => {
                return Err(format!("{of}, not of {}", view.plural()));
            }
        },
    };
    Ok(wire::event::Object {
        kind: kind.to_owned(),
        name: name.to_owned(),
    })
}

/// Reads what is to be drained, or no longer: `backend SERVICE ADDRESS:PORT...` or `node NAME...`, or either by the
/// names that `get` shows: `backend SERVICE/ADDRESS:PORT...`, `KIND/NAME...`.
pub(crate) fn drain_targets(words: &[String]) -> Result<Vec<wire::DrainTarget>, String> {
    use wire::drain_target::Target;
    // neither a service nor an address with its port holds a slash
    if words.iter().take(2).any(|word| word.contains('/')) {
        return pairs(words)?.into_iter().map(drain_target).collect();
    }
    let (kind, rest) = words.split_first().ok_or("name what is drained")?;
    let targets: Vec<Target> = match kind_named(kind)? {
        View::Backends => {
            let (service, sockets) = rest.split_first().ok_or("name the service")?;
            let backend = |at: &String| drained_backend(service, at);
            sockets.iter().map(backend).collect::<Result<_, String>>()?
        }
        View::Nodes => rest.iter().cloned().map(Target::Node).collect(),
        view => return Err(not_drained(view)),
    };
    if targets.is_empty() {
        return Err(match kind_named(kind)? {
            View::Nodes => "name the node",
            _ => "name the backend as ADDRESS:PORT",
        }
        .to_owned());
    }
    let targets = targets.into_iter().map(Some);
    Ok(targets.map(|target| wire::DrainTarget { target }).collect())
}

/// Reads one thing to be drained by its kind and the name that `get` shows.
fn drain_target((view, name): (View, Option<String>)) -> Result<wire::DrainTarget, String> {
    use wire::drain_target::Target;
    let target = match (view, name) {
        (View::Backends, Some(name)) => {
            let (service, at) = name
                .split_once('/')
                .ok_or_else(|| format!("{name:?} is not SERVICE/ADDRESS:PORT"))?;
            drained_backend(service, at)?
        }
        (View::Nodes, Some(name)) => Target::Node(name),
        (view, _) => return Err(not_drained(view)),
    };
    Ok(wire::DrainTarget {
        target: Some(target),
    })
}

fn drained_backend(service: &str, at: &str) -> Result<wire::drain_target::Target, String> {
    let parsed: Result<SocketAddr, _> = at.parse();
    let parsed = parsed
        .map_err(|_| format!("{at:?} is not ADDRESS:PORT (10.0.0.11:8080, [fd00::11]:8080)"))?;
    let backend = wire::drain_target::Backend {
        service: service.to_owned(),
        address: parsed.ip().to_string(),
        port: parsed.port().into(),
    };
    Ok(wire::drain_target::Target::Backend(backend))
}

fn not_drained(view: View) -> String {
    let kind = view.plural();
    format!("{kind} are not drained: a backend or a node is")
}

/// Reads which nodes are to be cordoned, or no longer: `node NAME...`, `node/NAME...`, or the names alone, since nothing
/// but a node is.
pub(crate) fn cordoned(words: &[String]) -> Result<Vec<String>, String> {
    let bare = words.iter().all(|word| !word.contains('/'))
        && words.first().is_some_and(|word| kind_named(word).is_err());
    let named = match bare {
        true => words
            .iter()
            .map(|name| (View::Nodes, Some(name.clone())))
            .collect(),
        false => pairs(words)?,
    };
    let mut names = Vec::new();
    for (view, name) in named {
        if view != View::Nodes {
            let kind = view.plural();
            return Err(format!("{kind} are not cordoned: a node is"));
        }
        names.extend(name.filter(|name| !names.contains(name)));
    }
    match names.is_empty() {
        true => Err("name the node".to_owned()),
        false => Ok(names),
    }
}

/// Reads `KIND [NAME]...` or `KIND/NAME...`.
fn pairs(words: &[String]) -> Result<Vec<(View, Option<String>)>, String> {
    // names may hold slashes, kinds do not
    let kind = words.first().filter(|word| !word.contains('/'));
    let slashed = |word: &String| word.contains('/');
    let named = kind.is_some_and(|kind| kind_named(kind).is_ok_and(View::has_slashes));
    if !named && words.iter().any(slashed) {
        return words
            .iter()
            .map(|word| match word.split_once('/') {
                Some((kind, name)) if !name.is_empty() => {
                    Ok((kind_named(kind)?, Some(name.to_owned())))
                }
                _ => Err(format!("{word:?} is not KIND/NAME, as the others are")),
            })
            .collect();
    }
    let Some((kind, names)) = words.split_first() else {
        return Ok(Vec::new());
    };
    let view = kind_named(kind)?;
    if names.is_empty() {
        return Ok(vec![(view, None)]);
    }
    Ok(names
        .iter()
        .map(|name| (view, Some(name.clone())))
        .collect())
}

fn kind_named(word: &str) -> Result<View, String> {
    let lower = word.to_lowercase();
    let known = WORDS
        .iter()
        .find(|(_, words)| words.contains(&lower.as_str()));
    known.map(|(view, _)| *view).ok_or_else(|| {
        let all: Vec<&str> = WORDS.iter().map(|(view, _)| view.plural()).collect();
        format!("{word:?} is not a kind (there are {})", all.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn shown(text: &str) -> Result<(View, Vec<String>), String> {
        view(&words(text), "get")
    }

    #[test]
    fn every_word_for_a_kind_is_known_in_any_case() {
        for (view, all) in WORDS {
            for word in all {
                assert_eq!(shown(word), Ok((view, vec![])));
                assert_eq!(shown(&word.to_uppercase()), Ok((view, vec![])));
            }
        }
        assert_eq!(
            shown("pods"),
            Err(
                "\"pods\" is not a kind (there are services, frontends, backends, backendsets, nodes, vips, drains, repairs, events)"
                    .to_owned()
            )
        );
    }

    #[test]
    fn names_follow_the_kind_or_a_slash() {
        let web_dns = vec!["web".to_owned(), "dns".to_owned()];
        assert_eq!(shown("svc web dns"), Ok((View::Services, web_dns.clone())));
        assert_eq!(shown("service/web svc/dns"), Ok((View::Services, web_dns)));
        assert_eq!(
            shown("service/web dns"),
            Err("\"dns\" is not KIND/NAME, as the others are".to_owned())
        );
        assert_eq!(
            shown("service/web node/a"),
            Err("get shows one kind at a time, not services and nodes".to_owned())
        );
    }

    #[test]
    fn names_may_hold_slashes_where_they_have_them() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let shown = |text: &str| shown(text).expect("a view");
        for (text, view, name) in [
            ("fe 10.1.0.1:80/TCP", View::Frontends, "10.1.0.1:80/TCP"),
            (
                "frontend/10.1.0.1:80/TCP",
                View::Frontends,
                "10.1.0.1:80/TCP",
            ),
            ("be web/10.0.0.1:80", View::Backends, "web/10.0.0.1:80"),
            ("backend/web/10.0.0.1:80", View::Backends, "web/10.0.0.1:80"),
            ("drains web/[fd00::1]:80", View::Drains, "web/[fd00::1]:80"),
            ("vip/fd00::1", View::Vips, "fd00::1"),
        ] {
            assert_eq!(shown(text), (view, names(&[name])), "{text}");
        }
        assert_eq!(
            view(&words("services web/x"), "get"),
            Err("\"services\" is not KIND/NAME, as the others are".to_owned())
        );
    }

    #[test]
    fn what_is_drained_is_a_backend_or_a_node() {
        use wire::drain_target::{Backend, Target};
        let backend = |address: &str| {
            let backend = Target::Backend(Backend {
                service: "web".to_owned(),
                address: address.to_owned(),
                port: 8080,
            });
            wire::DrainTarget {
                target: Some(backend),
            }
        };
        let node = wire::DrainTarget {
            target: Some(Target::Node("node-a".to_owned())),
        };
        let targets = |text: &str| drain_targets(&words(text));
        assert_eq!(
            targets("backend web 10.0.0.11:8080 [fd00::11]:8080"),
            Ok(vec![backend("10.0.0.11"), backend("fd00::11")])
        );
        assert_eq!(targets("no node-a"), Ok(vec![node.clone()]));
        assert_eq!(
            targets("backend web/10.0.0.11:8080 web/[fd00::11]:8080"),
            Ok(vec![backend("10.0.0.11"), backend("fd00::11")])
        );
        assert_eq!(
            targets("backend/web/10.0.0.11:8080 node/node-a"),
            Ok(vec![backend("10.0.0.11"), node])
        );
        for (text, why) in [
            ("", "name what is drained"),
            ("backend", "name the service"),
            ("backend web", "name the backend as ADDRESS:PORT"),
            ("node", "name the node"),
            (
                "backend web 10.0.0.11",
                "\"10.0.0.11\" is not ADDRESS:PORT (10.0.0.11:8080, [fd00::11]:8080)",
            ),
            (
                "backend/10.0.0.11:8080",
                "\"10.0.0.11:8080\" is not SERVICE/ADDRESS:PORT",
            ),
            (
                "service web",
                "services are not drained: a backend or a node is",
            ),
            (
                "service/web",
                "services are not drained: a backend or a node is",
            ),
        ] {
            assert_eq!(targets(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn events_are_of_what_they_can_happen_to() {
        let read = |text: &str| event_object(text).map(|it| (it.kind, it.name));
        for (text, kind, name) in [
            ("svc/web", "service", "web"),
            ("backend/web/10.0.0.1:80", "backend", "web/10.0.0.1:80"),
            ("Node/a", "node", "a"),
            ("rollout/7", "rollout", "7"),
        ] {
            assert_eq!(read(text), Ok((kind.to_owned(), name.to_owned())));
        }
        for (text, why) in [
            ("web", "\"web\" is not KIND/NAME"),
            ("svc/", "\"svc/\" is not KIND/NAME"),
            (
                "drain/web",
                "events are of services, backendsets, backends, nodes, vips and rollouts, not of drains",
            ),
        ] {
            assert_eq!(read(text), Err(why.to_owned()));
        }
    }

    #[test]
    fn what_is_deleted_is_named() {
        let reference = |kind: wire::Kind, name: &str| wire::ResourceRef {
            kind: kind.into(),
            name: name.to_owned(),
        };
        assert_eq!(
            references(&words("service/web bs/web-a")),
            Ok(vec![
                reference(wire::Kind::Service, "web"),
                reference(wire::Kind::BackendSet, "web-a")
            ])
        );
        assert_eq!(
            references(&words("nodes")),
            Err("name the nodes to delete".to_owned())
        );
        for (text, why) in [
            (
                "vips",
                "a vip goes with the last frontend on it: change its services and apply them",
            ),
            (
                "frontend/10.1.0.1:80/TCP",
                "a frontend is part of its service: change that and apply it",
            ),
        ] {
            assert_eq!(references(&words(text)), Err(why.to_owned()), "{text}");
        }
        assert_eq!(
            references(&words("backend x")),
            Err(
                "a backend is part of its service or backend set: change that and apply it"
                    .to_owned()
            )
        );
    }
}
