//! `weirctl explain`: what the language says of resources, in the names that files have.
//!
//! The words are the comments of `types.proto`, which the build keeps beside the generated code.

mod text;
mod tree;

use anyhow::Result;

use super::args::ExplainArgs;
use super::outcome::{Trouble, print};
use tree::{Place, kinds};

/// Says what a kind or a field of it is.
pub(super) fn run(args: &ExplainArgs) -> Result<()> {
    let place = Place::find(&args.what).map_err(Trouble::Usage)?;
    print(&text::page(&place, args.recursive))
}

/// Gives everything that can be explained.
pub(super) fn paths() -> Vec<String> {
    fn add(paths: &mut Vec<String>, place: &Place) {
        for part in place.parts() {
            add(paths, &part);
        }
        paths.push(place.path.join("."));
    }
    let mut paths = Vec::new();
    for kind in kinds() {
        add(&mut paths, &kind);
    }
    paths.sort();
    paths
}
