use super::super::samples::{
    batch, capability, endpoint, frontend, labels, node, node_name, service, set, stored_at,
};
use super::*;
use weir_proto::model::{Forwarding, Node, Resource, Scheduler};

fn stored(resources: Vec<Resource>) -> Resources {
    let mut all = Resources::default();
    for resource in resources {
        all.put(stored_at(resource, 1));
    }
    all
}

fn problems(now: &Resources, batch: &Batch) -> Vec<String> {
    problems_at(now, batch, &Places::default())
}

fn problems_at(now: &Resources, batch: &Batch, places: &Places) -> Vec<String> {
    said(check(now, batch, places, &Abilities::default()))
}

fn said(checked: Result<(), FieldErrors>) -> Vec<String> {
    match checked {
        Ok(()) => Vec::new(),
        Err(FieldErrors(errors)) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn web() -> Resource {
    Resource::Service(service("web", &["10.1.0.1:80"], &["10.0.0.1:80"]))
}

#[test]
fn a_frontend_claimed_by_another_service_is_refused_by_name() {
    let now = stored(vec![Resource::Service(service(
        "shop",
        &["10.1.0.1:80"],
        &[],
    ))]);
    let clash = batch(vec![web()]);
    assert_eq!(
        problems(&now, &clash),
        ["services[web].frontends[10.1.0.1:80/TCP]: 10.1.0.1:80/TCP is claimed by services[shop]"]
    );
    let mut places = Places::default();
    places.frontend(&web().reference(), frontend("10.1.0.1:80"), 3);
    assert_eq!(
        problems_at(&now, &clash, &places),
        ["services[web].frontends[3]: 10.1.0.1:80/TCP is claimed by services[shop]"]
    );
}

#[test]
fn a_vip_that_is_a_nodes_own_address_is_refused_by_the_nodes_name() {
    let at = |name: &str| {
        Resource::Node(Node {
            addresses: vec![[10, 1, 0, 1].into()],
            ..node(name, &[])
        })
    };
    let refusal = |name: &str| {
        format!(
            "services[web].frontends[10.1.0.1:80/TCP]: 10.1.0.1 is an address of nodes[{name}]: as a VIP it would \
             cut the other nodes off from it"
        )
    };
    let now = stored(vec![at("a")]);
    assert_eq!(problems(&now, &batch(vec![web()])), [refusal("a")]);
    let both = batch(vec![web(), at("b")]);
    assert_eq!(problems(&Resources::default(), &both), [refusal("b")]);
    // in the same batch the node moves away
    let moved = batch(vec![web(), Resource::Node(node("a", &[]))]);
    assert_eq!(problems(&now, &moved), [""; 0]);
    let mut later = now;
    later.remove(&at("a").reference());
    assert_eq!(problems(&later, &batch(vec![web()])), [""; 0]);
}

#[test]
fn two_services_of_one_batch_that_claim_one_frontend_are_both_refused() {
    let both = batch(vec![
        web(),
        Resource::Service(service("shop", &["10.1.0.1:80"], &[])),
    ]);
    assert_eq!(
        problems(&Resources::default(), &both),
        [
            "services[shop].frontends[10.1.0.1:80/TCP]: 10.1.0.1:80/TCP is claimed by services[web]",
            "services[web].frontends[10.1.0.1:80/TCP]: 10.1.0.1:80/TCP is claimed by services[shop]",
        ]
    );
}

#[test]
fn a_frontend_may_pass_from_one_service_to_another_in_one_batch() {
    let now = stored(vec![web()]);
    let moved = batch(vec![
        Resource::Service(service("web", &["10.1.0.2:80"], &[])),
        Resource::Service(service("shop", &["10.1.0.1:80"], &[])),
    ]);
    assert_eq!(problems(&now, &moved), [""; 0]);
}

#[test]
fn one_address_may_have_many_ports_and_protocols() {
    let now = stored(vec![web()]);
    let beside = batch(vec![
        Resource::Service(service("dns", &["10.1.0.1:80/udp"], &[])),
        Resource::Service(service("tls", &["10.1.0.1:443"], &[])),
    ]);
    assert_eq!(problems(&now, &beside), [""; 0]);
}

#[test]
fn a_vip_that_is_the_address_of_a_backend_is_refused_from_either_side() {
    let now = stored(vec![web()]);
    let vip = batch(vec![Resource::Service(service(
        "shop",
        &["10.0.0.1:443"],
        &[],
    ))]);
    assert_eq!(
        problems(&now, &vip),
        [
            "services[shop].frontends[10.0.0.1:443/TCP]: 10.0.0.1 is the address of a backend in services[web]: its traffic would come back to the VIP for ever"
        ]
    );
    let pods = set("pods", "web", &["10.1.0.1:8080"]);
    let behind = batch(vec![Resource::BackendSet(pods)]);
    let mut places = Places::default();
    let of = reference(Kind::BackendSet, "pods");
    places.backend(&of, endpoint("10.1.0.1:8080"), 7);
    assert_eq!(
        problems_at(&now, &behind, &places),
        [
            "backend_sets[pods].backends[7]: 10.1.0.1 is a VIP of services[web]: its traffic would come back to the VIP for ever"
        ]
    );
}

#[test]
fn a_backend_set_needs_its_service() {
    let lone = Resource::BackendSet(set("pods", "web", &["10.0.0.2:80"]));
    let lone = batch(vec![lone]);
    assert_eq!(
        problems(&Resources::default(), &lone),
        ["backend_sets[pods].service: there is no service web"]
    );
    assert_eq!(problems(&stored(vec![web()]), &lone), [""; 0]);
    let mut orphaned = lone.clone();
    orphaned.insert(reference(Kind::Service, "web"), None);
    assert_eq!(
        problems(&stored(vec![web()]), &orphaned),
        ["backend_sets[pods].service: there is no service web"]
    );
}

#[test]
fn a_backend_stands_in_one_set_of_its_service() {
    let one = Resource::BackendSet(set("one", "web", &["10.0.0.2:80", "10.0.0.3:80"]));
    let two = Resource::BackendSet(set("two", "web", &["10.0.0.2:80"]));
    let said = "backend_sets[two].backends[10.0.0.2:80]: 10.0.0.2:80 stands behind service web already, in backend_sets[one]";
    assert_eq!(
        problems(&stored(vec![web(), one.clone()]), &batch(vec![two.clone()])),
        [said]
    );
    assert_eq!(
        problems(&stored(vec![web()]), &batch(vec![one, two])),
        [said]
    );
}

#[test]
fn a_service_and_its_set_may_name_the_same_backend() {
    let pods = Resource::BackendSet(set("pods", "web", &["10.0.0.1:80*9"]));
    assert_eq!(problems(&stored(vec![web()]), &batch(vec![pods])), [""; 0]);
}

#[test]
fn a_backend_that_does_not_fit_its_service_is_refused_whichever_changes() {
    let pods = Resource::BackendSet(set("pods", "web", &["fd00::1:80", "10.0.0.2:80"]));
    let said = "backend_sets[pods].backends[[fd00::1]:80]: fd00::1 is not of the family of frontend 10.1.0.1:80/TCP";
    assert_eq!(problems(&stored(vec![web()]), &batch(vec![pods])), [said]);
    let pods = Resource::BackendSet(set("pods", "web", &["10.0.0.2:8080"]));
    let direct = Resource::Service(weir_proto::model::Service {
        forwarding: Forwarding::DirectRoute,
        ..service("web", &["10.1.0.1:80"], &[])
    });
    assert_eq!(
        problems(&stored(vec![web(), pods]), &batch(vec![direct])),
        [
            "backend_sets[pods].backends[10.0.0.2:8080]: port 8080 differs from frontend port 80, and DIRECT_ROUTE cannot rewrite ports"
        ]
    );
}

#[test]
fn every_problem_of_a_batch_is_found_at_once() {
    let now = stored(vec![web()]);
    let bad = batch(vec![
        Resource::Service(service("shop", &["10.1.0.1:80"], &["10.1.0.1:8080"])),
        Resource::BackendSet(set("pods", "gone", &[])),
    ]);
    let found = problems(&now, &bad);
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn a_frontend_that_passed_to_another_service_is_claimed_there() {
    let mut now = stored(vec![web()]);
    // written in order of name: the new claim comes before the old one goes
    let taken = service("shop", &["10.1.0.1:80"], &[]);
    now.put(stored_at(Resource::Service(taken), 2));
    let left = service("web", &["10.1.0.2:80"], &[]);
    now.put(stored_at(Resource::Service(left), 2));
    let third = batch(vec![Resource::Service(service("x", &["10.1.0.1:80"], &[]))]);
    assert_eq!(
        problems(&now, &third),
        ["services[x].frontends[10.1.0.1:80/TCP]: 10.1.0.1:80/TCP is claimed by services[shop]"]
    );
}

#[test]
fn services_that_share_a_vip_bind_it_alike() {
    let open = weir_proto::model::Service {
        lockdown: false,
        vip_binding: weir_proto::model::VipBinding::Route,
        ..service("ssh", &["10.1.0.1:22", "10.1.0.1:2222"], &[])
    };
    let alone = batch(vec![Resource::Service(open.clone())]);
    assert_eq!(
        problems(&stored(vec![web()]), &alone),
        [
            "services[ssh].vip_binding: ROUTE, and ADDRESS in services[web], which shares the VIP 10.1.0.1",
            "services[ssh].lockdown: false, and true in services[web], which shares the VIP 10.1.0.1",
        ]
    );
    let web = weir_proto::model::Service {
        lockdown: open.lockdown,
        vip_binding: open.vip_binding,
        ..service("web", &["10.1.0.1:80"], &[])
    };
    let both = batch(vec![Resource::Service(open), Resource::Service(web)]);
    assert_eq!(
        problems(&stored(vec![self::web()]), &both),
        Vec::<String>::new()
    );
}

/// Nodes a and b of rack 1 that lack twos, IPv6 and SCTP, and c of rack 2 of which nothing is known.
fn racks() -> (Resources, Abilities) {
    let mut abilities = Abilities::default();
    for name in ["a", "b"] {
        let lacks = ["scheduler_twos", "ipv6", "protocol_sctp"].map(|lacked| {
            let how = format!("{name} wants {lacked}");
            capability(lacked, &how)
        });
        abilities.learn(node_name(name), lacks.to_vec());
    }
    let nodes = [("a", "1"), ("b", "1"), ("c", "2")];
    let nodes = nodes.map(|(name, rack)| Resource::Node(node(name, &[("rack", rack)])));
    (stored(nodes.to_vec()), abilities)
}

fn balanced_in_rack(rack: &str, scheduler: Scheduler, frontends: &[&str]) -> Resource {
    Resource::Service(Service {
        scheduler,
        node_selector: labels(&[("rack", rack)]),
        ..service("web", frontends, &[])
    })
}

#[test]
fn a_service_that_no_selected_node_can_run_is_refused_where_it_asks_for_too_much() {
    let (now, abilities) = racks();
    let said = |places: &Places, scheduler, frontends: &[&str]| {
        let batch = batch(vec![balanced_in_rack("1", scheduler, frontends)]);
        said(check(&now, &batch, places, &abilities))
    };
    let places = Places::default();
    let twos = Scheduler::TwoChoices;
    assert_eq!(
        said(&places, twos, &["10.1.0.1:80"]),
        [
            "services[web].scheduler: no selected node can run it: a lacks scheduler_twos: a wants scheduler_twos; \
             nor can 1 more node"
        ]
    );
    let mut places = places;
    places.frontend(&web().reference(), frontend("fd00::1:80"), 1);
    let both = ["10.1.0.1:80", "fd00::1:80"];
    assert_eq!(
        said(&places, Scheduler::Maglev, &both),
        [
            "services[web].frontends[1]: no selected node can run it: a lacks ipv6: a wants ipv6; nor can 1 more node"
        ]
    );
    assert_eq!(said(&places, Scheduler::Maglev, &["10.1.0.1:80"]), [""; 0]);
}

#[test]
fn a_service_that_one_selected_node_may_run_is_accepted() {
    let (mut now, mut abilities) = racks();
    let twos = |rack| {
        batch(vec![balanced_in_rack(
            rack,
            Scheduler::TwoChoices,
            &["10.1.0.1:80"],
        )])
    };
    // nothing is known of c, and no node is in rack 3
    for rack in ["2", "3"] {
        assert_eq!(
            said(check(&now, &twos(rack), &Places::default(), &abilities)),
            [""; 0]
        );
    }
    abilities.learn(node_name("b"), vec![capability("scheduler_twos", "")]);
    assert_eq!(
        said(check(&now, &twos("1"), &Places::default(), &abilities)),
        [""; 0]
    );
    // in the same batch b leaves the rack, or goes altogether
    for becomes in [Some(Resource::Node(node("b", &[("rack", "2")]))), None] {
        let mut moved = twos("1");
        moved.insert(reference(Kind::Node, "b"), becomes);
        let said = said(check(&now, &moved, &Places::default(), &abilities));
        assert_eq!(
            said,
            [
                "services[web].scheduler: no selected node can run it: a lacks scheduler_twos: a wants scheduler_twos"
            ]
        );
    }
    // and c comes in
    now.remove(&reference(Kind::Node, "b"));
    let mut moved = twos("1");
    let comes = Resource::Node(node("c", &[("rack", "1")]));
    moved.insert(comes.reference(), Some(comes));
    assert_eq!(
        said(check(&now, &moved, &Places::default(), &abilities)),
        [""; 0]
    );
}

#[test]
fn a_service_that_was_accepted_can_be_changed_unless_it_asks_for_more() {
    let (mut now, abilities) = racks();
    let twos = Scheduler::TwoChoices;
    now.put(stored_at(balanced_in_rack("1", twos, &["10.1.0.1:80"]), 1));
    let said = |changed| {
        let batch = batch(vec![changed]);
        said(check(&now, &batch, &Places::default(), &abilities)).len()
    };
    assert_eq!(said(balanced_in_rack("1", twos, &["10.1.0.1:80"])), 0);
    assert_eq!(said(balanced_in_rack("1", twos, &["10.1.0.2:8080"])), 0);
    assert_eq!(
        said(balanced_in_rack("1", Scheduler::Maglev, &["10.1.0.1:80"])),
        0
    );
    assert_eq!(
        said(balanced_in_rack("1", twos, &["10.1.0.1:80", "fd00::1:80"])),
        1
    );
    let elsewhere = balanced_in_rack("2", twos, &["10.1.0.1:80"]);
    now.put(stored_at(elsewhere, 2));
    let batch = batch(vec![balanced_in_rack("1", twos, &["10.1.0.1:80"])]);
    let checked = check(&now, &batch, &Places::default(), &abilities);
    assert!(checked.is_err(), "other nodes are selected");
}

#[test]
fn a_node_has_no_vip_for_an_address() {
    let node = Resource::Node(weir_proto::model::Node {
        addresses: vec![[192, 0, 2, 7].into(), [10, 1, 0, 1].into()],
        ..node("a", &[])
    });
    assert_eq!(
        problems(&stored(vec![web()]), &batch(vec![node])),
        [
            "nodes[a].addresses[1]: 10.1.0.1 is a VIP of services[web]: bound, it would cut the other nodes off from this one"
        ]
    );
}
