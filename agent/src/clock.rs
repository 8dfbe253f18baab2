//! The clock on the wall, for what outlives the process: a drain's deadline does.

pub(crate) use weir_proto::machine::now_unix_ms;
