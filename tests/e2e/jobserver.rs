//! Two builds at once use the cores and no more: one GNU make jobserver serves both.

use crate::project::Project;

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
    let mut marks: Vec<(u128, i32)> = marks
        .lines()
        .map(|mark| match mark.split_once(' ').unwrap() {
            ("begin", time) => (time.parse().unwrap(), 1),
            ("end", time) => (time.parse().unwrap(), -1),
            _ => panic!("{mark}"),
        })
        .collect();
    marks.sort_unstable();
    assert_eq!(marks.len(), 24);
    let at_once = marks.iter().scan(0, |running, (_, change)| {
        *running += change;
        Some(*running)
    });
    assert_eq!(at_once.max(), Some(2), "never more than -j2, and both are used");
}
