//! What tracing costs: a kernel build in a sandbox whose source tree is traced, against the same without. Processor
//! time is compared, of all steps and of the thread that reads events: nobody waits for that thread, but its time is
//! taken from the build's.
//!
//! `cargo bench --bench trace`; `KILN_BENCH_TREE` is the tree (the demo's own), `KILN_BENCH_BUILDS` how often each is
//! built (3). A build takes minutes. `KILN_BENCH_LINKED=1` builds from a copy of hard links (in `target/bench`),
//! which costs the tracer a search for second names.

mod common;
#[path = "../tests/support/whole_host.rs"]
mod whole_host;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Target, in_turns_at_once, run_well, scratch, setting, tree};
use kiln::exec::sandbox::{Access, End, Mount, Output, Sandbox, SandboxSpec, Step};
use kiln::exec::trace::Tracer;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use whole_host::whole_host;

const SOURCE: &str = "/kiln/in/source";

fn main() {
    let Some(tree) = tree() else { return };
    if let Err(reason) = Tracer::probe(&Sandbox::new()) {
        return println!("skipped: {reason}");
    }
    let linked = setting("KILN_BENCH_LINKED", 0) != 0;
    let tree = if linked { links(&tree) } else { tree };
    let pairs =
        in_turns_at_once(setting("KILN_BENCH_BUILDS", 3), || build(&tree, true), || build(&tree, false));
    let what = if linked { "a kernel build from hard links" } else { "a kernel build" };
    pairs.report(&format!("{what}, processor time"), "traced", "untraced", &Target::AtMost(1.02));
}

/// A copy of the tree, of hard links. They have to be on one file system.
fn links(tree: &Path) -> PathBuf {
    let copy = scratch("linked").join("tree");
    if !copy.exists() {
        run_well(Command::new("cp").arg("-al").arg(tree).arg(&copy));
    }
    copy
}

/// Builds the demo's kernel, and returns the processor time.
fn build(tree: &Path, traced: bool) -> Duration {
    let out = scratch("trace").join("o");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).expect("a fresh directory");
    let fragment = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/x86_64-pc.config");
    fs::copy(fragment, out.join("fragment")).expect("its configuration");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let make = |arguments: &str| {
        let make = format!("exec make -C {SOURCE} O=/out ARCH=x86_64 {arguments} >>/out/log 2>&1");
        Step { argv: ["/bin/sh", "-c", &make].map(Into::into).to_vec(), cwd: "/".into() }
    };
    let spec = SandboxSpec {
        mounts: vec![
            Mount { from: tree.to_owned(), to: SOURCE.into(), access: Access::ReadOnly },
            Mount { from: out, to: "/out".into(), access: Access::ReadWrite },
        ],
        steps: vec![make("KCONFIG_ALLCONFIG=/out/fragment allnoconfig"), make(&format!("-j{jobs} all"))],
        env: [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
            ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 2026"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec(),
        root: whole_host(),
        ..SandboxSpec::default()
    };
    let before = own_time();
    let prepared = Sandbox::with_helper(env!("CARGO_BIN_EXE_kiln"))
        .prepare(&spec, Output::File(fs::File::create("/dev/null").expect("a sink")))
        .expect("a sandbox");
    let tracer = traced.then(|| Tracer::start(&prepared.root(), &[SOURCE.into()]).expect("a tracer"));
    let exit = prepared.start().and_then(|mut running| running.wait()).expect("a build");
    assert_eq!(exit.end, End::AllStepsPassed, "see the log in the benchmark's directory");
    let trace = tracer.map(|tracer| tracer.finish().expect("a trace"));
    let own = own_time().saturating_sub(before);
    if let Some(opened) = trace.as_ref().map(|trace| &trace.mounts[0]) {
        println!(
            "    {} files and {} directories opened, the tracer's own time {own:.1?}",
            opened.files.len(),
            opened.dirs.len()
        );
    }
    exit.usage.user + exit.usage.system + own
}

/// The processor time of all threads of this process.
fn own_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process knows its usage");
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}
