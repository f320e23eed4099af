//! Lists of the admin API, fetched page by page.

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::path::with_query;
use crate::cli::admin_client::AdminClient;
use crate::cli::failure::CommandFailure;
use crate::cli::filters::FilterPairs;
use crate::cli::output::{FAINT, print, print_json, styled};

/// Options of each list: the number of rows, and the output format.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct ListOptions {
    /// Maximum number of rows
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Print all rows
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// Definition of a list: `D` is the document that the API returns, `R` a row of it.
pub(super) struct ListDefinition<D, R> {
    /// Begins the message of a failure, such as `listing events`.
    pub(super) doing: &'static str,
    /// Path of the API resource.
    pub(super) path: &'static str,
    /// Splits a document into its rows and the cursor of the next page.
    pub(super) open: fn(D) -> (Vec<R>, Option<String>),
    /// Builds one document from all rows, for `--json`.
    pub(super) close: fn(Vec<R>, Option<String>) -> D,
    /// Formats the rows of a page; only the first page has a header.
    pub(super) table: fn(&[R], bool) -> String,
}

/// Rows requested at once: the maximum of the API.
const PART: u64 = 500;

impl ListOptions {
    /// Returns the number of rows to print in total.
    fn wanted(&self) -> u64 {
        match self.all {
            true => u64::MAX,
            false => self.limit,
        }
    }
}

impl<D: DeserializeOwned + Serialize, R> ListDefinition<D, R> {
    /// Prints the rows that match the filters. Text appears page by page, JSON as one document at the end.
    pub(super) async fn print(
        &self,
        client: &AdminClient,
        filters: FilterPairs,
        paging: &ListOptions,
    ) -> Result<(), CommandFailure> {
        let mut left = paging.wanted();
        let mut cursor = None;
        // JSON is one document, so all pages are collected before it is printed.
        let mut whole = Vec::new();
        let mut is_first = true;
        loop {
            let path = with_query(self.path, &part(filters.clone(), left, cursor));
            let (rows, next) = (self.open)(client.get(self.doing, &path).await?);
            left = left.saturating_sub(rows.len() as u64);
            cursor = next;
            let is_last = cursor.is_none() || left == 0;
            // A search for text may return an empty page although later pages have rows: the gate limits the bodies
            // that it reads for one request. Only the last page may print "no event matches".
            let is_empty = rows.is_empty() && !is_last;
            if paging.json {
                whole.extend(rows);
            } else if !is_empty {
                // False: the reader closed the pipe, so the remaining pages are not fetched.
                if !print(&(self.table)(&rows, is_first)) {
                    return Ok(());
                }
                is_first = false;
            }
            if is_last {
                break;
            }
        }
        if paging.json {
            print_json(&(self.close)(whole, cursor));
        } else if cursor.is_some() {
            print(&styled(FAINT, more(&filters)));
        }
        Ok(())
    }
}

/// Returns the line below a list that was cut by `--limit`.
fn more(filters: &FilterPairs) -> &'static str {
    // For a search for text, it is unknown whether a row that was not examined would match.
    match filters.iter().any(|(name, _)| *name == "text") {
        true => "\nthere may be more: `--all` or `--limit` shows them\n",
        false => "\nthere are more: `--all` or `--limit` shows them\n",
    }
}

/// Builds the query of the next page: the filters, the number of rows, the cursor.
fn part(mut pairs: FilterPairs, left: u64, cursor: Option<String>) -> FilterPairs {
    pairs.push(("limit", left.min(PART).to_string()));
    if let Some(cursor) = cursor {
        pairs.push(("cursor", cursor));
    }
    pairs
}
