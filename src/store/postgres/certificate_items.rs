//! Documents about certificates, and the lease of the node that orders them.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::model::clock::millis;
use crate::store::certificate_item::CertificateItem;
use crate::store::error::StoreError;
use crate::store::postgres::event_list::PATIENCE;
use crate::store::postgres::session::SqlValue;
use crate::store::postgres::store::PostgresStore;
use crate::store::seal::{CLEAR, SealedPart, seal_failed};

impl PostgresStore {
    /// Returns a value that differs from the last one if an item was written or removed since.
    pub(in crate::store) async fn certificate_version(&self) -> Result<(i64, i64), StoreError> {
        self.read(PATIENCE, async |session| {
            let sql = "SELECT coalesce(max(changed), 0), count(*) FROM certificate_item";
            let row = session.query_one(sql, &[]).await?;
            Ok((row.get(0), row.get(1)))
        })
        .await
    }

    /// Returns the items of some kinds. An item that cannot be decrypted is left out, and so is one in clear although
    /// there are keys: hookgate did not write it.
    pub(in crate::store) async fn certificate_items(
        &self,
        kinds: Vec<String>,
    ) -> Result<Vec<CertificateItem>, StoreError> {
        let rows = self.read(PATIENCE, async move |session| {
            let sql = "SELECT kind, name, content, sealing_key FROM certificate_item
                WHERE kind = ANY($1) ORDER BY kind, name";
            session.query(sql, &[&kinds]).await
        });
        let sealer = self.shared.sealer();
        let items = rows.await?.into_iter().filter_map(|row| {
            let (kind, name): (String, String) = (row.get(0), row.get(1));
            let (content, key): (Vec<u8>, i64) = (row.get(2), row.get(3));
            let content = match (key, sealer.is_clear()) {
                (CLEAR, true) => Some(content),
                (CLEAR, false) => None,
                _ => {
                    let id = item_id(&kind, &name);
                    let opened = sealer.open_part((key, 0), &id, SealedPart::Certificate, content);
                    opened.ok()
                }
            };
            let Some(content) = content.map(Zeroizing::new) else {
                tracing::warn!(
                    kind,
                    name,
                    "a certificate item of the store cannot be read with the keys of this node, and is ignored"
                );
                return None;
            };
            Some(CertificateItem {
                kind,
                name,
                content,
            })
        });
        Ok(items.collect())
    }

    pub(in crate::store) async fn put_certificate_item(
        &self,
        item: CertificateItem,
    ) -> Result<(), StoreError> {
        let id = item_id(&item.kind, &item.name);
        let sealed = self
            .shared
            .sealer()
            .seal(&id, SealedPart::Certificate, &item.content);
        let (key, content) = sealed.map_err(|_| seal_failed())?;
        self.write(async move |session| {
            let sql = "INSERT INTO certificate_item (kind, name, content, sealing_key, changed)
                VALUES ($1, $2, $3, $4, nextval('certificate_change'))
                ON CONFLICT (kind, name) DO UPDATE SET content = excluded.content,
                    sealing_key = excluded.sealing_key, changed = excluded.changed";
            let values: [SqlValue<'_>; 4] = [&item.kind, &item.name, &content, &key];
            let written = session.execute(sql, &values).await;
            written.map(drop).map_err(StoreError::Postgres)
        })
        .await
    }

    pub(in crate::store) async fn remove_certificate_item(
        &self,
        kind: String,
        name: String,
    ) -> Result<(), StoreError> {
        self.write(async move |session| {
            let sql = "DELETE FROM certificate_item WHERE kind = $1 AND name = $2";
            let removed = session.execute(sql, &[&kind, &name]).await;
            removed.map(drop).map_err(StoreError::Postgres)
        })
        .await
    }

    /// Takes or extends the lease. A process that starts again under the same name goes on with its own lease.
    pub(in crate::store) async fn take_certificate_lease(
        &self,
        length: Duration,
    ) -> Result<bool, StoreError> {
        let node = self.shared.settings.node.clone();
        let now_ms = self.shared.clock.now().unix_ms;
        let length_ms = millis(length);
        let until_ms = now_ms.saturating_add(length_ms);
        self.write(async move |session| {
            let sql = "INSERT INTO certificate_lease (node, until_ms) VALUES ($1, $2)
                ON CONFLICT (one) DO UPDATE SET node = excluded.node, until_ms = excluded.until_ms
                WHERE certificate_lease.node = excluded.node OR certificate_lease.until_ms <= $3";
            let taken = session.execute(sql, &[&node, &until_ms, &now_ms]).await;
            taken.map(|rows| rows > 0).map_err(StoreError::Postgres)
        })
        .await
    }

    /// Ends the lease of this node, so that another one need not wait for its end.
    pub(in crate::store) async fn end_certificate_lease(&self) -> Result<(), StoreError> {
        let node = self.shared.settings.node.clone();
        self.write(async move |session| {
            let sql = "DELETE FROM certificate_lease WHERE node = $1";
            let ended = session.execute(sql, &[&node]).await;
            ended.map(drop).map_err(StoreError::Postgres)
        })
        .await
    }
}

/// Returns the identity under which an item is encrypted, so that its content cannot be moved to another one.
fn item_id(kind: &str, name: &str) -> [u8; 16] {
    let digest = Sha256::digest(format!("certificate item {kind} {name}"));
    digest.first_chunk().copied().unwrap_or_default()
}
