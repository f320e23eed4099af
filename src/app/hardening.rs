//! Keeps the memory of the process, which holds secrets, out of core files and away from debuggers of the same user.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core file, and no `ptrace` but by root. To be called before secrets are read.
///
/// # Errors
/// What the system says.
pub fn deny_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Both are tried: a sandbox that forbids to set limits has set this one itself.
    let limited = setrlimit(Resource::Core, none);
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(limited?)
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    // Mutation: `deny_dumps` returns at once.
    #[test]
    fn the_process_cannot_be_dumped() {
        deny_dumps().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
