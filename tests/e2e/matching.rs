//! `kiln match`, and what plans and the doctor say of boards that nothing matches.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::support::project::{KilnOutput, MATCH, OUT, Project};

const PC: &str = "CONFIG_X86_64=y\nCONFIG_SERIAL_8250=y\nCONFIG_SERIAL_8250_CONSOLE=y\n";

const BOARD: &str = "boards: {\n";

/// Another board, of a spec that has one already.
fn add_board(project: &Project, name: &str, requires: &str) {
    let board = format!(
        "{BOARD}        {name:?}: (requires: {requires:?}, device_type: \"qemu\", qemu: (program: \"fake-qemu\", args: [], \
         cmdline: \"\"), labs: [\"local\"], tests: [\"boot\"]),\n"
    );
    project.edit("graph.ron", BOARD, &board);
}

/// A second build, of an arch for which there is no board.
fn add_i386(project: &Project) {
    let arch = "\"x86_64\": (image: \"arch/x86/boot/bzImage\")";
    project.edit(
        "graph.ron",
        &format!("archs: {{ {arch} }}"),
        &format!("archs: {{ {arch}, \"i386\": (image: \"arch/x86/boot/bzImage\") }}"),
    );
    project.edit(
        "graph.ron",
        "targets: { \"x86_64\": \"fake-\" }",
        "targets: { \"x86_64\": \"fake-\", \"i386\": \"fake-\" }",
    );
    let build = "builds: [\n";
    let more = format!(
        "{build}        (sources: [\"linux\"], archs: [\"i386\"], defconfigs: [\"i386_defconfig\"], toolchains: [\"fake\"]),\n"
    );
    project.edit("graph.ron", build, &more);
}

fn fed(project: &Project, args: &str, text: &[u8]) -> KilnOutput {
    let mut command = project.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    KilnOutput::new(format!("kiln {args}"), &child.wait_with_output().unwrap())
}

#[test]
fn a_config_is_matched_with_every_board() {
    let project = Project::new();
    add_board(&project, "arm64-virt", "ARM64 && SERIAL_AMBA_PL011_CONSOLE");
    project.write("config", PC);
    let said = project.kiln("match config").exits(0);
    let expected = "\
BOARD       BOOTS  WHY NOT
arm64-virt  no     ARM64=y (is not set) && SERIAL_AMBA_PL011_CONSOLE=y (is not set)
qemu-pc     yes

1 of 2 boards can boot it
";
    assert_eq!((&*said.out, &*said.err), (expected, ""));
    assert!(!project.exists("cache") && !project.exists("out"), "a question leaves nothing behind");

    project.kiln("match config --board qemu-pc").exits(0).says("1 of 1 board can").never_says("arm64-virt");
    project.kiln("match config --board qemu-pc --board arm64-virt").exits(0).says("1 of 2 boards can");
    project
        .kiln("match config --board qemu")
        .exits(2)
        .complains("there is no board \"qemu\"")
        .complains("arm64-virt, qemu-pc");
    fed(&project, "match -", b"CONFIG_ARM64=y\n").exits(0).says("0 of 2 boards can boot it");
}

