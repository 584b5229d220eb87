//! Objects as they are in a repository, each held against its name.
//!
//! `git cat-file --batch` hands out objects without filters, attributes or conversions. All that it says is checked by
//! hash, so that a commit's name vouches for its tree, that for its entries, and these for the content of files.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::thread::{self, JoinHandle};

use super::{ObjectId, Repository};

/// How many objects are asked for ahead of the one that is read. All these requests fit into the smallest pipe, a page, so
/// that writing them never waits for git, which may be waiting for its answers to be read.
const AHEAD: usize = 48;

/// The largest commit or directory that is read. The largest of Linux has less than 100 kB.
const LARGEST: u64 = 64 << 20;

/// How much of git's complaints is kept.
const SAID: u64 = 4096;

/// Why an object can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// No git.
    #[error("git can't be run: {0}")]
    Start(io::Error),
    /// git ended, or says what it should not.
    #[error("git cat-file: {0}")]
    Git(String),
    /// It is not in the repository.
    #[error("object {0} is not there")]
    Missing(ObjectId),
    /// It has another content than its name says.
    #[error("object {0} is damaged: its content has another hash")]
    Damaged(ObjectId),
    /// It is of another kind.
    #[error("object {id} is a {found}, and should be a {wanted}")]
    Kind {
        /// Which.
        id: ObjectId,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A commit or a directory that can't be read.
    #[error("object {id} {problem}")]
    Malformed {
        /// Which.
        id: ObjectId,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl ObjectError {
    /// The object that it is about, if it is about one.
    pub const fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::Missing(id) | Self::Damaged(id) | Self::Kind { id, .. } | Self::Malformed { id, .. } => {
                Some(id)
            }
            Self::Start(_) | Self::Git(_) => None,
        }
    }
}

/// Kinds of objects that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A commit.
    Commit,
    /// A directory.
    Tree,
    /// The content of a file, or where a link points to.
    Blob,
}

impl ObjectKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
        }
    }
}

/// A part of an object's content.
#[derive(Debug)]
pub enum Part<'a> {
    /// It begins, and has this size.
    Begin(u64),
    /// The next bytes.
    Bytes(&'a [u8]),
    /// That was all, and it has the hash that its name says.
    End,
}

/// What is used of a commit.
#[derive(Debug)]
pub struct Commit {
    /// Its files.
    pub tree: ObjectId,
    /// When it was committed, in seconds since 1970.
    pub time: i64,
}

/// An entry of a directory.
#[derive(Debug)]
pub struct TreeEntry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub mode: EntryMode,
    /// Its content; of a submodule, the commit.
    pub id: ObjectId,
}

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryMode {
    /// A file.
    File,
    /// A file that may be executed.
    Executable,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Dir,
    /// A commit of another repository.
    Submodule,
}

/// A git that hands out objects.
#[derive(Debug)]
pub struct Objects {
    git: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
    complaints: Option<JoinHandle<String>>,
}

