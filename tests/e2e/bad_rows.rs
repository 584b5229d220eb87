//! Rows of the matrix that go wrong for reasons of their own: each says which, why and what to do, and the others go on.

use crate::support::project::{BOOT, CONFIG, KERNEL, OUT, Project};

/// A project with one more configuration, which is a kbuild target.
fn with_target(target: &str) -> Project {
    let project = Project::new();
    project.edit("graph.ron", "defconfigs: [\"pc\"]", &format!("defconfigs: [\"pc\", \"{target}\"]"));
    project
}

/// A project with one more board of the same kernel, which boots with `args`.
fn with_board(name: &str, program: &str) -> Project {
    let project = Project::new();
    let board = format!(
        "boards: {{ \"{name}\": (requires: \"X86_64\", device_type: \"qemu\", labs: [\"local\"], tests: [\"boot\"], \
         qemu: (program: \"{program}\", args: [\"-M\", \"no such\"])),"
    );
    project.edit("graph.ron", "boards: {", &board);
    project
}

#[test]
fn a_defconfig_that_the_tree_lacks_is_told_with_those_it_has() {
    let project = with_target("x86_46_defconfig");
    let said = project.kiln("build -j2 --keep-going").exits(1);
    let said = said.complains("fail config:linux/x86_64/x86_46_defconfig/fake");
    said.complains("linux has no x86_46_defconfig for x86_64; it has x86_64_defconfig, i386_defconfig: name one of these")
        .complains("(step 1 (make) exited with 2)");
    assert!(project.exists(&format!("{OUT}/bzImage")));
}

#[test]
fn a_fragment_that_the_tree_lacks_is_told_with_those_it_has() {
    let project = Project::new();
    project.edit("graph.ron", "(base: \"x86_64_defconfig\"", "(base: [\"defconfig\", \"kvm.config\"]");
    project
        .kiln("build")
        .exits(1)
        .complains("linux has no kvm.config for x86_64; it has kvm_guest.config: name one");
}

#[test]
fn an_arch_that_the_tree_lacks_is_told() {
    let project = Project::new();
    project.edit("graph.ron", "\"x86_64\": (image", "\"x86_64\": (kernel: \"amd64\", image");
    project
        .kiln("build")
        .exits(1)
        .complains("linux has no arch/amd64; it has arch/arm64, arch/x86: name one of these");
}

#[test]
fn a_compiler_for_another_arch_is_told_before_anything_is_compiled() {
    let project = Project::new();
    project.script("toolchain/bin/fake-gcc", "#!/bin/sh\necho aarch64-linux-gnu\n");
    let said = project.kiln("build").exits(1).complains(&format!("fail {CONFIG}"));
    let said =
        said.complains("fake-gcc makes code for aarch64-linux-gnu, and linux/x86_64/pc/fake is x86_64");
    said.complains("give the toolchain fake the prefix of a compiler for x86_64");
    // With CC= it is not this one that compiles.
    project.script("toolchain/bin/other", "#!/bin/sh\n");
    project.edit("graph.ron", "path: [\"toolchain/bin\"]", "path: [\"toolchain/bin\"], make: [\"CC=other\"]");
    project.build("config:").exits(0);
    project.edit("graph.ron", ", make: [\"CC=other\"]", "");
    project.script("toolchain/bin/fake-gcc", "#!/bin/sh\necho x86_64-linux-gnu\n");
    project.build("config:").exits(0);
}

#[test]
fn a_compiler_that_is_too_old_is_told_in_the_words_of_kconfig() {
    let project = Project::new();
    let words = "echo '*** C compiler is too old.'; echo '***   Your GCC version:    4.9.2'; \
                 echo '***   Minimum GCC version: 5.1.0'; exit 1";
    project.edit("linux/Makefile", "%_defconfig: FORCE\n", &format!("%_defconfig: FORCE\n\t@{words}\n"));
    project.kiln("build").exits(1).complains(
        "linux does not take the toolchain fake: C compiler is too old; Your GCC version: 4.9.2; Minimum GCC version: \
         5.1.0: name another in toolchains",
    );
}

