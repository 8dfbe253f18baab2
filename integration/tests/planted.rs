//! Each bug that can be planted is caught: the test that `integration/README.md` names for it passes, and fails once the
//! bug is there.
//!
//! Those tests are of other crates, built with the feature `faults`. `integration/run test crash` builds them and says
//! where they are: `WEIR_TESTS_PROTO` and `WEIR_TESTS_AGENT`. What only the simulation catches, it tries itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use weir_proto::faults::Bug;

const README: &str = include_str!("../README.md");

/// A test by the crate that it is in and the name it has there.
type Test = (&'static str, &'static str);

/// The test that runs whole fleets: `integration/run test sim` tries each bug that only that catches.
const SIMULATION: Test = (
    "sim",
    "what_was_accepted_is_what_every_kernel_holds_whatever_fails_meanwhile",
);

/// The cheapest test that fails when a bug is there.
fn catches(bug: Bug) -> Test {
    match bug {
        Bug::LostDelete => (
            "agent",
            "cleanup::tests::what_is_ours_goes_what_is_not_stays_and_the_state_is_forgotten",
        ),
        Bug::AckBeforeJournal => (
            "agent",
            "session::tests::what_is_acknowledged_is_in_the_journal",
        ),
        Bug::PruneOnPartialDump => (
            "agent",
            "kernel::linux::netlink::socket::tests::an_interrupted_dump_is_not_the_whole",
        ),
        Bug::OverlookedIsGone => (
            "agent",
            "reconciler::tests::what_a_dump_overlooks_stays_ours",
        ),
        Bug::LedgerAfterStep => (
            "agent",
            "reconciler::restart_tests::an_agent_cut_off_in_the_middle_of_its_steps_knows_what_it_made",
        ),
        Bug::ForeignPruned => (
            "agent",
            "reconciler::tests::a_foreign_service_just_like_ours_is_told_and_stays",
        ),
        Bug::OlderTaken => ("agent", "plan::fold::tests::an_older_generation_is_refused"),
        Bug::ConflictUnseen => (
            "agent",
            "plan::fold::tests::a_same_generation_with_other_content_is_refused",
        ),
        Bug::DigestUnchecked => (
            "agent",
            "plan::fold::tests::a_state_that_comes_out_with_another_digest_is_refused",
        ),
        Bug::FailedSyncTaken => (
            "proto",
            "disk::tests::after_a_failed_write_nothing_more_is_taken",
        ),
        Bug::WatermarkUnchecked => (
            "proto",
            "disk::tests::an_older_copy_of_the_database_is_refused",
        ),
        Bug::ChecksumUnchecked => (
            "proto",
            "disk::tests::a_record_with_another_checksum_is_damage",
        ),
        Bug::RemoveBeforeAdd | Bug::VipFirst => ("agent", "plan::cases::each_case_gives_its_plan"),
        Bug::BootIgnored => (
            "agent",
            "journal::tests::what_is_ours_is_forgotten_with_the_kernel_it_was_in",
        ),
        Bug::RetryForgotten => (
            "agent",
            "reconciler::restart_tests::what_was_refused_is_tried_again_long_before_the_next_audit",
        ),
        Bug::SnapshotKeepsRest => (
            "agent",
            "plan::fold::tests::a_snapshot_removes_what_it_leaves_out",
        ),
        Bug::PruneBeforeKnown => (
            "agent",
            "reconciler::tests::an_agent_without_its_journal_takes_over_what_hangs_on_its_link",
        ),
        Bug::DrainForgotten => (
            "agent",
            "reconciler::drain_tests::a_drain_goes_on_after_a_restart",
        ),
        Bug::OneCountEnough => (
            "agent",
            "plan::drain::tests::a_backend_that_is_taken_out_stays_at_weight_0_until_it_has_no_connection",
        ),
        Bug::HoldIgnored => (
            "agent",
            "plan::hold::tests::more_than_half_and_more_than_ten_are_held_back",
        ),
        Bug::DoubtIgnored => (
            "agent",
            "reconciler::drain_tests::an_agent_that_is_unsure_leaves_a_kernel_that_serves_as_it_is",
        ),
        Bug::ReorderedDelta
        | Bug::DoubleApply
        | Bug::AckOtherGeneration
        | Bug::GenerationReset
        | Bug::HelloIgnored
        | Bug::WrongBase
        | Bug::StaleSnapshot => SIMULATION,
    }
}

/// How one test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Passed,
    Failed,
}

/// Runs one test as cargo would, with a bug in it or without.
fn run((of, name): Test, bug: Option<Bug>) -> Result<Ended> {
    let variable = format!("WEIR_TESTS_{}", of.to_uppercase());
    let program = std::env::var_os(&variable)
        .with_context(|| format!("no {variable}: integration/run test crash sets it"))?;
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of);
    let mut command = Command::new(program);
    command
        .args(["--exact", name])
        .env_remove("WEIR_PLANT")
        .env_remove("WEIR_FAULT")
        .env("CARGO_MANIFEST_DIR", &home)
        .current_dir(home);
    if let Some(bug) = bug {
        command.env("WEIR_PLANT", bug.name());
    }
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let result = text
        .lines()
        .find_map(|line| line.strip_prefix("test result: "));
    match (output.status.code(), result) {
        (Some(0), Some(result)) if result.starts_with("ok. 1 passed; 0 failed;") => {
            Ok(Ended::Passed)
        }
        (Some(101), Some(result)) if result.starts_with("FAILED. 0 passed; 1 failed;") => {
            Ok(Ended::Failed)
        }
        (status, _) => anyhow::bail!("{name} came to no end ({status:?}):\n{text}"),
    }
}

#[test]
fn each_planted_bug_is_caught_by_its_test_which_passes_without_it() -> Result<()> {
    let tests: BTreeSet<Test> = Bug::ALL.into_iter().map(catches).collect();
    for test in tests.into_iter().filter(|test| *test != SIMULATION) {
        ensure!(run(test, None)? == Ended::Passed, "{} fails", test.1);
    }
    for bug in Bug::ALL {
        let test = catches(bug);
        if test == SIMULATION {
            continue;
        }
        ensure!(
            run(test, Some(bug))? == Ended::Failed,
            "{bug} is there, and {} passes",
            test.1
        );
    }
    Ok(())
}

#[test]
fn the_readme_lists_just_these_bugs_each_with_the_test_that_catches_it() {
    let listed: Vec<String> = README
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            format!("{} {}", cells[1], cells[3])
        })
        .collect();
    let known = Bug::ALL.map(|bug| {
        let (of, name) = catches(bug);
        format!("`{bug}` {of}: `{name}`")
    });
    assert_eq!(listed, known);
}
