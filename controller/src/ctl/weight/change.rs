//! Which resource carries a backend, and that resource with another weight in it. PURE.

use std::net::SocketAddr;

use weir_proto::wire;
use weir_proto::wire::resource::Kind;

/// The weight of a backend for which none is written (`Backend.weight`).
const DEFAULT: u32 = 1;
/// The largest one.
const LARGEST: u32 = 65_535;

/// A backend and the weight that it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) service: String,
    pub(super) at: SocketAddr,
    pub(super) weight: u32,
}

/// What becomes of it.
#[derive(Debug, PartialEq)]
pub(super) struct Changed {
    /// What must be written.
    pub(super) resources: Vec<wire::Resource>,
    /// Each backend's name, its weight before and from now on.
    weights: Vec<(String, u32, u32)>,
}

impl Changed {
    /// Says what became of each backend.
    pub(super) fn lines(&self, dry_run: bool) -> String {
        let dry = if dry_run { " (server dry run)" } else { "" };
        let lines = self
            .weights
            .iter()
            .map(|(name, before, now)| match before == now {
                true => format!("backend/{name} unchanged: weight {now}{dry}\n"),
                false => format!("backend/{name} configured: weight {now}, was {before}{dry}\n"),
            });
        lines.collect()
    }
}

/// Reads `SERVICE/ADDRESS:PORT=WEIGHT`, each once; else says everything that is wrong.
pub(super) fn wanted(words: &[String]) -> Result<Vec<Wanted>, String> {
    let (mut all, mut problems): (Vec<Wanted>, Vec<String>) = Default::default();
    for word in words {
        let Some(wanted) = one(word) else {
            problems.push(format!("{word:?} is not SERVICE/ADDRESS:PORT=WEIGHT (web/10.0.0.11:8080=5, weights to {LARGEST})"));
            continue;
        };
        let twice = all
            .iter()
            .any(|it| it.service == wanted.service && it.at == wanted.at);
        match twice {
            true => problems.push(format!("{}/{} is given twice", wanted.service, wanted.at)),
            false => all.push(wanted),
        }
    }
    match problems.is_empty() {
        true => Ok(all),
        false => Err(problems.join("; ")),
    }
}

fn one(word: &str) -> Option<Wanted> {
    let (name, weight) = word.rsplit_once('=')?;
    let (service, at) = name.split_once('/')?;
    Some(Wanted {
        service: service.to_owned(),
        at: at.parse().ok()?,
        weight: weight.parse().ok().filter(|weight| *weight <= LARGEST)?,
    })
}

/// Changes the weights, each where it is written; where a service and its backend set both name a backend, the service's own
/// counts. An error names the backends that are not there.
pub(super) fn change(
    resources: Vec<wire::Resource>,
    wanted: &[Wanted],
) -> Result<Changed, Vec<String>> {
    let mut held: Vec<(wire::Resource, bool)> =
        resources.into_iter().map(|it| (it, false)).collect();
    // what is a service's own is found before what is in a set
    held.sort_by_key(|(resource, _)| !matches!(resource.kind, Some(Kind::Service(_))));
    let (mut weights, mut missing) = (Vec::new(), Vec::new());
    for one in wanted {
        let name = format!("{}/{}", one.service, one.at);
        let found = held.iter_mut().find_map(|(resource, touched)| {
            let (of, backends) = match resource.kind.as_mut()? {
                Kind::Service(service) => (&service.name, &mut service.backends),
                Kind::BackendSet(set) => (&set.service, &mut set.backends),
                Kind::Node(_) => return None,
            };
            if *of != one.service {
                return None;
            }
            let backend = backends.iter_mut().find(|it| socket(it) == Some(one.at))?;
            let before = backend.weight.unwrap_or(DEFAULT);
            if before != one.weight {
                backend.weight = Some(one.weight);
                *touched = true;
            }
            Some(before)
        });
        match found {
            Some(before) => weights.push((name, before, one.weight)),
            None => missing.push(format!("backend/{name}")),
        }
    }
    if !missing.is_empty() {
        return Err(missing);
    }
    let touched = held.into_iter().filter(|(_, touched)| *touched);
    Ok(Changed {
        resources: touched.map(|(resource, _)| resource).collect(),
        weights,
    })
}

