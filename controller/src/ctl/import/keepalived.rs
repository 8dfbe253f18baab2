//! A keepalived.conf, read. PURE: included files come through a door that the caller gives.
//!
//! Virtual servers, their groups and their real servers are carried over. What keepalived does beside (it checks servers,
//! moves addresses by VRRP, runs scripts and sends mail) is named, line by line. Keywords and their defaults are those of
//! keepalived 2.3 (`keepalived/check/check_parser.c`, `validate_check_config` in `check_data.c`).

mod blocks;
mod group;
mod lines;
mod server;

use std::collections::BTreeMap;

use super::draft::Read;
use blocks::Statement;
use group::Group;
pub(crate) use lines::{Open, Opened};

/// Why what stands outside of virtual servers is not carried over.
const OUTSIDE: [(&str, &str); 19] = [
    ("vrrp_instance", VRRP),
    ("vrrp_sync_group", VRRP),
    ("vrrp_script", VRRP),
    ("vrrp_track_process", VRRP),
    ("vrrp_track_file", VRRP),
    ("track_file", VRRP),
    ("garp_group", VRRP),
    ("interface_up_down_delays", VRRP),
    ("linkbeat_interfaces", VRRP),
    ("linkbeat_use_polling", VRRP),
    ("bfd_instance", VRRP),
    ("static_ipaddress", NETWORK),
    ("static_routes", NETWORK),
    ("static_rules", NETWORK),
    ("track_group", NETWORK),
    ("net_namespace", NETWORK),
    ("net_namespace_ipvs", NETWORK),
    ("SSL", "weir does not check servers"),
    ("instance", "it is about the process of keepalived itself"),
];
const VRRP: &str = "weir elects no master: it binds a VIP on every node that holds its service, and your network brings packets there";
const NETWORK: &str = "weir sets up VIPs alone, and leaves the rest of the network alone";

/// Reads a file and those it includes.
pub(crate) fn read(file: &Opened, config_id: Option<&str>, open: &mut Open<'_>) -> Read {
    let mut read = Read::default();
    let lines = lines::lines(file, config_id, open, &mut read);
    let statements = blocks::statements(&lines, &mut read);
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for statement in &statements {
        if statement.keyword() == "virtual_server_group" {
            let name = statement.word(1).unwrap_or_default();
            let group = Group::read(statement, &mut read);
            if groups.insert(name, group).is_some() {
                read.fault(
                    statement.at,
                    format!("virtual_server_group {name} is given twice"),
                );
            }
        }
    }
    for statement in &statements {
        match statement.keyword() {
            "virtual_server_group" => {}
            "virtual_server" => server::read(statement, &mut groups, &mut read),
            "global_defs" => globals(statement, &mut read),
            keyword => {
                let known = OUTSIDE.iter().find(|(known, _)| *known == keyword);
                let why = known.map_or("weirctl does not know it", |(_, why)| *why);
                read.note(statement.at, format!("{}: {why}", heading(statement)));
            }
        }
    }
    for (name, group) in &groups {
        if !group.used {
            read.note(
                group.at,
                format!("virtual_server_group {name}: no virtual_server is of it"),
            );
        }
    }
    read
}

/// Gives the first two words, which name a block.
fn heading(statement: &Statement) -> String {
    let words = statement.words.iter().take(2).map(String::as_str);
    words.collect::<Vec<_>>().join(" ")
}

fn globals(statement: &Statement, read: &mut Read) {
    let mut others = 0;
    for inside in statement.inside() {
        let why = match inside.keyword() {
            "lvs_timeouts" => "say it of each Node, as connectionTimeouts",
            "lvs_sync_daemon" => "say it of each Node, as syncDaemons",
            "lvs_flush" | "lvs_flush_on_stop" => {
                "weir never flushes: it changes what is its own, and leaves it there when it stops"
            }
            "nftables_ipvs" => "weir makes no marks: each address and port is a frontend",
            _ => {
                others += 1;
                continue;
            }
        };
        read.note(inside.at, format!("{}: {why}", inside.keyword()));
    }
    if others > 0 {
        read.note(
            statement.at,
            "global_defs: it is about keepalived itself, its mail and its scripts",
        );
    }
}
