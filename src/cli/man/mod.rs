//! `hookgate man`: prints hookgate(1), or writes all man pages into a folder.
//!
//! The pages come from the definitions that the program itself uses: commands from those of `--help`, and
//! hookgate.toml(5) from those of the config keys.

mod command_page;
mod config_page;
mod man_page;
mod roff_text;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};

use crate::cli::failure::{self, CommandFailure};
use crate::cli::man::man_page::ManPage;
use crate::cli::output::print;

#[derive(Args)]
pub(super) struct ManArguments {
    /// Folder with man pages, such as /usr/local/share/man. The pages go into its subfolders `man1` and `man5`
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Runs `hookgate man` for the commands of `C` and returns its exit code.
pub(super) fn run<C: CommandFactory>(arguments: &ManArguments) -> ExitCode {
    let command = C::command();
    let Some(folder) = &arguments.folder else {
        for page in render_pages(command).iter().take(1) {
            print(&page.text);
        }
        return ExitCode::SUCCESS;
    };
    let checked = check_folder(folder, &command);
    let written = checked.and_then(|()| write_pages(folder, &render_pages(command)));
    let printed = written.map(|paths| {
        print(&paths);
    });
    failure::end(printed.map_err(|failure| failure.doing("writing the man pages")))
}

/// Renders all pages: hookgate(1) first, then its subcommands, then hookgate.toml(5).
fn render_pages(mut command: Command) -> Vec<ManPage> {
    command.build();
    let mut pages = command_page::render_all(&command, None);
    pages.push(config_page::render());
    pages
}

/// Rejects a folder that does not exist or is probably another one than the operator means.
fn check_folder(folder: &Path, command: &Command) -> Result<(), CommandFailure> {
    let shown = folder.display();
    // Not created here: `hookgate man check` is more likely a question about a command than a new folder.
    if !folder.exists() {
        let name = folder.as_os_str().to_str().unwrap_or_default();
        let help = match command.find_subcommand(name) {
            Some(_) => format!("to read about this command: `hookgate {name} --help`"),
            None => format!("create it first: `mkdir -p {shown}`"),
        };
        return Err(CommandFailure::usage(format!("there is no folder `{shown}`")).help(help));
    }
    if !folder.is_dir() {
        return Err(CommandFailure::usage(format!("`{shown}` is not a folder"))
            .help("name a folder with man pages, such as `/usr/local/share/man`"));
    }
    let parent = folder
        .parent()
        .filter(|_| folder.ends_with("man1") || folder.ends_with("man5"));
    match parent {
        Some(parent) => Err(CommandFailure::usage(format!(
            "`{shown}` is the folder of one section"
        ))
        .help(format!(
            "name the folder that contains it: `hookgate man {}`",
            parent.display()
        ))),
        None => Ok(()),
    }
}

/// Writes the pages below a folder. Returns the path of each, one a line.
fn write_pages(folder: &Path, pages: &[ManPage]) -> Result<String, CommandFailure> {
    let mut paths = String::new();
    for page in pages {
        let path = folder.join(page.path());
        let written = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = written.and_then(|()| fs::write(&path, &page.text));
        written.map_err(|error| {
            let failure = CommandFailure::new(format!("cannot write `{}`: {error}", path.display()));
            match error.kind() {
                ErrorKind::PermissionDenied => failure
                    .help("run the command with `sudo`, or name a folder of your own, such as `~/.local/share/man`"),
                _ => failure,
            }
        })?;
        paths.push_str(&format!("{}\n", path.display()));
    }
    Ok(paths)
}
