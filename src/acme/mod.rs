//! Certificates from a CA by ACME (RFC 8555): ordered, renewed, and shared over the nodes of a store.
//!
//! `manager` decides when something is due and does it. `order` runs one order, `answer` publishes the proofs that the CA
//! asks for, and `storage` holds accounts, keys and certificates. The gate serves what is stored and never waits for the
//! CA. A certificate in use is replaced only by one that was checked.

mod account;
mod answer;
mod failure;
mod health;
mod http;
mod managed_name;
mod manager;
mod order;
mod persist;
mod plan;
mod records;
mod renewal;
mod storage;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use crate::acme::health::CertificateHealth;
pub(crate) use crate::acme::manager::CertificateManager;
pub(crate) use crate::acme::persist::known_record;
pub(crate) use crate::acme::plan::AcmePlan;
pub(crate) use crate::acme::storage::StorageError;
