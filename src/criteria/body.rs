//! The body of one request as JSON, parsed when it is first needed, and once.
//!
//! Conditions, schemas and order keys share it, however many types a batch has and however many destinations a route.
//! It is dropped before anything waits: parsed values take many times the memory of their bytes.

use std::cell::OnceCell;

use serde_json::Value;

use crate::criteria::json::{self, JsonFault};

/// The body of one request.
pub(crate) struct JsonBody<'b> {
    bytes: &'b [u8],
    parsed: OnceCell<Result<Value, JsonFault>>,
}

impl<'b> JsonBody<'b> {
    /// Takes the bytes and parses nothing yet.
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self {
            bytes,
            parsed: OnceCell::new(),
        }
    }

    /// Returns the number of bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the parsed value, or the fault that prevents parsing.
    pub(crate) fn value(&self) -> Result<&Value, JsonFault> {
        let parsed = self.parsed.get_or_init(|| json::parse(self.bytes));
        parsed.as_ref().map_err(|fault| *fault)
    }
}
