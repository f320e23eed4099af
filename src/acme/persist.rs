//! The static TXT record of `dns-persist-01` (draft-ietf-acme-dns-persist), which the operator sets once.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::acme::records::{AccountRecord, RecordKind};
use crate::acme::storage::RecordStorage;

/// A TXT record that authorizes an account to get certificates for a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PersistRecord {
    /// Name of the record.
    pub(crate) name: String,
    /// Text of the record.
    pub(crate) text: String,
}

impl PersistRecord {
    /// Returns the record for a name. Without an issuer of the CA, its place has a word to replace.
    pub(super) fn of(name: &str, account: &str, issuers: &[String]) -> Self {
        let issuer = issuers.first().map_or("CA-DOMAIN", String::as_str);
        let (bare, policy) = match name.strip_prefix("*.") {
            // Only with this policy does the record count for wildcards (section 4 of the draft).
            Some(bare) => (bare, "; policy=wildcard"),
            None => (name, ""),
        };
        Self {
            name: format!("_validation-persist.{bare}"),
            text: format!("{issuer}; accounturi={account}{policy}"),
        }
    }
}

/// Returns the record for a name, if an account at the CA of this directory is in the state folder. Blocks.
pub(crate) fn known_record(
    state_folder: &Path,
    directory: &str,
    name: &str,
) -> Option<PersistRecord> {
    let storage = RecordStorage::new(state_folder, None);
    let account: AccountRecord = storage
        .read_files()
        .get(RecordKind::Account, &account_name(directory))?;
    Some(PersistRecord::of(name, &account.uri, &account.issuers))
}

/// Returns the name under which the account of a directory is stored.
pub(super) fn account_name(directory: &str) -> String {
    let digest = Sha256::digest(directory);
    data_encoding::HEXLOWER.encode(digest.first_chunk::<8>().map_or(&[], |first| first))
}
