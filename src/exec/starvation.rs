//! Whether a running sandbox was kept from the CPU.
//!
//! Silence of a machine under test says something only if it could have printed. Samples are taken about once a second of
//! what may have kept it from running: stopped processes, threads that waited for a CPU, time that a hypervisor took; and a late
//! sample shows that kiln itself had to wait.

use std::collections::HashMap;
use std::fs;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// Samples in shorter intervals are skipped.
const MIN_INTERVAL: Duration = Duration::from_millis(200);

/// After a longer interval, kiln itself was kept from the CPU.
const LATE_AFTER: Duration = Duration::from_secs(2);

/// Measures how long a sandbox was kept from the CPU.
#[derive(Debug)]
pub struct StarvationMonitor {
    init: i32,
    began: Instant,
    last: Instant,
    /// By thread: the time that it has waited for a CPU, in nanoseconds.
    waits: HashMap<String, u64>,
    /// Ticks of this machine's CPUs: those taken by a hypervisor, and all.
    ticks: Option<(u64, u64)>,
    /// The time of each sample, and for how long the sandbox was starved until then.
    starved: Vec<(Instant, Duration)>,
}

impl StarvationMonitor {
    /// Starts to measure the sandbox whose first process is `init`.
    pub fn new(init: i32) -> Self {
        let now = Instant::now();
        let starved = vec![(now, Duration::ZERO)];
        Self { init, began: now, last: now, waits: HashMap::new(), ticks: cpu_ticks(), starved }
    }

    /// Takes a sample, if it is time to.
    pub fn sample(&mut self) {
        let now = Instant::now();
        let gap = now - self.last;
        if gap < MIN_INTERVAL {
            return;
        }
        self.last = now;
        let lost = self.lost(gap).min(gap);
        let before = self.starved.last().map_or(Duration::ZERO, |(_, before)| *before);
        self.starved.push((now, before + lost));
    }

    /// For how long the sandbox was starved since then.
    pub fn starved_since(&self, since: Instant) -> Duration {
        let all = self.starved.last().map_or(Duration::ZERO, |(_, all)| *all);
        let before = self.starved.iter().rev().find(|(at, _)| *at <= since);
        all.saturating_sub(before.map_or(Duration::ZERO, |(_, before)| *before))
    }

    /// For how long the sandbox was starved.
    pub fn starved(&self) -> Duration {
        self.starved_since(self.began)
    }

    /// For how long the sandbox was measured.
    pub fn observed(&self) -> Duration {
        self.last - self.began
    }

    fn lost(&mut self, gap: Duration) -> Duration {
        let late = if gap > LATE_AFTER { gap } else { Duration::ZERO };
        let now = cpu_ticks();
        let stolen = match (self.ticks, now) {
            (Some((stolen, all)), Some((stolen_now, all_now))) if all_now > all => {
                share(gap, stolen_now.saturating_sub(stolen), all_now - all)
            }
            _ => Duration::ZERO,
        };
        self.ticks = now;
        let processes = process_tree(self.init);
        if processes.iter().any(|process| process.is_stopped) {
            return gap;
        }
        let waits: HashMap<String, u64> =
            processes.iter().flat_map(|process| thread_waits(process.number)).collect();
        let waited = if waits.is_empty() {
            waits_by_load(gap)
        } else {
            let longer =
                |(thread, wait): (&String, &u64)| wait.saturating_sub(*self.waits.get(thread).unwrap_or(&0));
            Duration::from_nanos(waits.iter().map(longer).max().unwrap_or(0))
        };
        self.waits = waits;
        late.max(stolen).max(waited)
    }
}

fn share(of: Duration, part: u64, whole: u64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    of.mul_f64((part as f64 / whole as f64).clamp(0.0, 1.0))
}

/// An estimate where threads don't report how long they waited: with more runnable threads than CPUs, each waits for its turn.
fn waits_by_load(gap: Duration) -> Duration {
    let load = fs::read_to_string("/proc/loadavg").ok();
    let load: Option<f64> = load.and_then(|load| load.split(' ').next()?.parse().ok());
    #[expect(clippy::cast_precision_loss, reason = "no machine has so many CPUs")]
    let cpus = available_parallelism().map_or(1, usize::from) as f64;
    load.filter(|load| *load > cpus).map_or(Duration::ZERO, |load| gap.mul_f64(1.0 - cpus / load))
}

/// Ticks of all CPUs since boot: those taken by a hypervisor, and all.
fn cpu_ticks() -> Option<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let all: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).map_while(|ticks| ticks.parse().ok()).collect();
    // The time of guests is included in that of users.
    Some((*all.get(7)?, all.iter().take(8).sum()))
}

struct Process {
    number: i32,
    is_stopped: bool,
}

/// A process and all of its descendants.
fn process_tree(first: i32) -> Vec<Process> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The command's name is in parentheses, and may contain spaces and parentheses.
        let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
        let mut words = rest.split(' ');
        let state = words.next().unwrap_or_default();
        let parent = words.next().and_then(|parent| parent.parse::<i32>().ok()).unwrap_or_default();
        all.push((parent, Process { number, is_stopped: matches!(state, "T" | "t") }));
    }
    let mut found = Vec::new();
    let mut wanted = vec![first];
    while let Some(parent) = wanted.pop() {
        let children = all.extract_if(.., |(of, process)| *of == parent || process.number == parent);
        for (_, process) in children.collect::<Vec<_>>() {
            if process.number != parent {
                wanted.push(process.number);
            }
            found.push(process);
        }
    }
    found
}

/// For how long each thread of a process has waited for a CPU, in nanoseconds.
fn thread_waits(process: i32) -> Vec<(String, u64)> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let wait = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let wait = text.split_whitespace().nth(1)?.parse().ok()?;
        Some((format!("{process}/{}", thread.file_name().to_string_lossy()), wait))
    };
    threads.filter_map(wait).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread::sleep;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn a_process_that_is_stopped_could_not_run() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let number = i32::try_from(child.id()).unwrap();
        let mut pace = StarvationMonitor::new(number);
        kill(Pid::from_raw(number), Signal::SIGSTOP).unwrap();
        while !process_tree(number).iter().any(|process| process.is_stopped) {
            sleep(Duration::from_millis(10));
        }
        let stopped = Instant::now();
        while pace.starved_since(stopped) < Duration::from_millis(300) {
            sleep(Duration::from_millis(50));
            pace.sample();
        }
        assert!(pace.starved() >= pace.starved_since(stopped));
        assert_eq!(pace.starved_since(Instant::now()), Duration::ZERO);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_descends_from_a_process_is_found() {
        let mut child = Command::new("sh").args(["-c", "sleep 600 & wait"]).spawn().unwrap();
        let number = i32::try_from(child.id()).unwrap();
        let mut found = process_tree(number);
        while found.len() < 2 {
            sleep(Duration::from_millis(10));
            found = process_tree(number);
        }
        assert!(found.iter().any(|process| process.number == number));
        for process in &found {
            assert!(!process.is_stopped);
            let _ = kill(Pid::from_raw(process.number), Signal::SIGKILL);
        }
        child.wait().unwrap();
    }
}
