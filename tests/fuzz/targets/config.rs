//! Fuzzes the configuration: no text makes loading it, or rendering its errors, panic.
#![no_main]

use hookgate::config::load_text;
use hookgate::document::report::ReportStyle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(report) = load_text("fuzz.toml", text) {
        assert!(!report.render(ReportStyle::Plain).is_empty());
    }
});
