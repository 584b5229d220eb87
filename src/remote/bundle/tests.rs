use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sha2::Digest as _;
use tempfile::TempDir;

use super::*;
use crate::remote::{Remote, RemoteError};

fn name(bytes: &[u8]) -> Name {
    let sha256 = Sha256(sha2::Sha256::digest(bytes).into());
    Name { blake3: Digest::of_bytes(bytes), sha256, size: bytes.len() as u64 }
}

/// Bytes that can't be compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn contents() -> Vec<Vec<u8>> {
    vec![Vec::new(), b"short".to_vec(), b"text ".repeat(100_000), noise(300_000), noise(1)]
}

struct Made {
    dir: TempDir,
    writer: BundleWriter,
}

impl Made {
    fn new(contents: &[Vec<u8>], entries: &[&[u8]]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = BundleWriter::new();
        for (number, content) in contents.iter().enumerate() {
            let path = dir.path().join(format!("content-{number}"));
            fs::write(&path, content).unwrap();
            writer.blob(name(content), path);
        }
        for entry in entries {
            writer.entry(Digest::of_bytes(entry), entry.to_vec()).unwrap();
        }
        Self { dir, writer }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    fn bytes(&self) -> Vec<u8> {
        let length = self.writer.write(&self.path(), &mut |_| ()).unwrap();
        let bytes = fs::read(self.path()).unwrap();
        assert_eq!(bytes.len() as u64, length);
        bytes
    }

    fn open(&self, bytes: &[u8]) -> Result<Bundle, BundleError> {
        let path = self.path();
        fs::write(&path, bytes).unwrap();
        Bundle::open(&path)
    }
}

fn get(bundle: &Bundle, blob: &Name, offset: u64) -> Result<Vec<u8>, RemoteError> {
    let mut bytes = Vec::new();
    bundle.get(blob, offset, &mut bytes).map(|()| bytes)
}

#[test]
fn what_is_put_in_comes_out() {
    let made = Made::new(&contents(), &[b"one", b"two", b""]);
    let mut done = 0;
    made.writer.write(&made.path(), &mut |bytes| done += bytes).unwrap();
    assert_eq!(done, made.writer.bytes());
    let bundle = Bundle::open(&made.path()).unwrap();
    let mut verified = 0;
    bundle.verify(&mut |bytes| verified += bytes).unwrap();
    assert_eq!(verified, done);
    assert_eq!((bundle.entries().count(), bundle.blobs().count()), (3, 5));
    for entry in [&b"one"[..], b"two", b""] {
        assert_eq!(bundle.entry(&Digest::of_bytes(entry)).unwrap().as_deref(), Some(entry));
    }
    assert_eq!(bundle.entry(&Digest::of_bytes(b"three")).unwrap(), None);
    for content in contents() {
        let name = name(&content);
        let size = name.size;
        for offset in [0, 1, size / 2, size.saturating_sub(1), size] {
            let rest = content.get(usize::try_from(offset).unwrap()..);
            let got = get(&bundle, &name, offset);
            assert_eq!(got.as_deref().ok(), rest, "{offset} of {size}");
        }
        assert!(get(&bundle, &name, size + 1).is_err());
    }
    let absent = name(b"absent");
    assert!(matches!(get(&bundle, &absent, 0), Err(RemoteError::Missing)));
    let size = Name { size: 6, ..name(b"short") };
    assert!(matches!(get(&bundle, &size, 0), Err(RemoteError::Missing)));
    assert_eq!(bundle.missing(&[name(b"short"), absent]).unwrap(), [absent]);
}

#[test]
fn equal_content_makes_an_equal_file() {
    let mut others = contents();
    others.reverse();
    let (one, two) = (Made::new(&contents(), &[b"a", b"b"]), Made::new(&others, &[b"b", b"a", b"a"]));
    let bytes = one.bytes();
    assert_eq!(bytes, two.bytes());
    assert_eq!(bytes, one.bytes(), "over the old one");
    assert_ne!(bytes, Made::new(&contents(), &[b"a"]).bytes());
    // Text is compressed, noise is not.
    assert!(bytes.len() < 302_000, "{}", bytes.len());
    let left: Vec<_> =
        fs::read_dir(one.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 6, "{left:?}");
}

#[test]
fn nothing_can_be_put() {
    let made = Made::new(&[], &[]);
    let bundle = made.open(&made.bytes()).unwrap();
    let mut file = File::open(made.path()).unwrap();
    let blob = name(b"short");
    let key = Digest::of_bytes(b"key");
    assert!(matches!(bundle.put_entry(&key, b"", &[]), Err(RemoteError::Refused(_))));
    assert!(matches!(bundle.put(&blob, &mut file), Err(RemoteError::Refused(_))));
    assert!(matches!(bundle.put_several(&[(blob, b"short".to_vec())]), Err(RemoteError::Refused(_))));
    assert!(bundle.verify(&mut |_| ()).is_ok());
}

#[test]
fn a_bundle_that_is_cut_anywhere_is_refused_and_says_how_much_is_there() {
    let made = Made::new(&[b"text ".repeat(100)], &[b"entry"]);
    let bytes = made.bytes();
    for cut in 0..bytes.len() {
        let error = made.open(&bytes[..cut]).unwrap_err();
        assert!(matches!(error, BundleError::Truncated { has, .. } if has == cut as u64), "{error}");
    }
    let error = made.open(&bytes[..200]).unwrap_err().to_string();
    assert!(error.contains(&format!("200 of its {} bytes are there", bytes.len())), "{error}");
    assert!(made.open(&[&bytes[..], b"x"].concat()).is_err());
}

#[test]
fn a_bundle_that_is_damaged_anywhere_never_hands_out_other_content() {
    let contents = [b"text ".repeat(20), noise(50), Vec::new()];
    let made = Made::new(&contents, &[b"entry"]);
    let bytes = made.bytes();
    let names = contents.clone().map(|content| name(&content));
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        let Ok(bundle) = made.open(&bytes) else { continue };
        // Only entries and blobs can be damaged now.
        match bundle.verify(&mut |_| ()) {
            Ok(()) => {
                for (name, content) in names.iter().zip(&contents) {
                    assert_eq!(get(&bundle, name, 0).unwrap(), *content, "{at}");
                }
            }
            Err(BundleError::Damaged { at: found, length, .. }) => {
                assert!(found <= at as u64 && found >= HEADER as u64, "{at} {found}");
                assert_eq!(length, bytes.len() as u64);
            }
            Err(error) => panic!("{at}: {error}"),
        }
    }
}

