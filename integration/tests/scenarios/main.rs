//! weir on a real kernel, with real traffic through its virtual addresses. Needs root and a kernel with
//! ip_vs: `integration/run test kernel` finds one.

mod abilities;
mod adoption;
mod affinity;
mod backends;
mod farm;
mod foreign;
mod forwarding;
mod hairpin;
mod leaving;
mod lockdown;
mod node_settings;
mod operations;
mod restart;
mod schedulers;
mod site;
mod two_nodes;
