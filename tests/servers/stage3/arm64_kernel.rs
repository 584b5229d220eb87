//! A whole kernel by the compiler of another machine's root, under qemu-user: half an hour.

use std::fs;

use super::mirror::Mirror;
use super::project::{Project, kernel_tree};

const GRAPH: &str = r#"(
    version: 1,
    GENTOO,
    roots: { "arm64": (stage3: "arm64-openrc") },
    sources: { "linux": Dir("LINUX") },
    archs: { "arm64": (image: "arch/arm64/boot/Image") },
    toolchains: { "gentoo": Root(targets: { "arm64": "arm64" }, mode: Emulated) },
    builds: [(sources: ["linux"], archs: ["arm64"], defconfigs: ["tinyconfig"], toolchains: ["gentoo"])],
    cache: (path: "CACHE"),
)
"#;

#[test]
#[ignore = "needs a mirror and qemu-user, and takes half an hour: make check-stage3-arm64-kernel"]
fn a_whole_kernel_is_built_under_emulation() {
    let mirror = Mirror::of(&["arm64"]);
    let graph = GRAPH.replace("LINUX", kernel_tree().to_str().unwrap());
    let project = Project::with_graph(&[&mirror.url()], &graph);
    project.takes_rules(&["config", "kernel"]);
    project.kiln("update").exits(0);
    project.build("").exits(0);
    let image = fs::read(project.path("out/linux/arm64/tinyconfig/gentoo/Image")).unwrap();
    // Documentation/arm64/booting.rst
    assert_eq!(&image[56..60], b"ARM\x64");
    project.assert_fresh();
}