#[test]
fn a_damaged_entry_is_not_handed_out() {
    let made = Made::new(&[], &[b"entry"]);
    let mut bytes = made.bytes();
    bytes[HEADER] ^= 1;
    let error = made.open(&bytes).unwrap().entry(&Digest::of_bytes(b"entry")).unwrap_err();
    assert!(error.to_string().contains("damaged at byte 88 of"), "{error}");
    assert!(!error.may_pass());
}

#[test]
fn what_is_no_bundle_is_not_called_a_damaged_one() {
    let made = Made::new(&[], &[]);
    for bytes in [&b"PK"[..], b"kilnp\x01", &[0; 500]] {
        let error = made.open(bytes).unwrap_err().to_string();
        assert!(error.ends_with("it is no bundle of kiln's"), "{error}");
    }
    let mut bytes = made.bytes();
    bytes[5] = 2;
    let error = made.open(&bytes).unwrap_err().to_string();
    assert!(error.ends_with("it is a bundle of version 2, this kiln reads version 1"), "{error}");
    assert!(Bundle::open(made.dir.path()).is_err());
    assert!(matches!(Bundle::open(Path::new("/nonexistent/bundle")), Err(BundleError::Io { .. })));
}

#[test]
fn a_file_that_does_not_hold_the_blob_ends_it_and_leaves_what_was_there() {
    for content in [&b"other"[..], b"shor", b"shorts"] {
        let made = Made::new(&[b"short".to_vec()], &[]);
        let before = made.bytes();
        fs::write(made.dir.path().join("content-0"), content).unwrap();
        let error = made.writer.write(&made.path(), &mut |_| ()).unwrap_err();
        assert!(matches!(error, BundleError::NotTheBlob { .. }), "{error}");
        assert_eq!(fs::read(made.path()).unwrap(), before);
        assert_eq!(fs::read_dir(made.dir.path()).unwrap().count(), 2);
    }
}

#[test]
fn a_bundle_is_a_file_like_any_other() {
    let made = Made::new(&[], &[]);
    made.bytes();
    let usual = made.dir.path().join("usual");
    File::create(&usual).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&made.path()), mode(&usual));
}

