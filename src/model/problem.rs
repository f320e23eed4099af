//! Kinds of problems that an operator has to know about.

/// Kind of a problem. The API, the console, alerts and the config use its word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ProblemKind {
    /// The store accepts no events.
    Store,
    /// The last reload of the config failed.
    Config,
    /// A certificate expires soon.
    Certificate,
    /// A certificate could not be renewed.
    Renewal,
    /// A revocation list of a route ends soon, or is past its end.
    RevocationList,
    /// A node differs from the others, or is quiet.
    Node,
    /// A secret of a route expires soon.
    SecretEnds,
    /// An old secret matches nothing any more.
    SecretIdle,
    /// A destination is disabled after a response with 410.
    Disabled,
    /// A destination is paused.
    Paused,
    /// A destination has dead letters.
    DeadLetters,
    /// Deliveries of a destination wait for long.
    Backlog,
    /// The circuit breaker of a destination is open.
    Failing,
    /// The store is nearly full.
    StoreFull,
    /// Published address ranges are out of date.
    Ranges,
    /// A route has gone quiet: its sender sends no events any more.
    Quiet,
    /// A route rejects more requests than usual.
    Refusals,
    /// A receiver of alerts does not accept them.
    Receiver,
}

impl ProblemKind {
    /// All kinds with their words, most urgent first.
    pub const ALL: [(&'static str, Self); 18] = [
        ("store", Self::Store),
        ("config", Self::Config),
        ("certificate", Self::Certificate),
        ("renewal", Self::Renewal),
        ("revocation_list", Self::RevocationList),
        ("node", Self::Node),
        ("secret_ends", Self::SecretEnds),
        ("secret_idle", Self::SecretIdle),
        ("store_full", Self::StoreFull),
        ("quiet", Self::Quiet),
        ("refusals", Self::Refusals),
        ("ranges", Self::Ranges),
        ("disabled", Self::Disabled),
        ("paused", Self::Paused),
        ("dead_letters", Self::DeadLetters),
        ("backlog", Self::Backlog),
        ("receiver", Self::Receiver),
        ("failing", Self::Failing),
    ];

    /// Returns the word for the kind.
    #[must_use]
    pub fn word(self) -> &'static str {
        hookgate_verify::document::value::choice_word(&Self::ALL, &self)
    }

    /// Returns the kind with this word; `None` if a later version has more kinds than this one.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find_map(|(known, kind)| (known == word).then_some(kind))
    }

    /// Returns the heading of a list of such problems.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Store => "Store unavailable",
            Self::Config => "Config rejected",
            Self::Certificate => "Certificates near their end",
            Self::Renewal => "Certificates not renewed",
            Self::RevocationList => "Revocation lists near their end",
            Self::Node => "Nodes",
            Self::SecretEnds => "Secrets near their end",
            Self::SecretIdle => "Unused secrets",
            Self::Disabled => "Disabled destinations",
            Self::Paused => "Paused destinations",
            Self::DeadLetters => "Dead letters",
            Self::Backlog => "Old backlog",
            Self::Failing => "Failing destinations",
            Self::StoreFull => "Store nearly full",
            Self::Ranges => "Address ranges out of date",
            Self::Quiet => "Quiet routes",
            Self::Refusals => "Rejections above normal",
            Self::Receiver => "Alert receivers",
        }
    }
}

/// A problem that holds now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FoundProblem {
    /// Kind of the problem.
    pub kind: ProblemKind,
    /// The thing that has the problem, such as `route/destination`. With the kind it identifies the problem.
    pub subject: String,
    /// Sentence that describes the problem and what to do.
    pub text: String,
    /// How bad it is. A higher level than before means that it got worse.
    pub level: u32,
}

impl FoundProblem {
    /// Creates a problem of the lowest level.
    #[must_use]
    pub(crate) fn new(
        kind: ProblemKind,
        subject: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            subject: subject.into(),
            text: text.into(),
            level: 0,
        }
    }

    /// Returns the route that has the problem; `None` if it belongs to the gate as a whole.
    #[must_use]
    pub(crate) fn route(&self) -> Option<&str> {
        match self.kind {
            ProblemKind::RevocationList | ProblemKind::Quiet | ProblemKind::Refusals => {
                Some(&self.subject)
            }
            // A name of a route has no slash, so the first one ends it.
            ProblemKind::SecretEnds
            | ProblemKind::SecretIdle
            | ProblemKind::Disabled
            | ProblemKind::Paused
            | ProblemKind::DeadLetters
            | ProblemKind::Backlog
            | ProblemKind::Failing => self.subject.split('/').next(),
            ProblemKind::Store
            | ProblemKind::Config
            | ProblemKind::Certificate
            | ProblemKind::Renewal
            | ProblemKind::Node
            | ProblemKind::StoreFull
            | ProblemKind::Ranges
            | ProblemKind::Receiver => None,
        }
    }

    /// Sets how bad it is.
    #[must_use]
    pub(crate) fn with_level(self, level: u32) -> Self {
        Self { level, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a caller that is limited to routes gets problems of others, or of the gate as a whole.
    #[test]
    fn a_problem_belongs_to_a_route_or_to_the_whole_gate() {
        for (kind, subject, route) in [
            (ProblemKind::RevocationList, "shop", Some("shop")),
            (ProblemKind::Refusals, "shop", Some("shop")),
            (ProblemKind::SecretEnds, "shop/a/b", Some("shop")),
            (ProblemKind::DeadLetters, "shop/mail", Some("shop")),
            (ProblemKind::Certificate, "shop", None),
            (ProblemKind::Receiver, "shop/mail", None),
        ] {
            let problem = FoundProblem::new(kind, subject, "it is wrong");
            assert_eq!(problem.route(), route, "{kind:?}");
        }
    }
}
