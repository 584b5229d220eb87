//! What goes wrong: builds, boots, specs, machines; how it is told, and what the exit code is.

use crate::support::project::{BOOT, CONFIG, INITRAMFS, KERNEL, MATCH, OUT, Project};

/// A project of two kernels, of which `broken` does not compile.
fn one_of_two_broken() -> Project {
    let project = Project::new();
    project.edit(
        "graph.ron",
        "configs: {",
        "configs: { \"broken\": (base: \"x86_64_defconfig\", fixups: [\"BROKEN=y\"]),",
    );
    project.edit("graph.ron", "defconfigs: [\"pc\"]", "defconfigs: [\"broken\", \"pc\"]");
    project
}

const BROKEN: &str = "kernel:linux/x86_64/broken/fake";

#[test]
fn a_build_that_fails_shows_the_end_of_its_log() {
    let project = Project::new();
    project.edit("graph.ron", "HZ=100", "BROKEN=y");
    project
        .kiln("build -j2")
        .exits(1)
        .complains(&format!("fail {KERNEL}"))
        .complains("step 5 (make) exited with 2")
        .complains("| drivers/broken.c:2:2: error: #error this driver does not compile")
        .complains(&format!("whole log: kiln log {KERNEL}"))
        .says("1 failed");
    project.kiln(&format!("log {KERNEL}")).exits(0).says("#error this driver does not compile");
    assert!(!project.exists(&format!("{OUT}/bzImage")));
    assert_eq!(project.plan("").reasons(KERNEL), "its last run ended as fail\n");
    project.build("").exits(1);

    project.edit("graph.ron", "BROKEN=y", "BROKEN=n");
    project.build("").exits(0);
    project.plan("").has_nothing_to_do();
}

#[test]
fn a_failed_build_ends_the_rest_unless_told_to_go_on() {
    let project = one_of_two_broken();
    let stopped = project.kiln("build -j1").exits(1);
    assert!(stopped.out.contains("skipped"), "{stopped}");
    assert!(!project.exists(&format!("{OUT}/qemu-pc/boot/console.log")), "{stopped}");

    let build = project.build("--keep-going").exits(1);
    assert!(build.ran().contains(&BROKEN) && build.ran().contains(&BOOT), "{}", build.said);
    assert_eq!((build.count("failed"), build.count("boots-failed")), (1, 0));
    assert!(!build.ran().iter().any(|node| node.starts_with("job:linux/x86_64/broken")), "{}", build.said);
    assert!(project.exists(&format!("{OUT}/bzImage")));

    // What works can be asked for by itself.
    project.build("linux/x86_64/pc/fake").exits(0).runs(&[]);
}

#[test]
fn a_boot_that_fails_is_not_tried_again_until_something_changes() {
    let project = Project::new();
    project.write("boot/init", "no marker here\n");
    let build = project.build("").exits(3);
    assert_eq!(build.finished(BOOT)["outcome"], "fail");
    assert_eq!((build.count("failed"), build.count("boots-failed")), (1, 1));
    assert!(project.read(&format!("{OUT}/qemu-pc/boot/console.log")).contains("no marker here"));

    project.build("").exits(3).runs(&[]);
    project.kiln("plan --all").exits(0).says("failed, as recorded");
    project.kiln("build").exits(3).says("1 failed").never_says("up to date");

    project.build(&format!("--force {BOOT}")).exits(3).runs(&[BOOT]);
    project.write("boot/init", "KILN-BOOT-OK\n");
    project.build("").exits(0).runs(&[INITRAMFS, BOOT]);
}

#[test]
fn a_panic_is_told_by_its_line() {
    let project = Project::new();
    project.edit("graph.ron", "\"HZ=100\"", "\"LOCALVERSION=\\\"-panics\\\"\"");
    project.kiln("build -j2").exits(3).says("Kernel panic - not syncing: it was told to");
}

#[test]
fn a_failed_build_outweighs_a_failed_boot() {
    let project = one_of_two_broken();
    project.write("boot/init", "no marker here\n");
    project.build("--keep-going").exits(1);
}

#[test]
fn a_spec_that_is_wrong_runs_nothing() {
    let project = Project::new();
    project.edit("graph.ron", "toolchains: [\"fake\"]", "toolchains: [\"fakr\"]");
    for command in ["build", "plan", "why kernel:", "query nodes"] {
        project.kiln(command).exits(2).complains("fakr").complains("fake");
    }
    assert!(!project.exists("out"));
}

#[test]
fn a_directory_without_a_project_says_how_to_start_one() {
    Project::empty().kiln("build").exits(2).complains("no graph.ron in").complains("kiln init");
}

#[test]
fn a_tool_that_is_not_there_is_the_machines_fault() {
    let project = Project::new();
    project.remove("toolchain/bin/fake-ld");
    for command in ["plan", "build"] {
        project.kiln(command).exits(4).complains("`fake-ld` is not installed").complains("kiln doctor");
    }
    project.kiln("doctor").exits(4).says("missing  fake-ld");
}

#[test]
fn a_source_that_is_not_there_is_the_machines_fault() {
    let project = Project::new();
    std::fs::remove_dir_all(project.path("linux")).unwrap();
    for command in ["plan", "build"] {
        project.kiln(command).exits(4).complains("linux").complains("put the tree there");
    }
}

#[test]
fn a_configuration_that_does_not_exist_fails_its_own_builds_only() {
    let project = Project::new();
    project.edit("graph.ron", "defconfigs: [\"pc\"]", "defconfigs: [\"pc\", \"absent_defconfig\"]");
    let build = project.build("--keep-going").exits(1);
    assert_eq!(build.finished("config:linux/x86_64/absent_defconfig/fake")["outcome"], "fail");
    for node in [CONFIG, KERNEL, MATCH, BOOT] {
        assert_eq!(build.finished(node)["outcome"], "pass");
    }
}
