//! Compiles the .proto files with a compiler written in Rust: no protoc is needed.

use std::fmt::Write as _;
use std::path::PathBuf;

use prost::Message;
use tonic_prost_build::FileDescriptorSet;

const FILES: &[&str] = &[
    "weir/v1/types.proto",
    "weir/v1/traffic.proto",
    "weir/v1/events.proto",
    "weir/v1/questions.proto",
    "weir/v1/operator.proto",
    "weir/v1/node.proto",
    "weir/v1/agent.proto",
];

/// Items are read one by one, from the bytes in which they came: on the wire a message within another is its bytes.
const AS_BYTES: [(&str, &str); 2] = [("Update", "upserted"), ("Trial", "upserted")];
/// google.protobuf.FieldDescriptorProto.Type.TYPE_BYTES
const TYPE_BYTES: i32 = 12;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=wire");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut files = protox::compile(FILES, ["wire"])?;
    std::fs::write(out.join("weir.descriptor.bin"), files.encode_to_vec())?;
    std::fs::write(out.join("fields.rs"), fields_of(&files)?)?;
    let messages = files
        .file
        .iter_mut()
        .flat_map(|file| &mut file.message_type);
    for message in messages {
        let of = message.name().to_owned();
        let fields = message.field.iter_mut();
        for field in fields.filter(|field| AS_BYTES.contains(&(&of, field.name()))) {
            field.r#type = Some(TYPE_BYTES);
            field.type_name = None;
        }
    }
    // ordered maps: the same message is always the same bytes
    let mut configured = tonic_prost_build::configure().btree_map(".");
    for (message, field) in AS_BYTES {
        // parts of the message that came, not copies
        configured = configured.bytes(format!(".weir.v1.{message}.{field}"));
    }
    configured.compile_fds(files)?;
    Ok(())
}

/// Writes which fields each message has: number, name, and the type where that is a message or an enumeration.
fn fields_of(files: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    let mut table = "&[".to_owned();
    for file in &files.file {
        let package = format!(".{}", file.package());
        let messages = file.message_type.iter();
        let mut messages: Vec<_> = messages.map(|it| (package.clone(), it)).collect();
        while let Some((within, message)) = messages.pop() {
            let name = format!("{within}.{}", message.name());
            write!(table, "({name:?}, &[")?;
            for field in &message.field {
                let (number, field, of) = (field.number(), field.name(), field.type_name());
                write!(table, "({number}, {field:?}, {of:?}), ")?;
            }
            table.push_str("]),\n");
            let nested = message.nested_type.iter();
            messages.extend(nested.map(|nested| (name.clone(), nested)));
        }
    }
    table.push(']');
    Ok(table)
}
