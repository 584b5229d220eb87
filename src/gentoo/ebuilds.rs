//! Trees of ebuilds: `snapshots/squashfs/` of a mirror, an image of each day, and a clear-signed list of them.
//!
//! ```text
//! 1f0c...  gentoo-20250927.lzo.sqfs
//! 77ab...  gentoo-20250927.xz.sqfs
//! e3d2...  gentoo-20250928.xz.sqfs
//! e3d2...  gentoo-current.xz.sqfs
//! ```
//!
//! Lines such as `SHA512 (gentoo-20250928.xz.sqfs) = e3d2...` are read as well. The tree is at the top of an image. Whoever signs
//! trees does not sign stage3s, and the other way round. The list has no time in it: that of its signature says how old what a
//! mirror shows is.

use std::time::{Duration, SystemTime};

use super::dated::Day;
use super::digests::Sha512Sum;
use super::latest::{AsOf, LatestError};
use super::signed::Verified;

/// Where trees are, relative to a mirror's root.
const TREES: &str = "snapshots/squashfs/";

/// The list's name there.
const LIST: &str = "sha512sum.txt";

/// The largest tree there may be, in bytes: Gentoo's has some 60 MB.
pub const MAX_SIZE: u64 = 256 << 20;

/// A tree of ebuilds, by its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// When the list was signed that names it, in seconds since 1970. No older one is believed.
    pub as_of: u64,
    /// The day it is of.
    pub day: Day,
    /// What its image holds.
    pub sha512: Sha512Sum,
}

impl Tree {
    /// Where the list is, relative to a mirror's root.
    pub fn list() -> String {
        format!("{TREES}{LIST}")
    }

    /// The latest tree of a list.
    pub fn latest(text: &Verified) -> Result<Self, LatestError> {
        let wrong =
            |problem: &str| LatestError::Format { file: LIST.to_owned(), problem: problem.to_owned() };
        let made = text.signer().made.duration_since(SystemTime::UNIX_EPOCH);
        let as_of = made.map_err(|_| wrong("it was signed before 1970"))?.as_secs();
        let mut latest: Option<Self> = None;
        for (name, digest) in text.text().lines().filter_map(file) {
            let day = name.strip_prefix("gentoo-").and_then(|name| name.strip_suffix(".xz.sqfs"));
            let day = day.and_then(|day| day.parse::<Day>().ok());
            // Trees are packed in other ways as well.
            let Some(day) = day else { continue };
            match &latest {
                Some(latest) if latest.day > day => {}
                Some(latest) if latest.day == day => return Err(wrong("it names the same tree twice")),
                _ => {
                    let sha512 = Sha512Sum::from_hex(digest);
                    let sha512 = sha512.ok_or_else(|| wrong("one of its digests is none"))?;
                    latest = Some(Self { as_of, day, sha512 });
                }
            }
        }
        latest.ok_or_else(|| wrong("it names no gentoo-YYYYMMDD.xz.sqfs"))
    }

    /// Refuses what is older than what is locked, and what is older than it may be. `None` as the age: however old it is.
    pub fn is_fresh(
        &self,
        locked: Option<&Self>,
        most: Option<Duration>,
        now: SystemTime,
    ) -> Result<(), LatestError> {
        fn of(tree: &Tree) -> AsOf<'_, Day> {
            AsOf { of: &tree.day, written: tree.as_of }
        }
        // A tree may be made anew on its day.
        if let Some(locked) = locked
            && self.day == locked.day
            && self.sha512 != locked.sha512
            && self.as_of < locked.as_of
        {
            let found = format!("{}, by a list that was signed before", self.day);
            return Err(LatestError::Back { file: LIST.to_owned(), found, locked: locked.day.to_string() });
        }
        of(self).is_fresh(LIST, locked.map(of), most, now)
    }

    /// Where its image is, relative to a mirror's root.
    pub fn path(&self) -> String {
        format!("{TREES}{}", self.file())
    }

    /// Its image's name there.
    fn file(&self) -> String {
        format!("gentoo-{}.xz.sqfs", self.day)
    }
}

