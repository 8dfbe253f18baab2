//! The sources of the workspace as a value.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Each Rust file's text by its path from the root of the workspace, with `/` between the parts.
pub(crate) type Tree = BTreeMap<String, String>;

const MEMBERS: [&str; 4] = ["proto", "controller", "agent", "integration"];

/// Reads every Rust file of the workspace's members.
pub(crate) fn workspace() -> Tree {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut tree = Tree::new();
    for member in MEMBERS {
        walk(&root, member, &mut tree);
    }
    tree
}

fn walk(root: &Path, dir: &str, tree: &mut Tree) {
    let path = root.join(dir);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = format!("{dir}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().expect("a directory's entry has a type");
        // A target directory may lie in the tree; what is generated there obeys nobody.
        if kind.is_dir() && !name.ends_with("/target") {
            walk(root, &name, tree);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path());
            tree.insert(name, text.expect("a source file is text"));
        }
    }
}
