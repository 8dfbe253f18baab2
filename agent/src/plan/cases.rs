//! Plans by example: each folder of `tests/plan_cases` holds a kernel's table, the wanted one, and the plan.
//!
//! An object is a line: `link`, `set IPv4`, `rule IPv4`, `setting NAME VALUE`, `entry 10.0.0.1 TCP:80`,
//! `service 10.1.0.1:80/TCP rr 300`, `backend 10.1.0.1:80/TCP 10.0.0.1:80 1`, `vip 10.1.0.1`,
//! `lockdown IPv4`, `opening 10.1.0.1:80/TCP`, `opening 10.1.0.1:80/TCP 10.0.0.0/8`, `guarded 10.1.0.1:80/TCP`,
//! `locked 10.1.0.1`. In `actual.yaml` those under
//! `ours` are in the ledger, and `found` has the settings as they were before us.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use weir_proto::model::{
    BackendKey, Endpoint, Family, Forwarding, Frontend, ItemKey, Listener, LoopbackEntry, Port,
    Protocol, VipBinding,
};

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Actual {
    #[serde(default)]
    ours: Vec<String>,
    #[serde(default)]
    foreign: Vec<String>,
    #[serde(default)]
    found: BTreeMap<String, String>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expected {
    steps: Vec<String>,
    conflicts: Vec<String>,
    kept: Vec<String>,
}

fn protocol(text: &str) -> Protocol {
    match text {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        other => panic!("{other} is no protocol of these cases"),
    }
}

fn port(number: u16) -> Port {
    Port::new(number.into()).expect("a port")
}

fn endpoint(text: &str) -> Endpoint {
    let at: SocketAddr = text.parse().expect("address:port");
    Endpoint {
        address: at.ip(),
        port: port(at.port()),
    }
}

fn frontend(text: &str) -> Frontend {
    text.parse().expect("a frontend")
}

fn listener(text: &str) -> Listener {
    frontend(text).listener().expect("of an address")
}

fn guard(guard: Guard) -> (Key, Object) {
    (Key::Guard(guard), Object::Present)
}

fn family(text: &str) -> Family {
    let named = |family: &Family| family.to_string() == text;
    Family::ALL.into_iter().find(named).expect("a family")
}

fn object(line: &str) -> (Key, Object) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["link"] => (Key::Link, Object::Present),
        ["unreadable", rest @ ..] => {
            let (key, _) = object(&rest.join(" "));
            (key, Object::Unreadable("no answer".to_owned()))
        }
        ["damaged", rest @ ..] => {
            let (key, _) = object(&rest.join(" "));
            (key, Object::Value("not whole".to_owned()))
        }
        ["set", of] => (Key::LoopbackSet(family(of)), Object::Present),
        ["lockdown", of] => (Key::Lockdown(family(of)), Object::Present),
        ["opening", at] => guard(Guard::Opening(listener(at), None)),
        ["opening", at, range] => {
            let range = range.parse().expect("a range");
            guard(Guard::Opening(listener(at), Some(range)))
        }
        ["guarded", at] => guard(Guard::Port(listener(at))),
        ["locked", address] => guard(Guard::Vip(address.parse().expect("address"))),
        ["rule", of] => (Key::LoopbackRule(family(of)), Object::Present),
        ["setting", name, value] => (
            Key::Setting(Setting::from_name(name).expect("a setting of ours")),
            Object::Value((*value).to_owned()),
        ),
        ["vip", address] => {
            let address = address.parse().expect("address");
            let bound = Object::Vip(VipSpec::default());
            (Key::Item(ItemKey::Vip(address)), bound)
        }
        ["entry", address, at] => {
            let (over, number) = at.split_once(':').expect("protocol:port");
            let address = address.parse().expect("address");
            let entry = LoopbackEntry {
                address,
                protocol: protocol(over),
                port: port(number.parse().expect("port")),
                source: address,
            };
            (Key::Item(ItemKey::LoopbackEntry(entry)), Object::Present)
        }
        ["service", at, scheduler, rest @ ..] => {
            let spec = ServiceSpec {
                scheduler: (*scheduler).to_owned(),
                affinity_seconds: rest
                    .first()
                    .map_or(0, |text| text.parse().expect("seconds")),
                ..ServiceSpec::default()
            };
            let key = ItemKey::VirtualService(frontend(at));
            (Key::Item(key), Object::Service(spec))
        }
        ["backend", at, to, weight] => {
            let key = BackendKey {
                frontend: frontend(at),
                endpoint: endpoint(to),
            };
            let spec = BackendSpec {
                weight: weight.parse().expect("weight"),
                forwarding: Some(Forwarding::Masquerade),
                ..BackendSpec::default()
            };
            (Key::Item(ItemKey::Backend(key)), Object::Backend(spec))
        }
        _ => panic!("{line:?} is no object"),
    }
}

