//! `hookgate send`: sends signed test events of a provider to any URL and shows the responses.
//!
//! With `--bad` each event has a defect on purpose, and success means that the receiver rejects it.

mod arguments;
mod defect;
mod list;
mod load;
mod recipe;

use std::num::NonZeroU32;
use std::process::ExitCode;

use crate::cli::confirm::block_on;
use crate::cli::exchange::{answer_text, document, request_text, secret_location};
use crate::cli::failure::{self, CommandFailure};
use crate::cli::output::{print, print_json};
pub(super) use crate::cli::send::arguments::SendArguments;
use crate::cli::send::recipe::EventRecipe;
use crate::cli::signer;

/// Runs `hookgate send` and returns its exit code.
pub(super) fn run(arguments: &SendArguments) -> ExitCode {
    failure::end(match arguments.list {
        true => {
            list::print_list(arguments.signer.provider.as_deref(), arguments.json);
            Ok(())
        }
        false => send(arguments),
    })
}

fn send(arguments: &SendArguments) -> Result<(), CommandFailure> {
    let known = arguments.signer.known()?.ok_or_else(|| {
        CommandFailure::usage("no provider selected")
            .help("add `--provider ID` and a secret, or `--config FILE --route NAME`; `--list` shows what can be sent")
    })?;
    let url = arguments.url.clone().or_else(|| known.url.clone());
    let url = url.ok_or_else(|| {
        CommandFailure::usage("no URL to send to")
            .help("add a URL, for example `https://localhost:8443/stripe`")
    })?;
    signer::check_url(&url)?;
    let recipe = EventRecipe::new(arguments, &known, &url)?;
    if arguments.print {
        let file = recipe.make()?.to_bytes();
        let file = file.map_err(|error| CommandFailure::usage(error.to_string()))?;
        use std::io::Write;
        let mut out = std::io::stdout();
        // A reader that closed the pipe is not a failure.
        let _ = out.write_all(&file).and_then(|()| out.flush());
        return Ok(());
    }
    let target = arguments.connect.target(&url)?;
    if arguments.count.get() > 1 {
        let load = load::LoadPlan {
            count: arguments.count.get(),
            rate: arguments.rate.map(NonZeroU32::get),
            concurrency: arguments.concurrency.get(),
            json: arguments.json,
        };
        return block_on(load.run(recipe, target));
    }
    // A token is the secret itself and must not appear in the output.
    let secret = secret_location(
        recipe.sender.spec(),
        recipe.sender.signature_location().as_ref(),
    );
    let hidden = secret.as_deref();
    block_on(async {
        let exchanges = recipe.exchange(&target).await?;
        if arguments.json {
            let all = exchanges.iter();
            let mut all: Vec<_> = all
                .map(|(request, answer)| document(request, answer, hidden))
                .collect();
            match all.len() {
                1 => print_json(&all.remove(0)),
                _ => print_json(&all),
            }
        } else {
            for (request, answer) in &exchanges {
                let text = format!("{}\n{}", request_text(request, hidden), answer_text(answer));
                print(&text);
            }
        }
        let (_, answer) = exchanges
            .last()
            .ok_or_else(|| CommandFailure::new("no event was sent"))?;
        match recipe.is_as_it_should(answer) {
            true => Ok(()),
            false => Err(recipe.disappointment(answer)),
        }
    })
}
