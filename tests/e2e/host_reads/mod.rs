//! Edits of the host that are guided by what steps do: each path that a step opened, looked at or looked for is edited,
//! and what kiln then takes for up to date is what a build from nothing gives.
//!
//! The steps of `config`, `kernel`, `modules`, `initramfs` and `job` run under strace, by the shipped rules. Of every path
//! below /usr, /etc and /opt that a process inside a sandbox named,
//!
//! - what is there is changed, in its last byte alone and with its old time; a link gets another text of the same meaning;
//! - what is not there is made: a file, a program, a directory;
//! - what is there is removed.
//!
//! After each batch of edits `kiln plan` has to decide as it does without its memory of the host, and a build has to come to
//! what a build from nothing comes to. A path that a step opened has to be in the key of an action of its rule. A batch
//! that fails is divided until the path is found.
//!
//!     cargo test --test e2e host_reads:: -- --nocapture            prints how many paths there are
//!     cargo test --test e2e host_reads:: -- --ignored --nocapture  with a real kernel tree, that of `KILN_TEST_TREE`

mod project;
mod strace;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::unistd::geteuid;
use project::{Copy, Project};
use serde_json::Value;
use strace::{Use, Uses};

use crate::support::host_view::View;

/// Rules, in an order in which each has what it needs.
const RULES: [&str; 6] = ["config", "kernel", "modules", "initramfs", "match", "job"];

/// Where the host is edited.
const PLACES: [&str; 3] = ["/usr", "/etc", "/opt"];

/// What every sandbox has of its own, whatever the host has there.
const SYNTHETIC: [&str; 4] = ["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf"];

/// Programs that the test itself runs in its view of the host: neither they nor what they load is removed.
const OWN: [&str; 12] = [
    "sh",
    "cp",
    "mv",
    "rm",
    "ln",
    "find",
    "mkdir",
    "mount",
    "unshare",
    "nsenter",
    "touch",
    env!("CARGO_BIN_EXE_kiln"),
];

/// How many removals are tried together.
const TOGETHER: usize = 24;

/// What steps did with the host.
#[derive(Default)]
struct Paths {
    /// Files, with the rules whose steps opened them.
    files: BTreeMap<PathBuf, BTreeSet<&'static str>>,
    /// Links on the way to a path.
    links: BTreeSet<PathBuf>,
    /// Directories whose names were read.
    listed: BTreeSet<PathBuf>,
    /// What is not there.
    missing: BTreeSet<PathBuf>,
}

impl Paths {
    fn add(&mut self, rule: &'static str, uses: &Uses) {
        for (path, what) in uses.iter().filter(|(path, _)| is_of_host(path)) {
            let opened = what.contains(&Use::Opened);
            match self.real(path) {
                None => {}
                Some(real) if real.is_file() => {
                    let rules = self.files.entry(real).or_default();
                    rules.extend(opened.then_some(rule));
                }
                Some(real) if what.contains(&Use::Listed) => {
                    self.listed.insert(real);
                }
                Some(_) => {}
            }
        }
    }

    /// Where `path` really is on the host; `None` where nothing is, which is noted, and outside of what is edited.
    fn real(&mut self, path: &Path) -> Option<PathBuf> {
        let mut left: Vec<PathBuf> = parts(path);
        let mut real = PathBuf::from("/");
        for _ in 0..200 {
            let Some(part) = left.pop() else {
                return (is_edited(&real) && !SYNTHETIC.iter().any(|own| real == Path::new(own)))
                    .then_some(real);
            };
            if part == Path::new("..") {
                real.pop();
                continue;
            }
            let next = real.join(&part);
            if let Ok(target) = fs::read_link(&next) {
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                left.extend(parts(&target));
                if is_edited(&next) {
                    self.links.insert(next);
                }
            } else if next.symlink_metadata().is_ok() {
                real = next;
            } else {
                if is_edited(&next) && real.is_dir() {
                    self.missing.insert(next);
                }
                return None;
            }
        }
        None
    }
}

/// The names of a path, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    let mut parts: Vec<PathBuf> = parts.collect();
    parts.reverse();
    parts
}

fn is_of_host(path: &Path) -> bool {
    !["/kiln", "/proc", "/dev", "/tmp", "/sys"].iter().any(|own| path.starts_with(own)) && path.is_absolute()
}

