//! What the benchmarks share: two things measured in turns, their ratio, and the target it is held against.
//!
//! Only ratios are judged. Both sides run in one process's lifetime, in turns, so that a noisy machine disturbs both
//! alike; what is printed is the median of the ratios pair by pair, and the smallest and the largest.

// Each benchmark uses a part of it.
#![allow(dead_code)]

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use kiln::digest::{Digest, Domain, Hasher};
use kiln::store::{Outcome, Run};
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::libc;
use nix::sys::stat::{Mode, SFlag, fstatat};
use rayon::prelude::*;

/// What a kernel build is given: as in rules/kernel.ron, and what kiln always sets.
pub const ENV: [(&str, &str); 8] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
    ("KBUILD_BUILD_USER", "kiln"),
    ("KBUILD_BUILD_HOST", "kiln"),
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 2026"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("LOCALVERSION", ""),
];

/// What a ratio is held against.
pub enum Target {
    /// Not more than this.
    AtMost(f64),
    /// Less than this.
    Under(f64),
    /// Nothing: it is a figure to choose by.
    None,
}

/// Two things measured in turns.
pub struct Pairs {
    ours: Vec<Duration>,
    theirs: Vec<Duration>,
}

/// A process that has ended.
pub struct Ended {
    pub wall: Duration,
    /// Of it and all that it has waited for, user and system.
    pub cpu: Duration,
    /// The most memory it had.
    pub peak_kib: u64,
    pub status: ExitStatus,
}

/// Measures two things in turns, after one turn of each that does not count.
pub fn in_turns(
    rounds: usize,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) -> Pairs {
    ours();
    theirs();
    in_turns_at_once(rounds, ours, theirs)
}

/// Measures two things in turns, of which the first counts already: for what takes minutes.
pub fn in_turns_at_once(
    rounds: usize,
    mut ours: impl FnMut() -> Duration,
    mut theirs: impl FnMut() -> Duration,
) -> Pairs {
    let mut pairs = Pairs { ours: Vec::new(), theirs: Vec::new() };
    for _ in 0..rounds {
        pairs.ours.push(ours());
        pairs.theirs.push(theirs());
    }
    pairs
}

/// The time that some work takes, its result's release included.
pub fn time<T>(mut work: impl FnMut() -> T) -> impl FnMut() -> Duration {
    move || {
        let start = Instant::now();
        drop(std::hint::black_box(work()));
        start.elapsed()
    }
}

impl Pairs {
    /// Prints the ratio, and whether it is what it should be.
    pub fn report(&self, what: &str, ours: &str, theirs: &str, target: &Target) {
        let mut ratios: Vec<f64> = self
            .ours
            .iter()
            .zip(&self.theirs)
            .map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = median(&ratios);
        let held = match *target {
            Target::AtMost(bound) => format!(", target at most {bound}x: {}", verdict(ratio <= bound)),
            Target::Under(bound) => format!(", target under {bound}x: {}", verdict(ratio < bound)),
            Target::None => String::new(),
        };
        println!("{what}");
        println!("    {ours}: {:.1?}   {theirs}: {:.1?}", typical(&self.ours), typical(&self.theirs));
        println!(
            "    ratio {ratio:.3} ({:.3} to {:.3}, {} pairs){held}",
            ratios[0],
            ratios[ratios.len() - 1],
            ratios.len()
        );
    }
}

/// Prints a figure that is held against a bound of its own.
pub fn report_peak(what: &str, kib: u64, bound_mib: u64) {
    println!("{what}");
    let met = kib < bound_mib << 10;
    println!("    peak memory {} MiB, target under {bound_mib} MiB: {}", kib >> 10, verdict(met));
}

