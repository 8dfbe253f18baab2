//! `import`, and `get services -o ipvsadm` that gives back what it took.

use std::path::PathBuf;

use weir_controller::ctl::read_manifest;
use weir_proto::wire::drain_target::{Backend, Target};
use weir_proto::wire::{DrainState, DrainTarget};

use super::{NODE, Ran, SET, WEB, failed, fine, run, start};

/// No controller is called.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A table as ipvsadm 1.31 wrote it on Linux 6.1: every scheduler, flag, way to forward, kind of tunnel and of frontend.
const EVERYTHING: &str = include_str!("import/everything.ipvsadm");

/// A case: its name, its arguments, and what is expected on standard output and standard error.
macro_rules! golden {
    ($case:literal, $arguments:expr) => {{
        let arguments: &[&str] = $arguments;
        let out = include_str!(concat!("import/keepalived/", $case, "/services.yaml"));
        let err = include_str!(concat!("import/keepalived/", $case, "/told.txt"));
        ($case, arguments, out, err)
    }};
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ctl/import/keepalived")
}

/// What `weirctl import keepalived` left behind; the directory of the file is not in it.
fn import(case: &str, arguments: &[&str]) -> Ran {
    let at = directory().join(case);
    let file = at.join("keepalived.conf").display().to_string();
    let all = [&["import", "keepalived", &file], arguments].concat();
    let Ran { status, out, err } = run(NOWHERE, &all, "");
    let err = err.replace(&format!("{}/", at.display()), "");
    Ran { status, out, err }
}

/// What importing a text from standard input left behind.
fn import_text(source: &str, text: &str) -> Ran {
    run(NOWHERE, &["import", source, "-"], text)
}

#[test]
fn each_keepalived_conf_becomes_services_and_the_rest_is_told() {
    for (case, arguments, out, err) in [
        golden!("ha-web", &[]),
        golden!("dns", &[]),
        golden!("sctp", &[]),
        golden!("fwmark-ftp", &[]),
        golden!("direct", &[]),
        golden!("tunnel", &[]),
        golden!("ipv6", &[]),
        golden!("groups", &[]),
        golden!("nested", &[]),
        golden!("machines", &["--config-id", "lb-1"]),
    ] {
        let expected = Ran {
            status: 0,
            out: out.to_owned(),
            err: err.to_owned(),
        };
        assert_eq!(import(case, arguments), expected, "{case}");
        assert!(
            read_manifest(out).is_ok(),
            "{case}: {:?}",
            read_manifest(out)
        );
    }
}

#[test]
fn a_keepalived_conf_is_read_from_standard_input() {
    let text = "virtual_server 10.1.1.1 80 {\nprotocol TCP\nreal_server 10.0.0.1 80 {\n}\n}\n";
    let ran = import_text("keepalived", text);
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (
            0,
            "1 service with 1 backend; everything was carried over\n\
             On a VIP weir takes new connections to the ports of services alone; where something else listens on one, \
             write lockdown: false.\n"
        )
    );
    assert!(read_manifest(&ran.out).is_ok(), "{}", ran.out);
}

