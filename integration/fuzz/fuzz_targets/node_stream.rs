#![no_main]
//! See `weir_integration::fuzz`.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| weir_integration::fuzz::check("node_stream", bytes));
