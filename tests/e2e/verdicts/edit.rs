//! Edits of a project, before a build and while it runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use crate::support::project::Project;
use crate::support::random::Random;

/// Where content may change: the tree, the repository's checkout, files of the project, and a program.
const FILES: [&str; 8] = [
    "tree/a",
    "tree/d/b",
    "tree/include/h",
    "repository/a",
    "repository/d/b",
    "data/file",
    "data/dir/one",
    "toolchain/bin/own-ld",
];

/// Names that come and go.
const NAMES: [&str; 5] = ["tree/d/new", "tree/first/h", "tree/include/other", "data/dir/two", "tree/new"];

/// Where the link of the tree leads.
const TARGETS: [&str; 3] = ["a", "d/b", "nowhere"];

/// Lines of `run.sh`: `$1` is the source, `$2` a file of the project, `$3` a directory of it, `$4` the toolchain's program. A
/// directory is listed before a file in it is looked for.
const LINES: [&str; 14] = [
    "cat $1/a || echo none",
    "ls $1/d",
    "ls $1/d; cat $1/d/b || echo none",
    "for file in $1/d/*; do cat $file; done",
    "readlink $1/link; cat $1/link || echo none",
    "ls $1; test -x $1/a && echo executable",
    "ls $1/include $1/first; cat $1/first/h || cat $1/include/h || echo none",
    "stat -c %a:%u:%Y $2",
    "stat -c %a:%Y $3/*",
    "cat $2",
    "cat $3/*",
    "$4",
    "sleep 0.05",
    "umask; id -u; pwd",
];

/// An edit of one input.
#[derive(Debug)]
pub enum Edit {
    /// Another content; the same number is the same content.
    Write(&'static str, usize),
    /// Another script.
    Script(Vec<usize>),
    /// A name that is new, or is gone.
    Toggle(&'static str),
    /// The same content with another time: in the past, or in the future.
    Touch(&'static str, bool),
    Mode(&'static str, u32),
    /// The link leads elsewhere.
    Link(&'static str),
    /// What is in the checkout is the commit that is built.
    Commit,
    /// A file of the exported commit is edited, or removed, by somebody else.
    Tamper(bool),
}

impl Edit {
    pub fn random(random: &mut Random) -> Self {
        let file = one(random, &FILES);
        match random.below(12) {
            0..=2 => Self::Write(file, random.below(4)),
            3..=4 => Self::Script((0..=random.below(6)).map(|_| random.below(LINES.len())).collect()),
            5 => Self::Toggle(one(random, &NAMES)),
            6 => Self::Touch(file, random.percent(50)),
            7 if file.starts_with("toolchain") => Self::Mode(file, 0o755),
            7 => Self::Mode(file, *random.of(&[0o644, 0o755, 0o664, 0o640])),
            8 => Self::Link(one(random, &TARGETS)),
            9..=10 => Self::Commit,
            _ => Self::Tamper(random.percent(50)),
        }
    }

    pub fn make(&self, project: &Project) {
        match self {
            Self::Write(file, number) => write(project, file, *number),
            Self::Script(lines) => {
                let lines: Vec<&str> = lines.iter().map(|&line| LINES[line]).collect();
                project.write("tree/run.sh", &script(&lines));
            }
            Self::Toggle(path) if project.exists(path) => project.remove(path),
            Self::Toggle(path) => project.write(path, "new\n"),
            Self::Touch(file, future) => touch(&project.path(file), *future),
            Self::Mode(file, mode) => project.chmod(file, *mode),
            Self::Link(to) => {
                project.remove("tree/link");
                symlink(to, project.path("tree/link")).unwrap();
            }
            Self::Commit => commit(project),
            Self::Tamper(remove) => {
                let exported = files_below(&project.path("cache/sources"));
                let Some(file) = exported.iter().find(|file| file.ends_with("d/b")) else { return };
                if *remove {
                    fs::remove_file(file).unwrap();
                } else {
                    fs::write(file, "tampered\n").unwrap();
                }
            }
        }
    }
}

/// An input that is another while the build runs, and the same again at its end.
#[derive(Debug)]
pub struct Flip {
    file: &'static str,
    /// Written in place; otherwise another file takes its name, and the first takes it back.
    in_place: bool,
    after: Duration,
}

impl Flip {
    pub fn random(random: &mut Random) -> Self {
        let after = Duration::from_millis(10 * u64::try_from(random.below(12)).unwrap());
        Self { file: one(random, &FILES), in_place: random.percent(50), after }
    }

    pub fn make(&self, project: &Project, build: &mut Child) {
        sleep(self.after);
        let path = project.path(self.file);
        let before = fs::read(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions();
        let other =
            if self.file.starts_with("toolchain") { "#!/bin/sh\necho flipped\n" } else { "flipped\n" };
        if self.in_place {
            // A program that runs can't be written to; then there is nothing to flip.
            if fs::write(&path, other).is_ok() {
                pause(build);
                while fs::write(&path, &before).is_err() {
                    sleep(Duration::from_millis(1));
                }
            }
        } else {
            let (aside, beside) = (path.with_extension("aside"), project.path("flipped"));
            fs::write(&beside, other).unwrap();
            fs::set_permissions(&beside, mode).unwrap();
            fs::rename(&path, &aside).unwrap();
            fs::rename(&beside, &path).unwrap();
            pause(build);
            fs::rename(&aside, &path).unwrap();
        }
    }
}

/// Long enough that an action reads what is there now, unless the build ends first.
fn pause(build: &mut Child) {
    for _ in 0..6 {
        if build.try_wait().unwrap().is_some() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
}

/// The inputs before the first step.
pub fn begin(project: &Project) {
    for file in FILES {
        write(project, file, 0);
    }
    project.write("tree/first/other", "");
    symlink("a", project.path("tree/link")).unwrap();
    project.write("tree/run.sh", &script(&LINES));
    project.write("repository/run.sh", &script(&[LINES[0], LINES[3], LINES[12]]));
    git(project, &["init", "-q"]);
    commit(project);
}

fn write(project: &Project, file: &str, number: usize) {
    if file.starts_with("toolchain") {
        project.script(file, &format!("#!/bin/sh\necho program {number}\n"));
    } else {
        project.write(file, &format!("content {number}\n"));
    }
}

fn one(random: &mut Random, of: &[&'static str]) -> &'static str {
    of[random.below(of.len())]
}

fn script(lines: &[&str]) -> String {
    format!("exec >$5 2>/dev/null\n{}\ntrue\n", lines.join("\n"))
}

fn touch(path: &Path, future: bool) {
    let day = Duration::from_hours(24);
    let now = SystemTime::now();
    let time = if future { now + day } else { now - day };
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn commit(project: &Project) {
    git(project, &["add", "--all"]);
    git(project, &["commit", "-q", "--allow-empty", "-m", "state"]);
    let revision = git(project, &["rev-parse", "HEAD"]);
    project.write("graph.ron", &super::GRAPH.replace("REVISION", revision.trim()));
}

fn git(project: &Project, args: &[&str]) -> String {
    let who = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    let output =
        Command::new("git").arg("-C").arg(project.path("repository")).args(who).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}