#[test]
fn a_keepalived_conf_that_cannot_be_read_gives_every_error_with_its_line() {
    let text = "\
virtual_server 10.0.0.300 80 {
    lb_algo best
    lb_kind NET
    protocol ICMP
    persistence_timeout soon
    persistence_granularity 255.255.255
    ip_family inet5
    real_server 10.0.0.1 http {
    }
    real_server {
    }
    real_server 10.0.0.2 80 {
        weight 70000
    }
    real_server 10.0.0.2 80 {
        lvs_method TUN type gue port x
    }
}
virtual_server fwmark 0 {
}
virtual_server group
virtual_server group nobody {
}
virtual_server_group web {
    10.0.0.9-1 80
    fwmark 1 inet5
}
virtual_server_group web {
}
include missing.conf
@lb-1 virtual_server 10.0.0.1 80
~SEQ(N, 1, 3) real_server 10.0.0.${N} 80
notify \"unclosed
";
    assert_eq!(
        import_text("keepalived", text),
        failed(
            "\
stdin:1: \"10.0.0.300\" is not an address
stdin:2: lb_algo: \"best\" is not a scheduler
stdin:3: lb_kind: \"NET\" is not NAT, DR or TUN
stdin:4: protocol: \"ICMP\" is not TCP, UDP or SCTP
stdin:5: persistence_timeout: \"soon\" is not a number up to 4294967295
stdin:7: ip_family: \"inet5\" is not inet or inet6
stdin:8: \"http\" is not a port
stdin:10: a real_server has an address
stdin:13: weight: \"70000\" is not a number up to 65535
stdin:16: \"x\" is not a port
stdin:19: \"0\" is not a firewall mark
stdin:21: virtual_server group: what follows is missing
stdin:22: there is no virtual_server_group nobody
stdin:25: \"10.0.0.9-1\" ends before it begins
stdin:26: \"inet5\" is not inet or inet6
stdin:28: virtual_server_group web is given twice
stdin:30: include missing.conf: ./missing.conf: cannot read it: No such file or directory
stdin:31: @lb-1 is for one machine of several: say whose file it is by --config-id
stdin:32: ~SEQ and ~LST are not read: write out the lines that they stand for
stdin:33: a \" is not closed
error: 20 problems; nothing was imported
"
        )
    );
    for (text, err) in [
        (
            "virtual_server 10.0.0.1 80 {\n",
            "stdin:1: the \"{\" of virtual_server 10.0.0.1 80 is not closed\nerror: 1 problem; nothing was imported\n",
        ),
        (
            "{\n",
            "stdin:1: a \"{\" with nothing before it\nerror: 1 problem; nothing was imported\n",
        ),
        (
            "a {\n}\n}\n",
            "stdin:3: a \"}\" that closes nothing\nerror: 1 problem; nothing was imported\n",
        ),
        (
            "$A= \\\nx \\\n",
            "stdin:1: the definition of $A goes on past the end of the file\nerror: 1 problem; nothing was imported\n",
        ),
        (
            "vrrp_instance VI_1 {\n}\n",
            "stdin:1: vrrp_instance VI_1: weir elects no master: it binds a VIP on every node that holds its service, \
             and your network brings packets there\nerror: no service to import in stdin\n",
        ),
        ("", "error: no service to import in stdin\n"),
    ] {
        assert_eq!(import_text("keepalived", text), failed(err), "{text}");
    }
    assert_eq!(
        run(
            NOWHERE,
            &["import", "keepalived", "/nowhere/keepalived.conf"],
            ""
        ),
        failed("error: /nowhere/keepalived.conf: cannot read it: No such file or directory\n")
    );
}

#[test]
fn what_ipvsadm_wrote_comes_back_byte_for_byte() {
    let fake = start();
    let ran = import_text("ipvsadm", EVERYTHING);
    assert_eq!(
        (ran.status, ran.err.as_str()),
        (
            0,
            "45 services with 52 backends; everything was carried over\n\
             On a VIP weir takes new connections to the ports of services alone; where something else listens on one, \
             write lockdown: false.\n"
        )
    );
    assert_eq!(fake.apply(&ran.out).status, 0);
    assert_eq!(
        fake.run(&["get", "services", "-o", "ipvsadm"]),
        fine(EVERYTHING)
    );
}

#[test]
fn what_was_sorted_otherwise_comes_back_as_ipvsadm_sorts() {
    let fake = start();
    let backwards: Vec<&str> = EVERYTHING.lines().rev().collect();
    let (made, added): (Vec<&str>, Vec<&str>) =
        backwards.iter().partition(|line| line.starts_with("-A"));
    let ran = import_text("ipvsadm", &[made, added].concat().join("\n"));
    assert_eq!(fake.apply(&ran.out).status, 0);
    assert_eq!(
        fake.run(&["get", "services", "-o", "ipvsadm"]),
        fine(EVERYTHING)
    );
}

#[test]
fn services_are_shown_as_nodes_are_told_to_hold_them() {
    let fake = start();
    fake.apply(&format!("{WEB}---\n{SET}---\n{NODE}"));
    let drain = |target| DrainState {
        target: Some(DrainTarget {
            target: Some(target),
        }),
        asked: true,
        ..DrainState::default()
    };
    let backend = |address: &str| {
        Target::Backend(Backend {
            service: "web".to_owned(),
            address: address.to_owned(),
            port: 8080,
        })
    };
    let gone = DrainState {
        asked: false,
        ..drain(backend("10.0.0.21"))
    };
    fake.state().drains = [vec![drain(backend("10.0.0.11")), gone]].into();
    let shown = |first: u8, second: u8| {
        fine(&format!(
            "\
-A -t 10.100.100.100:8080 -s rr
-a -t 10.100.100.100:8080 -r 10.0.0.11:8080 -m -w {first}
-a -t 10.100.100.100:8080 -r 10.0.0.21:8080 -m -w {second}
-a -t 10.100.100.100:8080 -r 10.0.0.31:8080 -m -w 0
"
        ))
    };
    assert_eq!(
        fake.run(&["get", "svc", "web", "-o", "ipvsadm"]),
        shown(0, 1)
    );
    fake.state().drains = [vec![drain(Target::Node("node-a".to_owned()))]].into();
    assert_eq!(fake.run(&["get", "svc", "-o", "ipvsadm"]), shown(0, 0));
    assert_eq!(
        fake.run(&["get", "svc", "-l", "tier=front", "-o", "ipvsadm"]),
        shown(0, 0)
    );
    assert_eq!(
        fake.run(&["get", "svc", "-l", "tier=back", "-o", "ipvsadm"]),
        fine("")
    );
    assert_eq!(
        fake.run(&["get", "svc", "none", "-o", "ipvsadm"]),
        failed("error: service/none not found\n")
    );
    for kind in ["backends", "nodes", "drains"] {
        let wrong = Ran {
            status: 2,
            out: String::new(),
            err: format!(
                "error: {kind} are not shown so: get services in this form, which has their backends\n\n\
                 For more information, try '--help'.\n"
            ),
        };
        assert_eq!(fake.run(&["get", kind, "-o", "ipvsadm"]), wrong);
    }
}

