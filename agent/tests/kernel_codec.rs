//! The codecs against a real kernel.
#![allow(missing_docs)]
