//! `reference` writes the pages under `deploy/reference` anew; `reference packaging DIR` writes the manual and what completes
//! commands below DIR, as a package has them below `/usr/share`.

use std::path::Path;

use anyhow::{Result, bail};
use weir_integration::reference;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [] => reference::write(&reference::home()),
        ["packaging", directory] => reference::packaging(Path::new(directory)),
        _ => bail!("usage: reference [packaging DIR]"),
    }
}