#[test]
fn what_ipvsadm_has_and_weir_has_not_is_told() {
    let text = "\
# saved by hand
/sbin/ipvsadm -A --tcp-service=10.0.0.1:80 -swlc -b flag-1,flag-3
ipvsadm -a -t10.0.0.1:80 -r 10.0.0.2 -mw3 -x 100 -y 50
ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.3:8080 -m
ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.4
ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.5 -i --tun-type gre --tun-csum
ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.6 -m -x 5 -y 6
-A -t 10.0.0.1:0 -p
-A -t 10.0.0.2:80 -p 60 -M 255.0.255.0 -o
-A -u 10.0.0.2:80 -p 100000
-A -u 10.0.0.3:80 -p 60 -o
-A -u 10.0.0.4:80 --pe sip
-A -t 127.0.0.1:80
-A -f 1 -s mh -b flag-3
-a -f 1 -r 10.0.0.2 -m
-a -f 1 -r 10.0.0.3 -g
-a -f 1 -r fd00::1 -g
";
    let Ran { status, out, err } = import_text("ipvsadm", text);
    assert_eq!(
        (status, out.as_str()),
        (0, include_str!("import/told.yaml"))
    );
    assert_eq!(err, include_str!("import/told.txt"));
}

#[test]
fn what_ipvsadm_does_not_write_is_refused_by_line() {
    let text = "\
-A -t web.example.com:http -s rr
-A -t 10.0.0.1:http -s rr
-A -t [fd00::1:80 -s rr
-A -t 10.0.0.1:80 -s rr -b best
-A -t 10.0.0.2:80 -s
-A -t 10.0.0.2:80 -z
-A -t 10.0.0.2:80 --best
-A -t 10.0.0.2:80 rr
-A -s rr
-A -a -t 10.0.0.2:80
-t 10.0.0.2:80
-C
-D -t 10.0.0.2:80
-A -t 10.0.0.2:80 -p soon
-A -t 10.0.0.2:80 -p 1 -M 255
-A -t [fd00::1]:80 -p 1 -M 129
-A -f 0
-A -f web
-A -t 10.0.0.3:80
-A -t 10.0.0.3:80
-a -t 10.0.0.4:80 -r 10.0.0.9:80
-a -t 10.0.0.3:80
-a -t 10.0.0.3:80 -r 10.0.0.9 -m -g
-a -t 10.0.0.3:80 -r 10.0.0.9 -i --tun-type vxlan
-a -t 10.0.0.3:80 -r 10.0.0.9 -i --tun-type gue
-a -t 10.0.0.3:80 -r 10.0.0.9 -i --tun-type gre --tun-csum --tun-nocsum
-a -t 10.0.0.3:80 -r 10.0.0.9 -w -1
";
    assert_eq!(
        import_text("ipvsadm", text),
        failed(
            "\
stdin:1: web.example.com:http: \"web.example.com\" is not an address but a name, or nothing at all: ipvsadm -Sn writes numbers (-n)
stdin:2: 10.0.0.1:http: \"http\" is not a port but a name, or nothing at all: ipvsadm -Sn writes numbers (-n)
stdin:3: [fd00::1:80: the \"[\" is not closed
stdin:4: -b best: no such flag
stdin:5: -s wants a value
stdin:6: unknown option \"-z\"
stdin:7: unknown option \"--best\"
stdin:8: \"rr\" belongs to no option
stdin:9: no service: -t, -u, --sctp-service or -f is missing
stdin:10: more than one command
stdin:11: no command: a line begins with -A or -a
stdin:12: --clear: only -A and -a are read, as ipvsadm -Sn writes them
stdin:13: --delete-service: only -A and -a are read, as ipvsadm -Sn writes them
stdin:14: --persistent soon: not a number
stdin:15: -M 255: not a netmask
stdin:16: -M 129: not 1-128
stdin:17: -f 0: not a firewall mark
stdin:18: -f web: not a firewall mark
stdin:20: 10.0.0.3-80-tcp is made twice
stdin:21: no -A before it makes 10.0.0.4-80-tcp
stdin:22: no server: -r is missing
stdin:23: more than one of -m, -g and -i
stdin:24: --tun-type vxlan: no such tunnel
stdin:25: --tun-port is of gue, and gue needs it
stdin:26: more than one checksum for a tunnel
stdin:27: --weight -1: not a number
error: 26 problems; nothing was imported
"
        )
    );
}
