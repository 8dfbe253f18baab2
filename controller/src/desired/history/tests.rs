use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;
use weir_proto::model::NodeName;

use super::super::samples::stored_at;
use super::super::tests::operation;
use super::super::{Change, Desired, Places, reference};
use super::*;
use crate::store::{read_resource, written_resource};

fn past(revision: u64, bytes: usize) -> Past {
    let web = reference(Kind::Service, "web");
    Past {
        revision: Revision(revision),
        unix_ms: 0,
        who: "anonymous".to_owned(),
        what: What::Apply.to_string(),
        changes: vec![(web.clone(), Outcome::Updated)],
        drains: Vec::new(),
        before: Some([(web, vec![0; bytes].into())].into()),
    }
}

fn revisions(history: &History) -> Vec<u64> {
    history.last(usize::MAX).map(|it| it.revision.0).collect()
}

#[test]
fn the_history_keeps_the_last_hundred_writes_and_says_which_go() {
    let mut history = History::default();
    for revision in 1..=100 {
        let kept = Arc::new(past(revision, 1));
        let batch = history.push(past(revision, 1));
        assert_eq!(batch, [(kept.revision, Some(kept))].into());
    }
    let batch = history.push(past(107, 1));
    assert_eq!(batch.get(&Revision(1)), Some(&None));
    assert_eq!(batch.len(), 2);
    let kept: Vec<u64> = (2..=100).chain([107]).rev().collect();
    assert_eq!(revisions(&history), kept);
    assert_eq!(history.bytes, 100);
    let newest = Revision(110);
    assert_eq!(history.undone(Revision(0), newest), Err(Revision(1)));
    assert_eq!(history.undone(Revision(111), newest), Err(Revision(1)));
    let undone = history.undone(Revision(1), newest).expect("it is kept");
    assert_eq!(undone.len(), 1);
    let undone = history.undone(Revision(108), newest).expect("it is kept");
    assert_eq!(undone, BTreeMap::new());
    assert_eq!(revisions(&history).len(), history.last(100).count());
    assert_eq!(history.last(3).count(), 3);
}

#[test]
fn what_is_too_much_to_keep_is_forgotten_from_the_oldest_on_and_nobody_goes_back_past_it() {
    let mut history = History::default();
    for revision in 1..=3 {
        history.push_within(past(revision, 10), 35);
    }
    let batch = history.push_within(past(4, 20), 35);
    let forgotten = |revision| {
        let past = Past {
            before: None,
            ..past(revision, 0)
        };
        (Revision(revision), Some(Arc::new(past)))
    };
    let newest = (Revision(4), Some(Arc::new(past(4, 20))));
    assert_eq!(batch, [forgotten(1), forgotten(2), newest].into());
    assert_eq!(revisions(&history), [4, 3, 2, 1]);
    assert_eq!(history.bytes, 30);
    assert_eq!(
        history.undone(Revision(1), Revision(4)),
        Err(Revision(2)),
        "what 2 changed is not known any more"
    );
    assert!(history.undone(Revision(2), Revision(4)).is_ok());
}

