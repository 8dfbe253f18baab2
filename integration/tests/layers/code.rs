//! What a source file says to the compiler: its text without comments and without what stands in quotes.

/// Takes comments and the insides of string literals out, and keeps everything else.
pub(crate) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if next == '"' {
            string(rest)
        } else if next == 'r' && !out.ends_with(part_of_a_word) {
            raw_string(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            0
        };
        if skipped == 0 {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            out.push(' ');
            rest = &rest[skipped..];
        }
    }
    out
}

/// Whether `word` stands in `code` as a whole word; what is not a word, such as `std::fs`, is looked for
/// as it is, with no word going on around it.
pub(crate) fn says(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].ends_with(part_of_a_word) && word.starts_with(part_of_a_word);
        let after = code[at + word.len()..].starts_with(part_of_a_word)
            && word.ends_with(part_of_a_word)
            // `std::net::Tcp` stands for all that begins so.
            && !word.contains("::");
        !before && !after
    })
}

pub(crate) fn part_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the string literal that `text` begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw string literal that `text` begins with, or 0 when it begins with none.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let start = 1 + hashes + 1;
    if text[1 + hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = &text[start..];
        inside
            .find(&end)
            .map_or(text.len(), |at| start + at + end.len())
    } else {
        0
    }
}
