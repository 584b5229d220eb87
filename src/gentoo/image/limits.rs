//! Limits on the content of a stage3's tarball.

use std::io;

use super::entry::{Entry, Kind, is_overlays};

/// The limits of a root.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Total bytes of all files.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
}

impl Default for Limits {
    /// Several times the largest stage3.
    fn default() -> Self {
        Self { bytes: 32 << 30, entries: 1_000_000 }
    }
}

/// The totals of an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveTotals {
    /// Number of entries.
    pub entries: u64,
    /// Total bytes of all files.
    pub bytes: u64,
}

impl ArchiveTotals {
    /// Counts an entry, and refuses it if it exceeds a limit or would affect an overlay mount.
    pub(super) fn count(&mut self, entry: &Entry<'_>, limits: Limits) -> Result<(), ArchiveError> {
        let bad = |problem: String| Err(bad(&entry.name, &problem));
        self.entries += 1;
        if self.entries > limits.entries {
            return bad(format!("is one more than the {} that a root may have", limits.entries));
        }
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.bytes > limits.bytes {
            return bad(format!("is too large: a root may have {} bytes", limits.bytes));
        }
        if let Kind::Char(0, 0) = entry.kind {
            return bad("is a whiteout, which would hide a file of another layer".to_owned());
        }
        if entry.xattrs.iter().any(|(name, _)| is_overlays(name)) {
            return bad("has an attribute that would steer an overlay".to_owned());
        }
        Ok(())
    }
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// An entry that no stage3 has: the archive is damaged or malicious.
    #[error("entry {entry:?} {problem}; nothing of the archive is used")]
    Entry {
        /// Its name.
        entry: String,
        /// The problem.
        problem: String,
    },
    /// The archive can't be read.
    #[error("the archive can't be read: {0}")]
    Archive(io::Error),
}

/// An error for an entry. Its message escapes control characters of the name.
pub(super) fn bad(name: &[u8], problem: &str) -> ArchiveError {
    let entry = String::from_utf8_lossy(name).chars().take(200).collect();
    ArchiveError::Entry { entry, problem: problem.to_owned() }
}
