//! `hookgate check`: validates a config file and reports all errors at once.
//!
//! It also checks what the file refers to: certificates, secrets, the names of upstreams and the database of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anstream::{ColorChoice, println};
use hookgate_verify::document::TextSpan;
use hookgate_verify::document::report::{
    ConfigDiagnostic, DiagnosticReport, DiagnosticSeverity, ReportStyle,
};
use hookgate_verify::net::host;
use hookgate_verify::net::special_addresses::is_forbidden;

use crate::app::systemd;
use crate::cli::check_acme;
use crate::cli::check_sockets;
use crate::cli::failure::EXIT_USAGE;
use crate::config::model::CertificateFiles;
use crate::config::{self, ExaminedConfig};
use crate::edge::certificates::{self, CertificateError, CertificatePair};
use crate::model::clock::ClockReading;
use crate::model::database::PostgresSettings;
use crate::model::error;
use crate::net::app_url::AppUrl;
use crate::store::{self, StoreError};

/// Remaining seconds below which a certificate is reported. Let's Encrypt certificates are renewed 30 days before they
/// expire, so with 14 days left, renewal has failed for two weeks.
const SOON_SECONDS: i64 = 14 * 24 * 3600;

/// Limit for resolving the names of all upstreams. A name without an answer by then counts as not resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the diagnostics. Returns exit code 0 if there is no error, else 2; warnings do not count.
pub(crate) fn run(path: &Path, json: bool, is_offline: bool) -> ExitCode {
    let report = report(path, is_offline);
    if json {
        println!("{:#}", report.to_json());
    } else {
        // The report renders its own colors, so it needs the choice before it prints.
        let choice = anstream::AutoStream::choice(&std::io::stdout());
        let style = match choice {
            ColorChoice::Never => ReportStyle::Plain,
            _ => ReportStyle::Colour,
        };
        println!(
            "{}{}{}",
            report.render(style),
            files(&report),
            report.summary()
        );
    }
    if report.has_errors() {
        ExitCode::from(EXIT_USAGE)
    } else {
        ExitCode::SUCCESS
    }
}

/// Returns a line with the names of all files, if there are several.
fn files(report: &DiagnosticReport) -> String {
    match report.files().as_slice() {
        [_, _, ..] => format!("files: {}\n", report.files().join(", ")),
        _ => String::new(),
    }
}

/// Collects the diagnostics of a config file and of the files and names that it refers to, sorted by location.
pub(crate) fn report(path: &Path, is_offline: bool) -> DiagnosticReport {
    let ExaminedConfig {
        mut report,
        certificates,
        client_ca,
        upstreams,
        database,
        acme,
        state_dir,
    } = config::examine(path);
    let mut pairs = Vec::new();
    // In the order of the file: a certificate can only be hidden by one before it.
    for files in &certificates {
        check_certificate(files, &mut pairs, &mut report);
    }
    if let Some((path, span)) = client_ca
        && let Err(err) = certificates::load_authorities(&path)
    {
        report.push(certificate_error(&err, span));
    }
    if let Some(acme) = &acme {
        let folder = state_dir.unwrap_or_else(systemd::state_dir);
        check_acme::check(acme, &pairs, &folder, &mut report);
    }
    if !is_offline {
        check_names(&upstreams, &mut report);
        check_sockets::check(&upstreams, &mut report);
        if let Some((settings, span)) = database {
            check_database(&settings, span, &mut report);
        }
    }
    report.sort();
    report
}

/// Checks a certificate with its key, and against the certificates before it.
fn check_certificate(
    files: &CertificateFiles,
    earlier: &mut Vec<CertificatePair>,
    report: &mut DiagnosticReport,
) {
    match certificates::load_pair(&files.cert, &files.key) {
        Ok(pair) => {
            let left = pair.info.not_after - ClockReading::read().unix_seconds();
            if left < SOON_SECONDS {
                let days = left / (24 * 3600);
                report.push(ConfigDiagnostic {
                    severity: DiagnosticSeverity::Warning,
                    span: Some(files.cert_span),
                    message: format!(
                        "the certificate in `{}` expires in {days} days",
                        files.cert.display()
                    ),
                    label: String::new(),
                    help: Some(
                        "find out why it was not renewed; the gate loads a new file by itself"
                            .to_owned(),
                    ),
                });
            }
            if pair.is_shadowed_by(earlier) {
                report.push(ConfigDiagnostic {
                    severity: DiagnosticSeverity::Warning,
                    span: Some(files.cert_span),
                    message: format!(
                        "the certificate in `{}` is never used: those before it cover its names with the same kind of \
                        key",
                        files.cert.display()
                    ),
                    label: String::new(),
                    help: Some("remove one of them; an RSA and an ECDSA certificate may share a name".to_owned()),
                });
            }
            earlier.push(pair);
        }
        Err(err) => {
            // The location is that of the file at fault, which is the certificate or the key.
            let span = match &err {
                CertificateError::NoKey { .. }
                | CertificateError::Key { .. }
                | CertificateError::Mismatch { .. } => files.key_span,
                CertificateError::Read { path, .. } | CertificateError::Pem { path, .. }
                    if *path == files.key && files.key != files.cert =>
                {
                    files.key_span
                }
                _ => files.cert_span,
            };
            report.push(certificate_error(&err, span));
        }
    }
}

