//! `kiln affected`: what a change touches, told before it is applied, and held against what a plan then says.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::Value;

use crate::support::project::{BOOT, CONFIG, KERNEL, KilnOutput, MATCH, Project};

const POINT: &str = "job:linux/x86_64/pc/fake/*";

/// Reads one file.
const CONFIG_RULE: &str = r#"(
    version: 1,
    per: ["source", "arch", "defconfig", "toolchain"],
    inputs: { "source": Source("{source}") },
    discover: (inputs: ["source"], by: [Fanotify]),
    steps: [["sh", "-c", "grep . {in.source}/Kconfig >{out}/.config"]],
    outputs: { "config": File(".config") },
    tools: ["sh", "grep"],
)"#;

/// Searches for a header in two directories, reads all drivers, and follows a link.
const KERNEL_RULE: &str = r#"(
    version: 1,
    per: ["source", "arch", "defconfig", "toolchain"],
    inputs: {
        "source": Source("{source}"),
        "config": Output(rule: "config", output: "config"),
    },
    discover: (inputs: ["source"], by: [Fanotify]),
    steps: [
        ["sh", "-c", "cd {in.source}; for dir in include/net include/uapi; do test -e $dir/x.h && cat $dir/x.h && break; done >{out}/header"],
        ["sh", "-c", "cd {in.source}; cat init/main.c drivers/*.c arch/link {in.config} {out}/header >{out}/bzImage"],
    ],
    outputs: { "image": File("bzImage") },
    tools: ["sh", "cat"],
)"#;

/// Says nothing of what it reads.
const WHOLE_RULE: &str = r#"(
    version: 1,
    per: ["source"],
    inputs: { "source": Source("{source}") },
    steps: [["sh", "-c", "ls {in.source} >{out}/names"]],
    outputs: { "names": File("names") },
    tools: ["sh", "ls"],
)"#;

fn fresh() -> Project {
    let project = Project::new();
    fs::remove_dir_all(project.path("linux")).unwrap();
    project.write("linux/Kconfig", "CONFIG_X86_64=y\nCONFIG_SERIAL_8250_CONSOLE=y\n");
    project.write("linux/Documentation/index.rst", "Read me.\n");
    project.write("linux/Documentation/more.rst", "More.\n");
    project.write("linux/init/main.c", "Linux version main\n");
    project.write("linux/drivers/a.c", "a\n");
    project.write("linux/drivers/net/b.c", "b\n");
    project.write("linux/include/net/y.h", "y\n");
    project.write("linux/include/uapi/x.h", "x\n");
    project.write("linux/arch/target", "target\n");
    symlink("target", project.path("linux/arch/link")).unwrap();
    project.write("rules/config.ron", CONFIG_RULE);
    project.write("rules/kernel.ron", KERNEL_RULE);
    project
}

fn built() -> Project {
    let project = fresh();
    project.kiln("build -j2").exits(0);
    project
}

/// kiln with something on its standard input.
fn fed(project: &Project, args: &str, text: &[u8]) -> KilnOutput {
    let mut command = project.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    KilnOutput::new(format!("kiln {args}"), &child.wait_with_output().unwrap())
}

