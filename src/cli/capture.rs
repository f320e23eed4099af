//! `hookgate capture`: a request that a running gate knows, as a file.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;

use crate::admin::path::segment;
use crate::cli::ask::block_on;
use crate::cli::door::Door;
use crate::cli::failure::{self, Failure};
use crate::cli::output::{clean, print};
use crate::net::request_file::{BODY, MASKED, RequestFile};

/// Which request, and where to.
#[derive(Args)]
pub(super) struct Arguments {
    /// The id of an event, as `hookgate events list` has it, or of a refused request, as the log has it
    id: String,
    /// The file to write, which must not be there yet; else it goes to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    door: Door,
}

/// Runs `capture`.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let doing = format!("capturing the request `{}`", clean(&arguments.id));
    failure::end(capture(arguments, &doing))
}

fn capture(arguments: &Arguments, doing: &str) -> Result<(), Failure> {
    let client = arguments.door.client()?;
    let path = format!("/api/v1/requests/{}", segment(&arguments.id));
    let bytes = block_on(client.bytes(doing, &path))?;
    let request = RequestFile::parse(&bytes).map_err(|error| {
        Failure::new(format!("the answer of the gate is no request: {error}"))
            .doing(doing)
            .help("gate and command are of different versions: use the gate's own `hookgate`")
    })?;
    let written = match &arguments.out {
        Some(path) => write(path, &bytes),
        None => show(&bytes),
    };
    written.map_err(|failure| failure.doing(doing))?;
    if let Some(masked) = request.fact(MASKED) {
        anstream::eprintln!("note: masked, since it may be a token: {}", clean(masked));
    }
    if let Some(body) = request.fact(BODY) {
        anstream::eprintln!("note: the body is not whole: {}", clean(body));
    }
    Ok(())
}

/// For its owner only: it is somebody's data.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(bytes));
    written.map_err(|err| match err.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("`{}` is there already", path.display()))
                .help("name another file, or remove it")
        }
        _ => Failure::new(format!("cannot write `{}`: {err}", path.display())),
    })
}

/// A terminal gets no byte that it would act on.
fn show(bytes: &Bytes) -> Result<(), Failure> {
    let mut out = io::stdout();
    if !out.is_terminal() {
        let written = out.write_all(bytes).and_then(|()| out.flush());
        return match written {
            // Who reads has enough.
            Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("cannot write it: {err}")))
            }
            _ => Ok(()),
        };
    }
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Failure::new("the request is no text").help("save it as a file: `--out FILE`")
    })?;
    for line in text.lines() {
        print(&format!("{}\n", clean(&line.replace('\t', "    "))));
    }
    Ok(())
}
