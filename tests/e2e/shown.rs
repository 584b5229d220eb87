//! What people are shown, word for word.

use insta::{Settings, assert_snapshot};

use crate::support::project::{BOOT, KERNEL, KilnOutput, Project};

/// Runs a check with what differs between runs taken out of what is shown.
fn shown(check: impl FnOnce()) {
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("snapshots");
    settings.add_filter(r"/[^ ]*/kiln-e2e-\w+", "[project]");
    settings.add_filter(r"\b[0-9a-f]{64}\b", "[digest]");
    settings.add_filter(r"\b[0-9a-f]{12}\b", "[digest]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "[when]");
    settings.add_filter(r" +(\d+ (min|s|ms) )?\d+(\.\d+)? (min|ms|s)\b", " [time]");
    settings.add_filter(r#""((?:expected-|critical-path-)?seconds)": [0-9.]+"#, r#""$1": "[time]""#);
    settings.add_filter(r"\b\d+ files of the host", "[some] files of the host");
    // An ordinary user has them told by others.
    settings.add_filter(r#""discovered-by": "\w+""#, r#""discovered-by": "[who]""#);
    settings.bind(check);
}

fn edited() -> Project {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    project
}

fn out(said: KilnOutput) -> String {
    said.exits(0).out
}

#[test]
fn plans() {
    let project = Project::new();
    let edited = edited();
    shown(|| {
        assert_snapshot!("plan_of_all", out(project.kiln("plan -j2")));
        assert_snapshot!("plan_after_an_edit", out(edited.kiln("plan -j2 --all")));
        assert_snapshot!("plan_json", out(edited.kiln("plan -j2 --format json")));
        assert_snapshot!("plan_dot", out(edited.kiln("plan --format dot")));
        assert_snapshot!("plan_mermaid", out(edited.kiln("plan --format mermaid")));
    });
}

#[test]
fn explanations() {
    let project = edited();
    project.kiln("build -j2 kernel:").exits(0);
    shown(|| {
        assert_snapshot!("why_stale", out(project.kiln(&format!("why {BOOT}"))));
        assert_snapshot!("why_fresh", out(project.kiln(&format!("why {KERNEL}"))));
        assert_snapshot!("why_verbose", out(project.kiln(&format!("why --verbose {KERNEL}"))));
    });
    project.edit("configs/pc.config", "CONFIG_SMP=y", "CONFIG_PRINTK=y");
    shown(|| assert_snapshot!("why_unknown", out(project.kiln(&format!("why {KERNEL}")))));
}

#[test]
fn results() {
    let project = Project::new();
    shown(|| assert_snapshot!("result", out(project.kiln("build -j2"))));
    shown(|| assert_snapshot!("result_of_nothing", out(project.kiln("build -j2"))));
    project.write("boot/init", "no marker\n");
    shown(|| assert_snapshot!("boot_failed", project.kiln("build -j2").exits(3).to_string()));
    shown(|| assert_snapshot!("boot_failed_before", project.kiln("build -j2").exits(3).to_string()));
}

#[test]
fn complaints() {
    let project = Project::new();
    shown(|| {
        assert_snapshot!("unknown_target", project.kiln("build kernal:linux/x86_64/pc/fake").to_string());
        assert_snapshot!("no_project", Project::empty().kiln("plan").to_string());
    });
    project.remove("toolchain/bin/fake-ld");
    shown(|| assert_snapshot!("missing_tool", project.kiln("build").to_string()));
    project.edit("graph.ron", "toolchains: [\"fake\"]", "toolchains: [\"fakr\"]");
    shown(|| assert_snapshot!("wrong_spec", project.kiln("build").to_string()));
}