#[test]
fn an_empty_history_leads_back_to_where_the_cluster_is() {
    let history = History::default();
    let now = Revision(7);
    assert_eq!(history.undone(now, now), Ok(BTreeMap::new()));
    assert_eq!(history.undone(Revision(6), now), Err(now));
}

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<(ResourceRef, Option<Resource>)>),
    /// An agent says where its node is.
    Register(&'static str, u8),
    /// Back by so many revisions.
    Back(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let nodes = proptest::sample::select(&["x", "y", "z"][..]);
    prop_oneof![
        8 => proptest::collection::vec(operation(), 1..4).prop_map(Step::Apply),
        2 => (nodes, 1..4_u8).prop_map(|(name, host)| Step::Register(name, host)),
        1 => (0..6_u64).prop_map(Step::Back),
    ]
}

#[derive(Default)]
struct Model {
    desired: Desired,
    history: History,
    revision: u64,
    /// What was there at each revision.
    then: Vec<BTreeMap<ResourceRef, Resource>>,
    /// The nodes whose agents said hello.
    registered: BTreeSet<NodeName>,
}

impl Model {
    fn resources(&self) -> BTreeMap<ResourceRef, Resource> {
        let all = self.desired.resources().all();
        all.map(|it| (it.resource.reference(), it.resource.clone()))
            .collect()
    }

    fn write(&mut self, change: Change, kept: bool) {
        if change.writes.is_empty() {
            return;
        }
        self.revision += 1;
        let revision = Revision(self.revision);
        if kept {
            let before = change.writes.keys().filter_map(|reference| {
                let stored = self.desired.resources().get(reference)?;
                Some((reference.clone(), written_resource(stored).into()))
            });
            let changes = change.writes.keys();
            self.history.push(Past {
                before: Some(before.collect()),
                changes: changes
                    .map(|reference| (reference.clone(), change.outcomes[reference]))
                    .collect(),
                ..past(self.revision, 0)
            });
        }
        self.desired.take(change, revision);
        self.then.push(self.resources());
    }

    fn back(&mut self, to: u64) -> Result<(), TestCaseError> {
        let undone = self.history.undone(Revision(to), Revision(self.revision));
        let Ok(undone) = undone else {
            prop_assert!(false, "{to} of {} is kept", self.revision);
            return Ok(());
        };
        let before = undone.into_iter().map(|(reference, bytes)| {
            let resource = bytes.map(|bytes| read_resource(bytes).expect("a resource").resource);
            (reference.clone(), resource)
        });
        let batch = going_back(self.desired.resources(), before);
        let checked = self.desired.check(&batch, &Places::default());
        prop_assert!(checked.is_ok(), "{checked:?}");
        let change = self.desired.prepare(batch);
        self.write(change, true);
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Apply(operations) => {
                let can_be_said = |resource: &Resource| {
                    let stored = stored_at(resource.clone(), 1);
                    read_resource(&written_resource(&stored)).is_ok()
                };
                let (deletions, puts): (Batch, Batch) = operations
                    .into_iter()
                    .filter(|(_, it)| it.as_ref().is_none_or(can_be_said))
                    .partition(|(_, it)| it.is_none());
                let refs: Vec<ResourceRef> = deletions.into_keys().collect();
                if let Ok(batch) = self.desired.deletion(&refs) {
                    let change = self.desired.prepare(batch);
                    self.write(change, true);
                }
                if self.desired.check(&puts, &Places::default()).is_ok() {
                    let change = self.desired.prepare(puts);
                    self.write(change, true);
                }
            }
            Step::Register(name, host) => {
                let name = NodeName::new(name).expect("a name");
                let known = self.desired.resources().node(&name).cloned();
                let new = || Node::new(name.clone(), Default::default(), Vec::new());
                let node = Resource::Node(Node {
                    addresses: vec![IpAddr::from([10, 2, 0, host])],
                    ..known.unwrap_or_else(new)
                });
                self.registered.insert(name);
                let batch = Batch::from([(node.reference(), Some(node))]);
                let change = self.desired.prepare(batch);
                self.write(change, false);
            }
            Step::Back(by) => {
                let oldest = self.history.oldest(Revision(self.revision)).0;
                self.back(self.revision.saturating_sub(by).max(oldest))?;
            }
        }
        Ok(())
    }
}

/// Takes the nodes out, each without the addresses that its agent says.
fn nodes_of(resources: &mut BTreeMap<ResourceRef, Resource>) -> BTreeMap<NodeName, Node> {
    let mut nodes = BTreeMap::new();
    resources.retain(|_, resource| match resource {
        Resource::Node(node) => {
            let node = Node {
                addresses: Vec::new(),
                ..node.clone()
            };
            nodes.insert(node.name.clone(), node);
            false
        }
        Resource::Service(_) | Resource::BackendSet(_) => true,
    });
    nodes
}

proptest! {
    /// Whatever operators wrote, and went back to before: every revision that is kept can be gone back to, and then the
    /// services and backend sets are those of then, no more and no fewer. Nodes neither come nor go: those of then that are
    /// there are what operators said of them, those that operators made since are as they were. One that registered since may
    /// be as it registered.
    #[test]
    fn going_back_gives_exactly_what_was_there(
        steps in proptest::collection::vec(step(), 1..40),
        by in 0..40_u64,
    ) {
        let mut model = Model { then: vec![BTreeMap::new()], ..Model::default() };
        for step in steps {
            model.step(step)?;
        }
        let oldest = model.history.oldest(Revision(model.revision)).0;
        let to = model.revision.saturating_sub(by).max(oldest);
        let mut then = model.then[usize::try_from(to).expect("small")].clone();
        let mut before = model.resources();
        model.back(to)?;
        let mut now = model.resources();
        let [nodes_then, nodes_before, nodes_now] =
            [&mut then, &mut before, &mut now].map(nodes_of);
        prop_assert_eq!(&now, &then);
        let names = |nodes: &BTreeMap<NodeName, Node>| -> Vec<NodeName> {
            nodes.keys().cloned().collect()
        };
        prop_assert_eq!(names(&nodes_now), names(&nodes_before));
        for (name, node) in &nodes_now {
            let stays = || nodes_before.get(name).filter(|_| !model.registered.contains(name));
            let was = nodes_then.get(name).or_else(stays);
            prop_assert_eq!(Some(node), was.or(Some(node)));
        }
    }
}
