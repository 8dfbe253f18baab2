//! The generated code, and the descriptors that gRPC reflection serves.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::all, clippy::unwrap_used)]

tonic::include_proto!("weir.v1");

/// A field: its number, its name, and its type where that is a message or an enumeration.
pub type Field = (u32, &'static str, &'static str);

/// The fields of each message, by the message's whole name.
pub const FIELDS: &[(&str, &[Field])] = include!(concat!(env!("OUT_DIR"), "/fields.rs"));

/// The `google.protobuf.FileDescriptorSet` of the language, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/weir.descriptor.bin"));

/// Something that manifests name: its name, what is said of it, and its parts. Those of a message are fields: name, `repeated`
/// or `map` or nothing, type (a scalar as `google.protobuf.FieldDescriptorProto.Type` names it), and what is said of it. Those of
/// an enumeration are values, with name and what is said of it alone.
pub type Explained = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str, &'static str, &'static str)],
);

/// What is said of resources, in the comments of the language.
pub const EXPLAINED: &[Explained] = include!(concat!(env!("OUT_DIR"), "/explained.rs"));
