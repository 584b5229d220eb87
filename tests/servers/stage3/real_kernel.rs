//! A real kernel by the compiler of a root, beside the same by the host's.

use std::fs;

use super::mirror::Mirror;
use super::project::{BINPKG, Project, STAGE3, copy, kernel_tree};

const GRAPH: &str = r#"(
    version: 1,
    GENTOO,
    roots: { "amd64": (stage3: "amd64-openrc") },
    sources: { "linux": Dir("linux") },
    archs: { "x86_64": (image: "arch/x86/boot/bzImage") },
    toolchains: {
        "gcc": Gcc(targets: { "x86_64": "" }),
        "gentoo": Root(targets: { "x86_64": "amd64" }, mode: Emulated),
    },
    builds: [(sources: ["linux"], archs: ["x86_64"], defconfigs: ["tinyconfig"], toolchains: ["gcc", "gentoo"])],
    cache: (path: "CACHE"),
)
"#;

/// A file that every kernel has.
const EDITED: &str = "lib/ctype.c";

#[test]
#[ignore = "needs a mirror, and builds two kernels: make check-stage3"]
fn a_kernel_is_built_in_a_root_and_beside_it_and_then_it_is_there() {
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::with_graph(&[&mirror.url()], GRAPH);
    project.takes_rules(&["config", "kernel"]);
    // A copy and not links: the edit below must not reach the original, nor new change times its files.
    copy(&kernel_tree(), &project.path("linux"));
    project.kiln("update").exits(0);

    let [hosts, roots] = ["gcc", "gentoo"].map(|toolchain| format!("linux/x86_64/tinyconfig/{toolchain}"));
    let [configs, kernels] =
        ["config", "kernel"].map(|rule| [&hosts, &roots].map(|build| format!("{rule}:{build}")));
    let built = project.build("").exits(0);
    let mut all: Vec<&str> =
        configs.iter().chain(&kernels).map(String::as_str).chain([BINPKG, STAGE3]).collect();
    all.sort_unstable();
    assert_eq!(built.ran(), all, "{}", built.said);
    for build in [&hosts, &roots] {
        let image = fs::read(project.path(format!("out/{build}/bzImage"))).unwrap();
        assert_eq!(&image[0x202..0x206], b"HdrS", "{build}");
    }
    // Nothing is left to do, and nothing that was done is done again.
    project.assert_fresh();
    fs::remove_dir_all(project.path("out")).unwrap();
    project.build("").exits(0).runs(&[]);

    // What nobody reads, and then one file of both.
    let edit = |file: &str, line: &str| {
        let text = project.read(&format!("linux/{file}"));
        project.write(&format!("linux/{file}"), &format!("{text}\n{line}\n"));
    };
    edit("drivers/net/tun.c", "/* Edited. */");
    project.assert_fresh();
    edit(EDITED, "const int added_by_a_test = 1;");
    project.build("").exits(0).runs(&kernels.each_ref().map(String::as_str));
    for kernel in &kernels {
        let compiled = project.compiled(kernel);
        assert!(
            compiled.contains(&"lib/ctype.o".to_owned()) && compiled.len() < 10,
            "{kernel}: {compiled:?}"
        );
    }
    project.assert_fresh();
}
