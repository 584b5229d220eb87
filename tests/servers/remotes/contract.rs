//! What every remote does, whatever it is made of.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use kiln::digest::Digest;
use kiln::remote::{Name, Remote, RemoteError, Sha256};
use sha2::Digest as _;

/// The size of a blob that must not be in memory whole.
pub const LARGE: u64 = 200 << 20;

/// How much memory a transfer of such a blob may take: pieces and connections, far less than the blob.
const MEMORY: u64 = 64 << 20;

/// Content that no two calls share, so that a server that a test has used before makes no difference.
pub fn content(size: usize) -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let seed = NEXT.fetch_add(1, Ordering::Relaxed) ^ (u64::from(std::process::id()) << 32);
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// The name of some bytes.
pub fn name(bytes: &[u8]) -> Name {
    let sha256 = Sha256(sha2::Sha256::digest(bytes).into());
    Name { blake3: Digest::of_bytes(bytes), sha256, size: bytes.len() as u64 }
}

/// A key of an entry.
pub fn key() -> Digest {
    Digest::of_bytes(&content(32))
}

/// A file with that content, which has no name.
pub fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// A blob from its start.
pub fn got(remote: &dyn Remote, blob: &Name) -> Result<Vec<u8>, RemoteError> {
    let mut bytes = Vec::new();
    remote.get(blob, 0, &mut bytes).map(|()| bytes)
}

/// A large file and its name.
pub fn large() -> (File, Name) {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let seed = content(32);
    let mut stream = blake3::Hasher::new().update(&seed).finalize_xof();
    let mut sums = Sums::default();
    let mut piece = vec![0; 1 << 20];
    for _ in 0..LARGE / (1 << 20) {
        stream.fill(&mut piece);
        file.write_all(&piece).unwrap();
        sums.write_all(&piece).unwrap();
    }
    (file, sums.name())
}

/// Hashes what it is given, from some offset on.
#[derive(Default)]
pub struct Sums {
    blake3: blake3::Hasher,
    sha256: sha2::Sha256,
    size: u64,
}

impl Sums {
    /// The name of it all.
    pub fn name(self) -> Name {
        let blake3 = Digest::from_bytes(*self.blake3.finalize().as_bytes());
        Name { blake3, sha256: Sha256(self.sha256.finalize().into()), size: self.size }
    }
}