fn socket(backend: &wire::Backend) -> Option<SocketAddr> {
    let port = u16::try_from(backend.port).ok()?;
    Some(SocketAddr::new(backend.address.parse().ok()?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(address: &str, weight: Option<u32>) -> wire::Backend {
        wire::Backend {
            address: address.to_owned(),
            port: 80,
            weight,
            ..wire::Backend::default()
        }
    }

    fn service(backends: Vec<wire::Backend>) -> wire::Resource {
        wire::Resource {
            kind: Some(Kind::Service(wire::Service {
                name: "web".to_owned(),
                backends,
                ..wire::Service::default()
            })),
            ..wire::Resource::default()
        }
    }

    fn set(name: &str, service: &str, backends: Vec<wire::Backend>) -> wire::Resource {
        wire::Resource {
            kind: Some(Kind::BackendSet(wire::BackendSet {
                name: name.to_owned(),
                service: service.to_owned(),
                backends,
                ..wire::BackendSet::default()
            })),
            ..wire::Resource::default()
        }
    }

    fn asked(words: &[&str]) -> Result<Vec<Wanted>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        wanted(&words)
    }

    #[test]
    fn a_weight_is_changed_where_the_backend_is_written() {
        let resources = vec![
            set(
                "b",
                "web",
                vec![backend("10.0.0.1", Some(3)), backend("fd00::1", None)],
            ),
            set("c", "dns", vec![backend("10.0.0.2", None)]),
            service(vec![
                backend("10.0.0.1", None),
                backend("10.0.0.3", Some(7)),
            ]),
        ];
        let words = [
            "web/10.0.0.1:80=5",
            "web/[fd00::1]:80=0",
            "web/10.0.0.3:80=7",
        ];
        let changed = change(resources, &asked(&words).expect("backends")).expect("all are there");
        assert_eq!(
            changed.resources,
            [
                service(vec![
                    backend("10.0.0.1", Some(5)),
                    backend("10.0.0.3", Some(7))
                ]),
                set(
                    "b",
                    "web",
                    vec![backend("10.0.0.1", Some(3)), backend("fd00::1", Some(0))]
                ),
            ]
        );
        assert_eq!(
            changed.lines(false),
            "backend/web/10.0.0.1:80 configured: weight 5, was 1\n\
             backend/web/[fd00::1]:80 configured: weight 0, was 1\n\
             backend/web/10.0.0.3:80 unchanged: weight 7\n"
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        let wanted = asked(&["web/10.0.0.2:80=1", "web/10.0.0.1:81=1"]).expect("backends");
        let resources = vec![
            service(vec![backend("10.0.0.1", None)]),
            set("c", "dns", vec![backend("10.0.0.2", None)]),
        ];
        let missing = ["backend/web/10.0.0.2:80", "backend/web/10.0.0.1:81"];
        assert_eq!(
            change(resources, &wanted),
            Err(missing.map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn what_is_no_backend_with_a_weight_is_refused() {
        for word in [
            "web",
            "web/10.0.0.1=1",
            "10.0.0.1:80=1",
            "web/10.0.0.1:80=65536",
            "web/10.0.0.1:80",
        ] {
            let why = format!(
                "{word:?} is not SERVICE/ADDRESS:PORT=WEIGHT (web/10.0.0.11:8080=5, weights to 65535)"
            );
            assert_eq!(asked(&[word]), Err(why));
        }
        assert_eq!(
            asked(&["web/10.0.0.1:80=1", "web/10.0.0.1:80=2"]),
            Err("web/10.0.0.1:80 is given twice".to_owned())
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let words = ["web", "web/10.0.0.1:80=1", "web/10.0.0.1:80=2", "dns"];
        let why = asked(&words).expect_err("three are wrong");
        let told: Vec<&str> = why.split("; ").collect();
        let form = "is not SERVICE/ADDRESS:PORT=WEIGHT (web/10.0.0.11:8080=5, weights to 65535)";
        let wanted = [
            format!("\"web\" {form}"),
            "web/10.0.0.1:80 is given twice".to_owned(),
            format!("\"dns\" {form}"),
        ];
        assert_eq!(told, wanted);
    }
}
