//! A root of another machine: its programs run under qemu-user, all of them or some.

use std::collections::BTreeMap;
use std::fs;

use super::mirror::Mirror;
use super::project::{Project, kernel_tree, repository};
use super::roots::left_over;

const GRAPH: &str = r#"(
    version: 1,
    GENTOO,
    roots: { "arm64": (stage3: "arm64-openrc"), "amd64": (stage3: "amd64-openrc") },
    sources: { "linux": Dir("LINUX") },
    archs: { "arm64": (image: "none", targets: [OBJECTS]) },
    toolchains: {
        "cross": Gcc(targets: { "arm64": "aarch64-linux-gnu-" }),
        "emulated": Root(targets: { "arm64": "arm64" }, mode: Emulated),
        "mixed": Root(targets: { "arm64": "arm64" }, mode: Mixed),
        "hybrid": Root(targets: { "arm64": "arm64" }, mode: Hybrid("cross")),
    },
    builds: [(
        sources: ["linux"], archs: ["arm64"], defconfigs: ["tinyconfig"],
        toolchains: ["cross", "emulated", "mixed", "hybrid"],
    )],
    cache: (path: "CACHE"),
)
"#;

/// A few objects: C and assembler, small and large.
const OBJECTS: [&str; 4] = ["kernel/fork.o", "lib/string.o", "mm/page_alloc.o", "arch/arm64/kernel/entry.o"];

const MODES: [&str; 3] = ["emulated", "mixed", "hybrid"];

/// A project that makes a few objects of a real kernel, in each mode and by a cross compiler.
fn objects(mirror: &Mirror) -> Project {
    let targets: Vec<_> = ["prepare"].iter().chain(&OBJECTS).map(|target| format!("{target:?}")).collect();
    let graph =
        GRAPH.replace("LINUX", kernel_tree().to_str().unwrap()).replace("OBJECTS", &targets.join(", "));
    let project = Project::with_graph(&[&mirror.url()], &graph);
    project.takes_rules(&["config"]);
    // As a kernel is built, and other outputs.
    let rule = fs::read_to_string(repository("rules/kernel.ron")).unwrap();
    let (before, after) = rule.split_once("    outputs: {\n").unwrap();
    let (_, after) = after.split_once("        // Of the run, not of what it made.\n").unwrap();
    let made: String = OBJECTS
        .iter()
        .map(|path| format!("        {:?}: File({path:?}),\n", path.replace(['/', '.'], "_")))
        .collect();
    project.write("rules/objects.ron", &format!("{before}    outputs: {{\n{made}{after}"));
    project
}

/// The bits of what a toolchain made, without what tells who made them.
fn bits(project: &Project, toolchain: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let out = format!("out/linux/arm64/tinyconfig/{toolchain}");
    let read = |object: &str| {
        let name = object.rsplit('/').next().unwrap();
        fs::read(project.path(format!("{out}/{name}")))
            .unwrap_or_else(|error| panic!("{out}/{name}: {error}"))
    };
    OBJECTS.into_iter().map(|object| (object, read(object))).collect()
}

#[test]
#[ignore = "needs a mirror and qemu-user, and takes long: make check-stage3"]
fn a_root_of_another_machine_is_prepared_and_builds_in_each_mode() {
    let mirror = Mirror::of(&["amd64", "arm64"]);
    let project = objects(&mirror);
    project.kiln("update").exits(0);
    let built = project.build("").exits(0);
    assert!(built.ran().contains(&"binpkg:arm64"), "{}", built.said);
    // Nobody builds with the other.
    assert!(!built.ran().contains(&"binpkg:amd64"), "{}", built.said);
    let cross = bits(&project, "cross");
    for (object, bits) in &cross {
        // ELF, 64 bits, little-endian, AArch64.
        assert_eq!((&bits[..6], &bits[18..20]), (&b"\x7fELF\x02\x01"[..], &b"\xb7\0"[..]), "{object}");
    }
    let of_modes = MODES.map(|mode| bits(&project, mode));
    assert!(of_modes[0] == of_modes[1], "the root's own compiler, wherever make runs");
    for (mode, bits) in MODES.iter().zip(&of_modes) {
        assert_eq!(bits.len(), OBJECTS.len(), "{mode}");
    }
    project.assert_fresh();
    assert_eq!(mirror.tarballs_asked_for(), 1);
    assert_eq!(left_over(&project), "");
}

/// What is wrong with how the kernel runs programs of other machines, and what is said of it. It is made so for kiln alone: in
/// a mount namespace of its own, another directory covers `/proc/sys/fs/binfmt_misc`. What the kernel would do is not changed by
/// that: kiln has to look before it begins.
#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn without_emulation_its_rows_lack_that_and_others_are_built() {
    let mirror = Mirror::of(&["amd64", "arm64"]);
    let known = "/proc/sys/fs/binfmt_misc";
    let registered = fs::read_to_string(format!("{known}/qemu-aarch64")).expect("qemu-user is registered");
    let interpreter = registered
        .lines()
        .find_map(|line| line.strip_prefix("interpreter "))
        .expect("an interpreter")
        .to_owned();
    let flags = registered.lines().find(|line| line.starts_with("flags:")).expect("flags").to_owned();
    let entry = |from: &str, to: &str| {
        assert!(registered.contains(from), "{registered}");
        format!(
            "echo enabled >{known}/status; cat >{known}/qemu-aarch64 <<'END'\n{}END\n",
            registered.replace(from, to)
        )
    };
    let cases = [
        // Not mounted.
        (String::new(), "mount -t binfmt_misc"),
        // Nothing registered.
        (format!("echo enabled >{known}/status"), "no handler"),
        // Registered, and looked for in the root.
        (entry(&flags, "flags: P"), "flag F"),
        // Registered, and gone.
        (entry(&interpreter, "/nowhere/qemu-aarch64"), "/nowhere/qemu-aarch64"),
        // Registered, and off.
        (entry("enabled", "disabled"), "disabled"),
    ];
    let project = Project::new(&[&mirror.url()]);
    project.with_arm64();
    project.kiln("update").exits(0);
    let forge = format!("mount -t tmpfs forged {known} && eval \"$FORGED\" && exec \"$@\"");
    let project = project.behind(&format!("exec unshare -m sh -c '{forge}' sh \"$@\""));
    for (script, said) in cases {
        let said_so = project.kiln_with("build --keep-going", &[("FORGED", &script)]).exits(4);
        let said_so = said_so.mentions(said).mentions("binpkg:arm64");
        assert!(project.read("out/x86_64/defconfig/gentoo/answer").contains("x86_64"), "{said_so}");
        assert!(!project.path("out/arm64").exists(), "{said_so}");
        let doctor = project.kiln_with("doctor", &[("FORGED", &script)]);
        doctor.mentions(said);
    }
}
