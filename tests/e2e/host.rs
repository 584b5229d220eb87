//! What steps see of the host: what their rule declares, and nothing else.

use crate::support::project::Project;

/// A rule of one step in the shell with these tools. Its output is the file `made`.
fn rule(script: &str, tools: &str, fields: &str) -> String {
    let script = script.replace('{', "{{").replace('}', "}}");
    format!(
        "(version: 1, steps: [[\"sh\", \"-c\", {script:?}]], outputs: {{ \"made\": File(\"made\") }}, \
         tools: [\"sh\", {tools}], export: \"it\", {fields})\n"
    )
}

#[test]
fn a_program_that_is_not_declared_is_not_there_and_the_error_says_so() {
    let project = Project::with_rule("pack", &rule("echo x | gzip >made", "", ""));
    project.kiln("build").exits(1).complains("`gzip` is not declared: add it to `tools` of rules/pack.ron");
    project.write("rules/pack.ron", &rule("echo x | gzip >made", "\"gzip\"", ""));
    project.kiln("build").exits(0);
    // By its path it is no more there than by its name.
    project.write("rules/pack.ron", &rule("/usr/bin/gzip --version >made", "", ""));
    project.kiln("build").exits(1).complains("is not declared: add it to `tools` of rules/pack.ron");
}

#[test]
fn a_file_that_is_not_declared_is_not_there_and_the_error_says_so() {
    let project = Project::empty();
    project.write("graph.ron", "(version: 1, actions: { \"it\": (rule: \"data\") })\n");
    project.write("elsewhere/data", "one\n");
    let data = project.path("elsewhere/data").display().to_string();
    // Not below /tmp, which every sandbox has for itself.
    if data.starts_with("/tmp") {
        let script = format!("test ! -e {data} && echo none >made");
        project.write("rules/data.ron", &rule(&script, "", ""));
        project.kiln("build").exits(0);
    }
    let read = rule(&format!("echo $(cat {data}) >made"), "\"cat\"", &format!("host: [{data:?}]"));
    project.write("rules/data.ron", &read);
    project.kiln("build").exits(0);
    assert_eq!(project.read("out/it/made"), "one\n");
    project.write("elsewhere/data", "two\n");
    project.kiln("why data:it").exits(0).says("elsewhere/data");
    project.kiln("build").exits(0);
    assert_eq!(project.read("out/it/made"), "two\n");
}

#[test]
fn of_etc_there_is_what_every_host_has() {
    let look = "cat /etc/passwd /etc/hosts >made; ls -A / /etc >>made";
    let project = Project::with_rule("look", &rule(look, "\"cat\", \"ls\"", ""));
    project.kiln("build").exits(0);
    let made = project.read("out/it/made");
    let hosts = std::fs::read_to_string("/etc/passwd").unwrap();
    assert!(made.starts_with("root:x:0:0:"), "{made}");
    assert!(hosts.lines().count() < 5 || !made.contains("daemon:"), "{made}");
    for hidden in ["shadow", "home", "opt", "root\n", "var", "srv", "mnt"] {
        assert!(!made.lines().any(|line| line == hidden.trim_end()), "{hidden} in {made}");
    }
}

#[test]
fn the_absence_of_an_optional_tool_is_a_value() {
    let project = Project::empty();
    project.write("graph.ron", "(version: 1, actions: { \"it\": (rule: \"maybe\") })\n");
    let tool = project.path("bin/maybe").display().to_string();
    let script = format!("{{ {tool} || echo without; }} >made 2>/dev/null");
    project.write("rules/maybe.ron", &rule(&script, &format!("Optional({tool:?})"), ""));
    project.build("").exits(0).runs(&["maybe:it"]);
    assert_eq!(project.read("out/it/made"), "without\n");
    project.plan("").has_nothing_to_do();
    project.script("bin/maybe", "#!/bin/sh\necho with\n");
    project.kiln("why maybe:it").exits(0).says("bin/maybe");
    project.build("").exits(0).runs(&["maybe:it"]);
    assert_eq!(project.read("out/it/made"), "with\n");
    project.remove("bin/maybe");
    project.build("").exits(0).restores(&["maybe:it"]);
    assert_eq!(project.read("out/it/made"), "without\n");
    // One that is not optional blocks.
    project.write("rules/maybe.ron", &rule(&script, &format!("{tool:?}"), ""));
    project.kiln("build").exits(4).complains("is not installed");
}

