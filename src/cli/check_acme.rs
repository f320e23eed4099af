//! The part of `hookgate check` for `[tls.acme]`: says which certificates the gate would get, and what that needs.

use std::path::Path;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::report::{ConfigDiagnostic, DiagnosticReport, DiagnosticSeverity};

use crate::acme::{AcmePlan, known_record};
use crate::config::model::{AcmeSection, ChallengeKind};
use crate::edge::certificates::CertificatePair;
use crate::model::error;

/// Most names in one line.
const MANY: usize = 10;

/// Adds what the gate would do. `files` are the certificates of files, whose names need no other.
pub(super) fn check(
    acme: &AcmeSection,
    files: &[CertificatePair],
    state_folder: &Path,
    report: &mut DiagnosticReport,
) {
    if let Err(err) = AcmePlan::build(acme, None) {
        let message = format!("cannot use `ca` of `[tls.acme]`: {}", error::chain(&err));
        let help = "use a PEM file with the authority that signed the CA's own certificate";
        let severity = DiagnosticSeverity::Error;
        report.push(diagnostic(
            severity,
            acme.span,
            message,
            Some(help.to_owned()),
        ));
    }
    let mut own = Vec::new();
    for name in &acme.names {
        let is_covered = files.iter().any(|pair| pair.info.covers(&name.name));
        if is_covered {
            let message = format!(
                "a certificate file covers `{}`, so no other is requested for it",
                name.name
            );
            report.push(note(name.span, message));
        } else {
            own.push(name);
        }
    }
    if own.is_empty() {
        return;
    }
    let words: Vec<_> = acme.challenges.iter().map(|kind| kind.word()).collect();
    let mut names: Vec<_> = own
        .iter()
        .take(MANY)
        .map(|name| format!("`{}`", name.name))
        .collect();
    if own.len() > MANY {
        names.push(format!("{} more", own.len().saturating_sub(MANY)));
    }
    let message = format!(
        "the gate requests certificates for {} from {}, and proves each name by {}",
        names.join(", "),
        acme.directory,
        words.join(" or "),
    );
    let help = format!(
        "keys and certificates are stored in `{}`",
        state_folder.join("acme").display()
    );
    report.push(diagnostic(
        DiagnosticSeverity::Note,
        acme.span,
        message,
        Some(help),
    ));
    check_folder(acme.span, state_folder, report);
    if !acme.challenges.contains(&ChallengeKind::DnsPersist) {
        return;
    }
    for name in own {
        let record = known_record(state_folder, &acme.directory, &name.name);
        let message = match record {
            Some(record) => format!(
                "`dns-persist-01` needs this TXT record: {} IN TXT \"{}\"",
                record.name, record.text
            ),
            // The record names the account, and this user may not be allowed to read its file.
            None => format!(
                "`dns-persist-01` needs a TXT record for `{}` with the URL of the account: the log shows it at the first \
                order, and this check shows it afterwards if it may read the state folder",
                name.name
            ),
        };
        report.push(note(name.span, message));
    }
}

/// Warns of a state folder that does not exist here. The gate creates the folder `acme` in it.
fn check_folder(span: TextSpan, state_folder: &Path, report: &mut DiagnosticReport) {
    if state_folder.is_dir() {
        return;
    }
    let message = format!(
        "the state folder `{}` does not exist on this machine",
        state_folder.display()
    );
    let help = "create it for the user of the gate, or set `state_dir` in `[server]`; the systemd unit creates it";
    report.push(diagnostic(
        DiagnosticSeverity::Warning,
        span,
        message,
        Some(help.to_owned()),
    ));
}

/// Builds a note about one name.
fn note(span: TextSpan, message: String) -> ConfigDiagnostic {
    diagnostic(DiagnosticSeverity::Note, span, message, None)
}

fn diagnostic(
    severity: DiagnosticSeverity,
    span: TextSpan,
    message: String,
    help: Option<String>,
) -> ConfigDiagnostic {
    ConfigDiagnostic {
        severity,
        span: Some(span),
        message,
        label: String::new(),
        help,
    }
}
