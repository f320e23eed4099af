//! The checks of the gate, in the order in which they run.

/// The checks of the gate, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum GateCheck {
    /// Finds the route by host and path.
    Route,
    /// Checks method, content type, declared length and framing.
    Framing,
    /// Checks the source against `allow_ips`.
    SourceIp,
    /// Checks the source's rate of unverified requests.
    SourceRate,
    /// Checks the client's certificate.
    ClientCert,
    /// Checks the signature material and the timestamp.
    Material,
    /// Reads the body within its limits.
    Body,
    /// Compares the signature with each current secret's.
    Signature,
    /// Responds to the provider's URL check.
    Challenge,
    /// Reads event id, type and version.
    Identity,
    /// Applies the route's `events`, `versions` and `when`.
    Filter,
    /// Checks the body against the route's schemas.
    Schema,
    /// Checks the route's rate of verified events.
    RouteRate,
    /// Claims the dedup keys of the event.
    Dedup,
    /// Commits the event to the store, in queue and hybrid mode.
    Commit,
}

impl GateCheck {
    /// Every check, in the order in which they run.
    pub const ALL: [Self; 15] = [
        Self::Route,
        Self::Framing,
        Self::SourceIp,
        Self::SourceRate,
        Self::ClientCert,
        Self::Material,
        Self::Body,
        Self::Signature,
        Self::Challenge,
        Self::Identity,
        Self::Filter,
        Self::Schema,
        Self::RouteRate,
        Self::Dedup,
        Self::Commit,
    ];

    /// Returns the name of the check in logs and docs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Framing => "framing",
            Self::SourceIp => "source-ip",
            Self::SourceRate => "source-rate",
            Self::ClientCert => "client-cert",
            Self::Material => "material",
            Self::Body => "body",
            Self::Signature => "signature",
            Self::Challenge => "challenge",
            Self::Identity => "identity",
            Self::Filter => "filter",
            Self::Schema => "schema",
            Self::RouteRate => "route-rate",
            Self::Dedup => "dedup",
            Self::Commit => "commit",
        }
    }
}
