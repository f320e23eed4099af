//! The secrets of the demo.

use anyhow::anyhow;
use data_encoding::{BASE64, HEXLOWER};

/// Signing secret of each provider, generated for this run.
pub(super) struct DemoSecrets {
    pub(super) stripe: String,
    pub(super) github: String,
    pub(super) shopify: String,
    pub(super) slack: String,
    pub(super) standard_webhooks: String,
    pub(super) partner: String,
}

impl DemoSecrets {
    pub(super) fn make() -> anyhow::Result<Self> {
        Ok(Self {
            stripe: format!("whsec_{}", HEXLOWER.encode(&random()?)),
            github: HEXLOWER.encode(&random()?),
            shopify: HEXLOWER.encode(&random()?),
            slack: HEXLOWER.encode(&random()?),
            standard_webhooks: format!("whsec_{}", BASE64.encode(&random()?)),
            partner: HEXLOWER.encode(&random()?),
        })
    }
}

pub(super) fn random() -> anyhow::Result<[u8; 24]> {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("the system has no random numbers"))?;
    Ok(bytes)
}
