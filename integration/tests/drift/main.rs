//! What somebody else changes in a node's kernel: weir's own is put back, and what is not weir's is left alone; and what is
//! foretold and told of kernels by `weirctl plan` and `weirctl diff`. Needs root and a kernel with ip_vs: `integration/run test drift` finds one.

mod audits;
mod compared;
mod foretold;
mod hands;
mod notices;
mod pair;
mod seen;
#[path = "../scenarios/site.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod site;
