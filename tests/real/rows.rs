//! Rows of the board matrix, for real: cross-compiled, matched by their final `.config`, and booted under QEMU.
//!
//! A row takes minutes and an unpacked kernel tree, so plain `cargo test` leaves them out. `make check` runs one
//! little-endian and one big-endian row of another arch than this machine's; `make matrix` sets `KILN_TEST_ROWS=all`.
//! The tree is the one in `KILN_TEST_TREE`, or else the example project's `cache/sources/linux-6.1`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

const KILN: &str = env!("CARGO_BIN_EXE_kiln");

/// Each arch and the board that its row boots on.
const ROWS: [(&str, &str); 12] = [
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

/// Those that `make check` runs: m68k is big-endian.
const FEW: [&str; 2] = ["arm64", "m68k"];

/// `examples/tiny` in a directory of its own, with a cache of its own.
struct Tiny(TempDir);

impl Tiny {
    fn new(tree: &Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // Below the target directory: /tmp may be a small one in memory.
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let example = dir.path().join("examples/tiny");
        fs::create_dir_all(&example).expect("a directory");
        for name in ["rules", "boot"] {
            symlink(root.join(name), example.join(name)).expect("a link");
        }
        symlink(root.join("examples/tiny/configs"), example.join("configs")).expect("a link");
        for name in ["examples/table.ron", "examples/tiny/graph.ron"] {
            fs::copy(root.join(name), example.join(Path::new(name).file_name().expect("a name")))
                .expect("a copy");
        }
        let sources = dir.path().join("cache/sources");
        fs::create_dir_all(&sources).expect("a directory");
        symlink(tree, sources.join("linux-6.1")).expect("a link");
        Self(dir)
    }

    fn run(&self, args: &[&str]) -> (String, i32) {
        let began = Instant::now();
        let mut kiln = Command::new(KILN);
        kiln.args(args).current_dir(self.0.path().join("examples/tiny"));
        let Output { status, stdout, stderr } = kiln.output().expect("kiln runs");
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        if !args.contains(&"json") {
            println!("{kiln:?} took {:.1?}\n{stdout}{stderr}", began.elapsed());
        }
        (stdout.into_owned(), status.code().expect("an exit code"))
    }

    fn out(&self, build: &str) -> PathBuf {
        self.0.path().join("examples/tiny/out").join(build)
    }
}

#[test]
#[ignore = "builds and boots kernels, minutes for each: `make check` runs two rows, `make matrix` all"]
fn each_row_builds_and_boots_on_its_board_and_then_there_is_nothing_to_do() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("cache/sources/linux-6.1");
    let tree = std::env::var_os("KILN_TEST_TREE").map_or(example, PathBuf::from);
    assert!(tree.join("Kconfig").is_file(), "{} is no kernel tree: run scripts/source.sh", tree.display());
    let all = std::env::var_os("KILN_TEST_ROWS").is_some_and(|rows| rows == "all");
    let rows: Vec<(&str, &str)> = ROWS.into_iter().filter(|(arch, _)| all || FEW.contains(arch)).collect();
    let targets: Vec<String> = rows.iter().map(|(arch, _)| format!("linux-6.1/{arch}/**")).collect();
    let with = |args: &[&str]| -> Vec<String> {
        args.iter().map(|arg| (*arg).to_owned()).chain(targets.iter().cloned()).collect()
    };
    let tiny = Tiny::new(&tree);
    let run = |args: &[&str]| {
        let args = with(args);
        tiny.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };

    let (said, code) = run(&["build", "--keep-going"]);
    assert_eq!(code, 0, "{said}");

    // Every row boots on its board and on no other, though all boards are open to all rows.
    let (plan, code) = run(&["plan", "--all", "--format", "json"]);
    assert_eq!(code, 0, "{plan}");
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let mut boots: BTreeMap<String, String> = BTreeMap::new();
    for node in plan["nodes"].as_array().expect("nodes") {
        let name = node["name"].as_str().expect("a name");
        if let Some(boot) = name.strip_prefix("job:").filter(|boot| !boot.ends_with('*')) {
            boots.insert(boot.to_owned(), node["outcome"].as_str().unwrap_or("none").to_owned());
        }
    }
    let expected: BTreeMap<String, String> = rows
        .iter()
        .map(|(arch, board)| (format!("linux-6.1/{arch}/{board}/gcc/{board}/boot"), "pass".to_owned()))
        .collect();
    assert_eq!(boots, expected);

    for (arch, board) in &rows {
        let out = tiny.out(&format!("linux-6.1/{arch}/{board}/gcc"));
        let console = fs::read(out.join(board).join("boot/console.log")).expect("a console");
        // The boot is over with the marker: what follows on its line may not have been read.
        let console = String::from_utf8_lossy(&console).into_owned();
        assert!(console.contains("KILN-BOOT-OK"), "no marker in {}:\n{console}", out.display());
        let metadata = fs::read(out.join("metadata.json")).expect("metadata");
        let metadata: Value = serde_json::from_slice(&metadata).expect("JSON");
        assert_eq!(metadata["build"]["arch"], **arch);
        assert!(metadata["make"].as_str().is_some_and(|make| make.contains("ARCH=")), "{metadata}");
    }

    let (again, _) = run(&["build"]);
    assert!(again.contains("everything is up to date"), "{again}");
}
