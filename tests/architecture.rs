//! The design's dependency direction, held against the code: which module may use which, and who may touch the
//! terminal, the environment and the process.
//!
//! A small reader is enough: paths that begin with `crate::` are found by text, comments and tests left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and those that it may use. The phases come first, each after those it builds on; then the leaves.
///
/// `spec` knows the predicates of boards (`kernel`), to tell a mistake in one where it stands. `source` keeps the
/// listings that `store` stores. Only `kinds` joins kernels and labs to the engine; `report` reads the record that a lab's
/// job leaves.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "digest", "exec", "gentoo", "graph", "host", "kinds", "lab", "plan", "remote", "report",
            "session", "source", "spec", "store", "text",
        ],
    ),
    (
        "session",
        &[
            "digest", "exec", "gentoo", "graph", "host", "kinds", "lab", "plan", "remote", "report",
            "source", "spec", "store",
        ],
    ),
    ("report", &["digest", "exec", "graph", "lab", "plan", "spec", "store", "text"]),
    ("kinds", &["digest", "exec", "gentoo", "graph", "kernel", "lab", "plan", "shell", "spec", "store"]),
    ("exec", &["digest", "graph", "host", "plan", "remote", "shell", "source", "spec", "store"]),
    ("plan", &["digest", "graph", "host", "remote", "source", "spec", "store"]),
    ("graph", &["spec"]),
    ("spec", &["digest", "gentoo", "kernel"]),
    ("digest", &[]),
    ("host", &["digest", "source"]),
    ("kernel", &["digest"]),
    ("gentoo", &["net", "text"]),
    ("lab", &["net", "text"]),
    ("net", &[]),
    ("shell", &[]),
    ("text", &[]),
    ("remote", &["digest", "net", "source", "store", "text"]),
    ("source", &["digest"]),
    ("store", &["digest", "source"]),
];

/// What only the command line may do.
const ONLY_CLI: &[&str] = &[
    "print!(",
    "println!(",
    "eprint!(",
    "eprintln!(",
    "dbg!(",
    "std::env",
    "process::exit",
    "io::stdout",
    "io::stderr",
];

/// Where it is done elsewhere, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("src/exec/sandbox/helper.rs", "eprintln!(", "a process of its own, whose control socket is broken"),
    ("src/exec/sandbox/helper.rs", "process::exit", "a process of its own, which never returns"),
    ("src/exec/sandbox/init.rs", "process::exit", "a step that can't be started, after fork"),
    ("src/host/ask.rs", "std::env::join_paths", "joins a text, and reads no environment"),
];

/// A line of code that is no comment, with its number.
struct Line {
    file: PathBuf,
    number: usize,
    code: String,
}

impl Line {
    fn module(&self) -> String {
        let below_src = self.file.strip_prefix("src").unwrap();
        below_src
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned()
    }

    fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }
}

/// All code below `src/` without comments and without test modules.
fn code() -> Vec<Line> {
    let mut files = Vec::new();
    let mut dirs = vec![PathBuf::from("src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_stem().is_some_and(|stem| stem != "tests")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    files.into_iter().flat_map(|file| lines(&file)).collect()
}

fn lines(file: &Path) -> Vec<Line> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let code = |line: &str| {
        // `//` in a text, as in an address, has no space after it.
        let end = line.find("// ").or_else(|| line.trim_start().starts_with("//").then_some(0));
        end.map_or(line, |end| &line[..end]).to_owned()
    };
    text.lines()
        .enumerate()
        // By custom of this code, a file's unit tests come last.
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(index, line)| Line { file: file.to_owned(), number: index + 1, code: code(line) })
        .collect()
}

/// The first names of all paths in a line that start at the crate's root, those of `use crate::{a, b}` included.
fn used(code: &str) -> Vec<String> {
    names_after("crate::", code)
}

/// The first names after each `prefix` in a line, those of a group included.
fn names_after(prefix: &str, code: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(top_level(group).into_iter().map(|part| name(part.trim()))),
            None => names.push(name(rest)),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The parts of a group `a::{b, c}, d}`, up to its end.
fn top_level(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&group[start..at]);
                return parts;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts
}

fn fail(violations: &[String]) {
    let mut text = String::new();
    for violation in violations {
        writeln!(text, "  {violation}").unwrap();
    }
    assert!(violations.is_empty(), "the code breaks the design's rules:\n{text}");
}

#[test]
fn dependencies_point_one_way() {
    let table: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut violations = Vec::new();
    for line in code() {
        let module = line.module();
        if module == "main" || module == "lib" {
            continue;
        }
        let place = line.place();
        let Some(allowed) = table.get(&*module) else {
            violations
                .push(format!("{place}: module `{module}` is not in the table of tests/architecture.rs"));
            continue;
        };
        for name in used(&line.code).into_iter().filter(|name| *name != module) {
            if !allowed.contains(&&*name) {
                violations.push(format!("{place}: `{module}` may not use `crate::{name}`"));
            }
        }
    }
    fail(&violations);
}

