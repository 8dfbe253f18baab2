//! Kinds and their fields as files have them, made of the messages that carry them. PURE.
//!
//! A message of the language is flat; a file has its name and labels in `metadata` and the rest in `spec`.

use weir_proto::wire::{EXPLAINED, Explained};

use crate::ctl::manifest::{API_VERSION, hint, in_file_words};
use crate::ctl::names::{View, view};

/// The message around each kind, of which `metadata` has two fields.
const RESOURCE: &str = ".weir.v1.Resource";
/// What goes to `metadata` of a kind's own message.
const IN_METADATA: [&str; 2] = ["name", "labels"];

type Field = (&'static str, &'static str, &'static str, &'static str);

/// What stands at a place.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A whole document of this message.
    Kind(&'static Explained),
    Metadata(&'static Explained),
    Spec(&'static Explained),
    Message(&'static Explained),
    /// One of the words of an enumeration.
    Word(&'static Explained),
    Text,
    Number,
    Flag,
}

/// A kind or a field.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Its name, after those of what it is in.
    pub(super) path: Vec<String>,
    /// What the language says of it.
    pub(super) about: String,
    /// Whether it must be there.
    pub(super) required: bool,
    label: &'static str,
    shape: Shape,
}

/// Gives the kinds.
pub(super) fn kinds() -> Vec<Place> {
    [View::Services, View::BackendSets, View::Nodes]
        .into_iter()
        .filter_map(kind)
        .collect()
}

fn kind(view: View) -> Option<Place> {
    let name = match view {
        View::Services => ".weir.v1.Service",
        View::BackendSets => ".weir.v1.BackendSet",
        View::Nodes => ".weir.v1.Node",
        _ => return None,
    };
    Some(Place {
        path: vec![view.singular().to_owned()],
        about: String::new(),
        required: false,
        label: "",
        shape: Shape::Kind(message(name)?),
    })
}

fn message(name: &str) -> Option<&'static Explained> {
    EXPLAINED.iter().find(|(other, ..)| *other == name)
}

impl Place {
    /// Finds a place by its names with dots between; `spec` may be left out.
    pub(super) fn find(what: &str) -> Result<Self, String> {
        let mut names = what.split('.');
        let first = names.next().unwrap_or_default().to_owned();
        let (view, _) = view(&[first], "explain")?;
        let mut place = kind(view).ok_or_else(|| {
            let kinds: Vec<&str> = kinds_words();
            let (plural, kinds) = (view.plural(), kinds.join(", "));
            format!("{plural} are in no file: explained are {kinds}")
        })?;
        for name in names {
            let parts = place.parts();
            let here = parts.iter().find(|part| part.name() == name).cloned();
            let within_spec = || {
                let spec = parts.iter().find(|part| part.name() == "spec")?;
                spec.parts().into_iter().find(|part| part.name() == name)
            };
            place = match here.or_else(within_spec) {
                Some(part) => part,
                None if parts.is_empty() => {
                    return Err(format!("{} has no fields", place.path.join(".")));
                }
                None => {
                    let known: Vec<&str> = parts.iter().map(Self::name).collect();
                    let hint = hint(name, &known);
                    return Err(format!(
                        "{} has no field {name:?}{hint}",
                        place.path.join(".")
                    ));
                }
            };
        }
        Ok(place)
    }

    /// Gives the last of its names.
    pub(super) fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// Gives the kind that it belongs to, as files write it.
    pub(super) fn kind(&self) -> &'static str {
        match self.path.first().map(String::as_str) {
            Some("service") => "Service",
            Some("backendset") => "BackendSet",
            _ => "Node",
        }
    }

    /// Gives its type, as kubectl writes types.
    pub(super) fn typed(&self) -> String {
        let own = match self.shape {
            Shape::Kind((name, ..)) | Shape::Message((name, ..)) => last(name),
            Shape::Metadata(_) => "Metadata",
            Shape::Spec((name, ..)) => return format!("{}Spec", last(name)),
            Shape::Word(_) | Shape::Text => "string",
            Shape::Number => "integer",
            Shape::Flag => "boolean",
        };
        match self.label {
            "repeated" => format!("[]{own}"),
            "map" => "map[string]string".to_owned(),
            _ => own.to_owned(),
        }
    }

    /// Gives what is said of the message that it is, beside what is said of the place.
    pub(super) fn about_shape(&self) -> String {
        match self.shape {
            Shape::Kind((_, about, _))
            | Shape::Message((_, about, _))
            | Shape::Word((_, about, _)) => in_words_of_files(about),
            _ => String::new(),
        }
    }

    /// Gives the words that it may be, each with what it means.
    pub(super) fn words(&self) -> Vec<(String, String)> {
        let Shape::Word((name, _, values)) = self.shape else {
            return Vec::new();
        };
        // the first one stands for none, and is refused
        let values = values.iter().skip(1);
        values
            .map(|(value, _, _, about)| (word(name, value).to_owned(), in_words_of_files(about)))
            .collect()
    }

    /// Gives the fields within.
    pub(super) fn parts(&self) -> Vec<Self> {
        let named = |name: &str, about: &str, shape| self.part(name, ("", about), shape);
        match self.shape {
            Shape::Kind(message) => vec![
                Self {
                    required: true,
                    ..named("apiVersion", &format!("Always {API_VERSION}."), Shape::Text)
                },
                Self {
                    required: true,
                    ..named("kind", &format!("Always {}.", self.kind()), Shape::Text)
                },
                Self {
                    required: true,
                    ..named("metadata", "What it is called.", Shape::Metadata(message))
                },
                named("spec", "What it is.", Shape::Spec(message)),
            ],
            Shape::Metadata((.., fields)) => {
                let around = message(RESOURCE).map_or(&[][..], |(.., fields)| fields);
                let own = fields.iter().filter(|field| IN_METADATA.contains(&field.0));
                // the kinds themselves are not in the metadata of one
                let around = around.iter().filter(|field| field.2.starts_with("TYPE_"));
                own.chain(around).map(|field| self.field(field)).collect()
            }
            Shape::Spec((.., fields)) => {
                let rest = fields
                    .iter()
                    .filter(|field| !IN_METADATA.contains(&field.0));
                rest.map(|field| self.field(field)).collect()
            }
            Shape::Message((.., fields)) => fields.iter().map(|field| self.field(field)).collect(),
            Shape::Word(_) | Shape::Text | Shape::Number | Shape::Flag => Vec::new(),
        }
    }

    fn field(&self, field: &Field) -> Self {
        let (name, label, of, about) = *field;
        let shape = match (label, of) {
            ("map", _) | (_, "TYPE_STRING") => Shape::Text,
            (_, "TYPE_BOOL") => Shape::Flag,
            (_, of) if of.starts_with("TYPE_") => Shape::Number,
            (_, of) => match message(of) {
                // the parts of an enumeration have no type
                Some(found) if found.2.iter().all(|part| part.2.is_empty()) => Shape::Word(found),
                Some(found) => Shape::Message(found),
                None => Shape::Text,
            },
        };
        self.part(&in_file_words(name), (label, about), shape)
    }

    fn part(&self, name: &str, (label, about): (&'static str, &str), shape: Shape) -> Self {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        Self {
            path,
            about: in_words_of_files(about),
            required: about.ends_with("Required.")
                || about.contains("Required. ")
                || about.starts_with("Required;"),
            label,
            shape,
        }
    }
}

fn kinds_words() -> Vec<&'static str> {
    [View::Services, View::BackendSets, View::Nodes]
        .map(View::singular)
        .to_vec()
}

