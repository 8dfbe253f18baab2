//! The record as a page: a chapter for each thing, what was typed, and what that showed. PURE

use anyhow::{Context, Result, ensure};

use crate::script::{Chapter, INTRODUCTION, Place, Step};

/// What stands at the top.
const MADE: &str = "<!-- Made by `integration/run tour` of what the programs show; a test runs it. Changed in integration/tests/tour, not here. -->\n\n";
/// What is around what a terminal shows.
const FENCE: &str = "```";

/// Gives a step as it is typed.
pub(crate) fn typed(step: &Step) -> String {
    format!("{}{}", step.at.prompt(), step.line)
}

/// Puts chapters and what each of their steps showed on a page.
pub(crate) fn page(chapters: &[Chapter], shown: &[String]) -> Result<String> {
    let mut page = format!("{MADE}{INTRODUCTION}");
    let mut rest = shown.iter();
    for chapter in chapters {
        page += &format!("\n## {}\n\n{}\n{FENCE}text\n", chapter.title, chapter.says);
        for (at, step) in chapter.steps.iter().enumerate() {
            let typed = typed(step);
            let shown = rest.next();
            let shown = shown.with_context(|| format!("nothing shown for: {typed}"))?;
            ensure!(
                !shown.lines().any(|line| is_typed(line) || line == FENCE),
                "{typed}: what it shows looks typed:\n{shown}"
            );
            // a line apart, as people leave one who read what they were shown
            let gap = if at > 0 { "\n" } else { "" };
            page += &format!("{gap}{typed}\n{shown}");
        }
        page += &format!("{FENCE}\n");
    }
    ensure!(rest.next().is_none(), "more is shown than there are steps");
    Ok(page)
}

/// Gives what each step of a page showed.
pub(crate) fn shown(page: &str) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with(FENCE) {
            inside = !inside;
        } else if inside && is_typed(line) {
            // the line that was left before it
            if let Some(last) = shown.last_mut()
                && (last == "\n" || last.ends_with("\n\n"))
            {
                last.pop();
            }
            shown.push(String::new());
        } else if inside && let Some(last) = shown.last_mut() {
            *last += line;
            last.push('\n');
        }
    }
    shown
}

fn is_typed(line: &str) -> bool {
    let mut prompts = Place::ALL.iter().map(|place| place.prompt());
    prompts.any(|prompt| line.starts_with(prompt))
}

#[test]
fn what_is_put_on_a_page_is_found_on_it() -> Result<()> {
    const STEPS: &[Step] = &[
        Step::run(Place::Desk, "weirctl apply"),
        Step::look("weirctl status", "connected"),
        Step::run(Place::NodeA, "true"),
    ];
    let chapter = |title| Chapter {
        title,
        says: "Prose.\n",
        steps: STEPS,
    };
    let chapters = [chapter("One"), chapter("Two")];
    let told = ["created\n", "a\n\nb\n", "", "created\n", "", "c\n"].map(str::to_owned);
    let page = page(&chapters, &told)?;
    assert!(page.contains("\n## Two\n\nProse.\n\n```text\n$ weirctl apply\ncreated\n\n$ weirctl status\n\nnode-a# true\nc\n```\n"), "{page}");
    assert_eq!(shown(&page), told);
    Ok(())
}
