//! What the key does not hold of an input, steps can't see: permissions beside executable, owner, times, hard links.

use std::fs::{self, File};
use std::os::unix::fs::lchown;
use std::time::{Duration, SystemTime};

use nix::unistd::geteuid;

use crate::support::project::Project;

/// Packs its inputs as they are, and takes down what it can see of them and of its own directory.
const PACK: &str = r#"(
    version: 1,
    inputs: {
        "source": Source("linux"), "file": File("files/plain"), "program": File("files/program"), "dir": File("files"),
        "lines": Concat(files: "{fragments}"),
    },
    params: { "fragments": (type: Paths, default: ["files/plain"]) },
    steps: [
        ["sh", "-c", "tar --sort=name -cf packed.tar -C /kiln/in ."],
        ["sh", "-c", "find /kiln/in -printf '%p %y %m %U %G %n %T@\\n' | sort >seen"],
        ["sh", "-c", "stat -c '%a %u %g' /kiln/out >>seen; env | grep -e SEED -e DATE | sort >>seen"],
    ],
    outputs: { "packed": File("packed.tar"), "seen": File("seen") },
    tools: ["sh", "tar", "find", "grep", "sort", "stat", "env"],
    export: "pack",
)"#;

fn project() -> Project {
    let project = Project::with_graph(
        r#"(version: 1, sources: { "linux": Dir("linux") }, actions: { "it": (rule: "pack") })"#,
    );
    project.write("rules/pack.ron", PACK);
    project.write("linux/Makefile", "all:\n");
    project.write("linux/scripts/run", "#!/bin/sh\n");
    project.write("files/plain", "plain\n");
    project.write("files/sub/deep", "deep\n");
    project.script("files/program", "#!/bin/sh\n");
    project
}

/// Changes all of these paths that no key holds.
fn disguise(project: &Project, paths: &[&str]) {
    for path in paths {
        let path = project.path(path);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode | 0o1022);
        fs::set_permissions(&path, mode).unwrap();
        if path.is_file() {
            fs::hard_link(&path, path.with_extension("kiln-link")).unwrap();
            fs::rename(path.with_extension("kiln-link"), project.path("linked")).unwrap();
        }
        if geteuid().is_root() {
            lchown(&path, Some(4321), Some(4321)).unwrap();
        }
        File::open(&path).unwrap().set_modified(SystemTime::now() - Duration::from_hours(1)).unwrap();
    }
}

#[test]
fn permissions_owners_times_and_links_of_inputs_reach_no_output() {
    let project = project();
    project.build("").exits(0).runs(&["pack:it"]);
    let seen = project.read("out/pack/seen");

    disguise(
        &project,
        &[
            "linux",
            "linux/Makefile",
            "linux/scripts",
            "linux/scripts/run",
            "files",
            "files/plain",
            "files/sub",
            "files/program",
        ],
    );
    project.build("").exits(0).runs(&[]);
    project.kiln("verify").exits(0).says("1 same");
    project.build("--force pack:it").exits(0).runs(&["pack:it"]);
    assert_eq!(project.read("out/pack/seen"), seen);
    assert!(seen.contains("PYTHONHASHSEED=0"), "{seen}");
}

#[test]
fn what_the_key_holds_is_shown() {
    let project = project();
    project.build("").exits(0).runs(&["pack:it"]);
    let seen = project.read("out/pack/seen");
    assert!(seen.contains("/kiln/in/dir/program f 755 "), "{seen}");
    assert!(seen.contains("/kiln/in/program f 755 "), "{seen}");
    assert!(seen.contains("/kiln/in/source/scripts/run f 644 "), "{seen}");
    project.chmod("linux/scripts/run", 0o755);
    project.build("").exits(0).runs(&["pack:it"]);
    assert!(project.read("out/pack/seen").contains("/kiln/in/source/scripts/run f 755 "));
}