/// The effect on each node, of those that have one.
fn effects(said: &KilnOutput) -> Vec<(String, String)> {
    let answer = said.json();
    let nodes = answer["nodes"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut effects: Vec<_> = nodes
        .filter(|node| node["effect"] != "untouched")
        .map(|node| (text(&node["name"]), text(&node["effect"])))
        .collect();
    effects.sort();
    effects
}

#[track_caller]
fn has(said: &KilnOutput, expected: &[(&str, &str)]) {
    let mut expected: Vec<_> =
        expected.iter().map(|(name, effect)| ((*name).to_owned(), (*effect).to_owned())).collect();
    expected.sort();
    assert_eq!(effects(said), expected, "{said}");
}

fn of_files(project: &Project, files: &str) -> KilnOutput {
    project.kiln(&format!("affected --format json --files {files}")).exits(0)
}

/// The sentences of a node.
fn because(said: &KilnOutput, name: &str) -> String {
    let answer = said.json();
    let node = answer["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap().clone();
    node["text"].as_str().unwrap().to_owned()
}

const ALL_OF_KERNEL: &[(&str, &str)] = &[(KERNEL, "touched"), (BOOT, "may-follow")];

pub fn git(dir: &Path, args: &[&str]) -> Vec<u8> {
    let who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").arg("-C").arg(dir).args(who).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub fn commit(dir: &Path, message: &str) -> String {
    git(dir, &["add", "--all"]);
    git(dir, &["commit", "--quiet", "--allow-empty", "--message", message]);
    String::from_utf8(git(dir, &["rev-parse", "HEAD"])).unwrap().trim().to_owned()
}

#[test]
fn a_patch_is_followed_from_the_file_to_the_boards() {
    let project = built();
    let patch = b"--- a/init/main.c\n+++ b/init/main.c\n@@ -1 +1 @@\n-main\n+other\n";
    let said = fed(&project, "affected", patch)
        .exits(0)
        .says("kernel:linux/x86_64/pc/fake            touched     init/main.c changes\n")
        .says(&format!("{BOOT}  may follow  if {KERNEL} comes out different\n"))
        .says("1 touched, 1 may follow")
        .says("boards: qemu-pc\n")
        .never_says(CONFIG);
    assert!(!said.out.contains(POINT), "{said}");
    let said = fed(&project, "affected --format json", patch);
    has(&said, ALL_OF_KERNEL);
    let answer = said.json();
    assert_eq!(
        (&answer["version"], &answer["source"], &answer["paths"]),
        (&1.into(), &"linux".into(), &1.into())
    );
    let node = |name: &str| {
        answer["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name).unwrap().clone()
    };
    assert_eq!(node(BOOT)["through"], KERNEL);
    assert_eq!((&node(BOOT)["board"], &node(BOOT)["test"]), (&"qemu-pc".into(), &"boot".into()));
    let because = &node(KERNEL)["because"][0];
    assert_eq!(because["because"], "file");
    assert_eq!((&because["path"], &because["change"]), (&"init/main.c".into(), &"content".into()));
    // Nothing was applied, run or recorded.
    project.plan("").has_nothing_to_do();
}

#[test]
fn an_edit_of_what_configures_may_match_other_boards() {
    let project = built();
    has(
        &of_files(&project, "Kconfig"),
        &[
            (CONFIG, "touched"),
            (KERNEL, "touched"),
            (MATCH, "may-follow"),
            (POINT, "may-follow"),
            (BOOT, "may-follow"),
        ],
    );
    let patch =
        b"--- a/Kconfig\n+++ b/Kconfig\n@@ -1,2 +1 @@\n CONFIG_X86_64=y\n-CONFIG_SERIAL_8250_CONSOLE=y\n";
    let said = fed(&project, "affected --format json", patch);
    has(
        &said,
        &[
            (CONFIG, "touched"),
            (KERNEL, "may-follow"),
            (MATCH, "may-follow"),
            (POINT, "may-follow"),
            (BOOT, "may-follow"),
        ],
    );
    assert_eq!(because(&said, POINT), format!("other boards, if {MATCH} comes out different"));
}

#[test]
fn what_nothing_reads_touches_nothing() {
    let project = built();
    let patch = b"--- a/Documentation/index.rst\n+++ b/Documentation/index.rst\n@@ -1 +1 @@\n-a\n+b\n";
    let said = fed(&project, "affected", patch).exits(0).says("nothing is touched (5 nodes)\n");
    assert_eq!(said.out.lines().count(), 1, "{said}");
    fed(&project, "affected --all", patch).exits(0).says(&format!("{KERNEL}            untouched\n"));
    // A new file in it, too, and a directory that was there before.
    let new = b"--- /dev/null\n+++ b/Documentation/sub/new.rst\n@@ -0,0 +1 @@\n+new\n";
    has(&fed(&project, "affected --format json", new), &[]);
    has(&fed(&project, "affected --format json", b""), &[]);
}

#[test]
fn exit_codes_are_for_ci() {
    let project = built();
    project.kiln("affected --files Kconfig").exits(0);
    project.kiln("affected --exit-code --files Kconfig").exits(1);
    project.kiln("affected --exit-code --files Documentation/index.rst").exits(0);
    let never_ran = fresh();
    never_ran.kiln("affected --exit-code --files Documentation/index.rst").exits(1);
}

#[test]
fn a_namesake_of_a_searched_header_is_said_in_words() {
    let project = built();
    let new = b"--- /dev/null\n+++ b/include/net/x.h\n@@ -0,0 +1 @@\n+new\n";
    let said = fed(&project, "affected --format json", new);
    has(&said, ALL_OF_KERNEL);
    let text = because(&said, KERNEL);
    assert!(text.contains("include/net/x.h is new, and include/uapi/x.h was searched for"), "{text}");
    // Nowhere near any directory that was looked into.
    let far = b"--- /dev/null\n+++ b/Documentation/x.h\n@@ -0,0 +1 @@\n+new\n";
    let text = because(&fed(&project, "affected --format json", far), KERNEL);
    assert_eq!(text, "Documentation/x.h is new, and include/uapi/x.h was searched for");
}

#[test]
fn names_count_where_they_were_looked_at() {
    let project = built();
    let new = |path: &str| format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+new\n").into_bytes();
    let of = |patch: &[u8]| fed(&project, "affected --format json", patch);
    let said = of(&new("drivers/new.c"));
    has(&said, ALL_OF_KERNEL);
    assert_eq!(because(&said, KERNEL), "drivers/new.c is new, and drivers was looked into");
    // `drivers/net` is there: a name in it is none in `drivers`. `drivers/usb` comes with its file.
    has(&of(&new("drivers/net/new.c")), &[]);
    let said = of(&new("drivers/usb/core/new.c"));
    has(&said, ALL_OF_KERNEL);
    assert_eq!(because(&said, KERNEL), "drivers/usb/core/new.c is new, and drivers was looked into");
    // And `drivers/net` goes with its last file.
    let gone = b"--- a/drivers/net/b.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-b\n";
    let said = of(gone);
    has(&said, ALL_OF_KERNEL);
    assert_eq!(because(&said, KERNEL), "drivers/net/b.c is gone, and drivers was looked into");
    project.write("linux/drivers/net/c.c", "c\n");
    project.kiln("build -j2").exits(0);
    project.write("linux/init/main.c", "Linux version again\n");
    project.kiln("build -j2").exits(0);
    has(&of(gone), &[]);
}

#[test]
fn links_count_wherever_they_are() {
    let project = built();
    let of = |patch: &str| fed(&project, "affected --format json", patch.as_bytes());
    let head = "diff --git a/Documentation/l b/Documentation/l\n";
    let said = of(&format!("{head}new file mode 120000\nindex 0..1\n"));
    has(
        &said,
        &[
            (CONFIG, "touched"),
            (KERNEL, "touched"),
            (MATCH, "may-follow"),
            (POINT, "may-follow"),
            (BOOT, "may-follow"),
        ],
    );
    assert_eq!(because(&said, CONFIG), "Documentation/l is new, and is or may be a symbolic link");
    has(&of(&format!("{head}new file mode 100644\nindex 0..1\n")), &[]);
    // A list does not say so; the tree of then does.
    has(
        &of_files(&project, "arch/link"),
        &[
            (CONFIG, "touched"),
            (KERNEL, "touched"),
            (MATCH, "may-follow"),
            (POINT, "may-follow"),
            (BOOT, "may-follow"),
        ],
    );
    has(&of_files(&project, "Documentation/index.rst"), &[]);
}

#[test]
fn where_reads_are_not_known_every_change_counts() {
    let project = fresh();
    project.write("rules/whole.ron", WHOLE_RULE);
    project.kiln("build -j2").exits(0);
    let said = of_files(&project, "Documentation/index.rst");
    has(&said, &[("whole:linux", "touched")]);
    let text = because(&said, "whole:linux");
    assert!(text.ends_with("all of the tree counts: what was read is not known"), "{text}");
}

#[test]
fn of_what_never_ran_nothing_can_be_told() {
    let project = fresh();
    let said = of_files(&project, "Documentation/index.rst");
    assert!(effects(&said).iter().all(|(_, effect)| effect == "unknown"), "{said}");
    assert_eq!(because(&said, CONFIG), "never ran");
    assert_eq!(because(&said, MATCH), "never ran");
    assert!(because(&said, POINT).starts_with("needs "), "{said}");
    project.kiln("build -j2 config:").exits(0);
    let said = of_files(&project, "Kconfig");
    assert_eq!(because(&said, CONFIG), "Kconfig may have changed");
    assert_eq!(because(&said, KERNEL), "never ran");
}

#[test]
fn a_range_of_commits_needs_no_checkout() {
    let project = fresh();
    project.edit("graph.ron", "Dir(\"linux\")", "Git(path: \"linux\")");
    let linux = project.path("linux");
    git(&linux, &["init", "--quiet"]);
    let first = commit(&linux, "first");
    project.kiln("build -j2").exits(0);
    project.write("linux/Documentation/new.rst", "new\n");
    let second = commit(&linux, "second");
    project.edit("linux/init/main.c", "main", "other");
    let third = commit(&linux, "third");
    git(&linux, &["checkout", "--quiet", &first]);
    let of = |range: &str| project.kiln(&format!("affected --format json --range {range}")).exits(0);
    has(&of(&format!("{first}..{second}")), &[]);
    has(&of(&format!("{second}..{third}")), ALL_OF_KERNEL);
    has(&of(&format!("{third}..{first}")), ALL_OF_KERNEL);
    assert_eq!(git(&linux, &["rev-parse", "HEAD"]), format!("{first}\n").into_bytes());
    project.kiln("affected --range nowhere..HEAD").exits(2).complains("git diff of nowhere..HEAD");
    project.kiln("affected --range HEAD").exits(2).complains("is no range");
}

#[test]
fn what_can_not_be_meant_is_refused() {
    let project = built();
    project.kiln("affected --files ../graph.ron").exits(2).complains("../graph.ron is not in linux");
    project.kiln("affected --files /etc/passwd").exits(2).complains("/etc/passwd is not in linux");
    fed(&project, "affected --files-from -", b"init/main.c\n/etc/passwd\n").exits(2).complains("/etc/passwd");
    fed(&project, "affected --patch -", b"--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n")
        .exits(2)
        .complains("../x");
    fed(&project, "affected", b"Hello.\n").exits(2).complains("standard input: there is no patch in it");
    project.kiln("affected --patch nowhere").exits(2).complains("can't read nowhere");
    project
        .kiln("affected windows --files x")
        .exits(2)
        .complains("no source \"windows\"")
        .complains("sources: linux");
    project.kiln("affected --files x --range a..b").exits(2);
    project.edit("graph.ron", "Dir(\"linux\")", "Dir(\"linux\"), \"other\": Dir(\"linux\")");
    project.kiln("affected --files x").exits(2).complains("which source").complains("sources: linux, other");
    project.kiln("affected linux --files Kconfig").exits(0).says(CONFIG);
}

#[test]
fn names_that_fit_nothing_are_warned_of() {
    let project = built();
    let patch = b"--- a/init/main.c\n+++ b/init/main.c\n@@ -1 +1 @@\n-a\n+b\n";
    fed(&project, "affected --strip 0", patch)
        .exits(0)
        .complains("none of the files that change is in linux");
    let said = fed(&project, "affected --strip 1", patch).exits(0);
    assert_eq!(said.err, "", "{said}");
}

/// A small change of the tree.
#[derive(Clone, Debug)]
enum Edit {
    Write(&'static str, u8),
    Remove(&'static str),
    Link(&'static str, &'static str),
    Executable(&'static str),
}

fn edit() -> impl Strategy<Value = Edit> {
    let path = prop::sample::select(vec![
        "Kconfig",
        "Documentation/index.rst",
        "Documentation/x.h",
        "Documentation/deep/down/new",
        "init/main.c",
        "init/new.c",
        "drivers/a.c",
        "drivers/c.c",
        "drivers/net/b.c",
        "drivers/usb/d.c",
        "include/net/x.h",
        "include/net/y.h",
        "include/uapi/x.h",
        "include/new/x.h",
        "arch/target",
        "arch/link",
        "top",
    ]);
    prop_oneof![
        4 => (path.clone(), 0..3_u8).prop_map(|(path, content)| Edit::Write(path, content)),
        2 => path.clone().prop_map(Edit::Remove),
        1 => (path.clone(), prop::sample::select(vec!["target", "Kconfig"])).prop_map(|(path, to)| Edit::Link(path, to)),
        1 => path.prop_map(Edit::Executable),
    ]
}

fn apply(project: &Project, edit: &Edit) {
    let full = |path: &str| format!("linux/{path}");
    match edit {
        Edit::Write(path, content) => {
            let _ = fs::remove_file(project.path(full(path)));
            project
                .write(&full(path), &format!("CONFIG_X86_64=y\nCONFIG_SERIAL_8250_CONSOLE=y\n# {content}\n"));
        }
        Edit::Remove(path) => {
            // As git does it: no directory stays empty.
            let mut path = project.path(full(path));
            let _ = fs::remove_file(&path);
            while path.pop() && path != project.path("linux") && fs::remove_dir(&path).is_ok() {}
        }
        Edit::Link(path, to) => {
            let path = project.path(full(path));
            let _ = fs::remove_file(&path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(to, path).unwrap();
        }
        Edit::Executable(path) => {
            if project.exists(&full(path)) && !project.path(full(path)).is_symlink() {
                project.chmod(&full(path), 0o755);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a plan finds to do once a change is applied has been named before, however the change was told.
    #[test]
    fn what_a_plan_then_finds_stale_was_named(edits in prop::collection::vec(edit(), 1..4)) {
        let project = fresh();
        project.edit("graph.ron", "Dir(\"linux\")", "Git(path: \"linux\")");
        let linux = project.path("linux");
        git(&linux, &["init", "--quiet"]);
        let then = commit(&linux, "then");
        project.kiln("build -j2").exits(0);

        for edit in &edits {
            apply(&project, edit);
        }
        let now = commit(&linux, "now");
        let plan = project.plan("");
        let mut stale: Vec<&str> =
            plan.verdicts().into_iter().filter(|(_, verdict)| *verdict != "fresh").map(|(node, _)| node).collect();
        stale.sort_unstable();

        let range = format!("{then}..{now}");
        let patch = git(&linux, &["diff", "--find-renames", &range]);
        let plain = git(&linux, &["format-patch", "--stdout", "--no-renames", &range]);
        let list = git(&linux, &["diff", "--name-only", "--no-renames", "-z", &range]);
        let by_range = project.kiln(&format!("affected --format json --range {range}"));
        let told = [
            ("range", by_range),
            ("patch", fed(&project, "affected --format json", &patch)),
            ("mail", fed(&project, "affected --format json --patch -", &plain)),
            ("list", fed(&project, "affected --format json --files-from -", &list)),
        ];
        for (how, said) in told {
            // An empty mail has no patch in it.
            if patch.is_empty() && how == "mail" {
                continue;
            }
            let said = said.exits(0);
            let named = effects(&said);
            for node in &stale {
                prop_assert!(
                    named.iter().any(|(name, effect)| name == node && effect != "unknown"),
                    "{node} is {} and was not named by {how} of {edits:?}:\n{said}", plan.verdict(node)
                );
            }
            // And where all is said, nothing is named that does not follow.
            if how == "range" {
                let touched: Vec<&String> =
                    named.iter().filter(|(_, effect)| effect == "touched").map(|(name, _)| name).collect();
                for node in touched {
                    prop_assert!(stale.contains(&node.as_str()), "{node} is fresh, but was named for {edits:?}:\n{said}");
                }
            }
        }
    }
}
