//! `kiln.lock`: which builds a project takes from mirrors, by content.
//!
//! ```text
//! # What the builds of this project take from mirrors; `kiln update` writes it. Keep it under version control.
//! version 1
//!
//! ebuilds 20250928
//! as-of 1759104000
//! sha512 e3d2...
//!
//! stage3 arm64-openrc
//! as-of 1759080600
//! path 20250928T170227Z/stage3-arm64-openrc-20250928T170227Z.tar.xz
//! size 311603336
//! blake2b 2f4b...
//! sha512 98c1...
//! ```
//!
//! The tree of ebuilds comes first, then stage3s in the order of their names, so that equal locks are equal texts and merges touch what they change.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::dated::Date;
use super::digests::{Digests, Sha512Sum};
use super::ebuilds::Tree;
use super::latest::{Latest, MAX_SIZE};
use super::names::Stage3;

const HEAD: &str = "# What the builds of this project take from mirrors; `kiln update` writes it. \
    Keep it under version control.\nversion 1\n";

/// The build of a stage3 that is taken, whatever mirrors call the latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// When the `latest` file was written that named it, in seconds since 1970. No older one is believed.
    pub as_of: u64,
    /// When the build began.
    pub date: Date,
    /// The tarball's size in bytes.
    pub size: u64,
    /// What it holds.
    pub digests: Digests,
}

impl Locked {
    /// What is locked from now on: what a `latest` file names, with the digests of it.
    pub fn new(latest: &Latest, digests: Digests) -> Self {
        Self { as_of: latest.as_of(), date: latest.date().clone(), size: latest.size(), digests }
    }

    /// Where the tarball is, relative to [`Stage3::builds`].
    pub fn path(&self, stage3: &Stage3) -> String {
        format!("{}/{stage3}-{}.tar.xz", self.date, self.date)
    }

    #[cfg(test)]
    pub(super) fn for_tests(latest: &Latest) -> Self {
        let digits = "0".repeat(128);
        Self::new(latest, Digests::from_hex(&digits, &digits).unwrap())
    }
}

/// What a lock file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    ebuilds: Option<Tree>,
    stage3s: BTreeMap<Stage3, Locked>,
}

/// A lock file is none. It is written by kiln alone, so that it may have been merged badly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}; take an earlier version of the file, or remove it and run `kiln update`")]
pub struct LockError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// What an update does to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// There was none.
    New,
    /// Nothing: the same build is still the latest.
    Same,
    /// A later one takes the place of that of this date.
    From(String),
}

impl Lock {
    /// Reads a lock file.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let mut lines = Lines { lines: text.lines().enumerate().collect(), at: 0 };
        if lines.field("version")? != "1" {
            return Err(lines.error("it is of another version of kiln"));
        }
        let mut lock = Self::default();
        while !lines.is_at_end() {
            if lines.begins("ebuilds") {
                let tree = lines.tree()?;
                if lock.ebuilds.replace(tree).is_some() {
                    return Err(lines.error("the entry is there twice"));
                }
                continue;
            }
            let name = lines.field("stage3")?;
            let stage3 = Stage3::named(name).map_err(|error| lines.error(&error.to_string()))?;
            let locked = lines.locked(&stage3)?;
            if lock.stage3s.insert(stage3, locked).is_some() {
                return Err(lines.error("the entry is there twice"));
            }
        }
        Ok(lock)
    }

    /// The file's text: the same for equal locks.
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        if let Some(Tree { as_of, day, sha512 }) = &self.ebuilds {
            let _ = write!(text, "\nebuilds {day}\nas-of {as_of}\nsha512 {sha512}\n");
        }
        for (stage3, locked) in &self.stage3s {
            let Locked { as_of, size, digests, .. } = locked;
            let (path, blake2b, sha512) = (locked.path(stage3), digests.blake2b(), digests.sha512());
            let _ = write!(
                text,
                "\nstage3 {}\nas-of {as_of}\npath {path}\nsize {size}\nblake2b {blake2b}\nsha512 {sha512}\n",
                stage3.name()
            );
        }
        text
    }

    /// What is locked for a stage3.
    pub fn get(&self, stage3: &Stage3) -> Option<&Locked> {
        self.stage3s.get(stage3)
    }

    /// Locks a build. That it is not older than what is locked, [`Latest::is_fresh`] has seen to.
    pub fn update(&mut self, stage3: &Stage3, mut locked: Locked) -> Change {
        let before = self.stage3s.get(stage3);
        // A text of the same build may come from a mirror that is some hours behind.
        locked.as_of = before.map_or(locked.as_of, |before| before.as_of.max(locked.as_of));
        let (date, digests) = (locked.date.clone(), locked.digests.clone());
        match self.stage3s.insert(stage3.clone(), locked) {
            None => Change::New,
            Some(before) if before.date == date && before.digests == digests => Change::Same,
            Some(before) => Change::From(before.date.to_string()),
        }
    }

    /// The tree of ebuilds that is locked.
    pub fn ebuilds(&self) -> Option<&Tree> {
        self.ebuilds.as_ref()
    }

    /// Locks a tree of ebuilds. That it is not older than what is locked, [`Tree::is_fresh`] has seen to.
    pub fn update_ebuilds(&mut self, mut tree: Tree) -> Change {
        let change = match &self.ebuilds {
            None => Change::New,
            Some(before) if before.day == tree.day && before.sha512 == tree.sha512 => {
                tree.as_of = tree.as_of.max(before.as_of);
                Change::Same
            }
            Some(before) => Change::From(before.day.to_string()),
        };
        self.ebuilds = Some(tree);
        change
    }

    /// Drops stage3s that no spec names any more.
    pub fn keep(&mut self, wanted: impl Fn(&Stage3) -> bool) {
        self.stage3s.retain(|stage3, _| wanted(stage3));
    }

    /// Drops the tree of ebuilds, as no spec asks for one any more.
    pub fn drop_ebuilds(&mut self) {
        self.ebuilds = None;
    }
}

