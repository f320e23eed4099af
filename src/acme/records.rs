//! Documents that storage holds: accounts, certificates, orders, states of names, pending challenges.

use std::fmt;

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Kind of a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum RecordKind {
    /// An account at a CA, named after its directory.
    Account,
    /// A certificate in use, by name.
    Certificate,
    /// An order that was not finished, by name.
    Order,
    /// Failures and renewal of a certificate, by name.
    State,
    /// A pending challenge, by its own key. Only nodes that share a store need it.
    Challenge,
}

impl RecordKind {
    /// All kinds with their words in storage.
    pub(super) const ALL: [(&'static str, Self); 5] = [
        ("account", Self::Account),
        ("certificate", Self::Certificate),
        ("order", Self::Order),
        ("state", Self::State),
        ("challenge", Self::Challenge),
    ];

    /// Returns the word of the kind in storage.
    pub(super) fn word(self) -> &'static str {
        let row = Self::ALL.iter().find(|(_, kind)| *kind == self);
        row.map_or("", |(word, _)| word)
    }

    /// Returns the kind of a word.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        let row = Self::ALL.iter().find(|(known, _)| *known == word);
        row.map(|(_, kind)| *kind)
    }
}

/// A private key in PEM, which is wiped when it is dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PrivateKeyPem(Zeroizing<String>);

impl PrivateKeyPem {
    pub(super) fn new(pem: String) -> Self {
        Self(Zeroizing::new(pem))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyPem")
    }
}

impl Serialize for PrivateKeyPem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PrivateKeyPem {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// An account at a CA.
#[derive(Serialize, Deserialize)]
pub(super) struct AccountRecord {
    pub(super) directory: String,
    /// The mail address that the CA knows.
    pub(super) email: Option<String>,
    /// URL of the account, which DNS records name.
    pub(super) uri: String,
    /// Domain names by which the CA identifies itself in DNS records, if it has said so.
    #[serde(default)]
    pub(super) issuers: Vec<String>,
    pub(super) credentials: AccountCredentials,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct CertificateRecord {
    pub(super) directory: String,
    /// Profile that the order asked for.
    #[serde(default)]
    pub(super) profile: Option<String>,
    pub(super) obtained_ms: i64,
    /// The chain in PEM, leaf first.
    pub(super) chain: String,
    pub(super) key: PrivateKeyPem,
}

/// An order that was not finished. Its key belongs to the certificate that the CA may have issued already.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct OrderRecord {
    pub(super) directory: String,
    #[serde(default)]
    pub(super) profile: Option<String>,
    pub(super) url: String,
    pub(super) began_ms: i64,
    pub(super) key: PrivateKeyPem,
}

/// State of a name: failures, and the window in which the CA suggests to renew.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct NameRecord {
    /// Failures since the last success.
    pub(super) failures: u32,
    /// The last failure: its time and its reason.
    pub(super) failed_ms: Option<i64>,
    pub(super) failure: Option<String>,
    /// No attempt begins before this time.
    pub(super) retry_ms: i64,
    /// Time before which no renewal follows the last order, in milliseconds since the epoch.
    #[serde(default)]
    pub(super) rest_ms: i64,
    /// The suggested window, of the certificate with this digest.
    pub(super) window: Option<RenewalWindow>,
    /// Time at which the CA is asked for the window again.
    pub(super) ask_ms: i64,
}

/// Window in which a CA suggests to renew a certificate (RFC 9773).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct RenewalWindow {
    /// Identifies the certificate.
    pub(super) certificate: String,
    pub(super) start_seconds: i64,
    pub(super) end_seconds: i64,
    /// Page that explains the window.
    pub(super) explanation: Option<String>,
}

/// A pending challenge that any node may have to answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct ChallengeRecord {
    /// The kind of challenge, by its name in ACME.
    pub(super) challenge: String,
    /// The name that is to be proven.
    pub(super) name: String,
    pub(super) token: String,
    pub(super) key_authorization: String,
    pub(super) began_ms: i64,
}
