//! Checked values of `[tls.acme]`.

use std::path::PathBuf;
use std::sync::Arc;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::value::choice_word;
use hookgate_verify::model::secret::Secret;

/// Settings of `[tls.acme]`: certificates that hookgate gets and renews by itself.
#[derive(Clone)]
pub struct AcmeSection {
    /// Span of the table in the config.
    pub span: TextSpan,
    /// Mail address of the account, for the CA's messages.
    pub email: Option<String>,
    /// URL of the CA's directory.
    pub directory: String,
    /// PEM file with the CAs that the directory's own certificate must chain to; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Binding of the account to an account that the CA knows by other means.
    pub external_account: Option<ExternalAccount>,
    /// Profile that the CA must apply to certificates.
    pub profile: Option<String>,
    /// Challenges to prove control over a name, the preferred one first.
    pub challenges: Vec<ChallengeKind>,
    /// Names that get a certificate each, in lower case.
    pub names: Vec<CertificateName>,
}

/// A name that gets a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateName {
    /// The name in lower case; a wildcard begins with `*.`.
    pub name: String,
    /// Span in `names`, or of the route whose `host` it is.
    pub span: TextSpan,
}

impl CertificateName {
    /// Returns true for a name such as `*.example.com`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.name.starts_with("*.")
    }
}

/// Binding of the account to an account that the CA knows by other means (RFC 8555, section 7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    /// Identifier of the key.
    pub key_id: String,
    /// The key itself, decoded.
    pub hmac_key: Arc<Secret>,
}

/// Challenge by which the CA checks the control over a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChallengeKind {
    /// The CA opens a TLS connection to port 443 of the name (RFC 8737).
    TlsAlpn,
    /// The CA fetches a file from port 80 of the name (RFC 8555, section 8.3).
    Http,
    /// The CA reads a TXT record that never changes (draft-ietf-acme-dns-persist).
    DnsPersist,
}

impl ChallengeKind {
    /// All values with their words in a config, which are the names of ACME.
    pub const ALL: [(&'static str, Self); 3] = [
        ("tls-alpn-01", Self::TlsAlpn),
        ("http-01", Self::Http),
        ("dns-persist-01", Self::DnsPersist),
    ];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}
