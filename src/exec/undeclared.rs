//! Finds what a failed step lacked because its rule does not declare it.
//!
//! Steps see only what their rule declares. The kernel does not report failed look-ups, but programs that fail because of one
//! print a message: these are searched for names of files that this machine has.

use std::path::{Path, PathBuf};

use crate::graph::Action;
use crate::host::{Closure, find_program, package_of};

/// How messages say that something was not found.
const NOT_FOUND: [&str; 9] = [
    "not found",
    "No such file or directory",
    "cannot find -l",
    "an't open",
    "annot open",
    "bad interpreter",
    "cannot execute",
    "annot exec",
    "an't exec",
];

/// How messages about a program begin that could not be started. In other messages, a name may be any file's.
const STARTS_PROGRAMS: [&str; 9] =
    ["make", "env:", "xargs:", "nice:", "timeout:", "find:", "nohup:", "tar", "gcc:"];

/// Directories that the sandbox itself provides.
const OWN: [&str; 5] = ["/proc", "/sys", "/dev", "/kiln", "/etc/ld.so"];

/// What was missing, and what the rule has to declare.
pub(super) fn explain(action: &Action, shown: &Closure, log: &[String]) -> Option<String> {
    let rule = format!("rules/{}.ron", action.rule.name);
    let mut found: Vec<String> = Vec::new();
    for line in log.iter().filter(|line| NOT_FOUND.iter().any(|words| line.contains(words))) {
        let more = missing(line, action, shown, &rule);
        found.extend(more.filter(|text| !found.contains(text)));
    }
    (!found.is_empty()).then(|| found.join("; "))
}

fn missing(line: &str, action: &Action, shown: &Closure, rule: &str) -> Option<String> {
    if let Some((_, rest)) = line.split_once("cannot find -l") {
        let name: String = rest.chars().take_while(|c| !c.is_whitespace() && *c != ':').collect();
        return Some(format!(
            "the linker finds no library `{name}`: add `Library(\"{name}\")` to `host` of {rule}, and install it if \
             it is missing"
        ));
    }
    words(line).find_map(|word| {
        if word.starts_with('/') {
            return path(Path::new(word), shown, rule);
        }
        let program = || program(word, action, shown, rule);
        if is_name(word) && names_a_program(line, word) { program() } else { None }
    })
}

/// The words of a line, without quotes, colons and brackets around them.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let around = |c: char| "\"'`:,;()[]\u{2018}\u{2019}".contains(c);
    line.split_whitespace().map(move |word| word.trim_matches(around)).filter(|word| !word.is_empty())
}

fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c)) && !word.starts_with(['-', '.'])
}

/// Whether a line says that a program of that name could not be started.
fn names_a_program(line: &str, word: &str) -> bool {
    let shell = [": not found", ": command not found", ": inaccessible or not found"];
    shell.iter().any(|end| line.contains(&format!("{word}{end}")))
        || STARTS_PROGRAMS.iter().any(|start| line.starts_with(start))
        || line.contains("exec")
        || line.contains("run command")
        || line.contains("Errno 2")
}

fn program(name: &str, action: &Action, shown: &Closure, rule: &str) -> Option<String> {
    match find_program(name, &action.tool_path) {
        Some(path) if !shown.shows(&path) => {
            Some(format!("`{name}` is not declared: add it to `tools` of {rule}"))
        }
        Some(_) => None,
        // An optional tool, or one that nobody declared.
        None => {
            let package = package_of(name)?;
            let declared = action.tools.iter().any(|tool| tool.program == name);
            let declare = if declared { String::new() } else { format!(", and add it to `tools` of {rule}") };
            Some(format!("`{name}` is not installed (on Debian: apt install {package}){declare}"))
        }
    }
}

fn path(path: &Path, shown: &Closure, rule: &str) -> Option<String> {
    let is_own = OWN.iter().any(|own| path.starts_with(own));
    if is_own || shown.shows(path) || path.parent().is_none() {
        return None;
    }
    let what = path.metadata().ok()?;
    let is_program = what.is_file() && find_program(&path.to_string_lossy(), &[]).is_some();
    let list = if is_program { "tools" } else { "host" };
    Some(format!("`{}` is not declared: add it to `{list}` of {rule}", path.display()))
}

/// The interpreter of a script that could not be executed, if the rule does not declare it.
pub(super) fn interpreter(script: &Path, action: &Action, shown: &Closure) -> Option<String> {
    let text = std::fs::read(script).ok()?;
    let line = text.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let interpreter = PathBuf::from(line.split_whitespace().next()?);
    if shown.shows(&interpreter) {
        return None;
    }
    let name = interpreter.file_name()?.to_string_lossy().into_owned();
    Some(format!(
        "it is a script of {}, which is not declared: add `{name}` to `tools` of rules/{}.ron",
        interpreter.display(),
        action.rule.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_programs_are_told_from_names_of_files() {
        for (line, word) in [
            ("sh: 1: lz4: not found", "lz4"),
            ("/bin/sh: 1: lz4: not found", "lz4"),
            ("bash: line 1: pahole: command not found", "pahole"),
            ("make[1]: echo: No such file or directory", "echo"),
            ("make: zstd: No such file or directory", "zstd"),
            ("env: 'python3': No such file or directory", "python3"),
            ("env: \u{2018}python3\u{2019}: No such file or directory", "python3"),
            ("tar (child): zstd: Cannot exec: No such file or directory", "zstd"),
            ("Can't exec \"lz4\": No such file or directory at x line 1.", "lz4"),
            ("FileNotFoundError: [Errno 2] No such file or directory: 'xz'", "xz"),
            ("timeout: failed to run command 'bc': No such file or directory", "bc"),
            ("gcc: fatal error: cannot execute 'as': execvp: No such file or directory", "as"),
        ] {
            assert!(NOT_FOUND.iter().any(|words| line.contains(words)), "{line}");
            assert!(words(line).any(|found| found == word), "{line}");
            assert!(names_a_program(line, word), "{line}");
        }
        assert!(!names_a_program("cat: file: No such file or directory", "file"));
        assert!(!names_a_program("init/main.c:1:10: fatal error: sort: No such file or directory", "sort"));
    }
}
