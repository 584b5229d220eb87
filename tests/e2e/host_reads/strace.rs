//! What the processes inside a sandbox do with paths, as strace sees it from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::host_view::View;

/// System calls by which a process learns of a path, or makes a process that does.
const CALLS: &str = "execve,execveat,open,openat,openat2,access,faccessat,faccessat2,stat,lstat,newfstatat,statx,\
                     readlink,readlinkat,getdents64,chdir,pivot_root,clone,clone3,fork,vfork";

/// What came of a system call on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// There was nothing.
    Missing,
    /// It was there, and was looked at: `stat`, `access`, `readlink`.
    Seen,
    /// It was opened or executed.
    Opened,
    /// It is a directory, and its names were read.
    Listed,
}

/// Paths, as processes name them, and what they did with each.
pub type Uses = BTreeMap<PathBuf, BTreeSet<Use>>;

/// Runs a command of the shell under strace, which must pass, and returns what processes in sandboxes did. `dir` takes
/// the records and must not exist.
pub fn trace(view: &View, dir: &Path, command: &str) -> Uses {
    fs::create_dir_all(dir).unwrap();
    let records = dir.join("record").display().to_string();
    let strace = format!(
        "strace -ff -o {records} -y -qq --decode-pids=pidns --seccomp-bpf -e signal=none -e trace={CALLS} {command}"
    );
    let (passed, printed) = view.run(&strace);
    assert!(passed, "{strace}\n{printed}");
    let uses = Processes::read(dir).uses();
    fs::remove_dir_all(dir).unwrap();
    uses
}

/// The records of all processes, by process id.
struct Processes(BTreeMap<u32, Vec<Call>>);

/// A system call that ended.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// It changed the root: from here on, the process is inside a sandbox.
    Pivot,
    /// It made a process.
    Child(u32),
    Path(PathBuf, Use),
    /// It named a path relative to a directory that the record does not tell.
    Relative,
}

impl Processes {
    fn read(dir: &Path) -> Self {
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let id = path.extension().unwrap().to_str().unwrap().parse().unwrap();
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            processes.insert(id, text.lines().filter_map(parse).collect());
        }
        Self(processes)
    }

    /// What the descendants of those do that change their root. They themselves only set up the sandbox.
    fn uses(&self) -> Uses {
        let mut left: Vec<u32> = Vec::new();
        for calls in self.0.values() {
            let inside = calls.iter().skip_while(|call| **call != Call::Pivot);
            left.extend(inside.filter_map(|call| if let Call::Child(id) = call { Some(*id) } else { None }));
        }
        assert!(!left.is_empty(), "no process made a sandbox");
        let (mut uses, mut relative) = (Uses::new(), 0);
        while let Some(id) = left.pop() {
            for call in self.0.get(&id).into_iter().flatten() {
                match call {
                    Call::Child(id) => left.push(*id),
                    Call::Path(path, what) => {
                        uses.entry(path.clone()).or_default().insert(*what);
                    }
                    Call::Relative => relative += 1,
                    Call::Pivot => {}
                }
            }
        }
        if relative > 0 {
            // `access` and its kin do not name their directory; steps run in /kiln.
            println!("{relative} calls of unknown directories are left out");
        }
        uses
    }
}

/// Reads a line such as `openat(AT_FDCWD</kiln/out>, "a.h", O_RDONLY) = 3</kiln/out/a.h>`.
fn parse(line: &str) -> Option<Call> {
    let (call, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let failed = result.starts_with("-1 ");
    match call {
        "pivot_root" => return (!failed).then_some(Call::Pivot),
        "clone" | "clone3" | "fork" | "vfork" => return child(result).map(Call::Child),
        _ => {}
    }
    let what = match (call, failed) {
        (_, true) if result.starts_with("-1 ENOENT") || result.starts_with("-1 ENOTDIR") => Use::Missing,
        // A link that is none, permissions: something is there.
        (_, true) => Use::Seen,
        ("getdents64", false) => Use::Listed,
        ("open" | "openat" | "openat2" | "execve" | "execveat", false) => Use::Opened,
        (_, false) => Use::Seen,
    };
    let (base, after) = base(arguments);
    let named = if call == "getdents64" { Some(String::new()) } else { quoted(after) };
    let path = match (base, named?) {
        (_, named) if named.starts_with('/') => PathBuf::from(named),
        (Some(base), named) if named.is_empty() => base,
        (Some(base), named) => base.join(named),
        (None, _) => return Some(Call::Relative),
    };
    path.is_absolute().then_some(Call::Path(path, what))
}

/// The id of a new process: `5 /* 1234 in strace's PID NS */`, or `1234` in that namespace.
fn child(result: &str) -> Option<u32> {
    let translated = result.split_once("/* ").map(|(_, text)| text);
    translated.unwrap_or(result).split_whitespace().next()?.parse().ok()
}

/// The directory that the first argument is, and what follows it.
fn base(arguments: &str) -> (Option<PathBuf>, &str) {
    if arguments.starts_with('"') {
        return (None, arguments);
    }
    let Some((_, rest)) = arguments.split_once('<') else { return (None, arguments) };
    let Some((path, rest)) = rest.split_once('>') else { return (None, arguments) };
    (Some(PathBuf::from(path)), rest.trim_start_matches([',', ' ']))
}

/// The text between the first two quotes.
fn quoted(text: &str) -> Option<String> {
    let mut characters = text.strip_prefix('"')?.chars();
    let mut path = String::new();
    loop {
        match characters.next()? {
            '"' => return Some(path),
            '\\' => path.push(characters.next()?),
            other => path.push(other),
        }
    }
}

#[test]
fn records_of_strace_are_read() {
    let path = |path: &str, what| Some(Call::Path(path.into(), what));
    for (line, call) in [
        (
            r#"openat(AT_FDCWD</kiln/out>, "/etc/ld.so.cache", O_RDONLY) = -1 ENOENT (No such file or directory)"#,
            path("/etc/ld.so.cache", Use::Missing),
        ),
        (
            r#"openat(AT_FDCWD</usr>, "lib/a \"b", O_RDONLY) = 3</usr/lib/a "b>"#,
            path("/usr/lib/a \"b", Use::Opened),
        ),
        (
            r#"newfstatat(3</usr/lib>, "", {st_mode=S_IFDIR|0755, ...}, AT_EMPTY_PATH) = 0"#,
            path("/usr/lib", Use::Seen),
        ),
        (
            "getdents64(3</usr/lib>, 0x55a68d9a0970 /* 115 entries */, 32768) = 3576",
            path("/usr/lib", Use::Listed),
        ),
        (
            r#"readlink("/usr/bin/sh", 0x7ff, 1023) = -1 EINVAL (Invalid argument)"#,
            path("/usr/bin/sh", Use::Seen),
        ),
        (
            r#"execve("/bin/sh", ["sh", "-c", "a = \"b\""], 0x55 /* 3 vars */) = 0"#,
            path("/bin/sh", Use::Opened),
        ),
        (r#"access("a.h", R_OK) = 0"#, Some(Call::Relative)),
        ("vfork() = 5 /* 2413 in strace's PID NS */", Some(Call::Child(2413))),
        ("clone(child_stack=NULL, flags=SIGCHLD) = 2409", Some(Call::Child(2409))),
        (r#"pivot_root(".", "o")                    = 0"#, Some(Call::Pivot)),
        ("+++ exited with 0 +++", None),
    ] {
        assert_eq!(parse(line), call, "{line}");
    }
}
