//! Every row of the table in docs/rules.md: what a change is to a build that would continue where its last run ended.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use crate::support::project::{KERNEL, Project, repository};

/// A row: what changes, what the next run does, and why.
type Row = [String; 3];

fn table() -> Vec<Row> {
    let docs = fs::read_to_string(repository("docs/rules.md")).unwrap();
    let (_, section) = docs.split_once("\n## Continuing\n").unwrap();
    let section = section.split_once("\n## ").unwrap().0;
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells: Vec<String> =
            row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("not three cells: {cells:?}"))
    })
    .collect()
}

/// What a row is about, by the beginning of its first cell; examples of it, each with what the message says of it.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "a file that nothing read changes",
        &[
            (&|project| project.write("linux/arch/x86/include/linux/unused.h", "int unused;\n"), ""),
            (&|project| project.write_more("linux/drivers/noisy.c", "int unread;\n"), ""),
        ],
    ),
    (
        "times of files change",
        &[
            (&|project| set_time(project, "linux/init/main.c", SystemTime::UNIX_EPOCH), ""),
            (&|project| set_time(project, "linux/lib/string.c", SystemTime::now()), ""),
            (&|project| set_time(project, "linux/lib/Makefile", SystemTime::now()), ""),
        ],
    ),
    (
        "content of a file that only compilations",
        &[
            (&|project| project.edit("linux/init/main.c", "Hello", "Hullo"), ""),
            (&|project| project.edit("linux/include/linux/virtio.h", "int id", "long id"), ""),
            (
                &|project| {
                    project.edit("linux/lib/string.c", "int strlen", "long strlen");
                    set_time(
                        project,
                        "linux/lib/string.c",
                        SystemTime::UNIX_EPOCH + Duration::from_hours(100_000),
                    );
                },
                "",
            ),
        ],
    ),
    (
        "content of a makefile",
        &[
            (&|project| project.edit("linux/lib/Makefile", "digit_&", "number_&"), "lib/Makefile changed"),
            (
                &|project| project.edit("linux/drivers/Makefile", "-DPORTS", "-DNO_PORTS"),
                "drivers/Makefile changed",
            ),
            (&|project| project.write_more("linux/Makefile", "# A word.\n"), "Makefile changed"),
            (
                &|project| project.write_more("linux/arch/x86/Makefile", "export A := y\n"),
                "arch/x86/Makefile changed",
            ),
            (
                &|project| project.write_more("linux/scripts/Makefile.build", "# A word.\n"),
                "scripts/Makefile.build changed",
            ),
        ],
    ),
    (
        "content of anything below `scripts`",
        &[(&|project| project.write_more("linux/scripts/cc.awk", "# A word.\n"), "scripts/cc.awk changed")],
    ),
    (
        "content of anything else",
        &[
            (&|project| project.write_more("linux/lib/digits.txt", "2\n"), "lib/digits.txt changed"),
            (
                &|project| project.write_more("linux/arch/x86/entry/syscalls.tbl", "2\topen\n"),
                "arch/x86/entry/syscalls.tbl changed",
            ),
        ],
    ),
    (
        "a file or directory is new or gone in a directory",
        &[
            (&|project| project.write("linux/lib/errata.h", "int erratum;\n"), "lib/errata.h is new or gone"),
            (&|project| project.remove("linux/drivers/noisy.c"), "drivers/noisy.c is new or gone"),
            (&|project| project.write("linux/lib/feature_new", ""), "lib/feature_new is new or gone"),
            (
                &|project| project.write("linux/drivers/plug_new.c", "int plug;\n"),
                "drivers/plug_new.c is new or gone",
            ),
            (&|project| project.remove("linux/drivers/broken.c"), "drivers/broken.c is new or gone"),
            (&|project| project.write("linux/localversion-new", "-new\n"), "localversion-new is new or gone"),
            (&|project| fs::create_dir(project.path("linux/lib/new")).unwrap(), "lib/new is new or gone"),
        ],
    ),
    (
        "a file is new or gone elsewhere",
        &[(
            &|project| project.write("linux/arch/x86/include/linux/errata.h", "int linux_erratum;\n"),
            "arch/x86/include/linux/errata.h is new or gone",
        )],
    ),
    (
        "a file becomes executable",
        &[
            (&|project| project.chmod("linux/lib/string.c", 0o755), "lib/string.c has another mode"),
            (&|project| project.chmod("linux/drivers/pl011.c", 0o755), "drivers/pl011.c has another mode"),
        ],
    ),
    (
        "a symbolic link is new",
        &[(
            &|project| symlink("nowhere", project.path("linux/arch/x86/include/linux/link")).unwrap(),
            "arch/x86/include/linux/link is or was a link, or another kind of file",
        )],
    ),
    (
        "a file that was read has a time in the future",
        &[(
            &|project| {
                project.edit("linux/init/main.c", "Hullo", "Hello");
                set_time(project, "linux/lib/string.c", SystemTime::now() + Duration::from_hours(1));
            },
            "times of files can't be compared",
        )],
    ),
];

type Example = (&'static (dyn Fn(&Project) + Sync), &'static str);

fn set_time(project: &Project, path: &str, time: SystemTime) {
    File::options().append(true).open(project.path(path)).unwrap().set_modified(time).unwrap();
}

#[test]
fn every_row_of_the_table_is_so() {
    let rows = table();
    assert_eq!(rows.len(), EXAMPLES.len(), "{rows:#?}");
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    if !project.traces("what a change is") {
        return;
    }
    for ([change, decision, why], (begins, examples)) in rows.iter().zip(EXAMPLES) {
        assert!(change.starts_with(begins), "{change:?} is no row of {begins:?}");
        for (number, (edit, what)) in examples.iter().enumerate() {
            edit(&project);
            let build = project.build("").exits(0);
            match decision.as_str() {
                "makes no difference" => drop(build.runs(&[])),
                "continues" => drop(build.continues(KERNEL)),
                "starts from nothing" => drop(build.starts_anew(KERNEL, &format!("{what}: {why}"))),
                other => panic!("{other:?} is no decision"),
            }
            assert_eq!(project.all_kept().len(), 1, "{change}, example {number}");
            project.is_as_from_nothing();
        }
    }
}

/// The build passes where what it made before is still there, and an empty directory shows that nothing can make it.
#[test]
fn a_rule_that_is_gone_fails_the_build() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let makefile = project.read("linux/lib/Makefile");
    let (before, after) = makefile.split_once("$(obj)/digits.h: $(src)").unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    project.write("linux/lib/Makefile", &format!("{before}{after}"));
    let build = project.build("").exits(1);
    assert_eq!(build.finished(KERNEL)["outcome"], "fail");
    project.write("linux/lib/Makefile", &makefile);
    project.build("").exits(0).runs(&[]);
    project.is_as_from_nothing();
}
