//! A short random walk through states of a real kernel tree: what kiln leaves alone, takes from its cache or builds on
//! is, bit for bit, what a build from nothing gives. The long walks are on the fake tree (`tests/e2e/tree_walk`); this one sees to
//! it that the real kbuild does as that one does.
//!
//!     cargo test --test real -- --ignored --nocapture walk::      minutes; says what became of each step
//!     KILN_WALK_STEPS=20 KILN_WALK_SEED=7 ...                   walks further, and elsewhere
//!
//! The tree is the one in `KILN_TEST_TREE`, or else the example project's `cache/sources/linux-6.1`.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::project::kernel_tree;
use crate::support::random::{Random, WalkSettings};

const KILN: &str = env!("CARGO_BIN_EXE_kiln");
const BUILD: &str = "linux-6.1/x86_64/tinyconfig/gcc";
const STEPS: usize = 6;

/// What is compared.
const OUTPUTS: [&str; 4] = ["vmlinux", "bzImage", "System.map", "config"];

/// Files that the smallest configuration compiles.
const SOURCES: &[&str] =
    &["lib/ctype.c", "lib/string.c", "mm/util.c", "fs/open.c", "kernel/panic.c", "arch/x86/kernel/e820.c"];

/// Headers that few of these include.
const HEADERS: &[&str] =
    &["kernel/sched/pelt.h", "kernel/workqueue_internal.h", "lib/kstrtox.h", "mm/slab.h"];

/// Files that it does not look at.
const UNREAD: &[&str] = &["fs/ext4/inode.c", "drivers/net/loopback.c", "sound/core/pcm.c"];

/// Makefiles of directories that it builds in.
const MAKEFILES: &[&str] = &["lib/Makefile", "mm/Makefile", "fs/Makefile"];

/// Directories that it looks into, for new files.
const NEARBY: &[&str] = &["lib", "include/linux", "kernel/sched"];

/// Files that are new, where it does not look.
const NEW: &[&str] = &["Documentation/admin-guide/walk.rst", "fs/ext4/walk.c", "sound/core/walk.h"];

