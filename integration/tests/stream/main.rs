//! One controller and three nodes in trouble: what each fault does to traffic and to the others, and what the operator is
//! shown. Needs root and a kernel with ip_vs: `integration/run test stream` finds one.

mod faults;
mod shown;
#[path = "../scenarios/site.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod site;
