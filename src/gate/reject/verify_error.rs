//! Rejects for the errors of the verification library.

use hookgate_verify::VerifyError;

use crate::gate::reject::Reject;

impl From<VerifyError> for Reject {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::NoCurrentSecret => Self::NoCurrentSecret,
            VerifyError::MissingMaterial { name } => Self::MissingMaterial { name },
            VerifyError::MalformedMaterial { name, fault } => {
                Self::MalformedMaterial { name, fault }
            }
            VerifyError::StaleTimestamp {
                age_seconds,
                tolerance,
            } => Self::StaleTimestamp {
                age_seconds,
                tolerance,
            },
            VerifyError::BadSignature => Self::BadSignature,
            VerifyError::BodyTooLarge { limit } => Self::BodyTooLarge { limit },
            VerifyError::WrongTenant => Self::WrongTenant,
            // The gate fetches keys itself, so it never gets this one.
            VerifyError::KeyNeeded { url } => Self::KeyUnavailable {
                fault: format!("the key at {url} was not fetched").into(),
            },
            VerifyError::Identity { fault } => Self::Identity { fault },
        }
    }
}