#[test]
fn a_machine_that_qemu_lacks_is_no_result_and_the_other_boards_boot() {
    let project = with_board("odd", "odd-qemu");
    // The marker on standard error is QEMU's word, not the guest's.
    let script = "#!/bin/sh\necho 'odd-qemu: unsupported machine type' >&2\necho KILN-BOOT-OK >&2\nexit 1\n";
    project.script("toolchain/bin/odd-qemu", script);
    let odd = "job:linux/x86_64/pc/fake/odd/boot";
    let build = project.build("--keep-going").exits(4);
    assert_eq!(build.finished(BOOT)["outcome"], "pass");
    assert_eq!(build.finished(odd)["outcome"], "infra");
    let message = build.finished(odd)["message"].as_str().unwrap();
    assert!(
        message.starts_with("odd-qemu exited with 1: odd-qemu: unsupported machine type; KILN-BOOT-OK\n"),
        "{message}"
    );
    assert!(message.contains("it was run as: odd-qemu -M 'no such' -nographic -nodefaults"), "{message}");
    assert!(message.contains("see `qemu` of board odd"), "{message}");
    project.kiln(&format!("log {odd}")).exits(0).says("unsupported machine type");

    // It is not kept: with another QEMU it is tried again.
    let said = project
        .kiln("build --keep-going")
        .exits(4)
        .complains("it was run as")
        .says("unsupported machine type");
    assert!(!said.out.contains("it was run as"), "{said}");
    project.script("toolchain/bin/odd-qemu", "#!/bin/sh\necho KILN-BOOT-OK\necho a warning >&2\n");
    project.build("").exits(0).runs(&[odd]);
    assert_eq!(project.read(&format!("{OUT}/odd/boot/console.log")), "KILN-BOOT-OK\n");
}

#[test]
fn a_machine_that_the_guest_ends_has_failed_and_a_qemu_that_fails_is_no_result() {
    let project = with_board("odd", "odd-qemu");
    project.script("toolchain/bin/odd-qemu", "#!/bin/sh\nexit 0\n");
    // A kernel without a console restarts in silence.
    let ended = "the machine ended before the marker appeared";
    project.kiln("build --keep-going").exits(3).complains(ended);
    project.script("toolchain/bin/odd-qemu", "#!/bin/sh\necho Booting\n");
    project.kiln("build --keep-going").exits(3).complains(ended);
    project.script("toolchain/bin/odd-qemu", "#!/bin/sh\necho Booting\nkill -SEGV $$\n");
    project.kiln("build --keep-going").exits(4).complains("odd-qemu was killed by signal 11");
}

#[test]
fn a_login_prompt_fails_a_boot_that_awaits_a_marker_and_passes_one_that_awaits_it() {
    let project = Project::new();
    let prompts = "#!/bin/sh\nprintf 'Debian\\r\\n\\r\\nhost login: '\nexec sleep 60\n";
    project.script("toolchain/bin/fake-qemu", prompts);
    project.kiln("build").exits(3).complains("a login prompt instead of the marker: host login:");
    project.edit(
        "graph.ron",
        "Console(marker: \"KILN-BOOT-OK\", time_limit: \"10s\")",
        "Login(time_limit: \"10s\")",
    );
    project.build("").exits(0).runs(&[BOOT]);
    project.plan("").has_nothing_to_do();
    assert!(project.exists(&format!("{OUT}/bzImage")), "{KERNEL}");
}

#[test]
fn a_qemu_that_is_not_installed_keeps_only_its_own_boards_from_booting() {
    let project = with_board("odd", "qemu-system-nowhere");
    let odd = "job:linux/x86_64/pc/fake/odd/boot";
    let build = project.build("").exits(4);
    assert_eq!(build.finished(BOOT)["outcome"], "pass");
    assert!(
        build.said.out.contains(&format!("{odd}: the program `qemu-system-nowhere` is not installed")),
        "{}",
        build.said
    );
    assert_eq!((build.count("infra"), build.count("failed"), build.count("skipped")), (1, 0, 0));
    let said = project.kiln("plan").exits(4).says("the program `qemu-system-nowhere` is not installed");
    said.complains("the program `qemu-system-nowhere` is not installed").complains("kiln doctor");
    project
        .kiln(&format!("why {odd}"))
        .says("is blocked: the program `qemu-system-nowhere` is not installed");
    project.kiln("doctor").exits(4).says("missing  qemu-system-nowhere");
}

#[test]
fn a_toolchain_that_is_not_installed_keeps_only_its_own_rows_from_being_built() {
    let project = Project::new();
    let cross = "toolchains: { \"cross\": Gcc(targets: {\"x86_64\": \"none-linux-gnu-\"}),";
    project.edit("graph.ron", "toolchains: {", cross);
    project.edit("graph.ron", "toolchains: [\"fake\"]", "toolchains: [\"fake\", \"cross\"]");
    let config = "config:linux/x86_64/pc/cross";
    let plan = project.kiln("plan --format json").exits(4).complains("none-linux-gnu-ld");
    let nodes = plan.json()["nodes"].as_array().unwrap().clone();
    let node = |name: &str| nodes.iter().find(|node| node["name"] == name).unwrap().clone();
    assert_eq!(node(config)["verdict"], "blocked");
    let lacks =
        "the program `none-linux-gnu-ld` is not installed (on Debian: apt install binutils-none-linux-gnu)";
    assert_eq!(node(config)["lacks"], lacks);
    assert_eq!(node("kernel:linux/x86_64/pc/cross")["blocked-by"], config);

    let said = project.kiln("build -j2").exits(4).complains(&format!("{config}: {lacks}"));
    assert!(project.exists(&format!("{OUT}/bzImage")), "{said}");
    assert!(project.exists(&format!("{OUT}/qemu-pc/boot/console.log")), "{said}");
}
