//! What is kept of a result on a remote, and of a kept output directory.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::keys::{SigningKey, Trust};
use super::name::Name;
use super::sealed::{self, Body, EntryError, Opened, Sealed};
use super::wire::{Format, at_most};
use super::{pack, paths};
use crate::digest::{Digest, Domain, Hasher};
use crate::store::{Artifact, Outcome};

/// How many outputs an entry can speak of. No rule has more.
const MAX_OUTPUTS: usize = 4096;

/// The longest name of an output, an instance or a node, in bytes.
const MAX_TEXT: usize = 1024;

/// The largest blob that an entry can speak of, in bytes: sums of them stay numbers.
const MAX_BLOB: u64 = 1 << 40;

/// What came of an action, as a remote keeps it under the strong key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultEntry {
    /// The instance that it was made for: what one vouches for does not count in another.
    pub instance: String,
    /// What it is found under.
    pub strong_key: Digest,
    /// All that was declared.
    pub action_key: Digest,
    /// What was read: see [`paths::encode`].
    pub path_set: Name,
    /// The path set's own digest.
    pub path_set_digest: Digest,
    /// Pass or fail.
    #[serde(serialize_with = "put_outcome", deserialize_with = "take_outcome")]
    pub outcome: Outcome,
    /// By output name; sorted, each once.
    #[serde(deserialize_with = "at_most::<_, _, MAX_OUTPUTS>")]
    pub outputs: Vec<(String, EntryOutput)>,
    /// The log, where there is one.
    pub log: Option<Name>,
    /// Whether it was made by continuing in the output directory of an earlier run, and no run from nothing has made
    /// the same since.
    pub continued: bool,
}

/// What an action made of one declared output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryOutput {
    /// A regular file.
    File {
        /// Its content.
        blob: Name,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A directory with all that is in it.
    Tree {
        /// Of its listing.
        digest: Digest,
        /// How many files are in it.
        files: u64,
        /// How many bytes those have.
        bytes: u64,
        /// Its listings, and the names of its files: see [`super::Pack`].
        pack: Name,
    },
    /// An optional output that was not made.
    Absent,
}

/// A kept output directory, as a remote keeps it under [`kept_key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptEntry {
    /// The instance that it was made for.
    pub instance: String,
    /// What it is kept under here.
    pub key: Digest,
    /// The node that left it.
    pub node: String,
    /// Whatever the builder has to know to go on from it.
    pub record: Vec<u8>,
    /// What was read for it: see [`paths::encode`].
    pub path_set: Name,
    /// The path set's own digest.
    pub path_set_digest: Digest,
    /// The listings of the trees it was made from: see [`super::Pack`]. They tell what has changed since.
    pub listings: Name,
    /// The directory, as an archive.
    pub archive: Name,
    /// How much room it takes on disk.
    pub bytes: u64,
}

/// What a kept directory's entry is found under on a remote: apart from results, whatever their keys are.
pub fn kept_key(key: &Digest) -> Digest {
    Hasher::new(Domain::KeptRemote).digest(key).finish()
}

impl EntryOutput {
    /// What the local cache calls it.
    pub const fn artifact(&self) -> Artifact {
        match *self {
            Self::File { blob, executable } => {
                Artifact::File { digest: blob.blake3, size: blob.size, executable }
            }
            Self::Tree { digest, files, bytes, .. } => Artifact::Tree { digest, files, bytes },
            Self::Absent => Artifact::Absent,
        }
    }

    /// The blob that it is, or that tells what it is.
    const fn name(&self) -> Option<Name> {
        match *self {
            Self::File { blob, .. } => Some(blob),
            Self::Tree { pack, .. } => Some(pack),
            Self::Absent => None,
        }
    }
}

impl ResultEntry {
    /// Encodes it, and signs it where there is a key.
    pub fn seal(&self, by: Option<&SigningKey>) -> Sealed {
        sealed::seal(self, by)
    }

    /// The entry, if it counts here: found under that key, in that instance, by that trust.
    pub fn open(
        sealed: &Sealed,
        strong_key: &Digest,
        instance: &str,
        trust: &Trust,
    ) -> Result<Opened<Self>, EntryError> {
        sealed::open(sealed, strong_key, instance, trust)
    }

