//! The kernel door: everything between this node's plan and the kernel that carries it out.
//!
//! Kernel synonyms (virtual server, destination, set element) live in here and nowhere else.

pub mod linux;
