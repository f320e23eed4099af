//! The `hookgate` command: hands the arguments to `cli` and ends with its exit code.

use std::process::ExitCode;

/// glibc's allocator keeps what many short-lived connections on many threads leave behind; mimalloc gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hookgate::cli::main()
}
