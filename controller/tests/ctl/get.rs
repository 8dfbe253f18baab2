//! `get` beyond its tables: names, selectors, lists for programs, and what changes.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitStatus};

use weir_proto::wire::{
    BackendSet, Kind, NodeState, Resource, ResourceRef, Service, WatchResponse, change, resource,
    watch_response::Event,
};

use super::fake::{Fake, changed};
use super::{NODE, Ran, SET, WEB, command, failed, start};

fn web() -> Fake {
    let fake = start();
    let dns = WEB
        .replace("web", "dns")
        .replace("tier: front", "tier: back")
        .replace("port: 8080, protocol: TCP", "port: 53, protocol: UDP");
    let ran = fake.apply(&format!("{WEB}---\n{SET}---\n{dns}---\n{NODE}"));
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    fake
}

#[test]
fn what_is_derived_has_names_that_find_it_again() {
    let fake = web();
    for (arguments, out) in [
        (
            &["get", "frontends", "-o", "name"][..],
            "frontend/10.100.100.100:53/UDP\nfrontend/10.100.100.100:8080/TCP\n",
        ),
        (
            &["get", "frontend/10.100.100.100:53/UDP", "-o", "name"],
            "frontend/10.100.100.100:53/UDP\n",
        ),
        (
            &["get", "fe", "web", "-o", "name"],
            "frontend/10.100.100.100:8080/TCP\n",
        ),
        (
            &["get", "backend/web/10.0.0.31:8080", "-o", "name"],
            "backend/web/10.0.0.31:8080\n",
        ),
        (&["get", "vips", "-o", "name"], "vip/10.100.100.100\n"),
        (
            &["get", "vip", "10.100.100.100", "-o", "yaml"],
            "\
apiVersion: weir/v1
kind: VipList
items:
- address: \"10.100.100.100\"
  vipBinding: ADDRESS
  lockdown: true
  services:
  - dns
  - web
  frontends:
  - 10.100.100.100:53/UDP
  - 10.100.100.100:8080/TCP
",
        ),
        (
            &["get", "svc", "-l", "tier in (front)", "--no-headers"],
            "web   10.100.100.100:8080/TCP   rr   MASQUERADE   3   1   <unknown>\n",
        ),
        (
            &["get", "be", "-l", "tier!=front", "-o", "name"],
            "backend/dns/10.0.0.11:8080\nbackend/dns/10.0.0.21:8080\n",
        ),
        (
            &["get", "nodes", "-l", "!rack", "-o", "name"],
            "node/node-a\n",
        ),
    ] {
        let ran = fake.run(arguments);
        let squeezed = |text: &str| {
            text.split(' ')
                .filter(|it| !it.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            (squeezed(&ran.out), ran.err.as_str()),
            (squeezed(out), ""),
            "{arguments:?}"
        );
    }
    for (arguments, err) in [
        (
            &["get", "vip", "10.9.9.9"][..],
            "error: vip/10.9.9.9 not found\n",
        ),
        (
            &["get", "fe", "10.9.9.9:1/TCP"],
            "error: frontend/10.9.9.9:1/TCP not found\n",
        ),
        (
            &["get", "be", "web/10.9.9.9:1"],
            "error: backend/web/10.9.9.9:1 not found\n",
        ),
        (&["get", "be", "shop"], "error: service/shop not found\n"),
        (
            &["get", "drain", "node-x"],
            "error: drain/node-x not found\n",
        ),
        (
            &["get", "svc", "shop", "-w"],
            "error: service/shop not found\n",
        ),
    ] {
        assert_eq!(fake.run(arguments), failed(err), "{arguments:?}");
    }
}

#[test]
fn ten_thousand_services_are_shown_by_a_call_for_each_page() {
    let fake = start();
    {
        let mut state = fake.state();
        state.page = Some(1000);
        for number in 0..10_000 {
            let name = format!("s{number}");
            let service = Service {
                name: name.clone(),
                ..Service::default()
            };
            let set = BackendSet {
                name: name.clone(),
                service: name.clone(),
                ..BackendSet::default()
            };
            for (kind, it) in [
                (Kind::Service, resource::Kind::Service(service)),
                (Kind::BackendSet, resource::Kind::BackendSet(set)),
            ] {
                let it = Resource {
                    kind: Some(it),
                    ..Resource::default()
                };
                state.resources.insert((kind.into(), name.clone()), it);
            }
        }
    }
    let ran = fake.run(&["get", "services", "--no-headers"]);
    assert_eq!((ran.status, ran.out.lines().count()), (0, 10_000));
    let asked = |fake: &Fake| {
        let state = fake.state();
        (state.lists, state.gets)
    };
    assert_eq!(asked(&fake), (20, 0), "services and backend sets");
    fake.run(&["get", "services", "-o", "name"]);
    assert_eq!(asked(&fake), (30, 0), "names take no backend sets");
}

/// A run that is read line by line and then interrupted.
pub(super) fn until(fake: &Fake, arguments: &[&str], lines: usize) -> (Vec<String>, ExitStatus) {
    let mut child = command(&fake.url, arguments)
        .spawn()
        .expect("weirctl starts");
    let out = child.stdout.take().expect("a pipe");
    let told = BufReader::new(out).lines().take(lines);
    let told = told.map(|line| line.expect("text")).collect();
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill runs").success(), "weirctl runs");
    (told, child.wait().expect("weirctl ends"))
}

fn event(name: &str, outcome: change::Outcome, resource: Option<Resource>) -> Event {
    let of = ResourceRef {
        kind: Kind::Service.into(),
        name: name.to_owned(),
    };
    Event {
        change: Some(changed(&of, outcome)),
        resource,
    }
}

#[test]
fn what_changes_is_shown_until_ctrl_c_and_that_is_no_failure() {
    let fake = web();
    let key = (Kind::Service.into(), "web".to_owned());
    let web = fake.state().resources[&key].clone();
    let mut quicker = web.clone();
    if let Some(resource::Kind::Service(service)) = &mut quicker.kind {
        service.scheduler = Some("wlc".to_owned());
    }
    let told = |event| WatchResponse {
        revision: 2,
        events: vec![event],
    };
    let changes = vec![
        // told twice: it changes nothing
        told(event("web", change::Outcome::Updated, Some(web))),
        told(event("web", change::Outcome::Updated, Some(quicker))),
        told(event("dns", change::Outcome::Deleted, None)),
    ];
    fake.state().changes = [changes.clone()].into();
    let (lines, status) = until(&fake, &["get", "services", "-w"], 5);
    assert_eq!(
        lines,
        [
            "NAME   FRONTENDS                 SCHEDULER   FORWARDING   BACKENDS   REVISION   AGE",
            "dns    10.100.100.100:53/UDP     rr          MASQUERADE   2          1          <unknown>",
            "web    10.100.100.100:8080/TCP   rr          MASQUERADE   3          1          <unknown>",
            "web    10.100.100.100:8080/TCP   wlc         MASQUERADE   3          1          <unknown>",
            "dns    10.100.100.100:53/UDP     rr          MASQUERADE   2          1          deleted",
        ]
    );
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(fake.state().watched_from, [1]);
    fake.state().changes = [changes].into();
    let (lines, _) = until(&fake, &["get", "svc", "--watch-only", "-o", "name"], 2);
    assert_eq!(lines, ["service/web", "service/dns"]);
}

#[test]
fn a_watch_that_is_too_old_to_go_on_lists_again_and_tells_what_differs() {
    let fake = web();
    let key = (Kind::Service.into(), "web".to_owned());
    let mut quicker = fake.state().resources[&key].clone();
    if let Some(resource::Kind::Service(service)) = &mut quicker.kind {
        service.scheduler = Some("wlc".to_owned());
    }
    let told = |event| WatchResponse {
        revision: 2,
        events: vec![event],
    };
    let wlc = told(event("web", change::Outcome::Updated, Some(quicker)));
    let gone = told(event("dns", change::Outcome::Deleted, None));
    let once = |of: &WatchResponse| vec![of.clone()];
    {
        let mut state = fake.state();
        state.changes = [vec![wlc.clone(), gone.clone()], once(&gone)].into();
        state.outdated = 1;
    }
    let arguments = ["get", "services", "-w", "--no-headers"];
    let (lines, status) = until(&fake, &arguments, 7);
    let row = |name: &str, port: &str, scheduler: &str, backends: u8, age: &str| {
        format!(
            "{name:4}   10.100.100.100:{port:8}   {scheduler:9}   MASQUERADE   {backends}          1          {age}"
        )
    };
    let dns = |age| row("dns", "53/UDP", "rr", 2, age);
    let web = |scheduler| row("web", "8080/TCP", scheduler, 3, "<unknown>");
    let there = "<unknown>";
    assert_eq!(
        lines,
        [
            dns(there),
            web("rr"),
            web("wlc"),
            dns("deleted"),
            // as they are listed: what was told of them holds no more
            dns(there),
            web("rr"),
            dns("deleted"),
        ]
    );
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(fake.state().watched_from, [1, 1]);
}

#[test]
fn nodes_that_are_watched_are_shown_again_when_their_state_changes() {
    let fake = web();
    let node = |converged_generation| NodeState {
        name: "node-a".to_owned(),
        connected: true,
        wanted_generation: 2,
        accepted_generation: 2,
        converged_generation,
        ..NodeState::default()
    };
    fake.state().watches = [vec![vec![node(1)], vec![node(1)], vec![node(2)]]].into();
    let (lines, status) = until(&fake, &["get", "nodes", "-w"], 3);
    assert_eq!(
        lines,
        [
            "NAME     STATE       WANTED   ACCEPTED   CONVERGED   ADDRESSES   AGE",
            "node-a   connected   2        2          1           10.0.0.1    <unknown>",
            "node-a   connected   2        2          2           10.0.0.1    <unknown>",
        ]
    );
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn a_watch_that_the_controller_ends_is_a_failure() {
    let fake = web();
    fake.state().changes = [vec![], vec![]].into();
    let Ran { status, err, .. } = fake.run(&["get", "services", "-w"]);
    assert_eq!(
        (status, err.as_str()),
        (1, "error: the controller at URL ended the call\n")
    );
}
