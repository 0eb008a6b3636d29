//! What a process that holds keys can ask of the system.

/// Keeps this process out of core dumps, all of its memory, and debuggers of other processes away;
/// tells whether the system agreed.
///
/// Secrets that live on pages of their own are left out of dumps anyway ([`LockedBytes`]). This is
/// for what is not: expanded keys beside their ciphers, plaintext in buffers, copies on the stack.
/// On Linux the process's entries under `/proc` belong to root afterwards; a program that it starts
/// is not touched.
///
/// [`LockedBytes`]: crate::LockedBytes
#[must_use]
pub fn exclude_from_core_dumps() -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok()
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    use super::*;

    #[test]
    fn the_kernel_is_told_to_dump_nothing_of_this_process() {
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
        assert!(exclude_from_core_dumps());
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