fn certificate_error(err: &CertificateError, span: TextSpan) -> ConfigDiagnostic {
    // The message names the fault; the help names what to put there instead.
    let help = match err {
        CertificateError::Read { .. } => "check the path and who may read the file",
        CertificateError::Mismatch { .. } => {
            "use the key with which this certificate was requested"
        }
        CertificateError::Expired { .. } => "renew it; the gate loads the new file by itself",
        CertificateError::NoKey { .. } | CertificateError::Key { .. } => {
            "use a PEM file with an ECDSA, RSA or Ed25519 key without a password"
        }
        _ => {
            "use a PEM file with the certificate of this host first, then the certificates that signed it"
        }
    };
    ConfigDiagnostic {
        severity: DiagnosticSeverity::Error,
        span: Some(span),
        message: error::chain(err),
        label: String::new(),
        help: Some(help.to_owned()),
    }
}

/// Resolves the names of upstreams. A name that does not resolve is a warning only: it may exist on the machine where
/// the gate will run. A name that resolves to forbidden addresses only is an error.
fn check_names(upstreams: &[(AppUrl, TextSpan)], report: &mut DiagnosticReport) {
    let hosts: BTreeSet<String> = upstreams.iter().filter_map(|(url, _)| host(url)).collect();
    // All lookups run at the same time, so that a slow name does not delay the others.
    let (tx, answers) = mpsc::channel();
    for name in hosts.clone() {
        let tx = tx.clone();
        // The resolver of the system has no deadline, so each lookup gets a thread. One that hangs ends with the
        // process.
        thread::spawn(move || {
            // `to_socket_addrs` requires a port; which one makes no difference here.
            let found: Vec<_> = (name.as_str(), 80)
                .to_socket_addrs()
                .map_or_else(|_| Vec::new(), Iterator::collect);
            // Only a name that resolves is sent. A name that never arrives counts as not resolved.
            if !found.is_empty() {
                let is_forbidden = found.iter().all(|address| is_forbidden(address.ip()));
                let _ = tx.send((name, is_forbidden));
            }
        });
    }
    // Without this sender, `recv_timeout` fails as soon as all lookups have ended, instead of waiting for the deadline.
    drop(tx);
    let deadline = crate::model::clock::instant() + RESOLVE_TIMEOUT;
    let mut known = BTreeMap::new();
    while known.len() < hosts.len() {
        let left = deadline.saturating_duration_since(crate::model::clock::instant());
        match answers.recv_timeout(left) {
            Ok((name, is_forbidden)) => known.insert(name, is_forbidden),
            Err(_) => break,
        };
    }
    for (url, span) in upstreams {
        let Some(host) = host(url) else {
            continue;
        };
        match known.get(&host) {
            Some(false) => continue,
            Some(true) => {
                report.push(ConfigDiagnostic {
                    severity: DiagnosticSeverity::Error,
                    span: Some(*span),
                    message: format!(
                        "the name `{host}` resolves to link-local or metadata addresses only, which hookgate never \
                        connects to"
                    ),
                    label: String::new(),
                    help: Some("use the host on which the app listens".to_owned()),
                });
                continue;
            }
            None => {}
        }
        report.push(ConfigDiagnostic {
            severity: DiagnosticSeverity::Warning,
            span: Some(*span),
            message: format!("the name `{host}` does not resolve on this machine"),
            label: String::new(),
            help: Some("check the name; until it resolves, no request reaches the app".to_owned()),
        });
    }
}

/// Connects to the database of the store. Every fault is an error: with it, the gate would not start or store nothing.
fn check_database(settings: &PostgresSettings, span: TextSpan, report: &mut DiagnosticReport) {
    let err = match store::probe(settings) {
        Ok(warnings) => {
            for message in warnings {
                report.push(ConfigDiagnostic {
                    severity: DiagnosticSeverity::Warning,
                    span: Some(span),
                    message,
                    label: String::new(),
                    help: None,
                });
            }
            return;
        }
        Err(err) => err,
    };
    // The message says what to change; only the absence of the network has another way out.
    let help = match err {
        StoreError::Connect { .. } => {
            Some("`hookgate check --offline` checks the config without the database".to_owned())
        }
        _ => None,
    };
    report.push(ConfigDiagnostic {
        severity: DiagnosticSeverity::Error,
        span: Some(span),
        message: error::chain(&err),
        label: String::new(),
        help,
    });
}

