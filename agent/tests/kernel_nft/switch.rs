//! What one engine, or an earlier version, left for the next: each test in a network namespace of its own.

use weir_agent::kernel::linux::{Linux, loopback::Wanted};
use weir_agent::plan::{Key, Ledger, LedgerChange, Object, Step, Table, plan};
use weir_proto::model::Family;

use crate::engines::{BASE, add, entries, entry, must, open, read};
use crate::netns::{in_new_netns, sh};

/// A ledger that has these.
fn ledger(made: &[Key]) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.apply(&LedgerChange {
        made: made.iter().copied().collect(),
        ..LedgerChange::default()
    });
    ledger
}

fn present(keys: &[Key]) -> Table {
    keys.iter().map(|key| (*key, Object::Present)).collect()
}

/// Takes the kernel to what is wanted as the reconciler would, and gives the steps it took.
async fn converge(kernel: &mut Linux, wanted: &[Key], owned: &Ledger) -> Vec<Step> {
    let actual = read(kernel, &entries(0..10)).await;
    let plan = plan(&actual, &present(wanted), owned);
    assert_eq!(plan.conflicts, []);
    must(kernel, &plan.steps).await;
    plan.steps
}

async fn moves_over(from: Wanted, to: Wanted) {
    let ours = [&BASE[..], &entries(0..10)].concat();
    let mut kernel = open(from).await;
    add(&mut kernel, &BASE).await;
    add(&mut kernel, &entries(0..10)).await;
    drop(kernel);

    let mut kernel = open(to).await;
    let steps = converge(&mut kernel, &ours, &ledger(&BASE)).await;
    let first: Vec<&Step> = steps.iter().take(4).collect();
    assert!(
        first.iter().all(|step| matches!(step, Step::Edit { .. })),
        "{steps:?}"
    );
    assert_eq!(read(&mut kernel, &entries(0..10)).await, present(&ours));
    let again = converge(&mut kernel, &ours, &ledger(&BASE)).await;
    assert_eq!(again, [], "nothing is left to do");
}

#[test]
fn what_ipset_held_is_held_by_nftables_and_nothing_is_left_of_it() {
    in_new_netns(|| async {
        sh(
            "ipset create theirs hash:ip && ipset create WEIR-OTHER hash:ip,port,ip maxelem 1048576",
        );
        moves_over(Wanted::Ipset, Wanted::Nftables).await;
        assert_eq!(sh("nft list tables"), "table inet weir\n");
        assert_eq!(sh("ipset list -n"), "theirs\nWEIR-OTHER\n");
    });
}

#[test]
fn what_nftables_held_is_held_by_ipset_and_nothing_is_left_of_it() {
    in_new_netns(|| async {
        sh("nft add table inet theirs");
        moves_over(Wanted::Nftables, Wanted::Ipset).await;
        assert_eq!(
            sh("nft list tables"),
            "table inet theirs\ntable ip weir\ntable ip6 weir\n"
        );
        assert_eq!(sh("ipset list -n"), "WEIR-LOOPBACK\nWEIR-LOOPBACK-6\n");
    });
}

#[test]
fn entries_are_in_the_new_set_before_its_rule_is_put_up() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Ipset).await;
        add(&mut kernel, &BASE).await;
        add(&mut kernel, &entries(0..10)).await;
        drop(kernel);
        let mut kernel = open(Wanted::Nftables).await;
        let set = Step::Edit {
            key: BASE[0],
            object: Object::Present,
        };
        must(&mut kernel, &[set]).await;
        assert!(sh("nft list set inet weir loopback4").contains("10.7.0.9 . tcp"));
        // and the old one stands until the new rule does
        assert_eq!(sh("ipset list -n"), "WEIR-LOOPBACK\nWEIR-LOOPBACK-6\n");
    });
}

#[test]
fn clean_up_finds_what_either_engine_left() {
    in_new_netns(|| async {
        for (from, to) in [
            (Wanted::Nftables, Wanted::Ipset),
            (Wanted::Ipset, Wanted::Nftables),
        ] {
            let mut kernel = open(from).await;
            add(&mut kernel, &BASE).await;
            add(&mut kernel, &entries(0..10)).await;
            drop(kernel);
            let mut kernel = open(to).await;
            converge(&mut kernel, &[], &ledger(&BASE)).await;
            assert_eq!(sh("nft list tables"), "");
            assert_eq!(sh("ipset list -n"), "");
            assert_eq!(read(&mut kernel, &[]).await, Table::new());
        }
    });
}

#[test]
fn a_set_of_somebody_elses_is_not_taken_for_what_an_engine_left() {
    in_new_netns(|| async {
        sh(
            "ipset create WEIR-LOOPBACK hash:ip,port,ip && ipset add WEIR-LOOPBACK 10.7.0.1,tcp:1,10.7.0.1",
        );
        let mut kernel = open(Wanted::Nftables).await;
        assert_eq!(read(&mut kernel, &[]).await, Table::new());
        add(&mut kernel, &BASE).await;
        assert_eq!(sh("ipset list -n"), "WEIR-LOOPBACK\n");
        assert_eq!(read(&mut kernel, &[entry(1)]).await, present(&BASE));
    });
}