fn is_edited(path: &Path) -> bool {
    PLACES.iter().any(|place| path.starts_with(place) && path != Path::new(place))
}

/// An edit of one path, and what takes it back.
struct Edit {
    path: PathBuf,
    script: String,
    undo: String,
}

/// What is expected after a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// The plan alone.
    Plan,
    /// Also what is built.
    Build,
}

struct Pass<'a> {
    view: &'a View,
    project: &'a Project,
    began: Instant,
    edits: usize,
    batches: usize,
    problems: Vec<String>,
}

impl Pass<'_> {
    /// Applies a batch, checks, and takes it back. Where the check fails, each half is tried by itself.
    fn batch(&mut self, what: &str, edits: &[Edit], check: Check) {
        if edits.is_empty() {
            return;
        }
        self.batches += 1;
        self.edits += edits.len();
        let problem = self.applied(edits, |pass| pass.compare(check));
        let Some(problem) = problem else { return };
        println!("{what}: {} edits differ, {:.0?}", edits.len(), self.began.elapsed());
        if let [edit] = edits {
            self.problems.push(format!("{what} {}: {problem}", edit.path.display()));
        } else if self.problems.len() < 8 {
            let (one, other) = edits.split_at(edits.len() / 2);
            let known = self.problems.len();
            self.batch(what, one, check);
            self.batch(what, other, check);
            if self.problems.len() == known {
                let paths: Vec<_> = edits.iter().map(|edit| edit.path.display().to_string()).collect();
                self.problems.push(format!("{what} {}, together: {problem}", paths.join(" ")));
            }
        }
    }

    fn applied<T>(&mut self, edits: &[Edit], check: impl FnOnce(&mut Self) -> T) -> T {
        let script = |part: &dyn Fn(&Edit) -> &str| -> String {
            edits.iter().map(|edit| format!("{}\n", part(edit))).collect()
        };
        let (passed, printed) = self.view.run(&format!("set -e\n{}", script(&|edit| &edit.script)));
        assert!(passed, "{printed}");
        let checked = check(self);
        let (passed, printed) = self.view.run(&format!("set -e\n{}", script(&|edit| &edit.undo)));
        assert!(passed, "{printed}");
        checked
    }

    /// What is wrong with the host as it is now.
    fn compare(&self, check: Check) -> Option<String> {
        let plan = |remembers| -> Vec<[Value; 4]> {
            let nodes = self.project.plan(self.view, remembers);
            let fields = ["name", "verdict", "action-key", "strong-key"];
            nodes.iter().map(|node| fields.map(|field| node[field].clone())).collect()
        };
        let (warm, cold) = (plan(true), plan(false));
        if warm != cold {
            let differs = warm.iter().zip(&cold).find(|(warm, cold)| warm != cold);
            return Some(format!("the plan rests on what the host was before: {differs:?}"));
        }
        if check == Check::Plan {
            return None;
        }
        let (passed, printed) = self.project.build(self.view, Copy::Kept);
        let (clean_passed, clean_printed) = self.project.build(self.view, Copy::Clean);
        if passed != clean_passed {
            return Some(format!(
                "passed: {passed}, from nothing: {clean_passed}\n{printed}\nfrom nothing:\n{clean_printed}"
            ));
        }
        let difference = self.project.difference();
        (passed && !difference.is_empty())
            .then(|| format!("a build from nothing differs:\n{difference}{printed}"))
    }

    /// Opened paths have to be in the key of the rule that opened them: all of them change, and the
    /// reasons of the next run have to name each.
    fn every_opened_path_is_keyed(&mut self, paths: &Paths) {
        let edits: Vec<Edit> = paths.files.keys().map(|path| change(path)).collect();
        let changed = self.applied(&edits, |pass| {
            let command = pass.project.command(Copy::Kept, "", "build -k --format json-lines");
            let output = pass.view.output(&command);
            let events = String::from_utf8_lossy(&output.stdout).into_owned();
            let changed = changed_paths(&events);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            for rule in RULES.iter().filter(|rule| **rule != "match") {
                assert!(changed.contains_key(*rule), "{rule} did not run again:\n{told}");
            }
            changed
        });
        for (path, rules) in &paths.files {
            for rule in rules {
                if !changed[*rule].iter().any(|named| path.starts_with(named)) {
                    self.problems.push(format!(
                        "{} is opened by a step of rules/{rule}.ron and is in no key of it",
                        path.display()
                    ));
                }
            }
        }
    }
}

