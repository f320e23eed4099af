//! `hookgate listen`: a receiver for webhooks during development.
//!
//! It prints each request, verifies its signature as a gate would, and sends the response that the options ask for.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

use clap::Args;
use hookgate_verify::model::span;
use hookgate_verify::scheme::RequestHead;
use hookgate_verify::scheme::spec::SchemeLocation;
use hookgate_verify::signature::SignatureVerifier;
use serde_json::json;

use crate::cli::confirm::{block_on, interrupted};
use crate::cli::exchange::{request_text, secret_location};
use crate::cli::failure::{self, CommandFailure};
use crate::cli::output::{BAD, GOOD, STRONG, print, styled};
use crate::cli::signer::{self, SenderProfile, SignerOptions};
use crate::config::model::SecretEntry;
use crate::gate::reject::Reject;
use crate::net::request_file::RequestFile;
use crate::testing::receiver::RequestJudge;
use crate::testing::{ReceivedRequest, ResponseBehavior, WebhookReceiver};

#[derive(Args)]
pub(super) struct ListenArguments {
    /// Address to listen on; port 0 selects a free port, which is printed
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Response to send: a status, `timeout`, `reset`, `slow:3s`, `flaky:0.3`, `sequence:500,500,200`
    #[arg(long, value_name = "HOW", default_value = "200")]
    respond: ResponseBehavior,
    /// Folder in which to save each request as a file, for `hookgate replay-file`
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,
    /// Exit after this number of requests
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
    /// Print one JSON document for each request, on one line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    signer: SignerOptions,
}

/// Runs `hookgate listen` until Ctrl-C or `--count`, and returns its exit code.
pub(super) fn run(arguments: &ListenArguments) -> ExitCode {
    failure::end(listen(arguments))
}

fn listen(arguments: &ListenArguments) -> Result<(), CommandFailure> {
    let known = arguments.signer.known()?;
    let hidden = known.as_ref().and_then(redacted_name);
    if let Some(folder) = &arguments.save {
        fs::create_dir_all(folder).map_err(|err| {
            CommandFailure::usage(format!(
                "cannot create the folder `{}`: {err}",
                folder.display()
            ))
        })?;
    }
    block_on(async {
        // Before the address is printed: a script that reads it may send the interrupt at once.
        let mut ended = pin!(interrupted()?);
        let receiver = WebhookReceiver::with(arguments.listen, arguments.respond.clone()).await;
        let receiver = receiver.map_err(|error| {
            signer::failure(&error)
                .help("choose another address with `--listen`; port 0 selects a free port")
        })?;
        if let Some(known) = &known {
            // Only now: with port 0, the URL that some schemes verify is known after the bind.
            receiver.judge(judge(known, &receiver.url(""))?);
        }
        print_address(&receiver, arguments.json);
        let mut count = 0;
        while arguments.count.is_none_or(|most| count < most.get()) {
            let received = tokio::select! {
                received = receiver.next() => received,
                _ = &mut ended => break,
            };
            count += 1;
            if let Some(folder) = &arguments.save {
                save(folder, &received)?;
            }
            print_request(&received, arguments.json, hidden.as_deref());
        }
        receiver.stop().await;
        Ok(())
    })
}

fn print_address(receiver: &WebhookReceiver, is_json: bool) {
    let address = receiver.address();
    match is_json {
        true => print(&format!(
            "{}\n",
            json!({ "listening": address.to_string() })
        )),
        false => print(&format!(
            "{} http://{address}; requests as JSON: http://{address}/_events; Ctrl-C stops it\n\n",
            styled(STRONG, "Listening on")
        )),
    };
}

fn print_request(received: &ReceivedRequest, is_json: bool, hidden: Option<&str>) {
    if is_json {
        print(&format!("{}\n", received.document()));
        return;
    }
    // No provider was given, so nothing was verified.
    let verdict = match &received.verdict {
        None => String::new(),
        Some(Ok(text)) => format!(", {}", styled(GOOD, text)),
        Some(Err(text)) => format!(", {}", styled(BAD, text)),
    };
    print(&format!(
        "{} from {}{verdict}, response {}\n{}\n",
        styled(
            STRONG,
            &format!("Request {}", received.number.saturating_add(1))
        ),
        received.source.ip(),
        received.answer,
        request_text(&received.request, hidden)
    ));
}

