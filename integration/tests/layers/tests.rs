//! Each rule can fail: small trees that break it, and what it says of them.

use crate::code::{code, says};
use crate::tree::Tree;
use crate::{modules, rules};

fn tree(files: &[(&str, &str)]) -> Tree {
    let owned = files
        .iter()
        .map(|(file, text)| (file.to_string(), text.to_string()));
    owned.collect()
}

#[test]
fn a_pure_file_that_reads_the_clock_is_found() {
    let broken = rules::pure_rooms(&tree(&[
        (
            "agent/src/plan.rs",
            "#[cfg(test)]\nmod cases;\nlet t = Instant::now();",
        ),
        ("agent/src/plan/cases.rs", "use std::fs;"),
        (
            "agent/src/plan/order.rs",
            "// async, tokio and std::fs are not for here\n",
        ),
        (
            "agent/src/reconciler.rs",
            "async fn run() { tokio::time::Instant::now(); }",
        ),
    ]));
    assert_eq!(broken, ["agent/src/plan.rs is pure and says ::now("]);
}

#[test]
fn a_door_in_a_codec_is_found_unless_it_is_its_socket() {
    let text = "use std::net::TcpStream; use std::collections::HashMap;";
    let broken = rules::pure_rooms(&tree(&[
        ("agent/src/kernel/linux/ipset/message.rs", text),
        ("agent/src/kernel/linux/ipset/socket.rs", text),
    ]));
    assert_eq!(
        broken,
        [
            "agent/src/kernel/linux/ipset/message.rs is pure and says std::net::Tcp",
            "agent/src/kernel/linux/ipset/message.rs is pure and says HashMap",
        ]
    );
}

#[test]
fn unsafe_code_outside_its_file_is_found() {
    let text = "#[expect(unsafe_code)] fn f() { unsafe { g() } } // unsafe";
    let broken = rules::audited(&tree(&[
        ("proto/src/machine/heap.rs", text),
        ("proto/src/machine.rs", "fn f() { \"unsafe\" }"),
        ("agent/src/app.rs", text),
    ]));
    assert_eq!(
        broken,
        [
            "agent/src/app.rs says unsafe; only proto/src/machine/heap.rs may",
            "agent/src/app.rs says unsafe_code; only proto/src/machine/heap.rs may",
        ]
    );
}

#[test]
fn sled_outside_its_room_is_found() {
    let broken = rules::sled(&tree(&[
        ("agent/src/journal.rs", "fn open() -> sled::Db {"),
        ("proto/src/disk.rs", "fn open() -> sled::Db {"),
        ("agent/src/app.rs", "fn bobsled() { \"sled\" }"),
    ]));
    assert_eq!(
        broken,
        ["agent/src/journal.rs says sled::; only proto/src/disk.rs, proto/src/disk/ may"]
    );
}

#[test]
fn tls_outside_its_room_is_found() {
    let broken = rules::tls(&tree(&[
        ("agent/src/session.rs", "use tokio_rustls::TlsConnector;"),
        (
            "controller/src/rpc.rs",
            "fn serve(config: rustls::ServerConfig) {",
        ),
        ("proto/src/tls/verify.rs", "use rustls::Error;"),
        ("integration/tests/identity/main.rs", "use rustls::Error;"),
    ]));
    assert_eq!(
        broken,
        [
            "agent/src/session.rs says tokio_rustls; only proto/src/tls.rs, proto/src/tls/ may",
            "controller/src/rpc.rs says rustls; only proto/src/tls.rs, proto/src/tls/ may",
        ]
    );
}

#[test]
fn a_status_without_a_reason_is_found() {
    let broken = rules::reasons(&tree(&[
        (
            "controller/src/rpc/status.rs",
            "fn gone() { Status::not_found(it) }\n#[cfg(test)]\nmod tests { Status::aborted(it) }",
        ),
        ("controller/src/ctl/get.rs", "Status::not_found(it)"),
    ]));
    assert_eq!(
        broken,
        ["controller/src/rpc/status.rs says Status::not_found, which has no ErrorReason"]
    );
}