/// The table itself has no circle, so that it orders the modules.
#[test]
fn the_table_is_an_order() {
    let mut left: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    while !left.is_empty() {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, uses)| uses.iter().all(|name| !left.contains_key(name)))
            .map(|(name, _)| *name)
            .collect();
        assert!(!free.is_empty(), "these modules need each other: {:?}", left.keys());
        left.retain(|name, _| !free.contains(name));
    }
}

#[test]
fn only_the_command_line_touches_terminal_environment_and_process() {
    let mut violations = Vec::new();
    for line in code() {
        if matches!(&*line.module(), "cli" | "main") {
            continue;
        }
        for word in ONLY_CLI.iter().filter(|word| contains_word(&line.code, word)) {
            let excused = EXCEPTIONS.iter().any(|(file, what, _)| {
                line.file == Path::new(file) && line.code.contains(what) && what.starts_with(word)
            });
            if !excused {
                violations.push(format!("{}: only `cli` may use `{word}`", line.place()));
            }
        }
    }
    fail(&violations);
}

fn contains_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// Places in files are for the decoder and the checks: `spec::lower` hands on plain values.
#[test]
fn only_the_spec_sees_places_of_values() {
    let outside = code().into_iter().filter(|line| line.module() != "spec");
    let violations = outside.filter(|line| contains_word(&line.code, "Spanned"));
    fail(&violations.map(|line| format!("{}: places stay in `spec`", line.place())).collect::<Vec<_>>());
}

/// What axes, boards and roots mean is resolved in `spec::instance`.
#[test]
fn the_graph_knows_no_kernels_and_no_labs() {
    const WORDS: [&str; 7] = ["board", "lab", "kernel", "gentoo", "stage3", "toolchain", "defconfig"];
    let graph = code().into_iter().filter(|line| line.module() == "graph");
    let violations = graph.flat_map(|line| {
        let code = line.code.to_lowercase();
        let known = WORDS
            .into_iter()
            .filter(move |word| code.split(|c: char| !c.is_alphanumeric()).any(|part| part == *word));
        known.map(move |word| format!("{}: `graph` may not know `{word}`", line.place())).collect::<Vec<_>>()
    });
    fail(&violations.collect::<Vec<_>>());
}

/// An exception that excuses nothing is an invitation.
#[test]
fn every_exception_is_needed() {
    let code = code();
    for (file, what, _) in EXCEPTIONS {
        let needed = code.iter().any(|line| line.file == Path::new(file) && line.code.contains(what));
        assert!(needed, "{file} does not use `{what}` any more: take it off the list");
    }
}

/// Folders whose files import each other in one direction. A `mod.rs` is left out: it declares the others.
const ONE_DIRECTION: &[&str] = &["cli", "plan", "report", "session"];

#[test]
fn files_of_a_folder_have_no_cycles() {
    let code = code();
    for folder in ONE_DIRECTION {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in code.iter().filter(|line| line.module() == *folder) {
            let below = line.file.strip_prefix("src").unwrap().strip_prefix(folder).unwrap();
            let parts: Vec<&str> = below.iter().map(|part| part.to_str().unwrap()).collect();
            let unit = parts[0].trim_end_matches(".rs");
            if unit == "mod" {
                continue;
            }
            let mut names = names_after(&format!("crate::{folder}::"), &line.code);
            if parts.len() == 1 || parts[1..] == ["mod.rs"] {
                names.extend(names_after("super::", &line.code));
            }
            names.retain(|name| name != unit);
            uses.entry(unit.to_owned()).or_default().extend(names);
        }
        while !uses.is_empty() {
            let free: Vec<String> = uses
                .iter()
                .filter(|(_, names)| names.iter().all(|name| !uses.contains_key(name)))
                .map(|(unit, _)| unit.clone())
                .collect();
            assert!(!free.is_empty(), "files of src/{folder} import each other in a circle: {uses:#?}");
            uses.retain(|unit, _| !free.contains(unit));
        }
    }
}

/// The longest file of a command, in lines: it parses, calls the session, and prints.
const LONGEST_COMMAND: usize = 120;

#[test]
fn commands_only_parse_call_and_print() {
    let mut lines: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for line in code().into_iter().filter(|line| line.module() == "cli") {
        *lines.entry(line.file).or_default() += 1;
    }
    let violations: Vec<String> = lines
        .into_iter()
        .filter(|(_, lines)| *lines > LONGEST_COMMAND)
        .map(|(file, lines)| {
            format!("{}: {lines} lines; move what is no command to `session`", file.display())
        })
        .collect();
    fail(&violations);
}

#[test]
fn the_reader_finds_paths() {
    assert_eq!(used("use crate::{graph::{A, B}, plan};"), ["graph", "plan"]);
    assert_eq!(used("pub fn f(x: &crate::spec::Spec) -> crate::digest::Digest {"), ["spec", "digest"]);
    assert_eq!(used("use my_crate::other; use std::fmt;"), Vec::<String>::new());
    assert!(contains_word("    println!(\"x\");", "println!("));
    assert!(!contains_word("    eprintln!(\"x\");", "println!("));
}