/// The host paths that a build names as changed, by the rules that ran.
fn changed_paths(events: &str) -> BTreeMap<String, BTreeSet<PathBuf>> {
    let mut changed: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for event in events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (Some((rule, _)), Some(reasons)) =
            (event["node"].as_str().and_then(|node| node.split_once(':')), event["reasons"].as_array())
        else {
            continue;
        };
        let paths = reasons.iter().filter_map(|reason| reason["what"]["host"].as_str()).map(PathBuf::from);
        changed.entry(rule.to_owned()).or_default().extend(paths);
    }
    changed
}

/// Changes the last byte of a file, and neither its size nor its time. It is made anew, as one that runs can't be written to.
fn change(path: &Path) -> Edit {
    let bytes = fs::read(path).unwrap();
    let text = path.display();
    // The last byte of a program is in its table of sections, which nobody loads; that of a text ends its last line.
    let (edit, undo) = match bytes.last() {
        None => (format!("printf ' ' >{text}.kw"), format!(": >{text}.kw")),
        Some(&last) => {
            let other = if last == b'\n' { b' ' } else { last ^ 1 };
            let at = bytes.len() - 1;
            let write = |byte: u8| {
                format!("printf '\\{byte:03o}' | dd of={text}.kw bs=1 seek={at} conv=notrunc status=none")
            };
            (write(other), write(last))
        }
    };
    let anew = |write: &str| {
        format!("cp -p {text} {text}.kw; {write}; touch -r {text} {text}.kw; mv -f {text}.kw {text}")
    };
    Edit { script: anew(&edit), undo: anew(&undo), path: path.to_owned() }
}

/// Gives a link another text that leads to the same place.
fn retarget(path: &Path) -> Edit {
    let (text, target) = (path.display(), fs::read_link(path).unwrap());
    let other = if target.is_absolute() {
        Path::new("/.").join(target.strip_prefix("/").unwrap())
    } else {
        Path::new(".").join(&target)
    };
    let link = |target: &Path| format!("ln -sfn {} {text}", target.display());
    Edit { script: link(&other), undo: link(&target), path: path.to_owned() }
}

/// Removes what is there; `kept` takes it for the time.
fn remove(path: &Path, kept: &Path) -> Edit {
    let (text, kept) = (path.display(), kept.display());
    Edit {
        script: format!("cp -a {text} {kept}; rm {text}"),
        undo: format!("cp -a {kept} {text}; rm {kept}"),
        path: path.to_owned(),
    }
}

/// The files that the test itself needs.
fn own() -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for program in OWN {
        let printed =
            Command::new("sh").args(["-c", "p=$(command -v $1); echo $p; ldd $p", "sh", program]).output();
        let printed = String::from_utf8(printed.unwrap().stdout).unwrap();
        let words = printed.split_whitespace().filter(|word| word.starts_with('/'));
        files.extend(words.filter_map(|path| fs::canonicalize(path).ok()));
    }
    files
}

/// What is made where nothing was.
const MADE: [(&str, &str); 3] = [
    ("file", "echo word >{}"),
    ("program", "printf '#!/bin/sh\\necho word\\n' >{}; chmod 755 {}"),
    ("directory", "mkdir {}; echo word >{}/kw-word"),
];

fn make(path: &Path, script: &str) -> Edit {
    let text = path.display().to_string();
    Edit { script: script.replace("{}", &text), undo: format!("rm -r {text}"), path: path.to_owned() }
}

/// By the directory that they are in, so that what is noticed of one directory hides nothing of another.
fn by_directory(paths: &BTreeSet<PathBuf>) -> BTreeMap<&Path, Vec<&Path>> {
    let mut dirs: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
    for path in paths {
        dirs.entry(path.parent().unwrap()).or_default().push(path);
    }
    dirs
}

