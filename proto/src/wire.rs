//! The generated code, and the descriptors that gRPC reflection serves.

#![allow(missing_docs, unreachable_pub)]
#![allow(clippy::all, clippy::unwrap_used)]

tonic::include_proto!("weir.v1");

/// The `google.protobuf.FileDescriptorSet` of the language, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/weir.descriptor.bin"));
