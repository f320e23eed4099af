//! Fuzzes the configuration: no text makes loading it, or rendering its errors, panic.
#![no_main]

use hookgate::internals::{ReportStyle, load_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(report) = load_text("fuzz.toml", text) {
        assert!(!report.render(ReportStyle::Plain).is_empty());
    }
});
