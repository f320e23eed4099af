//! `hookgate capture`: saves a request from a running gate as a file.
//!
//! The file holds data of customers, so only its owner can read it, and no existing file is ever overwritten.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;

use crate::admin::resources::CAPTURE_REQUEST;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::block_on;
use crate::cli::failure::{self, CommandFailure};
use crate::cli::output::{clean, print};
use crate::net::request_file::{BODY, MASKED, RequestFile};

/// Arguments of `capture`: the id of the request, and the file to write.
#[derive(Args)]
pub(super) struct CaptureArguments {
    /// Id of an event, from `hookgate events list`, or of a rejected request: `request_id` in the log
    id: String,
    /// File to write; it must not exist yet (default: standard output)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Runs `hookgate capture` and returns its exit code.
pub(super) fn run(arguments: &CaptureArguments) -> ExitCode {
    let doing = format!("capturing the request `{}`", clean(&arguments.id));
    failure::end(capture(arguments, &doing))
}

fn capture(arguments: &CaptureArguments, doing: &str) -> Result<(), CommandFailure> {
    let client = arguments.admin.client()?;
    let path = CAPTURE_REQUEST.at(&[&arguments.id]);
    let bytes = block_on(client.bytes(doing, &path))?;
    // Parsed before it is written, so that no file appears for a response that is something else.
    let request = RequestFile::parse(&bytes).map_err(|error| {
        CommandFailure::new(format!("the response of the gate is not a request file: {error}"))
            .doing(doing)
            .help("gate and command may have different versions: use the `hookgate` binary that the gate runs")
    })?;
    let written = match &arguments.out {
        Some(path) => write(path, &bytes),
        None => show(&bytes),
    };
    written.map_err(|failure| failure.doing(doing))?;
    // On standard error, since standard output may be redirected into the file.
    if let Some(masked) = request.fact(MASKED) {
        anstream::eprintln!("note: masked because it may be a token: {}", clean(masked));
    }
    if let Some(body) = request.fact(BODY) {
        anstream::eprintln!("note: the body is incomplete: {}", clean(body));
    }
    Ok(())
}

/// Writes a new file that only its owner can read. Rejects a path that exists.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CommandFailure> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(bytes));
    written.map_err(|err| match err.kind() {
        io::ErrorKind::AlreadyExists => {
            CommandFailure::usage(format!("`{}` already exists", path.display()))
                .help("choose another file name, or remove the file")
        }
        _ => CommandFailure::new(format!("cannot write `{}`: {err}", path.display())),
    })
}

/// Writes the request to standard output: byte for byte to a file or pipe, but escaped to a terminal.
fn show(bytes: &Bytes) -> Result<(), CommandFailure> {
    let mut out = io::stdout();
    if !out.is_terminal() {
        let written = out.write_all(bytes).and_then(|()| out.flush());
        return match written {
            // A reader that closed the pipe, such as `head`, has read enough.
            Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(CommandFailure::new(
                format!("cannot write to standard output: {err}"),
            )),
            _ => Ok(()),
        };
    }
    let text = std::str::from_utf8(bytes).map_err(|_| {
        CommandFailure::new("the request is not text, so a terminal cannot show it")
            .help("save it as a file: `--out FILE`")
    })?;
    for line in text.lines() {
        // `clean` would escape a tab, which is common in formatted JSON.
        print(&format!("{}\n", clean(&line.replace('\t', "    "))));
    }
    Ok(())
}
