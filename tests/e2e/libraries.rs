//! Libraries that the loader finds only because `/etc/ld.so.conf` names their directory.

use std::process::Command;

use nix::unistd::geteuid;

use crate::support::project::Project;

/// Shows kiln a `/etc/ld.so.conf.d` of the project's own.
const CONFIGURED: &str = "mount --bind conf.d /etc/ld.so.conf.d && exec \"$@\"";

fn compile(project: &Project, arguments: &str) {
    let gcc = Command::new("gcc").args(arguments.split_whitespace()).current_dir(project.path("")).output();
    let gcc = gcc.unwrap();
    assert!(gcc.status.success(), "{}", String::from_utf8_lossy(&gcc.stderr));
}

/// A library in a directory of its own that says a number, and a program that prints it.
fn number(project: &Project, dir: &str, number: u32) {
    project.write(&format!("{dir}/number.c"), &format!("int number(void) {{ return {number}; }}\n"));
    compile(
        project,
        &format!("-shared -fPIC -Wl,-soname,libkw-number.so.1 -o {dir}/libkw-number.so.1 {dir}/number.c"),
    );
}

/// Has `/etc/ld.so.conf.d` name these directories of the project.
fn configure(project: &Project, dirs: &[&str]) {
    let lines = dirs.iter().map(|dir| format!("{}\n", project.path(dir).display()));
    project.write("conf.d/kw.conf", &lines.collect::<String>());
}

#[test]
fn a_library_of_a_configured_directory_is_found_and_keyed() {
    if !geteuid().is_root() {
        eprintln!("skipped: another /etc/ld.so.conf.d takes root");
        return;
    }
    let project = Project::empty();
    project.write("graph.ron", "(version: 1, actions: { \"it\": (rule: \"number\") })\n");
    number(&project, "one", 1);
    number(&project, "two", 2);
    project.write(
        "program.c",
        "#include <stdio.h>\nint number(void);\nint main(void) { printf(\"%d\\n\", number()); }\n",
    );
    compile(&project, "-o program program.c one/libkw-number.so.1");
    configure(&project, &["one"]);
    let program = project.path("program").display().to_string();
    project.write(
        "rules/number.ron",
        &format!(
            "(version: 1, steps: [[\"sh\", \"-c\", \"{program} >made\"]], tools: [\"sh\", {program:?}], \
             outputs: {{ \"made\": File(\"made\") }}, export: \"it\")\n"
        ),
    );
    let project = project.behind(&["unshare", "--mount", "sh", "-c", CONFIGURED, "sh"]);
    let makes = |number: u32| {
        project.build("").exits(0).runs(&["number:it"]);
        assert_eq!(project.read("out/it/made"), format!("{number}\n"));
        project.plan("").has_nothing_to_do();
    };
    makes(1);
    // The first directory that has it counts.
    configure(&project, &["two", "one"]);
    makes(2);
    number(&project, "two", 3);
    makes(3);
    project.remove("two/libkw-number.so.1");
    project.build("").exits(0);
    assert_eq!(project.read("out/it/made"), "1\n");
    // Where no configuration names it, it is not there.
    configure(&project, &[]);
    project.kiln("build").exits(1);
}
