//! Builds that go on where the last one ended: they make what has changed, no less, and hardly more.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::support::project::{BOOT, Build, CONFIG, KERNEL, KilnOutput, MATCH, Project};

fn built() -> Project {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    project
}

/// What the last run of a kernel compiled, sorted.
fn compiled(project: &Project, kernel: &str) -> Vec<String> {
    let log = project.kiln(&format!("log {kernel}")).exits(0).out;
    let mut objects: Vec<String> =
        log.lines().filter_map(|line| line.strip_prefix("  CC      ")).map(str::to_owned).collect();
    objects.sort_unstable();
    objects
}

const ALL: [&str; 9] = [
    "arch/x86/entry/syscall.o",
    "drivers/8250.o",
    "drivers/plug_null.o",
    "drivers/virtio.o",
    "drivers/virtio_blk.o",
    "init/initramfs.o",
    "init/main.o",
    "init/version.o",
    "lib/string.o",
];

fn set_time(project: &Project, path: &str, time: SystemTime) {
    File::options().append(true).open(project.path(path)).unwrap().set_modified(time).unwrap();
}

#[test]
fn only_what_changed_is_compiled() {
    let project = built();
    assert_eq!(compiled(&project, KERNEL), ALL);
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    project.build("").exits(0).runs(&[KERNEL, BOOT]).continues(KERNEL);
    assert_eq!(compiled(&project, KERNEL), ["init/main.o"]);
    project.is_as_from_nothing();

    project.edit("linux/include/linux/virtio.h", "int id", "long id");
    project.edit("linux/drivers/noisy.c", "int noisy", "int quiet");
    let build = project.build("").exits(0).continues(KERNEL);
    assert_eq!(build.finished(KERNEL)["message"], "continued from its last run: 1 file differs");
    assert_eq!(compiled(&project, KERNEL), ["drivers/virtio.o", "drivers/virtio_blk.o"]);
    project.is_as_from_nothing();
}

#[test]
fn after_a_fresh_checkout_only_what_differs_is_compiled() {
    let project = built();
    fs::rename(project.path("linux"), project.path("before")).unwrap();
    let mut copy = Command::new("cp");
    copy.args(["-r", "--preserve=mode,links"]).args([project.path("before"), project.path("linux")]);
    assert!(copy.status().unwrap().success());
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    project.build("").exits(0).continues(KERNEL);
    assert_eq!(compiled(&project, KERNEL), ["init/main.o"]);
    project.is_as_from_nothing();
}

#[test]
fn an_edit_that_looks_old_is_compiled() {
    let project = built();
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    set_time(&project, "linux/init/main.c", SystemTime::UNIX_EPOCH + Duration::from_hours(100_000));
    project.build("").exits(0).continues(KERNEL);
    assert_eq!(compiled(&project, KERNEL), ["init/main.o"]);
    project.is_as_from_nothing();
}

#[test]
fn what_looks_newer_than_now_is_not_gone_on_from() {
    let project = built();
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    set_time(&project, "linux/lib/string.c", SystemTime::now() + Duration::from_hours(1));
    project
        .build("")
        .exits(0)
        .starts_anew(KERNEL, "times of files can't be compared: nothing that is made now would be newer");
    assert_eq!(compiled(&project, KERNEL), ALL);
    project.is_as_from_nothing();
}

#[test]
fn a_clean_build_starts_from_nothing() {
    let project = built();
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    project.build("--clean").exits(0).begins(KERNEL);
    assert_eq!(compiled(&project, KERNEL), ALL);
    project.is_as_from_nothing();

    // And is gone on from.
    project.edit("linux/init/main.c", "Goodbye", "Farewell");
    project.build("").exits(0).continues(KERNEL);
    project.is_as_from_nothing();
}

#[test]
fn after_an_error_of_the_compiler_the_fix_is_built() {
    let project = built();
    project.edit("linux/init/main.c", "void start_kernel", "#error half done\nlong start_kernel");
    project.edit("linux/arch/x86/entry/syscall.c", "u64 table", "long table");
    project.build("").exits(1);
    project.kiln(&format!("log {KERNEL}")).exits(0).says("error: #error half done");

    project.edit("linux/init/main.c", "#error half done\n", "");
    project.build("").exits(0).runs(&[KERNEL, BOOT]).continues(KERNEL);
    assert!(compiled(&project, KERNEL).contains(&"init/main.o".to_owned()));
    project.is_as_from_nothing();
}

const STOP: &str = "#error half done\n";

/// Two edits: one of code, and one that stops make before it comes to that: with one core, directories are built in turn.
fn stopped() -> Project {
    let project = built();
    project.edit("linux/drivers/virtio.c", "devices[4]", "devices[5]");
    project.edit("linux/init/main.c", "void start_kernel", &format!("{STOP}void start_kernel"));
    fails_at_the_stop(&project);
    project
}

