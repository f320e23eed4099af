//! Reasons why a request has no usable signature material.

/// Reason why a request has no usable material.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MaterialFault {
    /// The value is not present.
    Missing {
        /// Name of the header or parameter.
        name: Box<str>,
    },
    /// The value is present, but not in the scheme's format, or more than once.
    Malformed {
        /// Name of the header or parameter.
        name: Box<str>,
        /// Description of the fault, for logs.
        fault: &'static str,
    },
}

impl MaterialFault {
    /// Returns the error for a value that is not present.
    pub(super) fn missing(name: &str) -> Self {
        Self::Missing { name: name.into() }
    }

    /// Returns the error for a value that is not as the scheme needs it.
    pub(in crate::scheme) fn malformed(name: &str, fault: &'static str) -> Self {
        Self::Malformed {
            name: name.into(),
            fault,
        }
    }
}
