//! A real kernel by way of a remote: what one machine has built, an empty one restores; and a commit of one file is built in
//! the output directory that came from there.
//!
//! It takes minutes and an unpacked kernel tree, as `kernel.rs` does; `make check-remote` runs it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use kiln::remote::SigningKey;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::project::kernel_tree;

const KILN: &str = env!("CARGO_BIN_EXE_kiln");
const BUILD: &str = "linux-6.1/x86_64/tiny-pc/gcc";
/// A file that every kernel has and nothing includes.
const LEAF: &str = "cache/sources/linux-6.1/lib/ctype.c";

/// A machine: a project in a directory that no other machine's is called like.
struct Machine<'a> {
    dir: TempDir,
    key: &'a SigningKey,
}

impl<'a> Machine<'a> {
    /// With a kernel tree of its own, and a remote that all machines reach.
    fn new(tree: &Path, remote: &Path, key: &'a SigningKey) -> Self {
        // Below the target directory: /tmp may be a small one in memory.
        let machine = Self { dir: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory"), key };
        let sources = machine.path("cache/sources");
        fs::create_dir_all(&sources).expect("a directory");
        // A copy and not links: what is edited below is this machine's own.
        let mut copy = Command::new("cp");
        copy.args(["-r", "--reflink=auto"]).arg(tree).arg(sources.join("linux-6.1"));
        assert!(copy.status().expect("cp runs").success(), "{} can't be copied", tree.display());
        machine.run(&["init"]);
        let graph = machine.path("graph.ron");
        let text = fs::read_to_string(&graph).expect("a project");
        let settings = format!(
            "version: 1,\n    remotes: [(name: \"ci\", url: \"dir:{}\", write: true, kept: true)],\n    \
             keys: [\"{}\"], sign: Env(\"KILN_TEST_KEY\"),",
            remote.display(),
            key.public(),
        );
        assert_eq!(text.matches("version: 1,").count(), 1);
        fs::write(&graph, text.replace("version: 1,", &settings)).expect("it can be written");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Runs kiln, which must end well.
    fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> (String, Duration) {
        let began = Instant::now();
        let mut kiln = Command::new(KILN);
        kiln.args(args).current_dir(self.dir.path()).env("KILN_TEST_KEY", self.key.to_text().reveal());
        let Output { status, stdout, stderr } = kiln.output().expect("kiln runs");
        let took = began.elapsed();
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let args: Vec<_> = kiln.get_args().collect();
        // Shown where the test fails, or with --nocapture.
        println!("kiln {args:?} took {took:.1?}\n{stdout}{stderr}");
        assert!(status.success(), "kiln {args:?} ended otherwise");
        (stdout.into_owned(), took)
    }

    /// Builds; gives what came to an end, and how long it took.
    fn build(&self, args: &[&str]) -> (Vec<Value>, Duration) {
        let (events, took) = self.run(&[&["build", "--format", "json-lines"], args].concat());
        let events = events.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        (events.filter(|event: &Value| event["event"] == "finished").collect(), took)
    }

    /// The kernel that it has made.
    fn image(&self) -> Vec<u8> {
        fs::read(self.path(&format!("out/{BUILD}/bzImage"))).expect("a kernel")
    }

    /// Makes an edit that makes a difference; gives what was there before.
    fn edit(&self) -> String {
        let leaf = self.path(LEAF);
        let text = fs::read_to_string(&leaf).expect("a source file");
        fs::write(&leaf, format!("{text}\nconst char kiln_was_here[] = \"kiln\";\n")).expect("it is written");
        text
    }
}

#[test]
#[ignore = "builds and boots a kernel, which takes minutes: `make check-remote` runs it"]
fn an_empty_machine_goes_on_where_another_one_ended() {
    let tree = kernel_tree();
    let remote = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let key = SigningKey::generate("ci-1").expect("a key");

    let builder = Machine::new(&tree, remote.path(), &key);
    let (ended, from_nothing) = builder.build(&[]);
    assert_eq!(ended.len(), 6, "{ended:?}");
    let image = builder.image();
    drop(builder);

    // Elsewhere: another path, other file times, and nothing there but the sources.
    let reader = Machine::new(&tree, remote.path(), &key);
    let (restored, restore) = reader.run(&["restore"]);
    assert!(restored.contains("6 from the cache") && restored.contains("fetched "), "{restored}");
    assert!(reader.image() == image, "the kernel is another one");
    let (built, _) = reader.run(&["build"]);
    assert!(built.contains("everything is up to date"), "{built}");
    drop(reader);

    // A commit of one file, on a machine that has never built anything.
    let runner = Machine::new(&tree, remote.path(), &key);
    let before = runner.edit();
    let (ended, one_file) = runner.build(&[]);
    let ran: Vec<&Value> = ended.iter().filter(|event| event["how"] == "ran").collect();
    assert_eq!(ran.len(), 2, "{ended:?}");
    assert!(ran[0]["node"] == format!("kernel:{BUILD}") && ran[0]["continued"] == true, "{ended:?}");
    assert!(ran[1]["node"] == format!("job:{BUILD}/qemu-pc/boot"), "{ended:?}");
    let map = fs::read_to_string(runner.path(&format!("out/{BUILD}/System.map"))).expect("a file");
    assert!(map.contains("kiln_was_here"), "the edit is not in the kernel");

    // Taken back, and built once more in that directory: the same bits as the builder's, which it made from nothing.
    fs::write(runner.path(LEAF), before).expect("it is written");
    let kernel = format!("kernel:{BUILD}");
    let (ended, _) = runner.build(&["--force", &kernel, &kernel]);
    let [ended] = &ended[..] else { panic!("{ended:?}") };
    assert!(ended["how"] != "restored" && ended["continued"] == true, "{ended}");
    assert!(runner.image() == image, "the kernel is another one");
    println!("from nothing {from_nothing:.1?}, restored {restore:.1?}, one file elsewhere {one_file:.1?}");
}