#[test]
fn an_entry_that_is_too_large_is_not_put_in() {
    let mut writer = BundleWriter::new();
    let key = Digest::of_bytes(b"key");
    let most = usize::try_from(MAX_ENTRY).unwrap();
    assert!(writer.entry(key, vec![0; most]).is_ok());
    assert!(matches!(writer.entry(key, vec![0; most + 1]), Err(BundleError::EntryTooLarge { .. })));
}

/// A bundle that someone has put together with care: its sums are right.
fn forged(change: impl FnOnce(&mut Vec<u8>), index: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let made = Made::new(&[b"text ".repeat(1000)], &[b"entry"]);
    let bytes = made.bytes();
    let old = Header::decode(bytes[..HEADER].try_into().unwrap()).unwrap();
    let (data, records) = bytes.split_at(usize::try_from(old.index).unwrap());
    let (mut data, mut records) = (data.to_vec(), records.to_vec());
    change(&mut data);
    index(&mut records);
    let length = (data.len() + records.len()) as u64;
    let header = Header { length, index: data.len() as u64, sum: Digest::of_bytes(&records) };
    data[..HEADER].copy_from_slice(&header.encode());
    [data, records].concat()
}

#[test]
fn a_forged_bundle_is_refused() {
    let made = Made::new(&[], &[]);
    let refused = |bytes: Vec<u8>| made.open(&bytes).unwrap_err().to_string();
    assert!(made.open(&forged(|_| (), |_| ())).unwrap().verify(&mut |_| ()).is_ok());
    assert!(refused(forged(|data| data.push(0), |_| ())).contains("a gap"));
    assert!(refused(forged(|_| (), |index| index.push(0))).contains("another length"));
    let counts = |index: &mut Vec<u8>| index[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(refused(forged(|_| (), counts)).contains("another length"));
    let entry = |index: &mut Vec<u8>| index[16 + 32..16 + 36].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(forged(|_| (), entry)).contains("more than 1 MiB"));
    let way = |index: &mut Vec<u8>| index[16 + ENTRY + 72] = 2;
    assert!(refused(forged(|_| (), way)).contains("unknown way"));
    let as_it_is = |index: &mut Vec<u8>| index[16 + ENTRY + 72] = 0;
    assert!(refused(forged(|_| (), as_it_is)).contains("no good length"));
    let end = |index: &mut Vec<u8>| {
        let at = index.len() - 8;
        index[at - 9..at - 1].copy_from_slice(&u64::MAX.to_le_bytes());
        index[at..].copy_from_slice(&(u64::MAX - 1).to_le_bytes());
    };
    assert!(refused(forged(|_| (), end)).contains("no end"));
}

#[test]
fn a_blob_that_blows_up_stops_at_the_size_that_it_is_said_to_have() {
    let bytes = forged(
        |_| (),
        |index| {
            // 5,000 bytes that are said to be 500.
            let at = index.len() - 17;
            index[at..at + 8].copy_from_slice(&500_u64.to_le_bytes());
        },
    );
    let made = Made::new(&[], &[]);
    let bundle = made.open(&bytes).unwrap();
    let blob = *bundle.blobs().next().unwrap();
    assert_eq!(blob.size, 500);
    let mut got = Vec::new();
    let error = bundle.get(&blob, 0, &mut got).unwrap_err();
    assert!(error.to_string().contains("longer than it should be"), "{error}");
    assert!(got.len() <= 500);
}

#[test]
fn two_threads_read_at_once() {
    let made = Made::new(&contents(), &[]);
    let bundle = made.open(&made.bytes()).unwrap();
    std::thread::scope(|scope| {
        for content in contents() {
            let bundle = &bundle;
            scope.spawn(move || {
                for _ in 0..5 {
                    assert_eq!(get(bundle, &name(&content), 0).unwrap(), content);
                }
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_it_panic(mut bytes: Vec<u8>, whole: bool) {
        let made = Made::new(&[], &[]);
        if whole {
            let header = Header { length: (HEADER + bytes.len()) as u64, index: HEADER as u64, sum: Digest::of_bytes(&bytes) };
            bytes.splice(..0, header.encode());
        }
        if let Ok(bundle) = made.open(&bytes) {
            let _ = bundle.verify(&mut |_| ());
        }
    }

    #[test]
    fn any_content_comes_back(contents in prop::collection::vec(prop::collection::vec(0u8..4, 0..500), 0..6)) {
        let made = Made::new(&contents, &[]);
        let bundle = made.open(&made.bytes()).unwrap();
        for content in &contents {
            prop_assert_eq!(&get(&bundle, &name(content), 0).unwrap(), content);
        }
    }
}
