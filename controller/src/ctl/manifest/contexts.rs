//! The file of contexts: which controllers there are to call, and how. PURE.
//!
//! Everything wrong in it is said at once. It holds no secret: what is inside of a key is refused where its path belongs.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::fields::{Fields, Object, hint};
use super::object::API_VERSION;
use super::{Problem, tree};

const KIND: &str = "Config";
/// How what PEM holds begins (RFC 7468, section 2).
const PEM: &str = "-----BEGIN";

/// One controller to call. Paths are as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Context {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) controller: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_ca: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) insecure: bool,
}

/// All of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contexts {
    pub(crate) current: Option<String>,
    pub(crate) contexts: Vec<Context>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_context: &'a Option<String>,
    contexts: &'a [Context],
}

impl Contexts {
    /// Reads a file, or gives everything that is wrong with it, each with its line. An empty one has no contexts.
    pub(crate) fn read(
        text: &str,
        url: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, Vec<String>> {
        let (roots, mut problems) = tree::documents(text);
        let mut contexts = Self::default();
        if let [root, rest @ ..] = roots.as_slice() {
            let mut fields = Fields::default();
            fields.lines.insert(String::new(), root.line);
            if let Some(root) = fields.root(root) {
                contexts = whole(&root, &mut fields, url);
            }
            problems.append(&mut fields.problems);
            let more = rest
                .iter()
                .map(|root| Problem::new(root.line, "one document is expected"));
            problems.extend(more);
        }
        if problems.is_empty() {
            return Ok(contexts);
        }
        problems.sort_by_key(|problem| problem.line);
        Err(problems.iter().map(ToString::to_string).collect())
    }

    /// Writes the file.
    pub(crate) fn write(&self) -> Result<String> {
        let document = Document {
            api_version: API_VERSION,
            kind: KIND,
            current_context: &self.current,
            contexts: &self.contexts,
        };
        serde_saphyr::to_string(&document).context("cannot write the contexts as YAML")
    }

    /// Finds a context.
    pub(crate) fn named(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|context| context.name == name)
    }
}

fn whole(
    root: &Object<'_>,
    fields: &mut Fields,
    url: impl Fn(&str) -> Result<String, String>,
) -> Contexts {
    for (name, only) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        match fields.text(root, name, name) {
            Some(text) if text != only => {
                let hint = hint(&text, &[only]);
                fields.say(name, format!("unknown {name} {text:?}{hint}"));
            }
            Some(_) => {}
            None => fields.complain(name, "missing"),
        }
    }
    fields.only(root, &["apiVersion", "kind", "currentContext", "contexts"]);
    let current = fields.text(root, "currentContext", "currentContext");
    let mut contexts: Vec<Context> = Vec::new();
    let mut seen = BTreeSet::new();
    for (place, object) in fields
        .objects(root, "contexts", "contexts")
        .iter()
        .enumerate()
    {
        let context = context(object, fields, place, &url);
        let path = format!("contexts[{place}].name");
        if context.name.is_empty() {
            fields.complain(&path, "missing");
        } else if !seen.insert(context.name.clone()) {
            fields.complain(&path, &format!("{:?} is given twice", context.name));
        }
        contexts.push(context);
    }
    if let Some(current) = current.as_ref().filter(|current| !seen.contains(*current)) {
        let text = format!("there is no context {current:?}");
        fields.complain("currentContext", &text);
    }
    Contexts { current, contexts }
}

fn context(
    object: &Object<'_>,
    fields: &mut Fields,
    place: usize,
    url: impl Fn(&str) -> Result<String, String>,
) -> Context {
    fields.only(
        object,
        &[
            "name",
            "controller",
            "tlsCert",
            "tlsKey",
            "tlsCa",
            "insecure",
        ],
    );
    let controller = fields.text(object, "controller", "controller");
    let controller = controller.and_then(|text| match url(&text) {
        Ok(url) => Some(url),
        Err(why) => {
            fields.complain(
                &format!("contexts[{place}].controller"),
                &format!("{text:?}: {why}"),
            );
            None
        }
    });
    let mut path = |name: &str| {
        let path = fields.text(object, name, name)?;
        let wrong = match path.as_str() {
            "" => "a path is expected, found nothing",
            text if text.contains(PEM) => "the path of a file is expected, found what is in it",
            _ => return Some(path),
        };
        fields.complain(&format!("contexts[{place}].{name}"), wrong);
        None
    };
    let (tls_cert, tls_key, tls_ca) = (path("tlsCert"), path("tlsKey"), path("tlsCa"));
    Context {
        name: fields.text(object, "name", "name").unwrap_or_default(),
        controller,
        tls_cert,
        tls_key,
        tls_ca,
        insecure: fields
            .flag(object, "insecure", "insecure")
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Contexts, Vec<String>> {
        Contexts::read(text, |url| match url.starts_with("http") {
            true => Ok(url.to_owned()),
            false => Err("no URL".to_owned()),
        })
    }

    #[test]
    fn what_is_written_is_read_back() {
        let contexts = Contexts {
            current: Some("prod".to_owned()),
            contexts: vec![
                Context {
                    name: "prod".to_owned(),
                    controller: Some("https://lb:7420".to_owned()),
                    tls_cert: Some("/c".to_owned()),
                    tls_key: Some("k".to_owned()),
                    tls_ca: Some("a".to_owned()),
                    insecure: false,
                },
                Context {
                    name: "lab".to_owned(),
                    insecure: true,
                    ..Context::default()
                },
            ],
        };
        let text = contexts.write().expect("YAML");
        assert_eq!(read(&text), Ok(contexts), "{text}");
        assert_eq!(read(""), Ok(Contexts::default()));
    }

    #[test]
    fn everything_wrong_is_said_at_once_and_where() {
        let text = "\
apiVersion: weir/v2
kind: Config
currentContext: gone
context: []
contexts:
- name: a
  controller: lb:7420
  tlsKey: |
    -----BEGIN PRIVATE KEY-----
- name: a
  token: secret
  insecure: 1
- controller: http://lb:7420
";
        let wrong = [
            "1: unknown apiVersion \"weir/v2\"; did you mean \"weir/v1\"?",
            "3: currentContext: there is no context \"gone\"",
            "4: unknown field \"context\" in the document; did you mean \"contexts\"?",
            "7: contexts[0].controller: \"lb:7420\": no URL",
            "8: contexts[0].tlsKey: the path of a file is expected, found what is in it",
            "10: contexts[1].name: \"a\" is given twice",
            "11: unknown field \"token\" in contexts[1] (there is name, controller, tlsCert, tlsKey, tlsCa, insecure)",
            "12: contexts[1].insecure: expected true or false, found the number 1",
            "13: contexts[2].name: missing",
        ];
        assert_eq!(read(text), Err(wrong.map(str::to_owned).to_vec()));
    }
}
