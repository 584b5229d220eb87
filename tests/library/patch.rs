//! Which paths a patch touches: tables of what tools write, and git as the judge of random edits.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::source::patch::{Link, PatchError, Touch, Touched, of_list, of_patch, of_raw_diff};
use proptest::prelude::*;
use tempfile::TempDir;

use Touch::{Added, Content, Mode, Removed, Replaced, Unknown};

fn shown(touched: Vec<Touched>) -> Vec<(String, Touch)> {
    touched
        .into_iter()
        .map(|Touched { path, how, .. }| (String::from_utf8_lossy(&path).into_owned(), how))
        .collect()
}

#[track_caller]
fn touches(patch: &str, strip: usize, expected: &[(&str, Touch)]) {
    let touched = of_patch(patch.as_bytes(), strip).unwrap_or_else(|error| panic!("{error} in\n{patch}"));
    let expected: Vec<_> = expected.iter().map(|(path, how)| ((*path).to_owned(), *how)).collect();
    assert_eq!(shown(touched), expected, "{patch}");
}

/// The first path's link.
fn link(touched: Vec<Touched>) -> Link {
    touched[0].link
}

#[test]
fn links_are_told_where_modes_are() {
    let of = |patch: &str| link(of_patch(patch.as_bytes(), 1).unwrap());
    let head = "diff --git a/l b/l\n";
    let edit = "--- a/l\n+++ b/l\n@@ -1 +1 @@\n-a\n+b\n";
    assert_eq!(of(&format!("{head}index 1..2 120000\n{edit}")), Link::Yes);
    assert_eq!(of(&format!("{head}index 1..2 100644\n{edit}")), Link::No);
    assert_eq!(of(&format!("{head}new file mode 120000\nindex 0..2\n")), Link::Yes);
    assert_eq!(of(&format!("{head}deleted file mode 120000\nindex 2..0\n")), Link::Yes);
    assert_eq!(of(&format!("{head}old mode 100644\nnew mode 100755\n")), Link::No);
    // git breaks a file that becomes a link up in two.
    let broken = format!("{head}deleted file mode 100644\n{head}new file mode 120000\n");
    assert_eq!(of(&broken), Link::Yes);
    assert_eq!(of("diff --git a/l b/m\nrename from l\nrename to m\n"), Link::Unknown);
    assert_eq!(of(edit), Link::Unknown);
    assert_eq!(of("--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+b\n"), Link::No);

    let raw = |modes: &str| link(of_raw_diff(format!(":{modes} 1 2 M\0l\0").as_bytes()).unwrap());
    assert_eq!(raw("100644 100755"), Link::No);
    assert_eq!(raw("100644 120000"), Link::Yes);
    assert_eq!(raw("120000 120000"), Link::Yes);
    assert_eq!(link(of_list(b"l")), Link::Unknown);
}

const EDIT: &str = "--- a/lib/a.c\n+++ b/lib/a.c\n@@ -1 +1 @@\n-a\n+b\n";

