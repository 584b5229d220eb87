//! Inputs that change during a run and change back, of which a run reads a part: what it read or looked for spoils the
//! result, anything else does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::reach::{WAITER, WAITING, Waiting};
use crate::support::project::{Build, CONFIG, KERNEL, KilnOutput, Project};

fn waiter() -> Option<Project> {
    let project = Project::new();
    project.write("rules/waiter.ron", WAITER);
    // Two links whose target nobody reads, and a second file of a name that is read.
    symlink("string.c", project.path("linux/drivers/link")).unwrap();
    project.write("linux/drivers/string.c", "");
    project.traces("to tell what a run has not read").then_some(project)
}

#[test]
fn what_was_read_or_looked_for_must_be_the_same_all_the_time() {
    type Edit = fn(&Project);
    let edits: [(&str, &str, Edit); 9] = [
        ("written to and back", "lib/string.c", |project| {
            let text = project.read("linux/lib/string.c");
            project.write("linux/lib/string.c", "int other;\n");
            project.write("linux/lib/string.c", &text);
        }),
        ("replaced and put back", "lib/string.c", |project| {
            let (file, aside) = (project.path("linux/lib/string.c"), project.path("aside"));
            fs::rename(&file, &aside).unwrap();
            project.write("linux/lib/string.c", "int other;\n");
            fs::rename(&aside, &file).unwrap();
        }),
        ("removed and made anew", "lib/string.c", |project| {
            let text = project.read("linux/lib/string.c");
            project.remove("linux/lib/string.c");
            project.write("linux/lib/string.c", &text);
        }),
        ("a header that came and went", "lib", |project| {
            project.write("linux/lib/string.h", "int other;\n");
            project.remove("linux/lib/string.h");
        }),
        ("a directory above that was moved away and back", "lib", |project| {
            fs::rename(project.path("linux/lib"), project.path("aside")).unwrap();
            fs::rename(project.path("aside"), project.path("linux/lib")).unwrap();
        }),
        ("a directory above that was closed for a while", "lib", |project| {
            project.chmod("linux/lib", 0o700);
            project.chmod("linux/lib", 0o755);
        }),
        ("a link that led elsewhere", "drivers/link", |project| {
            for target in ["elsewhere", "string.c"] {
                project.remove("linux/drivers/link");
                symlink(target, project.path("linux/drivers/link")).unwrap();
            }
        }),
        ("a file of the same name elsewhere that was gone", "lib/string.c", |project| {
            project.remove("linux/drivers/string.c");
            project.write("linux/drivers/string.c", "");
        }),
        ("a mode, of a file beside what was read", "lib", |project| {
            project.chmod("linux/lib/beside", 0o755);
            project.chmod("linux/lib/beside", 0o644);
        }),
    ];
    let Some(project) = waiter() else { return };
    project.write("linux/lib/beside", "");
    for (number, (how, path, edit)) in edits.into_iter().enumerate() {
        project.write("linux/lib/string.c", &format!("int strlen_{number};\n"));
        let waiting = Waiting::start(&project);
        edit(&project);
        let build = waiting.go();
        assert_eq!(build.said.code, 4, "{how}: {}", build.said);
        let message = build.finished(WAITING)["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(&format!("source linux: {path}")), "{how}: {message}");
        assert!(message.contains(" changed while this ran"), "{how}: {message}");
        assert!(message.ends_with("nothing is recorded; run kiln again"), "{how}: {message}");
        assert_eq!(project.plan("waiter:").verdict(WAITING), "stale", "{how}");
        Waiting::start(&project).go().exits(0);
        assert_eq!(project.plan("waiter:").verdict(WAITING), "fresh", "{how}");
    }
}

#[test]
fn what_was_neither_read_nor_looked_for_may_come_go_and_change() {
    let Some(project) = waiter() else { return };
    let waiting = Waiting::start(&project);
    project.write("linux/include/linux/other.h", "");
    project.remove("linux/include/linux/other.h");
    let text = project.read("linux/drivers/noisy.c");
    project.write("linux/drivers/noisy.c", "int other;\n");
    project.write("linux/drivers/noisy.c", &text);
    fs::rename(project.path("linux/init"), project.path("aside")).unwrap();
    fs::rename(project.path("aside"), project.path("linux/init")).unwrap();
    let beside = project.path("linux/include/linux");
    fs::set_permissions(&beside, Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&beside, Permissions::from_mode(0o755)).unwrap();
    // The root of the tree is above what was read: what comes and goes there counts. This did neither.
    let build = waiting.go();
    let message = build.finished(WAITING)["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("source linux changed while this ran: a name in this directory"), "{message}");

    let waiting = Waiting::start(&project);
    project.write("linux/include/linux/other.h", "");
    project.remove("linux/include/linux/other.h");
    project.write("linux/drivers/noisy.c", "int other;\n");
    project.write("linux/drivers/noisy.c", &text);
    fs::set_permissions(&beside, Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&beside, Permissions::from_mode(0o755)).unwrap();
    let build = waiting.go().exits(0);
    assert!(build.finished(WAITING)["message"].is_null(), "{}", build.said);
    assert_eq!(project.plan("waiter:").verdict(WAITING), "fresh");
}

/// A kernel whose reads kbuild tells, and that waits when it is made.
fn waits_when_it_is_made() -> Project {
    let project = Project::new();
    let rule = project.read("rules/kernel.ron");
    let waits = r#"["sh", "-c", "touch begun; until test -e go; do sleep 0.01; done; rm begun go"],"#;
    let last = "        // As the configuration says: signed, compressed.";
    assert!(rule.contains(last));
    let rule = rule.replace(last, &format!("        {waits}\n{last}"));
    let rule = rule.replace("by: [Fanotify, Kbuild]", "by: [Kbuild]");
    let rule = rule.replace("tools: [\"make\", ", "tools: [\"make\", \"rm\", \"sleep\", \"touch\", ");
    project.write("rules/kernel.ron", &rule);
    project.kiln(&format!("build {CONFIG}")).exits(0);
    project
}

fn kernel_during(project: &Project, edit: impl FnOnce()) -> Build {
    let command = format!("build {KERNEL} --format json-lines");
    let mut kiln = project.command(&command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = || {
        let sessions = fs::read_dir(project.path("cache/work")).into_iter().flatten().flatten();
        let work = sessions.filter_map(|session| fs::read_dir(session.path()).ok()).flatten().flatten();
        work.map(|work| work.path().join("out")).find(|out| out.join("begun").exists())
    };
    let out = loop {
        if let Some(out) = begun() {
            break out;
        }
        assert!(kiln.try_wait().unwrap().is_none(), "kiln ended before the kernel was made");
        sleep(Duration::from_millis(10));
    };
    edit();
    fs::write(out.join("go"), "").unwrap();
    Build::new(KilnOutput::new(command, &kiln.wait_with_output().unwrap()))
}

#[test]
fn what_kbuild_recorded_must_be_the_same_all_the_time() {
    let project = waits_when_it_is_made();
    for path in ["lib/string.c", "include/linux/virtio.h"] {
        let build = kernel_during(&project, || {
            let text = project.read(&format!("linux/{path}"));
            project.write(&format!("linux/{path}"), "int other;\n");
            project.write(&format!("linux/{path}"), &text);
        });
        let build = build.exits(4);
        let message = build.finished(KERNEL)["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("source linux: {path} changed while this ran, and")),
            "{message}"
        );
        assert_eq!(project.all_kept().len(), 0, "no output directory is kept");
    }
    // A header that is looked for, and was there for a time.
    let build = kernel_during(&project, || {
        project.write("linux/include/linux/string.h", "#error other\n");
        project.remove("linux/include/linux/string.h");
    });
    let build = build.exits(4);
    let message = build.finished(KERNEL)["message"].as_str().unwrap();
    let names = "source linux: include/linux changed while this ran: a name in this directory came and went";
    assert!(message.starts_with(names), "{message}");

    let build = kernel_during(&project, || {
        let text = project.read("linux/drivers/noisy.c");
        project.write("linux/drivers/noisy.c", "int other;\n");
        project.write("linux/drivers/noisy.c", &text);
    });
    build.exits(0);
    assert_eq!(project.plan(KERNEL).verdict(KERNEL), "fresh");
}
