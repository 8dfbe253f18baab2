//! A private authority for those who have none: makes it, signs by it, and shows what was signed. No key leaves this machine.

mod authority;
mod directory;

pub use authority::{Authority, AuthorityError, HostName, Issued, Validity};
pub use directory::{Directory, DirectoryError};
