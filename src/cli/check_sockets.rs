//! Checks the Unix sockets of apps for `hookgate check`: do they exist, and may hookgate connect to them.
//!
//! Everything here is a warning or a note: the app may be started later, and it creates its socket itself.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::report::{ConfigDiagnostic, DiagnosticReport, DiagnosticSeverity};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::net::app_url::AppUrl;

/// Reports sockets to which a request could not be sent now.
pub(super) fn check(upstreams: &[(AppUrl, TextSpan)], report: &mut DiagnosticReport) {
    for (url, span) in upstreams {
        // An abstract socket has no file, and so neither rights nor an owner.
        let Some(path) = url.socket().and_then(|socket| socket.file()) else {
            continue;
        };
        if let Some((severity, message, help)) = fault(path) {
            report.push(ConfigDiagnostic {
                severity,
                span: Some(*span),
                message,
                label: String::new(),
                help: Some(help),
            });
        }
    }
}

/// Returns the fault of a socket, with a correction.
fn fault(path: &Path) -> Option<(DiagnosticSeverity, String, String)> {
    let shown = path.display();
    let warning =
        |message: String, help: &str| Some((DiagnosticSeverity::Warning, message, help.to_owned()));
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return warning(
                format!("the socket `{shown}` does not exist"),
                "start the app, or check the path; until then, no request reaches the app",
            );
        }
        Err(error) => {
            return warning(
                format!("the socket `{shown}` cannot be reached: {error}"),
                "each folder of the path needs the right `x` for the user that runs hookgate",
            );
        }
    };
    if !metadata.file_type().is_socket() {
        return warning(
            format!("`{shown}` is not a socket"),
            "write the path of the socket on which the app listens",
        );
    }
    let mode = metadata.permissions().mode();
    // Connecting needs the right to write (unix(7)). The kernel's answer counts: it knows groups, ACLs and capabilities.
    if accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_err() {
        return warning(
            format!(
                "no right to connect to the socket `{shown}`: its owner is user {}, group {}, and its mode {:03o}",
                metadata.uid(),
                metadata.gid(),
                mode & 0o777
            ),
            "let the app create it with mode 660 for a group of which the user of hookgate is a member (`usermod -aG GROUP hookgate`)",
        );
    }
    // For root everything is writable, so the rights of the service's own user can only be guessed from the mode.
    let is_root = rustix::process::geteuid().is_root();
    if is_root && mode & 0o022 == 0 && metadata.uid() != 0 {
        return Some((
            DiagnosticSeverity::Note,
            format!(
                "only user {} may connect to the socket `{shown}`",
                metadata.uid()
            ),
            "hookgate must run as this user, or the app must create the socket with mode 660"
                .to_owned(),
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    // Fails when a file that is no socket, or one without rights, is not reported.
    #[test]
    fn sockets_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let message = |path: &Path| fault(path).map(|(_, message, _)| message);
        assert!(message(&path).unwrap().contains("does not exist"));
        assert!(
            message(&path.join("below"))
                .unwrap()
                .contains("does not exist")
        );
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(message(&path), None);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(message(&file).unwrap().contains("is not a socket"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        let found = message(&path);
        if rustix::process::geteuid().is_root() {
            // Root may connect to every socket.
            assert_eq!(found, None);
            rustix::fs::chown(&path, Some(rustix::fs::Uid::from_raw(65_534)), None).unwrap();
            assert!(
                message(&path)
                    .unwrap()
                    .contains("only user 65534 may connect")
            );
        } else {
            assert!(found.unwrap().contains("no right to connect"), "{path:?}");
        }
        drop(listener);
    }
}
