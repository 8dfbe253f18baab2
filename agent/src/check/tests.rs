//! Facts in, findings out.

use std::net::SocketAddr;

use weir_proto::checkup::{Finding, Outcome, page};
use weir_proto::model::{Capability, Listener, Port, Protocol};

use super::facts::{
    Called, Conntrack, Credentials, Directory, Facts, Filesystem, ForwardChain, Socket,
};
use super::judge;

const DAY_MS: u64 = 86_400_000;
const NOW: u64 = 1_795_374_000_000;

fn capability(name: &str, missing: Option<&str>, optional: bool) -> Capability {
    Capability {
        name: name.to_owned(),
        available: missing.is_none(),
        detail: missing.unwrap_or("it is there").to_owned(),
        optional,
    }
}

/// A machine on which nothing is amiss, and an agent runs.
fn fine() -> Facts {
    let sysctls = [
        ("net.ipv4.ip_forward", "1"),
        ("net.ipv6.conf.all.forwarding", "0"),
        ("net.ipv4.conf.all.arp_ignore", "0"),
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.eth0.rp_filter", "2"),
        ("net.ipv4.vs.conntrack", "1"),
        ("net.ipv4.vs.drop_entry", "0"),
    ];
    let sysctls = sysctls.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let path = std::path::PathBuf::from("/var/lib/weir/agent/journal");
    Facts {
        release: "6.1.0-28-amd64".to_owned(),
        capabilities: Some(vec![
            capability("net_admin", None, false),
            capability("ip_vs", None, false),
            capability("scheduler_rr", None, true),
            capability("scheduler_mh", None, true),
        ]),
        loaded: vec!["ip_vs".to_owned(), "ip_vs_mh".to_owned()],
        effective: Some(1 << 12 | 1 << 13 | 1 << 16),
        sysctls: sysctls.into(),
        writable: true,
        conntrack: Some(Conntrack {
            count: 100,
            max: 262_144,
        }),
        journal: Directory {
            nearest: path.clone(),
            path,
            is_directory: true,
            writable: true,
            filesystem: Some(Filesystem {
                magic: 0xEF53,
                free: 10 << 30,
            }),
            held: Some(true),
        },
        credentials: Credentials::Certificate {
            identity: "node/node-a".to_owned(),
            begins_unix_ms: NOW - DAY_MS,
            expires_unix_ms: NOW + 90 * DAY_MS,
            key_mode: 0o100_600,
        },
        now_unix_ms: NOW,
        controller: Called::Answered { skew_ms: Some(0) },
        admin_listen: Some(socket_address("127.0.0.1:7422")),
        sockets: vec![listening("127.0.0.1:7422", "weir-agent")],
        frontends: Some(vec![frontend("10.1.0.1", 80)]),
        has_link: true,
        forwarding: Some(vec![chain(false, 3)]),
        ..Facts::default()
    }
}

fn socket_address(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

fn listening(address: &str, program: &str) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        address: socket_address(address),
        inode: 1,
        program: program.to_owned(),
    }
}

fn frontend(address: &str, port: u32) -> Listener {
    Listener {
        address: address.parse().expect(address),
        port: Port::new(port).expect("a port"),
        protocol: Protocol::Tcp,
    }
}

fn chain(drops: bool, rules: u32) -> ForwardChain {
    ForwardChain {
        name: "ip filter FORWARD".to_owned(),
        drops,
        rules,
    }
}

/// What is told of facts and is not fine, by group, name and outcome.
fn amiss(facts: &Facts) -> Vec<(&'static str, String, Outcome)> {
    let findings = judge(facts).into_iter();
    let amiss = findings.filter(|it| it.outcome > Outcome::Skipped);
    amiss.map(|it| (it.group, it.name, it.outcome)).collect()
}

#[test]
fn a_machine_on_which_nothing_is_amiss_has_a_page_of_ticks() {
    assert_eq!(page(&judge(&fine()), false), include_str!("tests/fine.txt"));
}

#[test]
fn a_machine_on_which_nothing_is_as_it_should_be_is_told_what_to_do() {
    assert_eq!(page(&judge(&bad()), false), include_str!("tests/bad.txt"));
}

