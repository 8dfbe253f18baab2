//! Compiles the .proto files with a compiler written in Rust: no protoc is needed.

use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 3] = [
    "weir/v1/types.proto",
    "weir/v1/operator.proto",
    "weir/v1/node.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=wire");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let files = protox::compile(FILES, ["wire"])?;
    std::fs::write(out.join("weir.descriptor.bin"), files.encode_to_vec())?;
    // ordered maps: the same message is always the same bytes
    tonic_prost_build::configure()
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
