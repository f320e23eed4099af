//! `hookgate explain`: explains why a request was rejected.
//!
//! The request comes from a file, or from the rejected requests that a running gate keeps. It never prints a secret.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use hookgate_verify::document::report::ReportStyle;
use http::Version;

use crate::admin::resources::EXPLAIN_REJECTION;
use crate::cli::admin_options::AdminOptions;
use crate::cli::confirm::block_on;
use crate::cli::failure::{CommandFailure, EXIT_USAGE};
use crate::cli::output::{BAD, FAINT, GOOD, STRONG, clean, print, print_json, styled};
use crate::config::model::GateConfig;
use crate::explain::{PastRequest, RefusalExplainer, RefusalExplanation};
use crate::gate::Gate;
use crate::gate::rules::RouteRules;
use crate::model::ids::{RequestId, RouteName};
use crate::net::request_file::{BODY, RECEIVED, RequestFile, SOURCE};
use crate::ranges::RangeBook;

/// Exit code where the request would pass.
const EXIT_PASSES: u8 = 1;

/// Arguments of `explain`: the request, and the config to check it against.
#[derive(Args)]
pub(super) struct ExplainArguments {
    /// A file with the raw request, as `hookgate capture` writes it; or the id of a request that the gate rejected and
    /// kept
    #[arg(value_name = "FILE|REQUEST_ID")]
    request: String,
    /// Route to check against (default: the route that host and path match)
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Time of arrival, as `2026-05-03T10:11:12Z` (default: the time in the file, else the signed timestamp)
    #[arg(long, value_name = "TIME")]
    received: Option<String>,
    /// Source address of the request (default: the address in the file)
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminOptions,
}

