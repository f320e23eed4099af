//! Transcripts: commands with what they printed, compared with a golden file.

use super::golden::{golden, mask_ages};

/// The commands of a test. It must end with `compare`.
#[must_use]
pub struct Transcript {
    name: &'static str,
    text: String,
}

impl Transcript {
    /// Begins a transcript that is compared with `tests/golden/NAME`.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            text: String::new(),
        }
    }

    /// Adds a command with its exit code, standard output and standard error.
    pub fn add(&mut self, arguments: &[&str], (code, out, err): &(i32, String, String)) {
        let line = arguments.join(" ");
        let text = format!("$ hookgate {line}\n{out}{err}exit {code}\n\n");
        self.text.push_str(&text);
    }

    pub fn compare(self) {
        golden(self.name, &self.text);
    }

    /// Compares without the ages and sizes in the texts.
    pub fn compare_without_ages(self) {
        golden(self.name, &mask_ages(&self.text));
    }
}