/// A machine on which everything that can fail does.
fn bad() -> Facts {
    let path = std::path::PathBuf::from("/srv/weir/journal");
    let mut facts = fine();
    facts.release = "4.19.0".to_owned();
    facts.capabilities = Some(vec![
        capability(
            "ip_vs",
            Some("no IPVS (ENOENT): load the module ip_vs, with a kernel built with CONFIG_IP_VS"),
            false,
        ),
        capability("lockdown", Some("something else"), false),
        capability("scheduler_rr", None, true),
        capability("scheduler_twos", Some("load the module ip_vs_twos"), true),
        capability(
            "ipv6",
            Some("take a kernel built with CONFIG_IP_VS_IPV6"),
            true,
        ),
        capability(
            "persistence_sip",
            Some("load the module ip_vs_pe_sip"),
            true,
        ),
    ]);
    facts.loaded.clear();
    facts.effective = Some(0);
    facts.writable = false;
    for (name, value) in [
        ("net.ipv4.conf.all.arp_ignore", "8"),
        ("net.ipv4.conf.all.rp_filter", "1"),
        ("net.ipv4.conf.eth0.rp_filter", "0"),
        ("net.ipv4.vs.drop_entry", "3"),
    ] {
        facts.sysctls.insert(name.to_owned(), value.to_owned());
    }
    facts.conntrack = Some(Conntrack {
        count: 65_000,
        max: 65_536,
    });
    facts.journal = Directory {
        path,
        nearest: "/srv".into(),
        is_directory: true,
        writable: false,
        filesystem: Some(Filesystem {
            magic: 0x6969,
            free: 10 << 20,
        }),
        held: None,
    };
    facts.credentials = Credentials::Certificate {
        identity: "node/node-a".to_owned(),
        begins_unix_ms: 0,
        expires_unix_ms: NOW - 2 * DAY_MS,
        key_mode: 0o100_644,
    };
    facts.controller = Called::Unreached("https://lb:7420: Connection refused".to_owned());
    facts.sockets = vec![
        listening("0.0.0.0:7422", "node_exporter"),
        listening("10.1.0.1:80", ""),
        listening("[::]:80", "nginx"),
    ];
    facts.has_link = false;
    facts.has_kube_link = true;
    facts.others = vec!["keepalived".to_owned()];
    facts.forwarding = Some(vec![chain(true, 0), chain(true, 4)]);
    facts
}

#[test]
fn whatever_is_not_fine_says_what_to_do() {
    let mut machines = vec![fine(), bad(), Facts::default()];
    for credentials in [
        Credentials::Flags(vec!["--tls-key: missing".to_owned()]),
        Credentials::Unusable("not PEM".to_owned()),
        Credentials::Plaintext,
    ] {
        machines.push(Facts {
            credentials,
            ..fine()
        });
    }
    for facts in machines {
        let silent = |it: &Finding| it.advice.is_empty() != (it.outcome <= Outcome::Skipped);
        let silent: Vec<Finding> = judge(&facts).into_iter().filter(silent).collect();
        assert_eq!(silent, []);
    }
}

#[test]
fn each_thing_is_judged_by_itself() {
    let failed = |group, name: &str| vec![(group, name.to_owned(), Outcome::Failed)];
    let warned = |group, name: &str| vec![(group, name.to_owned(), Outcome::Warning)];
    type Change = fn(&mut Facts);
    // what is otherwise, and what is found of it
    type Case<'a> = (Change, Vec<(&'a str, String, Outcome)>);
    let cases: [Case<'_>; 13] = [
        (|_| {}, vec![]),
        (|facts| facts.release = "5.15-custom".to_owned(), vec![]),
        (
            |facts| facts.effective = Some(1 << 13 | 1 << 16),
            failed("capabilities", "CAP_NET_ADMIN"),
        ),
        (
            |facts| facts.effective = Some(1 << 12 | 1 << 13),
            warned("capabilities", "CAP_SYS_MODULE"),
        ),
        (
            |facts| {
                facts.conntrack = Some(Conntrack {
                    count: 0,
                    max: 65_535,
                })
            },
            warned("conntrack", "size"),
        ),
        (|facts| facts.conntrack = None, vec![]),
        (|facts| facts.journal.nearest = "/var/lib".into(), vec![]),
        (
            |facts| facts.journal.is_directory = false,
            failed("journal", "directory"),
        ),
        (
            |facts| {
                facts.journal.filesystem = Some(Filesystem {
                    magic: 0x0102_1994,
                    free: 100 << 20,
                });
            },
            vec![
                ("journal", "file system".to_owned(), Outcome::Warning),
                ("journal", "space".to_owned(), Outcome::Warning),
            ],
        ),
        (
            |facts| facts.now_unix_ms = 1_000,
            vec![
                ("certificates", "valid".to_owned(), Outcome::Failed),
                ("clock", "this machine".to_owned(), Outcome::Failed),
            ],
        ),
        (
            |facts| {
                facts.controller = Called::Answered {
                    skew_ms: Some(-9_000),
                }
            },
            warned("clock", "against the controller"),
        ),
        (
            |facts| facts.sockets = vec![listening("[::]:7422", "weird")],
            failed("ports", "admin"),
        ),
        (
            |facts| facts.sockets.push(listening("10.1.0.2:80", "nginx")),
            vec![],
        ),
    ];
    for (place, (change, expected)) in cases.into_iter().enumerate() {
        let mut facts = fine();
        change(&mut facts);
        assert_eq!(amiss(&facts), expected, "case {place}");
    }
}

#[test]
fn without_the_right_to_try_it_is_said_that_nothing_was_tried() {
    let facts = Facts {
        effective: Some(0),
        capabilities: None,
        frontends: None,
        forwarding: None,
        ..fine()
    };
    let skipped: Vec<(&str, String)> = judge(&facts)
        .into_iter()
        .filter(|it| it.outcome == Outcome::Skipped)
        .map(|it| (it.group, it.name))
        .collect();
    let names = [
        ("kernel", "ip_vs, dummy, ipset, nf_tables"),
        ("sysctls", "net.ipv4.vs.expire_nodest_conn"),
        ("sysctls", "net.ipv4.vs.expire_quiescent_template"),
        ("ports", "frontends"),
        ("forwarding", "policy"),
    ];
    assert_eq!(skipped, names.map(|(group, name)| (group, name.to_owned())));
}