fn host(url: &AppUrl) -> Option<String> {
    let host = url.host()?;
    Some(host::bare(host).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rig::tls::write_self_signed;
    use std::fs;

    /// Writes a certificate that expires `days` from now, and its key.
    fn certificate(folder: &Path, name: &str, days: i64) {
        let key = rcgen::KeyPair::generate().unwrap();
        write_self_signed(folder, name, &["localhost"], days, &key);
    }

    fn checked(folder: &Path, cert: &str, key: &str) -> DiagnosticReport {
        let file = folder.join("hookgate.toml");
        let text = format!(
            "[tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n[routes.a]\npath = \"/a\"\nprovider = \"github\"\nsecret = \
            \"f3b8c1d09e7a4b52\"\nupstream = \"http://127.0.0.1:1/\"\n"
        );
        fs::write(&file, text).unwrap();
        report(&file, false)
    }

    /// Fails when a certificate that is never used is not reported, or one that is used is reported.
    #[test]
    fn certificates_that_hide_each_other_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let write = |name: &str, names: &[&str], algorithm| {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            write_self_signed(folder, name, names, 90, &key);
        };
        let (p256, p384) = (
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        );
        write("a", &["a.example", "b.example"], p256);
        write("rsa", &["a.example"], &rcgen::PKCS_RSA_SHA256);
        write("p384", &["a.example"], p384);
        write("again", &["A.example"], p256);
        write("more", &["a.example", "c.example"], p256);
        write("rest", &["b.example", "c.example"], p256);
        write("wild", &["*.example"], p256);
        let file = folder.join("hookgate.toml");
        let entries = ["a", "rsa", "p384", "again", "more", "rest", "wild"].map(|name| {
            format!("[[tls.certificates]]\ncert = \"{name}.pem\"\nkey = \"{name}.key\"\n")
        });
        let route = "[routes.a]\npath = \"/a\"\nprovider = \"github\"\nsecret = \"f3b8c1d09e7a4b52\"\nupstream = \"http://127.0.0.1:1/\"\n";
        fs::write(&file, format!("{}{route}", entries.concat())).unwrap();
        let report = report(&file, false);
        let text = report.render(ReportStyle::Plain);
        assert_eq!(report.count(DiagnosticSeverity::Error), 0, "{text}");
        let hidden = |name: &str| {
            text.contains(&format!(
                "{name}.pem` is never used: those before it cover its names"
            ))
        };
        for (name, is_hidden) in [
            ("a", false),
            ("rsa", false),
            ("p384", false),
            ("again", true),
            ("more", false),
            ("rest", true),
            ("wild", false),
        ] {
            assert_eq!(hidden(name), is_hidden, "{name}: {text}");
        }
    }

    /// Fails when certificate files are read byte for byte: editors on Windows write a byte order mark, or UTF-16.
    #[test]
    fn files_of_other_editors_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        certificate(folder, "plain", 90);
        for ending in ["pem", "key"] {
            let text = fs::read_to_string(folder.join(format!("plain.{ending}"))).unwrap();
            let marked = format!("\u{feff}{}", text.replace('\n', "\r\n"));
            fs::write(folder.join(format!("marked.{ending}")), &marked).unwrap();
            let wide: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
            fs::write(folder.join(format!("wide.{ending}")), wide).unwrap();
        }
        for name in ["marked", "wide"] {
            let report = checked(folder, &format!("{name}.pem"), &format!("{name}.key"));
            let text = report.render(ReportStyle::Plain);
            assert_eq!(report.count(DiagnosticSeverity::Error), 0, "{text}");
            assert!(certificates::load_authorities(&folder.join(format!("{name}.pem"))).is_ok());
        }
    }

    #[test]
    fn certificates_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for (name, days) in [("good", 90), ("late", -3), ("soon", 5)] {
            certificate(folder, name, days);
        }
        for (cert, key, errors, message) in [
            ("good.pem", "good.key", 0, ""),
            ("soon.pem", "soon.key", 0, "expires in"),
            ("late.pem", "late.key", 1, "expired on"),
            ("good.pem", "late.key", 1, "does not belong to"),
            ("none.pem", "good.key", 1, "cannot read"),
            ("good.key", "good.key", 1, "holds no certificate"),
            ("good.pem", "good.pem", 1, "holds no private key"),
        ] {
            let report = checked(folder, cert, key);
            let text = report.render(ReportStyle::Plain);
            assert_eq!(report.count(DiagnosticSeverity::Error), errors, "{text}");
            assert!(text.contains(message), "{text}");
        }
    }
}