fn missing_here() -> Option<String> {
    if !geteuid().is_root() {
        return Some("overlays over /usr take root".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    ["strace", "gcc", "bison", "flex", "depmod"]
        .into_iter()
        .find(|program| !has(program))
        .map(|program| format!("{program} is not installed: scripts/setup.sh check"))
        .or_else(|| (!cfg!(target_arch = "x86_64")).then(|| "the kernel is one for x86_64".to_owned()))
}

/// `each` is what is checked after batches that no step is expected to notice.
fn pass(project: &Project, each: Check) {
    let began = Instant::now();
    let view = View::new(&project.scratch("layers"));
    let mut paths = Paths::default();
    // kiln reads the host once, without strace.
    assert!(view.run(&project.command(Copy::Kept, "", "plan")).0);
    for rule in RULES {
        let records = project.scratch("records");
        let kiln = project.command(Copy::Kept, "exec", &format!("build -q {rule}:"));
        // Rules whose actions run no process have nothing to tell.
        if rule == "match" {
            assert!(view.run(&kiln).0);
            continue;
        }
        let uses = strace::trace(&view, &records, &kiln);
        println!("{rule}: {} paths, {:.1?}", uses.len(), began.elapsed());
        paths.add(rule, &uses);
    }
    println!(
        "{} files, {} links, {} directories whose names were read, {} paths where nothing is",
        paths.files.len(),
        paths.links.len(),
        paths.listed.len(),
        paths.missing.len()
    );
    let mut pass = Pass { view: &view, project, began, edits: 0, batches: 0, problems: Vec::new() };
    assert_eq!(pass.compare(each), None, "before the first edit");
    pass.every_opened_path_is_keyed(&paths);

    let all = |paths: &mut dyn Iterator<Item = &PathBuf>, edit: &dyn Fn(&Path) -> Edit| -> Vec<Edit> {
        paths.map(|path| edit(path)).collect()
    };
    pass.batch("changed", &all(&mut paths.files.keys(), &change), Check::Build);
    pass.batch("retargeted", &all(&mut paths.links.iter(), &retarget), each);
    let new: BTreeSet<PathBuf> = paths.listed.iter().map(|dir| dir.join("kw-new.h")).collect();
    pass.batch("new in a directory", &all(&mut new.iter(), &|path| make(path, MADE[0].1)), each);
    for (name, script) in MADE {
        let what = format!("new {name}");
        let check = if name == "program" { Check::Build } else { each };
        pass.batch(&what, &all(&mut paths.missing.iter(), &|path| make(path, script)), check);
        if name == "program" {
            for edits in by_directory(&paths.missing).into_values() {
                let edits: Vec<Edit> = edits.into_iter().map(|path| make(path, script)).collect();
                pass.batch(&what, &edits, Check::Plan);
            }
        }
    }
    let own = own();
    let removable: Vec<&PathBuf> = paths
        .files
        .keys()
        .chain(&paths.links)
        .filter(|path| fs::canonicalize(path).is_ok_and(|real| !own.contains(&real)))
        .collect();
    let kept = project.scratch("removed");
    fs::create_dir(&kept).unwrap();
    for paths in removable.chunks(TOGETHER) {
        let edits =
            paths.iter().enumerate().map(|(number, path)| remove(path, &kept.join(number.to_string())));
        pass.batch("removed", &edits.collect::<Vec<_>>(), Check::Plan);
    }
    let mut text = String::new();
    for problem in &pass.problems {
        writeln!(text, "{problem}").unwrap();
    }
    println!("{} edits in {} batches, {:.0?}", pass.edits, pass.batches, began.elapsed());
    assert!(pass.problems.is_empty(), "{text}");
}

#[test]
fn what_steps_do_with_the_host_guides_edits_of_it() {
    if let Some(why) = missing_here() {
        eprintln!("skipped: {why}");
        return;
    }
    pass(&Project::fake(), Check::Build);
}

#[test]
#[ignore = "builds a real kernel several times, minutes for each: `make check-long` runs it"]
fn what_steps_of_a_real_kernel_do_with_the_host_guides_edits_of_it() {
    if let Some(why) = missing_here() {
        eprintln!("skipped: {why}");
        return;
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("cache/sources/linux-6.1");
    let tree = std::env::var_os("KILN_TEST_TREE").map_or(example, PathBuf::from);
    assert!(tree.join("Kconfig").is_file(), "{} is no kernel tree: run scripts/source.sh", tree.display());
    pass(&Project::real(&fs::canonicalize(tree).unwrap()), Check::Plan);
}
