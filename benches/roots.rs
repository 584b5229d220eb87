//! What roots cost, as root, with the mirrors that `scripts/stage3-mirror.sh` makes (`KILN_TEST_STAGE3`; `make bench-roots`):
//!
//! - how soon a prepared root is ready: from nothing to the end of its first `gcc --version`, its images read from disk or not;
//! - the first preparation, against the same commands in a shell script (scripts/stage3-by-hand.sh);
//! - where there is an arm64 mirror and a tree, the CPU time of the same objects of a real kernel in each mode, against a cross
//!   compiler.
//!
//! `cargo bench --bench roots -- modes` (or `preparation`) does one part. `KILN_BENCH_PREPARATIONS` says how often a root is prepared (3), `KILN_BENCH_OBJECTS` which objects of the tree in
//! `KILN_BENCH_TREE` are made.

mod common;
#[path = "../tests/servers/stage3/mirror.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod mirror;
#[path = "../tests/support"]
#[allow(dead_code, reason = "tests use the rest")]
mod support {
    pub mod process;
}

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Target, in_turns_at_once, kiln, report_time, run_well, scratch, setting, tree};
use kiln::exec::sandbox::{End, Images, Output, Root, RunAs, Sandbox, SandboxSpec, Step};
use mirror::Mirror;
use nix::libc;

/// C and assembler, small and large; what most of a build consists of.
const OBJECTS: &str = "kernel/fork.o lib/string.o mm/page_alloc.o kernel/sched/core.o fs/namei.o lib/vsprintf.o \
                       arch/arm64/kernel/entry.o kernel/printk/printk.o";

fn main() {
    if std::env::var_os("KILN_TEST_STAGE3").is_none() || !nix::unistd::geteuid().is_root() {
        println!("skipped: KILN_TEST_STAGE3 is no mirror (make bench-roots), or this is not root");
        return;
    }
    let has_arm64 = mirror::made().join("releases/arm64").is_dir();
    let archs: &[&str] = if has_arm64 { &["amd64", "arm64"] } else { &["amd64"] };
    let mirror = Mirror::of(archs);
    let named: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|wanted| wanted == name);
    if wanted("preparation") {
        preparation(&mirror);
        ready(&mirror);
    }
    match tree() {
        _ if !wanted("modes") => {}
        Some(tree) if has_arm64 => modes(&mirror, &tree),
        _ => println!("modes: skipped, for want of an arm64 mirror or a tree"),
    }
}

/// A project with the repository's rules for roots, and others.
fn project(name: &str, mirror: &Mirror, rest: &str, rules: &[(&str, &str)]) -> PathBuf {
    let dir = scratch("roots").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("rules")).expect("a directory");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for rule in ["stage3", "binpkg", "config"] {
        let rule = format!("rules/{rule}.ron");
        fs::copy(repository.join(&rule), dir.join(&rule)).expect("the rule");
    }
    for key in ["release.asc", "ebuilds.asc"] {
        fs::copy(mirror::made().join("keys").join(key), dir.join(key)).expect("the key");
    }
    let gentoo = format!(
        "gentoo: (mirrors: [{:?}], keys: \"release.asc\", signers: [{:?}], ebuilds: (keys: \"ebuilds.asc\", signers: [{:?}])),",
        mirror.url(),
        mirror::fingerprint("release"),
        mirror::fingerprint("ebuilds"),
    );
    fs::write(dir.join("graph.ron"), format!("(version: 1, {gentoo} {rest})")).expect("graph.ron");
    for (rule, text) in rules {
        fs::write(dir.join(format!("rules/{rule}.ron")), text).expect("a rule");
    }
    run_well(&mut kiln(&dir, &["update"]));
    dir
}

/// A root of this machine, and a rule that reads it.
const NATIVE: &str = r#"
    roots: { "amd64": (stage3: "amd64-openrc") },
    actions: { "it": (rule: "read") },
"#;
const READ: &str = r#"(
    version: 1,
    inputs: { "root": Root("amd64") },
    steps: [["sh", "-c", "ls {in.root}/usr/bin | wc -l >count"]],
    outputs: { "count": File("count") },
    tools: ["sh", "ls", "wc"],
)"#;

/// The first preparation, against a shell script that does the same.
fn preparation(mirror: &Mirror) {
    let dir = project("preparation", mirror, NATIVE, &[("read", READ)]);
    let by_hand = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/stage3-by-hand.sh");
    let work = scratch("roots").join("by-hand");
    let script = |step: &str| {
        let mut command = Command::new(&by_hand);
        command.arg(step).arg(mirror.url()).arg(mirror::made()).arg(&work);
        run_well(&mut command).wall
    };
    let rounds = setting("KILN_BENCH_PREPARATIONS", 3);
    let ours = || {
        let _ = fs::remove_dir_all(dir.join("cache"));
        run_well(&mut kiln(&dir, &["build", "stage3:*"])).wall
    };
    let pairs = in_turns_at_once(rounds, ours, || script("stage3"));
    let what = "a stage3 as an image: download, digests, signature, unpack, pack";
    pairs.report(what, "kiln build stage3:*", "shell", &Target::AtMost(1.15));
    let ours = || {
        let _ = fs::remove_dir_all(dir.join("cache/gentoo"));
        run_well(&mut kiln(&dir, &["build", "--force", "binpkg:*", "binpkg:*"])).wall
    };
    let pairs = in_turns_at_once(rounds, ours, || script("packages"));
    let what = "packages over it: account, emerge of what nobody has made yet, pack";
    pairs.report(what, "kiln build binpkg:*", "shell", &Target::AtMost(1.15));
    common::settle(&dir);
    let again = || run_well(&mut kiln(&dir, &["build"])).wall;
    let pairs = in_turns_at_once(5, again, || Duration::from_secs(1));
    report_time("the same again, with nothing to do:", &pairs, Duration::from_secs(1));
}

