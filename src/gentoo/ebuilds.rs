//! Ebuild trees: `snapshots/squashfs/` of a mirror has an image for each day and a clear-signed list of them.
//!
//! ```text
//! 1f0c...  gentoo-20250927.lzo.sqfs
//! 77ab...  gentoo-20250927.xz.sqfs
//! e3d2...  gentoo-20250928.xz.sqfs
//! e3d2...  gentoo-current.xz.sqfs
//! ```
//!
//! BSD-style lines such as `SHA512 (gentoo-20250928.xz.sqfs) = e3d2...` are accepted as well. Trees and stage3s are signed by
//! different keys. The list has no date; the time of its signature says how old a mirror's state is.

use std::time::{Duration, SystemTime};

use super::date::SnapshotDay;
use super::digests::Sha512Sum;
use super::latest::{AsOf, LatestError};
use super::signed::Verified;

/// The directory of trees, relative to a mirror's root.
const TREES: &str = "snapshots/squashfs/";

/// The name of the list.
const LIST: &str = "sha512sum.txt";

/// The largest accepted image, in bytes: Gentoo's has some 60 MB.
pub const MAX_SIZE: u64 = 256 << 20;

/// An ebuild tree, identified by content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EbuildTree {
    /// When the list that names it was signed, in seconds since 1970. Older lists are refused.
    pub as_of: u64,
    /// Its day.
    pub day: SnapshotDay,
    /// The digest of its image.
    pub sha512: Sha512Sum,
}

impl EbuildTree {
    /// The path of the list, relative to a mirror's root.
    pub fn list() -> String {
        format!("{TREES}{LIST}")
    }

    /// The latest tree of a signed list.
    pub fn latest(text: &Verified) -> Result<Self, LatestError> {
        let wrong =
            |problem: &str| LatestError::Format { file: LIST.to_owned(), problem: problem.to_owned() };
        let made = text.signer().made.duration_since(SystemTime::UNIX_EPOCH);
        let as_of = made.map_err(|_| wrong("it was signed before 1970"))?.as_secs();
        let mut latest: Option<Self> = None;
        for (name, digest) in text.text().lines().filter_map(file) {
            let day = name.strip_prefix("gentoo-").and_then(|name| name.strip_suffix(".xz.sqfs"));
            let day = day.and_then(|day| day.parse::<SnapshotDay>().ok());
            // The list also has trees with other compressions.
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

    /// Refuses a tree that is older than the locked one, or than `most`. `None`: any age.
    pub fn is_fresh(
        &self,
        locked: Option<&Self>,
        most: Option<Duration>,
        now: SystemTime,
    ) -> Result<(), LatestError> {
        fn of(tree: &EbuildTree) -> AsOf<'_, SnapshotDay> {
            AsOf { of: &tree.day, written: tree.as_of }
        }
        // A tree may be rebuilt on the same day.
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

    /// The path of its image, relative to a mirror's root.
    pub fn path(&self) -> String {
        format!("{TREES}{}", self.file())
    }

    /// The name of its image.
    fn file(&self) -> String {
        format!("gentoo-{}.xz.sqfs", self.day)
    }
}

/// The name and the digest of a line in either format of `sha512sum`.
fn file(line: &str) -> Option<(&str, &str)> {
    if let Some(tagged) = line.strip_prefix("SHA512 (") {
        return tagged.split_once(") = ");
    }
    // Two spaces, or a space and `*` for binary files.
    let (digest, name) = line.split_once(' ')?;
    Some((name.trim_start_matches([' ', '*']), digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lines: &[(char, &str)]) -> String {
        lines.iter().map(|(digit, name)| format!("{}  {name}\n", digit.to_string().repeat(128))).collect()
    }

    fn read(text: &str) -> Result<EbuildTree, LatestError> {
        EbuildTree::latest(&Verified::for_tests(text))
    }

    #[test]
    fn the_latest_tree_is_selected_and_other_files_are_ignored() {
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
    fn a_malformed_list_is_refused() {
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
    fn an_older_list_is_refused() {
        let tree = |day: &str, as_of| EbuildTree {
            as_of,
            day: day.parse().unwrap(),
            sha512: Sha512Sum::from_hex(&"0".repeat(128)).unwrap(),
        };
        let anew = |as_of| {
            let sha512 = Sha512Sum::from_hex(&"1".repeat(128)).unwrap();
            EbuildTree { sha512, ..tree("20250928", as_of) }
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
