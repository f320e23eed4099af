//! The account at a CA: restored from storage, or registered once.

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};

use crate::acme::failure::{FailureKind, OrderFailure};
use crate::acme::http::AuthorityHttp;
use crate::acme::persist::account_name;
use crate::acme::records::{AccountRecord, RecordKind};
use crate::acme::storage::{RecordStorage, StoredRecords};
use crate::config::model::AcmeSection;
use crate::model::error::chain;

/// Restores the account of the directory, or registers a new one and stores it.
pub(super) async fn open(
    section: &AcmeSection,
    http: &AuthorityHttp,
    storage: &RecordStorage,
    records: &StoredRecords,
) -> Result<Account, OrderFailure> {
    let name = account_name(&section.directory);
    let known: Option<AccountRecord> = records.get(RecordKind::Account, &name);
    let known = known.filter(|known| known.directory == section.directory);
    let builder = Account::builder_with_http(Box::new(http.clone()));
    let Some(known) = known else {
        return register(section, http, storage, &name).await;
    };
    let (email, uri) = (known.email.clone(), known.uri.clone());
    let account = builder.from_credentials(known.credentials).await?;
    if email != section.email {
        let contact = contact(section);
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        match account.update_contacts(&contact).await {
            Ok(()) => {
                tracing::info!(
                    account = uri,
                    "the mail address of the ACME account was changed"
                );
                // Read again, because the restored account took the credentials.
                let stored: Option<AccountRecord> = records.get(RecordKind::Account, &name);
                if let Some(mut stored) = stored {
                    stored.email = section.email.clone();
                    put(storage, &name, &stored).await?;
                }
            }
            // The old address still works, so this must not keep a certificate from its renewal.
            Err(error) => tracing::warn!(
                error = chain(&error),
                "the mail address of the ACME account was not changed"
            ),
        }
    }
    Ok(account)
}

async fn register(
    section: &AcmeSection,
    http: &AuthorityHttp,
    storage: &RecordStorage,
    name: &str,
) -> Result<Account, OrderFailure> {
    let contact = contact(section);
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let request = NewAccount {
        contact: &contact,
        // The operator agrees by naming the CA; the guide says so.
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let external = section.external_account.as_ref();
    let external = external.map(|external| {
        ExternalAccountKey::new(external.key_id.clone(), external.hmac_key.expose())
    });
    let builder = Account::builder_with_http(Box::new(http.clone()));
    let created = builder.create(&request, section.directory.clone(), external.as_ref());
    let (account, credentials): (Account, AccountCredentials) = created.await?;
    let record = AccountRecord {
        directory: section.directory.clone(),
        email: section.email.clone(),
        uri: account.id().to_owned(),
        issuers: http.issuers(),
        credentials,
    };
    // Stored before its first use: a certificate of an account that is lost could not be renewed under it.
    put(storage, name, &record).await?;
    tracing::info!(account = account.id(), "registered an ACME account");
    Ok(account)
}

/// Adds the domain names by which the CA identifies itself, which it names only with a challenge.
pub(super) async fn add_issuers(
    directory: &str,
    storage: &RecordStorage,
    issuers: &[String],
) -> Result<(), OrderFailure> {
    let name = account_name(directory);
    let records = storage.read_all().await.map_err(local)?;
    let record: Option<AccountRecord> = records.get(RecordKind::Account, &name);
    match record {
        Some(mut record) if record.issuers != issuers => {
            record.issuers = issuers.to_vec();
            put(storage, &name, &record).await
        }
        _ => Ok(()),
    }
}

/// Forgets an account that the CA does not know any more.
pub(super) async fn forget(directory: &str, storage: &RecordStorage) -> Result<(), OrderFailure> {
    let name = account_name(directory);
    let removed = storage.remove(RecordKind::Account, &name);
    removed.await.map_err(local)
}

async fn put(
    storage: &RecordStorage,
    name: &str,
    record: &AccountRecord,
) -> Result<(), OrderFailure> {
    let written = storage.put(RecordKind::Account, name, record).await;
    written.map_err(local)
}

/// Converts an error of the storage.
#[expect(
    clippy::needless_pass_by_value,
    reason = "`map_err` passes the error by value"
)]
pub(super) fn local(error: crate::acme::storage::StorageError) -> OrderFailure {
    OrderFailure::new(FailureKind::Local, chain(&error))
}

fn contact(section: &AcmeSection) -> Vec<String> {
    let email = section.email.iter();
    email.map(|email| format!("mailto:{email}")).collect()
}
