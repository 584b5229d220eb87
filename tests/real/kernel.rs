//! A real kernel through kiln: built, matched, booted, and then left alone until something of it changes.
//!
//! It takes minutes and an unpacked kernel tree, so plain `cargo test` leaves it out; `make check` runs it. The tree
//! is the one in `KILN_TEST_TREE`, or else the example project's `cache/sources/linux-6.1`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime};

use kiln::kernel::kbuild;
use kiln::source::{EntryKind, Reads};
use kiln::store::Store;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::project::kernel_tree;

const KILN: &str = env!("CARGO_BIN_EXE_kiln");
const BUILD: &str = "linux-6.1/x86_64/tiny-pc/gcc";
/// A file that every kernel has and nothing includes.
const LEAF: &str = "lib/ctype.c";
/// A driver that is off.
const UNREAD: &str = "drivers/net/tun.c";

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
    let tree = kernel_tree();
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

    // The makes below tools/ share the jobserver: without one, objtool would be built by one job.
    let log = fs::read_to_string(project.path(&format!("out/{BUILD}/build.log"))).expect("a log");
    assert!(log.contains("tools/objtool"), "objtool is not built: {log}");
    for warning in ["jobserver unavailable", "-j1 forced"] {
        assert!(!log.contains(warning), "{warning}: {log}");
    }

    // Again: nothing.
    let placed = fs::metadata(&image).expect("it is there").modified().expect("a time");
    let again = project.run(&["build"], 0);
    assert!(again.contains("everything is up to date"), "{again}");
    assert_eq!(fs::metadata(&image).expect("it is there").modified().expect("a time"), placed);

    records_and_trace_agree(&project);

    // What nobody reads is edited: nothing is done.
    let unread = project.path(&format!("cache/sources/linux-6.1/{UNREAD}"));
    let text = fs::read_to_string(&unread).expect("a source file");
    fs::write(&unread, format!("{text}\n/* Edited. */\n")).expect("it can be written");
    let again = project.run(&["build"], 0);
    assert!(again.contains("everything is up to date"), "{again}");

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

    // It is edited so that it makes a difference, and its time set back: the build continues, and boots what is as from
    // nothing.
    let code = format!("{text}\nconst char kiln_was_here[] = \"kiln\";\n");
    fs::write(&leaf, code).expect("it can be written");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    File::options().append(true).open(&leaf).expect("a file").set_modified(long_ago).expect("a time");
    let events = project.run(&["build", "--format", "json-lines"], 0);
    let ended: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|event: &Value| event["event"] == "finished")
        .collect();
    let names: Vec<&str> = ended.iter().filter_map(|event| event["node"].as_str()).collect();
    assert_eq!(names, [format!("kernel:{BUILD}"), format!("job:{BUILD}/qemu-pc/boot")], "{events}");
    assert!(ended[0]["how"] == "ran" && ended[0]["continued"] == true, "{events}");
    let map = fs::read_to_string(project.path(&format!("out/{BUILD}/System.map"))).expect("a file");
    assert!(map.contains("kiln_was_here"), "the edit is not in the kernel");
    project.run(&["verify", &format!("kernel:{BUILD}")], 0);
}

/// kbuild's records name nothing that was not opened, but for makefiles of directories that headers are read from; and
/// with what is to be covered besides, they leave out nothing that was.
fn records_and_trace_agree(project: &Project) {
    let store = Store::open(&project.path("cache")).expect("a cache");
    let node = format!("kernel:{BUILD}");
    let id = store.project(project.0.path()).expect("a project");
    let state = store.node(id, &node).expect("an index").expect("the kernel has a state");
    let set = store.path_set(&state.path_set.expect("it was traced")).expect("an index").expect("a path set");
    let set = set.resolve(&store.entries().expect("an index")).expect("all entries are known");
    let Some(Reads::Only(entries)) = set.reads("source") else {
        println!("reads can't be traced here, so there is nothing to compare");
        return;
    };
    let opened: BTreeSet<&[u8]> = entries
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::File | EntryKind::Searched))
        .map(|entry| &*entry.path)
        .collect();

    let kept = fs::read_dir(project.path("cache/kept")).expect("a directory").next().expect("one is kept");
    let out = kept.expect("an entry").path().join("out");
    let tree = project.path("cache/sources/linux-6.1");
    let inside = Path::new("/kiln/in/source");
    let records = kbuild::records(&out, inside, &tree).expect("records");
    let is_makefile = |file: &[u8]| file.ends_with(b"/Makefile") || file.ends_with(b"/Kbuild");
    let shown = |files: Vec<&[u8]>| -> Vec<String> {
        files.iter().map(|file| String::from_utf8_lossy(file).into_owned()).collect()
    };
    let too_many: Vec<&[u8]> = records
        .files
        .iter()
        .map(Vec::as_slice)
        .filter(|file| !opened.contains(file) && !is_makefile(file))
        .collect();
    assert!(too_many.is_empty(), "recorded and not opened: {:?}", shown(too_many));

    let cover = kbuild::cover(&records, &out, inside, &tree).expect("a tree");
    let in_tree = |file: &[u8]| {
        cover.trees.iter().any(|dir| file.starts_with(dir) && file.get(dir.len()) == Some(&b'/'))
    };
    // What was made and what is a link is in the path set for its name alone.
    let was_read = |file: &[u8]| {
        let file = Path::new(OsStr::from_bytes(file));
        let stat = fs::symlink_metadata(tree.join(file));
        stat.is_ok_and(|stat| stat.is_file()) && !out.join(file).exists()
    };
    let (missed, left_out): (Vec<&[u8]>, Vec<&[u8]>) = opened
        .iter()
        .copied()
        .filter(|file| was_read(file) && !records.files.contains(*file))
        .partition(|file| in_tree(file) || cover.files.contains(*file));
    println!("{} files opened, {} recorded, {} covered", opened.len(), records.files.len(), missed.len());
    assert!(left_out.is_empty(), "opened, and neither recorded nor covered: {:?}", shown(left_out));
}