/// Explains one request. The exit codes differ from those of other commands: 1 means that the request would pass.
pub(super) fn run(arguments: &ExplainArguments) -> ExitCode {
    match explain(arguments) {
        Ok(explanation) => {
            if arguments.json {
                print_json(&explanation);
            } else {
                print(&text(&explanation));
            }
            // The opposite of most commands: an explanation of a rejection is the success.
            match explanation.passes {
                true => ExitCode::from(EXIT_PASSES),
                false => ExitCode::SUCCESS,
            }
        }
        Err(failure) => {
            failure.print();
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn explain(arguments: &ExplainArguments) -> Result<RefusalExplanation, CommandFailure> {
    let path = Path::new(&arguments.request);
    // A file wins: its name may look like an id, but an id never names an existing file by accident.
    if !path.exists()
        && let Some(id) = RequestId::parse(&arguments.request)
    {
        return block_on(fetch_explanation(arguments, id));
    }
    let config = arguments.admin.config().required();
    let config = config
        .map_err(|failure| failure.doing("looking for the config to check the request against"))?;
    let (seen, note) = read(path, arguments)?;
    let loaded = crate::config::load(&config).map_err(|report| {
        let shown = report.render(ReportStyle::Plain);
        CommandFailure::usage(format!(
            "the config has errors:\n{shown}{}",
            report.summary()
        ))
    })?;
    let explainer = explainer(loaded.config)?;
    let name = arguments.route.as_deref().map(RouteName::new);
    if let Some(name) = &name
        && !explainer.routes().any(|route| route.name == *name)
    {
        let known: Vec<&str> = explainer
            .routes()
            .map(|route| route.name.as_str())
            .collect();
        return Err(
            CommandFailure::usage(format!("the config has no route `{name}`"))
                .help(format!("its routes: {}", known.join(", "))),
        );
    }
    let mut explanation = block_on(async { Ok(explainer.explain(name.as_ref(), &seen).await) })?;
    explanation.notes.extend(note);
    Ok(explanation)
}

/// Fetches the explanation of a request that the gate rejected and kept.
async fn fetch_explanation(
    arguments: &ExplainArguments,
    id: RequestId,
) -> Result<RefusalExplanation, CommandFailure> {
    let client = arguments.admin.client()?;
    let path = EXPLAIN_REJECTION.at(&[&id.to_string()]);
    client.get("explaining a rejected request", &path).await
}

/// Reads a request file. The second value is a note about masked headers, if there are any.
fn read(
    path: &Path,
    arguments: &ExplainArguments,
) -> Result<(PastRequest, Option<String>), CommandFailure> {
    let doing = format!("reading the request `{}`", path.display());
    let failed = |err: &dyn std::error::Error| {
        CommandFailure::usage(err.to_string()).doing(&doing).help(
            "a request file has the format of HTTP/1.1: `POST /path HTTP/1.1`, headers, an empty line, the body",
        )
    };
    let file = RequestFile::read(path).map_err(|err| failed(&err))?;
    let uri = file
        .target
        .parse()
        .map_err(|err: http::uri::InvalidUri| failed(&err))?;
    let headers = file.header_map().map_err(|err| failed(&err))?;
    let received = arguments
        .received
        .as_deref()
        .or_else(|| file.fact(RECEIVED));
    let received = received.map(|text| {
        let time = text.parse::<jiff::Timestamp>();
        time.map_err(|_| {
            CommandFailure::usage(format!("`{text}` is not a time"))
                .help("use the form `2026-05-03T10:11:12Z`")
        })
    });
    let noted = file.fact(SOURCE).and_then(|text| text.parse().ok());
    let masked = file.masked().join(", ");
    let note = (!masked.is_empty()).then(|| {
        format!("masked when it was saved: {masked}. A check that reads one of these fails for that reason alone.")
    });
    // The file marks a body that is not complete: a digest over it says nothing about the original.
    let is_cut = file.fact(BODY).is_some();
    let seen = PastRequest {
        method: file.method,
        uri,
        // The file format has no other version, even for a request that arrived by HTTP/2.
        version: Version::HTTP_11,
        headers,
        body: file.body,
        is_cut,
        received_ms: received.transpose()?.map(|time| time.as_millisecond()),
        source: arguments.source.or(noted),
        recorded: None,
        others: Vec::new(),
    };
    Ok((seen, note))
}

/// Compiles the rules of a config as a gate does, but without dedup, limits or anything else that a running gate has.
fn explainer(config: GateConfig) -> Result<RefusalExplainer, CommandFailure> {
    let folder: Option<PathBuf> = config.server.state_dir;
    let ranges = RangeBook::new(folder);
    let failed = |err: hookgate_verify::scheme::SchemeError| CommandFailure::usage(err.to_string());
    let mut rules = Vec::with_capacity(config.routes.len());
    for route in config.routes {
        // Ranges that were refreshed on this machine count, as they do for the gate.
        let names_it = route.allow_ips.as_ref().is_some_and(|ips| ips.is_provider);
        let provider = route.provider.clone().filter(|_| names_it);
        let live = provider.and_then(|provider| ranges.live(&provider));
        rules.push(RouteRules::compile(Arc::new(route), None, None, live).map_err(failed)?);
    }
    let timeout = config.server.body_timeout;
    let gate = Gate::new(None, Arc::default(), timeout);
    RefusalExplainer::new(&gate, &rules).map_err(failed)
}

/// Formats an explanation for people.
fn text(explanation: &RefusalExplanation) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        let label = styled(STRONG, &format!("{label:<9}"));
        text.push_str(&format!("{label} {value}\n"));
    };
    if let Some(route) = &explanation.route {
        let provider = explanation.provider.as_deref().unwrap_or("custom");
        let provider = styled(FAINT, &format!("({provider})"));
        line("route", &format!("{} {provider}", clean(route)));
    }
    match &explanation.reason {
        None => line("verdict", &styled(GOOD, "it would pass")),
        Some(reason) => {
            let verdict = match (explanation.passes, reason.as_str()) {
                (true, _) => styled(GOOD, &format!("forwarded, and marked: {reason}")),
                (false, "duplicate") => styled(GOOD, "duplicate: not forwarded"),
                (false, _) => styled(BAD, &format!("refused: {reason}")),
            };
            line("verdict", &verdict);
            line(
                "check",
                &format!("{}. {}", explanation.check, explanation.means),
            );
            line("expected", &clean(&explanation.expected));
            line("found", &clean(&explanation.found));
            let cause = match &explanation.cause {
                Some(cause) if cause.is_proven => clean(&cause.says),
                Some(cause) => format!("{} (likely)", clean(&cause.says)),
                None if explanation.tries > 0 => format!(
                    "tried {} causes without success: most likely the sender signs with another secret",
                    explanation.tries
                ),
                None => "see below".to_owned(),
            };
            // A duplicate has no cause to fix: the event was accepted before.
            let is_repeat = explanation.passes || reason == "duplicate";
            if !is_repeat {
                line("cause", &cause);
            }
        }
    }
    line("fix", &clean(&explanation.fix));
    for note in &explanation.notes {
        line("note", &clean(note));
    }
    text
}