/// Gives a message's name without what it is in.
fn last(name: &'static str) -> &'static str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Gives a value's name without that of its enumeration, as files have it.
fn word<'a>(of: &'static str, value: &'a str) -> &'a str {
    let mut begin = String::new();
    for letter in last(of).chars() {
        if letter.is_ascii_uppercase() && !begin.is_empty() {
            begin.push('_');
        }
        begin.push(letter.to_ascii_uppercase());
    }
    let rest = value.strip_prefix(begin.as_str());
    rest.and_then(|rest| rest.strip_prefix('_'))
        .unwrap_or(value)
}

/// Puts what the language says in the names that files have: of fields, and of the values of enumerations.
fn in_words_of_files(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter| !part(letter)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        told.push_str(&named_in_files(name));
        let next = after.find(part).unwrap_or(after.len());
        told.push_str(&after[..next]);
        rest = &after[next..];
    }
    told
}

fn named_in_files(name: &str) -> String {
    if !name.contains('_') {
        return name.to_owned();
    }
    for (of, _, parts) in EXPLAINED {
        if parts.iter().any(|part| part.0 == name) {
            return match name.contains(|letter: char| letter.is_ascii_lowercase()) {
                true => in_file_words(name),
                false => word(of, name).to_owned(),
            };
        }
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::manifest::{
        BINDINGS, CHECKSUMS, FAMILIES, FORWARDINGS, ON_DEADLINES, PROTOCOLS, ROLES, TUNNELS,
    };

    fn words(path: &str) -> Vec<String> {
        let place = Place::find(path).expect(path);
        place.words().into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn the_words_of_enumerations_are_those_that_files_have() {
        fn names<T>(words: &[(&'static str, T)]) -> Vec<String> {
            words.iter().map(|(word, _)| (*word).to_owned()).collect()
        }
        for (path, expected) in [
            ("service.frontends.protocol", names(&PROTOCOLS)),
            ("service.frontends.addressFamily", names(&FAMILIES)),
            ("service.forwarding", names(&FORWARDINGS)),
            ("service.tunnel.type", names(&TUNNELS)),
            ("service.tunnel.checksum", names(&CHECKSUMS)),
            ("service.vipBinding", names(&BINDINGS)),
            ("service.drain.onDeadline", names(&ON_DEADLINES)),
            ("node.syncDaemons.role", names(&ROLES)),
        ] {
            assert_eq!(words(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        for (path, why) in [
            (
                "service.spec.frontend",
                "service.spec has no field \"frontend\"; did you mean \"frontends\"?",
            ),
            (
                "service.scheduler.x",
                "service.spec.scheduler has no fields",
            ),
            (
                "vip",
                "vips are in no file: explained are service, backendset, node",
            ),
        ] {
            let refused = Place::find(path).expect_err(path);
            assert_eq!(refused, why);
        }
    }

    #[test]
    fn every_field_is_explained() {
        fn undescribed(place: &Place, found: &mut Vec<String>) {
            for part in place.parts() {
                if part.about.is_empty() && part.about_shape().is_empty() && part.words().is_empty()
                {
                    found.push(part.path.join("."));
                }
                undescribed(&part, found);
            }
        }
        let mut found = Vec::new();
        for kind in kinds() {
            undescribed(&kind, &mut found);
        }
        let none: [String; 0] = [];
        assert_eq!(found, none);
    }
}