#[test]
fn git_says_what_becomes_of_each_file() {
    let head = "diff --git a/lib/a.c b/lib/a.c\n";
    let cases: &[(&str, &[(&str, Touch)])] = &[
        (&format!("{head}index 1..2 100644\n{EDIT}"), &[("lib/a.c", Content)]),
        (&format!("{head}old mode 100644\nnew mode 100755\n"), &[("lib/a.c", Mode)]),
        (&format!("{head}old mode 100644\nnew mode 100755\nindex 1..2\n{EDIT}"), &[("lib/a.c", Replaced)]),
        (&format!("{head}new file mode 100644\nindex 0..2\n"), &[("lib/a.c", Added)]),
        (
            "diff --git a/l b/l\nnew file mode 120000\nindex 0..2\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+to\n\\ No newline at end of file\n",
            &[("l", Added)],
        ),
        (&format!("{head}deleted file mode 100644\nindex 1..0\n"), &[("lib/a.c", Removed)]),
        (
            &format!("{head}index 1..2 100644\nBinary files a/lib/a.c and b/lib/a.c differ\n"),
            &[("lib/a.c", Content)],
        ),
        (
            &format!(
                "{head}index 1..2 100644\nGIT binary patch\nliteral 4\nLcmZQb%FG1-0%-v`\n\nliteral 4\nLcmZQb%FF`*0%`#|\n\n"
            ),
            &[("lib/a.c", Content)],
        ),
        (
            "diff --git a/x y b/z\nsimilarity index 100%\nrename from x y\nrename to z\n",
            &[("x y", Removed), ("z", Added)],
        ),
        (
            "diff --git a/x b/z\nsimilarity index 90%\nrename from x\nrename to z\nindex 1..2 100644\n--- a/x\n+++ b/z\n@@ -1 +1 @@\n-a\n+b\n",
            &[("x", Removed), ("z", Added)],
        ),
        ("diff --git a/x b/z\nsimilarity index 100%\ncopy from x\ncopy to z\n", &[("z", Added)]),
        // Two files that trade places.
        (
            "diff --git a/x b/y\nrename from x\nrename to y\ndiff --git a/y b/x\nrename from y\nrename to x\n",
            &[("x", Replaced), ("y", Replaced)],
        ),
        // A file becomes a link.
        (
            "diff --git a/x b/x\ndeleted file mode 100644\nindex 1..0\n--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n\
             diff --git a/x b/x\nnew file mode 120000\nindex 0..2\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+y\n\\ No newline at end of file\n",
            &[("x", Replaced)],
        ),
    ];
    for (patch, expected) in cases {
        touches(patch, 1, expected);
    }
}

