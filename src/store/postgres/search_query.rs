//! A statement that is put together from parts, with its values.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use crate::store::postgres::session::{Session, SqlValue};

/// A statement under construction. Every value is a parameter, so no text of a search ever becomes part of the SQL.
#[derive(Default)]
pub(super) struct SearchQuery {
    sql: String,
    values: Vec<Box<dyn ToSql + Sync>>,
}

impl SearchQuery {
    /// Appends SQL.
    pub(super) fn add(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Appends a parameter.
    pub(super) fn value(&mut self, value: impl ToSql + Sync + 'static) -> &mut Self {
        self.values.push(Box::new(value));
        self.sql.push('$');
        self.sql.push_str(&self.values.len().to_string());
        self
    }

    /// Runs the statement.
    pub(super) async fn run(&self, session: &Session) -> Result<Vec<Row>, Error> {
        let values: Vec<SqlValue<'_>> = self.values.iter().map(|value| &**value as _).collect();
        session.query(&self.sql, &values).await
    }
}