    /// The blobs that it names, each once. Those of a tree's files are in its pack.
    pub fn names(&self) -> Vec<Name> {
        let outputs = self.outputs.iter().filter_map(|(_, output)| output.name());
        each_once(std::iter::once(self.path_set).chain(outputs).chain(self.log))
    }

    /// What keeps others from reading it, where something does: there is no use in sending it.
    pub fn check(&self) -> Result<(), &'static str> {
        check_text(&self.instance, true)?;
        check_paths(&self.path_set)?;
        if !self.outcome.is_cacheable() {
            return Err("its outcome is no result");
        }
        if self.outputs.len() > MAX_OUTPUTS {
            return Err("it has too many outputs");
        }
        if !self.outputs.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err("its outputs are out of order");
        }
        for (name, output) in &self.outputs {
            check_text(name, false)?;
            match output {
                EntryOutput::File { blob, .. } => check_blob(blob)?,
                EntryOutput::Tree { files, bytes, pack, .. } => {
                    check_pack(pack)?;
                    if *files > pack::MAX_ENTRIES || *bytes > MAX_BLOB {
                        return Err("a tree is larger than any");
                    }
                }
                EntryOutput::Absent => {}
            }
        }
        self.log.iter().try_for_each(check_blob)
    }
}

impl KeptEntry {
    /// Encodes it, and signs it where there is a key.
    pub fn seal(&self, by: Option<&SigningKey>) -> Sealed {
        sealed::seal(self, by)
    }

    /// The entry, if it counts here: of that kept directory (not of where it is found, [`kept_key`]), in that instance,
    /// by that trust.
    pub fn open(
        sealed: &Sealed,
        key: &Digest,
        instance: &str,
        trust: &Trust,
    ) -> Result<Opened<Self>, EntryError> {
        sealed::open(sealed, key, instance, trust)
    }

    /// The blobs that it names, each once.
    pub fn names(&self) -> Vec<Name> {
        each_once([self.path_set, self.listings, self.archive].into_iter())
    }

    /// What keeps others from reading it, where something does: there is no use in sending it.
    pub fn check(&self) -> Result<(), &'static str> {
        check_text(&self.instance, true)?;
        check_text(&self.node, false)?;
        check_paths(&self.path_set)?;
        check_pack(&self.listings)?;
        check_blob(&self.archive)?;
        if self.bytes > MAX_BLOB { Err("it takes more room than any") } else { Ok(()) }
    }
}

impl Body for ResultEntry {
    const FORMAT: Format = Format::Result;
    const CONTEXT: &'static str = "kiln 2026-11 result entry v2";

    fn place(&self) -> (&Digest, &str) {
        (&self.strong_key, &self.instance)
    }

    fn check(&self) -> Result<(), &'static str> {
        self.check()
    }
}

impl Body for KeptEntry {
    const FORMAT: Format = Format::Kept;
    const CONTEXT: &'static str = "kiln 2026-11 kept entry v1";

    fn place(&self) -> (&Digest, &str) {
        (&self.key, &self.instance)
    }

    fn check(&self) -> Result<(), &'static str> {
        self.check()
    }
}

/// In their order, which servers are told blobs in.
fn each_once(names: impl Iterator<Item = Name>) -> Vec<Name> {
    let mut seen = HashSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

/// Names are shown to people: nothing in them may speak to a terminal.
fn check_text(text: &str, may_be_empty: bool) -> Result<(), &'static str> {
    if text.len() > MAX_TEXT || (text.is_empty() && !may_be_empty) || text.chars().any(char::is_control) {
        return Err("a name in it is none");
    }
    Ok(())
}

const fn check_blob(blob: &Name) -> Result<(), &'static str> {
    if blob.size > MAX_BLOB { Err("a blob is larger than any") } else { Ok(()) }
}

const fn check_paths(blob: &Name) -> Result<(), &'static str> {
    if blob.size > paths::MAX_BLOB { Err("its path set is larger than any") } else { Ok(()) }
}

