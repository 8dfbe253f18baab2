//! Sets what is explained as kubectl does. PURE.

use super::tree::Place;
use crate::ctl::manifest::API_VERSION;

/// The widest that a line of what is said gets.
const WIDTH: usize = 80;

/// Sets a kind or a field, and what it is made of.
pub(super) fn page(place: &Place, recursive: bool) -> String {
    let mut text = format!(
        "KIND:       {}\nVERSION:    {API_VERSION}\n\n",
        place.kind()
    );
    if place.path.len() > 1 {
        text += &format!("FIELD: {}{}\n\n", place.name(), marks(place));
    }
    text += "DESCRIPTION:\n";
    let said = [wrapped(&place.about, 4), wrapped(&place.about_shape(), 4)];
    text += &said.join(if said.contains(&String::new()) {
        ""
    } else {
        "\n"
    });
    let words = place.words();
    if !words.is_empty() {
        text += "\nONE OF:\n";
        for (word, about) in words {
            text += &format!("  {word}\n{}", wrapped(&about, 4));
        }
    }
    let parts = place.parts();
    if parts.is_empty() {
        return text;
    }
    text += "\nFIELDS:\n";
    if recursive {
        names(&mut text, &parts, 2);
        return text;
    }
    // what a kind says is in its spec, and asked for with it
    let spec = parts
        .iter()
        .filter(|part| place.path.len() == 1 && part.name() == "spec");
    let within: Vec<Place> = spec.flat_map(Place::parts).collect();
    let parts: Vec<String> = parts
        .iter()
        .chain(&within)
        .map(|part| {
            let name = part.path[place.path.len()..].join(".");
            format!("  {name}{}\n{}", marks(part), about(part))
        })
        .collect();
    text + &parts.join("\n")
}

/// Gives what is said of a field among others: of its type only where nothing is said of itself.
fn about(part: &Place) -> String {
    match part.about.as_str() {
        "" => wrapped(&part.about_shape(), 4),
        about => wrapped(about, 4),
    }
}

fn marks(place: &Place) -> String {
    let required = if place.required { " -required-" } else { "" };
    format!(" <{}>{required}", place.typed())
}

fn names(text: &mut String, parts: &[Place], depth: usize) {
    for part in parts {
        *text += &format!("{:depth$}{}{}\n", "", part.name(), marks(part));
        names(text, &part.parts(), depth + 2);
    }
}

/// Breaks what is said into lines, each so far in.
fn wrapped(said: &str, depth: usize) -> String {
    let mut text = String::new();
    for paragraph in said.split("\n\n") {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && depth + line.chars().count() + 1 + word.chars().count() > WIDTH {
                text += &format!("{:depth$}{line}\n", "");
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
        if !line.is_empty() {
            text += &format!("{:depth$}{line}\n", "");
        }
    }
    text
}
