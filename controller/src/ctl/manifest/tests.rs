use std::collections::BTreeMap;

use weir_proto::wire;

use super::*;

fn file(name: &str, text: &str) -> File {
    File {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn faults(text: &str) -> Vec<String> {
    let faults = Manifests::read(&[file("web.yaml", text)]).expect_err("there are faults");
    faults.iter().map(Fault::to_string).collect()
}

fn read(text: &str) -> Manifests {
    Manifests::read(&[file("web.yaml", text)]).expect("no faults")
}

const WEB: &str = r#"apiVersion: weir/v1
kind: Service
metadata: {name: web, labels: {tier: front}}
spec:
  frontends:
    - {address: 10.100.100.100, port: 8080, protocol: tcp}
  scheduler: rr
  forwarding: Masquerade
  hairpin: true
  sessionAffinity: {timeoutSeconds: 300}
  nodeSelector: {rack: r3}
  backends:
    - {address: 10.0.0.11, port: 8080, node: node-a, weight: 0}
    - address: 10.0.0.21
      port: 8080
  drain: {deadlineSeconds: 600, onDeadline: reset}
"#;

fn labels(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

#[test]
fn a_service_is_read_with_every_field() {
    let service = wire::Service {
        name: "web".to_owned(),
        labels: labels("tier", "front"),
        frontends: vec![wire::Frontend {
            address: "10.100.100.100".to_owned(),
            port: 8080,
            protocol: wire::Protocol::Tcp.into(),
            ..wire::Frontend::default()
        }],
        scheduler: Some("rr".to_owned()),
        forwarding: Some(wire::Forwarding::Masquerade.into()),
        backends: vec![
            wire::Backend {
                address: "10.0.0.11".to_owned(),
                port: 8080,
                weight: Some(0),
                node: "node-a".to_owned(),
                ..wire::Backend::default()
            },
            wire::Backend {
                address: "10.0.0.21".to_owned(),
                port: 8080,
                weight: None,
                node: String::new(),
                ..wire::Backend::default()
            },
        ],
        session_affinity: Some(wire::SessionAffinity {
            timeout_seconds: Some(300),
            ..wire::SessionAffinity::default()
        }),
        hairpin: Some(true),
        node_selector: labels("rack", "r3"),
        drain: Some(wire::Drain {
            deadline_seconds: Some(600),
            on_deadline: wire::OnDeadline::Reset.into(),
        }),
        ..wire::Service::default()
    };
    assert_eq!(
        read(WEB).resources(),
        [wire::Resource {
            kind: Some(wire::resource::Kind::Service(service)),
            ..wire::Resource::default()
        }]
    );
}

#[test]
fn backend_sets_and_nodes_are_read_from_one_file() {
    let text = "\
apiVersion: weir/v1
kind: BackendSet
metadata: {name: web-a}
spec: {service: web, backends: [{address: fd00::11, port: 80}]}
---
apiVersion: weir/v1
kind: Node
metadata: {name: node-a, revision: 12, createdUnixMs: 1700000000000}
spec: {addresses: [10.0.0.1, \"fd00::1\"]}
---
";
    let set = wire::BackendSet {
        name: "web-a".to_owned(),
        service: "web".to_owned(),
        backends: vec![wire::Backend {
            address: "fd00::11".to_owned(),
            port: 80,
            ..wire::Backend::default()
        }],
        ..wire::BackendSet::default()
    };
    let node = wire::Node {
        name: "node-a".to_owned(),
        addresses: vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()],
        ..wire::Node::default()
    };
    let kinds: Vec<_> = read(text)
        .resources()
        .into_iter()
        .filter_map(|resource| resource.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            wire::resource::Kind::BackendSet(set),
            wire::resource::Kind::Node(node)
        ]
    );
}

#[test]
fn an_unknown_field_is_named_with_the_nearest_one() {
    assert_eq!(
        faults(&WEB.replace("forwarding:", "forwardng:")),
        ["web.yaml:8: unknown field \"forwardng\" in spec; did you mean \"forwarding\"?"]
    );
    assert_eq!(
        faults(&WEB.replace("weight:", "wieght:")),
        ["web.yaml:13: unknown field \"wieght\" in spec.backends[0]; did you mean \"weight\"?"]
    );
    assert_eq!(
        faults(&WEB.replace("labels:", "xyz:")),
        [
            "web.yaml:3: unknown field \"xyz\" in metadata (there is name, labels, revision, createdUnixMs)"
        ]
    );
    assert_eq!(
        faults(&WEB.replace("timeoutSeconds", "timeout")),
        [
            "web.yaml:10: unknown field \"timeout\" in spec.sessionAffinity; did you mean \"timeoutSeconds\"?"
        ]
    );
    assert_eq!(
        faults(&format!("{WEB}status: {{}}\n")),
        [
            "web.yaml:17: unknown field \"status\" in the document (there is apiVersion, kind, metadata, spec)"
        ]
    );
}

#[test]
fn an_unknown_kind_or_version_is_named_with_the_nearest_one() {
    assert_eq!(
        faults(&WEB.replace("kind: Service", "kind: Servce")),
        ["web.yaml:2: unknown kind \"Servce\"; did you mean \"Service\"?"]
    );
    assert_eq!(
        faults(&WEB.replace("kind: Service", "kind: Deployment")),
        ["web.yaml:2: unknown kind \"Deployment\" (there is Service, BackendSet, Node)"]
    );
    assert_eq!(
        faults(&WEB.replace("weir/v1", "weir/v2")),
        ["web.yaml:1: unknown apiVersion \"weir/v2\"; did you mean \"weir/v1\"?"]
    );
}

#[test]
fn a_wrong_type_says_what_was_expected_and_what_was_found() {
    for (from, to, fault) in [
        (
            "port: 8080, protocol",
            "port: http, protocol",
            "web.yaml:6: services[web].frontends[0].port: expected a whole number of 0 or more, found \"http\"",
        ),
        (
            "weight: 0",
            "weight: -1",
            "web.yaml:13: services[web].backends[0].weight: expected a whole number of 0 or more, found the number -1",
        ),
        (
            "hairpin: true",
            "hairpin: yes",
            "web.yaml:9: services[web].hairpin: expected true or false, found \"yes\"",
        ),
        (
            "rack: r3",
            "rack: 3",
            "web.yaml:11: services[web].nodeSelector[rack]: expected a text, found the number 3: write \"3\"",
        ),
        (
            "{timeoutSeconds: 300}",
            "300",
            "web.yaml:10: services[web].sessionAffinity: expected a map, found the number 300",
        ),
        (
            "protocol: tcp",
            "protocol: tpc",
            "web.yaml:6: services[web].frontends[0].protocol: \"tpc\" is not a protocol; did you mean \"TCP\"?",
        ),
        (
            "forwarding: Masquerade",
            "forwarding: NAT",
            "web.yaml:8: services[web].forwarding: \"NAT\" is not a forwarding (there is MASQUERADE, DIRECT_ROUTE, TUNNEL)",
        ),
    ] {
        assert_eq!(faults(&WEB.replace(from, to)), [fault]);
    }
    assert_eq!(
        faults("apiVersion: weir/v1\nkind: Node\nmetadata: x\nspec: []\n"),
        [
            "web.yaml:3: metadata: expected a map, found \"x\"",
            "web.yaml:4: spec: expected a map, found a list"
        ]
    );
    assert_eq!(
        faults("- a\n"),
        ["web.yaml:1: expected a resource, found a list"]
    );
}

#[test]
fn what_the_language_refuses_is_found_with_its_line() {
    assert_eq!(
        faults(
            &WEB.replace("port: 8080, protocol", "port: 0, protocol")
                .replace("rr", "RR")
                .replace("10.0.0.21", "fd00::21")
                .replace("300", "0")
        ),
        [
            "web.yaml:6: services[web].frontends[0].port: 0 is not a port (1-65535)",
            "web.yaml:7: services[web].scheduler: \"RR\" is not a scheduler (rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos)",
            "web.yaml:10: services[web].sessionAffinity.timeoutSeconds: 0 is not an affinity time-out (1-86400 seconds)",
        ]
    );
    assert_eq!(
        faults(&WEB.replace("10.0.0.21", "fd00::21")),
        [
            "web.yaml:14: services[web].backends[1]: fd00::21 is not of the family of frontend 10.100.100.100:8080/TCP"
        ]
    );
}

#[test]
fn each_reason_against_one_backend_is_named() {
    let text = WEB
        .replace("Masquerade", "direct_route")
        .replace("      port: 8080\n", "      port: 81\n")
        .replace("10.0.0.21", "fd00::21");
    assert_eq!(
        faults(&text),
        [
            "web.yaml:14: services[web].backends[1]: fd00::21 is not of the family of frontend 10.100.100.100:8080/TCP",
            "web.yaml:14: services[web].backends[1]: port 81 differs from frontend port 8080, and DIRECT_ROUTE cannot rewrite ports",
        ]
    );
}

#[test]
fn what_is_missing_is_named_where_it_belongs() {
    assert_eq!(
        faults("kind: Service\nmetadata: {}\nspec:\n  backends:\n  - {}\n"),
        [
            "web.yaml:1: apiVersion: missing",
            "web.yaml:2: metadata.name: missing",
            "web.yaml:3: frontends: at least one is needed",
            "web.yaml:5: backends[0].port: missing",
            "web.yaml:5: backends[0].address: missing",
        ]
    );
    assert_eq!(
        faults("apiVersion: weir/v1\nkind: Service\n"),
        [
            "web.yaml:1: metadata.name: missing",
            "web.yaml:1: frontends: at least one is needed",
        ]
    );
}

#[test]
fn a_service_without_frontends_is_told_to_have_one() {
    let line = "    - {address: 10.100.100.100, port: 8080, protocol: tcp}\n";
    let text = WEB.replace(line, "").replace("frontends:", "frontends: []");
    assert_eq!(
        faults(&text),
        ["web.yaml:5: services[web].frontends: at least one is needed"]
    );
}

#[test]
fn a_path_is_told_in_the_words_of_the_file() {
    for (path, words) in [
        ("services[web]", "services[web]"),
        (
            "services[web].session_affinity.timeout_seconds",
            "services[web].sessionAffinity.timeoutSeconds",
        ),
        (
            "services[web].node_selector[my_rack]",
            "services[web].nodeSelector[my_rack]",
        ),
        ("backend_sets[a].backends[0]", "backendSets[a].backends[0]"),
    ] {
        assert_eq!(in_file_words(path), words);
    }
}

#[test]
fn a_duplicate_key_is_refused() {
    assert_eq!(
        faults(&WEB.replace("  hairpin: true", "  scheduler: wrr")),
        ["web.yaml:9: \"scheduler\" is given twice; first on line 7"]
    );
}

#[test]
fn a_resource_given_twice_is_named_with_both_places() {
    let faults = Manifests::read(&[file("a.yaml", WEB), file("b.yaml", WEB)]).expect_err("twice");
    assert_eq!(
        faults.iter().map(Fault::to_string).collect::<Vec<_>>(),
        ["b.yaml:1: services[web] is given twice; first at a.yaml:1"]
    );
}

#[test]
fn every_fault_of_every_file_is_found_at_once() {
    let faults = Manifests::read(&[
        file("a.yaml", &WEB.replace("rr", "rrr")),
        file("b.yaml", "kind: [\n"),
        file("c.yaml", &WEB.replace("hairpin", "harpin")),
    ])
    .expect_err("three faults");
    let places: Vec<_> = faults
        .iter()
        .map(|fault| (fault.file.as_str(), fault.line))
        .collect();
    assert_eq!(places[0], ("a.yaml", 7));
    assert_eq!(places[1].0, "b.yaml");
    assert_eq!(places[2], ("c.yaml", 9));
}

#[test]
fn a_list_holds_resources() {
    let item = WEB.lines().map(|line| format!("  {line}\n"));
    let list = format!(
        "apiVersion: weir/v1\nkind: List\nitems:\n- {}",
        item.collect::<String>().trim_start()
    );
    assert_eq!(read(&list).resources(), read(WEB).resources());
}

#[test]
fn the_controllers_paths_are_found_in_the_files() {
    let node = "apiVersion: weir/v1\nkind: Node\nmetadata:\n  name: web\n";
    let both = Manifests::read(&[file("web.yaml", WEB), file("node.yaml", node)]).expect("good");
    for (path, place) in [
        ("services[web].frontends[0].port", Some(("web.yaml", 6))),
        ("services[web].backends[1].port", Some(("web.yaml", 15))),
        ("services[web].backends[1].node", Some(("web.yaml", 14))),
        ("services[web].labels[tier]", Some(("web.yaml", 3))),
        (
            "services[web].session_affinity.timeout_seconds",
            Some(("web.yaml", 10)),
        ),
        ("services[web]", Some(("web.yaml", 4))),
        ("nodes[web].name", Some(("node.yaml", 4))),
        ("resources[1]", Some(("node.yaml", 3))),
        ("resources[0].frontends", Some(("web.yaml", 5))),
        ("services[other].frontends[0]", None),
        ("expected_revision", None),
    ] {
        assert_eq!(both.locate(path), place, "{path}");
    }
}

#[test]
fn what_is_wrong_with_a_drain_is_told_where_it_stands() {
    let drain = |text: &str| {
        let was = "drain: {deadlineSeconds: 600, onDeadline: reset}";
        faults(&WEB.replace(was, &format!("drain: {text}")))
    };
    assert_eq!(
        drain("{deadline: 5m, onDeadline: cut}"),
        [
            "web.yaml:16: unknown field \"deadline\" in spec.drain; did you mean \"deadlineSeconds\"?",
            "web.yaml:16: services[web].drain.onDeadline: \"cut\" is not a onDeadline (there is KEEP, RESET)",
        ]
    );
    assert_eq!(
        drain("{deadlineSeconds: 604801}"),
        [
            "web.yaml:16: services[web].drain.deadlineSeconds: 604801 is not a drain deadline \
             (0-604800 seconds)"
        ]
    );
}
