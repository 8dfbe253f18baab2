//! Files that people write.

use weir_controller::ctl::{read_manifest, write_manifest};
use weir_proto::convert::resource_from_wire;

/// One of each kind of resource and each way of writing more than one.
const SEEDS: [&str; 6] = [
    include_str!("../../../deploy/examples/two-pods.yaml"),
    include_str!("../../../deploy/examples/backend-sets.yaml"),
    include_str!("../../../deploy/examples/firewall-mark.yaml"),
    include_str!("../../../deploy/examples/node-settings.yaml"),
    "{apiVersion: weir/v1, kind: List, items: [{apiVersion: weir/v1, kind: Node, metadata: {name: node-a}}]}\n",
    "---\napiVersion: weir/v1\nkind: Node\nmetadata:\n  name: \"node-a\"\n  labels: {zone: 'a'}\n---\n\
     apiVersion: weir/v1\nkind: Node\nmetadata: {name: node-b, labels: {zone: b}}\n",
];

pub(super) fn manifest(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let resources = match read_manifest(text) {
        Ok(resources) => resources,
        Err(faults) => {
            let lines = text.split(['\n', '\r']).count() + 1;
            assert!(!faults.is_empty(), "refused without a reason");
            for fault in faults {
                let line = fault.split(':').nth(1).and_then(|line| line.parse().ok());
                let line: usize = line.unwrap_or_else(|| panic!("no line in {fault:?}"));
                assert!((1..=lines).contains(&line), "{fault:?} of {lines} lines");
            }
            return false;
        }
    };
    for resource in &resources {
        let read = resource_from_wire(resource.clone());
        read.unwrap_or_else(|error| panic!("what a file may say is refused: {error}"));
    }
    let written = write_manifest(&resources).expect("written");
    assert_eq!(
        read_manifest(&written).as_ref(),
        Ok(&resources),
        "{written}"
    );
    !resources.is_empty()
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    SEEDS.map(|text| text.as_bytes().to_vec()).to_vec()
}
