//! weir on a real kernel, with real traffic through its virtual addresses. Needs root and a kernel with
//! ip_vs: `integration/run test kernel` finds one.

mod abilities;
mod backends;
mod foreign;
mod hairpin;
mod lockdown;
mod operations;
mod restart;
mod site;
mod two_nodes;
