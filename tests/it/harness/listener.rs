//! The test tools as processes: `hookgate listen`, and any other command.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

use crate::harness::LIMIT;
use crate::harness::command::command;

/// Runs the binary.
pub fn hookgate(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Returns the text of standard error.
pub fn stderr_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Receiver (`hookgate listen`) as a process; killed when dropped.
pub struct Listener {
    pub child: Child,
    pub address: String,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listener {
    /// Starts a receiver on a free port; returns once it listens.
    pub fn start(more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hookgate"))
            .args(["listen", "--listen", "127.0.0.1:0", "--json"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let address = told["listening"].as_str().unwrap().to_owned();
        Self {
            child,
            address,
            lines,
        }
    }

    /// Starts a receiver that verifies Stripe's events with the secret that `send` uses.
    pub fn of_stripe(more: &[&str]) -> Self {
        let known = ["--provider", "stripe", "--secret", "whsec_test"];
        Self::start(&[&known, more].concat())
    }

    /// Returns the next request that it prints.
    pub fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends it a Stripe event.
    pub fn send(&self, more: &[&str]) -> Output {
        let url = self.url("/in");
        let fixed = ["send", &url, "--provider", "stripe"];
        hookgate(&[&fixed[..], &["--secret", "whsec_test"], more].concat())
    }

    /// Returns the whole response to a minimal request with this `Host`.
    pub fn ask(&self, line: &str, host: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
