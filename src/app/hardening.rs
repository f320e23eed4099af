//! Process hardening: no core files, and no debugger of the same user.
//!
//! The memory of the process holds secrets.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Disables core files, and `ptrace` for all users but root. Call it before secrets are read.
pub(crate) fn deny_dumps() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // The second call is made even if the first one fails: a sandbox that forbids to change limits has usually set this
    // one.
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