fn fails_at_the_stop(project: &Project) {
    let said = project.kiln("build -j1 --format json-lines").exits(1);
    assert_eq!(Build::new(said).finished(KERNEL)["outcome"], "fail");
    project.kiln(&format!("log {KERNEL}")).exits(0).says("error: #error half done");
    assert!(!compiled(project, KERNEL).contains(&"drivers/virtio.o".to_owned()));
}

#[test]
fn what_a_failure_left_undone_is_done_though_it_changes_no_more() {
    let project = stopped();
    project.edit("linux/init/main.c", STOP, "");
    project.build("").exits(0).runs(&[KERNEL, BOOT]).continues(KERNEL);
    assert!(compiled(&project, KERNEL).contains(&"drivers/virtio.o".to_owned()));
    project.is_as_from_nothing();
}

#[test]
fn after_two_failures_nothing_is_forgotten() {
    let project = stopped();
    project.edit("linux/lib/string.c", "int strlen", "long strlen");
    fails_at_the_stop(&project);
    project.edit("linux/init/main.c", STOP, "");
    project.build("").exits(0).continues(KERNEL);
    assert_eq!(compiled(&project, KERNEL), ["drivers/virtio.o", "init/main.o", "lib/string.o"]);
    project.is_as_from_nothing();
}

#[test]
fn after_a_failure_all_of_it_can_be_taken_back() {
    let project = stopped();
    project.edit("linux/init/main.c", STOP, "");
    project.edit("linux/drivers/virtio.c", "devices[5]", "devices[4]");
    project.build("").exits(0).runs(&[]);
    project.is_as_from_nothing();

    // What is kept is of the failure.
    project.edit("linux/lib/string.c", "int strlen", "long strlen");
    project.build("").exits(0).continues(KERNEL);
    project.is_as_from_nothing();
}

#[test]
fn what_a_failure_left_undone_may_be_gone_by_now() {
    let project = stopped();
    project.edit("linux/init/main.c", STOP, "");
    project.remove("linux/drivers/virtio.c");
    let build = project.build("").exits(1);
    assert!(build.finished(KERNEL)["continued"].is_null(), "{}", build.said);
}

#[test]
fn another_configuration_has_a_directory_of_its_own() {
    let project = built();
    project.edit("graph.ron", "HZ=100", "HZ=1000");
    let build = project.build("").exits(0).begins(KERNEL);
    assert_eq!(build.ran(), [CONFIG, BOOT, KERNEL]);
    assert_eq!(compiled(&project, KERNEL), ALL);
    assert_eq!(project.all_kept().len(), 2);
    project.is_as_from_nothing();

    // And each goes on in its own.
    project.edit("graph.ron", "HZ=1000", "HZ=100");
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    let build = project.build("").exits(0).continues(KERNEL);
    assert!(!build.ran().contains(&MATCH), "{}", build.said);
    assert_eq!(compiled(&project, KERNEL), ["init/main.o"]);
    project.is_as_from_nothing();
    assert_eq!(project.all_kept().len(), 2);
}

#[test]
fn two_sources_share_no_directory() {
    let project = Project::new();
    let copied =
        Command::new("cp").arg("-a").args([project.path("linux"), project.path("next")]).status().unwrap();
    assert!(copied.success());
    project.edit("linux/init/main.c", "Hello", "Hello from linux");
    project.edit(
        "graph.ron",
        "\"linux\": Dir(\"linux\")",
        "\"linux\": Dir(\"linux\"), \"next\": Dir(\"next\")",
    );
    project.edit("graph.ron", "sources: [\"linux\"]", "sources: [\"linux\", \"next\"]");
    let next = "kernel:next/x86_64/pc/fake";
    let build = project.build("").exits(0).begins(KERNEL).begins(next);
    assert_eq!(build.count("failed"), 0);
    assert_eq!(project.all_kept().len(), 2);

    project.edit("linux/lib/string.c", "int strlen", "long strlen");
    project.edit("next/drivers/virtio.c", "devices[4]", "devices[5]");
    project.build("").exits(0).continues(KERNEL).continues(next);
    assert_eq!(compiled(&project, KERNEL), ["lib/string.o"]);
    assert_eq!(compiled(&project, next), ["drivers/virtio.o"]);
    assert_eq!(project.all_kept().len(), 2);
    project.is_as_from_nothing();
}

