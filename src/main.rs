//! The `hookgate` command: runs hookgate and exits with its exit code.

use std::process::ExitCode;

/// Allocator of the process. mimalloc returns memory to the system after many short-lived connections on many threads;
/// the allocator of glibc keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hookgate::run()
}