#[test]
fn netlink_outside_the_kernel_is_found() {
    let broken = rules::netlink(&tree(&[
        ("agent/src/kernel/linux/vip.rs", "use rtnetlink::Handle;"),
        ("agent/src/reconciler.rs", "use rtnetlink::Handle;"),
        (
            "controller/src/cluster.rs",
            "use netlink_packet_route::AddressFamily;",
        ),
    ]));
    let files: Vec<&str> = broken
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(
        files,
        ["agent/src/reconciler.rs", "controller/src/cluster.rs"]
    );
}

#[test]
fn wire_types_past_the_doors_are_found_in_programs_and_left_to_tests() {
    let grouped = "use weir_proto::{\n    model::Service,\n    wire::v1,\n};";
    let broken = rules::wire(&tree(&[
        ("controller/src/desired/compile.rs", grouped),
        ("controller/src/rpc/operator.rs", grouped),
        ("controller/tests/operator.rs", grouped),
        ("integration/src/weir.rs", grouped),
        (
            "agent/src/kernel/linux/netlink.rs",
            "mod wire; use super::wire::align;",
        ),
        ("proto/src/state.rs", "use crate::wire::weir::v1 as wire;"),
    ]));
    let files: Vec<&str> = broken
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(
        files,
        ["controller/src/desired/compile.rs", "proto/src/state.rs"]
    );
}

#[test]
fn a_file_that_no_mod_names_is_found() {
    let broken = modules::orphans(&tree(&[
        (
            "agent/src/lib.rs",
            "pub mod plan;\n// mod lost;\nmod inline { }",
        ),
        ("agent/src/plan.rs", "mod order;\n#[cfg(test)]\nmod tests;"),
        ("agent/src/plan/order.rs", ""),
        ("agent/src/plan/tests.rs", ""),
        ("agent/src/lost.rs", "mod deeper;"),
        ("agent/src/lost/deeper.rs", ""),
        ("agent/src/order.rs", ""),
        ("agent/tests/scenario/main.rs", "mod site;"),
        ("agent/tests/scenario/site.rs", ""),
        ("agent/build.rs", ""),
        ("integration/fuzz/fuzz_targets/item.rs", ""),
    ]));
    assert_eq!(
        broken,
        [
            "agent/src/lost.rs is named by no mod",
            "agent/src/lost/deeper.rs is named by no mod",
            "agent/src/order.rs is named by no mod",
        ]
    );
}

#[test]
fn a_file_of_six_hundred_and_one_lines_is_found() {
    let broken = rules::ceiling(&tree(&[
        ("agent/src/long.rs", &"\n".repeat(601)),
        ("agent/src/full.rs", &"\n".repeat(600)),
    ]));
    assert_eq!(broken, ["agent/src/long.rs has 601 lines"]);
}

#[test]
fn rooms_without_a_name_are_found() {
    let broken = rules::names(&tree(&[
        ("agent/src/plan/mod.rs", ""),
        ("agent/src/utils/text.rs", ""),
        ("agent/src/session_manager.rs", ""),
        ("agent/src/model.rs", ""),
        ("agent/src/commonplace.rs", ""),
    ]));
    let files: Vec<&str> = broken
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(
        files,
        [
            "agent/src/plan/mod.rs",
            "agent/src/session_manager.rs",
            "agent/src/utils/text.rs"
        ]
    );
}

#[test]
fn comments_and_quotes_are_not_code() {
    let text = "a /* b */ c // d\n\"e \\\" f\" g r#\"h \" i\"# j for k '\"' l r\"m\" n";
    let words: Vec<String> = code(text).split_whitespace().map(str::to_string).collect();
    assert_eq!(words, ["a", "c", "g", "j", "for", "k", "l", "n"]);
}

#[test]
fn a_word_is_said_only_as_a_whole() {
    assert!(says("use sled;", "sled"));
    assert!(!says("bobsled sleds _sled", "sled"));
    assert!(says("std::net::TcpStream", "std::net::Tcp"));
    assert!(says("SystemTime::now()", "::now("));
}
