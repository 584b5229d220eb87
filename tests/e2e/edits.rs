//! What an edit makes run, and what it does not.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use crate::support::project::{BOOT, CONFIG, INITRAMFS, KERNEL, MATCH, OUT, Project};

/// A project in which everything is up to date.
fn built() -> Project {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    project
}

#[test]
fn an_edit_of_code_is_built_and_booted_and_not_configured() {
    let project = built();
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    let plan = project.plan("");
    assert!(plan.reasons(KERNEL).starts_with("linux: init/main.c changed ("), "{}", plan.reasons(KERNEL));
    assert_eq!((plan.verdict(CONFIG), plan.verdict(INITRAMFS)), ("fresh", "fresh"));

    let build = project.build("").exits(0).runs(&[KERNEL, BOOT]);
    assert_eq!(build.finished(KERNEL)["how"], "ran");
    assert_eq!(build.finished(KERNEL)["continued"], true);
    project.plan("").has_nothing_to_do();
}

#[test]
fn the_same_kernel_is_never_booted_twice() {
    let project = built();
    project.edit("linux/init/main.c", "// Where it all begins.", "// Where all of it begins.");
    let build = project.build("").exits(0).runs(&[KERNEL]);
    assert_eq!(build.finished(KERNEL)["how"], "ran-unchanged");
    project.plan("").has_nothing_to_do();
}

#[test]
fn a_kconfig_edit_that_changes_no_symbol_of_a_board_matches_nothing_anew() {
    let project = built();
    project.edit("linux/Kconfig", "default 8", "default 4");
    let build = project.build("").exits(0).runs(&[CONFIG, KERNEL, BOOT]);
    assert_eq!(build.finished(CONFIG)["how"], "ran");
}

#[test]
fn files_that_come_go_and_change_their_mode_are_seen() {
    let project = built();
    let reconfigures = |why: &str| {
        let reasons = project.plan("").reasons(CONFIG);
        assert_eq!(reasons.trim_end(), why);
        project.build("").exits(0).runs(&[CONFIG, KERNEL]);
        project.plan("").has_nothing_to_do();
    };
    project.write("linux/drivers/new.c", "int new;\n");
    reconfigures("linux: drivers/new.c is new");
    project.chmod("linux/drivers/new.c", 0o755);
    reconfigures("linux: drivers/new.c became executable");
    symlink("new.c", project.path("linux/drivers/link")).unwrap();
    reconfigures("linux: drivers/link is new");
    project.remove("linux/drivers/link");
    symlink("8250.c", project.path("linux/drivers/link")).unwrap();
    reconfigures("linux: drivers/link points elsewhere (new.c -> 8250.c)");
}

#[test]
fn what_was_built_before_comes_from_the_cache() {
    let project = built();
    let image = project.read(&format!("{OUT}/bzImage"));
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    project.build("").exits(0).runs(&[KERNEL, BOOT]);
    assert_ne!(project.read(&format!("{OUT}/bzImage")), image);

    project.edit("linux/init/main.c", "Goodbye", "Hello");
    let build = project.build("").exits(0).runs(&[]);
    assert!(build.restored().contains(&KERNEL), "{}", build.said);
    assert_eq!(project.read(&format!("{OUT}/bzImage")), image);
    project.plan("").has_nothing_to_do();
}

#[test]
fn a_time_that_changes_is_no_change() {
    let project = built();
    for file in ["linux/init/main.c", "boot/init", "configs/pc.config", "graph.ron", "rules/kernel.ron"] {
        let file = fs::File::options().append(true).open(project.path(file)).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_hours(1)).unwrap();
    }
    project.plan("").has_nothing_to_do();
    project.build("").exits(0).runs(&[]).restores(&[]);
}

#[test]
fn an_edit_that_keeps_size_and_time_is_seen() {
    let project = built();
    let path = project.path("linux/init/main.c");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    project.edit("linux/init/main.c", "Hello", "Hallo");
    fs::File::options().append(true).open(&path).unwrap().set_modified(before).unwrap();
    // Nor is it missed by the make that continues where its last run ended, which goes by times.
    let build = project.build("").exits(0).runs(&[KERNEL, BOOT]);
    assert_eq!(build.finished(KERNEL)["continued"], true);
    assert_eq!(build.finished(KERNEL)["how"], "ran");
}

#[test]
fn a_comment_in_the_spec_is_no_change() {
    let project = built();
    let graph = project.read("graph.ron");
    project.write("graph.ron", &format!("// A word.\n{graph}"));
    let rule = project.read("rules/kernel.ron");
    project.write("rules/kernel.ron", &rule.replace("Builds a kernel and its modules", "Builds kernels"));
    project.plan("").has_nothing_to_do();
}

#[test]
fn user_space_that_changes_boots_the_kernel_again_and_builds_none() {
    let project = built();
    project.write("boot/init", "hello\nKILN-BOOT-OK\n");
    project.build("").exits(0).runs(&[INITRAMFS, BOOT]);
    assert!(project.read(&format!("{OUT}/qemu-pc/boot/console.log")).contains("hello"));
}

#[test]
fn a_board_that_asks_for_more_is_matched_anew() {
    let project = built();
    project.edit("graph.ron", "X86_64 && SERIAL_8250_CONSOLE", "X86_64 && SERIAL_8250_CONSOLE && SMP");
    project.build("").exits(0).runs(&[MATCH]);
    project.edit("graph.ron", "&& SMP", "&& !SMP");
    project.build("").exits(0).runs(&[MATCH]);
    let nodes = project.kiln("query nodes").exits(0).never_says("qemu-pc");
    assert!(nodes.out.contains(KERNEL));
}
