//! The tour: ten minutes at the terminal, each line of which is run where it says, on two nodes with real traffic; what is
//! shown must be what `deploy/TOUR.md` says. Needs root and a kernel with ip_vs: `integration/run test tour` finds one, and
//! `integration/run tour` writes the record anew.

mod record;
mod script;
mod stage;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_integration::eventually::eventually;
use weir_integration::settled::settled;

use script::{CHAPTERS, Step};
use stage::{SOON, Stage, on_stage};

/// Where the record is.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/TOUR.md");
/// Set to anything: what is shown is written down, and compared with nothing.
const ANEW: &str = "WEIR_TOUR_ANEW";
/// How to make the record, for those who find it wanting.
const MAKE: &str = "integration/run tour writes it anew";

#[test]
fn what_the_tour_shows_is_what_its_record_says() -> Result<()> {
    if std::env::var_os(ANEW).is_some() {
        let shown: Result<Vec<String>> =
            on_stage(|stage| steps().map(|step| plays(stage, step, None)).collect());
        let page = record::page(&CHAPTERS, &shown?)?;
        return fs::write(RECORD, page).context(RECORD);
    }
    let page = fs::read_to_string(RECORD).with_context(|| format!("{RECORD}: {MAKE}"))?;
    let recorded = record::shown(&page);
    ensure!(
        record::page(&CHAPTERS, &recorded)? == page,
        "{RECORD} is not of this script: {MAKE}"
    );
    on_stage(|stage| {
        let mut steps = steps().zip(&recorded);
        steps.try_for_each(|(step, recorded)| plays(stage, step, Some(recorded)).map(drop))
    })
}

fn steps() -> impl Iterator<Item = &'static Step> {
    CHAPTERS.iter().flat_map(|chapter| chapter.steps)
}

/// Does a step and gives what it showed. What only looks is done again until it shows what it must.
fn plays(stage: &mut Stage, step: &Step, recorded: Option<&String>) -> Result<String> {
    let typed = record::typed(step);
    let patience = match step.until {
        None => Duration::ZERO,
        Some(_) => SOON,
    };
    let shown = eventually(&typed, patience, || {
        let shown = stage.does(step)?;
        let now = settled(&shown);
        let awaited = step.until.unwrap_or_default();
        ensure!(now.contains(awaited), "no {awaited:?} in:\n{shown}");
        let differs = recorded.filter(|recorded| settled(recorded) != now);
        ensure!(
            differs.is_none(),
            "shown is\n{shown}\nand recorded, but for times and what was measured,\n{}\n{MAKE}, if that is right",
            differs.map_or("", String::as_str)
        );
        Ok(shown)
    })?;
    println!("{typed}\n{shown}");
    Ok(shown)
}
