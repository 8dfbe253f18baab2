//! What somebody else changes in a node's kernel: weir's own is put back, and what is not weir's is left alone. Needs
//! root and a kernel with ip_vs: `integration/run test drift` finds one.

mod audits;
mod hands;
mod notices;
#[path = "../scenarios/site.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod site;
