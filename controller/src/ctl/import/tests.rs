//! Imports without a process: this machine's table, and input of any kind.

use std::path::PathBuf;

use proptest::prelude::*;

use super::draft::Read;
use super::keepalived::Opened;
use super::live::{self, Machine};
use super::{conclude, ipvsadm, keepalived};
use crate::ctl::outcome::Trouble;

fn opened(text: &str) -> Opened {
    Opened {
        name: "keepalived.conf".to_owned(),
        identity: "/keepalived.conf".to_owned(),
        text: text.to_owned(),
    }
}

/// Reads a file that includes itself under each name.
fn read(text: &str) -> Read {
    let mut open = |_: &str, pattern: &str| match pattern {
        "missing" => Err("it is not there".to_owned()),
        "nothing*" => Ok(Vec::new()),
        name => Ok(vec![Opened {
            name: name.to_owned(),
            identity: format!("/{name}"),
            text: text.to_owned(),
        }]),
    };
    keepalived::read(&opened(text), Some("lb-1"), &mut open)
}

/// Gives what is said of faults in a file.
fn faults(text: &str) -> Vec<String> {
    match conclude(read(text)) {
        Err(Trouble::Detailed { details, .. }) => details,
        other => vec![format!("{other:?}")],
    }
}

fn machine(table: &str, programs: &str) -> Machine {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ctl/import");
    Machine {
        table: here.join(table),
        programs: vec![here.join(programs)],
    }
}

/// Gives what is said of this machine's table, then its services, then what is left out, or why it is not read.
fn live(table: &str, programs: &str) -> Vec<String> {
    let made = live::read(&machine(table, programs)).and_then(|live| {
        let mut lines = vec![live.said];
        let made = conclude(live.read)?;
        let names = made
            .resources
            .iter()
            .filter_map(|resource| match &resource.kind {
                Some(weir_proto::wire::resource::Kind::Service(service)) => {
                    Some(service.name.clone())
                }
                _ => None,
            });
        lines.extend(names);
        lines.extend(made.lines);
        Ok(lines)
    });
    let here = machine("", "").table.display().to_string();
    let lines = made.unwrap_or_else(|trouble| vec![trouble.to_string()]);
    lines
        .iter()
        .map(|line| line.replace(&here, "HERE/"))
        .collect()
}

#[test]
fn what_kube_proxy_bound_is_kept_and_the_rest_is_told() {
    assert_eq!(
        live("live/ipvsadm", "live"),
        [
            "3 of 5 virtual servers have an address on kube-ipvs0, and are kube-proxy's; the backends are those of this moment",
            "10.96.0.1-443-tcp",
            "10.96.0.10-53-udp",
            "fd00-96--1-443-tcp",
            "ipvsadm -Sn:7: 192.0.2.7-30080-tcp: left out: its address is not on kube-ipvs0, so it is a node port, whose \
             address cannot be a VIP, or not kube-proxy's",
            "ipvsadm -Sn:9: mark-7: left out: its address is not on kube-ipvs0, so it is a node port, whose address cannot \
             be a VIP, or not kube-proxy's",
            "3 services with 5 backends; not carried over: 2 things, named above",
            "On a VIP weir takes new connections to the ports of services alone; where something else listens on one, \
             write lockdown: false.",
        ]
    );
}

#[test]
fn without_the_link_of_kube_proxy_everything_is_taken() {
    assert_eq!(
        live("live/ipvsadm", "bare").first().map(String::as_str),
        Some(
            "without the program ip it cannot be told what is kube-proxy's, so all 2 virtual servers are taken; the \
             backends are those of this moment"
        )
    );
    assert_eq!(
        live("live/ipvsadm", "unlinked").first().map(String::as_str),
        Some(
            "no link kube-ipvs0 tells what is kube-proxy's, so all 2 virtual servers are taken; the backends are those of \
             this moment"
        )
    );
}

