//! What the kernel says about a process: memory, threads, descriptors, time.
//!
//! All by process id, so that they serve for a server, for nutcracker, and for ourselves. Each
//! panics if there is no such process.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of memory that are in use now (resident set).
pub fn resident_bytes(pid: i32) -> u64 {
    status_kib(pid, "VmRSS:") * 1024
}

/// The most bytes of memory that were ever in use at once.
pub fn resident_bytes_peak(pid: i32) -> u64 {
    status_kib(pid, "VmHWM:") * 1024
}

/// How often these bytes stand in its memory, wherever it may write.
///
/// # Panics
/// If there is no such process, or the kernel doesn't let us look into it.
#[track_caller]
pub fn memory_holds(pid: i32, bytes: &[u8]) -> usize {
    let maps = fs::read_to_string(path(pid, "maps")).unwrap_or_else(|e| missing(pid, &e));
    let memory = fs::File::open(path(pid, "mem")).unwrap_or_else(|e| missing(pid, &e));
    let mut found = 0;
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
        let Some((from, to)) = range.split_once('-').filter(|_| rights.starts_with("rw")) else {
            continue;
        };
        let address = |hex| u64::from_str_radix(hex, 16).unwrap_or_default();
        let (mut at, to) = (address(from), address(to));
        // Pieces overlap, so that nothing is missed between two of them.
        let mut piece = vec![0; 1024 * 1024 + bytes.len() - 1];
        while at < to {
            let wanted = usize::try_from(to - at).unwrap_or(usize::MAX).min(piece.len());
            // What was mapped a moment ago may be gone.
            let Ok(got) = memory.read_at(&mut piece[..wanted], at) else { break };
            let here = piece[..got].windows(bytes.len()).filter(|window| *window == bytes);
            found += here.count();
            if got < piece.len() {
                break;
            }
            at += 1024 * 1024;
        }
    }
    found
}

/// The names of its threads.
pub fn threads(pid: i32) -> Vec<String> {
    let tasks = path(pid, "task");
    let entries = fs::read_dir(&tasks).unwrap_or_else(|error| missing(pid, &error));
    // A thread may end between the two reads.
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    entries.flatten().filter_map(name).map(|name| name.trim_end().to_owned()).collect()
}

/// Its open descriptors: number, and what it stands for ("socket:[4711]", "/dev/null").
pub fn descriptors(pid: i32) -> Vec<(i32, String)> {
    let entries = fs::read_dir(path(pid, "fd")).unwrap_or_else(|error| missing(pid, &error));
    let mut found: Vec<(i32, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect();
    found.sort();
    found
}

/// Its children.
pub fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(path(pid, &format!("task/{pid}/children")));
    let list = list.unwrap_or_else(|error| missing(pid, &error));
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Whether there is such a process, be it one that has ended and that nobody has asked for yet.
pub fn is_there(pid: i32) -> bool {
    path(pid, "stat").exists()
}

/// Lets us, and whoever we start from now on, have `wanted` descriptors, or as many as the machine
/// allows. Returns how many there may be.
///
/// # Panics
/// If these are fewer than `needed`.
pub fn allow_descriptors(wanted: u64, needed: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a whole `rlimit`, which the call fills.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    // With the right to do so, the hard limit too; else as far as the hard limit goes.
    for rlim_max in [limit.rlim_max.max(wanted), limit.rlim_max] {
        let raised = libc::rlimit { rlim_cur: wanted.min(rlim_max), rlim_max };
        // SAFETY: the pointer is to a whole `rlimit`, which the call reads.
        if limit.rlim_cur < wanted && unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0
        {
            limit = raised;
        }
    }
    assert!(limit.rlim_cur >= needed, "this needs {needed} descriptors: raise the limit of files");
    limit.rlim_cur
}

/// Processor time that all its threads have used, those that ended included; in steps of the
/// kernel's clock tick (10 ms).
pub fn cpu_time(pid: i32) -> Duration {
    let stat = fs::read_to_string(path(pid, "stat")).unwrap_or_else(|error| missing(pid, &error));
    // The second field is the name in parentheses, and may hold spaces; after it come the fields
    // from the third on. The 14th and 15th are user and system time.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 =
        rest.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / ticks_per_second())
}

/// Processor time that its present threads have used, to the nanosecond. A thread that has ended is
/// not counted, so this is for the difference between two moments of a process that starts none.
pub fn run_time(pid: i32) -> Duration {
    let tasks = path(pid, "task");
    let entries = fs::read_dir(&tasks).unwrap_or_else(|error| missing(pid, &error));
    // The first field is the time on a processor; a thread may end between the two reads.
    let ran = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).ok();
    let nanos = |text: String| text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
    Duration::from_nanos(entries.flatten().filter_map(ran).filter_map(nanos).sum())
}

/// Time for which the machine's processors have been busy since it was started, all together: with
/// this machine's programs, or with other machines' on the same hardware. In steps of the kernel's
/// clock tick (10 ms).
pub fn machine_busy_time() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> =
        first.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is contained in them.
    let busy = fields.iter().take(8).enumerate().filter(|(place, _)| !matches!(place, 3 | 4));
    Duration::from_millis(busy.map(|(_, ticks)| ticks).sum::<u64>() * 1000 / ticks_per_second())
}

fn ticks_per_second() -> u64 {
    // SAFETY: no memory is passed.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64
}

fn status_kib(pid: i32, field: &str) -> u64 {
    let status =
        fs::read_to_string(path(pid, "status")).unwrap_or_else(|error| missing(pid, &error));
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn path(pid: i32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

fn missing(pid: i32, error: &std::io::Error) -> ! {
    panic!("process {pid} has gone: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_about_ourselves_is_plausible() {
        let pid = std::process::id() as i32;
        assert!(resident_bytes(pid) > 100_000);
        assert!(resident_bytes_peak(pid) >= resident_bytes(pid) / 2);
        assert!(!threads(pid).is_empty());
        assert!(descriptors(pid).iter().any(|(number, _)| *number == 1));
        assert!(cpu_time(pid) < Duration::from_secs(3600));
        assert!(machine_busy_time() >= run_time(pid));
    }
}
