//! Two builds at once use the cores and no more: one GNU make jobserver serves both, and all makes below them.

use crate::support::project::Project;

/// Calls a make as kbuild calls that of the programs below `tools`, which calls another: of `MAKEFLAGS`, the words that begin
/// with `--j` and a bare `-j` are handed on.
const TOOLS_MAKEFILE: &str = "\
all:
\t$(MAKE) MAKEFLAGS=\"$(filter --j% -j,$(MAKEFLAGS))\" -f tools.mk
";

const TOOLS: &str = "\
all:
\t$(MAKE) -f jobs.mk
";

/// A make that says when each of its jobs begins and ends.
const MAKEFILE: &str = "\
jobs := 1 2 3 4 5 6
all: $(jobs)
$(jobs):
\t@date +'begin %s%N' >marks.$@
\t@sleep 0.05
\t@date +'end %s%N' >>marks.$@
";

#[test]
fn two_makes_share_one_jobserver() {
    let project = Project::with_graph(
        r#"(version: 1, actions: { "one": (rule: "compile"), "other": (rule: "compile", params: { "dir": "2" }) })"#,
    );
    project.write("Makefile", MAKEFILE);
    project.write(
        "rules/compile.ron",
        r#"(
            version: 1,
            params: { "dir": (type: Str, default: "1") },
            inputs: { "makefile": File("Makefile") },
            // The name makes it another action: equal ones run once.
            env: { "DIR": "{dir}" },
            steps: [["make", "-f", "{in.makefile}"], ["sh", "-c", "cat marks.* >marks"]],
            outputs: { "marks": File("marks") },
            tools: ["make", "sh", "cat", "date", "sleep"],
            export: "{dir}",
            resources: (jobserver: true),
        )"#,
    );
    project.build("").exits(0).runs(&["compile:one", "compile:other"]);

    let marks = project.read("out/1/marks") + &project.read("out/2/marks");
    assert_eq!(marks.lines().count(), 24);
    assert_eq!(most_at_once(&marks), 2, "never more than -j2, and both are used");
}

#[test]
fn makes_below_tools_share_the_jobserver_without_a_warning() {
    let project = Project::with_graph(r#"(version: 1, actions: { "one": (rule: "compile") })"#);
    project.write("Makefile", TOOLS_MAKEFILE);
    project.write("tools.mk", TOOLS);
    project.write("jobs.mk", MAKEFILE);
    project.write(
        "rules/compile.ron",
        r#"(
            version: 1,
            inputs: { "makefile": File("Makefile"), "tools": File("tools.mk"), "jobs": File("jobs.mk") },
            steps: [
                ["cp", "{in.tools}", "tools.mk"],
                ["cp", "{in.jobs}", "jobs.mk"],
                ["make", "-f", "{in.makefile}"],
                ["sh", "-c", "cat marks.* >marks"],
            ],
            outputs: { "marks": File("marks"), "log": Log("log") },
            tools: ["make", "sh", "cat", "cp", "date", "sleep"],
            export: "out",
            resources: (jobserver: true),
        )"#,
    );
    project.build("").exits(0).runs(&["compile:one"]);

    let log = project.read("out/out/log");
    assert!(!log.contains("warning"), "{log}");
    assert_eq!(most_at_once(&project.read("out/out/marks")), 2, "{log}");
}

/// How many jobs ran at the same time, at most.
fn most_at_once(marks: &str) -> i32 {
    let mut marks: Vec<(u128, i32)> = marks
        .lines()
        .map(|mark| match mark.split_once(' ').unwrap() {
            ("begin", time) => (time.parse().unwrap(), 1),
            ("end", time) => (time.parse().unwrap(), -1),
            _ => panic!("{mark}"),
        })
        .collect();
    marks.sort_unstable();
    let at_once = marks.iter().scan(0, |running, (_, change)| {
        *running += change;
        Some(*running)
    });
    at_once.max().unwrap_or(0)
}
