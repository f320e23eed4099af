//! CPU time of a database server and of the benchmark itself. Ratios of it depend less on other load than rates do.

use std::time::Duration;

/// CPU times of the server and of this process, which run on the same machine.
pub(crate) struct CpuTimes {
    server: Duration,
    own: Duration,
}

impl CpuTimes {
    /// Reads the times until now, given a process of the server that serves a session.
    pub(crate) fn read(backend: i32) -> Self {
        let parent = fields(&backend.to_string()).expect("the session's process")[0];
        let main = fields(&parent.to_string()).expect("the server's process");
        // User and system time of the process, and of its children that have ended.
        let mut ticks: u64 = main[10..14].iter().sum();
        for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
            match fields(&entry.file_name().to_string_lossy()) {
                Some(child) if child[0] == parent => ticks += child[10] + child[11],
                _ => {}
            }
        }
        let own = fields("self").expect("this process");
        Self {
            server: from_ticks(ticks),
            own: from_ticks(own[10] + own[11]),
        }
    }

    /// Microseconds of the server and of this process for each of so many events since `before`.
    pub(crate) fn each_since(&self, before: &Self, events: f64) -> (f64, f64) {
        let each = |now: Duration, before: Duration| (now - before).as_secs_f64() * 1e6 / events;
        (each(self.server, before.server), each(self.own, before.own))
    }
}

/// Returns the fields of `stat` from the parent's number on (proc(5)). The name before them may contain spaces.
fn fields(process: &str) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    let fields = fields.split(' ').skip(1);
    Some(fields.map(|field| field.parse().unwrap_or(0)).collect())
}

/// Linux counts in hundredths of a second.
fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}
