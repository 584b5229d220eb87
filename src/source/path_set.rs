//! Path sets: what an action read of its inputs, as names without content.
//!
//! The names are found by one run (see `docs/cache.md`); what they hold is looked up anew in every tree that asks
//! whether the run's result still stands. A path set therefore says nothing of a tree, only where to look.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Domain, Hasher};

/// Raised when entries come to mean something else.
const VERSION: u64 = 1;

/// What an action read, by input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathSet {
    provenance: Provenance,
    inputs: BTreeMap<String, Reads>,
}

/// How it is known what was read. It is part of a path set's identity: the same names from another source make another
/// promise. The order is that of trust, and the numbers are part of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Provenance {
    /// kbuild's own records, and whole directories for what they leave out.
    KbuildRecords = 1,
    /// The kernel reported every open.
    Opens = 2,
    /// Nothing had to be found out: all of every input counts.
    Whole = 3,
}

/// What was read of one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// All of it: nothing tells which part.
    Whole,
    /// These, sorted, each once.
    Only(Vec<PathEntry>),
}

/// One thing that was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathEntry {
    /// What of it counts.
    pub kind: EntryKind,
    /// Where, from the input's root; `""` is the root itself. Byte for byte, with `/` between names.
    pub path: Box<[u8]>,
}

/// What of a path counts.
///
/// The numbers are part of what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// A file's content.
    File = 0,
    /// A file's content, and where else in the tree there is one of its name: it was, or may have been, found by
    /// trying one directory after the other, and a new one of that name may be found first.
    Searched = 1,
    /// Which names a directory holds and what each is; not what is in the files.
    Names = 2,
    /// A directory with everything below it.
    Tree = 3,
    /// Every symbolic link of the tree (the path is `""`): following one leaves no trace of its own.
    Links = 4,
}

impl Provenance {
    /// The provenance of that number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::KbuildRecords,
            2 => Self::Opens,
            3 => Self::Whole,
            _ => return None,
        })
    }

    /// Raised when the discoverer learns to see more, so that what it overlooked before is not found any more.
    const fn version(self) -> u64 {
        match self {
            Self::KbuildRecords => 3,
            Self::Opens => 2,
            Self::Whole => 1,
        }
    }

    /// Whether it is observed, and not concluded, that nothing else was read.
    pub const fn is_complete(self) -> bool {
        !matches!(self, Self::KbuildRecords)
    }
}

impl From<Provenance> for u8 {
    fn from(provenance: Provenance) -> Self {
        provenance as Self
    }
}

impl TryFrom<u8> for Provenance {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Self::from_number(number).ok_or("no provenance of a path set has this number")
    }
}

impl EntryKind {
    /// The kind of that number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::File,
            1 => Self::Searched,
            2 => Self::Names,
            3 => Self::Tree,
            4 => Self::Links,
            _ => return None,
        })
    }
}

impl PathEntry {
    /// An entry.
    pub fn new(kind: EntryKind, path: impl Into<Box<[u8]>>) -> Self {
        Self { kind, path: path.into() }
    }
}

impl Reads {
    /// These entries, in any order.
    pub fn only(mut entries: Vec<PathEntry>) -> Self {
        entries.sort_unstable();
        entries.dedup();
        Self::Only(entries)
    }
}

impl PathSet {
    /// What was read of each input, by its name.
    pub fn new(provenance: Provenance, inputs: impl IntoIterator<Item = (String, Reads)>) -> Self {
        Self { provenance, inputs: inputs.into_iter().collect() }
    }

    /// How it is known.
    pub const fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// By input name.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &Reads)> {
        self.inputs.iter().map(|(input, reads)| (input.as_str(), reads))
    }

    /// What was read of one input.
    pub fn reads(&self, input: &str) -> Option<&Reads> {
        self.inputs.get(input)
    }

    /// This set, but with `other`'s reads of the inputs that `other` has, as known as they are.
    #[must_use]
    pub fn narrowed(mut self, other: Self) -> Self {
        self.provenance = self.provenance.min(other.provenance);
        self.inputs.extend(other.inputs);
        self
    }

    /// What one or the other read: what stands for both runs together. It is known no better than either.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        self.provenance = self.provenance.min(other.provenance);
        for (input, reads) in other.inputs {
            let merged = match (self.inputs.remove(&input), reads) {
                (Some(Reads::Only(mut ours)), Reads::Only(theirs)) => {
                    ours.extend(theirs);
                    Reads::only(ours)
                }
                (None, reads) => reads,
                _ => Reads::Whole,
            };
            self.inputs.insert(input, merged);
        }
        self
    }

    /// Its digest: part of the strong key. Independent of how and where it is stored.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new(Domain::PathSet);
        hasher.number(VERSION).number(self.provenance as u64).number(self.provenance.version());
        hasher.number(self.inputs.len() as u64);
        for (input, reads) in &self.inputs {
            hasher.text(input);
            match reads {
                Reads::Whole => {
                    hasher.number(0);
                }
                Reads::Only(entries) => {
                    hasher.number(1).number(entries.len() as u64);
                    for entry in entries {
                        hasher.number(entry.kind as u64).bytes(&entry.path);
                    }
                }
            }
        }
        hasher.finish()
    }
}