#[derive(Clone, Copy, Debug)]
enum Edit {
    /// Text that makes no difference to what is compiled.
    Comment(&'static str),
    /// Text that does.
    Code(&'static str),
    New(&'static str),
    NewNearby(&'static str),
    /// A word in a makefile.
    Makefile(&'static str),
    Chmod(&'static str),
    Touch(&'static str),
    /// All files are as new as after a fresh checkout.
    Checkout,
    /// Everything is as it was in the beginning.
    Revert,
}

/// What a kernel has to come to after an edit.
#[derive(Debug, PartialEq, Eq)]
enum Kernel {
    /// It is not built.
    Skipped,
    /// It is, in the directory of its last run.
    Continued { unchanged: bool },
    /// It is, in an empty directory.
    FromNothing { unchanged: bool },
}

impl Edit {
    fn any(random: &mut Random) -> Self {
        match random.below(23) {
            0..4 => Self::Comment(random.of::<&str>(SOURCES)),
            4..8 => Self::Code(random.of::<&str>(SOURCES)),
            8..10 => Self::Comment(random.of::<&str>(HEADERS)),
            10..12 => Self::Code(random.of::<&str>(HEADERS)),
            12..14 => Self::Code(random.of::<&str>(UNREAD)),
            14 => Self::New(random.of::<&str>(NEW)),
            15 => Self::Chmod(random.of::<&str>(UNREAD)),
            16 => Self::Touch(random.of::<&str>(SOURCES)),
            17 => Self::Checkout,
            18 => Self::NewNearby(random.of::<&str>(NEARBY)),
            19 => Self::Makefile(random.of::<&str>(MAKEFILES)),
            _ => Self::Revert,
        }
    }

    fn make(self, walk: &Walk, step: usize) {
        let at = |path: &str| walk.tree().join(path);
        let append = |path: &str, line: &str| {
            let text = fs::read(at(path)).unwrap();
            fs::write(at(path), [&text, line.as_bytes()].concat()).unwrap();
        };
        match self {
            Self::Comment(path) => append(path, &format!("/* Step {step}. */\n")),
            Self::Code(path) => append(
                path,
                &format!(
                    "#if !defined(__ASSEMBLY__) && !defined(KILN_{step})\n#define KILN_{step}\n\
                     static const char kiln_{step}[] __attribute__((__used__)) = \"{step}\";\n#endif\n"
                ),
            ),
            Self::Makefile(path) => append(path, &format!("# Step {step}.\n")),
            Self::New(path) => fs::write(at(path), format!("/* Step {step}. */\n")).unwrap(),
            Self::NewNearby(dir) => fs::write(at(dir).join(format!("walk-{step}.h")), "").unwrap(),
            Self::Chmod(path) => {
                let mode = at(path).metadata().unwrap().permissions().mode();
                fs::set_permissions(at(path), Permissions::from_mode(mode ^ 0o111)).unwrap();
            }
            Self::Touch(path) => touch(&at(path)),
            Self::Checkout => each_file(&walk.tree(), &touch),
            Self::Revert => {
                for path in [SOURCES, HEADERS, UNREAD, MAKEFILES].concat() {
                    fs::copy(walk.original.join(path), at(path)).unwrap();
                }
                for path in NEW {
                    let _ = fs::remove_file(at(path));
                }
                for dir in NEARBY {
                    for earlier in 1..step {
                        let _ = fs::remove_file(at(dir).join(format!("walk-{earlier}.h")));
                    }
                }
            }
        }
    }

    fn reaches(self) -> Kernel {
        let is_read = |path| SOURCES.contains(&path) || HEADERS.contains(&path);
        match self {
            Self::Comment(path) if is_read(path) => Kernel::Continued { unchanged: true },
            Self::Code(path) if is_read(path) => Kernel::Continued { unchanged: false },
            Self::Makefile(_) | Self::NewNearby(_) => Kernel::FromNothing { unchanged: true },
            // Of those that are read, none gets another mode; where all is as it was, the result is known.
            _ => Kernel::Skipped,
        }
    }
}

struct Walk {
    dir: TempDir,
    original: PathBuf,
}

impl Walk {
    fn new() -> Self {
        let original = kernel_tree();
        // Below the target directory: /tmp may be a small one in memory.
        let walk = Self { dir: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap(), original };
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto"]).arg(&walk.original).arg(walk.tree());
        assert!(copy.status().unwrap().success(), "the tree can't be copied");
        project(&walk.dir.path().join("kept"));
        walk
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    /// Builds, and says what became of the kernel.
    fn build(&self) -> (Kernel, String) {
        let events = build(&self.dir.path().join("kept"), &[]);
        let finished = events.iter().find(|event| {
            event["event"] == "finished"
                && event["node"] == format!("kernel:{BUILD}")
                && event["how"] != "restored"
        });
        let Some(event) = finished else { return (Kernel::Skipped, "skipped".to_owned()) };
        let text = event.to_string();
        let unchanged = event["how"] == "ran-unchanged";
        let kernel = if event["continued"] == true {
            Kernel::Continued { unchanged }
        } else {
            Kernel::FromNothing { unchanged }
        };
        (kernel, text)
    }

    /// Compares with a build from nothing.
    fn compare(&self, after: &str) {
        let began = Instant::now();
        let (kept, clean) = (self.dir.path().join("kept"), self.dir.path().join("clean"));
        project(&clean);
        build(&clean, &["--clean"]);
        for output in OUTPUTS {
            let [ours, theirs] =
                [&kept, &clean].map(|dir| fs::read(dir.join("out").join(BUILD).join(output)).unwrap());
            assert!(ours == theirs, "after {after}, {output} is not what a build from nothing gives");
        }
        fs::remove_dir_all(clean).unwrap();
        println!("after {after}: the same from nothing, in {:.1?}", began.elapsed());
    }
}

/// Makes a project of one small kernel, on the walk's tree.
fn project(dir: &Path) {
    fs::create_dir(dir).unwrap();
    symlink("../tree", dir.join("tree")).unwrap();
    assert!(
        Command::new(KILN)
            .args(["init", "-q", "--source", "tree"])
            .current_dir(dir)
            .status()
            .unwrap()
            .success()
    );
    let graph = fs::read_to_string(dir.join("graph.ron")).unwrap();
    let whole = "defconfigs: [\"tiny-pc\"], fixups: [\"@serial-console\"]";
    assert!(graph.contains(whole), "graph.ron has another build now");
    fs::write(dir.join("graph.ron"), graph.replace(whole, "defconfigs: [\"tinyconfig\"]")).unwrap();
}

fn build(dir: &Path, args: &[&str]) -> Vec<Value> {
    let mut kiln = Command::new(KILN);
    kiln.args(["build", "--format", "json-lines"]).args(args).current_dir(dir);
    let said = kiln.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{kiln:?} failed\n{out}{err}");
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn touch(path: &Path) {
    File::options().append(true).open(path).unwrap().set_modified(SystemTime::now()).unwrap();
}

fn each_file(dir: &Path, work: &dyn Fn(&Path)) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => each_file(&entry.path(), work),
            kind if kind.is_file() => work(&entry.path()),
            _ => {}
        }
    }
}

#[test]
#[ignore = "builds a kernel three times, which takes minutes: `make check-long` runs it"]
fn what_is_left_alone_or_built_on_is_what_a_build_from_nothing_gives() {
    let WalkSettings { seed, steps } = WalkSettings::new("KILN_WALK", 1, 1, STEPS);
    let mut random = Random::new(seed);
    let walk = Walk::new();
    let began = Instant::now();
    build(&walk.dir.path().join("kept"), &[]);
    println!("seed {seed}: built in {:.1?}", began.elapsed());
    for step in 1..=steps {
        let edit = Edit::any(&mut random);
        edit.make(&walk, step);
        let began = Instant::now();
        let (kernel, said) = walk.build();
        println!("{step} {edit:?}: {:.1?} {said}", began.elapsed());
        assert_eq!(kernel, edit.reaches(), "seed {seed}, step {step}: {edit:?}\n{said}");
        if step == steps / 2 || step == steps {
            walk.compare(&format!("step {step}"));
        }
    }
}