/// How soon a prepared root is ready.
fn ready(mirror: &Mirror) {
    let dir = scratch("roots").join("preparation");
    let mut images = images_of(&dir);
    // Packages that were installed twice are two images, as times differ.
    images.truncate(2);
    assert_eq!(images.len(), 2, "a stage3 and its packages are in {}: {}", dir.display(), mirror.url());
    let sandbox = Sandbox::with_helper(env!("CARGO_BIN_EXE_kiln"));
    let step = Step { argv: ["gcc", "--version"].map(Into::into).into(), cwd: "/".into() };
    let spec = SandboxSpec {
        root: Root::Images(Images { layers: images.clone(), writable: None }),
        run_as: RunAs::User { id: 1000 },
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        steps: vec![step],
        ..SandboxSpec::default()
    };
    let once = || {
        let start = Instant::now();
        let mut running = sandbox.spawn(&spec, Output::Piped).expect("a sandbox");
        let mut output = running.take_output().expect("it is piped");
        std::io::copy(&mut output, &mut std::io::sink()).expect("its output");
        assert_eq!(running.wait().expect("an end").end, End::AllStepsPassed);
        start.elapsed()
    };
    let cold = || {
        for image in &images {
            forget(image);
        }
        once()
    };
    let pairs = in_turns_at_once(9, cold, once);
    report_time(
        "from nothing to the end of gcc --version, images on disk alone:",
        &pairs,
        Duration::from_millis(250),
    );
    let pairs = in_turns_at_once(9, once, once);
    report_time("the same, images in memory:", &pairs, Duration::from_millis(100));
}

/// The images that a project's cache holds, the stage3 (the larger) first.
fn images_of(project: &Path) -> Vec<PathBuf> {
    let mut images = Vec::new();
    let dirs = fs::read_dir(project.join("cache/cas")).expect("a cache").flatten().map(|dir| dir.path());
    for blob in dirs.filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten() {
        let start = fs::read(blob.path()).expect("a blob");
        if start.starts_with(b"hsqs") {
            images.push((start.len(), blob.path()));
        }
    }
    images.sort_by(|a, b| b.cmp(a));
    images.into_iter().map(|(_, path)| path).collect()
}

/// Takes a file out of the page cache.
fn forget(path: &Path) {
    let file = File::open(path).expect("an image");
    file.sync_all().expect("synced");
    // SAFETY: the descriptor is open, and the call takes no pointer.
    let code = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(code, 0, "the kernel forgets what it is told to");
}

/// The CPU time of the same objects in each mode, against a cross compiler.
fn modes(mirror: &Mirror, tree: &Path) {
    let objects = std::env::var("KILN_BENCH_OBJECTS").unwrap_or_else(|_| OBJECTS.to_owned());
    let objects: Vec<String> = objects.split_whitespace().map(|object| format!("{object:?}")).collect();
    let builds = r#"(sources: ["linux"], archs: ["arm64"], defconfigs: ["tinyconfig"],
        toolchains: ["cross", "emulated", "mixed", "hybrid"])"#;
    let rest = format!(
        r#"
    roots: {{ "arm64": (stage3: "arm64-openrc") }},
    sources: {{ "linux": Dir("{}") }},
    archs: {{ "arm64": (image: "none", targets: ["prepare", {}]) }},
    toolchains: {{
        "cross": Gcc(targets: {{ "arm64": "aarch64-linux-gnu-" }}),
        "emulated": Root(targets: {{ "arm64": "arm64" }}, mode: Emulated),
        "mixed": Root(targets: {{ "arm64": "arm64" }}, mode: Mixed),
        "hybrid": Root(targets: {{ "arm64": "arm64" }}, mode: Hybrid("cross")),
    }},
    builds: [{builds}],
"#,
        tree.display(),
        objects.join(", ")
    );
    let kernel = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/kernel.ron"));
    let kernel = kernel.expect("the rule");
    let (before, after) = kernel.split_once("    outputs: {\n").expect("outputs");
    let (_, after) = after.split_once("    },\n").expect("the end of the outputs");
    let outputs = "    outputs: { \"object\": File(\"kernel/fork.o\") },\n";
    let rule = format!("{before}{outputs}{after}").replace("    incremental: Kbuild,\n", "");
    let dir = project("modes", mirror, &rest, &[("objects", &rule)]);
    run_well(&mut kiln(&dir, &["build", "binpkg:*"]));
    for (rule, what) in [("config", "tinyconfig"), ("objects", "prepare and objects")] {
        let cpu = |toolchain: &str| {
            let node = format!("{rule}:linux/arm64/tinyconfig/{toolchain}");
            run_well(&mut kiln(&dir, &["build", "--force", &node, &node])).cpu
        };
        let before = |toolchain: &str| {
            run_well(&mut kiln(&dir, &["build", &format!("config:linux/arm64/tinyconfig/{toolchain}")]));
        };
        for (toolchain, target) in
            [("hybrid", Target::AtMost(8.0)), ("mixed", Target::None), ("emulated", Target::None)]
        {
            before("cross");
            before(toolchain);
            let pairs = in_turns_at_once(1, || cpu(toolchain), || cpu("cross"));
            let what = format!("CPU time of {what}, mode {toolchain}");
            pairs.report(&what, toolchain, "cross compiler", &target);
        }
    }
}