impl Objects {
    /// Starts one for this repository.
    pub fn open(repository: &Repository) -> Result<Self, ObjectError> {
        let mut git = repository
            .command()
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(ObjectError::Start)?;
        let requests = git.stdin.take().expect("it is piped");
        let replies = BufReader::with_capacity(128 << 10, git.stdout.take().expect("it is piped"));
        let mut stderr = git.stderr.take().expect("it is piped");
        // All of it is read, as git would wait otherwise.
        let complaints = thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stderr.by_ref().take(SAID).read_to_end(&mut said);
            let _ = io::copy(&mut stderr, &mut io::sink());
            String::from_utf8_lossy(&said).into_owned()
        });
        Ok(Self { git, requests, replies, complaints: Some(complaints) })
    }

    /// Reads objects of one kind, one after the other. `take` gets the number of each with its parts.
    pub fn each<E: From<ObjectError>>(
        &mut self,
        kind: ObjectKind,
        ids: &[&ObjectId],
        mut take: impl FnMut(usize, Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut asked = 0;
        for (index, id) in ids.iter().enumerate() {
            let until = ids.len().min(index + AHEAD);
            if asked == index {
                let requests: String = ids[asked..until].iter().flat_map(|id| [id.as_str(), "\n"]).collect();
                if self.requests.write_all(requests.as_bytes()).is_err() {
                    return Err(self.died(id).into());
                }
                asked = until;
            }
            self.one(kind, id, |part| take(index, part))?;
        }
        Ok(())
    }

    fn one<E: From<ObjectError>>(
        &mut self,
        kind: ObjectKind,
        id: &ObjectId,
        mut take: impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let size = self.header(kind, id)?;
        take(Part::Begin(size))?;
        let mut check = id.check(kind.name(), size);
        let mut left = size;
        while left > 0 {
            let bytes = match self.replies.fill_buf() {
                Ok([]) | Err(_) => return Err(self.died(id).into()),
                Ok(bytes) => &bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))],
            };
            check.update(bytes);
            take(Part::Bytes(bytes))?;
            let count = bytes.len();
            self.replies.consume(count);
            left -= count as u64;
        }
        let mut end = [0];
        if self.replies.read_exact(&mut end).is_err() || end != *b"\n" {
            return Err(self.died(id).into());
        }
        if !check.holds() {
            return Err(ObjectError::Damaged(id.clone()).into());
        }
        take(Part::End)
    }

    /// Reads the line before an object, and gives the object's size.
    fn header(&mut self, kind: ObjectKind, id: &ObjectId) -> Result<u64, ObjectError> {
        let mut line = Vec::new();
        match self.replies.by_ref().take(256).read_until(b'\n', &mut line) {
            Ok(count) if count > 0 && line.ends_with(b"\n") => {}
            _ => return Err(self.died(id)),
        }
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split_whitespace();
        let name = words.next();
        let (found, size) = match (words.next(), words.next(), words.next()) {
            (Some("missing"), None, None) if name == Some(id.as_str()) => {
                return Err(ObjectError::Missing(id.clone()));
            }
            (Some(found), Some(size), None) if name == Some(id.as_str()) => (found, size.parse().ok()),
            _ => return Err(ObjectError::Git(format!("it says {:?} of {id}", line.trim()))),
        };
        let size = size.ok_or_else(|| ObjectError::Git(format!("it gives {id} no size")))?;
        if found != kind.name() {
            let found = found.to_owned();
            return Err(ObjectError::Kind { id: id.clone(), found, wanted: kind.name() });
        }
        Ok(size)
    }

    /// One object, whole.
    pub fn read(&mut self, kind: ObjectKind, id: &ObjectId) -> Result<Vec<u8>, ObjectError> {
        let mut content = Vec::new();
        self.each(kind, &[id], |_, part| match part {
            Part::Begin(size) if size > LARGEST => {
                Err(ObjectError::Malformed { id: id.clone(), problem: "is too large to be read" })
            }
            Part::Bytes(bytes) => {
                content.extend_from_slice(bytes);
                Ok(())
            }
            Part::Begin(_) | Part::End => Ok(()),
        })?;
        Ok(content)
    }

    /// A commit.
    pub fn commit(&mut self, id: &ObjectId) -> Result<Commit, ObjectError> {
        let content = self.read(ObjectKind::Commit, id)?;
        parse_commit(&content).ok_or_else(|| ObjectError::Malformed {
            id: id.clone(),
            problem: "is no commit that can be read",
        })
    }

    /// The entries of a directory, in git's order.
    pub fn tree(&mut self, id: &ObjectId) -> Result<Vec<TreeEntry>, ObjectError> {
        let content = self.read(ObjectKind::Tree, id)?;
        parse_tree(&content, id.raw_length())
            .map_err(|problem| ObjectError::Malformed { id: id.clone(), problem })
    }

    /// What is to be said of a git that ended too early, when it was asked for this object.
    fn died(&mut self, asked: &ObjectId) -> ObjectError {
        let _ = self.git.kill();
        let status = self.git.wait();
        let said = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        // Some versions end where a partial clone lacks an object, others go on.
        if said.contains("from promisor remote") {
            return ObjectError::Missing(asked.clone());
        }
        let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
        let last = lines().find(|line| line.starts_with("fatal:")).or_else(|| lines().next());
        ObjectError::Git(match (last, status) {
            (Some(line), _) => line.to_owned(),
            (None, Ok(status)) => format!("it ended too early, with {status}"),
            (None, Err(error)) => error.to_string(),
        })
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        let _ = self.git.kill();
        let _ = self.git.wait();
    }
}

