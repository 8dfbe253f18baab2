//! What must hold for every decoder whatever the bytes, as one function for each, and bytes to begin with.
//!
//! The functions are called from three places: by cargo-fuzz (`fuzz/fuzz_targets`), which looks for new paths;
//! by an ordinary test, which tries a bounded number of damaged seeds; and by the program `fuzz`, which does
//! that for a given time. Each panics when what must hold does not: what was decoded and encoded decodes to the
//! same, an unknown attribute is kept or changes nothing, and decoding ends.

mod conntrack;
mod disk;
mod ipset;
mod ipvs;
mod manifest;
mod mutator;
mod netlink;
mod nftables;
mod rtm;
mod seeds;
mod stream;
mod wire;

pub use mutator::Mutator;

/// A decoder and what must hold for it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: also that of the file in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Checks what must hold and says whether the bytes could be decoded.
    pub check: fn(&[u8]) -> bool,
    /// Bytes that can be decoded.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every decoder.
pub const TARGETS: &[Target] = &[
    target("netlink_messages", netlink::messages, seeds::messages),
    target("netlink_attributes", netlink::attributes, seeds::services),
    target("genl_family", netlink::family, seeds::family),
    target("nft_rule", netlink::rule, seeds::rules),
    target("nft_table", nftables::table, seeds::nft_tables),
    target("nft_chain", nftables::chain, seeds::nft_chains),
    target("nft_set", nftables::set, seeds::nft_sets),
    target("nft_listed_rule", nftables::rule, seeds::nft_rules),
    target("nft_elements", nftables::elements, seeds::nft_elements),
    target("nft_key", nftables::key, seeds::nft_keys),
    target("rtm_address", rtm::address, seeds::rtm_addresses),
    target("rtm_route", rtm::route, seeds::rtm_routes),
    target("rtm_link", rtm::link, seeds::rtm_links),
    target("rtm_notice", rtm::notice, seeds::rtm_notices),
    target("conntrack_flow", conntrack::flow, seeds::flows),
    target("ipvs_service", ipvs::service, seeds::services),
    target("ipvs_dest", ipvs::dest, seeds::dests),
    target("ipvs_daemon", ipvs::daemon, seeds::daemons),
    target("ipvs_settings", ipvs::settings, seeds::settings),
    target("ipvs_stats", ipvs::stats, seeds::stats),
    target("ipset_listing", ipset::listing, seeds::listings),
    target("ipset_header", ipset::header, seeds::listings),
    target("ipset_members", ipset::members, seeds::members),
    target("ipset_element", ipset::element, seeds::elements),
    target("ipset_revisions", ipset::revisions, seeds::revisions),
    target("wire_item", wire::item, seeds::items),
    target("wire_item_key", wire::item_key, seeds::item_keys),
    target("wire_resource", wire::resource, seeds::resources),
    target("wire_hello", wire::hello, seeds::hellos),
    target("wire_failure", wire::failure, seeds::failures),
    target("node_stream", stream::stream, stream::seeds),
    target("manifest", manifest::manifest, manifest::seeds),
    target("journal_records", disk::journal, seeds::journals),
    target("disk_envelope", disk::envelope, seeds::envelopes),
    target("disk_snapshot", disk::snapshot, seeds::snapshots),
];

const fn target(
    name: &'static str,
    check: fn(&[u8]) -> bool,
    seeds: fn() -> Vec<Vec<u8>>,
) -> Target {
    Target { name, check, seeds }
}

impl Target {
    /// Finds a target.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

/// Checks one input of a target; what cargo-fuzz calls.
pub fn check(name: &str, bytes: &[u8]) {
    let target = Target::named(name).unwrap_or_else(|| panic!("no target {name}"));
    (target.check)(bytes);
}

/// Writes bytes as they are quoted in a failure and read from a file of seeds.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