#[test]
fn a_set_with_too_little_room_is_built_anew_under_its_rule() {
    in_new_netns(|| async {
        sh("ipset create WEIR-LOOPBACK hash:ip,port,ip maxelem 500 && \
            ipset add WEIR-LOOPBACK 10.7.0.1,tcp:8080,10.7.0.1");
        let mut kernel = open(Wanted::Ipset).await;
        let rule = Key::LoopbackRule(Family::V4);
        add(&mut kernel, &[rule]).await;
        let found = read(&mut kernel, &[entry(1)]).await;
        let set = Key::LoopbackSet(Family::V4);
        let small = Object::Value("room for 500 entries".to_owned());
        assert_eq!(found[&set], small);
        let steps = converge(&mut kernel, &[set, rule, entry(1)], &ledger(&BASE)).await;
        assert_eq!(
            steps,
            [Step::Edit {
                key: set,
                object: Object::Present,
            }]
        );
        let found = read(&mut kernel, &[entry(1)]).await;
        assert_eq!(found, present(&[set, rule, entry(1)]));
        let shown = sh("ipset list WEIR-LOOPBACK");
        assert!(
            shown.contains("maxelem 1048576") && shown.contains("References: 1"),
            "{shown}"
        );
        assert_eq!(sh("ipset list -n"), "WEIR-LOOPBACK\n");
    });
}

#[test]
fn a_full_set_grows_with_what_did_not_fit() {
    in_new_netns(|| async {
        sh("ipset create WEIR-LOOPBACK hash:ip,port,ip maxelem 500");
        let mut kernel = open(Wanted::Ipset).await;
        let rule = Key::LoopbackRule(Family::V4);
        add(&mut kernel, &[rule]).await;
        // each too small a change to be built aside for itself
        for lot in 0..3 {
            add(&mut kernel, &entries(lot * 400..(lot + 1) * 400)).await;
        }
        let found = read(&mut kernel, &entries(0..1200)).await;
        let set = Key::LoopbackSet(Family::V4);
        let all = [&[set, rule][..], &entries(0..1200)].concat();
        assert_eq!(found, present(&all));
    });
}

#[test]
fn a_large_change_is_built_aside_with_few_messages() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Ipset).await;
        add(&mut kernel, &BASE).await;
        let before = kernel.loopback_counts()[0];
        add(&mut kernel, &entries(0..8000)).await;
        let after = kernel.loopback_counts()[0];
        // fourteen messages of 600, two to a send; beside them: look at the set twice and at what a crash left, ask for
        // the type's revisions, create, swap, look at what was swapped out, destroy
        assert_eq!(after.messages - before.messages, 22);
        assert_eq!(after.sends - before.sends, 15);
        let shown = sh("ipset list -t WEIR-LOOPBACK");
        assert!(shown.contains("hashsize 4096"), "{shown}");
        assert_eq!(sh("ipset list -n"), "WEIR-LOOPBACK\nWEIR-LOOPBACK-6\n");
    });
}

#[test]
fn what_a_crash_left_aside_goes_and_what_somebody_has_there_stays() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Ipset).await;
        add(&mut kernel, &BASE).await;
        sh("ipset create WEIR-LOOPBACK-new hash:ip,port,ip && \
            ipset add WEIR-LOOPBACK-new 192.0.2.1,tcp:1,192.0.2.1");
        add(&mut kernel, &entries(0..1000)).await;
        assert_eq!(sh("ipset list -n"), "WEIR-LOOPBACK\nWEIR-LOOPBACK-6\n");
        assert!(!sh("ipset save WEIR-LOOPBACK").contains("192.0.2.1"));
        // with somebody else's set in the way the change is made in place
        sh("ipset create WEIR-LOOPBACK-new hash:ip");
        add(&mut kernel, &entries(1000..2000)).await;
        let found = read(&mut kernel, &entries(0..2000)).await;
        assert_eq!(found.len(), 2004);
        assert!(sh("ipset list WEIR-LOOPBACK-new").contains("hash:ip\n"));
    });
}

#[test]
fn a_set_far_too_wide_for_what_is_in_it_is_built_anew() {
    in_new_netns(|| async {
        let mut kernel = open(Wanted::Ipset).await;
        add(&mut kernel, &BASE[..1]).await;
        add(&mut kernel, &entries(0..8000)).await;
        let rest: Vec<Step> = (50..8000)
            .map(|number| Step::Remove { key: entry(number) })
            .collect();
        // few at a time, so that each is made in place
        for few in rest.chunks(400) {
            must(&mut kernel, few).await;
        }
        let found = read(&mut kernel, &entries(0..50)).await;
        let wide = Object::Value("4096 buckets for 50 entries".to_owned());
        assert_eq!(found[&BASE[0]], wide);
        must(
            &mut kernel,
            &[Step::Edit {
                key: BASE[0],
                object: Object::Present,
            }],
        )
        .await;
        let all = [&BASE[..1], &entries(0..50)].concat();
        assert_eq!(read(&mut kernel, &entries(0..50)).await, present(&all));
    });
}