#[test]
fn the_compiler_behind_a_wrapper_is_declared_or_not_found() {
    let project = Project::empty();
    project.write("graph.ron", "(version: 1, actions: { \"it\": (rule: \"wrapped\") })\n");
    let (wrapper, real) = (project.path("bin/my-gcc"), project.path("real/gcc"));
    let (wrapper, real) = (wrapper.display().to_string(), real.display().to_string());
    project.script("bin/my-gcc", &format!("#!/bin/sh\nexec {real} \"$@\"\n"));
    project.script("real/gcc", "#!/bin/sh\necho one\n");
    let script = format!("{wrapper} >made");
    project.write("rules/wrapped.ron", &rule(&script, &format!("{wrapper:?}"), ""));
    let said = project.kiln("build").exits(1);
    said.complains(&format!("`{real}` is not declared: add it to `tools`"));
    project.write("rules/wrapped.ron", &rule(&script, &format!("{wrapper:?}, {real:?}"), ""));
    project.kiln("build").exits(0);
    assert_eq!(project.read("out/it/made"), "one\n");
    project.script("real/gcc", "#!/bin/sh\necho two\n");
    project.kiln("build").exits(0);
    assert_eq!(project.read("out/it/made"), "two\n");
}

#[test]
fn a_script_of_an_interpreter_that_is_not_declared_says_so() {
    let project = Project::empty();
    project.write("graph.ron", "(version: 1, actions: { \"it\": (rule: \"script\") })\n");
    project.script("run", "#!/usr/bin/awk -f\nBEGIN { print 1 >\"made\" }\n");
    let with = |tools: &str| {
        format!(
            "(version: 1, inputs: {{ \"run\": File(\"run\") }}, steps: [[\"{{in.run}}\"]], tools: [{tools}], \
             outputs: {{ \"made\": File(\"made\") }})\n"
        )
    };
    project.write("rules/script.ron", &with(""));
    project
        .kiln("build")
        .exits(1)
        .complains("a script of /usr/bin/awk, which is not declared: add `awk` to `tools`");
    project.write("rules/script.ron", &with("\"awk\""));
    project.kiln("build").exits(0);
}

#[test]
fn bases_that_read_the_host_or_ask_are_refused() {
    let project = Project::new();
    project.edit("graph.ron", "base: \"x86_64_defconfig\"", "base: \"localmodconfig\"");
    project.kiln("plan").exits(2).complains("`localmodconfig` reads which modules this machine has loaded");
    project.edit("graph.ron", "base: \"localmodconfig\"", "base: [\"x86_64_defconfig\", \"menuconfig\"]");
    project.kiln("plan").exits(2).complains("`menuconfig` asks questions");
}

#[test]
fn programs_that_make_variables_name_are_part_of_the_key() {
    let project = Project::new();
    let pahole = project.path("opt/pahole").display().to_string();
    let with = format!("path: [\"toolchain/bin\"], make: [\"PAHOLE={pahole}\"]");
    project.edit("graph.ron", "path: [\"toolchain/bin\"]", &with);
    project.kiln("build config:").exits(4).complains("is not installed");
    project.script("opt/pahole", "#!/bin/sh\necho v1.25\n");
    project.kiln("build config:").exits(0);
    project.script("opt/pahole", "#!/bin/sh\necho v1.26\n");
    project.kiln("why config:linux/x86_64/pc/fake").exits(0).says("opt/pahole");
}

#[test]
fn settings_that_name_files_of_the_host_are_refused_unless_declared() {
    let project = Project::new();
    project.write("configs/pc.config", "CONFIG_SMP=y\nCONFIG_INITRAMFS_SOURCE=\"/srv/root\"\n");
    let kconfig = project.read("linux/Kconfig");
    project.write("linux/Kconfig", &format!("{kconfig}\nconfig INITRAMFS_SOURCE\n\tstring \"Source\"\n"));
    let said = project.kiln("build config:").exits(1);
    said.complains("CONFIG_INITRAMFS_SOURCE names /srv/root");
    project.edit("rules/config.ron", "    time_limit:", "    host: [\"/srv/root\"],\n    time_limit:");
    project.kiln("build config:").exits(0);
    let config = project.read(&format!("{}/config", crate::support::project::OUT));
    assert!(config.contains("CONFIG_INITRAMFS_SOURCE=\"/srv/root\"\n"), "{config}");
}
