//! A real kernel through kiln: built, matched, booted, and then left alone until something of it changes.
//!
//! It takes minutes and an unpacked kernel tree, so plain `cargo test` leaves it out; `make check` runs it. The tree
//! is the one in `KILN_TEST_TREE`, or else the example project's `cache/sources/linux-6.1`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

const KILN: &str = env!("CARGO_BIN_EXE_kiln");
const BUILD: &str = "linux-6.1/x86_64/tiny-pc/gcc";
/// A file that every kernel has and nothing includes.
const LEAF: &str = "lib/ctype.c";

/// A project that `kiln init` started, with a kernel tree of its own.
struct Project(TempDir);

impl Project {
    fn new(tree: &Path) -> Self {
        // Below the target directory: /tmp may be a small one in memory.
        let project = Self(TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory"));
        let sources = project.path("cache/sources");
        fs::create_dir_all(&sources).expect("a directory");
        // A copy and not links: the edit below must not reach the original, nor new change times its files.
        let mut copy = Command::new("cp");
        copy.args(["-a", "--reflink=auto"]).arg(tree).arg(sources.join("linux-6.1"));
        assert!(copy.status().expect("cp runs").success(), "{} can't be copied", tree.display());
        project.run(&["init"], 0);
        project
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Runs kiln, which must end with that exit code.
    fn run<A: AsRef<OsStr>>(&self, args: &[A], code: i32) -> String {
        let began = Instant::now();
        let mut kiln = Command::new(KILN);
        kiln.args(args).current_dir(self.0.path());
        let Output { status, stdout, stderr } = kiln.output().expect("kiln runs");
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        // Shown where the test fails, or with --nocapture.
        println!("{kiln:?} took {:.1?}\n{stdout}{stderr}", began.elapsed());
        assert_eq!(status.code(), Some(code), "{kiln:?} ended otherwise");
        stdout.into_owned()
    }

    /// The words of the plan's totals that are not nought.
    fn totals(&self) -> Vec<(String, u64)> {
        let plan: Value = serde_json::from_str(&self.run(&["plan", "--format", "json"], 0)).expect("JSON");
        ["fresh", "cached", "stale", "unknown", "blocked"]
            .into_iter()
            .map(|word| (word.to_owned(), plan["totals"][word].as_u64().expect("a number")))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

#[test]
#[ignore = "builds and boots a kernel, which takes minutes: `make check` runs it"]
fn a_kernel_is_built_and_booted_once_and_again_only_when_it_changed() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("cache/sources/linux-6.1");
    let tree = std::env::var_os("KILN_TEST_TREE").map_or(example, PathBuf::from);
    assert!(tree.join("Kconfig").is_file(), "{} is no kernel tree: run scripts/source.sh", tree.display());
    let project = Project::new(&tree);
    project.run(&["doctor"], 0);

    // From nothing to a boot.
    let built = project.run(&["build"], 0);
    assert!(built.contains(BUILD), "{built}");
    let image = project.path(&format!("out/{BUILD}/bzImage"));
    assert!(image.is_file(), "{} was not made", image.display());
    let console =
        fs::read(project.path(&format!("out/{BUILD}/qemu-pc/boot/console.log"))).expect("a console");
    let console = String::from_utf8_lossy(&console);
    assert!(console.contains("Linux version 6.1") && console.contains("KILN-BOOT-OK"), "{console}");

    // Again: nothing.
    let placed = fs::metadata(&image).expect("it is there").modified().expect("a time");
    let again = project.run(&["build"], 0);
    assert!(again.contains("everything is up to date"), "{again}");
    assert_eq!(fs::metadata(&image).expect("it is there").modified().expect("a time"), placed);

    // A leaf is edited: what reads the tree is stale, and the file is named.
    let leaf = project.path(&format!("cache/sources/linux-6.1/{LEAF}"));
    let text = fs::read_to_string(&leaf).expect("a source file");
    fs::write(&leaf, format!("{text}\n/* Edited. */\n")).expect("it can be written");
    let why = project.run(&["why", &format!("kernel:{BUILD}")], 0);
    assert!(why.contains(&format!("{LEAF} changed")), "{why}");
    let stale = project.totals();
    assert!(stale.iter().any(|(word, _)| word == "stale"), "{stale:?}");

    // The edit is taken back: it was the content that counted, not the time.
    fs::write(&leaf, &text).expect("it can be written");
    let totals = project.totals();
    assert!(matches!(totals.as_slice(), [(word, _)] if word == "fresh"), "{totals:?}");
}