/// Writes a request file under a name that sorts by time of arrival.
fn save(folder: &Path, received: &ReceivedRequest) -> Result<(), CommandFailure> {
    // Padded, so that names sort by number within a millisecond.
    let name = format!(
        "{}-{:06}.http",
        received.unix_ms,
        received.number.saturating_add(1)
    );
    let path = folder.join(name);
    let bytes = received.request.to_bytes();
    let bytes = bytes.map_err(|error| CommandFailure::new(error.to_string()))?;
    fs::write(&path, bytes)
        .map_err(|err| CommandFailure::new(format!("cannot write `{}`: {err}", path.display())))
}

/// Returns the header or parameter that carries the secret itself, which is not printed.
fn redacted_name(known: &SenderProfile) -> Option<String> {
    use hookgate_verify::scheme::spec::{SchemeFamily, TokenLocation};
    let SchemeFamily::Token(token) = &known.spec.family else {
        return None;
    };
    let place = match &token.location {
        TokenLocation::Header { name, .. } => Some(SchemeLocation::Header(name.clone())),
        TokenLocation::Query(name) => Some(SchemeLocation::Query(name.clone())),
        TokenLocation::Basic => Some(SchemeLocation::Header(http::header::AUTHORIZATION)),
        _ => None,
    };
    secret_location(&known.spec, place.as_ref())
}

/// Builds the function that verifies the signature of each request as a gate would.
fn judge(known: &SenderProfile, origin: &str) -> Result<RequestJudge, CommandFailure> {
    let secret = hookgate_verify::model::secret::Secret::new(known.secret.expose().to_vec());
    let entry = SecretEntry::new("1", secret);
    // Without `--public-url`, schemes that sign the URL are verified against the address that the sender calls.
    let public_url = known.public_url.as_deref().unwrap_or(origin);
    let keys = SignatureVerifier::new(&known.spec, &[entry], Some(public_url), known.tolerance);
    let keys = keys.map_err(|error| CommandFailure::usage(error.to_string()))?;
    Ok(Box::new(move |request, unix_ms| {
        let verified = verify(&keys, request, unix_ms);
        verified
            .map(|()| "verified".to_owned())
            .map_err(|reject| why(&reject))
    }))
}

fn verify(keys: &SignatureVerifier, request: &RequestFile, unix_ms: i64) -> Result<(), Reject> {
    let malformed = |fault| Reject::MalformedMaterial {
        name: "the request".into(),
        fault,
    };
    let uri = request
        .target
        .parse()
        .map_err(|_| malformed("has no valid target"))?;
    let headers = request
        .header_map()
        .map_err(|_| malformed("has invalid headers"))?;
    let own_names = keys.own_names(&headers)?;
    let head = RequestHead {
        method: &request.method,
        uri: &uri,
        headers: own_names.as_deref().unwrap_or(&headers),
    };
    // The time of arrival, not of this call, decides whether the timestamp is fresh.
    let mut pending = keys.open(head, unix_ms)?;
    pending.update(&request.body);
    if pending.need(&request.body)?.is_some() {
        return Err(Reject::KeyUnavailable {
            fault: "the sender's key must be fetched, which `hookgate listen` does not do".into(),
        });
    }
    pending.finish(&request.body, None)?;
    Ok(())
}

/// Formats a rejection: its reason, the explanation, and the detail that helps most.
fn why(reject: &Reject) -> String {
    let means = reject.explanation().means;
    let more = match reject {
        Reject::MissingMaterial { name } => format!(" ({name})"),
        Reject::MalformedMaterial { name, fault } => format!(" ({name} {fault})"),
        Reject::StaleTimestamp { age_seconds, .. } => {
            let ago = span::relative(0, age_seconds.saturating_mul(1000));
            format!(" (signed {ago})")
        }
        Reject::KeyUnavailable { fault } => format!(" ({fault})"),
        _ => String::new(),
    };
    format!("not verified: {}: {means}{more}", reject.code())
}
