//! Findings of one node: its own problems, and the recent activity of its routes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::problem::{FoundProblem, ProblemKind};

/// Recent requests of one route on one node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RecentTraffic {
    /// Time of the last genuine event, in milliseconds since the epoch; 0 before the first one.
    pub last_ms: i64,
    /// Genuine events within the last hour.
    pub genuine: u64,
    /// Rejected requests within the last hour.
    pub refused: u64,
    /// Most frequent reason of these.
    pub reason: String,
}

/// Problems of one node and the activity of its routes, as the node that judges needs them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NodeFindings {
    /// When this was found, in milliseconds since the epoch.
    pub at_ms: i64,
    /// Activity by route.
    pub routes: BTreeMap<String, RecentTraffic>,
    problems: Vec<StoredProblem>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct StoredProblem {
    kind: String,
    subject: String,
    text: String,
    #[serde(default)]
    level: u32,
}

impl NodeFindings {
    /// Collects what a node found.
    pub(crate) fn new(
        at_ms: i64,
        routes: BTreeMap<String, RecentTraffic>,
        problems: Vec<FoundProblem>,
    ) -> Self {
        let stored = problems.into_iter().map(|problem| StoredProblem {
            kind: problem.kind.word().to_owned(),
            subject: problem.subject,
            text: problem.text,
            level: problem.level,
        });
        Self {
            at_ms,
            routes,
            problems: stored.collect(),
        }
    }

    /// Returns the problems whose kind this version knows.
    pub(super) fn problems(&self) -> impl Iterator<Item = FoundProblem> {
        self.problems.iter().filter_map(|stored| {
            let kind = ProblemKind::of_word(&stored.kind)?;
            let problem = FoundProblem::new(kind, &stored.subject, &stored.text);
            Some(problem.with_level(stored.level))
        })
    }
}

/// Sums up the activity of each route over the nodes.
pub(super) fn sum_activity(nodes: &[NodeFindings]) -> BTreeMap<String, RecentTraffic> {
    let mut sum: BTreeMap<String, RecentTraffic> = BTreeMap::new();
    for (route, one) in nodes.iter().flat_map(|node| &node.routes) {
        let all = sum.entry(route.clone()).or_default();
        all.last_ms = all.last_ms.max(one.last_ms);
        all.genuine = all.genuine.saturating_add(one.genuine);
        if one.refused > all.refused {
            all.reason.clone_from(&one.reason);
        }
        all.refused = all.refused.saturating_add(one.refused);
    }
    sum
}
