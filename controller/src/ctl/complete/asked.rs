//! What may stand in the place of a word, by the words before it. PURE.

use std::slice;

use clap::ArgMatches;

use crate::ctl::explain;
use crate::ctl::names::{View, view, views};

/// The arguments that are filled in: the words of the command, and the argument.
pub(super) const PLACES: [(&[&str], &str); 16] = [
    (&["get"], "what"),
    (&["describe"], "what"),
    (&["delete"], "what"),
    (&["edit"], "what"),
    (&["explain"], "what"),
    (&["drain"], "what"),
    (&["undrain"], "what"),
    (&["cordon"], "what"),
    (&["uncordon"], "what"),
    (&["weight"], "backends"),
    (&["why"], "words"),
    (&["node", "release"], "name"),
    (&["config", "use-context"], "name"),
    (&["config", "delete-context"], "name"),
    (&["config", "set-context"], "name"),
    (&["config", "get-contexts"], "names"),
];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// One of these.
    Words(Vec<String>),
    /// The name of a context.
    Contexts,
    /// A name of what a view shows; of these only those within `of`, which is left out.
    Names {
        view: View,
        of: Option<String>,
        before: String,
        after: &'static str,
    },
}

/// Says what may stand where the word `current` is, after words that were read as far as possible.
pub(super) fn asked(matches: &ArgMatches, current: &str) -> Asked {
    let (mut path, mut at) = (Vec::new(), matches);
    while let Some((name, within)) = at.subcommand() {
        path.push(name);
        at = within;
    }
    let earlier = |argument: &str| -> Vec<String> {
        let values = at.try_get_many::<String>(argument).ok().flatten();
        values.into_iter().flatten().cloned().collect()
    };
    match path[..] {
        ["get" | "describe"] => kinds_and_names(&earlier("what"), current, |_| true),
        ["delete" | "edit"] => {
            kinds_and_names(&earlier("what"), current, |view| view.kind().is_some())
        }
        ["explain"] => Asked::Words(explain::paths()),
        ["drain" | "undrain"] => drained(&earlier("what")),
        ["cordon" | "uncordon"] => match earlier("what").is_empty() {
            true => Asked::Words(vec!["node".to_owned()]),
            false => of(View::Nodes),
        },
        ["weight"] => Asked::Names {
            view: View::Backends,
            of: None,
            before: String::new(),
            after: "=",
        },
        ["why"] => why(&earlier("words")),
        ["node", "release"] => of(View::Nodes),
        ["config", ..] => Asked::Contexts,
        _ => Asked::Words(Vec::new()),
    }
}

fn of(view: View) -> Asked {
    Asked::Names {
        view,
        of: None,
        before: String::new(),
        after: "",
    }
}

/// `KIND NAME...` or `KIND/NAME...`
fn kinds_and_names(earlier: &[String], current: &str, fits: impl Fn(View) -> bool) -> Asked {
    let first = earlier.first().filter(|first| !first.contains('/'));
    let word = first.map(String::as_str);
    let kind = word.or_else(|| current.split_once('/').map(|(kind, _)| kind));
    match kind {
        Some(kind) => match view(&[kind.to_owned()], "") {
            Ok((view, _)) if first.is_some() => of(view),
            Ok((view, _)) => Asked::Names {
                view,
                of: None,
                before: format!("{kind}/"),
                after: "",
            },
            Err(_) => Asked::Words(Vec::new()),
        },
        None => Asked::Words(
            views()
                .filter(|view| fits(*view))
                .map(|view| view.plural().to_owned())
                .collect(),
        ),
    }
}

/// `backend SERVICE ADDRESS:PORT...` or `node NAME...`
fn drained(earlier: &[String]) -> Asked {
    let view = earlier.first().map(|kind| view(slice::from_ref(kind), ""));
    match (view, earlier) {
        (None, _) => Asked::Words(vec!["backend".to_owned(), "node".to_owned()]),
        (Some(Ok((View::Nodes, _))), _) => of(View::Nodes),
        (Some(Ok((View::Backends, _))), [_]) => of(View::Services),
        (Some(Ok((View::Backends, _))), [_, service, ..]) => Asked::Names {
            view: View::Backends,
            of: Some(service.clone()),
            before: String::new(),
            after: "",
        },
        _ => Asked::Words(Vec::new()),
    }
}

/// `FRONTEND [from ADDRESS] [on NODE]...`
fn why(earlier: &[String]) -> Asked {
    match earlier {
        [] => of(View::Frontends),
        // after a pair, or the frontend
        [_, pairs @ ..] if pairs.len() % 2 == 0 => {
            Asked::Words(vec!["from".to_owned(), "on".to_owned()])
        }
        [.., last] if last == "on" => of(View::Nodes),
        _ => Asked::Words(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::ctl::args::Cli;

    fn after(line: &str, current: &str) -> Asked {
        let words = std::iter::once("weirctl").chain(line.split_whitespace());
        let matches = Cli::command()
            .ignore_errors(true)
            .try_get_matches_from(words)
            .expect("as far as possible");
        asked(&matches, current)
    }

    fn words(words: &[&str]) -> Asked {
        Asked::Words(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn kinds_come_first_and_then_names_of_them() {
        let Asked::Words(all) = after("get", "") else {
            panic!("kinds");
        };
        assert!(
            all.contains(&"services".to_owned()) && all.contains(&"vips".to_owned()),
            "{all:?}"
        );
        assert_eq!(
            after("delete", "b"),
            words(&["services", "backendsets", "nodes"])
        );
        assert_eq!(after("get -o wide svc", "we"), of(View::Services));
        assert_eq!(after("describe node a", ""), of(View::Nodes));
        assert_eq!(after("get pods", ""), words(&[]));
        let slashed = Asked::Names {
            view: View::Services,
            of: None,
            before: "svc/".to_owned(),
            after: "",
        };
        assert_eq!(after("get", "svc/w"), slashed);
        assert_eq!(after("get svc/web", "svc/w"), slashed);
    }

    #[test]
    fn what_is_drained_is_named_step_by_step() {
        assert_eq!(after("drain", ""), words(&["backend", "node"]));
        assert_eq!(after("undrain node", ""), of(View::Nodes));
        assert_eq!(after("cordon", ""), words(&["node"]));
        assert_eq!(after("uncordon node node-a", ""), of(View::Nodes));
        assert_eq!(after("drain backend", ""), of(View::Services));
        let within = Asked::Names {
            view: View::Backends,
            of: Some("web".to_owned()),
            before: String::new(),
            after: "",
        };
        assert_eq!(after("drain --deadline 5m backend web", "10"), within);
    }

    #[test]
    fn why_takes_a_frontend_and_then_whom_and_where() {
        assert_eq!(after("why", ""), of(View::Frontends));
        assert_eq!(after("why 10.0.0.1:80", ""), words(&["from", "on"]));
        assert_eq!(after("why 10.0.0.1:80 on", "node"), of(View::Nodes));
        assert_eq!(after("why 10.0.0.1:80 from", ""), words(&[]));
        assert_eq!(
            after("why 10.0.0.1:80 from 10.1.2.3", ""),
            words(&["from", "on"])
        );
    }

    #[test]
    fn contexts_and_weights_are_named_too() {
        assert_eq!(after("config use-context", ""), Asked::Contexts);
        assert_eq!(after("node release", ""), of(View::Nodes));
        assert_eq!(after("version", ""), words(&[]));
        let backends = Asked::Names {
            view: View::Backends,
            of: None,
            before: String::new(),
            after: "=",
        };
        assert_eq!(after("weight", "web"), backends);
    }
}
