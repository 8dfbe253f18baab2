//! Names and labels.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Refused;

/// The longest name and the longest label, in bytes: a DNS label, so that a name can be a host name, a
/// metric label and a file name alike (RFC 1035, section 2.3.4).
const LONGEST: usize = 63;

fn checked(text: &str) -> Result<Arc<str>, Refused> {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let end = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    if bytes.len() <= LONGEST
        && end(bytes.first())
        && end(bytes.last())
        && bytes.iter().all(|b| inside(*b))
    {
        Ok(Arc::from(text))
    } else {
        Err(Refused::Name(text.to_owned()))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes 1-63 characters of a-z, 0-9, "-" and "." with a letter or digit at both ends.
            pub fn new(text: &str) -> Result<Self, Refused> {
                checked(text).map(Self)
            }

            /// Gives the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a service.
    ServiceName
);
name!(
    /// The name of a backend set.
    BackendSetName
);

/// The name of a node.
#[derive(Clone)]
pub struct NodeName {
    /// Its first bytes, as a number that sorts as they do: a controller looks for a node some ten times at each update, and
    /// most names differ here, where a comparison reads nothing but the key itself.
    head: u128,
    text: Arc<str>,
}

impl NodeName {
    /// Takes 1-63 characters of a-z, 0-9, "-" and "." with a letter or digit at both ends.
    pub fn new(text: &str) -> Result<Self, Refused> {
        let text = checked(text)?;
        let mut head = [0; size_of::<u128>()];
        for (head, byte) in head.iter_mut().zip(text.bytes()) {
            *head = byte;
        }
        Ok(Self {
            head: u128::from_be_bytes(head),
            text,
        })
    }

    /// Gives the name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Ord for NodeName {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.head.cmp(&other.head) {
            // no byte of a name is 0: one that ends before its head does is all there
            Ordering::Equal if self.head & 0xff == 0 => Ordering::Equal,
            Ordering::Equal => self.text.cmp(&other.text),
            differ => differ,
        }
    }
}

impl PartialOrd for NodeName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for NodeName {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for NodeName {}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeName").field(&self.text).finish()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What operators write on resources to select them by.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Takes keys and values of at most 63 letters, digits, "-", "_", "." and "/"; gives every
    /// key whose label is refused otherwise.
    pub fn new(
        labels: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<(String, Refused)>> {
        let mut taken = BTreeMap::new();
        let mut refused = Vec::new();
        for (key, value) in labels {
            let bad = if key.is_empty() || !is_label(&key) {
                Some(Refused::Label(key.clone()))
            } else if !is_label(&value) {
                Some(Refused::Label(value.clone()))
            } else {
                None
            };
            match bad {
                Some(why) => refused.push((key, why)),
                None => {
                    taken.insert(key, value);
                }
            }
        }
        if refused.is_empty() {
            Ok(Self(taken))
        } else {
            Err(refused)
        }
    }

    /// Says whether every label of `selector` is here with the same value; an empty one always matches.
    pub fn match_selector(&self, selector: &Labels) -> bool {
        selector
            .0
            .iter()
            .all(|(key, value)| self.0.get(key) == Some(value))
    }

    /// Gives the labels by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_label(text: &str) -> bool {
    text.len() <= LONGEST
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label_that_may_hold_dots() {
        for good in ["a", "web", "web-1", "node-a.rack-3", "0", &"x".repeat(63)] {
            assert_eq!(
                ServiceName::new(good).map(|n| n.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in ["", "-a", "a-", "A", "a b", "a/b", "é", &"x".repeat(64)] {
            assert_eq!(ServiceName::new(bad), Err(Refused::Name(bad.to_owned())));
        }
    }

    #[test]
    fn nodes_are_in_the_order_of_their_names_however_long_these_are() {
        let long = "x".repeat(15);
        let names = [
            "a".to_owned(),
            "a-".to_owned() + "b",
            "a.b".to_owned(),
            "aa".to_owned(),
            long.clone(),
            format!("{long}0"),
            format!("{long}00"),
            format!("{long}01"),
            format!("{long}1"),
            format!("{long}x"),
            "x".repeat(63),
            "z".to_owned(),
        ];
        let mut nodes = names
            .each_ref()
            .map(|name| NodeName::new(name).expect("a name"));
        for (node, name) in nodes.iter().zip(&names) {
            for (other_node, other) in nodes.iter().zip(&names) {
                assert_eq!(node.cmp(other_node), name.cmp(other), "{name} {other}");
                assert_eq!(node == other_node, name == other, "{name} {other}");
            }
        }
        nodes.sort();
        let mut sorted = names;
        sorted.sort();
        assert_eq!(nodes.map(|node| node.to_string()), sorted);
    }

    #[test]
    fn every_refused_label_is_given_with_its_key() {
        let labels =
            [("ok", "1"), ("", "x"), ("k", "a b")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(
            Labels::new(labels),
            Err(vec![
                (String::new(), Refused::Label(String::new())),
                ("k".to_owned(), Refused::Label("a b".to_owned())),
            ])
        );
    }

    #[test]
    fn a_selector_wants_all_its_labels_and_an_empty_one_none() {
        let of = |pairs: &[(&str, &str)]| {
            Labels::new(
                pairs
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
            )
            .expect("labels")
        };
        let node = of(&[("rack", "3"), ("tier", "edge")]);
        assert!(node.match_selector(&of(&[])));
        assert!(node.match_selector(&of(&[("rack", "3")])));
        assert!(!node.match_selector(&of(&[("rack", "4")])));
        assert!(!node.match_selector(&of(&[("rack", "3"), ("zone", "a")])));
    }
}