/// Name and digest, of a line of either form that `sha512sum` writes.
fn file(line: &str) -> Option<(&str, &str)> {
    if let Some(tagged) = line.strip_prefix("SHA512 (") {
        return tagged.split_once(") = ");
    }
    // Two blanks, or a blank and the star of binary files.
    let (digest, name) = line.split_once(' ')?;
    Some((name.trim_start_matches([' ', '*']), digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lines: &[(char, &str)]) -> String {
        lines.iter().map(|(digit, name)| format!("{}  {name}\n", digit.to_string().repeat(128))).collect()
    }

    fn read(text: &str) -> Result<Tree, LatestError> {
        Tree::latest(&Verified::for_tests(text))
    }

    #[test]
    fn the_latest_tree_is_taken_and_other_files_are_not() {
        let text = list(&[
            ('1', "gentoo-20250926.xz.sqfs"),
            ('2', "gentoo-20250928.xz.sqfs"),
            ('3', "gentoo-20250927.xz.sqfs"),
            ('4', "gentoo-20250929.lzo.sqfs"),
            ('5', "gentoo-current.xz.sqfs"),
            ('6', "gentoo-20250926-20250928.sqdelta"),
            ('7', "../gentoo-20250930.xz.sqfs"),
        ]);
        let tree = read(&text).unwrap();
        assert_eq!(tree.path(), "snapshots/squashfs/gentoo-20250928.xz.sqfs");
        assert_eq!(tree.sha512.to_string(), "2".repeat(128));
        let binary = list(&[('2', "gentoo-20250928.xz.sqfs")]).replace("  ", " *");
        assert_eq!(read(&binary).unwrap(), tree);
        let tagged = format!("SHA512 (gentoo-20250928.xz.sqfs) = {}\n", "2".repeat(128));
        assert_eq!(read(&tagged).unwrap(), tree);
    }

    #[test]
    fn a_list_that_is_none_says_so() {
        let name = "gentoo-20250928.xz.sqfs";
        let cases = [
            (String::new(), "names no gentoo-YYYYMMDD.xz.sqfs"),
            (list(&[('1', "gentoo-2025092.xz.sqfs")]), "names no"),
            (list(&[('x', name)]), "is none"),
            (list(&[('1', name), ('2', name)]), "twice"),
        ];
        for (text, problem) in cases {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains(LIST), "{error}");
        }
    }

    #[test]
    fn a_list_does_not_go_back_in_time() {
        let tree = |day: &str, as_of| Tree {
            as_of,
            day: day.parse().unwrap(),
            sha512: Sha512Sum::from_hex(&"0".repeat(128)).unwrap(),
        };
        let anew = |as_of| {
            let sha512 = Sha512Sum::from_hex(&"1".repeat(128)).unwrap();
            Tree { sha512, ..tree("20250928", as_of) }
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(72);
        let found = tree("20250928", 86_400);
        assert_eq!(found.is_fresh(Some(&tree("20250928", 90_000)), None, now), Ok(()), "the same tree");
        assert_eq!(found.is_fresh(Some(&tree("20250927", 80_000)), None, now), Ok(()));
        let error = found.is_fresh(Some(&tree("20250929", 80_000)), None, now).unwrap_err().to_string();
        assert!(error.contains("20250928") && error.contains("20250929"), "{error}");
        let error = found.is_fresh(Some(&tree("20250927", 90_000)), None, now).unwrap_err().to_string();
        assert!(error.contains("goes back in time"), "{error}");
        assert_eq!(found.is_fresh(Some(&anew(80_000)), None, now), Ok(()), "made anew on its day");
        let error = found.is_fresh(Some(&anew(90_000)), None, now).unwrap_err().to_string();
        assert!(error.contains("signed before"), "{error}");
        let day = Some(Duration::from_hours(24));
        assert!(found.is_fresh(None, day, now).unwrap_err().to_string().contains("signed 2 days ago"));
    }
}