#[test]
fn odd_names_are_read_as_git_and_diff_write_them() {
    let mode = "\nold mode 100644\nnew mode 100755\n";
    for (names, expected) in [
        (r#""a/f\303\244" "b/f\303\244""#, "fä"),
        (r#""a/\t\"q\\" "b/\t\"q\\""#, "\t\"q\\"),
        ("a/with a blank b/with a blank", "with a blank"),
        ("a/x b/x b/x b/x", "x b/x"),
        ("lib/no/prefix.c lib/no/prefix.c", "lib/no/prefix.c"),
        ("Makefile Makefile", "Makefile"),
        ("i/mnemonic w/mnemonic", "mnemonic"),
        ("longer/p/x other/p/x", "p/x"),
        ("a//double b//double", "double"),
    ] {
        touches(&format!("diff --git {names}{mode}"), 1, &[(expected, Mode)]);
    }
    touches(
        "--- a/with a blank\t\n+++ b/with a blank\t\n@@ -1 +1 @@\n-a\n+b\n",
        1,
        &[("with a blank", Content)],
    );
    touches("--- \"a/q\\\"\"\n+++ \"b/q\\\"\"\n@@ -1 +1 @@\n-a\n+b\n", 1, &[("q\"", Content)]);
    touches(
        "diff --git \"a/\\303\\244\" b/e\nrename from \"\\303\\244\"\nrename to e\n",
        1,
        &[("e", Added), ("ä", Removed)],
    );
    touches(&EDIT.replace('\n', "\r\n"), 1, &[("lib/a.c", Content)]);
}

#[test]
fn leading_parts_are_taken_off_as_told() {
    let edit = |old: &str, new: &str| format!("--- {old}\n+++ {new}\n@@ -1 +1 @@\n-a\n+b\n");
    touches(&edit("lib/a.c", "lib/a.c"), 0, &[("lib/a.c", Content)]);
    touches(&edit("lib/a.c", "lib/a.c"), 1, &[("lib/a.c", Content)]);
    touches(&edit("x/old/lib/a.c", "x/new/lib/a.c"), 2, &[("lib/a.c", Content)]);
    touches(&edit("./a/a.c", "./b/a.c"), 2, &[("a.c", Content)]);
    // Names of renames have no prefix, so one part less is taken off.
    touches(
        "diff --git a/sub/x b/sub/y\nrename from sub/x\nrename to sub/y\n",
        2,
        &[("x", Removed), ("y", Added)],
    );
    let error = of_patch(edit("a.c", "a.c.new").as_bytes(), 1).unwrap_err();
    assert_eq!(error.to_string(), "line 2 of the patch: a.c has no more than 1 parts to take off; try -p0");
}

#[test]
fn plain_diffs_say_less_and_are_believed_no_further() {
    let at = |old: &str, new: &str, range: &str, lines: &str| {
        format!("diff -urN o/x n/x\n--- o/x\t{old}\n+++ n/x\t{new}\n@@ {range} @@\n{lines}")
    };
    let (now, never) = ("2026-11-22 11:00:00.000000000 +0000", "1970-01-01 01:00:00.000000000 +0100");
    touches(&at(now, now, "-1 +1", "-a\n+b\n"), 1, &[("x", Content)]);
    touches(&at(never, now, "-0,0 +1", "+b\n"), 1, &[("x", Added)]);
    touches(&at(now, never, "-1 +0,0", "-b\n"), 1, &[("x", Removed)]);
    // It may have been empty, or not there.
    touches(&at(now, now, "-0,0 +1", "+b\n"), 1, &[("x", Unknown)]);
    touches("--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+a\n", 1, &[("x", Added)]);
    touches("--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", 1, &[("x", Removed)]);
    touches(
        "Only in n/lib: new\nBinary files o/b and n/b differ\nFiles o/q and n/q differ\n\
         File o/k is a directory while file n/k is a regular file\n\
         Symbolic links o/l and n/l differ\n",
        1,
        &[("b", Unknown), ("k", Unknown), ("l", Unknown), ("lib/new", Unknown), ("q", Unknown)],
    );
    touches(
        "--- o/a.c.orig\n+++ n/a.c\n@@ -1 +1 @@\n-a\n+b\n",
        1,
        &[("a.c", Unknown), ("a.c.orig", Unknown)],
    );
}

#[test]
fn one_text_may_have_mails_git_and_plain_diffs() {
    let mail = |number: u8, body: &str| {
        format!(
            "From {} Mon Sep 17 00:00:00 2001\nFrom: a <a@b>\nSubject: [PATCH] {number}\n\nrename to words\n--- \n---\n \
             lib/a.c | 2 +-\n\n{body}-- \n2.39.5\n\n",
            format!("{number}").repeat(40)
        )
    };
    let first = mail(1, "diff --git a/s b/s\nold mode 100644\nnew mode 100755\n");
    let second = mail(2, &format!("diff --git a/lib/a.c b/lib/a.c\nindex 1..2 100644\n{EDIT}"));
    let plain = "--- o/plain\n+++ n/plain\n@@ -1 +1 @@\n-a\n+b\n";
    touches(&format!("{first}{second}"), 1, &[("lib/a.c", Content), ("s", Mode)]);
    touches(&format!("{first}{second}{plain}"), 1, &[("lib/a.c", Content), ("plain", Content), ("s", Mode)]);
    let bare = "diff --git a/s b/s\nold mode 100644\nnew mode 100755\n";
    touches(
        &format!("{bare}{plain}Only in o: p\n{bare}"),
        1,
        &[("p", Unknown), ("plain", Content), ("s", Mode)],
    );
    // Added by one and removed by the next, and once more.
    let (add, remove) =
        ("diff --git a/t b/t\nnew file mode 100644\n", "diff --git a/t b/t\ndeleted file mode 100644\n");
    touches(&format!("{add}{remove}"), 1, &[("t", Replaced)]);
    touches(&format!("{add}{remove}{add}"), 1, &[("t", Added)]);
    touches("", 1, &[]);
}

#[test]
fn lines_of_a_file_are_never_taken_for_headers() {
    let patch = "--- a/x\n+++ b/x\n@@ -1,4 +1,4 @@ f\n--- a/y\n+++ b/y\n diff --git a/z b/z\n\n-- \n+-- \n";
    touches(patch, 1, &[("x", Content)]);
}

#[test]
fn a_patch_that_does_not_add_up_is_refused_with_its_line() {
    let refused = |patch: &str| of_patch(patch.as_bytes(), 1).unwrap_err().to_string();
    assert_eq!(
        refused("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n"),
        "line 3 of the patch: the hunk does not end"
    );
    assert_eq!(
        refused("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\ndiff --git a/y b/y\n"),
        "line 6 of the patch: the hunk of line 3 ends too early"
    );
    assert!(refused("--- a/x\n+++ b/x\n@@ nonsense @@\n").starts_with("line 3 of the patch: a hunk ("));
    assert!(refused(&format!("{EDIT}@@@ -1 +1 @@@\n")).starts_with("line 6 of the patch: a hunk ("));
    assert!(
        refused("\ndiff --git a/x b/y\nold mode 100644\n")
            .starts_with("line 2 of the patch: no file is named")
    );
    assert!(refused("diff --cc x\n").contains("compare it with one"));
    assert!(refused("diff --git a/x b/y\nrename to y\n").contains("a rename without its old name"));
    assert!(refused("--- \"a/x\n+++ b/x\n").contains("quotes"));
    assert_eq!(of_patch(b"lib/a.c\n", 1), Err(PatchError::NoPatch));
}

#[test]
fn raw_diffs_are_read_record_by_record() {
    let raw = |text: &str| of_raw_diff(text.replace('|', "\0").as_bytes());
    let records = ":100644 100644 1 2 M|a|:100644 100755 1 1 M|b|:100644 100755 1 2 M|c|:000000 100644 0 1 A|d|\
                   :100644 000000 1 0 D|e|:100644 120000 1 2 T|f|:100644 100644 1 1 R100|g|h|:100644 100644 1 1 C90|i|j|\
                   :100644 100644 1 0 M|k l\tm|";
    let expected = [
        ("a", Content),
        ("b", Mode),
        ("c", Replaced),
        ("d", Added),
        ("e", Removed),
        ("f", Replaced),
        ("g", Removed),
        ("h", Added),
        ("j", Added),
        ("k l\tm", Content),
    ];
    assert_eq!(shown(raw(records).unwrap()), expected.map(|(path, how)| (path.to_owned(), how)));
    assert_eq!(raw(""), Ok(Vec::new()));
    for wrong in [
        "a|",
        ":100644 100644 1 2 M|",
        ":100644 1 2 M|a|",
        ":100644 100644 1 2 Q|a|",
        ":100644 100644 1 2 R|a|",
    ] {
        let error = raw(wrong).unwrap_err().to_string();
        assert!(error.starts_with("change 1 of the raw diff: "), "{error}");
    }
}

#[test]
fn a_list_has_a_name_a_line_or_names_ended_by_nul() {
    let list =
        |text: &str| shown(of_list(text.as_bytes())).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(list("./lib/b.c\nlib/a.c\r\n\nlib/a.c\ndir/\n"), ["dir", "lib/a.c", "lib/b.c"]);
    assert_eq!(list("\"f\\303\\244\"\n\"half\n"), ["\"half", "fä"]);
    assert_eq!(list("with\nline\0\"q\"\0"), ["\"q\"", "with\nline"]);
    assert!(list("\n").is_empty());
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    File { content: Vec<u8>, executable: bool },
    Link(String),
}

type State = BTreeMap<String, Thing>;

/// Few names, so that edits meet; odd ones among them.
const NAMES: &[&str] = &[
    "a",
    "b",
    "lib/a",
    "lib/b",
    "lib/deep/a",
    "with blank",
    "lib/b b/b",
    "ä",
    "q\"uote",
    "tab\there",
    "-- a",
    "c/x",
    "d",
];

fn things() -> impl Strategy<Value = Thing> {
    let content = prop_oneof![
        Just(Vec::new()),
        Just(b"-- a/x\n++ b/x\n".to_vec()),
        Just(b"\0binary\n".to_vec()),
        Just(b"no end".to_vec()),
        proptest::collection::vec(
            prop_oneof![Just(b"x\n"), Just(b"y\n"), Just(b"\n\n"), Just(b"@\n")],
            1..12
        )
        .prop_map(|lines| lines.into_iter().flatten().copied().collect()),
    ];
    prop_oneof![
        5 => (content, any::<bool>()).prop_map(|(content, executable)| Thing::File { content, executable }),
        1 => "[a-c]".prop_map(Thing::Link),
    ]
}

fn states() -> impl Strategy<Value = (State, State)> {
    let thing = || proptest::option::weighted(0.5, things());
    let each = NAMES.iter().map(|_| (thing(), 0..4_u8, thing())).collect::<Vec<_>>();
    (each, proptest::collection::vec((0..NAMES.len(), 0..NAMES.len()), 0..3)).prop_map(|(each, renames)| {
        let (mut old, mut new) = (State::new(), State::new());
        for (name, (before, change, after)) in NAMES.iter().zip(each) {
            let after = if change == 0 { after } else { before.clone() };
            old.extend(before.map(|thing| ((*name).to_owned(), thing)));
            new.extend(after.map(|thing| ((*name).to_owned(), thing)));
        }
        for (from, to) in renames {
            if let Some(thing) = new.remove(NAMES[from]) {
                new.insert(NAMES[to].to_owned(), thing);
            }
        }
        (old, new)
    })
}

/// What really differs.
fn truth(old: &State, new: &State) -> Vec<(String, Touch)> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| {
            let how = match (old.get(name), new.get(name)) {
                (None, Some(_)) => Added,
                (Some(_), None) => Removed,
                (old, new) if old == new => return None,
                (Some(Thing::Link(_)), Some(Thing::Link(_))) => Content,
                (
                    Some(Thing::File { content: a, executable: x }),
                    Some(Thing::File { content: b, executable: y }),
                ) => {
                    if a == b {
                        Mode
                    } else if x == y {
                        Content
                    } else {
                        Replaced
                    }
                }
                _ => Replaced,
            };
            Some((name.clone(), how))
        })
        .collect()
}

struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "-q"]);
        repository
    }

    fn git(&self, args: &[&str]) -> Vec<u8> {
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.fsync=none"])
            .args(args)
            .current_dir(self.0.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn commit(&self, state: &State) {
        write(self.0.path(), state);
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "A change\n\nrename to nothing\n--- no\n"]);
    }
}

/// Makes a directory hold that state and nothing else but `.git`.
fn write(dir: &Path, state: &State) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() && !path.ends_with(".git") {
            fs::remove_dir_all(path).unwrap();
        } else if !path.ends_with(".git") {
            fs::remove_file(path).unwrap();
        }
    }
    for (name, thing) in state {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match thing {
            Thing::Link(to) => symlink(to, path).unwrap(),
            Thing::File { content, executable } => {
                fs::write(&path, content).unwrap();
                fs::set_permissions(
                    path,
                    fs::Permissions::from_mode(if *executable { 0o755 } else { 0o644 }),
                )
                .unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn what_git_says_of_an_edit_is_what_differs((old, new) in states()) {
        let repository = Repository::new();
        repository.commit(&old);
        repository.commit(&new);
        let truth = truth(&old, &new);
        let git = |args: &str| repository.git(&args.split(' ').collect::<Vec<_>>());
        let raw = of_raw_diff(&git("diff --raw -z --no-renames HEAD~1 HEAD")).unwrap();
        prop_assert_eq!(shown(raw), truth.clone(), "raw");
        let renames = of_raw_diff(&git("diff --raw -z -M10% -C HEAD~1 HEAD")).unwrap();
        prop_assert_eq!(renames.len(), truth.len());
        for args in [
            "diff --no-renames HEAD~1 HEAD",
            "diff -M10% -C HEAD~1 HEAD",
            "diff --binary -B -M HEAD~1 HEAD",
            "diff --no-prefix -U0 HEAD~1 HEAD",
            "format-patch --stdout -1",
        ] {
            let text = git(args);
            if truth.is_empty() && args.starts_with("format-patch") {
                prop_assert_eq!(of_patch(&text, 1), Err(PatchError::NoPatch));
                continue;
            }
            let touched = of_patch(&text, 1).map_err(|error| TestCaseError::fail(format!("{args}: {error}")))?;
            // Where git tells a change as one file's going and another's coming, no more is known.
            let agree = |ours: &(String, Touch), real: &(String, Touch)| {
                let vague = match ours.1 {
                    Replaced => !matches!(real.1, Added | Removed),
                    Added => args.contains("-B") && real.1 == Replaced,
                    _ => false,
                };
                ours.0 == real.0 && (ours.1 == real.1 || vague)
            };
            let ours = shown(touched);
            let all = ours.len() == truth.len() && ours.iter().zip(&truth).all(|(ours, real)| agree(ours, real));
            prop_assert!(all, "{}:\n{:?}\n{:?}\n{}", args, ours, truth, String::from_utf8_lossy(&text));
        }
        let names = of_list(&git("diff --name-only --no-renames HEAD~1 HEAD"));
        let by_nul = of_list(&git("diff --name-only --no-renames -z HEAD~1 HEAD"));
        prop_assert_eq!(&names, &by_nul);
        prop_assert_eq!(names.len(), truth.len());
    }

    #[test]
    fn what_diff_says_of_an_edit_misses_nothing((old, new) in states()) {
        let dir = tempfile::tempdir().unwrap();
        for (side, state) in [("o", &old), ("n", &new)] {
            fs::create_dir(dir.path().join(side)).unwrap();
            write(&dir.path().join(side), state);
        }
        for options in ["-ruN", "-ru"] {
            let mut command = Command::new("diff");
            command.args([options, "--no-dereference", "o", "n"]).current_dir(dir.path()).env("LC_ALL", "C");
            let text = command.output().unwrap().stdout;
            let touched = of_patch(&text, 1).map_err(|error| TestCaseError::fail(format!("{options}: {error}")))?;
            for (path, how) in truth(&old, &new) {
                // diff tells no modes. With -N it is silent on what has no lines on either side.
                let thing = old.get(&path).or_else(|| new.get(&path));
                let lineless = match thing {
                    Some(Thing::File { content, .. }) => content.is_empty(),
                    _ => true,
                };
                let empty = options == "-ruN" && lineless && matches!(how, Added | Removed);
                if how == Mode || empty {
                    continue;
                }
                let said = touched.iter().find(|touched| {
                    let named = PathBuf::from(String::from_utf8_lossy(&touched.path).into_owned());
                    // Of a directory that is on one side only it names just that.
                    Path::new(&path) == named || touched.how == Unknown && Path::new(&path).starts_with(named)
                });
                let said = said.map(|touched| touched.how);
                let agrees = match said {
                    Some(Unknown) => true,
                    Some(Content) => matches!(how, Content | Replaced),
                    said => said == Some(how),
                };
                prop_assert!(agrees, "{}: {} {:?} {:?}\n{}", options, path, how, said, String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn no_text_is_too_strange_to_be_refused_politely(
        text in proptest::collection::vec(prop_oneof![
            Just("--- a/x\n"), Just("+++ b/x\n"), Just("@@ -1 +1 @@\n"), Just("-a\n"), Just("+b\n"), Just("diff --git "),
            Just("a/x b/x\n"), Just("rename from "), Just("rename to y\n"), Just("\""), Just("\\30"), Just("Only in "), Just(": "),
            Just(" while file "), Just("File "), Just(" is a "), Just("\0"), Just(":100644 100644 1 2 M"), Just("\r\n"),
        ], 0..20),
        strip in 0..3_usize,
    ) {
        let text = text.concat();
        let _ = of_patch(text.as_bytes(), strip);
        let _ = of_raw_diff(text.as_bytes());
        let _ = of_list(text.as_bytes());
    }
}
