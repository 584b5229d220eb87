//! `examples/tiny` in a directory of its own: twelve rows, each a small kernel for one arch that boots on one board.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;

use tempfile::TempDir;

use crate::support::project::{kernel_tree, repository};

/// Each arch and the configuration and board of its row.
pub const ROWS: [(&str, &str); 12] = [
    ("alpha", "alpha-clipper"),
    ("arm", "arm-virt"),
    ("arm64", "arm64-virt"),
    ("hppa", "hppa-b160l"),
    ("m68k", "m68k-q800"),
    ("mips32", "mips-malta"),
    ("ppc", "ppc-g3beige"),
    ("ppc64", "ppc64-pseries"),
    ("riscv", "riscv-virt"),
    ("sparc64", "sparc64-sun4u"),
    ("x86", "x86-pc"),
    ("x86_64", "x86_64-pc"),
];

/// A copy of `examples/tiny` with a cache of its own. The kernel tree is a link to the shared one.
pub struct Tiny {
    dir: TempDir,
    /// The kernel tree.
    pub tree: PathBuf,
}

impl Tiny {
    pub fn new() -> Self {
        // Below the target directory: /tmp may be a small one in memory.
        let tiny = Self { dir: TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap(), tree: kernel_tree() };
        fs::create_dir_all(tiny.root()).unwrap();
        for dir in ["boot", "rules"] {
            symlink(repository(dir), tiny.root().join(dir)).unwrap();
        }
        symlink(repository("examples/tiny/configs"), tiny.root().join("configs")).unwrap();
        for file in ["examples/table.ron", "examples/tiny/graph.ron"].map(repository) {
            fs::copy(&file, tiny.root().join(file.file_name().unwrap())).unwrap();
        }
        fs::create_dir_all(tiny.cache().join("sources")).unwrap();
        symlink(&tiny.tree, tiny.cache().join("sources/linux-6.1")).unwrap();
        tiny
    }

    /// The same table and configurations under another `graph.ron`. The rules are copies, which may be edited.
    pub fn with_graph(graph: &str) -> Self {
        let tiny = Self::new();
        fs::remove_file(tiny.root().join("rules")).unwrap();
        fs::create_dir(tiny.root().join("rules")).unwrap();
        for rule in fs::read_dir(repository("rules")).unwrap().map(Result::unwrap) {
            fs::copy(rule.path(), tiny.root().join("rules").join(rule.file_name())).unwrap();
        }
        fs::write(tiny.root().join("graph.ron"), graph).unwrap();
        tiny
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("examples/tiny")
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Runs kiln, and gives what it printed and its exit code. Prints how long it took.
    pub fn run(&self, args: &[&str]) -> (String, i32) {
        let began = Instant::now();
        let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
        kiln.args(args).current_dir(self.root());
        let Output { status, stdout, stderr } = kiln.output().expect("kiln runs");
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        if !args.contains(&"json") {
            println!("{kiln:?} took {:.1?}\n{stdout}{stderr}", began.elapsed());
        }
        (stdout.into_owned(), status.code().expect("an exit code"))
    }
}
