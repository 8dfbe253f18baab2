//! Label selectors as kubectl reads them: `tier=front,env in (prod, test),!draft`. PURE.
//!
//! All requirements must be met. As in kubectl, `!=` and `notin` are met by what lacks the label too.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

/// The most characters of a key or a value, as the language has it.
const LONGEST: usize = 63;

/// What labels must be like; nothing: everything is selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

/// What one label must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    is: Is,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Is {
    There,
    NotThere,
    OneOf(BTreeSet<String>),
    NoneOf(BTreeSet<String>),
}

impl Selector {
    /// Says whether something with these labels is selected.
    pub(crate) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.is {
                Is::There => value.is_some(),
                Is::NotThere => value.is_none(),
                Is::OneOf(values) => value.is_some_and(|value| values.contains(value)),
                Is::NoneOf(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let requirements = pieces(text).map(|piece| requirement(piece.trim()));
        requirements.collect::<Result<_, String>>().map(Self)
    }
}

/// Splits at the commas that are not in parentheses.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
}

fn requirement(text: &str) -> Result<Requirement, String> {
    if text.is_empty() {
        return Err("a requirement is empty: write it like tier=front,!draft".to_owned());
    }
    if let Some(key) = text.strip_prefix('!') {
        return made(key, Is::NotThere);
    }
    if let Some(at) = text.find(['=', '!']) {
        let (key, rest) = text.split_at(at);
        let operators = [("!=", false), ("==", true), ("=", true)];
        let found = operators
            .iter()
            .find_map(|(sign, equal)| Some((rest.strip_prefix(sign)?, *equal)));
        let (value, equal) = found.ok_or_else(|| format!("{text:?}: write != for not equal"))?;
        let values = BTreeSet::from([checked_value(value)?]);
        return made(
            key,
            if equal {
                Is::OneOf(values)
            } else {
                Is::NoneOf(values)
            },
        );
    }
    let Some((key, rest)) = text.split_once(char::is_whitespace) else {
        return match text.contains(['(', ')']) {
            true => Err(format!("{text:?}: write it like tier in (front, back)")),
            false => made(text, Is::There),
        };
    };
    let rest = rest.trim();
    let (positive, rest) = match (rest.strip_prefix("notin"), rest.strip_prefix("in")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => {
            return Err(format!(
                "{text:?}: there is =, ==, !=, in, notin, KEY and !KEY"
            ));
        }
    };
    let values = rest.trim().strip_prefix('(');
    let values = values.and_then(|rest| rest.strip_suffix(')'));
    let values = values.ok_or_else(|| format!("{text:?}: write it like tier in (front, back)"))?;
    let values = values.split(',').map(checked_value);
    let values = values.collect::<Result<BTreeSet<String>, String>>()?;
    made(
        key,
        if positive {
            Is::OneOf(values)
        } else {
            Is::NoneOf(values)
        },
    )
}

fn made(key: &str, is: Is) -> Result<Requirement, String> {
    let key = key.trim();
    if key.is_empty() || !is_label(key) {
        return Err(format!("{key:?} is not the key of a label"));
    }
    Ok(Requirement {
        key: key.to_owned(),
        is,
    })
}

fn checked_value(text: &str) -> Result<String, String> {
    let text = text.trim();
    match is_label(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not the value of a label")),
    }
}

fn is_label(text: &str) -> bool {
    let known = |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
    text.len() <= LONGEST && text.chars().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        pairs.collect()
    }

    #[test]
    fn each_operator_selects_what_kubectls_does() {
        let front = labels(&[("tier", "front"), ("env", "prod"), ("empty", "")]);
        for (text, selected) in [
            ("tier=front", true),
            ("tier == front", true),
            ("tier=back", false),
            ("none=front", false),
            ("tier!=front", false),
            ("tier != back", true),
            ("none!=front", true),
            ("tier in (front, back)", true),
            ("tier in (back)", false),
            ("none in (back)", false),
            ("tier notin (front,back)", false),
            ("tier notin(back)", true),
            ("none notin (back)", true),
            ("tier", true),
            ("none", false),
            ("!tier", false),
            ("! none", true),
            ("empty=", true),
            ("empty in ()", true),
            ("tier=", false),
            ("tier=front,env in (test,prod),!none", true),
            ("tier=front,env notin (test,prod)", false),
        ] {
            let selector: Selector = text.parse().expect("a selector");
            assert_eq!(selector.selects(&front), selected, "{text}");
        }
        assert!(Selector::default().selects(&front));
    }

    #[test]
    fn what_is_no_selector_is_refused_with_how_it_is_written() {
        for (text, why) in [
            (
                "",
                "a requirement is empty: write it like tier=front,!draft",
            ),
            (
                "tier,",
                "a requirement is empty: write it like tier=front,!draft",
            ),
            ("=front", "\"\" is not the key of a label"),
            ("tier=a=b", "\"a=b\" is not the value of a label"),
            (
                "ti er",
                "\"ti er\": there is =, ==, !=, in, notin, KEY and !KEY",
            ),
            (
                "tier in front",
                "\"tier in front\": write it like tier in (front, back)",
            ),
            (
                "tier in (front",
                "\"tier in (front\": write it like tier in (front, back)",
            ),
            ("in(a)", "\"in(a)\": write it like tier in (front, back)"),
            ("tier!front", "\"tier!front\": write != for not equal"),
            ("t?", "\"t?\" is not the key of a label"),
        ] {
            assert_eq!(text.parse::<Selector>(), Err(why.to_owned()), "{text}");
        }
    }
}