fn parse_commit(content: &[u8]) -> Option<Commit> {
    let mut tree = None;
    for line in content.split(|&byte| byte == b'\n').take_while(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        if let (Some(id), None) = (line.strip_prefix("tree "), &tree) {
            tree = Some(ObjectId::parse(id)?);
        }
        // Name and address may hold anything; the time and the zone come last.
        if let Some(committer) = line.strip_prefix("committer ") {
            let time = committer.rsplit(' ').nth(1).and_then(|time| time.parse().ok()).unwrap_or(0);
            return Some(Commit { tree: tree?, time });
        }
    }
    Some(Commit { tree: tree?, time: 0 })
}

fn parse_tree(mut content: &[u8], raw_length: usize) -> Result<Vec<TreeEntry>, &'static str> {
    const CUT: &str = "is a directory that ends within an entry";
    let mut entries = Vec::new();
    while !content.is_empty() {
        let nul = content.iter().position(|&byte| byte == 0).ok_or(CUT)?;
        let (head, rest) = content.split_at(nul);
        let space = head.iter().position(|&byte| byte == b' ').ok_or(CUT)?;
        let (mode, name) = (&head[..space], &head[space + 1..]);
        let mode = std::str::from_utf8(mode).ok().and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let mode = match mode.map(|mode| (mode & 0o170_000, mode & 0o100)) {
            Some((0o100_000, 0)) => EntryMode::File,
            Some((0o100_000, _)) => EntryMode::Executable,
            Some((0o120_000, _)) => EntryMode::Symlink,
            Some((0o040_000, _)) => EntryMode::Dir,
            Some((0o160_000, _)) => EntryMode::Submodule,
            _ => return Err("is a directory with an entry of an unknown kind"),
        };
        let raw = rest.get(1..=raw_length).ok_or(CUT)?;
        entries.push(TreeEntry { name: name.to_vec(), mode, id: ObjectId::from_bytes(raw) });
        content = &rest[raw_length + 1..];
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::EntryMode::{Dir, Executable, File, Submodule, Symlink};
    use super::*;

    #[test]
    fn a_commit_gives_its_tree_and_time() {
        let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let commit = |text: &str| parse_commit(text.as_bytes());
        let text = format!(
            "tree {tree}\nparent {tree}\nauthor A <a> 1 +0000\ncommitter B 7 > <b> 1234 -0130\n\ntree of a message\n"
        );
        let found = commit(&text).unwrap();
        assert_eq!((found.tree.as_str(), found.time), (tree, 1234));
        assert_eq!(commit(&format!("tree {tree}\n\n")).unwrap().time, 0);
        assert!(commit("\ntree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n").is_none(), "in its message");
        assert!(commit("tree HEAD\ncommitter B <b> 1 +0000\n").is_none());
    }

    #[test]
    fn a_tree_gives_its_entries() {
        let raw: [u8; 20] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let entry = |head: &[u8]| [head, b"\0", &raw].concat();
        let modes = ["100644", "100755", "100664", "120000", "40000", "160000"];
        let content: Vec<u8> =
            modes.iter().flat_map(|mode| entry(format!("{mode} a b").as_bytes())).collect();
        let entries = parse_tree(&content, 20).unwrap();
        let found: Vec<EntryMode> = entries.iter().map(|entry| entry.mode).collect();
        assert_eq!(found, [File, Executable, File, Symlink, Dir, Submodule]);
        assert!(entries.iter().all(|entry| entry.name == b"a b"));
        assert_eq!(entries[0].id.as_str(), "000102030405060708090a0b0c0d0e0f10111213");

        for end in 1..entry(b"100644 a").len() {
            assert!(parse_tree(&entry(b"100644 a")[..end], 20).is_err(), "{end}");
        }
        assert!(parse_tree(&entry(b"10644 a"), 20).is_err(), "a mode that is none");
        assert!(parse_tree(&entry(b"100644 a"), 32).is_err(), "names of another length");
    }
}