impl Write for Sums {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.blake3.update(bytes);
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All of it. The remote may hold anything before.
pub fn keeps_what_it_is_given(remote: &dyn Remote) {
    what_was_never_put_is_absent(remote);
    a_blob_comes_back_as_it_was_put(remote);
    small_blobs_go_together(remote);
    an_entry_is_replaced(remote);
    a_name_of_another_size_is_another_blob(remote);
    eight_threads_are_not_in_each_others_way(remote);
    a_large_blob_is_never_in_memory_whole(remote);
}

fn what_was_never_put_is_absent(remote: &dyn Remote) {
    let blob = name(&content(100));
    assert_eq!(remote.entry(&key()).unwrap(), None);
    assert_eq!(remote.missing(&[blob]).unwrap(), [blob]);
    assert_eq!(remote.missing(&[]).unwrap(), []);
    assert!(matches!(got(remote, &blob), Err(RemoteError::Missing)), "{:?}", got(remote, &blob));
    let mut bytes = Vec::new();
    assert!(matches!(remote.get(&blob, 50, &mut bytes), Err(RemoteError::Missing)));
    remote.get_several(&[blob], &mut |_, _| panic!("it has what it never got")).unwrap();
}

fn a_blob_comes_back_as_it_was_put(remote: &dyn Remote) {
    for size in [0, 1, 1000, 300_000, 5 << 20] {
        let bytes = content(size);
        let blob = name(&bytes);
        let mut from = file(&bytes);
        // It is read from its start, wherever it stands. To put it again is no harm.
        for _ in 0..2 {
            from.seek(SeekFrom::End(0)).unwrap();
            remote.put(&blob, &mut from).unwrap();
        }
        assert_eq!(remote.missing(&[blob]).unwrap(), []);
        assert_eq!(got(remote, &blob).unwrap(), bytes);
        for offset in [size / 2, size.saturating_sub(1), size] {
            let mut rest = Vec::new();
            remote.get(&blob, offset as u64, &mut rest).unwrap();
            assert!(rest == bytes[offset..], "from {offset} of {size}");
        }
    }
}

fn small_blobs_go_together(remote: &dyn Remote) {
    // More than fits into one message of four megabytes, and one that is empty.
    let mut blobs: Vec<_> =
        (0..40).map(|index| content(index * 5000)).map(|bytes| (name(&bytes), bytes)).collect();
    blobs.push({
        let bytes = content(1 << 20);
        (name(&bytes), bytes)
    });
    let absent = name(&content(77));
    remote.put_several(&blobs).unwrap();
    let mut asked: Vec<Name> = blobs.iter().map(|(blob, _)| *blob).collect();
    asked.insert(7, absent);
    assert_eq!(remote.missing(&asked).unwrap(), [absent]);
    let mut came = Vec::new();
    remote.get_several(&asked, &mut |blob, bytes| came.push((*blob, bytes))).unwrap();
    came.sort();
    blobs.sort();
    assert!(came == blobs, "{} of {} blobs came", came.len(), blobs.len());
    remote.put_several(&[]).unwrap();
    remote.get_several(&[], &mut |_, _| panic!("it was asked for nothing")).unwrap();
}

fn an_entry_is_replaced(remote: &dyn Remote) {
    let bytes = content(1000);
    let blob = name(&bytes);
    remote.put_several(&[(blob, bytes)]).unwrap();
    let key = key();
    for entry in [&content(3000)[..], b"x", &content(1 << 20), b"the last"] {
        remote.put_entry(&key, entry, &[blob]).unwrap();
        assert!(remote.entry(&key).unwrap().as_deref() == Some(entry), "an entry of {} bytes", entry.len());
    }
    remote.put_entry(&self::key(), b"of no blob", &[]).unwrap();
    assert_eq!(remote.entry(&key).unwrap().as_deref(), Some(&b"the last"[..]));
}

fn a_name_of_another_size_is_another_blob(remote: &dyn Remote) {
    let bytes = content(1000);
    let blob = name(&bytes);
    remote.put_several(&[(blob, bytes.clone())]).unwrap();
    for size in [10, 999, 1001, 5000] {
        let mut written = Vec::new();
        let result = remote.get(&Name { size, ..blob }, 0, &mut written);
        // BuildGrid finds it by its digest alone, and sends as much of it as the name says.
        assert!(result.is_err() || written.len() as u64 == size, "{size}: {result:?}");
        assert!(bytes.starts_with(&written), "{size}");
    }
}

fn eight_threads_are_not_in_each_others_way(remote: &dyn Remote) {
    let shared = content(700_000);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for round in 0..5 {
                    let own = content(10_000 + round * 300_000);
                    for bytes in [&own, &shared] {
                        let blob = name(bytes);
                        remote.put(&blob, &mut file(bytes)).unwrap();
                        assert!(got(remote, &blob).unwrap() == *bytes);
                    }
                    let key = key();
                    remote.put_entry(&key, &own[..100], &[name(&own)]).unwrap();
                    assert_eq!(remote.entry(&key).unwrap().as_deref(), Some(&own[..100]));
                    assert_eq!(remote.missing(&[name(&own), name(&shared)]).unwrap(), []);
                }
            });
        }
    });
}

fn a_large_blob_is_never_in_memory_whole(remote: &dyn Remote) {
    let (mut file, blob) = large();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_memory();
    let began = Instant::now();
    remote.put(&blob, &mut file).unwrap();
    let put = began.elapsed();
    remote.get(&blob, 0, &mut io::sink()).unwrap();
    // Shown with --nocapture.
    println!(
        "{} MiB: put in {put:.2?}, got in {:.2?}",
        LARGE >> 20,
        began.elapsed().checked_sub(put).unwrap()
    );
    let mut sums = Sums::default();
    remote.get(&blob, 0, &mut sums).unwrap();
    assert_eq!(sums.name(), blob);
    let taken = peak_memory().saturating_sub(before);
    assert!(taken < MEMORY, "{taken} bytes of memory");

    let mut rest = Sums::default();
    let offset = LARGE - 3_000_001;
    remote.get(&blob, offset, &mut rest).unwrap();
    let mut expected = Sums::default();
    file.seek(SeekFrom::Start(offset)).unwrap();
    io::copy(&mut Read::by_ref(&mut file), &mut expected).unwrap();
    assert_eq!(rest.name(), expected.name());
}

/// The most that this process had in memory, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