#[test]
fn a_machine_whose_table_cannot_be_read_says_what_to_do() {
    assert_eq!(
        live("nothing", "live"),
        [
            "this machine's kernel has no IPVS now (HERE/nothing is not there): run it on a node of the cluster, or run it \
             there and pipe it: ssh NODE ipvsadm -Sn | weirctl import ipvsadm -"
        ]
    );
    assert_eq!(
        live("live/ipvsadm", "nothing"),
        [
            "ipvsadm is not on this machine: install it, or run it there and pipe it: ssh NODE ipvsadm -Sn | weirctl import \
             ipvsadm -"
        ]
    );
    assert_eq!(
        live("live/ipvsadm", "refused"),
        ["HERE/refused/ipvsadm -Sn: Can't initialize ipvs: Permission denied (you must be root)"]
    );
}

#[test]
fn a_file_that_includes_itself_is_refused() {
    assert_eq!(
        faults("include a\n"),
        ["a:1: include a: a is being read already: it includes itself"]
    );
}

#[test]
fn what_would_grow_without_end_is_refused() {
    let doubling: String = (0..40)
        .map(|n| format!("$A{n}=${{A{}}} ${{A{}}}\n", n + 1, n + 1))
        .collect();
    assert_eq!(
        faults(&format!("{doubling}$A40=x\n$A0\n")),
        ["keepalived.conf:42: a line gets too long by what is defined; nothing after it was read"]
    );
    assert_eq!(
        faults("$A=$A\n$A\n"),
        ["keepalived.conf:2: definitions stand in definitions too deep; nothing after it was read"]
    );
    let lines: String = (0..20)
        .map(|n| format!("$B{n}= \\\n$B{} \\\n$B{}\n", n + 1, n + 1))
        .collect();
    assert_eq!(
        faults(&format!("{lines}$B20=x\n$B0\n")),
        ["keepalived.conf:62: the file grows past what is read; nothing after it was read"]
    );
    assert_eq!(
        faults(&"a {\n".repeat(100_000)),
        ["keepalived.conf:33: blocks stand in blocks too deep"]
    );
}

/// Pieces of what people write, so that chance makes more than nonsense.
fn piece() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "virtual_server",
        "virtual_server_group",
        "real_server",
        "10.0.0.1",
        "fd00::1",
        "80",
        "0",
        "99999",
        "fwmark",
        "group",
        "{",
        "}",
        "\n",
        "\"",
        "'",
        "\\",
        "$A=",
        "$A",
        "${A}",
        "@lb-1",
        "@^lb-1",
        "~SEQ(A,1,2)",
        "include",
        "missing",
        "nothing*",
        "a",
        "lb_kind",
        "TUN",
        "type",
        "gue",
        "port",
        "persistence_granularity",
        "255.0.255.0",
        "10.0.0.0-255",
        "fd00::/64",
        "sh-port",
        "ops",
        "protocol",
        "UDP",
        "TCP_CHECK",
        "weight",
        "#",
        "!",
        "-A",
        "-a",
        "-t",
        "-f",
        "-6",
        "-r",
        "10.0.0.1:80",
        "[fd00::1]:80",
        "-p",
        "-M",
        "-b",
        "flag-1",
        "-i",
        "--tun-type",
        "--tun-port",
        "--pe=sip",
        "-w",
        "-x",
    ];
    prop_oneof![
        8 => prop::sample::select(KNOWN).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

proptest! {
    #[test]
    fn whatever_is_read_is_an_import_or_an_error(pieces in prop::collection::vec(piece(), 0..60)) {
        let text = pieces.join(" ");
        // The outcome is judged elsewhere; here it is that there is one.
        let _ = conclude(read(&text));
        let _ = conclude(ipvsadm::read("stdin", &text));
    }

    #[test]
    fn a_good_file_that_was_cut_or_changed_is_an_import_or_an_error(
        cut in 0_usize..4000,
        at in 0_usize..4000,
        with in any::<char>(),
    ) {
        let good = include_str!("../../../tests/ctl/import/keepalived/nested/keepalived.conf");
        let mut letters: Vec<char> = good.chars().take(cut).collect();
        if let Some(letter) = letters.get_mut(at) {
            *letter = with;
        }
        let _ = conclude(read(&letters.into_iter().collect::<String>()));
        let good = include_str!("../../../tests/ctl/import/everything.ipvsadm");
        let mut letters: Vec<char> = good.chars().take(cut).collect();
        if let Some(letter) = letters.get_mut(at) {
            *letter = with;
        }
        let _ = conclude(ipvsadm::read("stdin", &letters.into_iter().collect::<String>()));
    }
}