/// The lines of a lock file.
struct Lines<'a> {
    lines: Vec<(usize, &'a str)>,
    at: usize,
}

impl<'a> Lines<'a> {
    fn skip(&mut self) {
        while self.lines.get(self.at).is_some_and(|(_, line)| line.is_empty() || line.starts_with('#')) {
            self.at += 1;
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip();
        self.at == self.lines.len()
    }

    /// Whether this is where an entry of a kind begins.
    fn begins(&mut self, kind: &str) -> bool {
        self.skip();
        let line = self.lines.get(self.at).and_then(|(_, line)| line.strip_prefix(kind));
        line.is_some_and(|rest| rest.starts_with(' '))
    }

    /// An error at the line that was read last.
    fn error(&self, problem: &str) -> LockError {
        LockError { line: self.at.max(1), problem: problem.to_owned() }
    }

    fn field(&mut self, name: &str) -> Result<&'a str, LockError> {
        self.skip();
        let line = self.lines.get(self.at).map(|(_, line)| *line);
        self.at = (self.at + 1).min(self.lines.len());
        line.and_then(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .ok_or_else(|| self.error(&format!("`{name}` is missing here")))
    }

    fn number(&mut self, name: &str) -> Result<u64, LockError> {
        let text = self.field(name)?;
        text.parse().map_err(|_| self.error(&format!("`{name}` is no number")))
    }

    fn tree(&mut self) -> Result<Tree, LockError> {
        let day = self.field("ebuilds")?.parse();
        let day = day.map_err(|()| self.error("`ebuilds` has no day"))?;
        let as_of = self.number("as-of")?;
        let sha512 = Sha512Sum::from_hex(self.field("sha512")?);
        let sha512 = sha512.ok_or_else(|| self.error("a digest is none"))?;
        Ok(Tree { as_of, day, sha512 })
    }

    fn locked(&mut self, stage3: &Stage3) -> Result<Locked, LockError> {
        let as_of = self.number("as-of")?;
        let path = self.field("path")?;
        let date = path.split('/').next().and_then(|date| date.parse().ok());
        let date = date.ok_or_else(|| self.error("`path` does not begin with a date"))?;
        let size = self.number("size")?;
        if size == 0 || size > MAX_SIZE {
            return Err(self.error("no stage3 has that size"));
        }
        let (blake2b, sha512) = (self.field("blake2b")?, self.field("sha512")?);
        let digests = Digests::from_hex(blake2b, sha512).ok_or_else(|| self.error("a digest is none"))?;
        let locked = Locked { as_of, date, size, digests };
        if locked.path(stage3) == path {
            Ok(locked)
        } else {
            Err(self.error("`path` is that of another stage3"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(date: &str) -> Locked {
        let digests = Digests::from_hex(&"ab".repeat(64), &"cd".repeat(64)).unwrap();
        Locked { as_of: 1_759_080_600, date: date.parse().unwrap(), size: 311_603_336, digests }
    }

    fn tree(day: &str, as_of: u64) -> Tree {
        Tree { as_of, day: day.parse().unwrap(), sha512: Sha512Sum::from_hex(&"ef".repeat(64)).unwrap() }
    }

    fn lock() -> Lock {
        let mut lock = Lock::default();
        lock.update_ebuilds(tree("20250928", 1_759_104_000));
        for name in ["arm64-openrc", "amd64-systemd", "armv7a_hardfp_musl-hardened-openrc"] {
            lock.update(&Stage3::named(name).unwrap(), locked("20250928T170227Z"));
        }
        lock
    }

    #[test]
    fn a_lock_is_its_text() {
        let text = lock().text();
        assert_eq!(Lock::parse(&text).as_ref(), Ok(&lock()));
        assert_eq!(Lock::parse(&text).unwrap().text(), text);
        assert_eq!(Lock::parse(&Lock::default().text()), Ok(Lock::default()));
        let first = text.find("amd64-systemd").unwrap();
        assert!(first < text.find("stage3 arm64-openrc").unwrap(), "{text}");
    }

    #[test]
    fn an_update_says_what_it_does() {
        let mut lock = lock();
        let stage3 = Stage3::named("arm64-openrc").unwrap();
        assert_eq!(lock.update(&stage3, locked("20250928T170227Z")), Change::Same);
        let before = "20250928T170227Z".to_owned();
        assert_eq!(lock.update(&stage3, locked("20251005T170227Z")), Change::From(before));
        assert_eq!(lock.get(&stage3).unwrap().date.as_str(), "20251005T170227Z");
        lock.keep(|stage3| stage3.dir() == "arm64");
        assert_eq!(lock.text().matches("\nstage3 ").count(), 1);
        assert_eq!(
            lock.update(&Stage3::named("x32-openrc").unwrap(), locked("20251005T170227Z")),
            Change::New
        );
    }

    #[test]
    fn a_tree_of_ebuilds_is_updated_like_a_build() {
        let mut lock = lock();
        assert_eq!(lock.update_ebuilds(tree("20250928", 1_759_000_000)), Change::Same);
        assert_eq!(lock.ebuilds().unwrap().as_of, 1_759_104_000, "the later text of the same tree");
        let before = "20250928".to_owned();
        assert_eq!(lock.update_ebuilds(tree("20250929", 1_759_190_400)), Change::From(before));
        lock.drop_ebuilds();
        assert_eq!(lock.update_ebuilds(tree("20250928", 1)), Change::New);
    }

    #[test]
    fn a_spoiled_lock_says_where() {
        let text = lock().text();
        let cases = [
            ("", "", 1, "`version` is missing"),
            ("version 1", "version 2", 2, "another version"),
            ("ebuilds 20250928", "ebuilds yesterday", 4, "no day"),
            ("as-of 1759104000", "as-of today", 5, "no number"),
            ("sha512 ef", "sha512 ", 6, "a digest is none"),
            ("stage3 amd64-systemd", "stage3 amd64-runit", 8, "no stage3"),
            ("size 311603336", "size many", 11, "no number"),
            ("size 311603336", "size 0", 11, "no stage3 has that size"),
            ("as-of 1759080600\n", "", 9, "`as-of` is missing"),
            ("20250928T170227Z/", "../", 10, "begin with a date"),
            ("/stage3-amd64-systemd", "/stage3-arm64-systemd", 13, "another stage3"),
            ("blake2b ab", "blake2b ", 13, "a digest is none"),
        ];
        for (from, to, line, problem) in cases {
            let spoiled = if from.is_empty() { String::new() } else { text.replacen(from, to, 1) };
            let error = Lock::parse(&spoiled).unwrap_err();
            assert!(error.line == line && error.problem.contains(problem), "{error}");
        }
        let twice = format!(
            "{text}\n{}",
            &text[text.find("stage3 amd64").unwrap()..text.find("\nstage3 arm64").unwrap()]
        );
        assert!(Lock::parse(&twice).unwrap_err().problem.contains("twice"));
        let twice = text
            .replace("ebuilds", "ebuilds 20250927\nas-of 1\nsha512 ")
            .replace("sha512  ", &format!("sha512 {}\n\nebuilds ", "ef".repeat(64)));
        assert!(Lock::parse(&twice).unwrap_err().problem.contains("twice"), "{twice}");
        let merged = text.replacen("size", "<<<<<<< ours\nsize", 1);
        assert!(Lock::parse(&merged).is_err());
        for end in 0..text.len() {
            // Cut anywhere: an error, or a lock of fewer entries.
            let _ = Lock::parse(&text[..end]);
        }
    }
}
