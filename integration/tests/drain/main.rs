//! Backends and nodes that leave: what they carry goes on, nothing new comes to them, and they go with their last
//! connection; and what is held back when too much would go. Needs root and a kernel with ip_vs: `integration/run test
//! drain` finds one.

mod brakes;
mod deadlines;
mod direct;
#[path = "../scenarios/farm.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod farm;
#[path = "../drift/hands.rs"]
#[allow(dead_code, reason = "the group drift uses the rest")]
mod hands;
mod leaving;
mod orders;
mod restarts;
#[path = "../scenarios/site.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod site;
mod talk;
mod udp;
