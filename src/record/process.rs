//! Process metrics, read from the kernel at each scrape.
//!
//! A value that cannot be read is left out; a scrape never fails because of it.

use std::fs;

/// Returns the resident memory in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}

/// Counts the open file descriptors, including the one that reads the folder.
pub(super) fn open_files() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count).ok()
}

/// Returns the soft limit of open file descriptors; `None` means unlimited.
pub(super) fn most_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Returns the CPU time of all threads in seconds, in user and in kernel mode.
pub(super) fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets and may hold spaces and brackets, so cut at the last bracket.
    let (_, fields) = stat.rsplit_once(')')?;
    // `utime` and `stime` are fields 14 and 15 of proc_pid_stat(5).
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok().map(f64::from);
    let (user, system) = (ticks()?, ticks()?);
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some((user + system) / f64::from(per_second.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_reports_all_values() {
        assert!(resident_bytes().unwrap() > 500_000);
        assert!(open_files().unwrap() >= 3);
        assert!(most_files().unwrap() > open_files().unwrap());
        assert!(cpu_seconds().unwrap() < 1e6);
    }
}
