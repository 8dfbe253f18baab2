use super::super::samples::{batch, endpoint, frontend, node, service, set};
use super::*;
use weir_proto::model::{Forwarding, Node, Resource, Revision};

fn stored(resources: Vec<Resource>) -> Resources {
    let mut all = Resources::default();
    for resource in resources {
        all.put(resource, Revision(1));
    }
    all
}

fn problems(now: &Resources, batch: &Batch) -> Vec<String> {
    problems_at(now, batch, &Places::default())
}

fn problems_at(now: &Resources, batch: &Batch, places: &Places) -> Vec<String> {
    match check(now, batch, places) {
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
        ["services[web].frontends[10.1.0.1:80 TCP]: 10.1.0.1:80 TCP is claimed by services[shop]"]
    );
    let mut places = Places::default();
    places.frontend(&web().reference(), frontend("10.1.0.1:80"), 3);
    assert_eq!(
        problems_at(&now, &clash, &places),
        ["services[web].frontends[3]: 10.1.0.1:80 TCP is claimed by services[shop]"]
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
            "services[web].frontends[10.1.0.1:80 TCP]: 10.1.0.1 is an address of nodes[{name}]: as a VIP it would \
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
            "services[shop].frontends[10.1.0.1:80 TCP]: 10.1.0.1:80 TCP is claimed by services[web]",
            "services[web].frontends[10.1.0.1:80 TCP]: 10.1.0.1:80 TCP is claimed by services[shop]",
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
            "services[shop].frontends[10.0.0.1:443 TCP]: 10.0.0.1 is the address of a backend in services[web]: its traffic would come back to the VIP for ever"
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
    let said = "backend_sets[pods].backends[[fd00::1]:80]: fd00::1 is not of the family of frontend 10.1.0.1:80 TCP";
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
    now.put(Resource::Service(taken), Revision(2));
    let left = service("web", &["10.1.0.2:80"], &[]);
    now.put(Resource::Service(left), Revision(2));
    let third = batch(vec![Resource::Service(service("x", &["10.1.0.1:80"], &[]))]);
    assert_eq!(
        problems(&now, &third),
        ["services[x].frontends[10.1.0.1:80 TCP]: 10.1.0.1:80 TCP is claimed by services[shop]"]
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