fn table(lines: &[String]) -> Table {
    lines.iter().map(|line| object(line)).collect()
}

fn detail(object: &Object) -> String {
    match object {
        Object::Present => String::new(),
        Object::Unreadable(why) => format!(" unreadable: {why}"),
        Object::Value(value) => format!(" {value}"),
        Object::Service(spec) if spec.affinity_seconds == 0 => format!(" {}", spec.scheduler),
        Object::Service(spec) => format!(" {} {}", spec.scheduler, spec.affinity_seconds),
        Object::Backend(spec) => format!(" {}", spec.weight),
        Object::Vip(VipSpec { silent: true, .. }) => " silent".to_owned(),
        Object::Vip(spec) if spec.binding == VipBinding::Route => " route".to_owned(),
        Object::Vip(_) => String::new(),
        Object::SyncDaemon(spec) => format!(" {} {}", spec.interface, spec.sync_id),
    }
}

fn read<T: for<'a> Deserialize<'a>>(case: &Path, file: &str) -> T {
    let path = case.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn planned(case: &Path) -> (Expected, Expected) {
    let actual: Actual = read(case, "actual.yaml");
    let wanted: Vec<String> = read(case, "wanted.yaml");
    let ours = table(&actual.ours);
    let mut ledger = Ledger::default();
    ledger.apply(&LedgerChange {
        made: ours
            .keys()
            .filter(|key| key.container().is_none())
            .copied()
            .collect(),
        found: actual
            .found
            .into_iter()
            .map(|(name, value)| (Setting::from_name(&name).expect("a setting of ours"), value))
            .collect(),
        ..LedgerChange::default()
    });
    let mut all = ours;
    all.extend(table(&actual.foreign));
    let Plan {
        steps,
        conflicts,
        kept,
    } = plan(&all, &table(&wanted), &ledger);
    let line = |step: &Step| match step {
        Step::Add { key, object } => format!("add {key}{}", detail(object)),
        Step::Edit { key, object } => format!("edit {key}{}", detail(object)),
        Step::Remove { key } => format!("remove {key}"),
    };
    let made = Expected {
        steps: steps.iter().map(line).collect(),
        conflicts: conflicts
            .iter()
            .map(|conflict| format!("{}: {}", conflict.key, conflict.cause()))
            .collect(),
        kept: kept.iter().map(Key::to_string).collect(),
    };
    (made, read(case, "plan.yaml"))
}

#[test]
fn each_case_gives_its_plan() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan_cases");
    let entries = fs::read_dir(&folder).expect("the cases");
    let mut cases: Vec<_> = entries.map(|entry| entry.expect("a case").path()).collect();
    cases.sort();
    assert!(cases.len() >= 13, "cases are missing in {folder:?}");
    for case in cases {
        let (made, expected) = planned(&case);
        let text = serde_saphyr::to_string(&made).expect("text");
        assert_eq!(made, expected, "{case:?}; the plan is now\n{text}");
    }
}
