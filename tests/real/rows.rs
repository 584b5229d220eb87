//! Rows of the board matrix, for real: cross-compiled, matched by their final `.config`, and booted under QEMU.
//!
//! A row takes minutes and an unpacked kernel tree, so plain `cargo test` leaves them out. `make check` runs one
//! little-endian and one big-endian row of another arch than this machine's; `make matrix` sets `KILN_TEST_ROWS=all`.
//! The tree is the one in `KILN_TEST_TREE`, or else the example project's `cache/sources/linux-6.1`.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::tiny::{ROWS, Tiny};

/// Those that `make check` runs: m68k is big-endian.
const FEW: [&str; 2] = ["arm64", "m68k"];

#[test]
#[ignore = "builds and boots kernels, minutes for each: `make check` runs two rows, `make matrix` all"]
fn each_row_builds_and_boots_on_its_board_and_then_there_is_nothing_to_do() {
    let all = std::env::var_os("KILN_TEST_ROWS").is_some_and(|rows| rows == "all");
    let rows: Vec<(&str, &str)> = ROWS.into_iter().filter(|(arch, _)| all || FEW.contains(arch)).collect();
    let targets: Vec<String> = rows.iter().map(|(arch, _)| format!("linux-6.1/{arch}/**")).collect();
    let with = |args: &[&str]| -> Vec<String> {
        args.iter().map(|arg| (*arg).to_owned()).chain(targets.iter().cloned()).collect()
    };
    let tiny = Tiny::new();
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
        let out = tiny.root().join(format!("out/linux-6.1/{arch}/{board}/gcc"));
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
