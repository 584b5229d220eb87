//! `kiln.lock`: the builds that a project takes from mirrors, by content.
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
//! The ebuild tree comes first, then stage3s by name: equal locks have equal texts, and merges touch only changed entries.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::date::BuildDate;
use super::digests::{Digests, Sha512Sum};
use super::ebuilds::EbuildTree;
use super::latest::{Latest, MAX_SIZE};
use super::names::Stage3;

const HEAD: &str = "# What the builds of this project take from mirrors; `kiln update` writes it. \
    Keep it under version control.\nversion 1\n";

/// The locked build of a stage3, whatever mirrors call the latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedStage3 {
    /// When the `latest` file that named it was written, in seconds since 1970. Older files are refused.
    pub as_of: u64,
    /// When the build started.
    pub date: BuildDate,
    /// The tarball's size in bytes.
    pub size: u64,
    /// The tarball's digests.
    pub digests: Digests,
}

impl LockedStage3 {
    /// Locks the build that a `latest` file names, with its digests.
    pub fn new(latest: &Latest, digests: Digests) -> Self {
        Self { as_of: latest.as_of(), date: latest.date().clone(), size: latest.size(), digests }
    }

    /// The path of the tarball, relative to [`Stage3::builds`].
    pub fn path(&self, stage3: &Stage3) -> String {
        format!("{}/{stage3}-{}.tar.xz", self.date, self.date)
    }

    #[cfg(test)]
    pub(super) fn for_tests(latest: &Latest) -> Self {
        let digits = "0".repeat(128);
        Self::new(latest, Digests::from_hex(&digits, &digits).unwrap())
    }
}

/// The content of a lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    ebuilds: Option<EbuildTree>,
    stage3s: BTreeMap<Stage3, LockedStage3>,
}

/// A malformed lock file, most likely from a bad merge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}; take an earlier version of the file, or remove it and run `kiln update`")]
pub struct LockError {
    /// The line, from 1.
    pub line: usize,
    /// The problem.
    pub problem: String,
}

/// The effect of an update on an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    New,
    /// None: the same build is still the latest.
    Same,
    /// It replaces the build of this date.
    From(String),
}

impl Lock {
    /// Parses a lock file.
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

    /// The file's text. Equal locks have equal texts.
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        if let Some(EbuildTree { as_of, day, sha512 }) = &self.ebuilds {
            let _ = write!(text, "\nebuilds {day}\nas-of {as_of}\nsha512 {sha512}\n");
        }
        for (stage3, locked) in &self.stage3s {
            let LockedStage3 { as_of, size, digests, .. } = locked;
            let (path, blake2b, sha512) = (locked.path(stage3), digests.blake2b(), digests.sha512());
            let _ = write!(
                text,
                "\nstage3 {}\nas-of {as_of}\npath {path}\nsize {size}\nblake2b {blake2b}\nsha512 {sha512}\n",
                stage3.name()
            );
        }
        text
    }

    /// The locked build of a stage3.
    pub fn get(&self, stage3: &Stage3) -> Option<&LockedStage3> {
        self.stage3s.get(stage3)
    }

    /// Locks a build. The caller has checked [`Latest::is_fresh`].
    pub fn update(&mut self, stage3: &Stage3, mut locked: LockedStage3) -> Change {
        let before = self.stage3s.get(stage3);
        // The file may come from a mirror that is some hours behind.
        locked.as_of = before.map_or(locked.as_of, |before| before.as_of.max(locked.as_of));
        let (date, digests) = (locked.date.clone(), locked.digests.clone());
        match self.stage3s.insert(stage3.clone(), locked) {
            None => Change::New,
            Some(before) if before.date == date && before.digests == digests => Change::Same,
            Some(before) => Change::From(before.date.to_string()),
        }
    }

    /// The locked ebuild tree.
    pub fn ebuilds(&self) -> Option<&EbuildTree> {
        self.ebuilds.as_ref()
    }

    /// Locks an ebuild tree. The caller has checked [`EbuildTree::is_fresh`].
    pub fn update_ebuilds(&mut self, mut tree: EbuildTree) -> Change {
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

    /// Removes stage3s that the spec no longer names.
    pub fn keep(&mut self, wanted: impl Fn(&Stage3) -> bool) {
        self.stage3s.retain(|stage3, _| wanted(stage3));
    }

    /// Removes the ebuild tree.
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

    /// Whether the next line starts an entry of this kind.
    fn begins(&mut self, kind: &str) -> bool {
        self.skip();
        let line = self.lines.get(self.at).and_then(|(_, line)| line.strip_prefix(kind));
        line.is_some_and(|rest| rest.starts_with(' '))
    }

    /// An error at the last line read.
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

    fn tree(&mut self) -> Result<EbuildTree, LockError> {
        let day = self.field("ebuilds")?.parse();
        let day = day.map_err(|()| self.error("`ebuilds` has no day"))?;
        let as_of = self.number("as-of")?;
        let sha512 = Sha512Sum::from_hex(self.field("sha512")?);
        let sha512 = sha512.ok_or_else(|| self.error("a digest is none"))?;
        Ok(EbuildTree { as_of, day, sha512 })
    }

    fn locked(&mut self, stage3: &Stage3) -> Result<LockedStage3, LockError> {
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
        let locked = LockedStage3 { as_of, date, size, digests };
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

    fn locked(date: &str) -> LockedStage3 {
        let digests = Digests::from_hex(&"ab".repeat(64), &"cd".repeat(64)).unwrap();
        LockedStage3 { as_of: 1_759_080_600, date: date.parse().unwrap(), size: 311_603_336, digests }
    }

    fn tree(day: &str, as_of: u64) -> EbuildTree {
        EbuildTree {
            as_of,
            day: day.parse().unwrap(),
            sha512: Sha512Sum::from_hex(&"ef".repeat(64)).unwrap(),
        }
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
    fn a_lock_round_trips_through_its_text() {
        let text = lock().text();
        assert_eq!(Lock::parse(&text).as_ref(), Ok(&lock()));
        assert_eq!(Lock::parse(&text).unwrap().text(), text);
        assert_eq!(Lock::parse(&Lock::default().text()), Ok(Lock::default()));
        let first = text.find("amd64-systemd").unwrap();
        assert!(first < text.find("stage3 arm64-openrc").unwrap(), "{text}");
    }

    #[test]
    fn an_update_reports_its_effect() {
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
    fn an_ebuild_tree_is_updated_like_a_build() {
        let mut lock = lock();
        assert_eq!(lock.update_ebuilds(tree("20250928", 1_759_000_000)), Change::Same);
        assert_eq!(lock.ebuilds().unwrap().as_of, 1_759_104_000, "the later text of the same tree");
        let before = "20250928".to_owned();
        assert_eq!(lock.update_ebuilds(tree("20250929", 1_759_190_400)), Change::From(before));
        lock.drop_ebuilds();
        assert_eq!(lock.update_ebuilds(tree("20250928", 1)), Change::New);
    }

    #[test]
    fn a_malformed_lock_names_the_line() {
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
            // A truncated file is an error or a lock with fewer entries.
            let _ = Lock::parse(&text[..end]);
        }
    }
}
