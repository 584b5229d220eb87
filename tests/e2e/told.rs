//! What is told of a run, in files beside its outputs.

use serde_json::Value;

use crate::support::project::{KERNEL, OUT, Project};

fn json(project: &Project, name: &str) -> Value {
    serde_json::from_str(&project.read(&format!("{OUT}/{name}"))).unwrap()
}

/// A project whose kernel has the driver that warns.
fn noisy() -> Project {
    let project = Project::new();
    project.write("configs/pc.config", "CONFIG_SMP=y\nCONFIG_NOISY=y\n");
    project
}

#[test]
fn a_build_leaves_its_log_its_warnings_and_how_to_do_it_again() {
    let project = noisy();
    let said = project.kiln("build").exits(0);
    assert!(said.err.contains("1 warning") || said.out.contains("1 warning"), "{said}");
    assert!(project.read(&format!("{OUT}/build.log")).contains("this driver has seen better days"));

    let messages = json(&project, "messages.json");
    assert_eq!((&messages["warnings"], &messages["errors"]), (&1.into(), &0.into()));
    let warning = &messages["messages"][0];
    assert_eq!((&warning["file"], &warning["line"]), (&"drivers/noisy.c".into(), &1.into()), "{warning}");
    assert_eq!((&warning["severity"], &warning["count"]), (&"warning".into(), &1.into()));

    let metadata = json(&project, "metadata.json");
    assert_eq!(metadata["version"], 1);
    assert_eq!(metadata["node"], KERNEL);
    assert_eq!(metadata["build"]["arch"], "x86_64");
    assert_eq!(metadata["warnings"], 1);
    assert_eq!(metadata["inputs"]["source"]["source"], "linux");
    assert_eq!(metadata["outputs"]["image"]["path"], "bzImage");
    assert_eq!(metadata["environment"]["KBUILD_BUILD_USER"], "kiln");
    let make = metadata["make"].as_str().unwrap();
    assert!(make.contains("make -C \"$SOURCE\" O=\"$O\" ARCH=x86_64 CROSS_COMPILE=fake- all"), "{make}");
    project.plan("").has_nothing_to_do();
}

/// The plain line makes the same kernel.
#[test]
fn the_make_line_does_it_again_without_kiln() {
    let project = Project::new();
    project.kiln("build").exits(0);
    let metadata = json(&project, "metadata.json");
    let again = project.path("again");
    std::fs::create_dir(&again).unwrap();
    std::fs::copy(project.path(format!("{OUT}/config")), again.join(".config")).unwrap();
    let done = std::process::Command::new("sh")
        .args(["-ec", metadata["make"].as_str().unwrap()])
        .env_remove("MAKEFLAGS")
        .env("SOURCE", project.path("linux"))
        .env("O", &again)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for (made, out) in [("vmlinux", "vmlinux"), ("arch/x86/boot/bzImage", "bzImage")] {
        let kilns = std::fs::read(project.path(format!("{OUT}/{out}"))).unwrap();
        assert!(std::fs::read(again.join(made)).unwrap() == kilns, "{made} differs");
    }
}

/// A log differs from run to run; what was made does not.
#[test]
fn what_is_told_makes_no_run_another() {
    let project = noisy();
    project.kiln("build").exits(0);
    project.kiln(&format!("build --force {KERNEL}")).exits(0).complains("same outputs as before");
    project.kiln(&format!("verify {KERNEL}")).exits(0).says("1 same");
}

#[test]
fn it_is_put_back_like_an_output() {
    let project = noisy();
    project.kiln("build").exits(0);
    let log = project.read(&format!("{OUT}/build.log"));
    project.remove(&format!("{OUT}/build.log"));
    project.build("").exits(0).runs(&[]).restores(&[KERNEL]);
    assert_eq!(project.read(&format!("{OUT}/build.log")), log);
}

#[test]
fn a_build_that_fails_leaves_its_errors() {
    let project = Project::new();
    project.write("configs/pc.config", "CONFIG_SMP=y\nCONFIG_BROKEN=y\n");
    project.kiln("build").exits(1).complains("1 error");
    let messages = json(&project, "messages.json");
    let error = &messages["messages"][0];
    assert_eq!((&error["file"], &error["line"]), (&"drivers/broken.c".into(), &2.into()), "{messages}");
    assert_eq!(json(&project, "metadata.json")["outcome"], "fail");
    assert!(project.read(&format!("{OUT}/build.log")).contains("this driver does not compile"));
    assert!(!project.path(format!("{OUT}/vmlinux")).exists());
}

#[test]
fn no_rule_may_take_it_for_an_input() {
    let project = Project::new();
    project.edit("rules/job.ron", "output: \"{board.image}\"", "output: \"log\"");
    project
        .kiln("plan")
        .exits(2)
        .complains("`log` of rule `kernel` is a report on a run, and can't be an input");
}