#[test]
fn where_there_is_no_room_nothing_is_kept_and_all_is_built() {
    let project = Project::new();
    project.edit("graph.ron", "version: 1,", "version: 1, cache: (kept: \"1KiB\"),");
    project.kiln("build -j2").exits(0);
    assert!(project.all_kept().is_empty(), "{:?}", project.all_kept());
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    project.build("").exits(0).begins(KERNEL);
    assert_eq!(compiled(&project, KERNEL), ALL);
    assert!(project.all_kept().is_empty(), "{:?}", project.all_kept());
    project.is_as_from_nothing();
}

#[test]
fn what_is_damaged_is_not_gone_on_from() {
    let project = built();
    for (number, (what, contents)) in
        [("record", Some("not a record")), ("about", Some("")), ("record", None), ("out", None)]
            .iter()
            .enumerate()
    {
        let path = project.kept().join(what);
        match contents {
            Some(contents) => fs::write(path, contents).unwrap(),
            None if path.is_dir() => fs::remove_dir_all(path).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        project.write_more("linux/init/main.c", &format!("int number_{number};\n"));
        project.build("").exits(0).begins(KERNEL);
        assert_eq!(compiled(&project, KERNEL), ALL, "{what}");
    }
    project.is_as_from_nothing();
}

#[test]
fn what_anything_else_has_changed_is_not_gone_on_from() {
    let project = built();
    let changes: [&dyn Fn(&Path); 6] = [
        &|out| fs::remove_file(out.join("lib/string.o")).unwrap(),
        &|out| fs::remove_dir_all(out.join("drivers")).unwrap(),
        &|out| fs::write(out.join("lib/new.h"), "").unwrap(),
        &|out| fs::set_permissions(out.join("vmlinux"), Permissions::from_mode(0o700)).unwrap(),
        &|out| fs::rename(out.join("vmlinux"), out.join("other")).unwrap(),
        // Nothing of it is as it looks: not even its time has changed.
        &|out| {
            let object = out.join("lib/string.o");
            let (text, time) = (fs::read_to_string(&object).unwrap(), fs::metadata(&object).unwrap());
            fs::write(&object, text.replace("x86_64", "x86_46")).unwrap();
            let file = File::options().append(true).open(&object).unwrap();
            file.set_modified(time.modified().unwrap()).unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        change(&project.kept().join("out"));
        project.write_more("linux/init/main.c", &format!("int number_{number};\n"));
        project.build("").exits(0).begins(KERNEL);
        assert_eq!(compiled(&project, KERNEL), ALL, "change {number}");
    }
    project.is_as_from_nothing();
}

#[test]
fn a_configuration_that_takes_in_what_lies_there_keeps_nothing() {
    let project = Project::new();
    project.write("configs/pc.config", "CONFIG_SMP=y\nCONFIG_IKHEADERS=y\n");
    for edit in 0..2 {
        project.write_more("linux/init/main.c", &format!("int number_{edit};\n"));
        let build = project.build("").exits(0);
        let finished = build.finished(KERNEL);
        assert!(finished["continued"].is_null(), "{}", build.said);
        assert_eq!(
            finished["message"],
            "its output directory is not kept: CONFIG_IKHEADERS packs all headers that lie in the output directory"
        );
        assert_eq!(compiled(&project, KERNEL), ALL);
        assert!(project.all_kept().is_empty(), "{:?}", project.all_kept());
    }
}

#[test]
fn two_kilns_at_once_never_go_on_in_the_same_directory() {
    let one = Project::new();
    let toolchain = format!("path: [\"{}\"]", one.path("toolchain/bin").display());
    one.edit("graph.ron", "path: [\"toolchain/bin\"]", &toolchain);
    one.kiln("build -j2").exits(0);
    // The same nodes with the same tools and the same cache, and so the same directory to go on in.
    let other = one.twin();
    let cache = format!("version: 1, cache: (path: \"{}\"),", one.path("cache").display());
    other.edit("graph.ron", "version: 1,", &cache);
    other.kiln("build -j2").exits(0);
    let twins = [one.twin(), one.twin()];
    for round in 0..3 {
        for (project, file) in [(&one, "init/main.c"), (&other, "lib/string.c")] {
            project.write_more(&format!("linux/{file}"), &format!("int number_{round};\n"));
        }
        let builds = [&one, &other].map(|project| {
            let mut command = project.command("build -j2 --format json-lines");
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        });
        let builds = builds.map(|build| {
            let output = build.wait_with_output().unwrap();
            Build::new(KilnOutput::new("one of two builds", &output)).exits(0)
        });
        assert!(builds.iter().any(|build| build.finished(KERNEL)["continued"] == true), "round {round}");
        assert_eq!(one.all_kept().len(), 1);
        for (project, twin) in [&one, &other].into_iter().zip(&twins) {
            for file in ["linux/init/main.c", "linux/lib/string.c"] {
                twin.write(file, &project.read(file));
            }
            project.is_as_built_in(twin);
        }
    }
}