const fn check_pack(blob: &Name) -> Result<(), &'static str> {
    if blob.size > pack::MAX_BLOB { Err("a pack of listings is larger than any") } else { Ok(()) }
}

/// 0 for pass, 1 for fail: a signature must not depend on how outcomes are listed elsewhere.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn put_outcome<S: Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    // What is neither is not sent, and would be refused as damaged.
    let number = match outcome {
        Outcome::Pass => 0,
        Outcome::Fail => 1,
        Outcome::Infra | Outcome::Skipped | Outcome::Cancelled => u8::MAX,
    };
    serializer.serialize_u8(number)
}

fn take_outcome<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Outcome, D::Error> {
    match u8::deserialize(deserializer)? {
        0 => Ok(Outcome::Pass),
        1 => Ok(Outcome::Fail),
        _ => Err(serde::de::Error::custom("an outcome that is no result")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::MAX_ENTRY;
    use super::super::keys::PublicKey;
    use super::super::name::Sha256;
    use super::super::wire::FormatError;
    use super::*;

    /// The first test vector of RFC 8032.
    const KEY: &str = "kiln-secret-1:ci-1:nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    const PUBLIC: &str = "ci-1:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    fn name(what: &str) -> Name {
        Name { blake3: digest(what), sha256: Sha256(*digest(what).as_bytes()), size: what.len() as u64 }
    }

    fn digest(what: &str) -> Digest {
        Digest::of_bytes(what.as_bytes())
    }

    fn result() -> ResultEntry {
        let tree = EntryOutput::Tree { digest: digest("tree"), files: 3, bytes: 70, pack: name("pack") };
        ResultEntry {
            instance: "trusted".to_owned(),
            strong_key: digest("strong"),
            action_key: digest("action"),
            path_set: name("paths"),
            path_set_digest: digest("set"),
            outcome: Outcome::Pass,
            outputs: vec![
                ("image".to_owned(), EntryOutput::File { blob: name("image"), executable: true }),
                ("modules".to_owned(), tree),
                ("symbols".to_owned(), EntryOutput::Absent),
            ],
            log: Some(name("log")),
            continued: false,
        }
    }

    fn kept() -> KeptEntry {
        KeptEntry {
            instance: "trusted".to_owned(),
            key: digest("strong"),
            node: "kernel/x86".to_owned(),
            record: vec![1, 2, 3],
            path_set: name("paths"),
            path_set_digest: digest("set"),
            listings: name("listings"),
            archive: name("archive"),
            bytes: 4096,
        }
    }

    fn key(name: &str) -> SigningKey {
        SigningKey::generate(name).unwrap()
    }

    fn trust(keys: &[&SigningKey]) -> Trust {
        Trust::Signed(keys.iter().map(|key| key.public()).collect())
    }

    fn open(sealed: &Sealed, trust: &Trust) -> Result<Opened<ResultEntry>, EntryError> {
        ResultEntry::open(sealed, &digest("strong"), "trusted", trust)
    }

    /// As it comes from a remote.
    fn travelled(sealed: &Sealed) -> Sealed {
        Sealed::decode(&sealed.encode()).unwrap()
    }

    #[test]
    fn what_a_listed_key_has_signed_counts() {
        let (one, two) = (key("ci-1"), key("ci-2"));
        let sealed = travelled(&result().seal(Some(&one)));
        for trust in [trust(&[&one]), trust(&[&two, &one])] {
            let opened = open(&sealed, &trust).unwrap();
            assert_eq!(opened.entry, result());
            assert_eq!(opened.signed_by.as_deref(), Some("ci-1"));
        }
        let sealed = travelled(&kept().seal(Some(&one)));
        let opened = KeptEntry::open(&sealed, &digest("strong"), "trusted", &trust(&[&one])).unwrap();
        assert_eq!(opened.entry, kept());
    }

    #[test]
    fn what_nobody_has_signed_counts_only_where_all_is_trusted() {
        let one = key("ci-1");
        let sealed = travelled(&result().seal(None));
        assert_eq!(open(&sealed, &trust(&[&one])), Err(EntryError::Unsigned));
        assert_eq!(open(&sealed, &trust(&[])), Err(EntryError::Unsigned));
        let opened = open(&sealed, &Trust::AsItIs).unwrap();
        assert_eq!((opened.entry, opened.signed_by), (result(), None));
    }

    #[test]
    fn a_dropped_key_counts_no_more() {
        let (old, new) = (key("ci-1"), key("ci-2"));
        let sealed = travelled(&result().seal(Some(&old)));
        assert!(open(&sealed, &trust(&[&old, &new])).is_ok());
        let error = open(&sealed, &trust(&[&new])).unwrap_err();
        assert_eq!(error, EntryError::UnknownKey { names: vec!["ci-1".to_owned()] });
        assert_eq!(error.to_string(), "it is signed by ci-1, which is not among the project's keys");
    }

    #[test]
    fn a_key_of_the_same_name_is_not_the_same_key() {
        let (ours, theirs) = (key("ci-1"), key("ci-1"));
        let sealed = travelled(&result().seal(Some(&theirs)));
        assert_eq!(
            open(&sealed, &trust(&[&ours])),
            Err(EntryError::BadSignature { name: "ci-1".to_owned() })
        );
        assert!(open(&sealed, &trust(&[&ours, &theirs])).is_ok());
    }

    #[test]
    fn an_entry_does_not_count_in_another_place() {
        let one = key("ci-1");
        let trust = trust(&[&one]);
        let sealed = result().seal(Some(&one));
        let replayed = ResultEntry::open(&sealed, &digest("another"), "trusted", &trust);
        assert_eq!(replayed, Err(EntryError::OtherKey));
        let foreign = ResultEntry::open(&sealed, &digest("strong"), "pr/7", &trust);
        assert_eq!(foreign, Err(EntryError::OtherInstance { found: "trusted".to_owned() }));
        // Nor does it where nothing has to be signed.
        let replayed = ResultEntry::open(&sealed, &digest("another"), "trusted", &Trust::AsItIs);
        assert_eq!(replayed, Err(EntryError::OtherKey));
        assert_ne!(kept_key(&digest("strong")), digest("strong"));
    }

    #[test]
    fn one_kind_of_entry_is_not_taken_for_the_other() {
        let one = key("ci-1");
        let sealed = travelled(&kept().seal(Some(&one)));
        let error = EntryError::BadSignature { name: "ci-1".to_owned() };
        assert_eq!(open(&sealed, &trust(&[&one])), Err(error));
        let error = FormatError::Other { what: "result" }.into();
        assert_eq!(open(&sealed, &Trust::AsItIs), Err(error));
    }

    #[test]
    fn an_entry_that_no_kiln_writes_is_refused_even_where_it_is_signed() {
        let one = key("ci-1");
        let trust = trust(&[&one]);
        let refused = |change: &dyn Fn(&mut ResultEntry)| {
            let mut entry = result();
            change(&mut entry);
            assert!(entry.check().is_err(), "{entry:?}");
            let opened =
                ResultEntry::open(&entry.seal(Some(&one)), &entry.strong_key, &entry.instance, &trust);
            assert!(matches!(opened, Err(EntryError::Format(FormatError::Damaged(_)))), "{opened:?}");
        };
        refused(&|entry| entry.outputs.swap(0, 1));
        refused(&|entry| entry.outputs[1].0 = "image".to_owned());
        refused(&|entry| entry.outputs[0].0 = String::new());
        refused(&|entry| entry.outputs[0].0 = "\u{1b}[2J".to_owned());
        refused(&|entry| entry.outcome = Outcome::Infra);
        refused(&|entry| entry.outcome = Outcome::Cancelled);
        refused(&|entry| entry.instance = "a\nb".to_owned());
        refused(&|entry| entry.path_set.size = u64::MAX);
        refused(&|entry| entry.log = Some(Name { size: u64::MAX, ..name("log") }));
        refused(&|entry| {
            entry.outputs =
                (0..=MAX_OUTPUTS).map(|number| (format!("{number:08}"), EntryOutput::Absent)).collect();
        });
        assert_eq!(result().check(), Ok(()));
        assert_eq!(kept().check(), Ok(()));
    }

    #[test]
    fn names_are_of_each_blob_once() {
        let mut entry = result();
        entry.log = Some(name("image"));
        assert_eq!(entry.names(), [name("paths"), name("image"), name("pack")]);
        assert_eq!(kept().names(), [name("paths"), name("listings"), name("archive")]);
    }

    /// As the document says, put together by hand.
    fn bytes_of(blob: &Name) -> Vec<u8> {
        let size = u8::try_from(blob.size).unwrap();
        [&blob.blake3.as_bytes()[..], &blob.sha256.0, &[size]].concat()
    }

    #[test]
    fn the_bytes_are_those_of_the_document() {
        let (key, public) = (SigningKey::parse(KEY).unwrap(), PublicKey::parse(PUBLIC).unwrap());
        assert_eq!(key.public(), public);
        let body = [
            b"kilnr\x02\x07trusted",
            &digest("strong").as_bytes()[..],
            digest("action").as_bytes(),
            &bytes_of(&name("paths")),
            digest("set").as_bytes(),
            b"\0\x03\x05image\0",
            &bytes_of(&name("image")),
            b"\x01\x07modules\x01",
            digest("tree").as_bytes(),
            b"\x03\x46",
            &bytes_of(&name("pack")),
            b"\x07symbols\x02\x01",
            &bytes_of(&name("log")),
            b"\0",
        ]
        .concat();
        let message = [&b"\x1c\0\0\0\0\0\0\0kiln 2026-11 result entry v2"[..], &body].concat();
        let signature = key.sign(&message);
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let sealed = [b"kilne\x01", &length[..], &body, b"\x01\x04ci-1", &signature].concat();
        assert_eq!(result().seal(Some(&key)).encode(), sealed);

        let body = [
            b"kilnk\x01\x07trusted",
            &digest("strong").as_bytes()[..],
            b"\x0akernel/x86\x03\x01\x02\x03",
            &bytes_of(&name("paths")),
            digest("set").as_bytes(),
            &bytes_of(&name("listings")),
            &bytes_of(&name("archive")),
            b"\x80\x20",
        ]
        .concat();
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        assert_eq!(kept().seal(None).encode(), [b"kilne\x01", &length[..], &body, b"\0"].concat());
    }

    #[test]
    fn more_than_an_entry_may_have_is_not_looked_at() {
        let mut bytes = result().seal(None).encode();
        bytes.resize(usize::try_from(MAX_ENTRY).unwrap() + 1, 0);
        assert!(matches!(Sealed::decode(&bytes), Err(EntryError::Format(FormatError::TooLarge(_)))));
    }

    fn signed() -> (Vec<u8>, Trust) {
        let one = SigningKey::parse(KEY).unwrap();
        (result().seal(Some(&one)).encode(), trust(&[&one]))
    }

    #[test]
    fn no_part_of_a_signed_entry_can_be_cut_off() {
        let (bytes, trust) = signed();
        for cut in 0..bytes.len() {
            let opened = Sealed::decode(&bytes[..cut]).and_then(|sealed| open(&sealed, &trust));
            assert!(opened.is_err(), "{cut}");
        }
        assert!(Sealed::decode(&[&bytes[..], b"x"].concat()).is_err());
    }

    proptest! {
        #[test]
        fn no_bit_of_a_signed_entry_can_be_changed(at: prop::sample::Index, bit in 0u8..8) {
            let (mut bytes, trust) = signed();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Sealed::decode(&bytes).and_then(|sealed| open(&sealed, &trust)).is_err());
        }

        #[test]
        fn a_changed_entry_that_is_taken_unsigned_is_still_one_of_ours(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = result().seal(None).encode();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(sealed) = Sealed::decode(&bytes)
                && let Ok(opened) = open(&sealed, &Trust::AsItIs)
            {
                prop_assert_eq!(opened.entry.seal(None).encode(), bytes);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, strip in any::<bool>()) {
            if strip {
                bytes.splice(..0, Format::Sealed.header());
            }
            if let Ok(sealed) = Sealed::decode(&bytes) {
                let _ = open(&sealed, &Trust::AsItIs);
            }
        }
    }
}
