//! Lists of the admin API, which come part by part.

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::path::with_query;
use crate::cli::admin_client::AdminClient;
use crate::cli::failure::Failure;
use crate::cli::filters::Pairs;
use crate::cli::output::{FAINT, print, print_json, styled};

/// How much of a list, and in which form.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Paging {
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// All rows
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// One kind of list: `D` is the document that the API gives, `R` a row of it.
pub(super) struct Listing<D, R> {
    /// What a failure says first.
    pub(super) doing: &'static str,
    /// The resource.
    pub(super) path: &'static str,
    /// Takes a document apart: its rows, and where the next part begins.
    pub(super) open: fn(D) -> (Vec<R>, Option<String>),
    /// The opposite.
    pub(super) close: fn(Vec<R>, Option<String>) -> D,
    /// The lines of a part; the first one has a header.
    pub(super) table: fn(&[R], bool) -> String,
}

/// Rows that are asked for at once: what the API gives at most.
const PART: u64 = 500;

impl Paging {
    /// Rows wanted in all.
    fn wanted(&self) -> u64 {
        match self.all {
            true => u64::MAX,
            false => self.limit,
        }
    }
}

impl<D: DeserializeOwned + Serialize, R> Listing<D, R> {
    /// Prints what the filters find, each part as soon as it is there; as JSON one document in the end.
    pub(super) async fn print(
        &self,
        client: &AdminClient,
        filters: Pairs,
        paging: &Paging,
    ) -> Result<(), Failure> {
        let mut left = paging.wanted();
        let mut cursor = None;
        let mut whole = Vec::new();
        let mut is_first = true;
        loop {
            let path = with_query(self.path, &part(filters.clone(), left, cursor));
            let (rows, next) = (self.open)(client.get(self.doing, &path).await?);
            left = left.saturating_sub(rows.len() as u64);
            cursor = next;
            let is_last = cursor.is_none() || left == 0;
            // A part of a search for text may hold none, though later ones do.
            let is_empty = rows.is_empty() && !is_last;
            if paging.json {
                whole.extend(rows);
            } else if !is_empty {
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

/// What stands below a list that goes on.
fn more(filters: &Pairs) -> &'static str {
    // Whether a text is in one that was not looked at, nobody knows.
    match filters.iter().any(|(name, _)| *name == "text") {
        true => "\nthere may be more: `--all` or `--limit` shows them\n",
        false => "\nthere are more: `--all` or `--limit` shows them\n",
    }
}

/// The query of the next part: the filters, how many rows, where to go on.
fn part(mut pairs: Pairs, left: u64, cursor: Option<String>) -> Pairs {
    pairs.push(("limit", left.min(PART).to_string()));
    if let Some(cursor) = cursor {
        pairs.push(("cursor", cursor));
    }
    pairs
}
