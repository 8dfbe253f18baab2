//! The blocks of a keepalived.conf: words, and what stands in braces after them. PURE.

use super::lines::Line;
use crate::ctl::import::draft::{Place, Read};

/// How deep blocks may nest; keepalived's own keywords nest five deep.
const DEEPEST: usize = 32;

/// Words, and the block they open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) at: Place,
    /// At least one.
    pub(crate) words: Vec<String>,
    pub(crate) block: Option<Vec<Statement>>,
}

impl Statement {
    /// Gives the first word.
    pub(crate) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Gives a word after the first.
    pub(crate) fn word(&self, place: usize) -> Option<&str> {
        self.words.get(place).map(String::as_str)
    }

    /// Gives what stands in its block.
    pub(crate) fn inside(&self) -> &[Statement] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Reads lines into statements. What is wrong goes into `read`.
pub(crate) fn statements(lines: &[Line], read: &mut Read) -> Vec<Statement> {
    // The blocks that are open, the outermost first: what opened each, and what stands before that.
    let mut open: Vec<(Statement, Vec<Statement>)> = Vec::new();
    let mut here: Vec<Statement> = Vec::new();
    for line in lines {
        let at = line.at;
        let tokens = match tokens(&line.text) {
            Ok(tokens) => tokens,
            Err(why) => {
                read.fault(at, why);
                continue;
            }
        };
        let mut words = Vec::new();
        for token in tokens {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    // The brace may stand on a line of its own.
                    let header = match std::mem::take(&mut words) {
                        empty if empty.is_empty() => here.pop_if(|last| last.block.is_none()),
                        words => Some(Statement {
                            at,
                            words,
                            block: None,
                        }),
                    };
                    match header {
                        None => {
                            read.fault(at, "a \"{\" with nothing before it");
                            return Vec::new();
                        }
                        Some(_) if open.len() >= DEEPEST => {
                            read.fault(at, "blocks stand in blocks too deep");
                            return Vec::new();
                        }
                        Some(header) => open.push((header, std::mem::take(&mut here))),
                    }
                }
                Token::Close => {
                    flush(at, &mut words, &mut here);
                    let Some((header, before)) = open.pop() else {
                        read.fault(at, "a \"}\" that closes nothing");
                        return Vec::new();
                    };
                    let block = std::mem::replace(&mut here, before);
                    here.push(Statement {
                        block: Some(block),
                        ..header
                    });
                }
            }
        }
        flush(at, &mut words, &mut here);
    }
    for (header, _) in &open {
        let words = header.words.join(" ");
        read.fault(header.at, format!("the \"{{\" of {words} is not closed"));
    }
    match open.is_empty() {
        true => here,
        false => Vec::new(),
    }
}

fn flush(at: Place, words: &mut Vec<String>, here: &mut Vec<Statement>) {
    if !words.is_empty() {
        here.push(Statement {
            at,
            words: std::mem::take(words),
            block: None,
        });
    }
}

enum Token {
    Word(String),
    Open,
    Close,
}

/// Splits a line. Quotes keep spaces and braces together, and go away.
fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' | '\'' => {
                let inside = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        None => return Err(format!("a {letter} is not closed")),
                        Some(end) if end == letter => break,
                        // What an escape stands for matters to scripts alone.
                        Some('\\') => inside.extend(letters.next()),
                        Some(other) => inside.push(other),
                    }
                }
            }
            // What is not defined stays as it is written.
            '$' if letters.peek() == Some(&'{') => {
                let inside = word.get_or_insert_default();
                inside.push('$');
                for letter in letters.by_ref() {
                    inside.push(letter);
                    if letter == '}' {
                        break;
                    }
                }
            }
            '{' | '}' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(match letter {
                    '{' => Token::Open,
                    _ => Token::Close,
                });
            }
            space if space.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            other => word.get_or_insert_default().push(other),
        }
    }
    tokens.extend(word.take().map(Token::Word));
    Ok(tokens)
}