/// Prints how long ours took against a bound of its own.
pub fn report_time(what: &str, pairs: &Pairs, bound: Duration) {
    let took = typical(&pairs.ours);
    println!("{what} {took:.1?}, target at most {bound:?}: {}", verdict(took <= bound));
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn median(sorted: &[f64]) -> f64 {
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

fn typical(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// Runs a command to its end. What it prints to standard output is thrown away.
pub fn run(command: &mut Command) -> Ended {
    let start = Instant::now();
    #[expect(clippy::zombie_processes, reason = "`wait4` below reaps it, and tells what it used")]
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program can be run");
    let pid = libc::pid_t::try_from(child.id()).expect("a process number");
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::uninit());
    loop {
        // SAFETY: both pointers are to live values of the right types, and the child is ours and not waited for yet.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if waited == pid {
            break;
        }
        assert_eq!(
            std::io::Error::last_os_error().kind(),
            std::io::ErrorKind::Interrupted,
            "it is our child"
        );
    }
    let wall = start.elapsed();
    // SAFETY: `wait4` gave our child, so it filled this in.
    let usage = unsafe { usage.assume_init() };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    let cpu = time(usage.ru_utime) + time(usage.ru_stime);
    Ended { wall, cpu, peak_kib: usage.ru_maxrss.unsigned_abs(), status: ExitStatus::from_raw(status) }
}

/// The same, for what must not fail.
pub fn run_well(command: &mut Command) -> Ended {
    let ended = run(command);
    assert!(ended.status.success(), "{command:?}: {}", ended.status);
    ended
}

/// The kiln under test, in a project's directory.
pub fn kiln(project: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.current_dir(project).args(args);
    command
}

/// Makes a project's nodes up to date, and fails where a second build would still do something.
pub fn settle(project: &Path) {
    run_well(kiln(project, &["build"]).stderr(Stdio::inherit()));
    let again = kiln(project, &["build"]).output().expect("kiln runs");
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(text.contains("everything is up to date"), "a second build did something: {text}");
}

/// Where benchmarks keep what takes long to make: it is used again the next time.
pub fn scratch(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("below the target directory");
    let dir = target.join("bench").join(name);
    fs::create_dir_all(&dir).expect("a directory to work in");
    dir
}

/// A number from the environment.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number: {text:?}")))
}

/// The source tree to measure with: `KILN_BENCH_TREE`, or the demo's.
pub fn tree() -> Option<PathBuf> {
    let demo = || Path::new(env!("CARGO_MANIFEST_DIR")).join("cache/sources/linux-6.1");
    let tree = std::env::var_os("KILN_BENCH_TREE").map_or_else(demo, PathBuf::from);
    let real = fs::canonicalize(&tree).ok().filter(|tree| tree.join("Makefile").is_file());
    if real.is_none() {
        println!("skipped: {} is no kernel source tree; set KILN_BENCH_TREE to one", tree.display());
    }
    real
}

/// The demo project on this source tree, in a directory of its own, built.
pub fn demo(tree: &Path) -> PathBuf {
    let (repo, project) = (Path::new(env!("CARGO_MANIFEST_DIR")), scratch("demo"));
    for part in ["graph.ron", "rules", "configs", "boot"] {
        run_well(Command::new("cp").arg("-ru").arg(repo.join(part)).arg(&project));
    }
    let sources = project.join("cache/sources");
    fs::create_dir_all(&sources).expect("a directory for the tree");
    let link = sources.join("linux-6.1");
    if fs::read_link(&link).ok().as_deref() != Some(tree) {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(tree, &link).expect("a link to the tree");
    }
    settle(&project);
    project
}

/// The least that looking at every file takes: list each directory, stat each entry.
pub fn stat_walk(tree: &Path) -> u64 {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    stat_walk_below(open(tree, flags, Mode::empty()).expect("a readable directory"))
}

fn stat_walk_below(dir: OwnedFd) -> u64 {
    let mut dir = Dir::from_fd(dir).expect("an open directory");
    let names: Vec<CString> = dir
        .iter()
        .map(|entry| entry.expect("a readable directory").file_name().to_owned())
        .filter(|name| name.as_bytes() != b"." && name.as_bytes() != b"..")
        .collect();
    let mut below = Vec::new();
    for name in &names {
        let stat = fstatat(dir.as_fd(), name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW).expect("it is there");
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
            below.push(name);
        }
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = dir.as_fd();
    let walk = |name: &&CString| {
        stat_walk_below(openat(fd, name.as_c_str(), flags, Mode::empty()).expect("it is there"))
    };
    names.len() as u64 + below.par_iter().with_max_len(1).map(walk).sum::<u64>()
}

/// Marsaglia's xorshift: the same inputs each time.
pub struct Random(pub u64);

impl Random {
    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }
}

/// One of many keys.
pub fn key(what: &str, number: usize) -> Digest {
    Hasher::new(Domain::ActionKey).text(what).number(number as u64).finish()
}

/// A run that passed, and of which nothing more is known.
pub fn a_run(node: &str, action_key: Digest) -> Run {
    Run {
        node: node.to_owned(),
        action_key,
        path_set: None,
        strong_key: None,
        outcome: Outcome::Pass,
        started: UNIX_EPOCH,
        duration: Duration::ZERO,
        cpu: Duration::ZERO,
        max_rss: 0,
        reasons: String::new(),
        manifest: None,
        log: None,
        pid: 0,
        continued: false,
    }
}
