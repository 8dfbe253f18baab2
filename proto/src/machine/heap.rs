//! The heap of this program. The one file that holds unsafe code: no safe function asks the allocator for this.

/// Gives what is free on the heap back to the machine, also what lies between things that are in use: the allocator itself gives
/// back only what is free at its end, and a burst of work leaves something small there. Walks over all that is free, a
/// millisecond for each ten MiB or so: for after a burst, and not for each turn. Where the allocator is not glibc's it does
/// nothing.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "the allocator's own function")]
    // SAFETY: malloc_trim(3) takes its own locks, may be called by any thread at any time, and touches nothing in use.
    // The number is how many bytes stay free at the end.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