#[test]
fn what_a_build_is_matched_with_is_what_it_is_told_to_match() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let said = project.kiln(&format!("match {OUT}/config --format json")).exits(0).json();
    assert_eq!(said["totals"], serde_json::json!({ "boards": 1, "boot": 1 }));
    assert_eq!(said["boards"][0], serde_json::json!({ "name": "qemu-pc", "boots": true, "failing": null }));
    assert_eq!((&said["problems"], &said["undefined"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn the_answer_is_there_for_programs_too() {
    let project = Project::new();
    add_board(&project, "typo", "SERIAL_825O_CONSOLE");
    let said = fed(&project, "match - --format json", &[PC.as_bytes(), b"?\nCONFIG_X86_64=y\n"].concat());
    let expected = serde_json::json!({
        "version": 1,
        "file": "standard input",
        "symbols": 3,
        "totals": { "boards": 2, "boot": 1 },
        "boards": [
            { "name": "qemu-pc", "boots": true, "failing": null },
            { "name": "typo", "boots": false, "failing": "SERIAL_825O_CONSOLE=y (is not set)" },
        ],
        "problems": [
            { "line": 4, "text": "not a line of a .config: \"?\"" },
            { "line": 5, "text": "X86_64 was set in line 1 already; this line counts" },
        ],
        "trees": ["linux"],
        "undefined": [{
            "symbol": "SERIAL_825O_CONSOLE",
            "boards": ["typo"],
            "nearest": "SERIAL_8250_CONSOLE",
            "text": "no Kconfig file of linux defines SERIAL_825O_CONSOLE: SERIAL_8250_CONSOLE? (board typo)",
        }],
    });
    assert_eq!((said.json(), &*said.err), (expected, ""));
}

#[test]
fn odd_files_are_read_as_far_as_they_go() {
    let project = Project::new();
    let crlf = format!("\u{feff}#\r\n# a comment\r\n\r\n{}", PC.replace('\n', "\r\n"));
    let said = fed(&project, "match -", crlf.as_bytes()).exits(0).says("1 of 1 board can boot it");
    assert_eq!(said.err, "");
    fed(&project, "match -", format!("{PC}# CONFIG_X86_64 is not set\n").as_bytes())
        .exits(0)
        .says("X86_64=y (is not set)")
        .complains("warning: standard input: line 4: X86_64 was set in line 1 already; this line counts");
    let mut long = b"CONFIG_LOCALVERSION=\"".to_vec();
    long.resize(10 << 20, b'x');
    long.extend(b"\"\n");
    long.extend(vec![b'z'; 10 << 20]);
    long.push(b'\n');
    long.extend(PC.as_bytes());
    let said = fed(&project, "match -", &long).exits(0).says("1 of 1 board can boot it");
    assert!(said.complains("line 2: not a line of a .config").err.len() < 300);
    let garbage = [PC.as_bytes(), &b"\x00\xff?\n".repeat(50_000)].concat();
    let said = fed(&project, "match -", &garbage).exits(0).says("1 of 1 board can boot it");
    assert_eq!(said.complains("91 more such lines").err.lines().count(), 11);
}

#[test]
fn what_is_no_config_is_refused() {
    let project = Project::new();
    for text in [&b""[..], b"\n\n", b"# nothing but a comment\n", b"<html>\n", b"\x7fELF\x02\x01\x01\x00"] {
        fed(&project, "match -", text)
            .exits(2)
            .complains("standard input is no .config: nothing is set in it");
    }
    fed(&project, "match -", b"\x1f\x8b\x08\x00").exits(2).complains("zcat");
    project.kiln("match nowhere").exits(2).complains("can't read nowhere");
    project.kiln("match linux").exits(2).complains("can't read linux");
    project.kiln("match").exits(2).complains("FILE");
    Project::empty().kiln("match -").exits(2).complains("no graph.ron");
    Project::with_graph("(version: 1)").kiln("match -").exits(2).complains("no boards");
}

#[test]
fn symbols_that_no_kernel_has_are_told_once() {
    let project = Project::new();
    add_board(&project, "a", "SERIAL_825O_CONSOLE && PPC_PSERIES!=m");
    add_board(&project, "b", "SERIAL_825O_CONSOLE || ARM64");
    project.write("config", PC);
    let nearest = "no Kconfig file of linux defines SERIAL_825O_CONSOLE: SERIAL_8250_CONSOLE? (boards a, b)";
    let said = project.kiln("match config").exits(0).says(&format!("note: {nearest}\n"));
    assert_eq!(said.out.matches("note:").count(), 2, "{said}");
    let said = said.says("note: no Kconfig file of linux defines PPC_PSERIES (board a)\n");
    // Another arch's symbol is one all the same.
    said.never_says("defines ARM64");
    project.kiln("doctor").exits(0).says(&format!("absent   symbol SERIAL_825O_CONSOLE: {nearest}"));
    // What the file itself mentions needs no Kconfig file, and without a tree nothing is said.
    let mentioned = format!("{PC}# CONFIG_SERIAL_825O_CONSOLE is not set\nCONFIG_PPC_PSERIES=y\n");
    fed(&project, "match -", mentioned.as_bytes()).exits(0).never_says("note:");
    fs::remove_dir_all(project.path("linux")).unwrap();
    project.kiln("match config").exits(0).never_says("note:");
}

#[test]
fn a_symbol_of_one_of_several_kernels_is_known() {
    let project = Project::new();
    add_board(&project, "new", "NEWER_THAN_THAT && OLDER");
    project.write("newer/Kconfig", "config NEWER_THAN_THAT\n\tbool\n");
    project.edit(
        "graph.ron",
        "\"linux\": Dir(\"linux\")",
        "\"linux\": Dir(\"linux\"), \"newer\": Dir(\"newer\")",
    );
    project.write("config", PC);
    let said = project.kiln("match config").exits(0).never_says("defines NEWER_THAN_THAT");
    said.says("note: no Kconfig file of linux, newer defines OLDER (board new)");
}

#[test]
fn the_doctor_is_content_with_symbols_that_there_are() {
    let project = Project::new();
    project.kiln("doctor").exits(0).says("boards: the 2 symbols that they name are defined in linux");
}

#[test]
fn a_plan_names_boards_and_builds_that_never_meet() {
    let project = Project::new();
    add_board(&project, "lonely", "ARM64 && X86_64 && SERIAL_8250_CONSOLE");
    add_i386(&project);
    let lonely = "note: board lonely: no build of this graph can boot it";
    let unbooted = "note: linux/i386/i386_defconfig/fake: no board can boot it\n";
    // Nothing is known yet.
    project.kiln("plan").exits(0).never_says("note:");
    let unmet = |args: &str| project.plan(args).0["unmet"].clone();
    assert_eq!(unmet(""), serde_json::json!({ "boards": null, "builds": [], "open": 2 }));

    // Of the build that is known something is said, of boards nothing while another may boot them.
    project.kiln("build -j2 match:linux/i386/**").exits(0).never_says("note:");
    project.kiln("plan").exits(0).says(unbooted).never_says("board lonely");
    let build = "linux/i386/i386_defconfig/fake";
    assert_eq!(unmet(""), serde_json::json!({ "boards": null, "builds": [build], "open": 1 }));

    project.kiln("build -j2 match:").exits(0);
    let why = ": ARM64=y (is not set) (nearest: linux/x86_64/pc/fake)\n";
    project.kiln("plan").exits(0).says(unbooted).says(&format!("{lonely}{why}"));
    project.kiln("build --dry-run").exits(0).says(lonely);
    let board = serde_json::json!({
        "board": "lonely", "nearest": "linux/x86_64/pc/fake", "failing": "ARM64=y (is not set)"
    });
    assert_eq!(unmet(""), serde_json::json!({ "boards": [board], "builds": [build], "open": 0 }));

    // Where it is not asked of all builds, and where one is made anew, the other may be it.
    project.kiln("plan linux/i386/i386_defconfig/fake").exits(0).says(unbooted).never_says("board lonely");
    project.kiln(&format!("plan --force {MATCH}")).exits(0).says(unbooted).never_says("board lonely");
    project.edit("configs/pc.config", "CONFIG_SMP=y", "CONFIG_PRINTK=y");
    project.kiln("plan").exits(0).says(unbooted).never_says("board lonely");
}

#[test]
fn a_plan_of_boards_and_builds_that_meet_has_no_notes() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    project.kiln("plan").exits(0).never_says("note:");
    let unmet = serde_json::json!({ "boards": [], "builds": [], "open": 0 });
    assert_eq!(project.plan("").0["unmet"], unmet);
    // Results that are known but not in place are known.
    fs::remove_dir_all(project.path("out")).unwrap();
    assert_eq!(project.plan("").0["unmet"], unmet);
}

#[test]
fn where_nobody_is_meant_to_meet_nothing_is_said() {
    let project =
        Project::with_rule("job", "(version: 1, steps: [[\"true\"]], outputs: {}, tools: [\"true\"])");
    assert_eq!(project.plan("").0["unmet"], serde_json::Value::Null);
}
