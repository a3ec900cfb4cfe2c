//! The system calls that have no safe wrapper: the only unsafe code of the program.
//!
//! Each function here is as small as the call it wraps and checks what it needs itself, so that
//! everything outside this module is safe to call in any order. The one rule that types cannot
//! hold is that [`process::fork`] wants a process of one thread; the inner half never starts a
//! second one.

pub(crate) mod lease;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod seccomp;
