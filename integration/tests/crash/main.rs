//! An agent that dies or fails at any moment while changes flow, on a real kernel with real traffic: nothing is lost.
//! Needs root, a kernel with ip_vs, and the programs that `integration/run test crash` builds.

mod churn;
mod eyes;
mod kills;
mod model;
mod points;
mod rig;
mod warm;
