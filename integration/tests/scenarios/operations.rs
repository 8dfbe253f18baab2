//! Ten thousand random operations beside what is not weir's: services, sets, addresses, routes and rules, some
//! in the very way of ours. None is touched.
//!
//! The plan and the kernel door work in this process; programs are started only to look at the kernel as an
//! operator does. `WEIR_SEED` gives another number to begin with than 1.

mod foreign;
mod node;
mod world;

use anyhow::{Context, Result, ensure};
use weir_agent::plan::Scope;
use weir_integration::netns::Netns;
use weir_integration::random::Random;

use self::foreign::Foreign;
use self::node::Node;
use self::world::Operation;

const OPERATIONS: usize = 10_000;
/// A look costs a dozen programs, some 15 ms each in the test kernel.
const LOOK_EVERY: usize = 500;
/// An audit starts iptables, and so does a restart.
const AUDIT_EVERY: usize = 250;
const RESTART_EVERY: usize = 600;
const CLEANUP_EVERY: usize = 2_500;
/// Most operations that come in one update.
const MOST_AT_ONCE: usize = 16;

#[test]
fn ten_thousand_random_operations_touch_nothing_of_somebody_elses() -> Result<()> {
    let seed = match std::env::var("WEIR_SEED") {
        Ok(seed) => seed.parse().context("WEIR_SEED is not a number")?,
        Err(_) => 1,
    };
    let netns = Netns::create("operations")?;
    let done = netns.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let clean = foreign::everything()?;
        let before = Foreign::lay()?;
        runtime.block_on(operate(&before, seed))?;
        before.remove()?;
        ensure!(foreign::everything()? == clean, "not all was cleaned up");
        Ok(())
    })?;
    done.with_context(|| format!("WEIR_SEED={seed}"))
}

async fn operate(before: &Foreign, seed: u64) -> Result<()> {
    let mut random = Random::new(seed);
    let mut node = Node::start().await?;
    // the link of ours is there before somebody puts addresses of his own on it
    node.take(Operation::first());
    node.pass(&Scope::All, None).await?;
    before.lay_on_our_link()?;
    node.cleanup().await?;
    let foreign = before.with_our_link()?;

    let mut done = 0;
    while done < OPERATIONS {
        let from = done;
        for _ in 0..=random.below(MOST_AT_ONCE) {
            let operation = Operation::random(&mut random, node.state());
            node.take(operation);
            done += 1;
        }
        let every = |count: usize| from / count != done / count;
        let context = || format!("operation {done}");
        if every(RESTART_EVERY) {
            // killed somewhere in the pass; what begins again looks at everything
            let cut = random.below(2 * MOST_AT_ONCE);
            node.pass_due(Some(cut)).await.with_context(context)?;
            node.restart().await?;
            node.pass(&Scope::All, None).await.with_context(context)?;
        } else if every(AUDIT_EVERY) {
            node.somebody_deletes_one_of_ours(&mut random).await?;
            node.pass(&Scope::All, None).await.with_context(context)?;
        } else {
            node.pass_due(None).await.with_context(context)?;
        }
        if every(LOOK_EVERY) {
            node.holds_what_it_should().await.with_context(context)?;
            foreign.is_untouched().with_context(context)?;
        }
        if every(CLEANUP_EVERY) {
            node.cleanup().await.with_context(context)?;
            foreign.is_all_there_is().with_context(context)?;
        }
    }
    let tally = node.tally();
    println!("{tally:?}");
    // each kind of thing was really done, and stood in the way of
    ensure!(
        tally.added > 1_000 && tally.edited > 100 && tally.removed > 1_000,
        "{tally:?}"
    );
    ensure!(tally.refused > 10 && tally.conflicts > 100, "{tally:?}");
    node.cleanup().await?;
    foreign.is_all_there_is()?;
    before.leave_our_link()?;
    node.cleanup().await?;
    ensure!(node.owns_nothing(), "the ledger is not empty");
    Ok(())
}
