use tokio::sync::oneshot;

use super::tests::{Rig, backend, frontend, key, listener, service, web};
use super::*;
use crate::kernel::StepError;
use crate::kernel::fake::Fake;
use crate::plan::{Object, Problem, Setting, Trial, Tried, Visit, Visited, Visits, begun};
use weir_proto::model::{ConnectionState, Item, Scheduler};

impl Rig {
    /// Asks what something would do.
    async fn inquire(&self, trial: Trial) -> Result<Tried, String> {
        let (answer, answered) = oneshot::channel();
        let inquiry = Inquiry { trial, answer };
        self.inquiries.send(inquiry).await.expect("running");
        answered.await.expect("an answer")
    }
}

async fn tried(rig: &mut Rig, upserted: Vec<Item>, removed: &[ItemKey]) -> Tried {
    let held = rig.held.clone();
    let change = Change {
        generation: held.generation.next(),
        upserted,
        removed: removed.to_vec(),
    };
    let begun = begun(&change, |key| held.state.get(key), 1);
    let trial = Trial {
        change: Some(change),
        begun,
        ..Trial::default()
    };
    rig.inquire(trial).await.expect("an answer")
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_is_what_is_done_and_nothing_is_done_by_trying() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    let first = tried(&mut rig, web(), &[]).await;
    assert_eq!(kernel.take_steps(), []);
    rig.change(web(), &[]).await;
    assert_eq!(kernel.take_steps(), first.plan.steps);
    kernel.take_reads();
    let changed = vec![backend(11, 9), service(Scheduler::LeastConnection)];
    let second = tried(&mut rig, changed.clone(), &[]).await;
    // it reads what it must, and nothing else
    assert_eq!(
        kernel.take_reads(),
        [Scope::Units([Unit::Service(frontend())].into())]
    );
    assert_eq!(kernel.take_steps(), []);
    rig.change(changed, &[]).await;
    assert_eq!(kernel.take_steps(), second.plan.steps);
}

#[tokio::test(start_paused = true)]
async fn what_would_be_refused_is_no_step_of_what_would_be_done() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    let vip = Key::Item(ItemKey::Vip(listener().address));
    let cause = "10.100.100.100 is an address of this node already";
    let taken = StepError::from(Problem::new(17, cause.to_owned()));
    kernel.fail(vip, taken);
    let tried = tried(&mut rig, web(), &[]).await;
    assert_eq!(tried.failing(), [(vip, cause.to_owned())].into());
    assert_eq!(kernel.take_steps(), []);
    let status = rig.change(web(), &[]).await;
    assert_eq!(status.report.count, 1);
    let mut steps = kernel.take_steps();
    steps.retain(|step| step.key() != vip);
    assert_eq!(steps, tried.plan.steps);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_would_go_is_drained_first() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    let gone = backend(11, 1);
    let tried = tried(&mut rig, vec![], &[gone.key()]).await;
    let steps: Vec<Key> = tried.plan.steps.iter().map(Step::key).collect();
    assert_eq!(steps, [key(&gone)]);
    let going: Vec<ItemKey> = tried.going.iter().map(|it| ItemKey::Backend(*it)).collect();
    assert_eq!(going, [gone.key()]);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_differs_and_what_he_has_himself_does_not() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    let everything = || Trial {
        everything: true,
        ..Trial::default()
    };
    let same = rig.inquire(everything()).await.expect("an answer");
    assert_eq!(same.differing(), BTreeSet::new());
    let (changed, foreign) = (
        key(&backend(11, 1)),
        Key::Item(ItemKey::Vip([192, 0, 2, 9].into())),
    );
    kernel.tamper(|table| {
        if let Some(Object::Backend(spec)) = table.get_mut(&changed) {
            spec.weight = 4;
        }
        table.insert(foreign, Object::Vip(Default::default()));
    });
    let tampered = rig.inquire(everything()).await.expect("an answer");
    assert_eq!(tampered.differing(), [changed].into());
    assert!(!tampered.is_foreign(changed));
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_cannot_be_read_is_told_with_its_cause() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    kernel.fail_reads(1);
    let everything = Trial {
        everything: true,
        ..Trial::default()
    };
    let failed = rig.inquire(everything).await.expect_err("no answer");
    assert!(failed.contains("from the kernel"), "{failed}");
    // whoever asks holds nothing up
    let status = rig.change(vec![backend(11, 3)], &[]).await;
    assert_eq!(status.report, Report::default());
}

#[tokio::test(start_paused = true)]
async fn a_frontend_is_seen_with_all_that_packets_to_it_meet_and_the_visits_of_a_client() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    kernel.take_reads();
    kernel.take_steps();
    let by = |last| Visit {
        frontend: frontend(),
        client: Some([10, 1, 2, last].into()),
    };
    let visited = Visited {
        port: Some(40_000),
        backend: None,
        state: ConnectionState::Established,
    };
    kernel.visit(by(3), visited);
    kernel.visit(by(4), visited);
    let gone = key(&backend(11, 1));
    kernel.tamper(|table| {
        table.remove(&gone);
    });
    let look = Trial {
        visit: Some(by(3)),
        ..Trial::default()
    };
    let tried = rig.inquire(look.clone()).await.expect("an answer");
    let seen = tried.seen(frontend());
    // what should be there and is not, too
    assert!(seen.contains(&gone) && !tried.actual.contains_key(&gone));
    for item in web() {
        assert!(seen.contains(&key(&item)), "{item:?}");
    }
    assert!(seen.contains(&Key::Link) && seen.contains(&Key::Setting(Setting::ForwardV4)));
    // of no concern to IPv4
    assert!(!seen.contains(&Key::Setting(Setting::ForwardV6)));
    let visits = Visits {
        connections: vec![visited],
        count: 1,
    };
    assert_eq!(tried.visits, Some(Ok(visits)));
    // not everything is read for one frontend
    let reads = kernel.take_reads();
    assert!(!reads.contains(&Scope::All), "{reads:?}");
    assert_eq!(kernel.take_steps(), []);
    let nobody = Trial {
        visit: Some(Visit {
            client: None,
            ..by(3)
        }),
        ..look
    };
    let tried = rig.inquire(nobody).await.expect("an answer");
    assert_eq!(tried.visits, None);
}
