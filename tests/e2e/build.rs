//! A build from nothing, and one with nothing to do.

use crate::support::project::{BOOT, CONFIG, INITRAMFS, KERNEL, MATCH, OUT, Project};

#[test]
fn a_build_makes_its_outputs_and_the_next_does_nothing() {
    let project = Project::new();
    project
        .kiln("build -j2")
        .exits(0)
        .says("linux/x86_64/pc/fake")
        .says("booted to the marker")
        .says("5 ran")
        .complains(&format!("done {KERNEL}"));

    let image = project.read(&format!("{OUT}/bzImage"));
    assert!(image.contains("Linux version 6.1.0 (kiln@kiln) (fake-cc) #1 Thu Jan  1 00:00:00 UTC 2026"));
    assert!(project.read(&format!("{OUT}/config")).contains("CONFIG_SMP=y\n"), "the fragment");
    assert!(project.read(&format!("{OUT}/config")).contains("CONFIG_HZ=100\n"), "the fixup");
    assert!(
        project.read(&format!("{OUT}/modules/6.1.0/kernel/drivers/virtio_blk.ko")).starts_with("fake module")
    );
    assert!(project.read(&format!("{OUT}/qemu-pc/boot/console.log")).contains("KILN-BOOT-OK"));
    for output in ["vmlinux", "System.map"] {
        assert!(project.exists(&format!("{OUT}/{output}")), "{output}");
    }

    project.plan("").has_nothing_to_do();
    project.kiln("plan").exits(0).says("nothing to do: everything is up to date (5 nodes)");
    project.build("").exits(0).runs(&[]).restores(&[]);
    project.kiln("build").exits(0).says("everything is up to date (5 nodes").never_says("run ");
}

#[test]
fn a_plan_runs_nothing() {
    let project = Project::new();
    for command in ["plan", "plan --format json", "plan --format dot", "build --dry-run"] {
        project.kiln(command).exits(0);
        assert!(!project.exists("out"), "{command}");
    }
    project.kiln(&format!("log {CONFIG}")).exits(2).complains("has not run yet");
    project.kiln(&format!("why {CONFIG}")).exits(0).says("it never ran");
    let plan = project.plan("");
    assert_eq!((plan.verdict(CONFIG), plan.verdict(INITRAMFS)), ("stale", "stale"));
    assert_eq!((plan.verdict(KERNEL), plan.verdict(MATCH)), ("unknown", "unknown"));
    assert_eq!(plan.verdict("job:linux/x86_64/pc/fake/*"), "unknown", "boots are known after the match");
    project.build("").exits(0).runs(&[CONFIG, INITRAMFS, KERNEL, MATCH, BOOT]);
}

#[test]
fn the_rules_that_build_real_kernels_build_this_one_as_they_are() {
    let project = Project::new();
    for tool in ["gcc", "ld", "as", "ar", "nm", "objcopy", "objdump", "strip", "readelf"] {
        project.script(&format!("toolchain/bin/fake-{tool}"), "#!/bin/sh\nexit 1\n");
    }
    for rule in ["config", "kernel"] {
        let rule = format!("rules/{rule}.ron");
        project.write(&rule, &std::fs::read_to_string(crate::support::project::repository(&rule)).unwrap());
    }
    project.build("kernel:").exits(0).runs(&[CONFIG, KERNEL]);
    project.plan("kernel:").has_nothing_to_do();
}

#[test]
fn two_toolchains_and_two_configurations_are_four_builds() {
    let project = Project::new();
    project.edit("graph.ron", "\"fake\": Gcc", "\"other\": Gcc(targets: { \"x86_64\": \"fake-\" }, path: [\"toolchain/bin\"], make: [\"LOCALVERSION=-other\"]), \"fake\": Gcc");
    project.edit(
        "graph.ron",
        "defconfigs: [\"pc\"], toolchains: [\"fake\"]",
        "defconfigs: [\"pc\", \"x86_64_defconfig\"], toolchains: [\"fake\", \"other\"]",
    );
    let build = project.build("").exits(0);
    assert_eq!(build.ran().iter().filter(|node| node.starts_with("kernel:")).count(), 4);
    assert_eq!(build.ran().iter().filter(|node| node.starts_with("initramfs:")).count(), 1, "shared");
    for build in ["pc/fake", "pc/other", "x86_64_defconfig/fake", "x86_64_defconfig/other"] {
        assert!(project.exists(&format!("out/linux/x86_64/{build}/bzImage")), "{build}");
    }
    project.plan("").has_nothing_to_do();
}
