//! The nodes that share the store, with their problems.
//!
//! A gate whose store only it can use is a list of one node, so that every view works the same.

use crate::admin::node_report::own_report;
use crate::admin::state::AdminState;
use crate::store::StoreError;
use crate::store::nodes::{NodeReport, NodeRow};

/// A node whose last beat is older is quiet. Beats come every few seconds.
const QUIET_MS: u64 = 10_000;

/// Largest difference of a node's clock to the database's clock without a warning.
const MAX_OFFSET_MS: i64 = 2_000;

/// Time for a rolling upgrade. Different versions are a warning after that.
const UPGRADE_MS: i64 = 3_600_000;

/// Age of a report beyond which it says nothing about the present.
const MAX_REPORT_AGE_MS: i64 = 300_000;

/// Returns the nodes, this one first. It is the only one if the store is not shared.
pub(super) async fn rows(state: &AdminState) -> Result<Vec<NodeRow>, StoreError> {
    let own = own_report(state);
    let Some((store, _)) = state.shared_store() else {
        return Ok(vec![own_row(state, own)]);
    };
    let mut rows = store.nodes().await?;
    for row in rows.iter_mut().filter(|row| row.is_self) {
        // This process knows more than its last beat says; only the store knows its clock.
        row.report = NodeReport {
            clock_offset_ms: row.report.clock_offset_ms,
            ..own.clone()
        };
    }
    Ok(rows)
}

/// Returns the live nodes whose counts are known, and the names of those whose are not.
///
/// A report that is old or not complete says nothing about what a node counts now.
pub(super) async fn known_rows(state: &AdminState) -> (Vec<NodeRow>, Vec<String>) {
    let own = own_report(state);
    let Some((store, name)) = state.shared_store() else {
        return (vec![own_row(state, own)], Vec::new());
    };
    let Ok(mut rows) = rows(state).await else {
        // The other nodes are unknown while the database is away.
        let others = "the other nodes: the database is away".to_owned();
        return (vec![own_row(state, own)], vec![others]);
    };
    rows.retain(|row| row.ended_ms.is_none());
    let mut missing = Vec::new();
    if !rows.iter().any(|row| row.is_self) {
        // It was declared dead, or has not registered yet.
        missing.push(name.to_owned());
    }
    let now_ms = store.now().unix_ms;
    rows.retain(|row| {
        let age_ms = now_ms.saturating_sub(row.report.published_ms);
        let is_known = !row.report.is_partial && age_ms <= MAX_REPORT_AGE_MS;
        if !is_known {
            missing.push(row.name.clone());
        }
        is_known
    });
    (rows, missing)
}

/// Returns this process as the only node.
fn own_row(state: &AdminState, report: NodeReport) -> NodeRow {
    NodeRow {
        id: 1,
        name: state
            .node()
            .unwrap_or_else(|| state.controls.host.to_string()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_ms: state.started_ms,
        quiet_ms: 0,
        ended_ms: None,
        is_self: true,
        report,
    }
}

/// Returns the problems of a node, compared with this one.
pub(super) fn warnings(row: &NodeRow, all: &[NodeRow], now_ms: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    if row.ended_ms.is_some() {
        return warnings;
    }
    let name = &row.name;
    if row.quiet_ms > QUIET_MS {
        let seconds = row.quiet_ms / 1000;
        warnings.push(format!(
            "node `{name}` has been quiet for {seconds} s: if it does not return, other nodes take over its deliveries"
        ));
    }
    let offset_ms = row.report.clock_offset_ms;
    if offset_ms.abs() > MAX_OFFSET_MS {
        let side = if offset_ms > 0 { "ahead of" } else { "behind" };
        let seconds = offset_ms.unsigned_abs() / 1000;
        warnings.push(format!(
            "the clock of node `{name}` is {seconds} s {side} the database's: synchronize both, signed timestamps \
             depend on it"
        ));
    }
    let Some(own) = all.iter().find(|row| row.is_self).filter(|_| !row.is_self) else {
        return warnings;
    };
    // A node that has just started publishes its config with its next beat.
    let is_published = !row.report.config_digest.is_empty();
    if is_published && row.report.config_digest != own.report.config_digest {
        let own = &own.name;
        warnings.push(format!(
            "node `{name}` runs another config than node `{own}`: give both the same config and reload them"
        ));
    }
    // From the later start, since before it the two versions did not run side by side.
    let together_ms = now_ms.saturating_sub(row.started_ms.max(own.started_ms));
    if row.version != own.version && together_ms > UPGRADE_MS {
        let (version, other) = (&row.version, &own.version);
        warnings.push(format!(
            "node `{name}` has run version {version} beside version {other} for more than an hour: finish the upgrade"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn row(name: &str) -> NodeRow {
        NodeRow {
            id: 1,
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            started_ms: NOW - 2 * UPGRADE_MS,
            quiet_ms: 500,
            ended_ms: None,
            is_self: name == "a",
            report: NodeReport {
                config_digest: "11".to_owned(),
                ..NodeReport::default()
            },
        }
    }

    fn found(change: impl FnOnce(&mut NodeRow)) -> Vec<String> {
        let mut other = row("b");
        change(&mut other);
        warnings(&other, &[row("a"), other.clone()], NOW)
    }

    // Fails when a problem of a live node is not reported, or when one that ended or just started is.
    #[test]
    fn a_node_is_warned_about_if_it_differs_is_quiet_or_has_another_time() {
        assert_eq!(found(|_| ()), [""; 0]);
        let one = |change: fn(&mut NodeRow), text: &str| {
            let found = found(change);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(text), "{found:?}");
        };
        one(|row| row.quiet_ms = 11_000, "quiet for 11 s");
        one(|row| row.report.clock_offset_ms = 2_001, "2 s ahead of");
        one(|row| row.report.clock_offset_ms = -9_000, "9 s behind");
        one(
            |row| row.report.config_digest = "22".to_owned(),
            "another config",
        );
        one(|row| row.version = "1.1.0".to_owned(), "finish the upgrade");
        let upgraded = |row: &mut NodeRow| {
            row.version = "1.1.0".to_owned();
            row.started_ms = NOW - UPGRADE_MS;
        };
        assert_eq!(found(upgraded), [""; 0]);
        assert_eq!(found(|row| row.report.config_digest.clear()), [""; 0]);
        let ended = |row: &mut NodeRow| {
            row.ended_ms = Some(NOW);
            row.quiet_ms = 60_000;
        };
        assert_eq!(found(ended), [""; 0]);
    }
}
