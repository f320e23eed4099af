//! `hookgate replay-file`: sends a saved request again, unchanged or with a new signature.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hookgate_verify::net::redact::MASK;
use http::Uri;

use crate::cli::confirm::block_on;
use crate::cli::exchange::{ConnectOptions, answer_text, document, request_text, secret_location};
use crate::cli::failure::{self, CommandFailure};
use crate::cli::output::{clean, print, print_json};
use crate::cli::signer::{self, SignerOptions};
use crate::model::clock::ClockReading;
use crate::net::request_file::{BODY, RequestFile, is_framing};
use crate::testing::EventSender;

#[derive(Args)]
pub(super) struct ReplayFileArguments {
    /// Request file, as `hookgate capture`, `hookgate listen --save` or `hookgate send --print` write it
    file: PathBuf,
    /// URL to send the request to. Without a path in the URL, path and query are those of the file
    #[arg(long, value_name = "URL")]
    to: String,
    /// Value of the `Host` header (default: the host of the URL); `file` keeps the header of the file
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Sign the request again with the current time, as the provider would. Requires `--provider` and a secret, or
    /// `--config` and `--route`
    #[arg(long)]
    resign: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    signer: SignerOptions,
    #[command(flatten)]
    connect: ConnectOptions,
}

/// Runs `hookgate replay-file` and returns its exit code: 1 where the response is not 2xx.
pub(super) fn run(arguments: &ReplayFileArguments) -> ExitCode {
    failure::end(replay(arguments))
}

fn replay(arguments: &ReplayFileArguments) -> Result<(), CommandFailure> {
    let doing = format!("reading `{}`", arguments.file.display());
    let read = RequestFile::read(&arguments.file);
    let mut request =
        read.map_err(|error| CommandFailure::usage(error.to_string()).doing(&doing))?;
    if let Some(body) = request.fact(BODY) {
        anstream::eprintln!(
            "warning: the body in the file is incomplete: {}",
            clean(body)
        );
    } else if let Some(warning) = request.length_warning() {
        anstream::eprintln!("warning: {warning}; the body is sent unchanged");
    }
    signer::check_url(&arguments.to)?;
    // Before signing: some providers sign the URL.
    aim(&mut request, arguments);
    let mut hidden = None;
    // Where the secret itself is the token, it must not appear in the output. Without `--resign`, the output has only
    // what is in the file.
    if arguments.resign {
        let known = arguments.signer.known()?.ok_or_else(|| {
            CommandFailure::usage("`--resign` needs a provider and its secret")
                .help("add `--provider ID` and a secret, or `--config FILE --route NAME`")
        })?;
        let sender = EventSender::with(
            &known.spec,
            known.provider.as_deref(),
            &known.secret,
            &arguments.to,
            known.public_url.as_deref(),
        );
        let sender = sender.map_err(|error| signer::failure(&error))?;
        let signed = sender.sign(&mut request, ClockReading::read().unix_ms);
        signed.map_err(|error| signer::failure(&error))?;
        hidden = secret_location(sender.spec(), sender.signature_location().as_ref());
    }
    let masked = request.masked().join(", ");
    if !masked.is_empty() {
        anstream::eprintln!("warning: masked when it was saved, so sent as `{MASK}`: {masked}");
    }
    let target = arguments.connect.target(&arguments.to)?;
    block_on(async {
        let answer = target.send(&request).await;
        let hidden = hidden.as_deref();
        match arguments.json {
            true => print_json(&document(&request, &answer, hidden)),
            false => {
                print(&format!(
                    "{}\n{}",
                    request_text(&request, hidden),
                    answer_text(&answer)
                ));
            }
        }
        match answer {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => Err(CommandFailure::new(format!(
                "the response was {}, not 2xx",
                answer.status
            ))),
            Err(_) => Err(CommandFailure::new("no response received")),
        }
    })
}

/// Sets host and target. Everything else stays as in the file, except framing headers, which the client writes itself.
fn aim(request: &mut RequestFile, arguments: &ReplayFileArguments) {
    request.headers.retain(|(name, _)| !is_framing(name));
    match arguments.host.as_deref() {
        Some("file") => {}
        Some(host) => request.set_header("Host", host),
        None => request.remove_header("host"),
    }
    let url: Option<Uri> = arguments.to.parse().ok();
    let target = url.as_ref().and_then(Uri::path_and_query);
    // `http::Uri` reads a URL without a path as `/`; only a slash that was typed means the root.
    let named = target.filter(|target| target.as_str() != "/" || arguments.to.ends_with('/'));
    if let Some(named) = named {
        request.target = named.as_str().to_owned();
    }
}
