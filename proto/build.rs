//! Compiles the .proto files with a compiler written in Rust: no protoc is needed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

const FILES: &[&str] = &[
    "weir/v1/types.proto",
    "weir/v1/traffic.proto",
    "weir/v1/events.proto",
    "weir/v1/questions.proto",
    "weir/v1/why.proto",
    "weir/v1/operator.proto",
    "weir/v1/node.proto",
    "weir/v1/agent.proto",
];

/// What manifests say: explained are these messages, and what they are made of.
const EXPLAINED: [&str; 4] = [
    ".weir.v1.Resource",
    ".weir.v1.Service",
    ".weir.v1.BackendSet",
    ".weir.v1.Node",
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
    std::fs::write(out.join("explained.rs"), explained(&files)?)?;
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

/// Writes what is said of messages, their fields and the values of enumerations: message, comment and fields, each with name,
/// label, type and comment; of an enumeration the fields are its values, without label and type.
fn explained(files: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    // each by its name: what it is, and which it names
    let mut all: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for file in &files.file {
        let comments = comments(file);
        let comment = |path: &[i32]| comments.get(path).map_or("", String::as_str);
        // google/protobuf/descriptor.proto: FileDescriptorProto.message_type, its field; enum_type, its value
        for (at, message) in (0..).zip(&file.message_type) {
            let (mut fields, mut named) = (String::new(), Vec::new());
            for (place, field) in (0..).zip(&message.field) {
                let about = comment(&[4, at, 2, place]);
                let of = field.type_name();
                let maps = message.nested_type.iter().any(|nested| {
                    let entry = nested.options.as_ref().is_some_and(|it| it.map_entry());
                    entry && of.ends_with(&format!(".{}", nested.name()))
                });
                let label = match (maps, field.label().as_str_name()) {
                    (true, _) => "map",
                    (false, "LABEL_REPEATED") => "repeated",
                    (false, _) => "",
                };
                let scalar = field.r#type().as_str_name();
                let of = if of.is_empty() { scalar } else { of };
                write!(
                    fields,
                    "({:?}, {label:?}, {of:?}, {about:?}), ",
                    field.name()
                )?;
                // the kinds of resource are explained each by itself
                if field.oneof_index.is_none() || field.proto3_optional() {
                    named.push(of.to_owned());
                }
            }
            let name = format!(".{}.{}", file.package(), message.name());
            let line = format!("({name:?}, {:?}, &[{fields}]),\n", comment(&[4, at]));
            all.insert(name, (line, named));
        }
        for (at, one) in (0..).zip(&file.enum_type) {
            let mut values = String::new();
            for (place, value) in (0..).zip(&one.value) {
                let about = comment(&[5, at, 2, place]);
                write!(values, "({:?}, \"\", \"\", {about:?}), ", value.name())?;
            }
            let name = format!(".{}.{}", file.package(), one.name());
            let line = format!("({name:?}, {:?}, &[{values}]),\n", comment(&[5, at]));
            all.insert(name, (line, Vec::new()));
        }
    }
    let mut table = "&[".to_owned();
    let mut waiting: Vec<String> = EXPLAINED.map(str::to_owned).to_vec();
    while let Some(name) = waiting.pop() {
        if let Some((line, named)) = all.remove(&name) {
            table.push_str(&line);
            waiting.extend(named);
        }
    }
    table.push(']');
    Ok(table)
}

/// Gives what stands before each thing of a file.
fn comments(file: &FileDescriptorProto) -> BTreeMap<&[i32], String> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let comments = locations.map(|location| {
        let lines = location.leading_comments().lines().map(str::trim);
        let text: Vec<&str> = lines.collect();
        (location.path.as_slice(), text.join("\n").trim().to_owned())
    });
    comments.collect()
}
