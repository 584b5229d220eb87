//! git repositories, and projects whose source is a commit of one.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::project::Project;

/// git in a repository of the tests, with nobody's configuration.
pub struct Repository {
    pub dir: PathBuf,
}

impl Repository {
    pub fn new(dir: PathBuf) -> Self {
        Self::with_format(dir, "sha1")
    }

    pub fn with_format(dir: PathBuf, format: &str) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let repository = Self { dir };
        repository.git(&["init", "--quiet", "--initial-branch=main", &format!("--object-format={format}")]);
        repository
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut git = Command::new("git");
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        git.args([
            "-c",
            "user.name=test",
            "-c",
            "user.email=test@example.org",
            "-c",
            "protocol.file.allow=always",
        ]);
        git.arg("-C").arg(&self.dir).args(args);
        git
    }

    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits all that is there, and gives the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all", "--force"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Stores an object as it is, whatever git thinks of it.
    pub fn object(&self, kind: &str, content: &[u8]) -> String {
        let mut git = self.command(&["hash-object", "-w", "-t", kind, "--literally", "--stdin"]);
        let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        git.stdin.take().unwrap().write_all(content).unwrap();
        let output = git.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A commit of a tree with these entries: mode, name, object.
    pub fn commit_of(&self, entries: &[(&str, &[u8], &str)]) -> String {
        let mut tree = Vec::new();
        for (mode, name, object) in entries {
            tree.extend([mode.as_bytes(), b" ", name, b"\0"].concat());
            tree.extend(
                (0..object.len()).step_by(2).map(|at| u8::from_str_radix(&object[at..at + 2], 16).unwrap()),
            );
        }
        let tree = self.object("tree", &tree);
        self.git(&["commit-tree", "-m", "by hand", &tree])
    }
}

/// A project with a rule that tells what is in its source.
pub fn project_of(source: &str) -> Project {
    let project = Project::with_graph(&graph(source));
    describe(&project, "");
    project
}

pub fn graph(source: &str) -> String {
    format!("(version: 1, sources: {{ \"tree\": {source} }}, actions: {{ \"it\": (rule: \"list\") }})\n")
}

/// Writes the rule; with another note it is another action.
pub fn describe(project: &Project, note: &str) {
    project.write(
        "rules/list.ron",
        &format!(
            r#"(
                version: 1,
                inputs: {{ "tree": Source("tree") }},
                steps: [["sh", "-c", "cd {{in.tree}} && find . ! -type d | LC_ALL=C sort >{{out}}/list && cat file >>{{out}}/list # {note}"]],
                outputs: {{ "list": File("list") }},
                export: "it",
                tools: ["sh", "find", "sort", "cat"],
            )"#
        ),
    );
}

/// A repository of one commit, and a project of that commit.
pub fn in_repository() -> (Project, Repository, String) {
    let project = project_of("Dir(\"none\")");
    let repository = Repository::new(project.path("repo"));
    repository.write("file", "content\n");
    repository.write("dir/other", "other content\n");
    repository.write("dir/program", "#!/bin/sh\n");
    fs::set_permissions(project.path("repo/dir/program"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("dir/other", project.path("repo/link")).unwrap();
    let commit = repository.commit("first");
    at_commit(&project, &commit);
    (project, repository, commit)
}

pub fn at_commit(project: &Project, rev: &str) {
    project.write("graph.ron", &graph(&format!("Git(path: \"repo\", rev: \"{rev}\")")));
}

/// The tree that kiln unpacked, the only one.
pub fn tree(project: &Project) -> PathBuf {
    let entries = fs::read_dir(project.path("cache/sources")).unwrap().map(|entry| entry.unwrap().path());
    let trees: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    assert_eq!(trees.len(), 1, "{trees:?}");
    trees[0].clone()
}

/// What is at each path of a tree: content of a file, target of a link, with whether it is executable.
pub fn contents(root: &Path) -> BTreeMap<Vec<u8>, (String, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let stat = entry.symlink_metadata().unwrap();
            let name = entry.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            if stat.is_dir() {
                dirs.push(entry);
            } else if stat.is_symlink() {
                let target = fs::read_link(&entry).unwrap();
                found.insert(name, ("link".to_owned(), target.as_os_str().as_bytes().to_vec()));
            } else {
                let mode = format!("{:o}", stat.permissions().mode() & 0o7777);
                found.insert(name, (mode, fs::read(&entry).unwrap()));
            }
        }
    }
    found
}

/// What a commit holds, as git's objects have it.
pub fn committed(repository: &Repository, commit: &str) -> BTreeMap<Vec<u8>, (String, Vec<u8>)> {
    let listed = repository.command(&["ls-tree", "-r", "-z", "--full-tree", commit]).output().unwrap().stdout;
    let entries = listed.split(|&byte| byte == 0).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let tab = entry.iter().position(|&byte| byte == b'\t').unwrap();
            let head = String::from_utf8(entry[..tab].to_vec()).unwrap();
            let mut words = head.split(' ');
            let mode = match words.next().unwrap() {
                "100644" => "644",
                "100755" => "755",
                "120000" => "link",
                mode => panic!("{mode}"),
            };
            let id = words.nth(1).unwrap();
            let content = repository.command(&["cat-file", "blob", id]).output().unwrap().stdout;
            (entry[tab + 1..].to_vec(), (mode.to_owned(), content))
        })
        .collect()
}

/// Directories in which there is a git, of several versions where this machine has several.
pub fn gits() -> Vec<&'static str> {
    let dirs = ["/usr/local/bin", "/usr/bin"];
    dirs.into_iter().filter(|dir| Path::new(dir).join("git").exists()).collect()
}
